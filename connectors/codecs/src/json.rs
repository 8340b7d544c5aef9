//! Readings as JSON: one sensor's message or messages, a batch of many sensors', lines.
//!
//! Devices cannot be changed, so keys that are not ours (`metadata` and whatever else they send) are skipped,
//! other than in the rest of the API. What we do read is strict: a number in quotation marks is no number.
//! When a newcomer asks why a broken end refuses the whole array: nothing is handed on before all of it was
//! read, so that a sender never has to guess which half was taken. Lines stand for themselves.

mod check;
mod parse;

use std::borrow::Cow;

use openinfra_schemas::{Quality, Reason, SensorId, time::Millis};
use serde::Deserialize;

use crate::timestamp;
use check::{check_quantities, check_value, number, quality, sensor_id, sequence, text};
use parse::{Batch, Entry, Message, Payload, Readings};

/// The most readings of one payload; one that holds more is refused whole.
pub const MAX_READINGS: usize = 10_000;
/// The longest `event_id`, in bytes.
const MAX_EVENT_ID: usize = 256;
/// The longest `unit`, in bytes.
const MAX_UNIT: usize = 64;

/// One reading as the payload has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item<'a> {
    /// Which message of the payload, from 0; several readings of one message share it.
    pub index: usize,
    /// Checked. Batches and lines always have it; one sensor's message never, as the topic or path names it.
    pub sensor_id: Option<Cow<'a, str>>,
    /// The key in `readings`, never empty: the sensor is `{sensor_id}:{quantity}`. See [`Item::sensor`].
    pub quantity: Option<Cow<'a, str>>,
    /// Finite; none iff `quality` is BAD.
    pub value: Option<f64>,
    pub quality: Quality,
    /// The device's time; none: it sent none.
    pub timestamp: Option<Millis>,
    /// Means something only from a sender who may set receive times.
    pub recv_ts: Option<Millis>,
    pub event_id: Option<Cow<'a, str>>,
    pub sequence: Option<i64>,
    pub unit: Option<Cow<'a, str>>,
    /// Percent.
    pub battery: Option<f64>,
    /// `rssi`, in dBm.
    pub signal: Option<f64>,
}

impl Item<'_> {
    /// The sensor of the reading: its own, or the one that topic or path named, with the quantity.
    pub fn sensor(&self, named: Option<&str>) -> Result<SensorId, ItemError> {
        let device = self.sensor_id.as_deref().or(named).unwrap_or_default();
        let parsed = match &self.quantity {
            Some(quantity) => SensorId::parse(&format!("{device}:{quantity}")),
            None => SensorId::parse(device),
        };
        parsed.map_err(|e| ItemError::invalid("/sensor_id", e.to_string()))
    }
}

/// Why a message, or the whole payload, is no reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ItemError {
    /// [`Reason::Undecodable`] or [`Reason::Invalid`].
    pub reason: Reason,
    /// What is wrong, where, and what would be right.
    pub detail: String,
    /// RFC 6901, from the message: `/value`; empty: the message itself.
    pub pointer: String,
}

impl ItemError {
    fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            reason: Reason::Invalid,
            detail: detail.into(),
            pointer: pointer.into(),
        }
    }

    fn undecodable(detail: impl Into<String>) -> Self {
        Self {
            reason: Reason::Undecodable,
            detail: detail.into(),
            pointer: String::new(),
        }
    }
}

/// Reads what one sensor sent: a message, `{"value": n, "timestamp": …}` or `{"readings": {quantity: n}, …}`,
/// or an array of them. Calls `each` at least once.
///
/// A `sensor_id` in it is a key that is not ours.
pub fn read_sensor_message<'a>(
    payload: &'a [u8],
    each: &mut impl FnMut(usize, Result<Item<'a>, ItemError>),
) {
    let entries = match parse(payload) {
        Ok(Payload::One(entry)) => return hand_on([(0, Ok(entry))], Named::ByTopic, each),
        Ok(Payload::Many(entries)) => entries,
        Err(e) => return each(0, Err(e)),
    };
    hand_on_array(entries, Named::ByTopic, each);
}

/// Reads `{"readings": [{"sensor_id": …, "value": …, …}, …]}`. Calls `each` at least once.
pub fn read_batch<'a>(
    payload: &'a [u8],
    each: &mut impl FnMut(usize, Result<Item<'a>, ItemError>),
) {
    let batch: Batch<'_> = match parse(payload) {
        Ok(batch) => batch,
        Err(e) => return each(0, Err(e)),
    };
    let wrong = match batch.readings {
        _ if batch.twice => "stands twice",
        Some(Payload::Many(entries)) => return hand_on_array(entries, Named::ByItself, each),
        Some(Payload::One(_)) => "is no array",
        None => "is missing",
    };
    let detail = format!(
        "readings {wrong}; expected {{\"readings\": [{{\"sensor_id\": …, \"value\": …}}]}}"
    );
    each(0, Err(ItemError::invalid("/readings", detail)));
}

/// Reads lines, each a message with its `sensor_id`; empty lines are none. Calls `each` at least once.
///
/// Lines may end in `\r\n`. A line that is no JSON refuses itself alone.
pub fn read_ndjson<'a>(
    payload: &'a [u8],
    each: &mut impl FnMut(usize, Result<Item<'a>, ItemError>),
) {
    let lines = payload
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty());
    let entries: Vec<_> = lines
        .take(MAX_READINGS + 1)
        .map(parse)
        .enumerate()
        .collect();
    if entries.is_empty() {
        return each(0, Err(ItemError::invalid("", "holds no readings")));
    }
    hand_on(entries, Named::ByItself, each);
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, ItemError> {
    // The parser alone would let text that is not UTF-8 pass in the keys that it skips.
    let text = std::str::from_utf8(payload)
        .map_err(|e| ItemError::undecodable(format!("the payload is not UTF-8: {e}")))?;
    serde_json::from_str(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => ItemError::invalid("", e.to_string()),
        _ => ItemError::undecodable(format!("the payload is no JSON: {e}")),
    })
}

