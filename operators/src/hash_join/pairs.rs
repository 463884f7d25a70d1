//! Pairs of a probe row and a build row, as two parallel lists.

/// Candidates or matches of one batch.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// Rows of the probe batch.
    pub positions: Vec<u32>,
    /// Rows of the build side.
    pub rows: Vec<u32>,
}

impl Pairs {
    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    #[inline(always)]
    pub(super) fn push(&mut self, position: u32, row: u32) {
        self.positions.push(position);
        self.rows.push(row);
    }

    pub(super) fn clear(&mut self) {
        self.positions.clear();
        self.rows.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.positions.iter().copied().zip(self.rows.iter().copied())
    }

    /// Keeps the pairs for which `keep(index, position, row)` holds.
    #[inline]
    pub(super) fn retain(&mut self, mut keep: impl FnMut(usize, u32, u32) -> bool) {
        let mut count = 0;
        for index in 0..self.len() {
            let (position, row) = (self.positions[index], self.rows[index]);
            self.positions[count] = position;
            self.rows[count] = row;
            count += usize::from(keep(index, position, row));
        }
        self.positions.truncate(count);
        self.rows.truncate(count);
    }
}
