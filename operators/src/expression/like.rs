//! LIKE and ILIKE: patterns compiled into literal pieces that are searched with SIMD.
//!
//! A pattern is cut at its `%` into pieces; a piece is a run of literal bytes or, with `_`, of literals and
//! single characters. The first piece must match at the start and the last at the end, unless a `%` stands
//! there; the pieces between are searched from left to right, each as early as possible, which needs no
//! backtracking.

use arrow::{
    array::{Array, ArrayRef, BooleanArray, StringViewArray},
    buffer::{BooleanBuffer, NullBuffer},
};
use memchr::memmem::Finder;

use super::datum::{Datum, Texts, string_views};
use crate::{Error, Result};

/// What a pattern means beside its text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LikeOptions {
    /// Makes the next character a literal; `None`: no character does.
    pub(crate) escape: Option<char>,
    /// Letters match in either case.
    pub(crate) case_insensitive: bool,
}

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Matcher {
    shape: Shape,
    case_insensitive: bool,
}

#[derive(Debug)]
enum Shape {
    /// No `%`.
    Whole(Piece),
    /// `first%middle%…%last`; a piece may be empty.
    Pieces { first: Piece, middle: Vec<Piece>, last: Piece },
}

/// What stands between two `%`.
#[derive(Debug)]
enum Piece {
    Literal(Finder<'static>),
    /// Literals with single-character wildcards between.
    Mixed(Vec<Element>),
}

#[derive(Debug)]
enum Element {
    Literal(String),
    AnyCharacter,
}

impl Matcher {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`Error::UnfinishedEscape`] if it ends with the escape character.
    pub(crate) fn new(pattern: &str, options: LikeOptions) -> Result<Matcher> {
        let LikeOptions { escape, case_insensitive } = options;
        let mut pieces = if case_insensitive { parse(&pattern.to_lowercase(), escape)? } else { parse(pattern, escape)? };
        let last = pieces.pop().map_or_else(|| Piece::new(Vec::new()), Piece::new);
        let mut pieces = pieces.into_iter().map(Piece::new);
        let shape = match pieces.next() {
            None => Shape::Whole(last),
            Some(first) => Shape::Pieces { first, middle: pieces.filter(|piece| !piece.is_empty()).collect(), last },
        };
        Ok(Matcher { shape, case_insensitive })
    }