/// Who names the sensor of a message.
#[derive(Clone, Copy, PartialEq)]
enum Named {
    ByTopic,
    ByItself,
}

fn hand_on_array<'a>(
    entries: Vec<Entry<'a>>,
    named: Named,
    each: &mut impl FnMut(usize, Result<Item<'a>, ItemError>),
) {
    if entries.is_empty() {
        return each(0, Err(ItemError::invalid("", "holds no readings")));
    }
    let entries: Vec<_> = entries.into_iter().map(Ok).enumerate().collect();
    hand_on(entries, named, each);
}

type Parsed<'a> = Result<Entry<'a>, ItemError>;

fn hand_on<'a>(
    entries: impl AsRef<[(usize, Parsed<'a>)]> + IntoIterator<Item = (usize, Parsed<'a>)>,
    named: Named,
    each: &mut impl FnMut(usize, Result<Item<'a>, ItemError>),
) {
    let count: usize = entries.as_ref().iter().map(|(_, entry)| count(entry)).sum();
    if count > MAX_READINGS {
        let detail = format!("holds more than {MAX_READINGS} readings; send it in parts");
        return each(0, Err(ItemError::invalid("", detail)));
    }
    for (index, entry) in entries {
        match entry {
            Ok(Entry::Message(message)) => judge(index, message, named, each),
            Ok(Entry::Other(kind)) => {
                let detail = format!("a message is an object, this is {kind}");
                each(index, Err(ItemError::invalid("", detail)));
            }
            Err(e) => each(index, Err(e)),
        }
    }
}

fn count(entry: &Parsed<'_>) -> usize {
    match entry {
        Ok(Entry::Message(message)) => match &message.readings {
            Readings::Quantities(quantities) => quantities.len().max(1),
            _ => 1,
        },
        _ => 1,
    }
}

/// Judges the fields of one message and hands on its readings.
fn judge<'a>(
    index: usize,
    message: Message<'a>,
    named: Named,
    each: &mut impl FnMut(usize, Result<Item<'a>, ItemError>),
) {
    let (message, item) = match shared(index, message, named) {
        Ok(shared) => shared,
        Err(e) => return each(index, Err(e)),
    };
    let stated = item.quality;
    match message.readings {
        Readings::Absent => {
            let value = check_value(&message.value, "/value");
            each(index, value.map(|value| with_value(item, value, stated)));
        }
        Readings::Other(kind) => {
            let detail = format!("readings is {kind}, expected {{quantity: number}}");
            each(index, Err(ItemError::invalid("/readings", detail)));
        }
        Readings::Quantities(quantities) => {
            if let Err(e) = check_quantities(&message.value, &quantities) {
                return each(index, Err(e));
            }
            for (name, value) in quantities {
                let pointer = format!("/readings/{}", name.replace('~', "~0").replace('/', "~1"));
                let read = check_value(&value, &pointer).and_then(|value| {
                    SensorId::check(&name).map_err(|e| {
                        let detail = format!("the name of the quantity: {e}");
                        ItemError::invalid(pointer, detail)
                    })?;
                    let mut item = with_value(item.clone(), value, stated);
                    item.quantity = Some(name);
                    Ok(item)
                });
                each(index, read);
            }
        }
    }
}

/// What all readings of a message share; the value is still to come.
fn shared<'a>(
    index: usize,
    mut message: Message<'a>,
    named: Named,
) -> Result<(Message<'a>, Item<'a>), ItemError> {
    if let Some(key) = message.twice {
        return Err(ItemError::invalid(
            format!("/{key}"),
            format!("{key} stands twice"),
        ));
    }
    let sensor_id = match named {
        Named::ByTopic => None,
        Named::ByItself => Some(sensor_id(std::mem::take(&mut message.sensor_id))?),
    };
    let time = |field, name: &str| {
        timestamp::read(field)
            .map_err(|e| ItemError::invalid(format!("/{name}"), format!("{name}: {e}")))
    };
    let item = Item {
        index,
        sensor_id,
        quantity: None,
        value: None,
        quality: quality(std::mem::take(&mut message.quality))?,
        timestamp: time(&message.timestamp, "timestamp")?,
        recv_ts: time(&message.recv_ts, "recv_ts")?,
        event_id: text(
            std::mem::take(&mut message.event_id),
            "event_id",
            MAX_EVENT_ID,
        )?,
        sequence: sequence(&message.sequence)?,
        unit: text(std::mem::take(&mut message.unit), "unit", MAX_UNIT)?,
        battery: number(&message.battery, "battery")?,
        signal: number(&message.rssi, "rssi")?,
    };
    Ok((message, item))
}

/// A null value is BAD: the device spoke, and had nothing to say. BAD has no value.
fn with_value(item: Item<'_>, value: Option<f64>, stated: Quality) -> Item<'_> {
    let value = value.filter(|_| stated != Quality::Bad);
    let quality = if value.is_some() {
        stated
    } else {
        Quality::Bad
    };
    Item {
        value,
        quality,
        ..item
    }
}

#[cfg(test)]
mod tests;
