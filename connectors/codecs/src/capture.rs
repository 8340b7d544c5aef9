//! The lines of a capture file: `{"sensor_id", "ts", "value", "unit", "lat", "lon"}`, and optionally
//! `recv_ts`, `quality`, `event_id`.
//!
//! Other than in messages of devices, a number as time is always milliseconds since the epoch, also near 1970.

use std::borrow::Cow;

use openinfra_schemas::{
    Quality, SensorId,
    time::{Millis, format_ts, parse_ts},
};
use serde::{Deserialize, Serialize};

use crate::field::Field;

/// One reading of a capture.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptureLine<'a> {
    /// Checked.
    pub sensor_id: Cow<'a, str>,
    /// Event time.
    pub ts: Millis,
    /// None: the source had a hole there, which is a reading of quality BAD.
    pub value: Option<f64>,
    /// Never empty.
    pub unit: Option<Cow<'a, str>>,
    /// Degrees, WGS84.
    pub lat: Option<f64>,
    pub lon: Option<f64>,
    /// When it was received, as the capture has it.
    pub recv_ts: Option<Millis>,
    pub quality: Option<Quality>,
    pub event_id: Option<Cow<'a, str>>,
}

/// Why a line is no reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    #[error("the line is no JSON object of a reading: {0}")]
    Json(String),
    #[error("{field} is {found}, expected {expected}")]
    Field {
        field: &'static str,
        found: String,
        expected: &'static str,
    },
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default, borrow)]
    sensor_id: Field<'a>,
    #[serde(default, borrow)]
    ts: Field<'a>,
    #[serde(default, borrow)]
    value: Field<'a>,
    #[serde(default, borrow)]
    unit: Field<'a>,
    #[serde(default, borrow)]
    lat: Field<'a>,
    #[serde(default, borrow)]
    lon: Field<'a>,
    #[serde(default, borrow)]
    recv_ts: Field<'a>,
    #[serde(default, borrow)]
    quality: Field<'a>,
    #[serde(default, borrow)]
    event_id: Field<'a>,
}

impl<'a> CaptureLine<'a> {
    /// Reads one line, without its end. A key that is not ours is skipped.
    pub fn parse(line: &'a str) -> Result<Self, CaptureError> {
        // Derived reading would take an array as well, its elements for fields in order.
        if !line.trim_start().starts_with('{') {
            return Err(CaptureError::Json(
                "it does not start with a brace".to_owned(),
            ));
        }
        let line: Line<'a> =
            serde_json::from_str(line).map_err(|e| CaptureError::Json(e.to_string()))?;
        if line.value == Field::Absent {
            return Err(wrong("value", "missing", "a number or null"));
        }
        Ok(Self {
            sensor_id: sensor_id(line.sensor_id)?,
            ts: time("ts", &line.ts)?.ok_or_else(|| wrong("ts", "missing", TIME))?,
            value: number("value", &line.value)?,
            unit: text("unit", line.unit)?,
            lat: number("lat", &line.lat)?,
            lon: number("lon", &line.lon)?,
            recv_ts: time("recv_ts", &line.recv_ts)?,
            quality: quality(line.quality)?,
            event_id: text("event_id", line.event_id)?,
        })
    }

    /// Appends the JSON message that the ingest routes and the MQTT listener read. Without a sensor it is
    /// for a topic or path that names it; `recv_ts` is written where the line has one and the flag is set.
    pub fn write_message(&self, with_sensor: bool, with_recv: bool, out: &mut Vec<u8>) {
        let message = Message {
            sensor_id: with_sensor.then_some(self.sensor_id.as_ref()),
            value: self.value,
            timestamp: Time(self.ts),
            recv_ts: self.recv_ts.filter(|_| with_recv).map(Time),
            quality: self.quality.map(Quality::as_str),
            event_id: self.event_id.as_deref(),
            unit: self.unit.as_deref(),
        };
        serde_json::to_writer(out, &message).expect("a vector takes all bytes, and keys are texts");
    }
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sensor_id: Option<&'a str>,
    value: Option<f64>,
    timestamp: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    recv_ts: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
}

/// As a number where its magnitude says milliseconds to the reader of messages, else as text.
struct Time(Millis);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if (100_000_000_000..100_000_000_000_000).contains(&self.0) {
            serializer.serialize_i64(self.0)
        } else {
            serializer.serialize_str(&format_ts(self.0))
        }
    }
}

const TIME: &str = "milliseconds since the epoch or RFC 3339";

fn wrong(field: &'static str, found: impl Into<String>, expected: &'static str) -> CaptureError {
    CaptureError::Field {
        field,
        found: found.into(),
        expected,
    }
}

