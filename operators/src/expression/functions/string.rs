//! Functions of texts. Positions and lengths count characters, from 1.

use arrow::array::ArrayRef;

use super::{arguments::Arguments, md5 as digest};
use crate::{Error, Result, expression::datum::Texts};

/// Longest text that a function makes of shorter ones.
const RESULT_BYTES_MAX: usize = 1 << 28;

pub(super) fn upper(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let texts = arguments.texts(0)?;
    arguments.map_to_text(|row, out| {
        out.extend(texts.get(row).chars().map(upper_character));
        Ok(())
    })
}

pub(super) fn lower(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let texts = arguments.texts(0)?;
    arguments.map_to_text(|row, out| {
        out.extend(texts.get(row).chars().map(lower_character));
        Ok(())
    })
}

pub(super) fn init_cap(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let texts = arguments.texts(0)?;
    arguments.map_to_text(|row, out| {
        let mut inside_word = false;
        for character in texts.get(row).chars() {
            out.push(if inside_word { lower_character(character) } else { upper_character(character) });
            inside_word = character.is_alphanumeric();
        }
        Ok(())
    })
}

// One character for one, as the C library does: ß has no upper case.
fn upper_character(character: char) -> char {
    let mut mapped = character.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => character,
    }
}

fn lower_character(character: char) -> char {
    let mut mapped = character.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => character,
    }
}

fn num_characters(text: &str) -> usize {
    // Every byte but the continuations of a character.
    text.bytes().filter(|byte| byte & 0xc0 != 0x80).count()
}

