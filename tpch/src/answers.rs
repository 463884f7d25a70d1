//! The answers to the 22 queries, and how a result is compared with them.
//!
//! Position: embedded from `answers/sf*/`; `README.md` says where they come from. An answer is a table of texts, or a digest
//! of one where the table is large.
//!
//! A result is right when it has the same rows in the same order, but rows that agree in all ORDER BY columns may
//! come in any order. Numbers are compared exactly, trailing zeros of a fraction aside. Averages and quotients are
//! compared within a relative 1e-6, because engines keep different numbers of their digits.

use std::fmt;

use crate::queries::{QUERY_COUNT, order_columns, quotient_columns};

/// Largest relative error of a quotient.
const QUOTIENT_TOLERANCE: f64 = 1e-6;

/// The answer to a query at a scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    number: usize,
    content: Content,
}

#[derive(Debug, Clone, PartialEq)]
enum Content {
    Rows(Vec<Vec<&'static str>>),
    Digest { rows: usize, fnv1a64: u64 },
}

/// Where a result differs from the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// A different number of rows.
    RowCount {
        /// Of the answer.
        expected: usize,
        /// Of the result.
        actual: usize,
    },
    /// A row that should be elsewhere or nowhere.
    Row {
        /// Its position, from 0.
        index: usize,
        /// What the answer has there.
        expected: Vec<String>,
        /// What the result has there.
        actual: Vec<String>,
    },
    /// The same number of rows, but not the same ones.
    Digest {
        /// Of the answer.
        expected: u64,
        /// Of the result.
        actual: u64,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::RowCount { expected, actual } => write!(f, "{actual} rows instead of {expected}"),
            Difference::Row { index, expected, actual } => {
                write!(f, "row {index} is {} instead of {}", actual.join("|"), expected.join("|"))
            }
            Difference::Digest { expected, actual } => write!(f, "digest {actual:016x} instead of {expected:016x}"),
        }
    }
}

impl std::error::Error for Difference {}

macro_rules! scale {
    ($scale:literal: $($number:literal)*) => {
        [$(($number, include_str!(concat!("../answers/sf", $scale, "/q", $number, ".csv")))),*]
    };
}

static SF0_01: [(&str, &str); QUERY_COUNT] = scale!("0.01":
    "01" "02" "03" "04" "05" "06" "07" "08" "09" "10" "11" "12" "13" "14" "15" "16" "17" "18" "19" "20" "21" "22");
static SF0_1: [(&str, &str); QUERY_COUNT] = scale!("0.1":
    "01" "02" "03" "04" "05" "06" "07" "08" "09" "10" "11" "12" "13" "14" "15" "16" "17" "18" "19" "20" "21" "22");
static SF1: [(&str, &str); QUERY_COUNT - 1] = scale!("1":
    "01" "02" "03" "04" "05" "06" "07" "08" "09" "10" "11" "12" "13" "14" "15" "17" "18" "19" "20" "21" "22");
static SF10: [(&str, &str); QUERY_COUNT - 1] = scale!("10":
    "01" "02" "03" "04" "05" "06" "07" "08" "09" "10" "11" "12" "13" "14" "15" "17" "18" "19" "20" "21" "22");

