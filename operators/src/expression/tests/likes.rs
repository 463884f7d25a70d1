//! LIKE.

use super::*;

fn matched(value: &str, pattern: &str, escape: Option<char>, case_insensitive: bool) -> Result<String> {
    constant(&Expression::Like {
        operand: Box::new(literal(text(value))),
        pattern: Box::new(literal(text(pattern))),
        escape,
        case_insensitive,
    })
}

#[test]
fn patterns() {
    for (value, pattern, expected) in [
        ("abc", "abc", true),
        ("abc", "a%", true),
        ("abc", "_b_", true),
        ("abc", "c", false),
        ("abc", "%", true),
        ("", "%", true),
        ("", "", true),
        ("", "_", false),
        ("abc", "", false),
        ("abc", "%c", true),
        ("abc", "%b%", true),
        ("abc", "a%c", true),
        ("ac", "a%c", true),
        ("a", "a%a", false),
        ("aba", "a%a", true),
        ("abcabc", "%abc", true),
        ("xabyabz", "%ab_", true),
        ("special packages request", "%special%requests%", false),
        ("special requests", "%special%requests%", true),
        ("requests special", "%special%requests%", false),
        ("aaa", "a%aa%a", false),
        ("aaaa", "a%aa%a", true),
        ("äöü", "_ö_", true),
        ("äöü", "__", false),
        ("ä", "_", true),
        ("xäy", "%_y", true),
        ("50%", "50\\%", true),
        ("50x", "50\\%", false),
        ("a_b", "a\\_b", true),
        ("axb", "a\\_b", false),
        ("a\\b", "a\\\\b", true),
        ("mississippi", "%iss%ip%", true),
        ("mississippi", "m%iss_pp_", true),
        ("mississippi", "%ss_ss%", true),
    ] {
        assert_eq!(matched(value, pattern, Some('\\'), false).unwrap(), expected.to_string(), "{value} LIKE {pattern}");
    }
}

#[test]
fn escapes_and_cases() {
    assert_eq!(matched("50%", "50!%", Some('!'), false).unwrap(), "true");
    assert_eq!(matched("a\\x", "a\\_", None, false).unwrap(), "true");
    assert_eq!(matched("ABC", "a%", Some('\\'), true).unwrap(), "true");
    assert_eq!(matched("ÄB", "äb", Some('\\'), true).unwrap(), "true");
    assert_eq!(matched("ABC", "a%", Some('\\'), false).unwrap(), "false");
    assert!(matches!(matched("abc", "abc\\", Some('\\'), false), Err(Error::UnfinishedEscape)));
}

#[test]
fn patterns_from_a_column() {
    let columns = batch(vec![texts(&[Some("abc"), Some("abc"), None, Some("abc")]), texts(&[Some("a%"), Some("b%"), Some("a%"), None])]);
    let expression = Expression::Like {
        operand: Box::new(column(0, DataType::Utf8View)),
        pattern: Box::new(column(1, DataType::Utf8View)),
        escape: Some('\\'),
        case_insensitive: false,
    };
    assert_eq!(shown(&expression, &columns).unwrap(), ["true", "false", "NULL", "NULL"]);
}

/// Texts that lie one after the other in one buffer, as a Parquet page leaves them: with lengths between.
fn page(values: &[&str]) -> ArrayRef {
    let mut bytes = Vec::new();
    let mut views = Vec::new();
    for value in values {
        bytes.extend((value.len() as u32).to_le_bytes());
        views.push(arrow::array::make_view(value.as_bytes(), 0, bytes.len() as u32));
        bytes.extend(value.as_bytes());
    }
    Arc::new(StringViewArray::try_new(views.into(), vec![bytes.into()], None).unwrap())
}

#[test]
fn texts_of_a_page_are_searched_together() {
    let mut values = vec!["a text without the word", "needle at the start of it", "the last word is needle", "first needle, second needle"];
    // The word runs over the end of one text into the next, and stands in a gap between.
    values.extend(["a long text that ends with nee", "dle begins the following one", "short", "needle", "and then some more text"]);
    let values: Vec<&str> = values.iter().copied().cycle().take(100).collect();
    for pattern in ["%needle%", "%needle%needle%", "%needle", "%text%the%", "%e%e%e%"] {
        let options = super::super::like::LikeOptions { escape: Some('\\'), case_insensitive: false };
        let matcher = super::super::like::Matcher::new(pattern, options).unwrap();
        let expected: Vec<usize> = (0..values.len()).filter(|&row| matcher.matches(values[row])).collect();
        let found = selected(&like(column(0, DataType::Utf8View), pattern), &batch(vec![page(&values)])).unwrap();
        assert_eq!(found, expected, "{pattern}");
        assert!(!found.is_empty());
    }
}
