//! Rows as Arrow IPC messages, and back. Both ends know the types from the plan: no schema travels, columns have no names, and there are
//! no dictionaries.
//!
//! Position: under [`super::sink`] (encoding) and [`super::query_exchange`] (decoding). What is decoded comes from another node and may be
//! anything: [`check_layout`] looks at every place and length before Arrow's reader does, and the reader checks the values.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    buffer::Buffer,
    datatypes::{DataType, Field, Schema, SchemaRef},
    ipc::{
        self, CompressionType, MessageHeader, MetadataVersion,
        reader::RecordBatchDecoder,
        writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions},
    },
};
use bytes::Bytes;
use operators::Error as DataError;
use pipelines::Batch;

use super::{MAX_FRAME_BYTES, frame::bad_frame};
use crate::error::{Error, ErrorKind, Result};

/// Makes messages of batches; keeps its scratch memory.
pub struct RowsEncoder {
    generator: IpcDataGenerator,
    tracker: DictionaryTracker,
    context: IpcWriteContext,
    plain: IpcWriteOptions,
    compressed: IpcWriteOptions,
}

/// A message and its body.
#[derive(Debug, Clone)]
pub struct EncodedRows {
    /// The message.
    pub message: Bytes,
    /// What it describes.
    pub body: Bytes,
}

impl EncodedRows {
    /// Bytes of both.
    pub fn num_bytes(&self) -> usize {
        self.message.len() + self.body.len()
    }
}

impl RowsEncoder {
    /// An encoder.
    ///
    /// # Errors
    /// None that can be expected.
    pub fn new() -> Result<RowsEncoder> {
        let plain = IpcWriteOptions::default();
        let compressed = plain.clone().try_with_compression(Some(CompressionType::LZ4_FRAME)).map_err(DataError::from)?;
        Ok(RowsEncoder {
            generator: IpcDataGenerator::default(),
            tracker: DictionaryTracker::new(true),
            context: IpcWriteContext::default(),
            plain,
            compressed,
        })
    }

    /// `batch` as a message. Texts may be byte strings: encoded, both look the same.
    ///
    /// # Errors
    /// 54000 if it is larger than any frame may be.
    pub fn encode(&mut self, batch: &Batch, compress: bool) -> Result<EncodedRows> {
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = schema_of(batch.columns().iter().map(|column| column.data_type().clone()));
        let batch = RecordBatch::try_new_with_options(schema, batch.columns().to_vec(), &rows).map_err(DataError::from)?;
        let options = if compress { &self.compressed } else { &self.plain };
        let encoded = self.generator.encode(&batch, &mut self.tracker, options, &mut self.context);
        let (_, encoded) = encoded.map_err(DataError::from)?;
        let encoded = EncodedRows { message: encoded.ipc_message.into(), body: encoded.arrow_data.into() };
        if encoded.num_bytes() > MAX_FRAME_BYTES {
            let size = format!("a row of about {} bytes is too large to be sent to another node", encoded.num_bytes());
            return Err(Error::new(ErrorKind::Resource, "54000", size)
                .with_detail(format!("at most {MAX_FRAME_BYTES} bytes are sent at a time"))
                .with_hint("select fewer or shorter columns"));
        }
        Ok(encoded)
    }
}

/// The rows of a message, whoever made it.
///
/// # Errors
/// 08P01 if it is anything but `num_rows` rows of these types.
pub fn decode_rows(data_types: &[DataType], num_rows: usize, message: &Bytes, body: &Bytes) -> Result<Batch> {
    let parsed = ipc::root_as_message(message).map_err(bad_frame)?;
    if parsed.header_type() != MessageHeader::RecordBatch || parsed.version() != MetadataVersion::V5 {
        return Err(bad_frame("its message holds no rows"));
    }
    let rows = parsed.header_as_record_batch().ok_or_else(|| bad_frame("its message holds no rows"))?;
    check_layout(data_types, num_rows, &rows, body)?;
    let buffer = Buffer::from(body.clone());
    let decoder =
        RecordBatchDecoder::try_new(&buffer, rows, schema_of(data_types.iter().cloned()), no_dictionaries(), &MetadataVersion::V5);
    let batch = decoder.and_then(RecordBatchDecoder::read_record_batch).map_err(bad_frame)?;
    Ok(Batch::new(batch.columns().to_vec(), num_rows))
}

fn schema_of(data_types: impl Iterator<Item = DataType>) -> SchemaRef {
    Arc::new(Schema::new(data_types.map(|data_type| Field::new("", data_type, true)).collect::<Vec<_>>()))
}

fn no_dictionaries() -> &'static HashMap<i64, arrow::array::ArrayRef> {
    static NONE: std::sync::LazyLock<HashMap<i64, arrow::array::ArrayRef>> = std::sync::LazyLock::new(HashMap::new);
    &NONE
}

