//! The grammar: which objects and arrays a payload is made of, before any field is judged.
//!
//! Keys that are not ours are skipped, whatever they hold, without recursion.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::MAX_READINGS;
use crate::field::{Field, Key};

/// An object with the fields that we know.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) sensor_id: Field<'a>,
    pub(super) value: Field<'a>,
    pub(super) timestamp: Field<'a>,
    pub(super) recv_ts: Field<'a>,
    pub(super) quality: Field<'a>,
    pub(super) event_id: Field<'a>,
    pub(super) sequence: Field<'a>,
    pub(super) unit: Field<'a>,
    pub(super) battery: Field<'a>,
    pub(super) rssi: Field<'a>,
    pub(super) readings: Readings<'a>,
    /// The first known key that stands twice.
    pub(super) twice: Option<&'static str>,
}

/// The value of the key `readings` in a message.
#[derive(Debug, Default)]
pub(super) enum Readings<'a> {
    #[default]
    Absent,
    /// Quantities in the order of the payload, one more than the limit at most.
    Quantities(Vec<(Cow<'a, str>, Field<'a>)>),
    Other(&'static str),
}

/// An element where a message is expected.
#[expect(
    clippy::large_enum_variant,
    reason = "the small one is the exception, and a box a message would be an allocation"
)]
#[derive(Debug)]
pub(super) enum Entry<'a> {
    Message(Message<'a>),
    Other(&'static str),
}

/// A payload where a message or an array of them is expected.
#[expect(
    clippy::large_enum_variant,
    reason = "one message is what most payloads are, and a box would be an allocation"
)]
#[derive(Debug)]
pub(super) enum Payload<'a> {
    One(Entry<'a>),
    /// One more than the limit at most.
    Many(Vec<Entry<'a>>),
}

/// `{"readings": [message, …]}`.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    /// None where there is no such key.
    pub(super) readings: Option<Payload<'a>>,
    pub(super) twice: bool,
}

/// Implements `Deserialize` by a visitor that takes any JSON; scalars go to `$scalar`.
macro_rules! any_json {
    ($name:ident, $scalar:expr, $seq:expr, $map:expr) => {
        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Any;

                impl<'de> Visitor<'de> for Any {
                    type Value = $name<'de>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("any value")
                    }

                    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                        Ok($scalar("null"))
                    }

                    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
                        Ok($scalar("true or false"))
                    }

                    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
                        Ok($scalar("a number"))
                    }

                    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
                        Ok($scalar("a number"))
                    }

                    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
                        Ok($scalar("a number"))
                    }

                    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
                        Ok($scalar("a text"))
                    }

                    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                        $seq(seq)
                    }

                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                        $map(map)
                    }
                }

                deserializer.deserialize_any(Any)
            }
        }
    };
}

any_json!(Readings, Readings::Other, skip_array, quantities);
any_json!(Entry, Entry::Other, skip_array_entry, message_entry);
any_json!(Payload, other_payload, entries, one);

impl<'de: 'a, 'a> Deserialize<'de> for Batch<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BatchVisitor;

        impl<'de> Visitor<'de> for BatchVisitor {
            type Value = Batch<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"{"readings": [...]}"#)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut batch = Batch::default();
                while let Some(Key(key)) = map.next_key()? {
                    if key == "readings" {
                        batch.twice |= batch.readings.replace(map.next_value()?).is_some();
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(batch)
            }
        }

        deserializer.deserialize_map(BatchVisitor)
    }
}

fn other_payload<'a>(kind: &'static str) -> Payload<'a> {
    Payload::One(Entry::Other(kind))
}

fn skip_array<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Readings<'de>, A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(Readings::Other("an array"))
}

fn skip_array_entry<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Entry<'de>, A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(Entry::Other("an array"))
}

fn quantities<'de, A: MapAccess<'de>>(mut map: A) -> Result<Readings<'de>, A::Error> {
    let mut quantities = Vec::new();
    while let Some(Key(name)) = map.next_key()? {
        if quantities.len() > MAX_READINGS {
            map.next_value::<IgnoredAny>()?;
        } else {
            quantities.push((name, map.next_value()?));
        }
    }
    Ok(Readings::Quantities(quantities))
}

fn entries<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Payload<'de>, A::Error> {
    let mut entries = Vec::new();
    while let Some(entry) = seq.next_element()? {
        entries.push(entry);
        if entries.len() > MAX_READINGS {
            // The rest decides nothing but whether it is JSON.
            while seq.next_element::<IgnoredAny>()?.is_some() {}
        }
    }
    Ok(Payload::Many(entries))
}

fn one<'de, A: MapAccess<'de>>(map: A) -> Result<Payload<'de>, A::Error> {
    message_entry(map).map(Payload::One)
}

fn message_entry<'de, A: MapAccess<'de>>(map: A) -> Result<Entry<'de>, A::Error> {
    message(map).map(Entry::Message)
}

fn message<'de, A: MapAccess<'de>>(mut map: A) -> Result<Message<'de>, A::Error> {
    let mut message = Message::default();
    while let Some(Key(key)) = map.next_key()? {
        let (field, name) = match key.as_ref() {
            "value" => (&mut message.value, "value"),
            // `ts` is what files of captures say; read as nothing it would silently become our time.
            "timestamp" | "ts" => (&mut message.timestamp, "timestamp"),
            "sensor_id" => (&mut message.sensor_id, "sensor_id"),
            "quality" => (&mut message.quality, "quality"),
            "recv_ts" => (&mut message.recv_ts, "recv_ts"),
            "event_id" => (&mut message.event_id, "event_id"),
            "sequence" => (&mut message.sequence, "sequence"),
            "unit" => (&mut message.unit, "unit"),
            "battery" => (&mut message.battery, "battery"),
            "rssi" => (&mut message.rssi, "rssi"),
            "readings" => {
                if !matches!(message.readings, Readings::Absent) {
                    message.twice.get_or_insert("readings");
                }
                message.readings = map.next_value()?;
                continue;
            }
            _ => {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
        };
        if *field != Field::Absent {
            message.twice.get_or_insert(name);
        }
        *field = map.next_value()?;
    }
    Ok(message)
}
