//! Evaluates a filter: which rows of a batch pass.
//!
//! The conjuncts are tried in an order that starts with the cheap ones and is then corrected by what they
//! turn out to cost and to drop; those that can fail (a division) come last and see only rows that passed all
//! others. Once few rows are left, the following conjuncts are evaluated on these only.

use std::time::Instant;

use arrow::buffer::BooleanBuffer;
use pipelines::Batch;

use super::{
    Expression, bits,
    evaluator::{Frame, SUBSET_FRACTION, State, evaluate},
    program::{NodeId, Program},
};
use crate::Result;

/// Which rows of a batch pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// Every row.
    All,
    /// No row.
    None,
    /// Those whose bit is set: at least one, and not all.
    Some(BooleanBuffer),
}

impl Selection {
    /// Of a bit per row.
    pub fn of_mask(mask: BooleanBuffer) -> Self {
        match mask.count_set_bits() {
            0 => Selection::None,
            all if all == mask.len() => Selection::All,
            _ => Selection::Some(mask),
        }
    }
}

/// A compiled filter; one per chain.
#[derive(Debug)]
pub struct Predicate {
    program: Program,
    state: State,
    conjuncts: Vec<Conjunct>,
    batches_seen: usize,
}

#[derive(Debug)]
struct Conjunct {
    node: NodeId,
    can_fail: bool,
    expected_ns: f64,
    spent_ns: f64,
    rows_in: f64,
    rows_out: f64,
}

/// After how many batches the order is looked at again.
const BATCHES_PER_ORDER: usize = 32;

impl Predicate {
    /// Compiles `predicate`.
    pub fn new(predicate: Expression) -> Self {
        let mut program = Program::default();
        let mut flat = Vec::new();
        flatten(&predicate, &mut flat);
        let nodes: Vec<NodeId> = flat.into_iter().map(|conjunct| program.add(conjunct)).collect();
        let mut conjuncts: Vec<Conjunct> = nodes
            .into_iter()
            .map(|node| Conjunct {
                node,
                can_fail: program.nodes[node].can_fail,
                expected_ns: f64::from(program.nodes[node].cost),
                spent_ns: 0.0,
                rows_in: 0.0,
                rows_out: 0.0,
            })
            .collect();
        conjuncts.sort_by(|l, r| l.can_fail.cmp(&r.can_fail).then(l.rank().total_cmp(&r.rank())));
        let state = State::new(&program);
        Predicate { program, state, conjuncts, batches_seen: 0 }
    }

    /// The rows for which the predicate is true: neither false nor NULL.
    ///
    /// # Errors
    /// Those of PostgreSQL for the values of the rows.
    pub fn select(&mut self, batch: &Batch) -> Result<Selection> {
        let num_rows = batch.num_rows();
        let frame = Frame::of_batch(&self.program, batch);
        let mut passing: Option<BooleanBuffer> = None;
        let mut num_passing = num_rows;
        for conjunct in &mut self.conjuncts {
            let start = Instant::now();
            let rows_in = num_passing;
            let mask = conjunct.apply(&self.program, &mut self.state, &frame, passing.as_ref(), num_passing)?;
            num_passing = mask.count_set_bits();
            conjunct.observe(start, rows_in, num_passing);
            if num_passing == 0 {
                break;
            }
            passing = Some(mask);
        }
        self.reconsider_order();
        Ok(match passing {
            _ if num_passing == 0 => Selection::None,
            Some(mask) if num_passing < num_rows => Selection::Some(mask),
            _ => Selection::All,
        })
    }

    fn reconsider_order(&mut self) {
        self.batches_seen += 1;
        if self.conjuncts.len() > 1 && self.batches_seen.is_multiple_of(BATCHES_PER_ORDER) {
            self.conjuncts.sort_by(|l, r| l.can_fail.cmp(&r.can_fail).then(l.rank().total_cmp(&r.rank())));
            // What is old counts half, so that the order follows data that changes.
            for conjunct in &mut self.conjuncts {
                conjunct.spent_ns /= 2.0;
                conjunct.rows_in /= 2.0;
                conjunct.rows_out /= 2.0;
            }
        }
    }
}

/// The operands of nested ANDs.
fn flatten<'a>(predicate: &'a Expression, conjuncts: &mut Vec<&'a Expression>) {
    match predicate {
        Expression::And(operands) => operands.iter().for_each(|operand| flatten(operand, conjuncts)),
        other => conjuncts.push(other),
    }
}

impl Conjunct {
    /// Nanoseconds per dropped row: the less, the earlier.
    fn rank(&self) -> f64 {
        if self.rows_in == 0.0 {
            return self.expected_ns;
        }
        self.spent_ns / (self.rows_in - self.rows_out).max(self.rows_in * 1e-3)
    }

    fn observe(&mut self, start: Instant, rows_in: usize, rows_out: usize) {
        self.spent_ns += start.elapsed().as_nanos() as f64;
        self.rows_in += rows_in as f64;
        self.rows_out += rows_out as f64;
    }

    /// The rows of `passing` (`None`: all) that pass this conjunct too.
    fn apply(
        &self,
        program: &Program,
        state: &mut State,
        frame: &Frame<'_>,
        passing: Option<&BooleanBuffer>,
        num_passing: usize,
    ) -> Result<BooleanBuffer> {
        let num_rows = frame.num_rows();
        let Some(passing) = passing.filter(|_| num_passing < num_rows) else {
            return Ok(bits::true_rows(&evaluate(program, state, self.node, frame)?.into_booleans(num_rows)?));
        };
        if !self.can_fail && num_passing * SUBSET_FRACTION >= num_rows {
            // An overflow in a row that has been dropped is no error.
            if let Ok(value) = evaluate(program, state, self.node, frame) {
                return Ok(passing & &bits::true_rows(&value.into_booleans(num_rows)?));
            }
        }
        let subset = Frame::subset(program, frame, passing);
        let value = evaluate(program, state, self.node, &subset)?.into_booleans(num_passing)?;
        Ok(bits::keep_selected(passing, &bits::true_rows(&value)))
    }
}
