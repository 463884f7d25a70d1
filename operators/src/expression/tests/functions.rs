//! The scalar functions; most examples are those of PostgreSQL's documentation.

use super::*;
use crate::expression::ScalarFunction as F;

fn call(function: F, arguments: Vec<Expression>, data_type: DataType) -> Expression {
    Expression::Function { function, arguments, data_type }
}

fn t(value: &str) -> Expression {
    literal(text(value))
}

fn i(value: i32) -> Expression {
    literal(Scalar::Int32(value))
}

fn d(value: f64) -> Expression {
    literal(Scalar::Float64(value))
}

#[test]
fn texts_from_texts() {
    for (function, arguments, expected) in [
        (F::Upper, vec![t("tom ä ß")], "TOM Ä ß"),
        (F::Lower, vec![t("TOM Ä")], "tom ä"),
        (F::InitCap, vec![t("hi THOMAS o'neil")], "Hi Thomas O'Neil"),
        (F::Substring, vec![t("Thomas"), i(2), i(3)], "hom"),
        (F::Substring, vec![t("Thomas"), i(3)], "omas"),
        (F::Substring, vec![t("Thomas"), i(-1), i(4)], "Th"),
        (F::Substring, vec![t("Thomas"), i(9), i(4)], ""),
        (F::Substring, vec![t("äöüß"), i(2), i(2)], "öü"),
        (F::Substring, vec![t("abc"), i(2), i(i32::MAX)], "bc"),
        (F::Left, vec![t("abcde"), i(2)], "ab"),
        (F::Left, vec![t("abcde"), i(-2)], "abc"),
        (F::Right, vec![t("abcde"), i(2)], "de"),
        (F::Right, vec![t("abcde"), i(-2)], "cde"),
        (F::Right, vec![t("äö"), i(5)], "äö"),
        (F::Trim, vec![t("  x ")], "x"),
        (F::Trim, vec![t("yxTomxx"), t("xyz")], "Tom"),
        (F::TrimLeft, vec![t("zzzytest"), t("xyz")], "test"),
        (F::TrimRight, vec![t("testxxzx"), t("xyz")], "test"),
        (F::PadLeft, vec![t("hi"), i(5), t("xy")], "xyxhi"),
        (F::PadRight, vec![t("hi"), i(5), t("xy")], "hixyx"),
        (F::PadLeft, vec![t("hello"), i(2)], "he"),
        (F::PadRight, vec![t("hi"), i(4)], "hi  "),
        (F::Replace, vec![t("abcdefabcdef"), t("cd"), t("XX")], "abXXefabXXef"),
        (F::Translate, vec![t("12345"), t("143"), t("ax")], "a2x5"),
        (F::Reverse, vec![t("abcdä")], "ädcba"),
        (F::Repeat, vec![t("Pg"), i(4)], "PgPgPgPg"),
        (F::Repeat, vec![t("Pg"), i(-1)], ""),
        (F::SplitPart, vec![t("abc~@~def~@~ghi"), t("~@~"), i(2)], "def"),
        (F::SplitPart, vec![t("abc,def,ghi,jkl"), t(","), i(-2)], "ghi"),
        (F::SplitPart, vec![t("abc"), t(","), i(3)], ""),
        (F::Concat, vec![t("a"), t("b")], "ab"),
        (F::ConcatSkippingNulls, vec![t("abcde"), t("2"), literal(Scalar::Null(DataType::Utf8View)), t("22")], "abcde222"),
        (F::ConcatWithSeparator, vec![t(","), t("abcde"), literal(Scalar::Null(DataType::Utf8View)), t("22")], "abcde,22"),
        (F::Chr, vec![i(65)], "A"),
        (F::Md5, vec![t("abc")], "900150983cd24fb0d6963f7d28e17f72"),
        (F::RegexReplace, vec![t("Thomas"), t(".[mN]a."), t("M")], "ThM"),
        (F::RegexReplace, vec![t("foobarbaz"), t("b.."), t("X"), t("g")], "fooXX"),
        (F::RegexReplace, vec![t("foobarbaz"), t("b(..)"), t("X\\1Y"), t("g")], "fooXarYXazY"),
        (F::ToText, vec![d(1.5)], "1.5"),
    ] {
        let expression = call(function, arguments, DataType::Utf8View);
        assert_eq!(constant(&expression).as_deref(), Ok(expected), "{expression}");
    }
}

