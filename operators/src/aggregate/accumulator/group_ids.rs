//! Which group every row of a batch belongs to, checked once for all accumulators.

/// Group ids, one per row, all below [`GroupIds::num_groups`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupIds<'a> {
    ids: &'a [u32],
    num_groups: usize,
    reaches_new_groups: bool,
}

impl<'a> GroupIds<'a> {
    /// The ids of a whole batch: every group that the batch created occurs in it.
    ///
    /// # Panics
    /// When an id is not below `num_groups`.
    pub(crate) fn of_batch(ids: &'a [u32], num_groups: usize) -> Self {
        Self::checked(ids, num_groups, true)
    }

    /// The ids of some rows of a batch: a group that the batch created may be missing.
    ///
    /// # Panics
    /// When an id is not below `num_groups`.
    pub(crate) fn of_some_rows(ids: &'a [u32], num_groups: usize) -> Self {
        Self::checked(ids, num_groups, false)
    }

    fn checked(ids: &'a [u32], num_groups: usize, reaches_new_groups: bool) -> Self {
        let largest = ids.iter().fold(0, |largest, id| largest.max(*id));
        assert!(ids.is_empty() || (largest as usize) < num_groups, "a group id is out of bounds");
        GroupIds { ids, num_groups, reaches_new_groups }
    }

    /// One per row.
    pub(crate) fn ids(&self) -> &'a [u32] {
        self.ids
    }

    /// All ids are below it.
    pub(crate) fn num_groups(&self) -> usize {
        self.num_groups
    }

    /// Whether every group that did not exist before occurs in these rows.
    pub(crate) fn reaches_new_groups(&self) -> bool {
        self.reaches_new_groups
    }
}
