//! Parts of tables: which splits a scan reads, and which keys are in a range.
//!
//! Position: read by the connectors that can cut their tables. Deliberately elsewhere: how a table is cut (each connector), who
//! reads which part (`cluster`).

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray},
    compute::filter,
    datatypes::{ArrowPrimitiveType, DataType, Date32Type, Decimal64Type, Int16Type, Int32Type, Int64Type},
};
use operators::runtime_filter::{Members, RuntimeFilter};
use pipelines::Batch;

use crate::error::{Error, ErrorKind, Result};

/// Keys from `lower` up to and without `upper`; NULL is in it where there is no lower bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange {
    /// Smallest key.
    pub lower: Option<i64>,
    /// The key after the largest.
    pub upper: Option<i64>,
}

impl KeyRange {
    /// Whether NULL is in it.
    pub fn takes_nulls(&self) -> bool {
        self.lower.is_none()
    }

    /// Whether a row with this key is in it.
    pub fn contains(&self, key: Option<i64>) -> bool {
        key.map_or(self.takes_nulls(), |key| self.lower.is_none_or(|lower| lower <= key) && self.upper.is_none_or(|upper| key < upper))
    }

    /// Whether a key in `min ..= max` can be in it.
    pub fn overlaps(&self, min: i64, max: i64) -> bool {
        self.lower.is_none_or(|lower| lower <= max) && self.upper.is_none_or(|upper| min < upper)
    }

    /// Whether all keys in `min ..= max` are in it.
    pub fn covers(&self, min: i64, max: i64) -> bool {
        self.contains(Some(min)) && self.contains(Some(max))
    }

    /// The filter that its keys pass, NULL left out.
    pub fn to_filter(self) -> RuntimeFilter {
        match self.upper.map(|upper| upper.checked_sub(1)) {
            // No key is below the smallest number.
            Some(None) => RuntimeFilter { min: i64::MAX, max: i64::MIN, members: Members::Unknown },
            Some(Some(max)) => RuntimeFilter { min: self.lower.unwrap_or(i64::MIN), max, members: Members::Unknown },
            None => RuntimeFilter { min: self.lower.unwrap_or(i64::MIN), max: i64::MAX, members: Members::Unknown },
        }
    }

    /// The rows of `batch` whose key, in `keys`, is in it.
    pub fn keep(&self, batch: &Batch, keys: &ArrayRef) -> Result<Batch> {
        let mask: BooleanArray = integers(keys)?.into_iter().map(|key| Some(self.contains(key))).collect();
        let rows = mask.true_count();
        if rows == batch.num_rows() {
            return Ok(batch.clone());
        }
        let columns = batch.columns().iter().map(|column| filter(column, &mask)).collect::<Result<Vec<_>, _>>();
        Ok(Batch::new(columns.map_err(|error| Error::internal(error.to_string()))?, rows))
    }
}

/// Whether values of the type count as integers: those a table can be cut by.
pub fn is_integer_like(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Decimal64(..))
}

/// The values of an integer-like column.
///
/// # Errors
/// XX000 for another type.
pub fn integers(column: &ArrayRef) -> Result<Vec<Option<i64>>> {
    fn widen<T: ArrowPrimitiveType<Native: Into<i64>>>(column: &PrimitiveArray<T>) -> Vec<Option<i64>> {
        column.iter().map(|value| value.map(Into::into)).collect()
    }
    Ok(match column.data_type() {
        DataType::Int16 => widen(column.as_primitive::<Int16Type>()),
        DataType::Int32 => widen(column.as_primitive::<Int32Type>()),
        DataType::Int64 => widen(column.as_primitive::<Int64Type>()),
        DataType::Date32 => widen(column.as_primitive::<Date32Type>()),
        DataType::Decimal64(..) => widen(column.as_primitive::<Decimal64Type>()),
        other => return Err(Error::internal(format!("a table cannot be cut by keys of {other}"))),
    })
}

/// Which of `num_splits` splits are in `wanted`.
///
/// # Errors
/// 55000 when there is no such split: this node's table is not the one that was planned with.
pub fn chosen_splits(wanted: &[u32], num_splits: usize) -> Result<Vec<bool>> {
    let mut chosen = vec![false; num_splits];
    for split in wanted {
        let place = chosen.get_mut(*split as usize).ok_or_else(|| {
            let message = format!("a table has {num_splits} splits, and split {split} is asked for");
            Error::new(ErrorKind::Connector, "55000", message).with_hint("all nodes must have the same files under a table's name")
        })?;
        *place = true;
    }
    Ok(chosen)
}

/// A number of some bytes that is the same in every process: FNV-1a, 64 bit.
pub fn stable_hash<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let bytes = pieces.into_iter().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Spreads a number over all 64 bits, the same way in every process: the finalizer of SplitMix64.
pub fn stable_mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int64Array};

    use super::*;

    fn ranges() -> impl Iterator<Item = KeyRange> {
        let bounds = [None, Some(i64::MIN), Some(-3), Some(0), Some(7), Some(i64::MAX)];
        bounds.into_iter().flat_map(move |lower| bounds.into_iter().map(move |upper| KeyRange { lower, upper }))
    }

    #[test]
    fn a_filter_passes_the_keys_of_its_range() {
        for range in ranges() {
            let filter = range.to_filter();
            for key in [i64::MIN, i64::MIN + 1, -4, -3, -2, 0, 6, 7, 8, i64::MAX - 1, i64::MAX] {
                assert_eq!(filter.contains(key), range.contains(Some(key)), "{range:?} {key}");
            }
        }
    }

    #[test]
    fn bounds_tell_whether_none_or_all_keys_are_in_a_range() {
        for range in ranges() {
            for (min, max) in [(-5, -4), (-4, -2), (-3, 6), (0, 7), (7, 9), (i64::MIN, i64::MAX), (i64::MAX, i64::MAX)] {
                let inside = [min, min.saturating_add(1).min(max), max].map(|key| range.contains(Some(key)));
                assert!(range.overlaps(min, max) || inside == [false; 3], "{range:?} {min} {max}");
                assert_eq!(range.covers(min, max), inside == [true; 3], "{range:?} {min} {max}");
            }
        }
    }

    #[test]
    fn rows_are_kept_by_their_keys_and_nulls_are_in_the_first_part() {
        let keys: ArrayRef = Arc::new(Date32Array::from(vec![Some(1), None, Some(5), Some(9)]));
        let batch = Batch::new(vec![Arc::new(Int64Array::from(vec![10, 20, 30, 40]))], 4);
        let kept = |lower, upper| {
            let batch = KeyRange { lower, upper }.keep(&batch, &keys).unwrap();
            batch.column(0).as_primitive::<Int64Type>().values().to_vec()
        };
        assert_eq!(kept(None, Some(5)), [10, 20]);
        assert_eq!(kept(Some(5), None), [30, 40]);
        assert_eq!(kept(None, None), [10, 20, 30, 40]);
    }

    #[test]
    fn splits_that_do_not_exist_are_reported() {
        assert_eq!(chosen_splits(&[2, 0, 2], 3).unwrap(), [true, false, true]);
        assert_eq!(chosen_splits(&[3], 3).unwrap_err().sqlstate.0, "55000");
    }
}
