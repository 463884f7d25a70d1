//! All channels of one query attempt on one node: hands rows to the transport, takes frames from it, and carries out what its parts
//! decide.
//!
//! Position: made and closed by the node's `task`; sinks and sources hold it while they live. Nothing here blocks, so it may be called
//! from the pool's threads and from those of the network alike. Deliberately elsewhere: decisions ([`super::channel_in`],
//! [`super::channel_out`], [`super::deliveries`]).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::{Future, poll_fn},
    sync::{Arc, Weak},
    task::Waker,
};

use arrow::datatypes::DataType;
use operators::sort::SortKey;
use parking_lot::{Mutex, RwLock};
use pipelines::{Batch, Sink, Source};
use tokio::sync::watch;

use super::{
    ExchangeConfig, Limits, MAX_FRAME_BYTES, Output, Transport,
    channel_in::{Arrival, FloatingCredit, Input},
    channel_out::{Account, Closure, OutChannel},
    deliveries::{Abandoned, Deliveries},
    effects::Effects,
    frame::{Frame, FrameHeader, bad_frame},
    merge::MergeSource,
    rows_codec::{EncodedRows, decode_rows},
    sink::{Compression, ExchangeSink, Rejected},
    source::{ExchangeSource, Reader},
};
use crate::{
    cluster::{
        control::{ExchangeStats, InputSpec, UnitRun},
        node::NodeIndex,
    },
    error::{Error, Result},
    plan::fragment::ExchangeId,
};

/// All channels of one query attempt on one node.
pub struct QueryExchange {
    /// Itself, for sources and sinks.
    this: Weak<QueryExchange>,
    config: ExchangeConfig,
    limits: Limits,
    transport: Arc<dyn Transport>,
    on_peer_lost: Box<dyn Fn(NodeIndex, String) + Send + Sync>,
    inputs: RwLock<HashMap<ExchangeId, Arc<Input>>>,
    floating: Arc<FloatingCredit>,
    outgoing: Mutex<Outgoing>,
    deliveries: Deliveries,
    replies: Mutex<HashMap<NodeIndex, Reply>>,
    is_closed: watch::Sender<bool>,
}

/// The way back on a stream that another node has opened.
pub(super) type Reply = Arc<dyn Fn(Frame) + Send + Sync>;

#[derive(Default)]
struct Outgoing {
    channels: BTreeMap<(ExchangeId, NodeIndex), Arc<OutChannel>>,
    compression: HashMap<ExchangeId, Arc<Compression>>,
    gone: HashSet<NodeIndex>,
    broken: HashSet<NodeIndex>,
    is_closed: bool,
    /// One account for all channels: a mistake that tests make on purpose.
    #[cfg(test)]
    shared_account: Option<Arc<Account>>,
}

/// Rows on their way: as they are, and (where a receiver is another node) encoded.
pub(super) struct Payload {
    pub batch: Batch,
    pub num_bytes: usize,
    pub encoded: Option<EncodedRows>,
}

/// The least credit that a frame uses, for what it costs beside its rows.
const LEAST_CHARGE: usize = 64;

impl QueryExchange {
    /// The exchanges of a query attempt on a node. The transport gets to know the exchange, which it holds weakly. `on_peer_lost` is
    /// called once for a node to or from which a stream broke.
    pub fn new(
        config: ExchangeConfig,
        transport: Arc<dyn Transport>,
        on_peer_lost: Box<dyn Fn(NodeIndex, String) + Send + Sync>,
    ) -> Arc<QueryExchange> {
        QueryExchange::with_limits(config, Limits::default(), transport, on_peer_lost)
    }

    pub(super) fn with_limits(
        config: ExchangeConfig,
        limits: Limits,
        transport: Arc<dyn Transport>,
        on_peer_lost: Box<dyn Fn(NodeIndex, String) + Send + Sync>,
    ) -> Arc<QueryExchange> {
        let exchange = Arc::new_cyclic(|this| QueryExchange {
            this: Weak::clone(this),
            config,
            limits,
            transport,
            on_peer_lost,
            inputs: RwLock::default(),
            floating: FloatingCredit::new(limits.floating_bytes),
            outgoing: Mutex::default(),
            deliveries: Deliveries::default(),
            replies: Mutex::default(),
            is_closed: watch::Sender::new(false),
        });
        exchange.transport.attach(Arc::downgrade(&exchange));
        exchange
    }

