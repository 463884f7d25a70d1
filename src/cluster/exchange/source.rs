//! The source of a unit's graph that reads an exchange: whatever unit's rows are there, in any order, for any number of chains.
//!
//! Position: made by [`QueryExchange::source`]. Deliberately elsewhere: the source that merges sorted rows ([`super::merge`]).
//!
//! A chain that finds nothing is parked; whatever arrives wakes all of them. When the graph drops the source, or a chain of it, before it
//! has said that there is nothing more (LIMIT, an empty build side), senders are told that nothing more is wanted.

use std::{sync::Arc, task::Waker};

use pipelines::{Batch, LocalContext, LocalSource, Poll, Result, Source};

use super::{
    channel_in::{Input, Taken},
    query_exchange::QueryExchange,
};

/// Reads an input; the last to be dropped tells senders if nothing more is wanted.
pub(super) struct Reader {
    exchange: Arc<QueryExchange>,
    input: Arc<Input>,
}

impl Reader {
    pub(super) fn new(exchange: Arc<QueryExchange>, input: Arc<Input>) -> Reader {
        Reader { exchange, input }
    }

    /// The next rows.
    pub(super) fn take(&self, waker: &Waker) -> Result<Taken> {
        let (taken, effects) = self.input.take(waker);
        self.exchange.perform(effects);
        taken
    }

    /// Nothing more is wanted.
    pub(super) fn give_up(&self) {
        self.exchange.perform(self.input.drop_reader());
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// The shared part.
pub(super) struct ExchangeSource(Arc<Reader>);

impl ExchangeSource {
    pub(super) fn new(reader: Reader) -> ExchangeSource {
        ExchangeSource(Arc::new(reader))
    }
}

impl Source for ExchangeSource {
    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSource>> {
        Ok(Box::new(LocalExchangeSource {
            reader: Arc::clone(&self.0),
            batch_rows: context.batch_rows.max(1),
            rest: None,
            has_finished: false,
        }))
    }
}

struct LocalExchangeSource {
    reader: Arc<Reader>,
    batch_rows: usize,
    /// What is left of a larger batch.
    rest: Option<Batch>,
    has_finished: bool,
}

impl LocalSource for LocalExchangeSource {
    fn next(&mut self, waker: &Waker) -> Result<Poll> {
        let batch = match self.rest.take() {
            Some(batch) => batch,
            None => match self.reader.take(waker)? {
                Taken::Rows(_, batch) => batch,
                Taken::Nothing => return Ok(Poll::Blocked),
                Taken::Finished => {
                    self.has_finished = true;
                    return Ok(Poll::Finished);
                }
            },
        };
        if batch.num_rows() <= self.batch_rows {
            return Ok(Poll::Batch(batch));
        }
        self.rest = Some(batch.slice(self.batch_rows, batch.num_rows() - self.batch_rows));
        Ok(Poll::Batch(batch.slice(0, self.batch_rows)))
    }
}

impl Drop for LocalExchangeSource {
    fn drop(&mut self) {
        // A chain ends early only when its pipeline does: no other chain will want more either.
        if !self.has_finished {
            self.reader.give_up();
        }
    }
}
