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
        lengths.expect(least_null_bytes)?;
        lengths.expect(value_bytes(data_type, num_rows)?)?;
        if matches!(data_type, DataType::Utf8View | DataType::BinaryView) {
            let count = string_buffers.next().ok_or_else(|| bad_frame("it lacks strings"))?;
            // More than there are is an error of the first that is missing.
            (0..count).try_for_each(|_| lengths.expect(0))?;
        }
    }
    match lengths.buffers.next() {
        None => Ok(()),
        Some(_) => Err(bad_frame("it has more buffers than its columns need")),
    }
}

fn value_bytes(data_type: &DataType, num_rows: usize) -> Result<usize> {
    match data_type {
        DataType::Boolean => Ok(num_rows.div_ceil(8)),
        DataType::Utf8View | DataType::BinaryView => Ok(num_rows * size_of::<u128>()),
        other => match other.primitive_width() {
            Some(width) => Ok(num_rows * width),
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
    /// The next buffer lies within the body and has, unpacked, at least so many bytes.
    fn expect(&mut self, least_bytes: usize) -> Result<()> {
        let buffer = self.buffers.next().ok_or_else(|| bad_frame("it has fewer buffers than its columns need"))?;
        let (Ok(offset), Ok(length)) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length())) else {
            return Err(bad_frame("a buffer of it has a negative place"));
        };
        let end = offset.checked_add(length);
        let bytes = end.and_then(|end| self.body.get(offset..end)).ok_or_else(|| bad_frame("a buffer of it lies outside"))?;
        let unpacked = if self.is_compressed { unpacked_bytes(bytes)? } else { length };
        self.total = self.total.saturating_add(unpacked);
        if unpacked < least_bytes {
            return Err(bad_frame("a buffer of it is too short"));
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
