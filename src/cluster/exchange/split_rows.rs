//! Cuts batches into pieces of bounded size before they are copied, so that frames stay small whatever the strings in them are.
//!
//! Position: before [`super::scatter`]. A piece is a slice; nothing is copied.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, UInt32Type},
};
use pipelines::Batch;

use super::TARGET_FRAME_BYTES;

/// `batch` in pieces of about [`TARGET_FRAME_BYTES`] at most; a row that is larger is a piece of its own.
pub(super) fn pieces(batch: Batch) -> Vec<Batch> {
    let fixed_bytes: usize = batch.columns().iter().map(|column| bytes_per_row(column.data_type())).sum();
    let strings: Vec<Lengths<'_>> = batch.columns().iter().filter_map(Lengths::of).collect();
    let num_rows = batch.num_rows();
    let string_bytes: usize = strings.iter().map(|lengths| (0..num_rows).map(|row| lengths.of_row(row)).sum::<usize>()).sum();
    if num_rows * fixed_bytes + string_bytes <= TARGET_FRAME_BYTES {
        drop(strings);
        return vec![batch];
    }
    let row_bytes = |row: usize| fixed_bytes + strings.iter().map(|lengths| lengths.of_row(row)).sum::<usize>();
    let mut pieces = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for row in 0..num_rows {
        let more = row_bytes(row);
        if row > start && bytes + more > TARGET_FRAME_BYTES {
            pieces.push(batch.slice(start, row - start));
            (start, bytes) = (row, 0);
        }
        bytes += more;
    }
    pieces.push(batch.slice(start, num_rows - start));
    pieces
}

/// What every row takes; of strings without their bytes.
fn bytes_per_row(data_type: &DataType) -> usize {
    match data_type {
        DataType::Utf8View | DataType::BinaryView | DataType::Dictionary(..) => size_of::<u128>(),
        DataType::Boolean | DataType::Null => 1,
        other => other.primitive_width().unwrap_or(size_of::<u128>()),
    }
}

/// Lengths of the strings of a column.
enum Lengths<'a> {
    Views(&'a [u128]),
    Dictionary { codes: &'a [u32], views: &'a [u128] },
}

impl<'a> Lengths<'a> {
    fn of(column: &'a ArrayRef) -> Option<Lengths<'a>> {
        match column.data_type() {
            DataType::Utf8View => Some(Lengths::Views(column.as_string_view().views())),
            DataType::BinaryView => Some(Lengths::Views(column.as_binary_view().views())),
            DataType::Dictionary(..) => {
                let dictionary = column.as_dictionary_opt::<UInt32Type>()?;
                let views = dictionary.values().as_string_view_opt()?.views();
                Some(Lengths::Dictionary { codes: dictionary.keys().values(), views })
            }
            _ => None,
        }
    }

    /// What lies under a NULL is counted too; a view's lower half is its length.
    fn of_row(&self, row: usize) -> usize {
        match self {
            Lengths::Views(views) => views[row] as u32 as usize,
            Lengths::Dictionary { codes, views } => views.get(codes[row] as usize).map_or(0, |view| *view as u32 as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    fn sizes(column: impl Array + 'static) -> Vec<usize> {
        let num_rows = column.len();
        pieces(Batch::new(vec![Arc::new(column)], num_rows)).iter().map(Batch::num_rows).collect()
    }

    #[test]
    fn a_small_batch_stays_whole() {
        assert_eq!(sizes(Int64Array::from(vec![1; 1000])), [1000]);
    }

    #[test]
    fn pieces_are_of_bounded_size_and_hold_every_row() {
        assert_eq!(sizes(Int64Array::from(vec![1; 100_000])), [65536, 34464]);
        let text = "x".repeat(100_000);
        assert_eq!(sizes(StringViewArray::from(vec![text.as_str(); 12])), [5, 5, 2]);
    }

    #[test]
    fn a_huge_row_is_a_piece_of_its_own() {
        let huge = "x".repeat(2 << 20);
        assert_eq!(sizes(StringViewArray::from(vec!["a", huge.as_str(), "b", "c"])), [1, 1, 2]);
    }
}
