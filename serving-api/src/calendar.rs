//! Months since 1970-01 and the days in them, in UTC: how the views say when a sensor has readings.

use openinfra_schemas::time::{HOUR_MS, Millis};

/// A day, in milliseconds.
pub const DAY_MS: Millis = 24 * HOUR_MS;

/// Start of a month.
///
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
pub fn month_start(month: i32) -> Millis {
    let year = i64::from(month).div_euclid(12) + 1970;
    let index = i64::from(month).rem_euclid(12);
    // Years begin in March, so that the leap day is their last.
    let (year, shifted) = if index < 2 {
        (year - 1, index + 10)
    } else {
        (year, index - 2)
    };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * shifted + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era - 719_468) * DAY_MS
}

/// Starts of the days that a month's bits name (bit d: day d + 1), ascending.
pub fn days_of(month: i32, bits: i32) -> impl DoubleEndedIterator<Item = Millis> {
    let start = month_start(month);
    (0..31)
        .filter(move |day| bits & (1 << day) != 0)
        .map(move |day| start + day * DAY_MS)
}

#[cfg(test)]
mod tests {
    use openinfra_schemas::time::month_and_day_of;

    use super::*;

    #[test]
    fn months_start_where_the_calendar_has_them() {
        for month in -30_000..30_000 {
            let start = month_start(month);
            assert_eq!(month_and_day_of(start), (month, 0));
            assert_eq!(month_and_day_of(start - 1).0, month - 1);
        }
    }

    #[test]
    fn bits_are_days() {
        let days: Vec<_> = days_of(0, 0b1_0000_0101).collect();
        assert_eq!(days, [0, 2 * DAY_MS, 8 * DAY_MS]);
    }
}
