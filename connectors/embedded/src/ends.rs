//! The ends of all partitions, as readers may know them.
//!
//! What a newcomer would get wrong: the database may already hold records beyond these ends. They are
//! published only when the records and the side file are on disk, and readers see nothing beyond them.

use std::sync::atomic::{AtomicI64, Ordering};

use openinfra_schemas::Topic;

/// Published end offsets (exclusive) by topic and partition.
#[derive(Debug)]
pub(crate) struct PublishedEnds {
    partitions: i32,
    ends: Vec<AtomicI64>,
}

impl PublishedEnds {
    pub(crate) fn new(ends: &Ends) -> Self {
        Self {
            partitions: ends.partitions,
            ends: ends.ends.iter().copied().map(AtomicI64::new).collect(),
        }
    }

    /// None when the topic has no such partition.
    pub(crate) fn get(&self, topic: Topic, partition: i32) -> Option<i64> {
        let at = place(self.partitions, topic, partition)?;
        Some(self.ends[at].load(Ordering::Acquire))
    }

    /// The ends of all partitions of a topic.
    pub(crate) fn of_topic(&self, topic: Topic) -> Vec<i64> {
        (0..topic.partitions(self.partitions))
            .filter_map(|partition| self.get(topic, partition))
            .collect()
    }

    /// Shows readers all records below these ends.
    pub(crate) fn publish(&self, ends: &Ends) {
        for (published, end) in self.ends.iter().zip(&ends.ends) {
            published.store(*end, Ordering::Release);
        }
    }

    pub(crate) fn partitions(&self, topic: Topic) -> i32 {
        topic.partitions(self.partitions)
    }
}

/// End offsets (exclusive) by topic and partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ends {
    partitions: i32,
    ends: Vec<i64>,
}

impl Ends {
    /// All zero.
    pub(crate) fn new(partitions: i32) -> Self {
        let count: i32 = Topic::ALL
            .iter()
            .map(|topic| topic.partitions(partitions))
            .sum();
        Self {
            partitions,
            ends: vec![0; usize::try_from(count).unwrap_or(0)],
        }
    }

    pub(crate) fn get(&self, topic: Topic, partition: i32) -> Option<i64> {
        place(self.partitions, topic, partition).map(|at| self.ends[at])
    }

    pub(crate) fn set(&mut self, topic: Topic, partition: i32, end: i64) {
        if let Some(at) = place(self.partitions, topic, partition) {
            self.ends[at] = end;
        }
    }

    /// Every partition with its end.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Topic, i32, i64)> {
        Topic::ALL
            .into_iter()
            .flat_map(|topic| {
                (0..topic.partitions(self.partitions)).map(move |partition| (topic, partition))
            })
            .zip(&self.ends)
            .map(|((topic, partition), end)| (topic, partition, *end))
    }

    /// The ends alone, in [`iter`](Self::iter)'s order.
    pub(crate) fn as_slice(&self) -> &[i64] {
        &self.ends
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [i64] {
        &mut self.ends
    }
}

/// Where a partition stands in the flat list: topics in the order of `Topic::ALL`.
fn place(keyed: i32, topic: Topic, partition: i32) -> Option<usize> {
    if !(0..topic.partitions(keyed)).contains(&partition) {
        return None;
    }
    let before: i32 = Topic::ALL
        .iter()
        .take_while(|other| **other != topic)
        .map(|other| other.partitions(keyed))
        .sum();
    usize::try_from(before + partition).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_a_place_of_its_own() {
        let mut ends = Ends::new(3);
        let places: Vec<_> = ends.iter().map(|(t, p, _)| (t, p)).collect();
        assert_eq!(places.len(), 3 + 3 + 1 + 3);
        for (i, (topic, partition)) in places.iter().enumerate() {
            ends.set(*topic, *partition, i as i64 + 1);
        }
        let set: Vec<i64> = ends.iter().map(|(_, _, end)| end).collect();
        assert_eq!(set, (1..=10).collect::<Vec<_>>());
        assert_eq!(ends.get(Topic::Ticks, 1), None);
        assert_eq!(ends.get(Topic::Readings, -1), None);
        assert_eq!(PublishedEnds::new(&ends).of_topic(Topic::Ticks), vec![7]);
    }
}
