//! What was read from the broker and is not in the log yet.
//!
//! Messages are parked until there is room for them in the budget of all connectors and their number is
//! admitted; then all that are parked are appended as one batch. What a newcomer would get wrong: one batch
//! at a time. That keeps the order of the broker through every failure of the log, as a batch is offered
//! again until it is taken, and it makes batches large when the log is slow.

use std::{collections::VecDeque, future::pending, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use openinfra_intake::{Intake, Principal, Room, TooMany};
use openinfra_log::AppendBatch;
use openinfra_schemas::time::Millis;
use rumqttc::v5::mqttbytes::v5::Publish;
use tokio::time::{Instant, sleep, sleep_until};

use super::{backoff::Backoff, metrics::Metrics, options::Settings};
use crate::{
    admission::Admission,
    take::{Message, now, take},
};

/// What a message takes beside its bytes and those of its record.
const MESSAGE_BYTES: usize = 256;
/// A batch that the log does not take is told of again in so long.
const TELL: Duration = Duration::from_secs(60);
/// The pauses before a batch is offered to the log again, the first and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Messages between the broker and the log.
pub(crate) struct Hold {
    intake: Arc<dyn Intake>,
    who: Arc<Principal>,
    broker: String,
    trust_recv: bool,
    max_messages: usize,
    max_bytes: usize,
    metrics: Arc<Metrics>,
    parked: VecDeque<Parked>,
    /// What the parked ones take of the budget.
    parked_room: usize,
    room: Room,
    /// What is parked has no room, and waits for it.
    starved: bool,
    admission: Admission,
    /// When to ask again for the admission of what is parked.
    admit_at: Option<Instant>,
    commit: Option<BoxFuture<'static, Burst>>,
    /// Parked and being committed.
    messages: usize,
    bytes: usize,
    stopping: bool,
}

struct Parked {
    publish: Publish,
    receipt: Option<Receipt>,
}

/// What it takes to acknowledge a message: its packet id means something on its own connection only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub connection: u64,
    pub packet_id: u16,
    pub read_at: Instant,
}

/// Messages that are in the log now, in the order they came.
#[derive(Default)]
pub(crate) struct Burst {
    pub receipts: Vec<Receipt>,
    messages: usize,
    bytes: usize,
}

impl Hold {
    pub fn new(settings: &Settings, intake: Arc<dyn Intake>, metrics: Arc<Metrics>) -> Self {
        let config = &settings.config;
        Self {
            room: intake.budget().room(),
            intake,
            who: Arc::clone(&settings.who),
            broker: config.name.clone(),
            trust_recv: config.trust_recv,
            max_messages: config.receive_maximum.into(),
            max_bytes: config.in_flight_bytes,
            metrics,
            parked: VecDeque::new(),
            parked_room: 0,
            starved: false,
            admission: Admission::default(),
            admit_at: None,
            commit: None,
            messages: 0,
            bytes: 0,
            stopping: false,
        }
    }

    /// Whether the bounds allow to read more. A window that is exactly full is the broker's to mind; it
    /// sends nothing then but answers to pings, which have to be read. A room counts for no more than the
    /// largest there is, so more than that is not parked.
    pub fn may_read(&self) -> bool {
        !self.starved
            && self.messages <= self.max_messages
            && self.bytes < self.max_bytes
            && self.parked_room < self.intake.budget().largest()
    }

    pub fn is_empty(&self) -> bool {
        self.parked.is_empty() && self.commit.is_none()
    }

    /// From now on all that is parked is taken, admitted or not, with room or without.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Holds a message until [`next`](Self::next) gets it into the log.
    pub fn park(&mut self, publish: Publish, receipt: Option<Receipt>) {
        self.messages += 1;
        self.bytes += size_bytes(&publish);
        self.parked_room += room_bytes(&publish);
        self.parked.push_back(Parked { publish, receipt });
        self.starved = !self.room.try_resize(self.parked_room);
    }

