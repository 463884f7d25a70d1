//! Data streams: frames over Flight. The node that has rows opens a stream to the node that gets them; answers come back on it.
//!
//! ```text
//!   sink ─► QueryExchange ─► DataStreams::send ─► queue per node ─► pump task ═══ DoExchange ═══► serve_data_stream ─► receive
//!                 ▲                                                     │ ▲                              │
//!                 └──────────────── receive ◄───────────────────────────┘ └──── credit, ack, cancel ◄────┘
//! ```
//! Queues have no bound of their own: what is in them has used credit. A pump never waits for the exchange and the exchange never for a
//! pump. When a stream breaks, [`QueryExchange::peer_lost`] is told; nothing is sent again.
//!
//! Deliberately elsewhere: connections, tickets and the first message of a stream ([`StreamOpener`], implemented over `flight`).

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use arrow_flight::FlightData;
use futures::{StreamExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::{
    Transport,
    frame::Frame,
    query_exchange::{QueryExchange, Reply},
};
use crate::{
    cluster::{
        flight::{FlightReceiver, FlightSender},
        node::NodeIndex,
    },
    error::Result,
};

/// Opens a data stream to a node: connects, and sends the first message. An error says why there is none.
pub type StreamOpener = Box<dyn Fn(NodeIndex) -> BoxFuture<'static, Result<(FlightSender, FlightReceiver)>> + Send + Sync>;

/// The streams of one query attempt from this node to others: each is opened at its first frame.
pub struct DataStreams {
    runtime: Handle,
    opener: StreamOpener,
    exchange: OnceLock<Weak<QueryExchange>>,
    /// `None` once closed.
    lanes: Mutex<Option<HashMap<NodeIndex, UnboundedSender<Frame>>>>,
}

impl DataStreams {
    /// Streams whose tasks run on the runtime this is called on.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn new(opener: StreamOpener) -> Arc<DataStreams> {
        let lanes = Mutex::new(Some(HashMap::new()));
        Arc::new(DataStreams { runtime: Handle::current(), opener, exchange: OnceLock::new(), lanes })
    }

    fn start_lane(&self, to: NodeIndex) -> UnboundedSender<Frame> {
        let (sender, frames) = unbounded_channel();
        let exchange = self.exchange.get().cloned().unwrap_or_default();
        self.runtime.spawn(pump((self.opener)(to), to, frames, exchange));
        sender
    }
}

impl Transport for DataStreams {
    fn send(&self, to: NodeIndex, frame: Frame) {
        if let Some(lanes) = &mut *self.lanes.lock() {
            let lane = lanes.entry(to).or_insert_with(|| self.start_lane(to));
            // A pump that has ended has reported why.
            let _ = lane.send(frame);
        }
    }

    fn attach(&self, exchange: Weak<QueryExchange>) {
        // A second call changes nothing.
        let _ = self.exchange.set(exchange);
    }

    /// What has been sent is still carried; then streams end.
    fn close(&self) {
        self.lanes.lock().take();
    }
}

/// How long a stream whose exchange is closed is read on, on either side: the other node is about to learn that the query is over, and
/// would take an end that comes before for a loss.
const LINGER: Duration = Duration::from_secs(30);

/// Carries frames to one node, and answers back, until there are no more or the stream breaks.
async fn pump(
    opening: BoxFuture<'static, Result<(FlightSender, FlightReceiver)>>,
    to: NodeIndex,
    frames: UnboundedReceiver<Frame>,
    exchange: Weak<QueryExchange>,
) {
    let outcome = match opening.await {
        Ok((outbound, inbound)) => exchange_frames(to, frames, outbound, inbound, &exchange).await,
        Err(error) => Err(error.to_string()),
    };
    if let (Err(why), Some(exchange)) = (outcome, exchange.upgrade()) {
        exchange.peer_lost(to, why);
    }
}

/// The inner error says why the stream broke.
async fn exchange_frames(
    to: NodeIndex,
    mut frames: UnboundedReceiver<Frame>,
    outbound: FlightSender,
    mut inbound: FlightReceiver,
    exchange: &Weak<QueryExchange>,
) -> Result<(), String> {
    loop {
        tokio::select! {
            frame = frames.recv() => match frame {
                Some(frame) => send_frame(&outbound, frame)?,
                None => break,
            },
            answer = inbound.next() => match answer {
                Some(answer) => take_frame(exchange, to, answer)?,
                None => return Err("the other node has ended the stream".to_owned()),
            },
        }
    }
    drop(outbound);
    // The other node ends its direction when it has read everything; what it still says does no harm, nor does a late break.
    let _ = tokio::time::timeout(LINGER, take_frames(exchange, to, &mut inbound)).await;
    Ok(())
}

fn send_frame(outbound: &FlightSender, frame: Frame) -> Result<(), String> {
    let data = into_flight(frame).map_err(|error| error.to_string())?;
    outbound.send(data).map_err(|_| "the stream has been ended".to_owned())
}

fn take_frame(exchange: &Weak<QueryExchange>, from: NodeIndex, data: Result<FlightData, tonic::Status>) -> Result<(), String> {
    let data = data.map_err(|status| format!("the stream broke: {status}"))?;
    let Some(exchange) = exchange.upgrade() else { return Ok(()) };
    from_flight(data).and_then(|frame| exchange.receive(from, frame)).map_err(|error| error.to_string())
}

/// The receiving side of a stream that node `from` has opened; ends with the stream, or some time after the exchange is closed. A stream
/// that breaks, or carries what is no frame, is told to the exchange as a lost peer.
pub async fn serve_data_stream(exchange: Arc<QueryExchange>, from: NodeIndex, outbound: FlightSender, mut inbound: FlightReceiver) {
    let reply: Reply = Arc::new(move |frame| {
        // Reading the stream shows that it is broken.
        let _ = send_frame(&outbound, frame);
    });
    exchange.attach_reply(from, Arc::clone(&reply));
    let closed = exchange.closed();
    let weak = Arc::downgrade(&exchange);
    drop(exchange);
    let outcome = tokio::select! {
        outcome = take_frames(&weak, from, &mut inbound) => outcome,
        () = closed => {
            // What comes is ignored, and so is how it ends.
            let _ = tokio::time::timeout(LINGER, take_frames(&weak, from, &mut inbound)).await;
            Ok(())
        }
    };
    if let Some(exchange) = weak.upgrade() {
        exchange.detach_reply(from, &reply);
        if let Err(why) = outcome {
            exchange.peer_lost(from, why);
        }
    }
}

async fn take_frames(exchange: &Weak<QueryExchange>, from: NodeIndex, inbound: &mut FlightReceiver) -> Result<(), String> {
    while let Some(data) = inbound.next().await {
        take_frame(exchange, from, data)?;
    }
    Ok(())
}

fn into_flight(frame: Frame) -> Result<FlightData> {
    let app_metadata = frame.header_bytes()?;
    Ok(FlightData { flight_descriptor: None, data_header: frame.message, app_metadata, data_body: frame.body })
}

fn from_flight(data: FlightData) -> Result<Frame> {
    Frame::from_parts(&data.app_metadata, data.data_header, data.data_body)
}