#[test]
fn numbers_from_texts() {
    for (function, arguments, expected) in [
        (F::Length, vec![t("jöse")], "4"),
        (F::OctetLength, vec![t("jöse")], "5"),
        (F::Position, vec![t("Thomas"), t("om")], "3"),
        (F::Position, vec![t("Thomas"), t("x")], "0"),
        (F::Position, vec![t("äöü"), t("ü")], "3"),
        (F::Ascii, vec![t("x")], "120"),
        (F::Ascii, vec![t("")], "0"),
    ] {
        assert_eq!(constant(&call(function, arguments, DataType::Int32)).as_deref(), Ok(expected));
    }
    for (function, arguments, expected) in [
        (F::StartsWith, vec![t("alphabet"), t("alph")], "true"),
        (F::RegexMatch, vec![t("Hello World"), t("world$"), t("i")], "true"),
        (F::RegexMatch, vec![t("thomas"), t(r"\mtom\M")], "false"),
        (F::RegexMatch, vec![t("a\nb"), t("a.b")], "true"),
    ] {
        assert_eq!(constant(&call(function, arguments, DataType::Boolean)).as_deref(), Ok(expected));
    }
}

#[test]
fn arguments_outside_the_domain() {
    for (function, arguments, data_type) in [
        (F::SplitPart, vec![t("abc"), t(","), i(0)], DataType::Utf8View),
        (F::Repeat, vec![t("abcdefghij"), i(i32::MAX)], DataType::Utf8View),
        (F::PadLeft, vec![t("abc"), i(i32::MAX)], DataType::Utf8View),
        (F::Chr, vec![i(0)], DataType::Utf8View),
        (F::Extract, vec![t("hour"), date("2001-02-16")], DataType::Int64),
        (F::Extract, vec![t("nonsense"), date("2001-02-16")], DataType::Int64),
    ] {
        let expression = call(function, arguments, data_type);
        assert!(matches!(constant(&expression), Err(Error::InvalidArgument(_))), "{expression}");
    }
    let failure = |function, arguments, data_type| constant(&call(function, arguments, data_type)).unwrap_err();
    assert_eq!(failure(F::Substring, vec![t("abc"), i(1), i(-1)], DataType::Utf8View), Error::NegativeLength);
    assert!(matches!(failure(F::Sqrt, vec![d(-1.0)], DataType::Float64), Error::InvalidPower(_)));
    assert!(matches!(failure(F::Power, vec![d(-8.0), d(0.5)], DataType::Float64), Error::InvalidPower(_)));
    assert!(matches!(failure(F::Ln, vec![d(0.0)], DataType::Float64), Error::InvalidLogarithm(_)));
    assert!(matches!(constant(&call(F::RegexMatch, vec![t("a"), t("(")], DataType::Boolean)), Err(Error::InvalidPattern(_))));
    assert!(matches!(constant(&call(F::Exp, vec![d(1e6)], DataType::Float64)), Err(Error::OutOfRange { .. })));
    assert!(matches!(constant(&call(F::Abs, vec![i(i32::MIN)], DataType::Int32)), Err(Error::OutOfRange { .. })));
    assert!(matches!(constant(&call(F::MakeDate, vec![i(2001), i(2), i(30)], DataType::Date32)), Err(Error::DateTimeOverflow { .. })));
}

