//! How far each partition of the job's input is read, exclusive.
//!
//! A newcomer would miss that ends are offsets and never times: only a tick binds the two.

use openinfra_log::Log;
use openinfra_schemas::{PartitionEnd, Topic};
use serde::{Deserialize, Serialize};

/// The topics that ticks bind, in the order in which their records are fed.
pub(crate) const INPUTS: [Topic; 3] = [Topic::Readings, Topic::Entities, Topic::Ledger];

/// The end of every partition of every input topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ends {
    readings: Vec<i64>,
    entities: Vec<i64>,
    ledger: Vec<i64>,
}

/// Consecutive records of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) topic: Topic,
    pub(crate) partition: i32,
    pub(crate) from: i64,
    /// Exclusive.
    pub(crate) to: i64,
}

impl Span {
    pub(crate) fn len(&self) -> usize {
        (self.to - self.from).max(0) as usize
    }
}

impl Ends {
    /// Nothing read of any partition that the log has.
    pub(crate) fn zero(log: &dyn Log) -> Self {
        let zeros = |topic| vec![0; log.partitions(topic) as usize];
        Self {
            readings: zeros(Topic::Readings),
            entities: zeros(Topic::Entities),
            ledger: zeros(Topic::Ledger),
        }
    }

    pub(crate) fn new(readings: Vec<i64>, entities: Vec<i64>, ledger: Vec<i64>) -> Self {
        Self {
            readings,
            entities,
            ledger,
        }
    }

    /// By partition; empty for `ticks`, which is no input.
    pub(crate) fn of(&self, topic: Topic) -> &[i64] {
        match topic {
            Topic::Readings => &self.readings,
            Topic::Entities => &self.entities,
            Topic::Ledger => &self.ledger,
            Topic::Ticks => &[],
        }
    }

    pub(crate) fn of_mut(&mut self, topic: Topic) -> &mut [i64] {
        match topic {
            Topic::Readings => &mut self.readings,
            Topic::Entities => &mut self.entities,
            Topic::Ledger => &mut self.ledger,
            Topic::Ticks => &mut [],
        }
    }

    /// What lies between these ends and later ones, in the order of feeding.
    pub(crate) fn spans_to(&self, later: &Self) -> Vec<Span> {
        let mut spans = Vec::new();
        for topic in INPUTS {
            let pairs = self.of(topic).iter().zip(later.of(topic));
            for (partition, (from, to)) in pairs.enumerate() {
                if to > from {
                    spans.push(Span {
                        topic,
                        partition: partition as i32,
                        from: *from,
                        to: *to,
                    });
                }
            }
        }
        spans
    }

    /// As a tick lists them: the partitions whose end moved.
    pub(crate) fn moved_to(&self, later: &Self) -> Vec<PartitionEnd> {
        self.spans_to(later)
            .into_iter()
            .map(|span| PartitionEnd {
                topic: span.topic.name().to_owned(),
                partition: span.partition,
                end: span.to,
            })
            .collect()
    }

    /// Records of `readings` and `ledger` below these ends: those that the ledger accounts for.
    pub(crate) fn accountable(&self) -> i64 {
        self.readings.iter().chain(&self.ledger).sum()
    }

    /// `{topic: [end by partition]}`.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("vectors of numbers are JSON")
    }
}
