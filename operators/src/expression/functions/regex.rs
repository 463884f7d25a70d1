//! Regular expressions: `~`, `regexp_like`, `regexp_replace`.
//!
//! Patterns are matched in linear time, so those with back references or look-around are refused. PostgreSQL's
//! word-boundary escapes are translated; as there, `.` matches a line feed and `^` and `$` only the ends of
//! the text unless a flag says otherwise.

use arrow::array::ArrayRef;
use regex::{Regex, RegexBuilder};

use super::arguments::Arguments;
use crate::{Error, Result, expression::datum::Texts};

/// The last pattern compiled; patterns are usually the same for all rows.
#[derive(Default)]
struct Compiled {
    pattern: String,
    flags: String,
    regex: Option<Regex>,
}

impl Compiled {
    fn get(&mut self, pattern: &str, flags: &str) -> Result<&Regex> {
        if self.regex.is_none() || self.pattern != pattern || self.flags != flags {
            self.regex = Some(compile(pattern, flags)?);
            (self.pattern, self.flags) = (pattern.to_owned(), flags.to_owned());
        }
        self.regex.as_ref().ok_or_else(|| Error::Internal("a pattern was lost".into()))
    }
}

fn compile(pattern: &str, flags: &str) -> Result<Regex> {
    let translated = translate(pattern);
    let mut builder = RegexBuilder::new(&translated);
    builder.dot_matches_new_line(true);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'c' => builder.case_insensitive(false),
            'n' | 'm' => builder.dot_matches_new_line(false).multi_line(true),
            'p' => builder.dot_matches_new_line(false),
            'w' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true).multi_line(false),
            'x' => builder.ignore_whitespace(true),
            'g' | 't' => &mut builder,
            other => return Err(Error::InvalidArgument(format!("invalid regular expression option: \"{other}\""))),
        };
    }
    builder.build().map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Error::InvalidPattern(format!("invalid regular expression: {reason}"))
    })
}

/// PostgreSQL's escapes as this library writes them.
fn translate(pattern: &str) -> String {
    let mut result = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            result.push(character);
            continue;
        }
        match characters.next() {
            Some('m') => result.push_str(r"\b{start}"),
            Some('M') => result.push_str(r"\b{end}"),
            Some('y') => result.push_str(r"\b"),
            Some('Y') => result.push_str(r"\B"),
            Some('Z') => result.push_str(r"\z"),
            Some(other) => result.extend(['\\', other]),
            None => result.push('\\'),
        }
    }
    result
}

fn flags(arguments: &Arguments<'_>, index: usize) -> Result<Texts> {
    if arguments.count() > index { arguments.texts(index) } else { Ok(Texts::Constant(String::new())) }
}

pub(super) fn matches(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (texts, patterns, flags) = (arguments.texts(0)?, arguments.texts(1)?, flags(arguments, 2)?);
    let mut compiled = Compiled::default();
    arguments.map_to_boolean(|row| Ok(compiled.get(patterns.get(row), flags.get(row))?.is_match(texts.get(row))))
}

pub(super) fn replace(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (texts, patterns, replacements) = (arguments.texts(0)?, arguments.texts(1)?, arguments.texts(2)?);
    let flags = flags(arguments, 3)?;
    let mut compiled = Compiled::default();
    arguments.map_to_text(|row, out| {
        let (text, flags) = (texts.get(row), flags.get(row));
        let regex = compiled.get(patterns.get(row), flags)?;
        let limit = if flags.contains('g') { usize::MAX } else { 1 };
        let mut end = 0;
        for captures in regex.captures_iter(text).take(limit) {
            let Some(whole) = captures.get(0) else { continue };
            out.push_str(&text[end..whole.start()]);
            expand(replacements.get(row), &captures, out);
            end = whole.end();
        }
        out.push_str(&text[end..]);
        Ok(())
    })
}

/// `\1` to `\9` are groups, `\&` is the whole match, `\\` a backslash.
fn expand(replacement: &str, captures: &regex::Captures<'_>, out: &mut String) {
    let mut characters = replacement.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('&') => out.push_str(&captures[0]),
            Some(digit @ '1'..='9') => {
                let group = captures.get(digit as usize - '0' as usize);
                out.push_str(group.map_or("", |group| group.as_str()));
            }
            Some('\\') | None => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
        }
    }
}