#[test]
fn numbers() {
    let numeric = |scale| types::decimal(20, scale);
    for (function, arguments, data_type, expected) in [
        (F::Abs, vec![decimal("-17.4", 5, 1)], types::decimal(5, 1), "17.4"),
        (F::Sign, vec![d(-8.4)], DataType::Float64, "-1"),
        (F::Sign, vec![decimal("-8.4", 5, 1)], numeric(0), "-1"),
        (F::Ceil, vec![decimal("42.2", 5, 1)], numeric(0), "43"),
        (F::Ceil, vec![decimal("-42.8", 5, 1)], numeric(0), "-42"),
        (F::Ceil, vec![d(-0.5)], DataType::Float64, "-0"),
        (F::Floor, vec![decimal("42.8", 5, 1)], numeric(0), "42"),
        (F::Floor, vec![decimal("-42.8", 5, 1)], numeric(0), "-43"),
        (F::Round, vec![decimal("42.5", 5, 1)], numeric(0), "43"),
        (F::Round, vec![d(42.5)], DataType::Float64, "42"),
        (F::Round, vec![decimal("42.4382", 6, 4), i(2)], numeric(2), "42.44"),
        (F::Round, vec![decimal("1234.56", 6, 2), i(-1)], numeric(0), "1230"),
        (F::Round, vec![decimal("-0.5", 6, 1)], numeric(0), "-1"),
        (F::Truncate, vec![decimal("42.4382", 6, 4), i(2)], numeric(2), "42.43"),
        (F::Truncate, vec![decimal("-42.8", 6, 1)], numeric(0), "-42"),
        (F::Truncate, vec![d(-42.8)], DataType::Float64, "-42"),
        (F::Sqrt, vec![d(2.0)], DataType::Float64, "1.4142135623730951"),
        (F::Cbrt, vec![d(64.0)], DataType::Float64, "4"),
        (F::Power, vec![d(9.0), d(3.0)], DataType::Float64, "729"),
        (F::Log, vec![d(2.0), d(64.0)], DataType::Float64, "6"),
        (F::Pi, vec![], DataType::Float64, "3.141592653589793"),
        (F::Gcd, vec![literal(Scalar::Int64(1071)), literal(Scalar::Int64(-462))], DataType::Int64, "21"),
        (F::Lcm, vec![literal(Scalar::Int64(1071)), literal(Scalar::Int64(462))], DataType::Int64, "23562"),
        (F::Greatest, vec![i(3), literal(Scalar::Null(DataType::Int32)), i(7)], DataType::Int32, "7"),
        (F::Least, vec![literal(Scalar::Null(DataType::Int32)), i(3), i(7)], DataType::Int32, "3"),
        (F::NullIf, vec![i(3), i(3)], DataType::Int32, "NULL"),
        (F::NullIf, vec![i(3), i(4)], DataType::Int32, "3"),
        (F::Coalesce, vec![literal(Scalar::Null(DataType::Int32)), i(4)], DataType::Int32, "4"),
    ] {
        let expression = call(function, arguments, data_type);
        assert_eq!(constant(&expression).as_deref(), Ok(expected), "{expression}");
    }
}

#[test]
fn fields_of_dates() {
    let at = || timestamp("2001-02-16 20:38:40.12");
    let numeric = || DataType::Decimal128(38, 6);
    for (field, operand, data_type, expected) in [
        ("century", timestamp("2000-12-16 12:21:13"), DataType::Int64, "20"),
        ("century", at(), DataType::Int64, "21"),
        ("day", at(), DataType::Int64, "16"),
        ("decade", at(), DataType::Int64, "200"),
        ("dow", at(), DataType::Int64, "5"),
        ("doy", at(), DataType::Int64, "47"),
        ("epoch", at(), numeric(), "982355920.120000"),
        ("hour", at(), DataType::Int64, "20"),
        ("isodow", timestamp("2001-02-18 20:38:40"), DataType::Int64, "7"),
        ("isoyear", date("2006-01-01"), DataType::Int64, "2005"),
        ("isoyear", date("2006-01-02"), DataType::Int64, "2006"),
        ("julian", date("2006-01-01"), DataType::Int64, "2453737"),
        ("microseconds", at(), DataType::Int64, "40120000"),
        ("millennium", at(), DataType::Int64, "3"),
        ("milliseconds", at(), numeric(), "40120.000000"),
        ("minute", at(), DataType::Int64, "38"),
        ("month", at(), DataType::Int64, "2"),
        ("quarter", at(), DataType::Int64, "1"),
        ("second", at(), numeric(), "40.120000"),
        ("week", at(), DataType::Int64, "7"),
        ("year", at(), DataType::Int64, "2001"),
        ("year", date("1998-09-02"), DataType::Int64, "1998"),
        ("year", date("1998-09-02"), numeric(), "1998.000000"),
        ("year", date("0044-03-15 BC"), DataType::Int64, "-44"),
        ("month", interval("2 years 13 months"), DataType::Int64, "1"),
        ("epoch", interval("5 days 3 hours"), numeric(), "442800.000000"),
    ] {
        let expression = call(F::Extract, vec![t(field), operand], data_type);
        assert_eq!(constant(&expression).as_deref(), Ok(expected), "{expression}");
    }
    let years = call(F::Extract, vec![t("year"), column(0, DataType::Date32)], DataType::Int64);
    let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(-1), None, Some(0), Some(11_016), Some(i32::MAX)]));
    assert_eq!(shown(&years, &batch(vec![days])).unwrap(), ["1969", "NULL", "1970", "2000", "5881580"]);
}

