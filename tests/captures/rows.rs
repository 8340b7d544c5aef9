//! Rows of dumps, as far as the tests know what they must hold.

use std::fmt::Debug;

use serde::{Deserialize, Deserializer};

/// A double that is itself only: compared by its bits, so that 0 is not -0.
#[derive(Clone, Copy, Deserialize)]
pub struct Bits(pub f64);

impl PartialEq for Bits {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Debug for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

/// A row of `readings` or `latest_reading`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ReadingRow {
    pub sensor_id: String,
    #[serde(deserialize_with = "millis")]
    pub event_ts: i64,
    pub value: Option<Bits>,
    pub quality: String,
}

/// A row of `hourly_aggregate`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct HourRow {
    pub sensor_id: String,
    #[serde(deserialize_with = "millis")]
    pub hour: i64,
    pub count: u64,
    pub sum: Option<Bits>,
    pub min: Option<Bits>,
    pub max: Option<Bits>,
    pub mean: Option<Bits>,
    pub stddev: Option<Bits>,
    pub first: Option<Bits>,
    pub last: Option<Bits>,
    pub bad_count: u64,
}

/// A row of `offline_episode`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct EpisodeRow {
    pub sensor_id: String,
    #[serde(deserialize_with = "millis")]
    pub offline_since: i64,
    #[serde(deserialize_with = "maybe_millis")]
    pub recovered_at: Option<i64>,
    pub gap_ms: Option<i64>,
}

/// A row of `alert`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AlertRow {
    pub sensor_id: String,
    pub rule_id: String,
    #[serde(deserialize_with = "millis")]
    pub start_ts: i64,
    #[serde(deserialize_with = "maybe_millis")]
    pub end_ts: Option<i64>,
    pub state: String,
    pub max_severity: String,
    pub trigger_value: Bits,
    pub threshold: Bits,
}

/// Both the same, row by row; the first that is not is shown.
pub fn assert_same<T: PartialEq + Debug>(what: &str, expected: &[T], found: &[T]) {
    let pairs = expected.iter().zip(found);
    for (number, (expected, found)) in pairs.enumerate() {
        assert!(
            expected == found,
            "{what}, row {number}\nexpected {expected:?}\nfound    {found:?}"
        );
    }
    let (shorter, longer) = if expected.len() < found.len() {
        (expected, found)
    } else {
        (found, expected)
    };
    assert!(
        expected.len() == found.len(),
        "{what}: {} rows expected, {} found; the first without a partner is {:?}",
        expected.len(),
        found.len(),
        longer[shorter.len()],
    );
}

/// RFC 3339 in UTC with three decimals, to the letter.
fn millis<'de, D: Deserializer<'de>>(input: D) -> Result<i64, D::Error> {
    parse(&String::deserialize(input)?).map_err(serde::de::Error::custom)
}

fn maybe_millis<'de, D: Deserializer<'de>>(input: D) -> Result<Option<i64>, D::Error> {
    let text = Option::<String>::deserialize(input)?;
    text.map(|text| parse(&text))
        .transpose()
        .map_err(serde::de::Error::custom)
}

fn parse(text: &str) -> Result<i64, String> {
    if text.len() != "2026-01-01T00:00:00.000Z".len() || !text.ends_with('Z') {
        return Err(format!("{text} is not in UTC with milliseconds"));
    }
    let ts: jiff::Timestamp = text.parse().map_err(|error| format!("{text}: {error}"))?;
    Ok(ts.as_millisecond())
}