/// Holds every number of the message against the body and the types: nothing lies outside, nothing is too short, and what unpacks is
/// no larger than any frame.
fn check_layout(data_types: &[DataType], num_rows: usize, rows: &ipc::RecordBatch<'_>, body: &[u8]) -> Result<()> {
    let is_compressed = match rows.compression() {
        None => false,
        Some(compression) if compression.codec() == CompressionType::LZ4_FRAME => true,
        Some(_) => return Err(bad_frame("it is compressed in an unknown way")),
    };
    if usize::try_from(rows.length()) != Ok(num_rows) {
        return Err(bad_frame("its message is about another number of rows"));
    }
    let (Some(nodes), Some(buffers)) = (rows.nodes(), rows.buffers()) else { return Err(bad_frame("its message names no columns")) };
    if nodes.len() != data_types.len() {
        return Err(bad_frame(format!("it has {} columns where {} are expected", nodes.len(), data_types.len())));
    }
    let mut lengths = BufferLengths { buffers: buffers.iter(), body, is_compressed, total: 0 };
    let mut string_buffers = rows.variadicBufferCounts().into_iter().flatten();
    for (data_type, node) in data_types.iter().zip(nodes.iter()) {
        let null_count = usize::try_from(node.null_count()).ok().filter(|count| *count <= num_rows);
        let (Some(null_count), Ok(true)) = (null_count, usize::try_from(node.length()).map(|length| length == num_rows)) else {
            return Err(bad_frame("a column of it has another number of rows"));
        };
        if *data_type == DataType::Null {
            continue;
        }
        let least_null_bytes = if null_count > 0 { num_rows.div_ceil(8) } else { 0 };
        lengths.expect(least_null_bytes, 1)?;
        let (least_bytes, unit) = value_bytes(data_type, num_rows)?;
        lengths.expect(least_bytes, unit)?;
        if matches!(data_type, DataType::Utf8View | DataType::BinaryView) {
            let count = string_buffers.next().ok_or_else(|| bad_frame("it lacks strings"))?;
            // More than there are is an error of the first that is missing.
            (0..count).try_for_each(|_| lengths.expect(0, 1))?;
        }
    }
    match lengths.buffers.next() {
        None => Ok(()),
        Some(_) => Err(bad_frame("it has more buffers than its columns need")),
    }
}

/// Least bytes of the buffer of a column's values, and what the buffer is a multiple of.
fn value_bytes(data_type: &DataType, num_rows: usize) -> Result<(usize, usize)> {
    match data_type {
        DataType::Boolean => Ok((num_rows.div_ceil(8), 1)),
        DataType::Utf8View | DataType::BinaryView => Ok((num_rows * size_of::<u128>(), size_of::<u128>())),
        other => match other.primitive_width() {
            Some(width) => Ok((num_rows * width, width)),
            None => Err(Error::internal(format!("a column of type {other} cannot come from another node"))),
        },
    }
}

struct BufferLengths<'a, I: Iterator<Item = &'a ipc::Buffer>> {
    buffers: I,
    body: &'a [u8],
    is_compressed: bool,
    total: usize,
}

impl<'a, I: Iterator<Item = &'a ipc::Buffer>> BufferLengths<'a, I> {
    /// The next buffer lies within the body and has, unpacked, at least so many bytes, in whole units.
    fn expect(&mut self, least_bytes: usize, unit: usize) -> Result<()> {
        let buffer = self.buffers.next().ok_or_else(|| bad_frame("it has fewer buffers than its columns need"))?;
        let (Ok(offset), Ok(length)) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length())) else {
            return Err(bad_frame("a buffer of it has a negative place"));
        };
        let end = offset.checked_add(length);
        let bytes = end.and_then(|end| self.body.get(offset..end)).ok_or_else(|| bad_frame("a buffer of it lies outside"))?;
        let unpacked = if self.is_compressed { unpacked_bytes(bytes)? } else { length };
        self.total = self.total.saturating_add(unpacked);
        if unpacked < least_bytes || unpacked % unit != 0 {
            return Err(bad_frame("a buffer of it has a wrong length"));
        }
        if self.total > MAX_FRAME_BYTES {
            return Err(bad_frame("it is too large"));
        }
        Ok(())
    }
}

