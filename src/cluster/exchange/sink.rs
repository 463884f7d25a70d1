//! The last sink of a unit's graph: every row goes into every exchange that the unit feeds.
//!
//! Position: made by [`QueryExchange::sink`]. Each chain gathers rows of its own ([`super::scatter`]) and sends what is worth a frame; at
//! its end it sends the rest. When all chains have ended, END goes to every receiver.
//!
//! Back-pressure: the sink is ready when every channel has credit. What one source batch becomes, and what chains have gathered at their
//! end, may run below zero; that is a batch and a buffer per receiver for each chain.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

use arrow::datatypes::DataType;
use pipelines::{Batch, Flow, LocalContext, LocalSink, Sink};

use super::{
    Output, TARGET_FRAME_BYTES,
    channel_out::OutChannel,
    deliveries::Abandoned,
    query_exchange::{Payload, QueryExchange},
    rows_codec::{EncodedRows, RowsEncoder},
    scatter::{HashRouting, Scatter},
};
use crate::{
    cluster::control::UnitRun,
    error::{Error, Result},
    plan::fragment::Routing,
};

/// What the chains of a unit's last pipeline share.
pub(super) struct ExchangeSink(Arc<Shared>);

struct Shared {
    exchange: Arc<QueryExchange>,
    run: UnitRun,
    types: Vec<DataType>,
    routes: Vec<Route>,
    abandoned: Abandoned,
}

/// One exchange.
struct Route {
    /// `None`: all rows go to all receivers.
    routing: Option<HashRouting>,
    receivers: Vec<Receiver>,
    compression: Arc<Compression>,
}

struct Receiver {
    channel: Arc<OutChannel>,
    is_local: bool,
    /// Whether its host is another.
    is_far: bool,
    /// Rows of this run.
    rows: AtomicU64,
}

/// Whether compressing rows of an exchange is worth it: found out by its first large frame.
#[derive(Default)]
pub(super) struct Compression(OnceLock<bool>);

impl ExchangeSink {
    /// A sink of `run`; `types` are those of the rows that come.
    ///
    /// # Errors
    /// If the outputs do not fit together.
    pub(super) fn new(exchange: Arc<QueryExchange>, run: UnitRun, outputs: Vec<Output>, types: Vec<DataType>) -> Result<ExchangeSink> {
        let routes = outputs.into_iter().map(|output| Route::new(&exchange, output)).collect::<Result<Vec<_>>>()?;
        let channels = routes.iter().flat_map(|route| &route.receivers).map(|receiver| Arc::clone(&receiver.channel)).collect();
        let abandoned = exchange.open_delivery(run, channels);
        Ok(ExchangeSink(Arc::new(Shared { exchange, run, types, routes, abandoned })))
    }
}

impl Route {
    fn new(exchange: &Arc<QueryExchange>, output: Output) -> Result<Route> {
        let Output { spec, receivers } = output;
        let routing = match spec.routing {
            Routing::Hash(keys) => Some(HashRouting::new(keys, exchange.classes(), &receivers)?),
            Routing::Gather | Routing::Merge(_) | Routing::Broadcast => None,
        };
        let receivers = receivers.into_iter().map(|node| Receiver {
            channel: exchange.channel(spec.id, node),
            is_local: exchange.is_me(node),
            is_far: exchange.is_far(node),
            rows: AtomicU64::new(0),
        });
        Ok(Route { routing, receivers: receivers.collect(), compression: exchange.compression(spec.id) })
    }

    fn is_unwanted(&self) -> bool {
        self.receivers.iter().all(|receiver| receiver.channel.is_unwanted())
    }
}

impl Sink for ExchangeSink {
    fn local(&self, context: &LocalContext) -> pipelines::Result<Box<dyn LocalSink>> {
        let routes = self.0.routes.iter().map(|route| LocalRoute::new(route, &self.0.types, context.batch_rows));
        Ok(Box::new(LocalExchangeSink { shared: Arc::clone(&self.0), routes: routes.collect::<Result<_>>()? }))
    }

