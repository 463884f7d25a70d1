//! Places in SQL text: the parser counts lines and columns, errors count characters.

use sqlparser::tokenizer::{Location, Span};

/// The character of `text`, from 1, at which `span` starts; `None` if the span is unknown.
pub fn of_span(text: &str, span: Span) -> Option<usize> {
    of_location(text, span.start)
}

/// The character of `text`, from 1, at `location`; `None` if the location is unknown.
pub fn of_location(text: &str, location: Location) -> Option<usize> {
    let line = usize::try_from(location.line.checked_sub(1)?).ok()?;
    let column = usize::try_from(location.column.checked_sub(1)?).ok()?;
    let characters: usize = text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    Some(characters + column + 1)
}
