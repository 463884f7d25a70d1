//! Text into statements, with limits that keep hostile text from harming the server.
//!
//! The grammar is `sqlparser`'s in PostgreSQL's dialect. Three things guard the stack: nesting is limited by
//! the parser's own recursion limit; chains of operators, which it turns into trees as deep as the chain is
//! long, are limited by a look at the tokens ([`complexity`]); and long chains of AND, OR and UNION, which
//! real clients write, are balanced ([`balance`]) before anybody walks over them.
//!
//! Deliberately elsewhere: what a parsed statement means here (`mapping`).

mod balance;
mod complexity;
mod mapping;

use sqlparser::{
    ast,
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};

use super::{
    position,
    statement::{Statement, StatementKind},
};
use crate::error::{Error, ErrorKind, Result};

/// How deep parentheses, subqueries and prefix operators may be nested.
const NESTING_MAX: usize = 128;

/// Splits and parses a text of several statements. Text without any statement is one [`StatementKind::Empty`].
///
/// # Errors
/// Syntax errors (42601), what is not supported (0A000), and text too complex to handle (54001), each with a
/// position in `text`.
pub fn parse(text: &str) -> Result<Vec<Statement>> {
    let mut statements = vec![];
    for piece in split(text)? {
        statements.push(parse_piece(&piece).map_err(|mut error| {
            error.position = error.position.map(|p| p + piece.offset);
            error
        })?);
    }
    if statements.is_empty() {
        statements.push(Statement { text: String::new(), offset: 0, kind: StatementKind::Empty });
    }
    Ok(statements)
}

/// One statement of a message.
struct Piece<'t> {
    text: &'t str,
    /// Characters before it.
    offset: usize,
}

/// Cuts a text at its semicolons; pieces without any token are left out.
fn split(text: &str) -> Result<Vec<Piece<'_>>> {
    let tokens = tokenize(text)?;
    let mut lines = vec![0];
    lines.extend(text.match_indices('\n').map(|(at, _)| at + 1));
    let mut cursor = Cursor { text, lines, line: 0, column: 0, byte: 0, characters: 0 };
    let mut pieces = vec![];
    let mut start: Option<(usize, usize)> = None;
    let mut end = 0;
    for token in &tokens {
        match &token.token {
            Token::Whitespace(_) | Token::EOF => {}
            Token::SemiColon => {
                if let Some((byte, offset)) = start.take() {
                    pieces.push(Piece { text: &text[byte..end], offset });
                }
            }
            _ => {
                if start.is_none() {
                    start = Some(cursor.advance(token.span.start));
                }
                end = cursor.advance(token.span.end).0;
            }
        }
    }
    if let Some((byte, offset)) = start {
        pieces.push(Piece { text: &text[byte..end], offset });
    }
    Ok(pieces)
}

/// A place in the text that moves forward from token to token.
struct Cursor<'t> {
    text: &'t str,
    /// Byte at which each line starts.
    lines: Vec<usize>,
    line: usize,
    column: usize,
    byte: usize,
    characters: usize,
}

impl Cursor<'_> {
    /// Moves to `location`, which is not before the present one; byte and characters before it.
    fn advance(&mut self, location: Location) -> (usize, usize) {
        let (line, column) = ((location.line as usize).saturating_sub(1), (location.column as usize).saturating_sub(1));
        while self.line < line && self.line + 1 < self.lines.len() {
            let next = self.lines[self.line + 1];
            self.characters += self.text[self.byte..next].chars().count();
            self.byte = next;
            self.line += 1;
            self.column = 0;
        }
        while self.line == line && self.column < column {
            let Some(character) = self.text[self.byte..].chars().next() else { break };
            self.byte += character.len_utf8();
            self.characters += 1;
            self.column += 1;
        }
        (self.byte, self.characters)
    }
}

fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>> {
    Tokenizer::new(&PostgreSqlDialect {}, text)
        .tokenize_with_location()
        .map_err(|error| Error::syntax(lower_first(error.message.trim_end())).at(position::of_location(text, error.location)))
}

fn parse_piece(piece: &Piece<'_>) -> Result<Statement> {
    let tokens = spell_out_table_commands(tokenize(piece.text)?);
    refuse_unparsable(&tokens).map_err(|(what, location)| Error::unsupported(what).at(position::of_location(piece.text, location)))?;
    let complexity = complexity::measure(&tokens);
    complexity.check()?;
    let statement = if complexity.needs_stack() {
        on_large_stack(complexity.stack_bytes(), || parse_tokens(piece.text, tokens))?
    } else {
        parse_tokens(piece.text, tokens)?
    };
    let kind = mapping::statement_kind(statement, piece)?;
    Ok(Statement { text: piece.text.to_owned(), offset: piece.offset, kind })
}