/// The answer to query `number` (1 to 22) at scale 0.01, 0.1, 1 or 10; `None` for other scales and numbers.
pub fn answer(scale: f64, number: usize) -> Option<Answer> {
    let (texts, digest): (&[(&str, &'static str)], _) = if scale == 0.01 {
        (&SF0_01, None)
    } else if scale == 0.1 {
        (&SF0_1, None)
    } else if scale == 1.0 {
        (&SF1, Some(include_str!("../answers/sf1/q16.digest")))
    } else if scale == 10.0 {
        (&SF10, Some(include_str!("../answers/sf10/q16.digest")))
    } else {
        return None;
    };
    let content = match texts.iter().find(|(name, _)| name.parse() == Ok(number)) {
        // The first line is a header.
        Some((_, text)) => Content::Rows(text.lines().skip(1).map(|line| line.split('|').collect()).collect()),
        None if number == 16 => parse_digest(digest?)?,
        None => return None,
    };
    Some(Answer { number, content })
}

fn parse_digest(text: &str) -> Option<Content> {
    let (rows, digest) = text.trim().split_once('\n')?;
    Some(Content::Digest {
        rows: rows.strip_prefix("rows ")?.parse().ok()?,
        fnv1a64: u64::from_str_radix(digest.strip_prefix("fnv1a64 ")?, 16).ok()?,
    })
}

/// Compares a result, row by row as text (dates as `1995-03-15`, NULL as `NULL`), with an answer.
///
/// # Errors
/// The first difference.
pub fn compare(answer: &Answer, rows: &[Vec<String>]) -> Result<(), Difference> {
    let expected_rows = match &answer.content {
        Content::Rows(expected) => expected.len(),
        Content::Digest { rows, .. } => *rows,
    };
    if rows.len() != expected_rows {
        return Err(Difference::RowCount { expected: expected_rows, actual: rows.len() });
    }
    match &answer.content {
        Content::Rows(expected) => compare_rows(answer.number, expected, rows),
        Content::Digest { fnv1a64, .. } => {
            let actual = digest(rows);
            if actual == *fnv1a64 { Ok(()) } else { Err(Difference::Digest { expected: *fnv1a64, actual }) }
        }
    }
}

fn compare_rows(number: usize, expected: &[Vec<&str>], rows: &[Vec<String>]) -> Result<(), Difference> {
    let order = order_columns(number);
    let quotients = quotient_columns(number);
    let mut start = 0;
    while start < expected.len() {
        // Without ORDER BY there are no columns to differ in: one group of all rows.
        let ties = |row: &&Vec<&str>| order.iter().all(|column| row[*column] == expected[start][*column]);
        let end = start + expected[start..].iter().take_while(ties).count();
        let mut open: Vec<usize> = (start..end).collect();
        for index in start..end {
            let Some(found) = open.iter().position(|candidate| same_row(&expected[*candidate], &rows[index], quotients)) else {
                return Err(Difference::Row {
                    index,
                    expected: expected[index].iter().map(|value| value.to_string()).collect(),
                    actual: rows[index].clone(),
                });
            };
            open.swap_remove(found);
        }
        start = end;
    }
    Ok(())
}

fn same_row(expected: &[&str], actual: &[String], quotients: &[usize]) -> bool {
    expected.len() == actual.len()
        && expected.iter().zip(actual).enumerate().all(|(column, (expected, actual))| {
            trim_fraction(expected) == trim_fraction(actual) || quotients.contains(&column) && close(expected, actual)
        })
}

/// The text of a number without trailing zeros after its point; any other text as it is.
fn trim_fraction(text: &str) -> &str {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_fraction = digits.contains('.') && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_fraction && digits.matches('.').count() == 1 { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn close(expected: &str, actual: &str) -> bool {
    match (expected.parse::<f64>(), actual.parse::<f64>()) {
        (Ok(expected), Ok(actual)) => (expected - actual).abs() <= QUOTIENT_TOLERANCE * expected.abs(),
        _ => false,
    }
}

/// FNV-1a, 64 bit, over all rows: values joined by `|`, each row ended by a line feed.
fn digest(rows: &[Vec<String>]) -> u64 {
    let text = rows.iter().flat_map(|row| {
        let values = row.iter().enumerate();
        values.flat_map(|(column, value)| (column > 0).then_some(b'|').into_iter().chain(value.bytes())).chain([b'\n'])
    });
    text.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(answer: &Answer) -> Vec<Vec<String>> {
        match &answer.content {
            Content::Rows(rows) => rows.iter().map(|row| row.iter().map(|value| value.to_string()).collect()).collect(),
            Content::Digest { .. } => panic!("a digest has no rows"),
        }
    }

    #[test]
    fn every_query_has_an_answer_at_every_scale_and_agrees_with_itself() {
        for scale in [0.01, 0.1, 1.0, 10.0] {
            for number in 1..=QUERY_COUNT {
                let answer = answer(scale, number).unwrap_or_else(|| panic!("query {number} at {scale}"));
                if matches!(answer.content, Content::Rows(_)) {
                    assert_eq!(compare(&answer, &rows_of(&answer)), Ok(()), "query {number} at {scale}");
                }
            }
        }
        assert_eq!(answer(2.0, 1), None);
        assert_eq!(answer(1.0, 23), None);
        assert_eq!(answer(1.0, 0), None);
    }

    #[test]
    fn a_digest_sees_values_order_and_number_of_rows() {
        let answer = |rows| Answer { number: 16, content: Content::Digest { rows, fnv1a64: 0x7adb_5cbe_9427_05b2 } };
        let row = |values: &[&str]| values.iter().map(|value| value.to_string()).collect::<Vec<_>>();
        let right = vec![row(&["a", "1"]), row(&["b", "2"])];
        let computed = digest(&right);
        // FNV-1a of "a|1\nb|2\n", by the reference definition, one byte after the other.
        let reference = b"a|1\nb|2\n"
            .iter()
            .fold(14_695_981_039_346_656_037_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(1_099_511_628_211));
        assert_eq!(computed, reference);
        assert_ne!(digest(&[right[1].clone(), right[0].clone()]), computed);
        assert!(matches!(compare(&answer(3), &right), Err(Difference::RowCount { expected: 3, actual: 2 })));
        assert!(matches!(compare(&answer(2), &right), Err(Difference::Digest { .. })));
    }

    #[test]
    fn rows_that_tie_may_change_places_and_others_may_not() {
        // Query 11 orders by its second column.
        let answer = Answer { number: 11, content: Content::Rows(vec![vec!["1", "9.50"], vec!["2", "9.50"], vec!["3", "4.00"]]) };
        let rows = |values: [(&str, &str); 3]| values.map(|(key, value)| vec![key.to_owned(), value.to_owned()]);
        assert_eq!(compare(&answer, &rows([("2", "9.5"), ("1", "9.50"), ("3", "4")])), Ok(()));
        let swapped = compare(&answer, &rows([("1", "9.50"), ("3", "4.00"), ("2", "9.50")]));
        assert!(matches!(swapped, Err(Difference::Row { index: 1, .. })));
        let doubled = compare(&answer, &rows([("1", "9.50"), ("1", "9.50"), ("3", "4.00")]));
        assert!(matches!(doubled, Err(Difference::Row { index: 1, .. })));
    }

    #[test]
    fn only_quotients_may_be_a_little_off() {
        let is_same = |expected: &str, actual: &str, quotients: &[usize]| same_row(&[expected], &[actual.to_owned()], quotients);
        for (expected, actual, quotient, same) in [
            ("25.522005853257337", "25.5220058532573371", true, true),
            ("25.522005853257337", "25.5221", true, false),
            ("1.0000000001", "1.0000000002", false, false),
            ("120.50", "120.5", false, true),
            ("120", "1200", false, false),
            ("100", "1", false, false),
            ("-0.50", "-0.5", false, true),
            ("Brand#10", "Brand#1", false, false),
            ("1.2.0", "1.2", false, false),
            ("NULL", "NULL", true, true),
            ("NULL", "0", true, false),
        ] {
            assert_eq!(is_same(expected, actual, if quotient { &[0] } else { &[] }), same, "{expected} and {actual}");
        }
    }
}
