//! Runs of equal keys: where rows of a group follow each other, one lookup serves them all.
//!
//! Tables that were written in the order of a key (lineitem by order, partsupp by part) have such runs.
//! Whether a batch has them is found out by comparing neighbours.

use super::table::{Keys, Table};

/// Encoded keys of a batch, and the runs in it; kept to reuse their memory.
#[derive(Debug, Default)]
pub(crate) struct KeyBatch<K> {
    /// One per row.
    pub(crate) keys: K,
    run_keys: K,
    run_ends: Vec<usize>,
    run_ids: Vec<u32>,
}

impl<K: Keys> KeyBatch<K> {
    /// Replaces `ids` by the id of every row's group. Answers how many keys were looked up.
    pub(crate) fn assign(&mut self, table: &mut Table<K>, ids: &mut Vec<u32>) -> usize {
        ids.clear();
        let num_rows = self.keys.len();
        match self.keys.num_changes() {
            Some(changes) if (changes + 1) * 2 <= num_rows => {
                self.find_runs();
                self.run_ids.clear();
                table.intern(&self.run_keys, &mut self.run_ids);
                let mut start = 0;
                for (id, end) in self.run_ids.iter().zip(&self.run_ends) {
                    ids.extend(std::iter::repeat_n(*id, end - start));
                    start = *end;
                }
                self.run_ends.len()
            }
            _ => {
                table.intern(&self.keys, ids);
                num_rows
            }
        }
    }

    fn find_runs(&mut self) {
        self.run_keys.clear();
        self.run_ends.clear();
        for row in 0..self.keys.len() {
            if row == 0 || !self.keys.equals(row, &self.keys, row - 1) {
                if row > 0 {
                    self.run_ends.push(row);
                }
                self.run_keys.push_from(&self.keys, row);
            }
        }
        self.run_ends.push(self.keys.len());
    }
}
