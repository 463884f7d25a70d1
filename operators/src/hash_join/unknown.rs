//! Decides which marks are NULL rather than false, exactly as three-valued logic has it.
//!
//! A mark is the OR over all rows of the other side of (key 1 equal AND key 2 equal … AND residual). It is
//! NULL if no pair is true and some pair is NULL: no part of it false, some part NULL. Pairs whose keys all
//! match are seen by the probe itself; here are those with a NULL key, which no structure finds: probe rows
//! with a NULL against all build rows, and build rows with a NULL against all probe rows. With one key and
//! no residual every such pair is NULL, and nothing has to be compared.

use arrow::array::Array;
use pipelines::{Batch, CancelToken, Result};

use super::{
    Join, JoinKey, gather,
    keys::{self, KeyColumn},
    pairs::Pairs,
    residual::Residual,
    side::BuildSide,
};

/// Pairs whose residual is evaluated at a time.
const CHUNK_PAIRS: usize = 4096;

/// What both directions need.
pub(super) struct Unknowns<'a> {
    pub join: &'a Join,
    pub side: &'a BuildSide,
    pub batch: &'a Batch,
    pub keys: &'a [KeyColumn],
    pub residual: Option<&'a mut Residual>,
    pub cancel: &'a CancelToken,
}

impl Unknowns<'_> {
    /// Notes in `unknown` the probe rows that are not `matched` and whose mark is NULL.
    pub(super) fn mark_probe_rows(mut self, matched: &[bool], unknown: &mut [bool]) -> Result<()> {
        let num_rows = self.side.num_rows;
        if num_rows == 0 || self.join.spec.keys.is_empty() {
            return Ok(());
        }
        for position in (0..self.batch.num_rows()).filter(|position| !matched[*position]) {
            if unknown[position] {
                continue;
            }
            let is_null = has_null_key(&self.join.spec.keys, self.keys, position);
            unknown[position] = if self.join.has_exact_marks() {
                self.cancel.check()?;
                self.any_uncertain(position, is_null)?
            } else {
                is_null || !self.side.null_key_rows.is_empty()
            };
        }
        Ok(())
    }

    fn any_uncertain(&mut self, position: usize, is_null: bool) -> Result<bool> {
        let mut pairs = Pairs::default();
        for row in self.candidates(is_null) {
            if !keys::keys_uncertain(&self.join.spec.keys, self.keys, position, &self.side.keys, row as usize) {
                continue;
            }
            if self.residual.is_none() {
                return Ok(true);
            }
            pairs.push(position as u32, row);
            if pairs.len() == CHUNK_PAIRS {
                self.keep_not_false(&mut pairs)?;
                if !pairs.is_empty() {
                    return Ok(true);
                }
            }
        }
        self.keep_not_false(&mut pairs)?;
        Ok(!pairs.is_empty())
    }

    /// Notes the build rows whose mark is NULL, unless they have a match, on account of this batch.
    pub(super) fn mark_build_rows(mut self) -> Result<()> {
        let has_null = |position: usize| has_null_key(&self.join.spec.keys, self.keys, position);
        let num_rows = self.batch.num_rows();
        self.side.note_probe_rows((0..num_rows).any(has_null));
        let Some(unknown) = self.side.unknown.as_ref().filter(|_| self.join.has_exact_marks()) else { return Ok(()) };
        let mut pairs = Pairs::default();
        for position in 0..num_rows {
            self.cancel.check()?;
            let is_null = has_null_key(&self.join.spec.keys, self.keys, position);
            for row in self.candidates(is_null) {
                if unknown.get(row) || !keys::keys_uncertain(&self.join.spec.keys, self.keys, position, &self.side.keys, row as usize) {
                    continue;
                }
                pairs.push(position as u32, row);
                if pairs.len() == CHUNK_PAIRS {
                    self.keep_not_false(&mut pairs)?;
                    unknown.set_all(&pairs.rows);
                    pairs.clear();
                }
            }
        }
        self.keep_not_false(&mut pairs)?;
        unknown.set_all(&pairs.rows);
        Ok(())
    }

    // Build rows that may make a NULL pair with a probe row.
    fn candidates(&self, probe_is_null: bool) -> impl Iterator<Item = u32> + use<> {
        let rows = if probe_is_null { Vec::new() } else { self.side.null_key_rows.clone() };
        let all = if probe_is_null { 0..self.side.num_rows as u32 } else { 0..0 };
        all.chain(rows)
    }

    fn keep_not_false(&mut self, pairs: &mut Pairs) -> Result<()> {
        let Some(residual) = self.residual.as_mut().filter(|_| !pairs.is_empty()) else { return Ok(()) };
        let (positions, rows) = (gather::indices(&pairs.positions), gather::indices(&pairs.rows));
        let condition = residual.evaluate(
            pairs.len(),
            |column| gather::take(self.batch.column(column), &positions),
            |place| gather::take(&self.side.columns[place], &rows),
        )?;
        pairs.retain(|index, _, _| condition.is_null(index) || condition.value(index));
        Ok(())
    }
}

fn has_null_key(keys: &[JoinKey], columns: &[KeyColumn], row: usize) -> bool {
    keys.iter().zip(columns).any(|(key, column)| !key.nulls_match && column.is_null(row))
}