    /// Whether `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        if self.case_insensitive {
            return self.shape.matches(text.to_lowercase().as_bytes());
        }
        self.shape.matches(text.as_bytes())
    }

    /// The literal of `%literal%`, and of every other pattern that starts with a `%` and a literal.
    fn leading_search(&self) -> Option<&Finder<'static>> {
        match &self.shape {
            Shape::Pieces { first, middle, .. } if first.is_empty() && !self.case_insensitive => match middle.first() {
                Some(Piece::Literal(finder)) => Some(finder),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether a text matches whose first occurrence of [`Self::leading_search`] ends at `end`.
    fn matches_after_search(&self, text: &[u8], end: usize) -> bool {
        match &self.shape {
            Shape::Pieces { middle, last, .. } => matches_rest(&text[end..], &middle[1..], last),
            Shape::Whole(_) => false,
        }
    }
}

impl Shape {
    #[inline]
    fn matches(&self, text: &[u8]) -> bool {
        match self {
            Shape::Whole(piece) => piece.match_at_start(text) == Some(text.len()),
            Shape::Pieces { first, middle, last } => match first.match_at_start(text) {
                Some(end) => matches_rest(&text[end..], middle, last),
                None => false,
            },
        }
    }
}

fn matches_rest(mut text: &[u8], middle: &[Piece], last: &Piece) -> bool {
    for piece in middle {
        match piece.find(text) {
            Some(end) => text = &text[end..],
            None => return false,
        }
    }
    last.matches_at_end(text)
}

impl Piece {
    fn new(elements: Vec<Element>) -> Piece {
        match elements.as_slice() {
            [] => Piece::Literal(Finder::new(b"").into_owned()),
            [Element::Literal(text)] => Piece::Literal(Finder::new(text.as_bytes()).into_owned()),
            _ => Piece::Mixed(elements),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Piece::Literal(finder) if finder.needle().is_empty())
    }

    /// Where the match that starts with the text ends.
    fn match_at_start(&self, text: &[u8]) -> Option<usize> {
        match self {
            Piece::Literal(finder) => text.starts_with(finder.needle()).then_some(finder.needle().len()),
            Piece::Mixed(elements) => {
                let mut at = 0;
                for element in elements {
                    match element {
                        Element::Literal(literal) if text[at..].starts_with(literal.as_bytes()) => at += literal.len(),
                        Element::AnyCharacter if at < text.len() => at += character_bytes(text[at]).min(text.len() - at),
                        _ => return None,
                    }
                }
                Some(at)
            }
        }
    }

    /// Where the first match anywhere ends.
    fn find(&self, text: &[u8]) -> Option<usize> {
        match self {
            Piece::Literal(finder) => finder.find(text).map(|start| start + finder.needle().len()),
            Piece::Mixed(_) => {
                let mut start = 0;
                loop {
                    if let Some(length) = self.match_at_start(&text[start..]) {
                        return Some(start + length);
                    }
                    if start >= text.len() {
                        return None;
                    }
                    start += character_bytes(text[start]).min(text.len() - start);
                }
            }
        }
    }

    fn matches_at_end(&self, text: &[u8]) -> bool {
        match self {
            Piece::Literal(finder) => text.ends_with(finder.needle()),
            Piece::Mixed(elements) => {
                let mut text = text;
                for element in elements.iter().rev() {
                    match element {
                        Element::Literal(literal) => match text.strip_suffix(literal.as_bytes()) {
                            Some(rest) => text = rest,
                            None => return false,
                        },
                        Element::AnyCharacter => {
                            let Some(start) = text.iter().rposition(|byte| byte & 0xc0 != 0x80) else { return false };
                            text = &text[..start];
                        }
                    }
                }
                true
            }
        }
    }
}

/// Length of the character that starts with `first`.
fn character_bytes(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

/// The elements between the `%`: one list more than there are `%`.
fn parse(pattern: &str, escape: Option<char>) -> Result<Vec<Vec<Element>>> {
    let mut pieces = vec![Vec::new()];
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let is_escaped = escape == Some(character);
        let character = match is_escaped {
            true => characters.next().ok_or(Error::UnfinishedEscape)?,
            false => character,
        };
        let piece = pieces.last_mut().expect("starts with one piece and only grows");
        match character {
            '%' if !is_escaped => pieces.push(Vec::new()),
            '_' if !is_escaped => piece.push(Element::AnyCharacter),
            literal => match piece.last_mut() {
                Some(Element::Literal(text)) => text.push(literal),
                _ => piece.push(Element::Literal(literal.into())),
            },
        }
    }
    Ok(pieces)
}

/// Which texts match; NULL for NULL.
pub(crate) fn matches(matcher: &Matcher, array: &ArrayRef) -> Result<BooleanArray> {
    let texts = string_views(array)?;
    let mask = match matcher.leading_search() {
        Some(finder) => search_views(matcher, finder, &texts),
        None => BooleanBuffer::collect_bool(texts.len(), |row| matcher.matches(texts.value(row))),
    };
    Ok(BooleanArray::new(mask, texts.nulls().cloned()))
}

/// `%literal…`: texts that lie one after the other in a buffer (as a Parquet page leaves them) are searched as
/// one text, so that rows without the literal cost nothing of their own.
fn search_views(matcher: &Matcher, finder: &Finder<'_>, texts: &StringViewArray) -> BooleanBuffer {
    let mut builder = arrow::array::BooleanBufferBuilder::new(texts.len());
    builder.append_n(texts.len(), false);
    let mut row = 0;
    while row < texts.len() {
        let run = Run::starting_at(texts, row);
        if run.num_rows >= RUN_ROWS_MIN {
            run.search(matcher, finder, texts, |found| builder.set_bit(found, true));
        } else {
            for row in run.rows() {
                if matcher.matches(texts.value(row)) {
                    builder.set_bit(row, true);
                }
            }
        }
        row += run.num_rows;
    }
    builder.finish()
}

/// Shorter runs are matched row by row.
const RUN_ROWS_MIN: usize = 8;
/// Bytes between two texts of a run, at most: they are searched for nothing.
const GAP_BYTES_MAX: usize = 16;

/// Rows whose texts lie in one buffer in ascending order and close together.
struct Run {
    first_row: usize,
    num_rows: usize,
    buffer: usize,
    start: usize,
    end: usize,
}

impl Run {
    fn starting_at(texts: &StringViewArray, first_row: usize) -> Run {
        let place = |view: u128| {
            let length = view as u32 as usize;
            // Longer than what a view holds itself: the upper half is buffer and offset.
            (length > 12).then_some(((view >> 64) as u32 as usize, (view >> 96) as usize, length))
        };
        let Some((buffer, start, length)) = place(texts.views()[first_row]) else {
            return Run { first_row, num_rows: 1, buffer: 0, start: 0, end: 0 };
        };
        let mut end = start + length;
        let mut num_rows = 1;
        for &view in &texts.views()[first_row + 1..] {
            match place(view) {
                Some((other, start, length)) if other == buffer && start >= end && start - end <= GAP_BYTES_MAX => end = start + length,
                _ => break,
            }
            num_rows += 1;
        }
        Run { first_row, num_rows, buffer, start, end }
    }

    fn rows(&self) -> std::ops::Range<usize> {
        self.first_row..self.first_row + self.num_rows
    }

    fn search(&self, matcher: &Matcher, finder: &Finder<'_>, texts: &StringViewArray, mut found: impl FnMut(usize)) {
        let bytes = &texts.data_buffers()[self.buffer][self.start..self.end];
        let range = |row: usize| {
            let view = texts.views()[row];
            let start = (view >> 96) as usize - self.start;
            (start, start + view as u32 as usize)
        };
        let (mut row, mut from) = (self.first_row, 0);
        let last_row = self.first_row + self.num_rows - 1;
        while let Some(position) = finder.find(&bytes[from..]).map(|position| from + position) {
            while row < last_row && range(row).1 <= position {
                row += 1;
            }
            let (start, end) = range(row);
            let literal_end = position + finder.needle().len();
            if position < start || literal_end > end {
                // It begins in a gap or runs over the end of a text.
                from = position + 1;
                continue;
            }
            if matcher.matches_after_search(&bytes[start..end], literal_end - start) {
                found(row);
            }
            // The earliest occurrence decides; the rest of the text need not be looked at.
            from = end;
            if row == last_row {
                return;
            }
            row += 1;
        }
    }
}

/// LIKE with a pattern per row; a pattern is compiled again only when it changes.
pub(crate) fn matches_patterns(operand: &Datum, pattern: &Datum, options: LikeOptions, num_rows: usize) -> Result<BooleanArray> {
    let nulls = NullBuffer::union(operand.nulls(), pattern.nulls());
    let (texts, patterns) = (Texts::of(operand)?, Texts::of(pattern)?);
    let nulls = NullBuffer::union(nulls.as_ref(), NullBuffer::union(texts.nulls(), patterns.nulls()).as_ref());
    let mut last: Option<(&str, Matcher)> = None;
    let mut matched = Vec::with_capacity(num_rows);
    for row in 0..num_rows {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            matched.push(false);
            continue;
        }
        let pattern = patterns.get(row);
        let matcher = match last {
            Some((text, matcher)) if text == pattern => matcher,
            _ => Matcher::new(pattern, options)?,
        };
        matched.push(matcher.matches(texts.get(row)));
        last = Some((pattern, matcher));
    }
    Ok(BooleanArray::new(BooleanBuffer::from(matched), nulls))
}
