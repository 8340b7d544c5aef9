//! By which the last record that the views have of each partition is known again.
//!
//! A newcomer would compare ends. A topic that was made anew, or cut short, reaches its old end again with
//! other records below it, which no tick covers a second time: they would be acknowledged and never read.

use std::collections::BTreeMap;

use openinfra_log::LogRecord;
use openinfra_schemas::Topic;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes of the digest that are kept: the odds that another record has the same are 1 in 2^64.
const MARK_BYTES: usize = 8;

/// The mark of one record: its offset, and a digest of all else that the log says of it, as hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark(pub(crate) i64, String);

impl Mark {
    /// Of the record as it stands: its append time, key and value.
    pub(crate) fn of(record: &LogRecord) -> Self {
        let mut digest = Sha256::new();
        digest.update(record.append_ts.to_be_bytes());
        digest.update((record.key.len() as u64).to_be_bytes());
        digest.update(&record.key);
        digest.update(&record.value);
        let digest = digest.finalize();
        let kept = digest.iter().take(MARK_BYTES);
        Self(record.offset, kept.map(|b| format!("{b:02x}")).collect())
    }
}

/// The marks of all partitions of which the views have a record, by the topic's name and partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks(BTreeMap<String, BTreeMap<i32, Mark>>);

/// A partition with its mark.
pub(crate) type Marked = (Topic, i32, Mark);

impl Marks {
    pub(crate) fn set(&mut self, (topic, partition, mark): Marked) {
        let of_topic = match self.0.get_mut(topic.name()) {
            Some(of_topic) => of_topic,
            None => self.0.entry(topic.name().to_owned()).or_default(),
        };
        of_topic.insert(partition, mark);
    }

    /// All of them, in the order of topic and partition.
    pub(crate) fn all(&self) -> Vec<Marked> {
        let topics = Topic::ALL.into_iter();
        topics.flat_map(|topic| self.of(topic)).collect()
    }

    pub(crate) fn find(&self, topic: Topic, partition: i32) -> Option<Marked> {
        let mark = self.0.get(topic.name())?.get(&partition)?;
        Some((topic, partition, mark.clone()))
    }

    /// Those of one topic, by partition.
    pub(crate) fn of(&self, topic: Topic) -> Vec<Marked> {
        let of_topic = self.0.get(topic.name()).into_iter().flatten();
        let marked = of_topic.map(|(partition, mark)| (topic, *partition, mark.clone()));
        marked.collect()
    }

    /// `{topic: {partition: [offset, mark]}}`.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record() -> LogRecord {
        LogRecord {
            offset: 7,
            append_ts: 1_000,
            key: Bytes::from_static(b"city/a"),
            value: Bytes::from_static(b"value"),
        }
    }

    #[test]
    fn whatever_is_different_makes_another_mark() {
        let mark = Mark::of(&record());
        assert_eq!(mark, Mark::of(&record()));
        let later = LogRecord {
            append_ts: 1_001,
            ..record()
        };
        let elsewhere = LogRecord {
            offset: 8,
            ..record()
        };
        // The same bytes, cut at another place.
        let moved = LogRecord {
            key: Bytes::from_static(b"city/av"),
            value: Bytes::from_static(b"alue"),
            ..record()
        };
        for other in [later, elsewhere, moved] {
            assert_ne!(mark, Mark::of(&other), "{other:?}");
        }
    }

    #[test]
    fn text_and_back() {
        let mut marks = Marks::default();
        marks.set((Topic::Readings, 11, Mark::of(&record())));
        marks.set((Topic::Readings, 2, Mark::of(&record())));
        marks.set((Topic::Entities, 0, Mark(3, "ab".to_owned())));
        let text = marks.to_json();
        assert!(text.contains(r#""entities":{"0":[3,"ab"]}"#), "{text}");
        assert_eq!(serde_json::from_str::<Marks>(&text).unwrap(), marks);
        let places: Vec<_> = marks.all().into_iter().map(|(t, p, _)| (t, p)).collect();
        let expected = [
            (Topic::Readings, 2),
            (Topic::Readings, 11),
            (Topic::Entities, 0),
        ];
        assert_eq!(places, expected);
    }
}