fn sensor_id(field: Field<'_>) -> Result<Cow<'_, str>, CaptureError> {
    let text = text("sensor_id", field)?;
    let text = text.ok_or_else(|| wrong("sensor_id", "missing", "a text"))?;
    SensorId::check(&text).map_err(|e| wrong("sensor_id", e.to_string(), "a sensor id"))?;
    Ok(text)
}

fn time(name: &'static str, field: &Field<'_>) -> Result<Option<Millis>, CaptureError> {
    match field {
        Field::Absent | Field::Null => Ok(None),
        Field::Integer(ts) => Ok(Some(*ts)),
        Field::Text(text) => {
            let ts = parse_ts(text).ok_or_else(|| wrong(name, format!("{text:?}"), TIME))?;
            Ok(Some(ts))
        }
        other => Err(wrong(name, other.kind(), TIME)),
    }
}

fn number(name: &'static str, field: &Field<'_>) -> Result<Option<f64>, CaptureError> {
    field
        .number()
        .map_err(|kind| wrong(name, kind, "a number or null"))
}

fn text<'a>(name: &'static str, field: Field<'a>) -> Result<Option<Cow<'a, str>>, CaptureError> {
    let text = field.text().map_err(|kind| wrong(name, kind, "a text"))?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn quality(field: Field<'_>) -> Result<Option<Quality>, CaptureError> {
    let expected = "GOOD, UNCERTAIN or BAD";
    match text("quality", field)? {
        Some(text) => match Quality::parse(&text) {
            Some(quality) => Ok(Some(quality)),
            None => Err(wrong("quality", format!("{text:?}"), expected)),
        },
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Item, read_ndjson, read_sensor_message};

    const LINE: &str = r#"{"sensor_id":"purpleair/151502/pm2.5_alt_a","ts":1656633600000,"value":3.25,"unit":"ug/m3","lat":null,"lon":null}"#;

    #[test]
    fn a_line_of_the_captures() {
        let line = CaptureLine::parse(LINE).unwrap();
        assert_eq!(line.sensor_id, "purpleair/151502/pm2.5_alt_a");
        assert!(matches!(line.sensor_id, Cow::Borrowed(_)));
        assert_eq!((line.ts, line.value), (1_656_633_600_000, Some(3.25)));
        assert_eq!(line.unit.as_deref(), Some("ug/m3"));
        assert_eq!((line.lat, line.recv_ts, line.quality), (None, None, None));
    }

    #[test]
    fn holes_and_the_optional_fields() {
        let line = CaptureLine::parse(
            r#"{"sensor_id":"a","ts":5,"value":null,"unit":"","lat":38.9,"lon":-77,"recv_ts":"1970-01-01T00:00:01Z","quality":"UNCERTAIN","event_id":"e","more":[1]}"#,
        )
        .unwrap();
        assert_eq!((line.ts, line.recv_ts), (5, Some(1000)));
        assert_eq!((line.value, line.unit), (None, None));
        assert_eq!((line.lat, line.lon), (Some(38.9), Some(-77.0)));
        assert_eq!(line.quality, Some(Quality::Uncertain));
        assert_eq!(line.event_id.as_deref(), Some("e"));
    }

    #[test]
    fn bad_lines_say_what_is_wrong() {
        for (line, says) in [
            ("", "no JSON"),
            ("[]", "no JSON"),
            (r#"{"ts":5,"value":1}"#, "sensor_id is missing"),
            (r#"{"sensor_id":"a+","ts":5,"value":1}"#, "wildcard"),
            (r#"{"sensor_id":"a","value":1}"#, "ts is missing"),
            (r#"{"sensor_id":"a","ts":5.5,"value":1}"#, "ts is a number"),
            (r#"{"sensor_id":"a","ts":5}"#, "value is missing"),
            (r#"{"sensor_id":"a","ts":5,"value":"1"}"#, "value is a text"),
            (r#"{"sensor_id":"a","ts":5,"value":NaN}"#, "no JSON"),
            (
                r#"{"sensor_id":"a","ts":5,"value":1,"ts":6}"#,
                "duplicate field",
            ),
            (
                r#"{"sensor_id":"a","ts":5,"value":1,"quality":"good"}"#,
                "GOOD, UNCERTAIN",
            ),
        ] {
            let error = CaptureLine::parse(line).expect_err(line).to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same_reading() {
        for ts in [
            -1,
            5,
            99_999_999_999,
            1_656_633_600_007,
            200_000_000_000_000,
        ] {
            let line = CaptureLine {
                ts,
                recv_ts: Some(ts + 1),
                value: Some(0.1 + 0.2),
                event_id: Some("e".into()),
                ..CaptureLine::parse(LINE).unwrap()
            };
            let mut out = Vec::new();
            line.write_message(true, true, &mut out);
            let mut items: Vec<Item<'_>> = Vec::new();
            read_ndjson(&out, &mut |_, item| items.push(item.unwrap()));
            assert_eq!(items.len(), 1);
            assert_eq!(items[0].timestamp, Some(ts));
            assert_eq!(items[0].recv_ts, Some(ts + 1));
            assert_eq!(items[0].value, Some(0.1 + 0.2));
            assert_eq!(items[0].sensor_id, Some(line.sensor_id.clone()));

            let mut out = Vec::new();
            line.write_message(false, false, &mut out);
            read_sensor_message(&out, &mut |_, item| {
                let item = item.unwrap();
                assert_eq!((item.timestamp, item.recv_ts), (Some(ts), None));
            });
        }
    }
}
