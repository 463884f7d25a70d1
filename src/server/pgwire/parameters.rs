//! Bound parameters: bytes in text or binary format become values.

use arrow::datatypes::DataType;
use operators::Scalar;
use pgwire::api::portal::Format;

use crate::error::{Error, Result};

/// Days from 1970-01-01 to the protocol's epoch, 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_US: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The value of parameter `index`, of type `data_type`.
///
/// # Errors
/// 22P02 for text that is no such value, 22P03 for bytes that are none.
pub fn decode(bytes: Option<&[u8]>, index: usize, format: &Format, data_type: &DataType) -> Result<Scalar> {
    let Some(bytes) = bytes else { return Ok(Scalar::Null(data_type.clone())) };
    let is_binary = match format {
        Format::UnifiedText => false,
        Format::UnifiedBinary => true,
        Format::Individual(codes) => codes.get(index) == Some(&1),
    };
    let value = if is_binary { binary(bytes, data_type) } else { text(bytes, data_type) };
    value.map_err(|mut error| {
        error.detail = Some(format!("parameter ${}", index + 1));
        error
    })
}

fn text(bytes: &[u8], data_type: &DataType) -> Result<Scalar> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::binding("22021", "invalid byte sequence for encoding \"UTF8\""))?;
    let text = Scalar::Utf8(text.to_owned());
    Ok(if data_type == &DataType::Utf8View { text } else { text.cast_to(data_type)? })
}

fn binary(bytes: &[u8], data_type: &DataType) -> Result<Scalar> {
    Ok(match data_type {
        DataType::Boolean => Scalar::Boolean(fixed::<1>(bytes)?[0] != 0),
        DataType::Int16 => Scalar::Int16(i16::from_be_bytes(fixed(bytes)?)),
        DataType::Int32 => Scalar::Int32(i32::from_be_bytes(fixed(bytes)?)),
        DataType::Int64 => Scalar::Int64(i64::from_be_bytes(fixed(bytes)?)),
        DataType::Float32 => Scalar::Float32(f32::from_be_bytes(fixed(bytes)?)),
        DataType::Float64 => Scalar::Float64(f64::from_be_bytes(fixed(bytes)?)),
        DataType::Utf8View => return text(bytes, data_type),
        DataType::BinaryView => Scalar::Binary(bytes.to_vec()),
        DataType::Date32 => Scalar::Date32(i32::from_be_bytes(fixed(bytes)?).saturating_add(EPOCH_DAYS)),
        DataType::Timestamp(_, None) => Scalar::Timestamp(i64::from_be_bytes(fixed(bytes)?).saturating_add(EPOCH_US)),
        DataType::Timestamp(_, Some(_)) => Scalar::TimestampTz(i64::from_be_bytes(fixed(bytes)?).saturating_add(EPOCH_US)),
        DataType::Time64(_) => Scalar::Time(i64::from_be_bytes(fixed(bytes)?)),
        DataType::Interval(_) => {
            let bytes = fixed::<16>(bytes)?;
            let word = |at: usize| i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            let microseconds = i64::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]);
            Scalar::Interval { months: word(12), days: word(8), nanoseconds: microseconds.saturating_mul(1000) }
        }
        DataType::Decimal64(..) | DataType::Decimal128(..) => Scalar::Utf8(numeric_text(bytes)?).cast_to(data_type)?,
        _ => return Err(malformed()),
    })
}

fn malformed() -> Error {
    Error::binding("22P03", "incorrect binary data format in bind parameter")
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| malformed())
}

/// A binary numeric as text: base-10,000 digits behind a header of four words.
fn numeric_text(bytes: &[u8]) -> Result<String> {
    if bytes.len() < 8 || !bytes.len().is_multiple_of(2) {
        return Err(malformed());
    }
    let word = |i: usize| i16::from_be_bytes([bytes[2 * i], bytes[2 * i + 1]]);
    let (count, weight, sign, scale) = (word(0), word(1), word(2) as u16, word(3));
    if count < 0 || scale < 0 || bytes.len() != 8 + 2 * count as usize || !matches!(sign, 0 | 0x4000) {
        return Err(malformed());
    }
    let digit = |position: i32| -> Result<i16> {
        let index = i32::from(weight) - position;
        match index {
            0.. if index < i32::from(count) => Some(word(4 + index as usize)).filter(|d| (0..10_000).contains(d)).ok_or_else(malformed),
            _ => Ok(0),
        }
    };
    let mut text = if sign == 0x4000 { "-".to_owned() } else { String::new() };
    for position in (0..=i32::from(weight).max(0)).rev() {
        text.push_str(&format!("{:04}", digit(position)?));
    }
    if scale > 0 {
        let mut fraction = String::new();
        for position in 1..=i32::from(scale).div_euclid(4) + 1 {
            fraction.push_str(&format!("{:04}", digit(-position)?));
        }
        fraction.truncate(scale as usize);
        text.push('.');
        text.push_str(&fraction);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[i16]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    #[test]
    fn binary_numerics_are_read() {
        assert_eq!(numeric_text(&bytes(&[3, 1, 0, 2, 1, 2345, 6700])).unwrap(), "00012345.67");
        assert_eq!(numeric_text(&bytes(&[1, -1, 0x4000, 1, 5000])).unwrap(), "-0000.5");
        assert_eq!(numeric_text(&bytes(&[0, 0, 0, 2])).unwrap(), "0000.00");
        assert_eq!(numeric_text(&bytes(&[1, -2, 0, 6, 100])).unwrap(), "0000.000001");
    }

    #[test]
    fn malformed_bytes_are_refused() {
        for bad in [vec![], bytes(&[2, 0, 0, 0, 1]), bytes(&[1, 0, 0, 0, 10_000]), bytes(&[0, 0, 0x1234, 0])] {
            assert_eq!(numeric_text(&bad).unwrap_err().sqlstate.0, "22P03");
        }
        assert_eq!(decode(Some(&[1, 2]), 0, &Format::UnifiedBinary, &DataType::Int32).unwrap_err().sqlstate.0, "22P03");
    }

    #[test]
    fn dates_count_from_2000() {
        let value = decode(Some(&1i32.to_be_bytes()), 0, &Format::UnifiedBinary, &DataType::Date32).unwrap();
        assert_eq!(value, Scalar::Date32(10_958));
    }
}
