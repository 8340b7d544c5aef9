//! Appends batches through one idempotent producer.
//!
//! What a newcomer would get wrong: a full queue is no error, it is how the brokers hold us back, so an
//! append waits for room. And a producer can end for good (a broker lost its session in a way that it
//! cannot mend): then the batches that it had are answered as unknown, and another takes its place.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use openinfra_log::{AppendBatch, AppendRecord, LogError};
use openinfra_schemas::Topic;
use rdkafka::{
    ClientConfig,
    config::FromClientConfigAndContext,
    error::KafkaError,
    producer::{BaseRecord, Producer, ThreadedProducer},
    types::RDKafkaErrorCode as Code,
};
use tokio::{sync::Notify, time::Instant};

use crate::{
    OpenError, client,
    config::Config,
    delivery::{Deliveries, Failure, Pending, Ticket},
    error::{Class, append_error, class},
    events::Reports,
    layout::Layout,
    refusal::Refusal,
};

/// Records handed over before other tasks get a turn.
const AT_ONCE: usize = 256;

/// Room in the queue is looked for at least so often: it is given back a moment before the report.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(5);

pub(crate) struct Appender {
    names: [String; Topic::ALL.len()],
    settings: ClientConfig,
    deadline: Duration,
    max_record_bytes: usize,
    reports: Arc<Reports>,
    refusal: Refusal,
    room: Arc<Notify>,
    /// Who has it hands its records over. Batches do not mix, and the first to wait for room is the first
    /// to get it.
    turn: tokio::sync::Mutex<()>,
    current: Mutex<Arc<Session>>,
}

/// A producer; another takes its place once it cannot go on.
struct Session(Option<ThreadedProducer<Deliveries>>);

impl Drop for Session {
    fn drop(&mut self) {
        // Joins a thread and waits for reports: not for a task to do.
        let producer = self.0.take();
        let dropped = std::thread::Builder::new()
            .name("kafka-producer-end".to_owned())
            .spawn(move || drop(producer));
        if let Err(error) = dropped {
            tracing::warn!(%error, "a Kafka producer was ended in place");
        }
    }
}

impl Session {
    fn open(settings: &ClientConfig, context: Deliveries) -> Result<Self, KafkaError> {
        let producer = ThreadedProducer::from_config_and_context(settings, context)?;
        Ok(Self(Some(producer)))
    }

    fn producer(&self) -> &ThreadedProducer<Deliveries> {
        self.0.as_ref().expect("it is taken only when dropped")
    }
}

impl Appender {
    pub(crate) fn open(
        config: &Config,
        layout: &Layout,
        reports: Arc<Reports>,
    ) -> Result<Self, OpenError> {
        let settings = client::producer(config);
        let room = Arc::new(Notify::new());
        let context = Deliveries::new(reports.clone(), room.clone());
        let session =
            Session::open(&settings, context).map_err(|error| client::not_made(config, error))?;
        Ok(Self {
            refusal: Refusal::new(reports.metrics.refused.clone()),
            names: layout.names(),
            settings,
            deadline: config.append_deadline(),
            max_record_bytes: config.max_record_bytes,
            reports,
            room,
            turn: tokio::sync::Mutex::new(()),
            current: Mutex::new(Arc::new(session)),
        })
    }

    pub(crate) fn max_record_bytes(&self) -> usize {
        self.max_record_bytes
    }