/// Eight bytes say how long a buffer is unpacked; -1: it is not packed.
fn unpacked_bytes(bytes: &[u8]) -> Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let Some((prefix, rest)) = bytes.split_first_chunk::<8>() else { return Err(bad_frame("a packed buffer of it has no length")) };
    match i64::from_le_bytes(*prefix) {
        -1 => Ok(rest.len()),
        length => usize::try_from(length).map_err(|_| bad_frame("a packed buffer of it has a negative length")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{Array, ArrayRef, AsArray, Int64Array, NullArray, StringViewArray},
        datatypes::{Int32Type, UInt32Type},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::exchange::tests::every_type;

    fn encode(batch: &Batch, compress: bool) -> EncodedRows {
        RowsEncoder::new().unwrap().encode(batch, compress).unwrap()
    }

    fn round_trip(batch: &Batch, compress: bool) -> Batch {
        let types: Vec<DataType> = batch.columns().iter().map(|column| column.data_type().clone()).collect();
        let encoded = encode(batch, compress);
        decode_rows(&types, batch.num_rows(), &encoded.message, &encoded.body).unwrap()
    }

    fn assert_same(left: &Batch, right: &Batch) {
        assert_eq!(left.num_rows(), right.num_rows());
        assert_eq!(left.columns(), right.columns());
    }

    #[test]
    fn rows_of_every_type_come_back() {
        for num_rows in [0, 1, 7, 8, 9, 1000] {
            let batch = every_type(num_rows);
            assert_same(&round_trip(&batch, false), &batch);
            assert_same(&round_trip(&batch, true), &batch);
        }
    }

    #[test]
    fn rows_without_columns_are_counted() {
        assert_eq!(round_trip(&Batch::new(Vec::new(), 12), false).num_rows(), 12);
    }

    #[test]
    fn columns_of_nulls_come_back() {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(NullArray::new(3)), Arc::new(Int64Array::new_null(3)), Arc::new(StringViewArray::new_null(3))];
        let batch = Batch::new(columns, 3);
        assert_same(&round_trip(&batch, false), &batch);
        assert_same(&round_trip(&batch, true), &batch);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_where_texts_are_expected() {
        let bytes: ArrayRef =
            Arc::new(arrow::array::BinaryViewArray::from(vec![&[0xffu8, 0xfe][..], b"a long one that is fine", &[0xc0; 20]]));
        let encoded = encode(&Batch::new(vec![bytes], 3), false);
        let error = decode_rows(&[DataType::Utf8View], 3, &encoded.message, &encoded.body).unwrap_err();
        assert_eq!(error.sqlstate.0, "08P01");
    }

    #[test]
    fn rows_of_other_types_or_number_are_refused() {
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let encoded = encode(&Batch::new(vec![ints], 3), false);
        for (types, rows) in [
            (vec![DataType::Int64], 2),
            (vec![DataType::Int64; 2], 3),
            (vec![], 3),
            (vec![DataType::Utf8View], 3),
            (vec![DataType::Decimal128(38, 0)], 3),
        ] {
            assert!(decode_rows(&types, rows, &encoded.message, &encoded.body).is_err(), "{types:?} {rows}");
        }
    }

    #[test]
    fn a_row_too_large_for_any_frame_is_an_error_that_says_so() {
        let huge = "x".repeat(MAX_FRAME_BYTES + 1);
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![huge.as_str()]));
        let error = RowsEncoder::new().unwrap().encode(&Batch::new(vec![texts], 1), false).unwrap_err();
        assert_eq!((error.sqlstate.0, error.kind), ("54000", ErrorKind::Resource));
    }

    #[test]
    fn a_small_frame_cannot_unpack_into_a_huge_one() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["x".repeat(1 << 20).as_str()]));
        let encoded = encode(&Batch::new(vec![texts], 1), true);
        let length = (1i64 << 20).to_le_bytes();
        let mut body = encoded.body.to_vec();
        let place = body.windows(8).position(|bytes| bytes == length).unwrap();
        body[place..place + 8].copy_from_slice(&(i64::MAX / 2).to_le_bytes());
        assert!(decode_rows(&[DataType::Utf8View], 1, &encoded.message, &body.into()).is_err());
    }

    #[test]
    fn dictionaries_are_not_on_the_wire() {
        // They are written out before: see the column buffers.
        let batch = every_type(10);
        assert!(batch.columns().iter().all(|column| column.as_dictionary_opt::<UInt32Type>().is_none()));
        assert!(batch.columns().iter().any(|column| column.as_primitive_opt::<Int32Type>().is_some()));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(message in prop::collection::vec(any::<u8>(), 0..300), body in prop::collection::vec(any::<u8>(), 0..300), rows in 0usize..2000) {
            let types: Vec<DataType> = every_type(1).columns().iter().map(|column| column.data_type().clone()).collect();
            prop_assert!(decode_rows(&types, rows, &message.into(), &body.into()).is_err());
        }

        #[test]
        fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..6), compress: bool) {
            let batch = every_type(20);
            let types: Vec<DataType> = batch.columns().iter().map(|column| column.data_type().clone()).collect();
            let encoded = encode(&batch, compress);
            let (mut message, mut body) = (encoded.message.to_vec(), encoded.body.to_vec());
            for (place, value, in_message) in changes {
                let bytes = if in_message { &mut message } else { &mut body };
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            // What is not refused can at least be looked at.
            if let Ok(batch) = decode_rows(&types, 20, &message.into(), &body.into()) {
                batch.columns().iter().for_each(|column| drop(format!("{column:?}")));
            }
        }
    }
}
