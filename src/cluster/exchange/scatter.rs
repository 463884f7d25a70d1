//! Gathers rows per receiver: by the hash of their keys, or all together.
//!
//! Position: one per chain and exchange, inside [`super::sink`]. Rows go straight from the batch into the receivers' buffers
//! ([`super::column_buffer`]), column by column; what a row costs beside that is a hash and two places in lists that are kept.

use arrow::{array::ArrayRef, datatypes::DataType};
use operators::{Expression, expression::Evaluator};
use pipelines::Batch;

use super::{
    column_buffer::{ColumnBuffers, Rows},
    row_hash, split_rows,
};
use crate::{
    cluster::{control::VIRTUAL_CLASSES, node::NodeIndex},
    error::{Error, Result},
};

/// Which receiver a row goes to.
#[derive(Debug, Clone)]
pub struct HashRouting {
    keys: Vec<Expression>,
    /// By class: position among the receivers.
    receivers: Vec<u16>,
    num_receivers: usize,
}

impl HashRouting {
    /// Routing by `keys`, where `classes` says which node has which class.
    ///
    /// # Errors
    /// If a class belongs to a node that is no receiver.
    pub fn new(keys: Vec<Expression>, classes: &[NodeIndex], receivers: &[NodeIndex]) -> Result<HashRouting> {
        if classes.len() != VIRTUAL_CLASSES {
            return Err(Error::internal(format!("{} hash classes where there are {VIRTUAL_CLASSES}", classes.len())));
        }
        let position = |node: &NodeIndex| receivers.iter().position(|receiver| receiver == node);
        let positions = classes.iter().map(|node| {
            let position = position(node).and_then(|position| u16::try_from(position).ok());
            position.ok_or_else(|| Error::internal(format!("node {} has a hash class, but receives nothing", node.0)))
        });
        Ok(HashRouting { keys, receivers: positions.collect::<Result<_>>()?, num_receivers: receivers.len() })
    }
}

/// Where the keys of rows come from.
enum Key {
    Column(usize),
    Computed(Evaluator),
}

/// Buffers of rows, one per receiver or one for all.
pub struct Scatter {
    buffers: Vec<ColumnBuffers>,
    keys: Vec<Key>,
    receivers: Vec<u16>,
    /// Scratch: hashes by row, receivers by row, rows by receiver, and where each receiver's rows begin.
    hashes: Vec<u64>,
    targets: Vec<u16>,
    rows: Vec<u32>,
    starts: Vec<usize>,
}

impl Scatter {
    /// One buffer per receiver of `routing`.
    ///
    /// # Errors
    /// If a column's type cannot be sent.
    pub fn by_hash(routing: &HashRouting, data_types: &[DataType]) -> Result<Scatter> {
        let keys = routing.keys.iter().map(|key| match key {
            Expression::Column { index, .. } => Key::Column(*index),
            computed => Key::Computed(Evaluator::new(vec![computed.clone()])),
        });
        let buffers = (0..routing.num_receivers).map(|_| ColumnBuffers::new(data_types)).collect::<Result<_>>()?;
        Ok(Scatter { keys: keys.collect(), receivers: routing.receivers.clone(), ..Scatter::of(buffers) })
    }

    /// One buffer for all rows.
    ///
    /// # Errors
    /// If a column's type cannot be sent.
    pub fn together(data_types: &[DataType]) -> Result<Scatter> {
        Ok(Scatter::of(vec![ColumnBuffers::new(data_types)?]))
    }

    fn of(buffers: Vec<ColumnBuffers>) -> Scatter {
        let (keys, receivers) = (Vec::new(), Vec::new());
        Scatter { buffers, keys, receivers, hashes: Vec::new(), targets: Vec::new(), rows: Vec::new(), starts: Vec::new() }
    }

    /// Number of buffers.
    pub fn num_buffers(&self) -> usize {
        self.buffers.len()
    }

    /// Rows and bytes in a buffer.
    pub fn size(&self, buffer: usize) -> (usize, usize) {
        (self.buffers[buffer].num_rows(), self.buffers[buffer].num_bytes())
    }

    /// Empties a buffer. With `as_bytes`, texts come as byte strings, which is enough for encoding them.
    ///
    /// # Errors
    /// None that can be expected.
    pub fn take(&mut self, buffer: usize, as_bytes: bool) -> Result<Batch> {
        self.buffers[buffer].take(as_bytes)
    }

    /// Appends the rows of `batch`. After each of its pieces, `flush` may empty buffers.
    ///
    /// # Errors
    /// Those of computing the keys, and of `flush`.
    pub fn push(&mut self, batch: Batch, mut flush: impl FnMut(&mut Scatter) -> Result<()>) -> Result<()> {
        for piece in split_rows::pieces(batch) {
            if self.buffers.len() == 1 {
                self.buffers[0].append(&piece, Rows::All(piece.num_rows()))?;
            } else {
                self.scatter(&piece)?;
            }
            flush(self)?;
        }
        Ok(())
    }

    fn scatter(&mut self, piece: &Batch) -> Result<()> {
        self.hash(piece)?;
        self.sort_by_receiver();
        for (receiver, buffer) in self.buffers.iter_mut().enumerate() {
            let rows = &self.rows[self.starts[receiver]..self.starts[receiver + 1]];
            if !rows.is_empty() {
                buffer.append(piece, Rows::Some(rows))?;
            }
        }
        Ok(())
    }

    fn hash(&mut self, piece: &Batch) -> Result<()> {
        self.hashes.clear();
        self.hashes.resize(piece.num_rows(), 0);
        for key in &mut self.keys {
            row_hash::combine_column(&mut self.hashes, &key.of(piece)?)?;
        }
        Ok(())
    }

    /// A counting sort, stable.
    fn sort_by_receiver(&mut self) {
        // The class is in the upper eight bits.
        const _: () = assert!(VIRTUAL_CLASSES == 256);
        let receivers = &self.receivers;
        self.targets.clear();
        self.targets.extend(self.hashes.iter().map(|hash| receivers[(hash >> 56) as usize]));
        self.starts.clear();
        self.starts.resize(self.buffers.len() + 1, 0);
        self.targets.iter().for_each(|target| self.starts[usize::from(*target) + 1] += 1);
        for receiver in 0..self.buffers.len() {
            self.starts[receiver + 1] += self.starts[receiver];
        }
        self.rows.clear();
        self.rows.resize(self.targets.len(), 0);
        let mut next = self.starts.clone();
        for (row, target) in self.targets.iter().enumerate() {
            let place = &mut next[usize::from(*target)];
            self.rows[*place] = row as u32;
            *place += 1;
        }
    }
}

impl Key {
    fn of(&mut self, batch: &Batch) -> Result<ArrayRef> {
        match self {
            Key::Column(index) => batch
                .columns()
                .get(*index)
                .cloned()
                .ok_or_else(|| Error::internal(format!("an exchange has no column {index} to route by"))),
            Key::Computed(evaluator) => {
                evaluator.evaluate(batch)?.pop().ok_or_else(|| Error::internal("the key of an exchange gave no column"))
            }
        }
    }
}
