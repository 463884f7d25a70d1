//! Pages in encodings that are rare (DELTA_*, BYTE_STREAM_SPLIT, RLE booleans): decoded whole by the stock crate's decoders
//! and written out again as PLAIN, which everything else here reads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::{
    basic::{Encoding, Type as Physical},
    data_type::{AsBytes, BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type},
    encodings::decoding::get_decoder,
};

use super::{
    fault::{Decoded, Fault, corrupt},
    schema::Reading,
};

/// The `count` values of `page`, as PLAIN.
pub fn to_plain(page: &[u8], count: usize, encoding: Encoding, reading: &Reading) -> Decoded<Vec<u8>> {
    let supported = matches!(
        encoding,
        Encoding::RLE
            | Encoding::DELTA_BINARY_PACKED
            | Encoding::DELTA_LENGTH_BYTE_ARRAY
            | Encoding::DELTA_BYTE_ARRAY
            | Encoding::BYTE_STREAM_SPLIT
    );
    if !supported {
        return Err(Fault::Unsupported(format!("encoding {encoding} is not supported")));
    }
    let decode = || match reading.descriptor.physical_type() {
        Physical::BOOLEAN => booleans(page, count, encoding, reading),
        Physical::INT32 => values::<Int32Type>(page, count, encoding, reading, |v, out| out.extend_from_slice(&v.to_le_bytes())),
        Physical::INT64 => values::<Int64Type>(page, count, encoding, reading, |v, out| out.extend_from_slice(&v.to_le_bytes())),
        Physical::FLOAT => values::<FloatType>(page, count, encoding, reading, |v, out| out.extend_from_slice(&v.to_le_bytes())),
        Physical::DOUBLE => values::<DoubleType>(page, count, encoding, reading, |v, out| out.extend_from_slice(&v.to_le_bytes())),
        Physical::BYTE_ARRAY => values::<ByteArrayType>(page, count, encoding, reading, |v, out| {
            out.extend_from_slice(&(v.len() as u32).to_le_bytes());
            out.extend_from_slice(v.data());
        }),
        Physical::FIXED_LEN_BYTE_ARRAY => {
            values::<FixedLenByteArrayType>(page, count, encoding, reading, |v, out| out.extend_from_slice(v.as_bytes()))
        }
        Physical::INT96 => Err(Fault::Unsupported(format!("encoding {encoding} is not supported"))),
    };
    // The stock decoders assert on some damaged pages; a damaged file must not end more than its query.
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| corrupt("a page cannot be decoded"))
}

fn values<T: DataType>(
    page: &[u8],
    count: usize,
    encoding: Encoding,
    reading: &Reading,
    mut append: impl FnMut(&T::T, &mut Vec<u8>),
) -> Decoded<Vec<u8>>
where
    T::T: Default,
{
    let mut out = Vec::new();
    let mut decoder = get_decoder::<T>(reading.descriptor.clone(), encoding)?;
    decoder.set_data(Bytes::copy_from_slice(page), count)?;
    let mut buffer = vec![T::T::default(); count.min(1024)];
    let mut done = 0;
    while done < count {
        let wanted = (count - done).min(buffer.len());
        let read = decoder.get(&mut buffer[..wanted])?;
        if read == 0 {
            return corrupt("a page has fewer values than its header says");
        }
        buffer[..read].iter().for_each(|value| append(value, &mut out));
        done += read;
    }
    Ok(out)
}

fn booleans(page: &[u8], count: usize, encoding: Encoding, reading: &Reading) -> Decoded<Vec<u8>> {
    let bytes = values::<BoolType>(page, count, encoding, reading, |v, out| out.push(u8::from(*v)))?;
    Ok(bytes.chunks(8).map(|chunk| chunk.iter().enumerate().fold(0, |byte, (bit, value)| byte | value << bit)).collect())
}
