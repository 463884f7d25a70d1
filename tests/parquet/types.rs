//! Every stored type arrives as the engine's type, with the same values.

use std::sync::Arc;

use arneb::connectors::{ScanRequest, Table, parquet::ParquetTable};
use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BinaryViewArray, Decimal64Array, Decimal128Array, FixedSizeBinaryArray, Float16Array, Float32Array,
        Int8Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringViewArray, Time32MillisecondArray,
        Time64MicrosecondArray, Time64NanosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
        UInt8Array, UInt16Array, UInt32Array, UInt64Array,
    },
    datatypes::{Field, Int32Type, Schema},
};
use parquet::{
    data_type::{ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int32Type as ParquetInt32, Int96, Int96Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use tempfile::NamedTempFile;

use crate::{array, assert_reads, scan, writing::write};

fn record_batch(columns: Vec<ArrayRef>, is_nullable: bool) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().enumerate().map(|(i, c)| Field::new(format!("c{i}"), c.data_type().clone(), is_nullable)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[test]
fn arrow_types_become_the_engines_types() {
    let half = |v: f32| <arrow::datatypes::Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native::from_f32(v);
    let stored = record_batch(
        vec![
            array(Int8Array::from(vec![-128, 0, 127])),
            array(UInt8Array::from(vec![0, 128, 255])),
            array(Int16Array::from(vec![-32768, 0, 32767])),
            array(UInt16Array::from(vec![0, 32768, 65535])),
            array(UInt32Array::from(vec![0, 1 << 31, u32::MAX])),
            array(UInt64Array::from(vec![0, 1 << 63, u64::MAX])),
            array(Float16Array::from(vec![half(1.5), half(-0.25), half(0.0)])),
            array(Float32Array::from(vec![1.5, f32::NEG_INFINITY, -0.0])),
            array(BinaryArray::from(vec![&b"\xff\x00"[..], b"", b"a value of more than twelve bytes"])),
            array(FixedSizeBinaryArray::try_from_iter([[1u8, 2, 3], [4, 5, 6], [7, 8, 255]].into_iter()).unwrap()),
            array(TimestampMillisecondArray::from(vec![-1, 0, 1_700_000_000_123])),
            array(TimestampNanosecondArray::from(vec![-1, 999, 1_700_000_000_123_456_789]).with_timezone("UTC")),
            array(Time32MillisecondArray::from(vec![0, 1, 86_399_999])),
            array(Time64NanosecondArray::from(vec![0, 1999, 86_399_999_999_999])),
            array(Decimal128Array::from(vec![-5, 0, 99_999]).with_precision_and_scale(5, 2).unwrap()),
            array(Decimal128Array::from(vec![-5, 0, 999_999_999_999_999_999]).with_precision_and_scale(18, 0).unwrap()),
            array(Decimal128Array::from(vec![-5, 0, 10i128.pow(37)]).with_precision_and_scale(38, 4).unwrap()),
        ],
        false,
    );
    let expected = record_batch(
        vec![
            array(Int16Array::from(vec![-128, 0, 127])),
            array(Int16Array::from(vec![0, 128, 255])),
            array(Int16Array::from(vec![-32768, 0, 32767])),
            array(Int32Array::from(vec![0, 32768, 65535])),
            array(Int64Array::from(vec![0, 1 << 31, i64::from(u32::MAX)])),
            array(Decimal128Array::from(vec![0, 1 << 63, i128::from(u64::MAX)]).with_precision_and_scale(20, 0).unwrap()),
            array(Float32Array::from(vec![1.5, -0.25, 0.0])),
            array(Float32Array::from(vec![1.5, f32::NEG_INFINITY, -0.0])),
            array(BinaryViewArray::from(vec![&b"\xff\x00"[..], b"", b"a value of more than twelve bytes"])),
            array(BinaryViewArray::from(vec![&[1u8, 2, 3][..], &[4, 5, 6], &[7, 8, 255]])),
            array(TimestampMicrosecondArray::from(vec![-1000, 0, 1_700_000_000_123_000])),
            array(TimestampMicrosecondArray::from(vec![-1, 0, 1_700_000_000_123_456]).with_timezone("UTC")),
            array(Time64MicrosecondArray::from(vec![0, 1000, 86_399_999_000])),
            array(Time64MicrosecondArray::from(vec![0, 1, 86_399_999_999])),
            array(Decimal64Array::from(vec![-5, 0, 99_999]).with_precision_and_scale(5, 2).unwrap()),
            array(Decimal64Array::from(vec![-5, 0, 999_999_999_999_999_999]).with_precision_and_scale(18, 0).unwrap()),
            array(Decimal128Array::from(vec![-5, 0, 10i128.pow(37)]).with_precision_and_scale(38, 4).unwrap()),
        ],
        false,
    );
    for uses_dictionary in [true, false] {
        let file = write(&stored, WriterProperties::builder().set_dictionary_enabled(uses_dictionary));
        assert_reads(file.path().to_str().unwrap(), &expected);
    }
}

#[test]
fn types_that_arrow_does_not_write_are_read() {
    let schema = "message m {
        required int96 at;
        required fixed_len_byte_array(16) id (UUID);
        required binary price (DECIMAL(12, 2));
        required fixed_len_byte_array(5) cost (DECIMAL(10, 3));
        optional int32 small (DECIMAL(4, 1));
        optional binary note (JSON);
    }";
    let file = NamedTempFile::new().unwrap();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(file.reopen().unwrap(), schema, Arc::new(WriterProperties::builder().build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let mut at = Int96::new();
    at.set_data(2_000_000, 0, 2_440_588);
    column.typed::<Int96Type>().write_batch(&[at, at], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let id = FixedLenByteArray::from((0u8..16).collect::<Vec<_>>());
    column.typed::<FixedLenByteArrayType>().write_batch(&[id.clone(), id], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&[ByteArray::from(vec![0x01, 0x00]), ByteArray::from(vec![0xff])], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let costs = [vec![0, 0, 0, 1, 0], vec![0xff, 0xff, 0xff, 0xff, 0xfe]].map(FixedLenByteArray::from);
    column.typed::<FixedLenByteArrayType>().write_batch(&costs, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ParquetInt32>().write_batch(&[-7], Some(&[0, 1]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&[ByteArray::from("{}")], Some(&[1, 0]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();

    let table = ParquetTable::open(file.path().to_str().unwrap()).unwrap();
    let request = ScanRequest { columns: (0..6).collect(), ..ScanRequest::default() };
    let columns = scan(&table, request).unwrap();
    assert_eq!(&columns[0], &array(TimestampMicrosecondArray::from(vec![2000, 2000])));
    let id = "00010203-0405-0607-0809-0a0b0c0d0e0f";
    assert_eq!(&columns[1], &array(StringViewArray::from(vec![id, id])));
    assert_eq!(&columns[2], &array(Decimal64Array::from(vec![256, -1]).with_precision_and_scale(12, 2).unwrap()));
    assert_eq!(&columns[3], &array(Decimal64Array::from(vec![256, -2]).with_precision_and_scale(10, 3).unwrap()));
    assert_eq!(&columns[4], &array(Decimal64Array::from(vec![None, Some(-7)]).with_precision_and_scale(4, 1).unwrap()));
    assert_eq!(&columns[5], &array(StringViewArray::from(vec![Some("{}"), None])));
}

#[test]
fn a_nested_column_is_refused_and_the_others_are_read() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let batch = record_batch(vec![array(list), array(Int64Array::from(vec![7, 8]))], true);
    let file = write(&batch, WriterProperties::builder());
    let table = ParquetTable::open(file.path().to_str().unwrap()).unwrap();
    let columns = scan(&table, ScanRequest { columns: vec![1], ..ScanRequest::default() }).unwrap();
    assert_eq!(&columns[0], &array(Int64Array::from(vec![7, 8])));
    let error = table.scan(ScanRequest { columns: vec![0], ..ScanRequest::default() }).err().unwrap();
    assert_eq!(error.sqlstate.0, "0A000");
    assert!(error.message.contains("\"c0\""), "{error}");
}

#[test]
fn files_of_other_columns_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, batch: &RecordBatch| {
        std::fs::copy(write(batch, WriterProperties::builder()).path(), directory.path().join(name)).unwrap();
    };
    put("a.parquet", &record_batch(vec![array(Int64Array::from(vec![1]))], true));
    put("b.parquet", &record_batch(vec![array(Int64Array::from(vec![2, 3]))], true));
    let path = directory.path().to_str().unwrap();
    let table = ParquetTable::open(path).unwrap();
    let columns = scan(&table, ScanRequest { columns: vec![0], ..ScanRequest::default() }).unwrap();
    assert_eq!(&columns[0], &array(Int64Array::from(vec![1, 2, 3])));
    put("c.parquet", &record_batch(vec![array(Int32Array::from(vec![2]))], true));
    let error = ParquetTable::open(path).err().unwrap();
    assert!(error.message.contains("c.parquet") && error.message.contains("\"c0\""), "{error}");
}
