//! The proleptic Gregorian calendar: days since 1970-01-01 to year, month, day and back.
//!
//! Years are astronomical: 0 is 1 BC. The general conversions follow the usual era arithmetic (400 years are
//! 146,097 days, years begin in March); the year of a whole column uses the multiplications of C. Neri and
//! L. Schneider, "Euclidean affine functions and their application to calendar algorithms" (2022), which
//! vectorize.

/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400_000_000;
/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Year, month (1..=12) and day (1..=31).
pub(crate) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + EPOCH_DAYS;
    let era = shifted.div_euclid(ERA_DAYS);
    let day_of_era = shifted.rem_euclid(ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

/// The inverse; `month` in 1..=12, any `day` that exists or not is counted on.
pub(crate) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH_DAYS
}

/// Whether `year` has a 29th of February.
pub(crate) fn is_leap_year(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of the month.
pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap_year(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 0 for Sunday.
pub(crate) fn day_of_week(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// 1 for 1 January.
pub(crate) fn day_of_year(days: i64) -> i64 {
    let (year, ..) = civil_from_days(days);
    days - days_from_civil(year, 1, 1) + 1
}

/// ISO 8601 year and week: week 1 is the one with the year's first Thursday.
pub(crate) fn iso_year_and_week(days: i64) -> (i64, i64) {
    // The Thursday of the same week, weeks beginning on Monday.
    let thursday = days - (day_of_week(days) + 6) % 7 + 3;
    let (year, ..) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// Days for which [`years_of_days`] needs no 64-bit division: years -3000 to 30000 or so.
const PLAIN_DAYS: std::ops::Range<i32> = -1_700_000..10_000_000;
/// Whole eras added so that [`PLAIN_DAYS`] are positive.
const SHIFT_ERAS: i32 = 16;

/// The year of each day.
pub(crate) fn years_of_days<Y: Copy>(days: &[i32], convert: impl Fn(i32) -> Y) -> Vec<Y> {
    let plain = days.iter().fold(true, |plain, day| plain & (*day >= PLAIN_DAYS.start) & (*day < PLAIN_DAYS.end));
    if plain {
        days.iter().map(|&day| convert(year_of_plain_day(day))).collect()
    } else {
        days.iter().map(|&day| convert(civil_from_days(i64::from(day)).0 as i32)).collect()
    }
}

#[inline(always)]
fn year_of_plain_day(day: i32) -> i32 {
    let n = (day + (EPOCH_DAYS + ERA_DAYS * SHIFT_ERAS as i64) as i32) as u32;
    let quarter_days = 4 * n + 3;
    let century = quarter_days / ERA_DAYS as u32;
    let day_of_century = quarter_days % ERA_DAYS as u32 / 4;
    // 2939745 / 2^32 is 4 / 1461 closely enough for every day of a century.
    let product = 2_939_745 * u64::from(4 * day_of_century + 3);
    let year_of_century = (product >> 32) as u32;
    let day_of_year = (product as u32) / 2_939_745 / 4;
    let from_march = (100 * century + year_of_century) as i32 - 400 * SHIFT_ERAS;
    from_march + i32::from(day_of_year >= 306)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_over_many_centuries() {
        // Walk day by day with the rules of the calendar alone.
        let (mut year, mut month, mut day) = (-800i64, 1u32, 1u32);
        let first = days_from_civil(year, month, day);
        for days in first..first + 1_200_000 {
            assert_eq!(civil_from_days(days), (year, month, day));
            assert_eq!(days_from_civil(year, month, day), days);
            assert_eq!(i64::from(year_of_plain_day(days as i32)), year, "day {days}");
            day += 1;
            if day > days_in_month(year, month) {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 3, 1), 11_017);
    }

    #[test]
    fn years_at_the_edges_of_the_fast_path() {
        for day in [PLAIN_DAYS.start, PLAIN_DAYS.end - 1, PLAIN_DAYS.start - 1, PLAIN_DAYS.end, i32::MIN, i32::MAX] {
            assert_eq!(years_of_days(&[day], i64::from), [civil_from_days(i64::from(day)).0]);
        }
    }

    #[test]
    fn weeks() {
        // Examples of PostgreSQL's documentation: 2005-01-01 is in week 53 of 2004, 2012-12-31 in week 1 of 2013.
        assert_eq!(iso_year_and_week(days_from_civil(2005, 1, 1)), (2004, 53));
        assert_eq!(iso_year_and_week(days_from_civil(2012, 12, 31)), (2013, 1));
        assert_eq!(day_of_week(0), 4, "1970-01-01 was a Thursday");
    }
}