#[test]
fn other_functions_of_dates() {
    let at = || timestamp("2001-02-16 20:38:40");
    for (field, expected) in [
        ("hour", "2001-02-16 20:00:00"),
        ("year", "2001-01-01 00:00:00"),
        ("month", "2001-02-01 00:00:00"),
        ("quarter", "2001-01-01 00:00:00"),
        ("week", "2001-02-12 00:00:00"),
        ("century", "2001-01-01 00:00:00"),
        ("decade", "2000-01-01 00:00:00"),
    ] {
        let truncated = call(F::DateTrunc, vec![t(field), at()], types::timestamp());
        assert_eq!(constant(&truncated).as_deref(), Ok(expected));
    }
    let age = |left, right| constant(&call(F::Age, vec![timestamp(left), timestamp(right)], types::interval())).unwrap();
    assert_eq!(age("2001-04-10", "1957-06-13"), "43 years 9 mons 27 days");
    assert_eq!(age("1957-06-13", "2001-04-10"), "-43 years -9 mons -27 days");
    assert_eq!(constant(&call(F::MakeDate, vec![i(2013), i(7), i(15)], DataType::Date32)).unwrap(), "2013-07-15");
}

#[test]
fn templates() {
    for (template, expected) in [
        ("YYYY-MM-DD HH24:MI:SS", "2001-02-06 20:38:04"),
        ("HH12:MI:SS AM", "08:38:04 PM"),
        ("Day, DD  HH12:MI:SS", "Tuesday  , 06  08:38:04"),
        ("FMDay, FMDD  HH12:MI:SS", "Tuesday, 6  08:38:04"),
        ("FMMonth FMDDth, YYYY", "February 6th, 2001"),
        ("DD Mon YY", "06 Feb 01"),
        ("\"Q\"Q YYYY", "Q1 2001"),
        ("IYYY-IW-ID", "2001-06-2"),
        ("MS US", "120 120000"),
    ] {
        let at = timestamp("2001-02-06 20:38:04.12");
        assert_eq!(constant(&call(F::ToChar, vec![at, t(template)], DataType::Utf8View)).as_deref(), Ok(expected), "{template}");
    }
    for (value, template, expected) in [
        ("05 Dec 2000", "DD Mon YYYY", "2000-12-05"),
        ("20001205", "YYYYMMDD", "2000-12-05"),
        ("2000/12/5", "YYYY-MM-DD", "2000-12-05"),
        ("December 5, 2000", "Month DD, YYYY", "2000-12-05"),
        ("2001 047", "YYYY DDD", "2001-02-16"),
    ] {
        let parsed = call(F::ToDate, vec![t(value), t(template)], DataType::Date32);
        assert_eq!(constant(&parsed).as_deref(), Ok(expected), "{value}");
    }
}

#[test]
fn functions_of_dictionaries_stay_dictionaries() {
    let phones = dictionary(&[Some(1), Some(0), None, Some(2)], &["13-702", "31-100", "13-999"]);
    let prefix = call(F::Substring, vec![column(0, DataType::Utf8View), i(1), i(2)], DataType::Utf8View);
    let result = Evaluator::new(vec![prefix]).evaluate(&batch(vec![phones])).unwrap().remove(0);
    let codes = result.data_type().clone();
    assert_eq!(codes, types::string_dictionary());
    let result_texts = super::super::cast::cast(&result, &DataType::Utf8View).unwrap();
    assert_eq!(*result_texts, *texts(&[Some("31"), Some("13"), None, Some("13")]));
    let entries = arrow::array::AsArray::as_any_dictionary(&result).values().len();
    assert_eq!(entries, 2, "equal results share a code");
}

#[test]
fn coalesce_looks_at_later_arguments_only_where_it_must() {
    let x = || column(0, DataType::Int32);
    let quotient = arithmetic(Arithmetic::Divide, i(6), column(1, DataType::Int32), DataType::Int32);
    let expression = call(F::Coalesce, vec![x(), quotient], DataType::Int32);
    let columns = batch(vec![ints(&[Some(1), None, None]), ints(&[Some(0), Some(2), None])]);
    assert_eq!(shown(&expression, &columns).unwrap(), ["1", "3", "NULL"]);
}