    fn finish(&self) -> pipelines::Result<()> {
        let shared = &self.0;
        if shared.abandoned.is_set() {
            return Ok(());
        }
        for receiver in shared.routes.iter().flat_map(|route| &route.receivers) {
            shared.exchange.send_end(&receiver.channel, shared.run, receiver.rows.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}

struct LocalExchangeSink {
    shared: Arc<Shared>,
    routes: Vec<LocalRoute>,
}

impl LocalSink for LocalExchangeSink {
    fn is_ready(&mut self, waker: &Waker) -> pipelines::Result<bool> {
        let mut receivers = self.shared.routes.iter().flat_map(|route| &route.receivers);
        Ok(receivers.all(|receiver| receiver.channel.is_ready(waker)))
    }

    fn push(&mut self, batch: Batch) -> pipelines::Result<Flow> {
        if self.shared.abandoned.is_set() || self.shared.routes.iter().all(Route::is_unwanted) {
            return Ok(Flow::Finished);
        }
        for (index, route) in self.routes.iter_mut().enumerate() {
            if !self.shared.routes[index].is_unwanted() {
                route.push(&self.shared, index, batch.clone())?;
            }
        }
        Ok(Flow::Continue)
    }

    fn combine(mut self: Box<Self>) -> pipelines::Result<()> {
        if self.shared.abandoned.is_set() {
            return Ok(());
        }
        for (index, route) in self.routes.iter_mut().enumerate() {
            route.sender.flush(&mut route.scatter, &self.shared, index, 1)?;
        }
        Ok(())
    }
}

/// One chain's rows on their way into one exchange.
struct LocalRoute {
    scatter: Scatter,
    sender: Sender,
}

struct Sender {
    encoder: RowsEncoder,
    frame_rows: usize,
    frame_bytes: usize,
}

/// What the buffers of one chain and exchange may take together.
const BUFFERS_BYTES: usize = 4 << 20;
/// Smaller frames are not worth having, so that many receivers need more memory.
const LEAST_FRAME_BYTES: usize = 64 << 10;
/// Rows come in frames of at most this many batches.
const FRAME_BATCHES: usize = 4;

impl LocalRoute {
    fn new(route: &Route, types: &[DataType], batch_rows: usize) -> Result<LocalRoute> {
        let types = super::plain_types(types);
        let scatter = match &route.routing {
            Some(routing) => Scatter::by_hash(routing, &types)?,
            None => Scatter::together(&types)?,
        };
        let frame_bytes = (BUFFERS_BYTES / scatter.num_buffers().max(1)).clamp(LEAST_FRAME_BYTES, TARGET_FRAME_BYTES);
        let sender = Sender { encoder: RowsEncoder::new()?, frame_rows: batch_rows.max(1) * FRAME_BATCHES, frame_bytes };
        Ok(LocalRoute { scatter, sender })
    }

    fn push(&mut self, shared: &Shared, index: usize, batch: Batch) -> Result<()> {
        let sender = &mut self.sender;
        self.scatter.push(batch, |scatter| sender.flush(scatter, shared, index, sender.frame_rows))
    }
}

impl Sender {
    /// Sends what is in the buffers that are full: they hold `least_rows` rows, or bytes for a frame.
    fn flush(&mut self, scatter: &mut Scatter, shared: &Shared, index: usize, least_rows: usize) -> Result<()> {
        for buffer in 0..scatter.num_buffers() {
            let (rows, bytes) = scatter.size(buffer);
            if rows >= least_rows || bytes >= self.frame_bytes {
                self.send(scatter, buffer, shared, &shared.routes[index])?;
            }
        }
        Ok(())
    }

    fn send(&mut self, scatter: &mut Scatter, buffer: usize, shared: &Shared, route: &Route) -> Result<()> {
        let receivers = if route.routing.is_some() { &route.receivers[buffer..=buffer] } else { &route.receivers[..] };
        let wanting: Vec<&Receiver> = receivers.iter().filter(|receiver| receiver.channel.closure().is_none()).collect();
        let (_, num_bytes) = scatter.size(buffer);
        let batch = scatter.take(buffer, wanting.iter().all(|receiver| !receiver.is_local))?;
        let encoded = match wanting.iter().any(|receiver| !receiver.is_local) {
            true => Some(self.encode(&batch, num_bytes, wanting.iter().any(|receiver| receiver.is_far), &route.compression)?),
            false => None,
        };
        let payload = Payload { batch, num_bytes, encoded };
        for receiver in wanting {
            // Counted before it is sent: END follows when all chains have ended.
            receiver.rows.fetch_add(payload.batch.num_rows() as u64, Ordering::Relaxed);
            shared.exchange.send_rows(&receiver.channel, shared.run, &payload)?;
        }
        Ok(())
    }

    fn encode(&mut self, batch: &Batch, num_bytes: usize, is_far: bool, compression: &Compression) -> Result<EncodedRows> {
        let compress = is_far && compression.is_worth_trying(num_bytes);
        let encoded = self.encoder.encode(batch, compress)?;
        if compress {
            compression.learn(num_bytes, encoded.num_bytes());
        }
        Ok(encoded)
    }
}

impl Compression {
    /// Frames below say nothing about those that matter.
    const LEAST_BYTES: usize = 4 << 10;
    /// Frames above are single huge rows.
    const MOST_BYTES: usize = 4 * TARGET_FRAME_BYTES;

    fn is_worth_trying(&self, num_bytes: usize) -> bool {
        (Self::LEAST_BYTES..=Self::MOST_BYTES).contains(&num_bytes) && self.0.get().copied().unwrap_or(true)
    }

    /// Worth it where three bytes become two or fewer.
    fn learn(&self, num_bytes: usize, packed_bytes: usize) {
        self.0.get_or_init(|| packed_bytes * 3 <= num_bytes * 2);
    }
}

/// Stands in for a sink that cannot be: the graph fails when it starts.
pub(super) struct Rejected(pub(super) Error);

impl Sink for Rejected {
    fn local(&self, _context: &LocalContext) -> pipelines::Result<Box<dyn LocalSink>> {
        Err(self.0.clone().into())
    }
}