/// Where character `index` (from 0) starts; the text's end if it has fewer.
fn byte_of_character(text: &str, index: usize) -> usize {
    if index >= text.len() {
        return text.len();
    }
    if text.as_bytes()[..index].is_ascii() {
        return index;
    }
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

pub(super) fn length(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let texts = arguments.texts(0)?;
    arguments.map(|row| Ok(num_characters(texts.get(row)) as i32))
}

pub(super) fn octet_length(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let texts = arguments.texts(0)?;
    arguments.map(|row| Ok(texts.get(row).len() as i32))
}

pub(super) fn substring(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let starts = arguments.natives::<i32>(1)?;
    let counts = if arguments.count() > 2 { Some(arguments.natives::<i32>(2)?) } else { None };
    arguments.map_to_part(|row, text| {
        let start = i64::from(starts.get(row)) - 1;
        let end = match counts.map(|counts| counts.get(row)) {
            Some(count) if count < 0 => return Err(Error::NegativeLength),
            Some(count) => start + i64::from(count),
            None => i64::MAX,
        };
        let (start, end) = (start.max(0) as usize, end.max(0) as usize);
        let first = byte_of_character(text, start);
        let rest = &text[first..];
        Ok(&rest[..byte_of_character(rest, end.saturating_sub(start))])
    })
}

pub(super) fn left(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let counts = arguments.natives::<i32>(1)?;
    arguments.map_to_part(|row, text| Ok(&text[..byte_of_character(text, kept_characters(text, counts.get(row)))]))
}

pub(super) fn right(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let counts = arguments.natives::<i32>(1)?;
    arguments.map_to_part(|row, text| {
        let dropped = num_characters(text) - kept_characters(text, counts.get(row)).min(num_characters(text));
        Ok(&text[byte_of_character(text, dropped)..])
    })
}

/// A negative count drops so many.
fn kept_characters(text: &str, count: i32) -> usize {
    match usize::try_from(count) {
        Ok(count) => count,
        Err(_) => num_characters(text).saturating_sub(count.unsigned_abs() as usize),
    }
}

/// Which characters a trim removes: those of its second argument, else spaces.
fn trimmed(arguments: &Arguments<'_>, at_start: bool, at_end: bool) -> Result<ArrayRef> {
    let characters = if arguments.count() > 1 { arguments.texts(1)? } else { Texts::Constant(" ".into()) };
    arguments.map_to_part(|row, text| {
        let set = characters.get(row);
        let is_in_set = |character: char| set.contains(character);
        let text = if at_start { text.trim_start_matches(is_in_set) } else { text };
        Ok(if at_end { text.trim_end_matches(is_in_set) } else { text })
    })
}

pub(super) fn trim(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    trimmed(arguments, true, true)
}

pub(super) fn trim_left(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    trimmed(arguments, true, false)
}

pub(super) fn trim_right(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    trimmed(arguments, false, true)
}

fn padded(arguments: &Arguments<'_>, at_start: bool) -> Result<ArrayRef> {
    let (texts, lengths) = (arguments.texts(0)?, arguments.natives::<i32>(1)?);
    let fills = if arguments.count() > 2 { arguments.texts(2)? } else { Texts::Constant(" ".into()) };
    arguments.map_to_text(|row, out| {
        let (text, fill) = (texts.get(row), fills.get(row));
        let length = lengths.get(row).max(0) as usize;
        check_size(length)?;
        let kept = &text[..byte_of_character(text, length)];
        let missing = if fill.is_empty() { 0 } else { length.saturating_sub(num_characters(text)) };
        if !at_start {
            out.push_str(kept);
        }
        out.extend(fill.chars().cycle().take(missing));
        if at_start {
            out.push_str(kept);
        }
        Ok(())
    })
}

pub(super) fn pad_left(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    padded(arguments, true)
}

pub(super) fn pad_right(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    padded(arguments, false)
}

fn check_size(num_bytes: usize) -> Result<()> {
    if num_bytes > RESULT_BYTES_MAX {
        return Err(Error::InvalidArgument("requested length too large".into()));
    }
    Ok(())
}

pub(super) fn replace(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (texts, from, to) = (arguments.texts(0)?, arguments.texts(1)?, arguments.texts(2)?);
    arguments.map_to_text(|row, out| {
        let (text, from, to) = (texts.get(row), from.get(row), to.get(row));
        if from.is_empty() {
            out.push_str(text);
            return Ok(());
        }
        let mut parts = text.split(from);
        out.push_str(parts.next().unwrap_or_default());
        for part in parts {
            check_size(out.len() + to.len() + part.len())?;
            out.push_str(to);
            out.push_str(part);
        }
        Ok(())
    })
}

pub(super) fn translate(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (texts, from, to) = (arguments.texts(0)?, arguments.texts(1)?, arguments.texts(2)?);
    arguments.map_to_text(|row, out| {
        let (from, to) = (from.get(row), to.get(row));
        out.extend(texts.get(row).chars().filter_map(|character| match from.chars().position(|c| c == character) {
            Some(position) => to.chars().nth(position),
            None => Some(character),
        }));
        Ok(())
    })
}

pub(super) fn reverse(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let texts = arguments.texts(0)?;
    arguments.map_to_text(|row, out| {
        out.extend(texts.get(row).chars().rev());
        Ok(())
    })
}

pub(super) fn repeat(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (texts, counts) = (arguments.texts(0)?, arguments.natives::<i32>(1)?);
    arguments.map_to_text(|row, out| {
        let (text, count) = (texts.get(row), counts.get(row).max(0) as usize);
        check_size(text.len().saturating_mul(count))?;
        (0..count).for_each(|_| out.push_str(text));
        Ok(())
    })
}

pub(super) fn position(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (texts, parts) = (arguments.texts(0)?, arguments.texts(1)?);
    arguments.map(|row| {
        let text = texts.get(row);
        Ok(text.find(parts.get(row)).map_or(0, |at| num_characters(&text[..at]) as i32 + 1))
    })
}

pub(super) fn split_part(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (delimiters, fields) = (arguments.texts(1)?, arguments.natives::<i32>(2)?);
    arguments.map_to_part(|row, text| {
        let (delimiter, field) = (delimiters.get(row), fields.get(row));
        if field == 0 {
            return Err(Error::InvalidArgument("field position must not be zero".into()));
        }
        let index = field.unsigned_abs() as usize - 1;
        let part = match (delimiter.is_empty(), field > 0) {
            (true, _) => (index == 0).then_some(text),
            (false, true) => text.split(delimiter).nth(index),
            (false, false) => text.rsplit(delimiter).nth(index),
        };
        Ok(part.unwrap_or_default())
    })
}

pub(super) fn starts_with(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (texts, prefixes) = (arguments.texts(0)?, arguments.texts(1)?);
    arguments.map_to_boolean(|row| Ok(texts.get(row).starts_with(prefixes.get(row))))
}

pub(super) fn concat(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let parts = (0..arguments.count()).map(|index| arguments.texts(index)).collect::<Result<Vec<_>>>()?;
    arguments.map_to_text(|row, out| {
        parts.iter().for_each(|part| out.push_str(part.get(row)));
        Ok(())
    })
}

pub(super) fn concat_skipping_nulls(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    joined(arguments, 0, &Texts::Constant(String::new()), |_| false)
}

pub(super) fn concat_with_separator(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    if arguments.get(0)?.is_null_scalar() {
        return Ok(arrow::array::new_null_array(arguments.data_type, arguments.num_rows));
    }
    let separators = arguments.texts(0)?;
    joined(arguments, 1, &separators, |row| separators.is_null(row))
}

/// The arguments from `first` on that are not NULL, with separators between.
fn joined(arguments: &Arguments<'_>, first: usize, separators: &Texts, is_null: impl Fn(usize) -> bool) -> Result<ArrayRef> {
    let parts = arguments.values[first..].iter().filter(|value| !value.is_null_scalar());
    let parts = parts.map(Texts::of).collect::<Result<Vec<_>>>()?;
    let mut builder = arrow::array::StringViewBuilder::with_capacity(arguments.num_rows);
    let mut text = String::new();
    for row in 0..arguments.num_rows {
        if is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        for (index, part) in parts.iter().filter(|part| !part.is_null(row)).enumerate() {
            if index > 0 {
                text.push_str(separators.get(row));
            }
            text.push_str(part.get(row));
        }
        builder.append_value(&text);
    }
    Ok(std::sync::Arc::new(builder.finish()))
}

pub(super) fn ascii(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let texts = arguments.texts(0)?;
    arguments.map(|row| Ok(texts.get(row).chars().next().map_or(0, |character| character as i32)))
}

pub(super) fn chr(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let codes = arguments.natives::<i32>(0)?;
    arguments.map_to_text(|row, out| {
        let code = codes.get(row);
        let character = u32::try_from(code).ok().and_then(char::from_u32);
        match character {
            Some('\0') => Err(Error::InvalidArgument("null character not permitted".into())),
            Some(character) => {
                out.push(character);
                Ok(())
            }
            None if code < 0 => Err(Error::InvalidArgument("character number must be positive".into())),
            None => Err(Error::InvalidArgument(format!("requested character not valid for encoding: {code}"))),
        }
    })
}

pub(super) fn md5(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let texts = arguments.texts(0)?;
    arguments.map_to_text(|row, out| {
        digest::write_hex(texts.get(row).as_bytes(), out);
        Ok(())
    })
}
