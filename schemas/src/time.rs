//! Times on the wire: milliseconds since the Unix epoch in the log, RFC 3339 in UTC outside.

use jiff::Timestamp;

/// Milliseconds since 1970-01-01T00:00:00Z. All times of the log and of the views have this unit.
pub type Millis = i64;

/// An hour, in milliseconds.
pub const HOUR_MS: Millis = 3_600_000;

/// Start of the UTC hour that holds `ts`; hours are `[start, start + HOUR_MS)`, before 1970 too.
pub fn hour_of(ts: Millis) -> Millis {
    ts.div_euclid(HOUR_MS) * HOUR_MS
}

/// Start of the UTC day that holds `ts`.
pub fn day_of(ts: Millis) -> Millis {
    ts.div_euclid(24 * HOUR_MS) * 24 * HOUR_MS
}

/// The UTC month that holds `ts`, as months since 1970-01, and the day of the month, from 0.
///
/// The Gregorian calendar, continued to all times: Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`.
pub fn month_and_day_of(ts: Millis) -> (i32, u32) {
    let days = ts.div_euclid(24 * HOUR_MS) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5;
    let month = if shifted_month < 10 {
        shifted_month + 2
    } else {
        shifted_month - 10
    };
    let year = year_of_era + era * 400 + i64::from(month < 2);
    let months = (year - 1970) * 12 + month;
    (
        i32::try_from(months).unwrap_or(if months < 0 { i32::MIN } else { i32::MAX }),
        day as u32,
    )
}

/// The UTC month that holds `ts`, as months since 1970-01.
pub fn month_of(ts: Millis) -> i32 {
    month_and_day_of(ts).0
}

/// RFC 3339, UTC, exactly three decimals and `Z`: `2022-07-01T00:00:00.000Z`.
///
/// Years outside -9999..=9999 cannot be written so; the plain number of milliseconds stands for them.
pub fn format_ts(ts: Millis) -> String {
    match Timestamp::from_millisecond(ts) {
        Ok(ts) => format!("{ts:.3}"),
        Err(_) => ts.to_string(),
    }
}

/// Reads RFC 3339 with any offset and precision, cut (towards the past) to milliseconds.
pub fn parse_ts(text: &str) -> Option<Millis> {
    let ts: Timestamp = text.parse().ok()?;
    i64::try_from(ts.as_nanosecond().div_euclid(1_000_000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_decimals_always() {
        assert_eq!(format_ts(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(format_ts(1_656_633_600_007), "2022-07-01T00:00:00.007Z");
        assert_eq!(format_ts(-1), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn offsets_and_precisions_are_read() {
        assert_eq!(
            parse_ts("2022-07-01T02:00:00+02:00"),
            Some(1_656_633_600_000)
        );
        assert_eq!(
            parse_ts("2022-07-01T00:00:00.0079Z"),
            Some(1_656_633_600_007)
        );
        assert_eq!(parse_ts("1969-12-31T23:59:59.9999Z"), Some(-1));
        assert_eq!(parse_ts("yesterday"), None);
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        for (text, month, day) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("1969-12-31T23:59:59Z", -1, 30),
            ("2000-02-29T12:00:00Z", 361, 28),
            ("2022-07-01T00:00:00Z", 630, 0),
            ("1600-03-01T00:00:00Z", -4438, 0),
        ] {
            let ts = parse_ts(text).expect("the test's own time");
            assert_eq!(month_and_day_of(ts), (month, day), "{text}");
        }
    }

    #[test]
    fn hours_start_at_or_before() {
        assert_eq!(hour_of(0), 0);
        assert_eq!(hour_of(-1), -HOUR_MS);
        assert_eq!(hour_of(HOUR_MS + 1), HOUR_MS);
    }
}
