//! What became of the records of a batch: one counter for all of them.
//!
//! Reports come one a record, hundreds of thousands a second, on the producer's thread. What a newcomer
//! would do is give each record a channel of its own; here a report is a store and a decrement, and the
//! last one wakes who waits.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

use openinfra_schemas::Topic;
use prometheus::IntCounter;
use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    error::KafkaError,
    producer::{DeliveryResult, ProducerContext},
    types::RDKafkaErrorCode as Code,
};
use tokio::sync::Notify;

use crate::{events::Reports, statistics::Seen};

/// A batch that is on its way.
#[derive(Debug)]
pub(crate) struct Pending {
    /// By record; -1 while it is not known.
    offsets: Box<[AtomicI64]>,
    unreported: AtomicUsize,
    /// The first error of a record.
    failure: Mutex<Option<Failure>>,
    done: Notify,
}

/// Why a batch is not in the log as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// Of the record; none where it is not about one.
    pub(crate) topic: Option<Topic>,
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self { code, topic: None }
    }
}

impl Pending {
    /// `records` are expected, one at least.
    pub(crate) fn new(records: usize) -> Arc<Self> {
        Arc::new(Self {
            offsets: (0..records).map(|_| AtomicI64::new(-1)).collect(),
            unreported: AtomicUsize::new(records),
            failure: Mutex::new(None),
            done: Notify::new(),
        })
    }

    /// Waits for the last report. For one task only.
    pub(crate) async fn done(&self) {
        while self.unreported.load(Ordering::Acquire) > 0 {
            self.done.notified().await;
        }
    }

    /// The offsets of all records, or why one of them has none.
    pub(crate) fn outcome(&self) -> Result<Vec<i64>, Failure> {
        let failure = self.failure.lock();
        if let Some(failure) = failure.map_or(Some(Code::Fail.into()), |failure| *failure) {
            return Err(failure);
        }
        let offsets = self.offsets.iter().map(|o| o.load(Ordering::Relaxed));
        let offsets: Vec<i64> = offsets.collect();
        // A broker that had taken the record before and no longer knows where confirms it without a
        // place.
        if offsets.iter().any(|offset| *offset < 0) {
            return Err(Code::DuplicateSequenceNumber.into());
        }
        Ok(offsets)
    }

    /// The rest of the batch, `records`, will not be handed over.
    pub(crate) fn give_up(&self, records: usize, failure: Failure) {
        self.fail(failure);
        self.reported(records);
    }

    fn fail(&self, failure: Failure) {
        if let Ok(mut first) = self.failure.lock() {
            first.get_or_insert(failure);
        }
    }

    fn reported(&self, records: usize) {
        // Release, so that who sees zero sees all offsets.
        if self.unreported.fetch_sub(records, Ordering::AcqRel) == records {
            self.done.notify_one();
        }
    }
}

/// What a record carries with it: its batch, and its place there.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) batch: Arc<Pending>,
    pub(crate) index: usize,
    pub(crate) topic: Topic,
}

/// The producer's context.
pub(crate) struct Deliveries {
    reports: Arc<Reports>,
    /// Wakes who waits for room in the queue.
    room: Arc<Notify>,
    committed: [IntCounter; Topic::ALL.len()],
    failed: [IntCounter; Topic::ALL.len()],
    seen: Mutex<Seen>,
}

impl Deliveries {
    pub(crate) fn new(reports: Arc<Reports>, room: Arc<Notify>) -> Self {
        let counters = |outcome: &str| {
            let produced = &reports.metrics.produced;
            Topic::ALL.map(|topic| produced.with_label_values(&[topic.name(), outcome]))
        };
        Self {
            committed: counters("committed"),
            failed: counters("failed"),
            reports,
            room,
            seen: Mutex::default(),
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.reports.line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reports.complain(&error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match (serde_json::from_slice(statistics), self.seen.lock()) {
            (Ok(statistics), Ok(mut seen)) => seen.take(&statistics, &self.reports.metrics),
            (Err(error), _) => tracing::debug!(%error, "the client's statistics cannot be read"),
            _ => {}
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let Ticket {
            batch,
            index,
            topic,
        } = *ticket;
        match result {
            Ok(message) => {
                batch.offsets[index].store(message.offset(), Ordering::Relaxed);
                self.committed[topic as usize].inc();
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
                batch.fail(Failure {
                    code,
                    topic: Some(topic),
                });
                self.failed[topic as usize].inc();
            }
        }
        batch.reported(1);
        self.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_is_done_with_its_last_report() {
        let batch = Pending::new(2);
        batch.offsets[0].store(7, Ordering::Relaxed);
        batch.reported(1);
        assert!(futures::poll!(Box::pin(batch.done())).is_pending());
        batch.offsets[1].store(9, Ordering::Relaxed);
        batch.reported(1);
        batch.done().await;
        assert_eq!(batch.outcome(), Ok(vec![7, 9]));
    }

    #[tokio::test]
    async fn the_first_error_is_the_batch_s() {
        let batch = Pending::new(3);
        batch.fail(Code::MessageTimedOut.into());
        batch.reported(1);
        batch.give_up(2, Code::QueueFull.into());
        batch.done().await;
        assert_eq!(batch.outcome(), Err(Code::MessageTimedOut.into()));
    }

    #[tokio::test]
    async fn a_record_whose_place_is_not_known_is_not_acknowledged() {
        let batch = Pending::new(1);
        batch.reported(1);
        batch.done().await;
        assert_eq!(batch.outcome(), Err(Code::DuplicateSequenceNumber.into()));
    }
}