    /// Makes ready for rows of an exchange: before any may arrive.
    pub fn open_input(&self, spec: &InputSpec) {
        let new = || Arc::new(Input::new(spec, self.limits, Arc::clone(&self.floating), Arc::clone(&self.config.memory)));
        self.inputs.write().entry(spec.exchange).or_insert_with(new);
    }

    /// The rows of an exchange in any order, for any number of chains.
    ///
    /// # Errors
    /// If the input is not open, or read already.
    pub fn source(&self, exchange: ExchangeId) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(ExchangeSource::new(self.reader(exchange)?)))
    }

    /// The rows of an exchange whose units send them sorted by `keys`, merged; one chain.
    ///
    /// # Errors
    /// If the input is not open, or read already.
    pub fn merge_source(&self, exchange: ExchangeId, keys: Vec<SortKey>) -> Result<Arc<dyn Source>> {
        let types = self.input(exchange)?.types().to_vec();
        Ok(Arc::new(MergeSource::new(self.reader(exchange)?, keys, types)))
    }

    /// The last sink of a unit's graph: every row, of columns of these types, goes into every output; when all chains have ended, the
    /// receivers are told. Outputs that do not fit together are reported when the graph starts.
    pub fn sink(self: &Arc<Self>, run: UnitRun, outputs: Vec<Output>, types: Vec<DataType>) -> Arc<dyn Sink> {
        match ExchangeSink::new(Arc::clone(self), run, outputs, types) {
            Ok(sink) => Arc::new(sink),
            Err(error) => Arc::new(Rejected(error)),
        }
    }

    /// After the run's graph has ended well: resolves when every receiver has everything, or does not matter any more. A run without
    /// a sink, or one that was abandoned, has nothing to deliver.
    pub fn delivered(&self, run: UnitRun) -> impl Future<Output = ()> + Send + 'static {
        let this = Weak::clone(&self.this);
        poll_fn(move |context| match this.upgrade() {
            Some(exchange) => exchange.deliveries.poll_delivered(run, context),
            None => std::task::Poll::Ready(()),
        })
    }

    /// The run has failed, or nobody wants it: receivers drop what they have of it, and its sink sends nothing more.
    pub fn abandon(&self, run: UnitRun) {
        let (channels, wakers) = self.deliveries.abandon(run);
        wakers.into_iter().for_each(Waker::wake);
        for (exchange, node) in channels {
            if self.is_me(node) {
                if let Ok(input) = self.input(exchange) {
                    input.abandon(run);
                }
            } else if self.channel(exchange, node).closure().is_none() {
                self.transport.send(node, Frame::bare(FrameHeader::Abandon { exchange, run }));
            }
        }
    }

    /// Takes a frame of another node.
    ///
    /// # Errors
    /// 08P01 if it is not what a node sends; the stream it came from is then not to be read on.
    pub fn receive(&self, from: NodeIndex, frame: Frame) -> Result<()> {
        if usize::from(from.0) >= self.config.num_nodes || self.is_me(from) {
            return Err(bad_frame(format!("node {} is none of this query", from.0)));
        }
        {
            let outgoing = self.outgoing.lock();
            if outgoing.is_closed || outgoing.gone.contains(&from) {
                return Ok(());
            }
        }
        let effects = match frame.header {
            FrameHeader::Rows { exchange, run, rows, charge, is_exhausted } => {
                let input = self.input(exchange)?;
                let charge = u64::from(charge);
                match input.refuse(from, run, charge)? {
                    Some(effects) => effects,
                    None => {
                        let batch = decode(&input, rows as usize, &frame)?;
                        let num_bytes = frame.body.len().max(charge as usize);
                        input.arrive(Arrival { from, run, batch, num_bytes, charge, is_exhausted })?
                    }
                }
            }
            FrameHeader::End { exchange, run, rows } => self.input(exchange)?.end(from, run, rows)?,
            FrameHeader::Abandon { exchange, run } => {
                self.input(exchange)?.abandon(run);
                Effects::default()
            }
            control @ (FrameHeader::Credit { .. } | FrameHeader::Ack { .. } | FrameHeader::Cancel { .. }) => self.control(from, control)?,
        };
        self.perform(effects);
        Ok(())
    }

    /// A node is not part of the query any more: nothing goes there, no answer is expected, and what it has not ended is dropped (it
    /// is run elsewhere).
    pub fn node_gone(&self, node: NodeIndex) {
        let channels = {
            let mut outgoing = self.outgoing.lock();
            outgoing.gone.insert(node);
            outgoing.towards(node)
        };
        close_all(&channels, Closure::Gone);
        self.deliveries.settle(|(_, receiver)| receiver == node).into_iter().for_each(Waker::wake);
        self.replies.lock().remove(&node);
        self.inputs.read().values().for_each(|input| input.node_gone(node));
    }

    /// A stream to or from a node broke: rows for it are discarded, and whoever made the exchange is told, once.
    pub fn peer_lost(&self, node: NodeIndex, why: String) {
        let channels = {
            let mut outgoing = self.outgoing.lock();
            if outgoing.is_closed || outgoing.gone.contains(&node) || !outgoing.broken.insert(node) {
                return;
            }
            outgoing.towards(node)
        };
        close_all(&channels, Closure::Broken);
        (self.on_peer_lost)(node, why);
    }

    /// What this node sent into each exchange.
    pub fn stats(&self) -> Vec<ExchangeStats> {
        let channels: Vec<_> = self.outgoing.lock().channels.values().cloned().collect();
        let mut all: Vec<ExchangeStats> = Vec::new();
        for channel in channels {
            // Channels come by exchange.
            if all.last().is_none_or(|last| last.exchange != channel.exchange.0) {
                all.push(ExchangeStats { exchange: channel.exchange.0, ..ExchangeStats::default() });
            }
            if let Some(stats) = all.last_mut() {
                let counted = channel.stats();
                stats.sent.push((channel.node.0, counted.rows, counted.bytes, counted.frames));
                stats.credit_stalls += counted.stalls;
                stats.blocked_ns += counted.blocked_ns;
            }
        }
        all
    }

    /// The attempt is over: frees everything and wakes everybody. Sources fail with [`pipelines::Error::Cancelled`] from now on, and
    /// what arrives is ignored.
    pub fn close(&self) {
        let channels: Vec<_> = {
            let mut outgoing = self.outgoing.lock();
            outgoing.is_closed = true;
            outgoing.channels.values().cloned().collect()
        };
        close_all(&channels, Closure::Gone);
        self.deliveries.clear().into_iter().for_each(Waker::wake);
        let inputs: Vec<_> = self.inputs.read().values().cloned().collect();
        inputs.iter().for_each(|input| self.perform(input.close()));
        self.is_closed.send_replace(true);
        self.replies.lock().clear();
        self.transport.close();
    }

    /// Resolves when the exchange is closed.
    pub(super) fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut is_closed = self.is_closed.subscribe();
        async move {
            // An error means that the exchange does not exist any more.
            let _ = is_closed.wait_for(|is_closed| *is_closed).await;
        }
    }

    /// Answers for `node` go this way from now on.
    pub(super) fn attach_reply(&self, node: NodeIndex, reply: Reply) {
        if !*self.is_closed.borrow() {
            self.replies.lock().insert(node, reply);
        }
    }

    /// The way does not exist any more.
    pub(super) fn detach_reply(&self, node: NodeIndex, reply: &Reply) {
        let mut replies = self.replies.lock();
        if replies.get(&node).is_some_and(|attached| Arc::ptr_eq(attached, reply)) {
            replies.remove(&node);
        }
    }

    pub(super) fn is_me(&self, node: NodeIndex) -> bool {
        node == self.config.me
    }

    /// Whether rows for a node may be worth compressing.
    pub(super) fn is_far(&self, node: NodeIndex) -> bool {
        self.config.compress.get(usize::from(node.0)).copied().unwrap_or(false)
    }

    pub(super) fn classes(&self) -> &[NodeIndex] {
        &self.config.classes
    }

    pub(super) fn compression(&self, exchange: ExchangeId) -> Arc<Compression> {
        Arc::clone(self.outgoing.lock().compression.entry(exchange).or_default())
    }

    /// The channel of an exchange to a node, made at its first use.
    pub(super) fn channel(&self, exchange: ExchangeId, node: NodeIndex) -> Arc<OutChannel> {
        let mut outgoing = self.outgoing.lock();
        if let Some(channel) = outgoing.channels.get(&(exchange, node)) {
            return Arc::clone(channel);
        }
        let channel = Arc::new(OutChannel::new(exchange, node, outgoing.new_account(self.limits.exclusive_bytes)));
        // Nobody waits for a new channel: there is nobody to wake.
        if outgoing.is_closed || outgoing.gone.contains(&node) {
            drop(channel.close(Closure::Gone));
        } else if outgoing.broken.contains(&node) {
            drop(channel.close(Closure::Broken));
        }
        outgoing.channels.insert((exchange, node), Arc::clone(&channel));
        channel
    }

    /// A run begins to send into `channels`.
    pub(super) fn open_delivery(&self, run: UnitRun, channels: Vec<Arc<OutChannel>>) -> Abandoned {
        let abandoned = self.deliveries.open(run, channels.iter().map(|channel| (channel.exchange, channel.node)));
        // What was closed before the run was known to the deliveries has not been settled for it.
        let unwanted: HashSet<_> = channels.iter().filter(|channel| channel.is_unwanted()).map(|c| (c.exchange, c.node)).collect();
        if !unwanted.is_empty() {
            self.deliveries.settle(|channel| unwanted.contains(&channel)).into_iter().for_each(Waker::wake);
        }
        abandoned
    }

    /// Sends rows of a run into a channel, or discards them if it is closed.
    pub(super) fn send_rows(&self, channel: &OutChannel, run: UnitRun, payload: &Payload) -> Result<()> {
        if channel.closure().is_some() {
            return Ok(());
        }
        let exchange = channel.exchange;
        let charge = u32::try_from(payload.num_bytes.max(LEAST_CHARGE)).unwrap_or(u32::MAX);
        let is_exhausted = channel.charge(charge);
        let rows = payload.batch.num_rows();
        if self.is_me(channel.node) {
            channel.count(rows, None);
            let (batch, num_bytes) = (payload.batch.clone(), payload.num_bytes);
            let arrival = Arrival { from: self.config.me, run, batch, num_bytes, charge: u64::from(charge), is_exhausted };
            self.perform(self.input(exchange)?.arrive(arrival)?);
            return Ok(());
        }
        let encoded = payload.encoded.as_ref().ok_or_else(|| Error::internal("rows for another node have not been encoded"))?;
        channel.count(rows, Some(encoded.num_bytes()));
        let rows = u32::try_from(rows).map_err(|_| Error::internal("a frame of more rows than can be counted"))?;
        let header = FrameHeader::Rows { exchange, run, rows, charge, is_exhausted };
        self.transport.send(channel.node, Frame { header, message: encoded.message.clone(), body: encoded.body.clone() });
        Ok(())
    }

    /// Tells a receiver that a run has ended, having sent it `rows` rows.
    pub(super) fn send_end(&self, channel: &OutChannel, run: UnitRun, rows: u64) -> Result<()> {
        let exchange = channel.exchange;
        if channel.closure().is_some() {
            return Ok(());
        }
        if self.is_me(channel.node) {
            self.perform(self.input(exchange)?.end(self.config.me, run, rows)?);
        } else {
            self.transport.send(channel.node, Frame::bare(FrameHeader::End { exchange, run, rows }));
        }
        Ok(())
    }

    /// Carries out what a part has decided. Never called with a lock held.
    pub(super) fn perform(&self, effects: Effects) {
        for (to, header) in effects.frames {
            if self.is_me(to) {
                // Answers to rows of the own node name channels that exist.
                if let Ok(effects) = self.control(to, header) {
                    effects.wakers.into_iter().for_each(Waker::wake);
                }
            } else {
                self.answer(to, Frame::bare(header));
            }
        }
        effects.wakers.into_iter().for_each(Waker::wake);
    }

    /// On the stream that the other node has opened; where there is none, like rows.
    fn answer(&self, to: NodeIndex, frame: Frame) {
        let reply = self.replies.lock().get(&to).cloned();
        match reply {
            Some(reply) => reply(frame),
            None => self.transport.send(to, frame),
        }
    }

    /// What a receiver of this node's rows says.
    fn control(&self, from: NodeIndex, header: FrameHeader) -> Result<Effects> {
        match header {
            FrameHeader::Credit { exchange, bytes } => Ok(Effects::wake(self.existing(exchange, from)?.grant(bytes))),
            FrameHeader::Ack { exchange, run } => Ok(Effects::wake(self.deliveries.acknowledge(run, exchange, from))),
            FrameHeader::Cancel { exchange } => {
                let mut effects = Effects::wake(self.existing(exchange, from)?.close(Closure::Cancelled));
                effects.wakers.extend(self.deliveries.settle(|channel| channel == (exchange, from)));
                Ok(effects)
            }
            FrameHeader::Rows { .. } | FrameHeader::End { .. } | FrameHeader::Abandon { .. } => Ok(Effects::default()),
        }
    }

    fn existing(&self, exchange: ExchangeId, node: NodeIndex) -> Result<Arc<OutChannel>> {
        let channel = self.outgoing.lock().channels.get(&(exchange, node)).cloned();
        channel.ok_or_else(|| bad_frame(format!("an answer to rows of exchange {} that were never sent", exchange.0)))
    }

    fn input(&self, exchange: ExchangeId) -> Result<Arc<Input>> {
        let input = self.inputs.read().get(&exchange).cloned();
        input.ok_or_else(|| bad_frame(format!("rows of exchange {}, which this node does not receive", exchange.0)))
    }

    fn reader(&self, exchange: ExchangeId) -> Result<Reader> {
        let input = self.input(exchange)?;
        if !input.claim() {
            return Err(Error::internal(format!("exchange {} is read twice", exchange.0)));
        }
        let this = self.this.upgrade().ok_or_else(|| Error::internal("an exchange is read after its end"))?;
        Ok(Reader::new(this, input))
    }
}

