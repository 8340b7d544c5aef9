//! Types that more than one resource has on the wire.

pub(crate) mod encoding;
pub(crate) mod negotiate;
mod severity;

use openinfra_schemas::time::{Millis, format_ts, parse_ts};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

pub use severity::Severity;

/// A time on the wire: RFC 3339, in UTC, with milliseconds; read with any offset and precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2022-07-01T00:00:00.000Z")]
pub struct Ts(pub Millis);

/// The last time that can be written down with any offset.
const LATEST: &str = "9999-12-30T22:00:00.999Z";

impl Serialize for Ts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_ts(self.0))
    }
}

impl<'de> Deserialize<'de> for Ts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_ts(&text).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "is a time such as 2022-07-01T00:00:00.000Z, at most {LATEST}, not {text:?}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_time_is_the_latest() {
        assert!(parse_ts(LATEST).is_some());
        assert_eq!(parse_ts("9999-12-30T22:00:01.000Z"), None);
    }
}
