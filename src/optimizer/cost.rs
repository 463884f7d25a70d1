//! What joins cost, in units of one row touched in sequence.
//!
//! Position: below `order_joins`. Scans cost the same in every order and are left out, but for
//! what a runtime filter saves of them. What is weighed: rows that come out (C_out of
//! Cluet and Moerkotte 1995), building tables, and looking rows up in them, which depends on the table: a bitmap of a dense
//! integer key, a hash table in the cache, one in memory. A lookup is spared where a runtime filter has
//! dropped the row in the scan.

/// Keeping a row of the build side.
const BUILD_ROW: f64 = 6.0;
/// Keeping a byte of it.
const BUILD_BYTE: f64 = 1.0 / 16.0;
/// Entering a row into a hash table instead of a bitmap.
const BUILD_HASH_ROW: f64 = 10.0;
/// Testing a row against a runtime filter.
const FILTER_ROW: f64 = 1.0;
/// Passing on a row that was found.
pub(super) const OUTPUT_ROW: f64 = 1.0;
/// Reading a value of a column.
pub(super) const READ_VALUE: f64 = 0.2;
/// Adding a row to its group.
pub(super) const AGGREGATE_ROW: f64 = 4.0;
/// Testing a pair of a join without equality.
const PAIR: f64 = 0.5;
/// Bytes of a row in a table beyond its columns.
const ROW_OVERHEAD_BYTES: f64 = 16.0;
/// A table of this many bytes fits the cache of a core.
const CORE_CACHE_BYTES: f64 = 1e6;
/// A table of this many bytes fits the cache of a socket.
const SHARED_CACHE_BYTES: f64 = 16e6;
/// A bitmap may have this many bits per key before a hash table is preferred.
const SPARSEST_BITMAP: f64 = 512.0;
/// Most bits of a bitmap.
const BITMAP_BITS_MAX: f64 = (1_u64 << 30) as f64;

/// The build side of a join.
#[derive(Debug, Clone, Copy)]
pub(super) struct BuildSide {
    /// Rows.
    pub rows: f64,
    /// Average bytes of a row.
    pub row_bytes: f64,
    /// If the key is one integer: how many values lie between its bounds.
    pub key_span: Option<f64>,
    /// The share of probe rows that its runtime filters let through; 1 if it makes none.
    pub passing: f64,
}

impl BuildSide {
    fn is_dense(&self) -> bool {
        self.key_span.is_some_and(|span| span <= BITMAP_BITS_MAX && span <= SPARSEST_BITMAP * self.rows.max(1.0))
    }

    /// What it costs to build.
    fn build(&self) -> f64 {
        let enter = if self.is_dense() { 0.0 } else { BUILD_HASH_ROW };
        self.rows * (BUILD_ROW + enter + self.row_bytes * BUILD_BYTE)
    }

    /// What one lookup costs.
    fn lookup(&self) -> f64 {
        let (bytes, costs) = match self.key_span {
            Some(span) if self.is_dense() => (span / 8.0, [1.0, 1.5, 3.0]),
            _ => (self.rows * (self.row_bytes + ROW_OVERHEAD_BYTES), [3.0, 5.0, 10.0]),
        };
        if bytes <= CORE_CACHE_BYTES {
            costs[0]
        } else if bytes <= SHARED_CACHE_BYTES {
            costs[1]
        } else {
            costs[2]
        }
    }
}

/// A hash join of `probe_rows` rows with `build`, of which `output_rows` rows come out.
pub(super) fn hash_join(probe_rows: f64, build: &BuildSide, output_rows: f64) -> f64 {
    let unfiltered = probe_rows * build.lookup();
    let filtered = probe_rows * FILTER_ROW + probe_rows * build.passing * build.lookup();
    build.build() + unfiltered.min(filtered) + output_rows * OUTPUT_ROW
}

/// A join that compares all pairs.
pub(super) fn nested_loop_join(probe_rows: f64, build: &BuildSide, output_rows: f64) -> f64 {
    build.rows * (BUILD_ROW + build.row_bytes * BUILD_BYTE) + probe_rows * build.rows * PAIR + output_rows * OUTPUT_ROW
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(rows: f64, key_span: Option<f64>, passing: f64) -> BuildSide {
        BuildSide { rows, row_bytes: 16.0, key_span, passing }
    }

    #[test]
    fn the_smaller_side_is_the_cheaper_one_to_build() {
        let large_probed = hash_join(1e6, &side(1e4, None, 1.0), 1e6);
        let large_built = hash_join(1e4, &side(1e6, None, 1.0), 1e6);
        assert!(large_probed < large_built);
    }

    #[test]
    fn dense_keys_are_cheaper_than_hashed_ones_and_sparse_ones_are_hashed() {
        let dense = hash_join(1e7, &side(1e6, Some(4e6), 1.0), 1e7);
        let hashed = hash_join(1e7, &side(1e6, None, 1.0), 1e7);
        assert!(dense < hashed);
        let sparse = hash_join(1e7, &side(1e3, Some(1e9), 1.0), 1e7);
        assert_eq!(sparse, hash_join(1e7, &side(1e3, None, 1.0), 1e7));
    }

    #[test]
    fn a_selective_runtime_filter_spares_lookups() {
        assert!(hash_join(1e8, &side(1e5, None, 0.01), 1e6) < hash_join(1e8, &side(1e5, None, 1.0), 1e6) / 2.0);
    }

    #[test]
    fn pairs_are_never_cheaper_than_keys() {
        assert!(nested_loop_join(1e4, &side(1e3, None, 1.0), 1e4) > hash_join(1e4, &side(1e3, None, 1.0), 1e4));
    }
}