    /// The next messages that are in the log; works at getting them there while it is waited for, for ever when
    /// there are none. Cancel-safe.
    pub async fn next(&mut self) -> Burst {
        loop {
            self.launch();
            let starved = self.starved && !self.stopping;
            let admit_at = self.admit_at.filter(|_| self.commit.is_none());
            let committed = async {
                match &mut self.commit {
                    Some(commit) => commit.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                burst = committed => {
                    self.commit = None;
                    self.messages -= burst.messages;
                    self.bytes -= burst.bytes;
                    self.metrics.in_flight.set(0);
                    return burst;
                }
                () = self.room.resize(self.parked_room), if starved => self.starved = false,
                () = sleep_until(admit_at.unwrap_or_else(Instant::now)), if admit_at.is_some() => {
                    self.admit_at = None;
                }
            }
        }
    }

    /// Begins to commit what is parked, as far as it may be.
    fn launch(&mut self) {
        let waits = self.starved || self.admit_at.is_some();
        if self.commit.is_some() || self.parked.is_empty() || (waits && !self.stopping) {
            return;
        }
        let mut batch = AppendBatch::default();
        let mut burst = Burst::default();
        let recv_ts = now();
        let mut room = 0;
        // What is admitted may all go to what earlier messages owe, so that asking once is not enough.
        while !self.parked.is_empty() {
            match self.admitted() {
                Ok(messages) => {
                    for _ in 0..messages {
                        room += self.take_next(recv_ts, &mut batch, &mut burst);
                    }
                }
                Err(wait) => {
                    let pause = wait.retry_after.max(Duration::from_millis(1));
                    self.admit_at = Some(Instant::now() + pause);
                    break;
                }
            }
        }
        if burst.messages == 0 {
            return;
        }
        self.metrics.in_flight.set(burst.messages as i64);
        self.parked_room -= room;
        let room = self.room.split(room);
        // What was launched may have taken the room for the rest with it.
        self.starved = !self.room.try_resize(self.parked_room);
        self.commit = Some(Box::pin(commit(
            Arc::clone(&self.intake),
            Arc::clone(&self.metrics),
            self.broker.clone(),
            batch,
            burst,
            room,
        )));
    }

    /// Moves the message that has waited longest into the batch; the bytes of room that it has.
    fn take_next(&mut self, recv_ts: Millis, batch: &mut AppendBatch, burst: &mut Burst) -> usize {
        let Some(Parked { publish, receipt }) = self.parked.pop_front() else {
            return 0;
        };
        // A topic that is no text is no topic of ours either; the ledger shows it as well as it can.
        let topic = String::from_utf8_lossy(&publish.topic);
        let message = Message {
            topic: &topic,
            payload: &publish.payload,
            recv_ts,
            trust_recv: self.trust_recv,
        };
        let taken = take(self.intake.as_ref(), &self.who, message, batch);
        let verdict = taken.verdict();
        self.metrics
            .refused
            .inc_by(u64::from(!verdict.rejected.is_empty()));
        self.admission.took(verdict);
        burst.messages += 1;
        burst.bytes += size_bytes(&publish);
        burst.receipts.extend(receipt);
        room_bytes(&publish)
    }

    /// How many parked messages may be taken now, at least none.
    fn admitted(&mut self) -> Result<usize, TooMany> {
        let waiting = self.parked.len();
        if self.who.readings_per_s.is_none() || self.stopping {
            return Ok(waiting);
        }
        self.admission
            .admitted(self.intake.as_ref(), &self.who, waiting)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.metrics.in_flight.set(0);
    }
}

/// Offers a batch to the log until it takes it. Its room is kept meanwhile, as the batch is; the same records
/// are offered each time, so that those which got there in spite of an error count once.
async fn commit(
    intake: Arc<dyn Intake>,
    metrics: Arc<Metrics>,
    broker: String,
    batch: AppendBatch,
    burst: Burst,
    room: Room,
) -> Burst {
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    let mut failing: Option<Instant> = None;
    let mut told: Option<Instant> = None;
    let messages = burst.messages;
    // A message of no readings, an empty array, leaves nothing to append.
    while !batch.is_empty() {
        let Err(error) = intake.commit(batch.clone(), intake.budget().room()).await else {
            break;
        };
        metrics.commit_retries.inc();
        let since = *failing.get_or_insert_with(Instant::now);
        // Again and again, as it may be for an operator to put right; and nothing behind this batch is taken.
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            told = Some(Instant::now());
            tracing::warn!(
                broker,
                messages,
                %error,
                after = ?since.elapsed(),
                "the log does not take what the MQTT broker sent; nothing is acknowledged, trying again"
            );
        }
        sleep(backoff.pause()).await;
    }
    if let Some(since) = failing {
        let after = since.elapsed();
        tracing::info!(broker, messages, ?after, "the log takes messages again");
    }
    drop(room);
    burst
}

/// What a message weighs against the client's bound of bytes in flight.
fn size_bytes(publish: &Publish) -> usize {
    publish.topic.len() + publish.payload.len()
}

/// What it takes in the budget of all: itself, then its record, once to keep and once with the log.
fn room_bytes(publish: &Publish) -> usize {
    2 * size_bytes(publish) + MESSAGE_BYTES
}
