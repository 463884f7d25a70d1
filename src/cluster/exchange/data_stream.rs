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
    future::Future,
    sync::{Arc, OnceLock, Weak},
};

use arrow_flight::FlightData;
use futures::StreamExt;
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

/// Opens a data stream to a node: connects, and sends the first message.
#[tonic::async_trait]
pub trait StreamOpener: Send + Sync + 'static {
    /// A stream to `to`.
    ///
    /// # Errors
    /// Why there is none.
    async fn open(&self, to: NodeIndex) -> Result<(FlightSender, FlightReceiver)>;
}

/// The streams of one query attempt from this node to others: each is opened at its first frame.
pub struct DataStreams {
    runtime: Handle,
    opener: Arc<dyn StreamOpener>,
    exchange: OnceLock<Weak<QueryExchange>>,
    /// `None` once closed.
    lanes: Mutex<Option<HashMap<NodeIndex, UnboundedSender<Frame>>>>,
}

impl DataStreams {
    /// Streams whose tasks run on `runtime`. Before the first frame is sent, [`DataStreams::attach`] has to be called.
    pub fn new(runtime: Handle, opener: Arc<dyn StreamOpener>) -> Arc<DataStreams> {
        Arc::new(DataStreams { runtime, opener, exchange: OnceLock::new(), lanes: Mutex::new(Some(HashMap::new())) })
    }

    /// Answers that come back, and broken streams, are told to `exchange`.
    pub fn attach(&self, exchange: &Arc<QueryExchange>) {
        // A second call changes nothing.
        let _ = self.exchange.set(Arc::downgrade(exchange));
    }

    /// Ends all streams after what has been sent; nothing is sent any more. To be called when the exchange is closed, or all that was
    /// sent has been acknowledged.
    pub fn close(&self) {
        self.lanes.lock().take();
    }

    fn start_lane(&self, to: NodeIndex) -> UnboundedSender<Frame> {
        let (sender, frames) = unbounded_channel();
        let exchange = self.exchange.get().cloned().unwrap_or_default();
        self.runtime.spawn(pump(Arc::clone(&self.opener), to, frames, exchange));
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
}

/// Carries frames to one node, and answers back, until there are no more or the stream breaks.
async fn pump(opener: Arc<dyn StreamOpener>, to: NodeIndex, frames: UnboundedReceiver<Frame>, exchange: Weak<QueryExchange>) {
    let outcome = match opener.open(to).await {
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
    while let Some(Ok(answer)) = inbound.next().await {
        if take_frame(exchange, to, Ok(answer)).is_err() {
            break;
        }
    }
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

/// The receiving side of a stream that node `from` has opened; ends with the stream, or when the exchange is closed. A stream that
/// breaks, or carries what is no frame, is told to the exchange as a lost peer.
pub async fn serve_data_stream(exchange: Arc<QueryExchange>, from: NodeIndex, outbound: FlightSender, mut inbound: FlightReceiver) {
    let reply: Reply = Arc::new(move |frame| {
        // Reading the stream shows that it is broken.
        let _ = send_frame(&outbound, frame);
    });
    exchange.attach_reply(from, Arc::clone(&reply));
    let mut closed = std::pin::pin!(exchange.closed());
    let weak = Arc::downgrade(&exchange);
    let outcome = loop {
        let next = next_or(&mut inbound, closed.as_mut()).await;
        match next {
            None => break Ok(()),
            Some(data) => {
                if let Err(why) = take_frame(&weak, from, data) {
                    break Err(why);
                }
            }
        }
    };
    exchange.detach_reply(from, &reply);
    if let Err(why) = outcome {
        exchange.peer_lost(from, why);
    }
}

/// The next message; `None` at the end of the stream, or when `closed` resolves.
async fn next_or(inbound: &mut FlightReceiver, closed: impl Future<Output = ()>) -> Option<Result<FlightData, tonic::Status>> {
    tokio::select! {
        next = inbound.next() => next,
        () = closed => None,
    }
}

fn into_flight(frame: Frame) -> Result<FlightData> {
    let app_metadata = frame.header_bytes()?;
    Ok(FlightData { flight_descriptor: None, data_header: frame.message, app_metadata, data_body: frame.body })
}

fn from_flight(data: FlightData) -> Result<Frame> {
    Frame::from_parts(&data.app_metadata, data.data_header, data.data_body)
}
