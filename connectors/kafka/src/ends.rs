//! Where partitions begin and end.
//!
//! One request to each broker that leads a partition answers for all of them. The ends are high
//! watermarks: records below them are on every replica in sync.
//!
//! What a newcomer would fear is that an end lags behind an acknowledgement. With `acks=all` the leader
//! confirms a record only once its high watermark has passed it, and a new leader answers "not available
//! yet" until it has caught up. So an append that returned is counted by every later answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use openinfra_log::LogError;
use openinfra_schemas::Topic;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};
use tokio::time::Instant;

use crate::{
    error::log_error,
    events::{Events, Reports},
    layout::Layout,
};

/// How long to wait before asking again, after an end that fell or while nobody leads.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Asks for offsets, and remembers the answers.
pub(crate) struct Ends {
    client: Arc<BaseConsumer<Events>>,
    layout: Layout,
    timeout: Duration,
    reports: Arc<Reports>,
    /// By the partition's number: an end that it had at some time, and a start.
    known_ends: Vec<AtomicI64>,
    known_starts: Vec<AtomicI64>,
}

impl Ends {
    pub(crate) fn new(
        client: Arc<BaseConsumer<Events>>,
        layout: Layout,
        timeout: Duration,
        reports: Arc<Reports>,
    ) -> Self {
        let zeros = || (0..layout.len()).map(|_| AtomicI64::new(0)).collect();
        Self {
            known_ends: zeros(),
            known_starts: zeros(),
            client,
            layout,
            timeout,
            reports,
        }
    }

    /// An end that the partition has reached at least.
    pub(crate) fn known_end(&self, place: usize) -> i64 {
        self.known_ends[place].load(Relaxed)
    }

    pub(crate) fn known_start(&self, place: usize) -> i64 {
        self.known_starts[place].load(Relaxed)
    }

    /// A record is confirmed to stand before `end`.
    pub(crate) fn reached(&self, place: usize, end: i64) {
        self.known_ends[place].fetch_max(end, Relaxed);
    }

    /// The ends of all partitions of a topic now.
    pub(crate) async fn all(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.ends(topic, 0..self.layout.partitions(topic)).await
    }

    /// Whether whoever leads each partition of each topic answers, and has what was acknowledged.
    ///
    /// Nothing can be appended to one without a leader. That too few replicas are in sync is not seen here:
    /// an append waits for them, and says so.
    pub(crate) async fn asked(&self) -> Result<(), LogError> {
        for topic in Topic::ALL {
            self.all(topic).await?;
        }
        Ok(())
    }

    /// The ends of some partitions of a topic now.
    pub(crate) async fn ends(
        &self,
        topic: Topic,
        partitions: std::ops::Range<i32>,
    ) -> Result<Vec<i64>, LogError> {
        let places = self.places(topic, &partitions)?;
        let mut deadline = None;
        loop {
            let known: Vec<i64> = places.clone().map(|p| self.known_end(p)).collect();
            let ends = self.ask(topic, partitions.clone(), Offset::End).await?;
            let fell = |((known, end), _): &((&i64, &i64), i32)| end < known;
            let of_each = known.iter().zip(&ends).zip(partitions.clone());
            let Some(((known, end), partition)) = of_each.into_iter().find(fell) else {
                for (place, end) in places.zip(&ends) {
                    self.reached(place, *end);
                }
                return Ok(ends);
            };
            let name = self.layout.name(topic);
            // From the first end that fell: until then, who leads may have been settled.
            if Instant::now() >= *deadline.get_or_insert_with(|| Instant::now() + self.timeout) {
                return Err(LogError::Damaged(format!(
                    "{name} [{partition}] ended at {known} and ends at {end} now: the topic was made \
                     anew or cut short, and acknowledged records are missing"
                )));
            }
            // A broker that leads no longer may have answered: who leads is asked for anew.
            self.ask_who_leads(name).await;
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Makes the client ask which brokers lead a topic's partitions. Without an answer it goes on with what
    /// it knew.
    async fn ask_who_leads(&self, name: String) {
        let (client, timeout) = (self.client.clone(), self.timeout);
        let asked = tokio::task::spawn_blocking(move || {
            if let Err(error) = client.fetch_metadata(Some(&name), timeout) {
                tracing::debug!(%error, topic = name, "nobody says which brokers lead it");
            }
        });
        let _ = asked.await;
    }

    /// The starts of some partitions of a topic now.
    pub(crate) async fn starts(
        &self,
        topic: Topic,
        partitions: std::ops::Range<i32>,
    ) -> Result<Vec<i64>, LogError> {
        let places = self.places(topic, &partitions)?;
        let starts = self.ask(topic, partitions, Offset::Beginning).await?;
        for (place, start) in places.zip(&starts) {
            self.known_starts[place].fetch_max(*start, Relaxed);
        }
        Ok(starts)
    }

    fn places(
        &self,
        topic: Topic,
        partitions: &std::ops::Range<i32>,
    ) -> Result<std::ops::Range<usize>, LogError> {
        let first = self.layout.index(topic, partitions.start)?;
        Ok(first..first + partitions.len())
    }

    /// Asks, and again while it is being settled who leads: a broker that comes back begins to lead one partition
    /// after the other, and clients hear of it before it is so.
    async fn ask(
        &self,
        topic: Topic,
        partitions: std::ops::Range<i32>,
        which: Offset,
    ) -> Result<Vec<i64>, LogError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let code = match self.ask_once(topic, partitions.clone(), which).await? {
                Ok(offsets) => return Ok(offsets),
                Err(code) => code,
            };
            if !is_being_settled(code) || Instant::now() >= deadline {
                let what = format!("asking for the offsets of {}", self.layout.name(topic));
                return Err(log_error(code, &what, self.reports.heard_text()));
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn ask_once(
        &self,
        topic: Topic,
        partitions: std::ops::Range<i32>,
        which: Offset,
    ) -> Result<Result<Vec<i64>, Code>, LogError> {
        let client = self.client.clone();
        let name = self.layout.name(topic);
        let timeout = self.timeout;
        let asked = tokio::task::spawn_blocking(move || {
            list_offsets(&client, &name, partitions, which, timeout)
        });
        let answer = match asked.await {
            Ok(answer) => answer,
            Err(ended) => return Err(LogError::Unavailable(ended.to_string())),
        };
        if answer.is_ok() {
            self.reports.well();
        }
        Ok(answer.map_err(|error| error.rdkafka_error_code().unwrap_or(Code::Unknown)))
    }
}

/// Whether a broker says that it does not lead a partition now, or not as we have heard, and whoever does will
/// answer in a moment.
fn is_being_settled(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownLeaderEpoch
            | Code::FencedLeaderEpoch
            | Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::OffsetNotAvailable
    )
}

/// The "times" -1 and -2, which [`Offset::End`] and [`Offset::Beginning`] are on the wire, stand for the
/// last and the first offset.
fn list_offsets(
    client: &BaseConsumer<Events>,
    name: &str,
    partitions: std::ops::Range<i32>,
    which: Offset,
    timeout: Duration,
) -> Result<Vec<i64>, KafkaError> {
    let mut asked = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        asked.add_partition_offset(name, partition, which)?;
    }
    let answered = client.offsets_for_times(asked, timeout)?;
    let offsets = answered.elements().into_iter().map(|element| {
        element.error()?;
        match element.offset() {
            Offset::Offset(offset) => Ok(offset),
            // Not answered for.
            _ => Err(KafkaError::MetadataFetch(Code::LeaderNotAvailable)),
        }
    });
    offsets.collect()
}
