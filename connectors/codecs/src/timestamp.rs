//! Times as devices write them.
//!
//! A number says its unit by its magnitude, so that a time within three years of 1970 in milliseconds would
//! be taken for seconds; who has such times sends RFC 3339.

use openinfra_schemas::time::{Millis, parse_ts};

use crate::field::Field;

/// Below: seconds (until the year 5138).
const SECONDS_BELOW: f64 = 1e11;
/// Below: milliseconds (from March 1973 to 5138).
const MILLIS_BELOW: f64 = 1e14;
/// Below: microseconds (from March 1973 to 5138). At or above: no time.
const MICROS_BELOW: f64 = 1e17;

/// A time; none for null or no such key. The error says what stands there and what would be right.
///
/// Cut towards the past to milliseconds. Fractions of a number count to the microsecond, as the nearest
/// double to a decimal fraction may lie just below it.
pub(crate) fn read(field: &Field<'_>) -> Result<Option<Millis>, String> {
    match field {
        Field::Absent | Field::Null => Ok(None),
        Field::Integer(number) => from_integer(*number).map(Some),
        Field::Float(number) => from_float(*number).map(Some),
        Field::Text(text) => match parse_ts(text) {
            Some(ts) => Ok(Some(ts)),
            None => {
                let shown: String = text.chars().take(40).collect();
                Err(format!(
                    "{shown:?} is no RFC 3339 time, as 2022-07-01T00:00:00.000Z"
                ))
            }
        },
        Field::Other(kind) => Err(format!("is {kind}, expected RFC 3339 or epoch time")),
    }
}

fn from_integer(number: i64) -> Result<Millis, String> {
    match number.unsigned_abs() as f64 {
        size if size < SECONDS_BELOW => Ok(number * 1_000),
        size if size < MILLIS_BELOW => Ok(number),
        size if size < MICROS_BELOW => Ok(number.div_euclid(1_000)),
        _ => Err(too_large(&number)),
    }
}

fn from_float(number: f64) -> Result<Millis, String> {
    let micros = match number.abs() {
        size if size < SECONDS_BELOW => number * 1e6,
        size if size < MILLIS_BELOW => number * 1e3,
        size if size < MICROS_BELOW => number,
        _ => return Err(too_large(&number)),
    };
    Ok((micros.round() as i64).div_euclid(1_000))
}

fn too_large(number: &dyn std::fmt::Display) -> String {
    format!("{number} is beyond epoch seconds, milliseconds and microseconds")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field: Field<'_>, expected: Option<Millis>) {
        assert_eq!(read(&field).ok().flatten(), expected, "{field:?}");
    }

    const T: Millis = 1_656_633_600_000;

    #[test]
    fn magnitude_says_the_unit() {
        check(Field::Integer(T / 1000), Some(T));
        check(Field::Integer(T), Some(T));
        check(Field::Integer(T * 1000 + 999), Some(T));
        check(Field::Integer(T * 1_000_000), None);
        check(Field::Integer(i64::MIN), None);
        check(Field::Integer(0), Some(0));
        check(Field::Integer(99_999_999_999), Some(99_999_999_999_000));
        check(Field::Integer(100_000_000_000), Some(100_000_000_000));
        check(Field::Integer(-T * 1000 - 1), Some(-T - 1));
    }

    #[test]
    fn fractions_are_cut_to_milliseconds() {
        check(Field::Float(1_656_633_600.5), Some(T + 500));
        check(Field::Float(1_656_633_600.123), Some(T + 123));
        check(Field::Float(1_656_633_600_000.9), Some(T));
        check(Field::Float(-0.0005), Some(-1));
        check(Field::Float(f64::MAX), None);
    }

    #[test]
    fn rfc_3339_and_nothing_else_as_text() {
        check(
            Field::Text("2022-07-01T02:00:00.0009+02:00".into()),
            Some(T),
        );
        check(
            Field::Text("2099-01-01T00:00:00Z".into()),
            Some(4_070_908_800_000),
        );
        for bad in [
            "",
            "1656633600",
            "2022-07-01",
            "2022-13-01T00:00:00Z",
            "yesterday",
        ] {
            assert!(read(&Field::Text(bad.into())).is_err(), "{bad}");
        }
        assert!(read(&Field::Other("an array")).is_err());
        assert_eq!(read(&Field::Null), Ok(None));
    }
}