/// Runs `work` on a thread of its own, whose stack is as large as asked (and costs only what is used of it).
pub(crate) fn on_large_stack<T: Send>(bytes: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("sql".to_owned()).stack_size(bytes).spawn_scoped(scope, work);
        match thread.map(|thread| thread.join()) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::internal("the SQL front end panicked")),
            Err(_) => Err(too_complex()),
        }
    })
}

/// 54001.
pub(super) fn too_complex() -> Error {
    Error::new(ErrorKind::Resource, "54001", "statement too complex")
        .with_hint("nest fewer expressions and subqueries into each other, or split long chains of operators")
}

fn parse_tokens(text: &str, tokens: Vec<TokenWithSpan>) -> Result<ast::Statement> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(tokens);
    let mut statement = match parser.parse_statement() {
        Ok(statement) => statement,
        Err(error) => return Err(parser_error(&error, parser.get_current_token(), text)),
    };
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(near(&rest.token.to_string(), position::of_span(text, rest.span)));
    }
    balance::balance(&mut statement)?;
    Ok(statement)
}

/// `TABLE x` where a query may begin becomes `SELECT * FROM x`: the crate's own reading of it swallows two tokens
/// more than the name, so that a LIMIT would be lost.
fn spell_out_table_commands(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    use Keyword::{ALL, AS, DISTINCT, EXCEPT, INTERSECT, TABLE, UNION};
    let mut spelled = Vec::with_capacity(tokens.len());
    let mut query_may_begin = true;
    for token in tokens {
        if matches!(&token.token, Token::Word(word) if word.keyword == TABLE) && query_may_begin {
            let words = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
            spelled.extend(words.map(|word| TokenWithSpan::new(word, token.span)));
            query_may_begin = false;
            continue;
        }
        match &token.token {
            Token::Whitespace(_) => {}
            Token::LParen | Token::RParen => query_may_begin = true,
            Token::Word(word) => query_may_begin = matches!(word.keyword, UNION | INTERSECT | EXCEPT | ALL | DISTINCT | AS),
            _ => query_may_begin = false,
        }
        spelled.push(token);
    }
    spelled
}

/// What the grammar does not know and would report as a mistake of the author's.
fn refuse_unparsable(tokens: &[TokenWithSpan]) -> std::result::Result<(), (&'static str, Location)> {
    let is_word = |token: &TokenWithSpan, word: &str| matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
    let mut after_between = false;
    for token in tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))) {
        if after_between && (is_word(token, "symmetric") || is_word(token, "asymmetric")) {
            return Err(("BETWEEN SYMMETRIC", token.span.start));
        }
        after_between = matches!(&token.token, Token::Word(w) if w.keyword == Keyword::BETWEEN);
    }
    Ok(())
}

/// The parser's message names what it expected, what it found, and (in words) where.
fn parser_error(error: &ParserError, last: &TokenWithSpan, text: &str) -> Error {
    let message = match error {
        ParserError::RecursionLimitExceeded => return too_complex(),
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
    };
    let (message, mut location) = split_location(message);
    // Of a FROM in the place of an expression the parser gives the place of what follows.
    if message.starts_with("Expected an expression, found: ") {
        location = Some(last.span.start);
    }
    let position = location.and_then(|l| position::of_location(text, l));
    match message.split_once(", found: ") {
        Some((_, "EOF")) => Error::syntax("syntax error at end of input").at(Some(text.chars().count() + 1)),
        Some((expected, found)) => near(found, position).with_detail(lower_first(expected)),
        None => Error::syntax(format!("syntax error: {}", lower_first(message))).at(position),
    }
}

fn near(token: &str, position: Option<usize>) -> Error {
    Error::syntax(format!("syntax error at or near \"{}\"", super::literal::shorten(token))).at(position)
}

/// Takes ` at Line: 1, Column: 8` off the end of a message.
fn split_location(message: &str) -> (&str, Option<Location>) {
    let Some((before, place)) = message.rsplit_once(" at Line: ") else { return (message, None) };
    let location = place.split_once(", Column: ").and_then(|(line, column)| {
        let column: String = column.chars().take_while(char::is_ascii_digit).collect();
        Some(Location::new(line.parse().ok()?, column.parse().ok()?))
    });
    (before, location)
}

fn lower_first(message: &str) -> String {
    let mut characters = message.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
