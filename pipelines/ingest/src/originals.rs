//! The bytes of one item, cut out of the message that held it.
//!
//! Only refusals need them, so the message is looked through again when the first comes, and not before.
//! What a newcomer would get wrong: bytes as they were received, not as they would be written again.

use openinfra_intake::Format;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What can be cut out of a message.
pub struct Originals<'a> {
    payload: &'a [u8],
    format: Format,
    /// None until it is asked for; empty when the message cannot be cut.
    items: Option<Vec<&'a [u8]>>,
    /// The index that was handed out last.
    last: Option<usize>,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    readings: Vec<&'a RawValue>,
}

impl<'a> Originals<'a> {
    pub fn new(payload: &'a [u8], format: Format) -> Self {
        Self {
            payload,
            format,
            items: None,
            last: None,
        }
    }

    /// The bytes of an item; the whole message when it cannot be cut. None when the last call was for the
    /// same item: a message of thousands of quantities is kept once, however many of them are wrong.
    pub fn of(&mut self, index: usize) -> Option<&'a [u8]> {
        if self.last.replace(index) == Some(index) {
            return None;
        }
        let (payload, format) = (self.payload, self.format);
        let items = self.items.get_or_insert_with(|| cut(payload, format));
        Some(items.get(index).copied().unwrap_or(payload))
    }
}

fn cut(payload: &[u8], format: Format) -> Vec<&[u8]> {
    match format {
        Format::Ndjson => payload
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.trim_ascii().is_empty())
            .collect(),
        Format::BatchJson => serde_json::from_slice::<Batch<'_>>(payload)
            .map_or_else(|_| Vec::new(), |batch| raw_bytes(batch.readings)),
        Format::SensorJson => {
            serde_json::from_slice::<Vec<&RawValue>>(payload).map_or_else(|_| Vec::new(), raw_bytes)
        }
    }
}

fn raw_bytes(items: Vec<&RawValue>) -> Vec<&[u8]> {
    items.into_iter().map(|raw| raw.get().as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: Format, payload: &str, index: usize, expected: &str) {
        let original = Originals::new(payload.as_bytes(), format).of(index);
        assert_eq!(original, Some(expected.as_bytes()), "{payload}");
    }

    #[test]
    fn items_are_cut_as_they_were_written() {
        check(
            Format::SensorJson,
            r#"[ {"value":1} , {"value": "2" }]"#,
            1,
            r#"{"value": "2" }"#,
        );
        check(
            Format::BatchJson,
            r#"{"x":0,"readings":[1.0,2e0]}"#,
            1,
            "2e0",
        );
        check(Format::Ndjson, "1\n\n 2 \r\n3", 1, " 2 \r");
    }

    #[test]
    fn what_cannot_be_cut_is_kept_whole() {
        for format in [Format::SensorJson, Format::BatchJson, Format::Ndjson] {
            check(format, "{\"value\": ", 0, "{\"value\": ");
        }
        check(Format::SensorJson, "{\"value\": 1}", 0, "{\"value\": 1}");
        let mut broken = Originals::new(b"[\xff]", Format::SensorJson);
        assert_eq!(broken.of(0), Some(&b"[\xff]"[..]));
    }

    #[test]
    fn one_item_is_kept_once() {
        let mut originals = Originals::new(b"[1,2]", Format::SensorJson);
        let all = [0, 0, 1, 1].map(|index| originals.of(index));
        assert_eq!(all, [Some(&b"1"[..]), None, Some(&b"2"[..]), None]);
    }
}
