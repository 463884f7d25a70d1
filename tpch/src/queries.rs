//! The texts of the 22 queries, with the parameters the specification uses for validation.
//!
//! Position: embedded from `queries/*.sql`, which stay plain files that any SQL client can run.

/// How many queries there are; they are numbered from 1.
pub const QUERY_COUNT: usize = 22;

macro_rules! texts {
    ($($number:literal)*) => {
        [$(include_str!(concat!("../queries/q", $number, ".sql"))),*]
    };
}

static QUERIES: [&str; QUERY_COUNT] = texts!(
    "01" "02" "03" "04" "05" "06" "07" "08" "09" "10" "11" "12" "13" "14" "15" "16" "17" "18" "19" "20" "21" "22"
);

/// All queries, with their numbers.
pub fn queries() -> impl Iterator<Item = (usize, &'static str)> {
    QUERIES.iter().enumerate().map(|(index, text)| (index + 1, *text))
}

/// Query `number` (1 to 22).
pub fn query(number: usize) -> Option<&'static str> {
    QUERIES.get(number.checked_sub(1)?).copied()
}

/// What query `number` orders its rows by: positions of result columns; rows that agree in all of them may come in any order.
/// Whether ascending or descending does not matter for comparing with an answer that is in order.
pub(crate) fn order_columns(number: usize) -> &'static [usize] {
    match number {
        1 | 12 | 22 => &[0],
        2 => &[0, 2, 1, 3],
        3 => &[1, 2],
        4 | 8 | 15 | 20 => &[0],
        5 | 11 => &[1],
        7 => &[0, 1, 2],
        9 => &[0, 1],
        10 => &[2],
        13 => &[1, 0],
        16 => &[3, 0, 1, 2],
        18 => &[4, 3],
        21 => &[1, 0],
        _ => &[],
    }
}

/// Result columns of query `number` that are quotients or averages: engines differ in how many digits they keep of them.
pub(crate) fn quotient_columns(number: usize) -> &'static [usize] {
    match number {
        1 => &[6, 7, 8],
        8 => &[1],
        14 | 17 => &[0],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_numbered_from_one() {
        assert_eq!(queries().count(), QUERY_COUNT);
        assert!(query(1).unwrap().contains("sum_disc_price"));
        assert!(query(22).unwrap().contains("cntrycode"));
        assert_eq!(query(0), None);
        assert_eq!(query(23), None);
    }

    #[test]
    fn order_columns_are_known_exactly_where_rows_are_ordered() {
        for (number, text) in queries() {
            assert_eq!(text.contains("ORDER BY"), !order_columns(number).is_empty(), "query {number}");
        }
    }
}