    /// Appends a batch whose partitions are known to exist; the offsets are in its order.
    ///
    /// Dropping the future leaves what was handed over on its way.
    pub(crate) async fn append(&self, batch: AppendBatch) -> Result<Vec<i64>, LogError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(bytes) = batch.iter().map(size).find(|b| *b > self.max_record_bytes) {
            return Err(LogError::TooLarge {
                bytes,
                limit: self.max_record_bytes,
            });
        }
        let _timer = self.reports.metrics.append_seconds.start_timer();
        let deadline = Instant::now() + self.deadline;
        let pending = Pending::new(batch.len());
        let handed_over = {
            let turn = tokio::time::timeout_at(deadline, self.turn.lock()).await;
            let Ok(_turn) = turn else {
                return Err(self.unavailable(Code::QueueFull.into()));
            };
            self.hand_over(&batch, &pending, deadline).await
        };
        let topics: BTreeSet<Topic> = batch.iter().map(|record| record.topic).collect();
        drop(batch);
        if let Err((left, failure)) = handed_over {
            pending.give_up(left, failure);
        }
        if tokio::time::timeout_at(deadline, pending.done())
            .await
            .is_err()
        {
            return Err(self.unavailable(Code::MessageTimedOut.into()));
        }
        match pending.outcome() {
            Ok(offsets) => {
                self.reports.well();
                self.refusal.taken(&topics);
                Ok(offsets)
            }
            Err(failure) => {
                if class(failure.code).may_end_producer() {
                    self.replace(&self.session());
                }
                Err(self.unavailable(failure))
            }
        }
    }

    /// Hands all records to the producer; says how many were not when it has to leave off.
    async fn hand_over(
        &self,
        batch: &AppendBatch,
        pending: &Arc<Pending>,
        deadline: Instant,
    ) -> Result<(), (usize, Failure)> {
        let session = self.session();
        for (index, record) in batch.iter().enumerate() {
            if index % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            let sent = self.send(&session, pending, index, record, deadline).await;
            if let Err(code) = sent {
                if class(code).may_end_producer() {
                    self.replace(&session);
                }
                let topic = Some(record.topic);
                return Err((batch.len() - index, Failure { code, topic }));
            }
        }
        Ok(())
    }

    /// Hands one record over, waiting for room.
    async fn send(
        &self,
        session: &Session,
        batch: &Arc<Pending>,
        index: usize,
        record: AppendRecord<'_>,
        deadline: Instant,
    ) -> Result<(), Code> {
        let mut ticket = Box::new(Ticket {
            batch: batch.clone(),
            index,
            topic: record.topic,
        });
        loop {
            let freed = self.room.notified();
            let name = &self.names[record.topic as usize];
            let mut message = BaseRecord::with_opaque_to(name, ticket)
                .partition(record.partition)
                .payload(record.value);
            // No key rather than an empty one: readers see "none" then.
            if !record.key.is_empty() {
                message = message.key(record.key);
            }
            let (error, returned) = match session.producer().send(message) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
            if code != Code::QueueFull || Instant::now() >= deadline {
                return Err(code);
            }
            ticket = returned.delivery_opaque;
            let _ = tokio::time::timeout(LOOK_FOR_ROOM, freed).await;
        }
    }

    fn session(&self) -> Arc<Session> {
        let current = self.current.lock().expect("no holder of the lock panics");
        current.clone()
    }

    /// Puts another producer in the place of one that cannot go on; once, whoever notices it first.
    fn replace(&self, ended: &Arc<Session>) {
        let mut current = self.current.lock().expect("no holder of the lock panics");
        let Some((code, reason)) = ended.producer().client().fatal_error() else {
            return;
        };
        if !Arc::ptr_eq(&current, ended) {
            return;
        }
        let context = Deliveries::new(self.reports.clone(), self.room.clone());
        match Session::open(&self.settings, context) {
            Ok(session) => {
                let why = match class(code) {
                    Class::Fenced => {
                        "a newer Kafka producer has the id of ours; another takes its place"
                    }
                    _ => "the Kafka producer ended; another takes its place",
                };
                tracing::error!(%code, reason, "{why}");
                self.reports.metrics.producers.inc();
                *current = Arc::new(session);
            }
            Err(error) => tracing::error!(%error, "no Kafka producer can be made"),
        }
    }

    fn unavailable(&self, Failure { code, topic }: Failure) -> LogError {
        let what = match topic {
            Some(topic) => &format!("appending to {}", self.names[topic as usize]),
            None => "appending",
        };
        let (code, heard) = match self.reports.heard() {
            // What it was refused for is the cause of its having timed out.
            Some((heard, reason)) if class(heard) == Class::Denied => (heard, Some(reason)),
            heard => (code, heard.map(|(_, reason)| reason)),
        };
        let error = append_error(code, what, heard);
        if let LogError::Refused(why) = &error {
            self.refusal.refused(topic, code, why);
        }
        error
    }

    /// Errs while appends are refused that somebody has to put in order.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        self.refusal.check()
    }
}

fn size(record: AppendRecord<'_>) -> usize {
    record.key.len() + record.value.len()
}