impl Outgoing {
    fn towards(&self, node: NodeIndex) -> Vec<Arc<OutChannel>> {
        self.channels.values().filter(|channel| channel.node == node).cloned().collect()
    }

    fn new_account(&mut self, credit: u64) -> Arc<Account> {
        #[cfg(test)]
        if let Some(account) = &self.shared_account {
            return Arc::clone(account);
        }
        Account::new(credit)
    }
}

fn decode(input: &Input, rows: usize, frame: &Frame) -> Result<Batch> {
    if frame.message.len() + frame.body.len() > MAX_FRAME_BYTES {
        return Err(bad_frame("it is larger than any frame may be"));
    }
    decode_rows(input.types(), rows, &frame.message, &frame.body)
}

fn close_all(channels: &[Arc<OutChannel>], why: Closure) {
    channels.iter().flat_map(|channel| channel.close(why)).for_each(Waker::wake);
}

#[cfg(test)]
impl QueryExchange {
    /// Breaks the rule that every channel has credit of its own.
    pub(super) fn share_one_account(&self) {
        self.outgoing.lock().shared_account = Some(Account::new(self.limits.exclusive_bytes));
    }

    /// Bytes that have been released to the reader of an exchange and not been taken.
    pub(super) fn ready_bytes(&self, exchange: ExchangeId) -> usize {
        self.input(exchange).map_or(0, |input| input.ready_bytes())
    }
}
