//! A consumer, and where it stands in each partition.
//!
//! librdkafka fetches for all partitions of a consumer with one request, and keeps what came in a queue for
//! each. A slot is such a queue with the offset that it gives next; who reads from there on finds the
//! records fetched already. What a newcomer would do is make a consumer for each partition: its threads
//! and connections would be hundreds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use openinfra_schemas::Topic;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer, base_consumer::PartitionQueue},
    error::KafkaError,
};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use crate::events::{self, Events};

/// No offset: the next reader has to seek.
const NOWHERE: i64 = -1;

/// One consumer. Queues must not outlive it, so it is the last to be dropped.
pub(crate) struct Lane {
    slots: Vec<Arc<Slot>>,
    consumer: Arc<BaseConsumer<Events>>,
}

/// One partition of one consumer.
pub(crate) struct Slot {
    name: String,
    partition: i32,
    state: Arc<Mutex<State>>,
    /// As in `state`, to look at while somebody reads.
    next: AtomicI64,
    /// When somebody read last, in milliseconds since the pool was made; 0 when nobody did.
    used_at: AtomicU64,
}

/// What belongs to who reads the slot.
pub(crate) struct State {
    /// There while the partition is assigned.
    pub(crate) queue: Option<PartitionQueue<Events>>,
    /// Wakes when the queue is no longer empty.
    pub(crate) ready: Arc<Notify>,
    /// The offset that the queue gives next.
    next: i64,
}

/// A slot while it is read. The consumer is the last to be dropped here, too.
pub(crate) struct Seat {
    pub(crate) state: OwnedMutexGuard<State>,
    slot: Arc<Slot>,
    consumer: Arc<BaseConsumer<Events>>,
}

impl Lane {
    pub(crate) fn open(
        settings: &ClientConfig,
        events: Events,
        places: &[(String, i32)],
    ) -> Result<Self, KafkaError> {
        let consumer = BaseConsumer::from_config_and_context(settings, events)?;
        let slots = places.iter().map(|(name, partition)| {
            Arc::new(Slot {
                name: name.clone(),
                partition: *partition,
                state: Arc::new(Mutex::new(State {
                    queue: None,
                    ready: Arc::new(Notify::new()),
                    next: NOWHERE,
                })),
                next: AtomicI64::new(NOWHERE),
                used_at: AtomicU64::new(0),
            })
        });
        Ok(Self {
            slots: slots.collect(),
            consumer: Arc::new(consumer),
        })
    }

    pub(crate) fn slot(&self, place: usize) -> &Arc<Slot> {
        &self.slots[place]
    }

    /// Takes the slot if nobody reads it.
    pub(crate) fn try_sit(&self, place: usize) -> Option<Seat> {
        let slot = self.slots[place].clone();
        let state = slot.state.clone().try_lock_owned().ok()?;
        Some(Seat {
            consumer: self.consumer.clone(),
            slot,
            state,
        })
    }

    /// Takes the slot once nobody reads it.
    pub(crate) async fn sit(&self, place: usize) -> Seat {
        let slot = self.slots[place].clone();
        let state = slot.state.clone().lock_owned().await;
        Seat {
            consumer: self.consumer.clone(),
            slot,
            state,
        }
    }

    /// Gives the client's errors and log lines to their receivers.
    pub(crate) fn serve(&self) {
        // Records come by other queues. What comes here has been reported by the context.
        events::serve(&self.consumer);
    }

    /// Lets go of partitions that nobody has read since `before`: they fetch no more, and what was fetched
    /// is freed.
    pub(crate) fn let_go(&self, before: u64) {
        for place in 0..self.slots.len() {
            if self.slots[place].used_at() < before
                && self.slots[place].next() != NOWHERE
                && let Some(mut seat) = self.try_sit(place)
            {
                seat.leave();
            }
        }
    }
}

impl Slot {
    /// The offset that the queue gives next; negative when it has to be sought.
    pub(crate) fn next(&self) -> i64 {
        self.next.load(Relaxed)
    }

    pub(crate) fn used_at(&self) -> u64 {
        self.used_at.load(Relaxed)
    }
}

impl Seat {
    pub(crate) fn next(&self) -> i64 {
        self.state.next
    }

    /// The queue has given all before `next`.
    pub(crate) fn moved_to(&mut self, next: i64) {
        self.state.next = next;
        self.slot.next.store(next, Relaxed);
    }

    /// Whoever reads next has to seek.
    pub(crate) fn is_lost(&mut self) {
        self.moved_to(NOWHERE);
    }

    pub(crate) fn used(&self, now: u64) {
        self.slot.used_at.store(now.max(1), Relaxed);
    }

    /// Makes the queue give the records from `from` on. May wait for the client's thread, not for a
    /// broker.
    pub(crate) fn go_to(&mut self, from: i64) -> Result<(), KafkaError> {
        self.is_lost();
        if self.state.queue.is_none() {
            self.assign(from)?;
        } else {
            // What is in the queue of before is dropped by the client.
            let (name, partition) = (&self.slot.name, self.slot.partition);
            let at = Offset::Offset(from);
            self.consumer.seek(name, partition, at, Duration::ZERO)?;
        }
        self.moved_to(from);
        Ok(())
    }

    fn assign(&mut self, from: i64) -> Result<(), KafkaError> {
        let Slot {
            name, partition, ..
        } = &*self.slot;
        // The queue has to be apart before the first record comes, or that goes to the consumer's.
        let queue = self.consumer.split_partition_queue(name, *partition);
        let mut queue = queue.ok_or(KafkaError::NoMessageReceived)?;
        let ready = self.state.ready.clone();
        queue.set_nonempty_callback(move || ready.notify_one());
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(name, *partition, Offset::Offset(from))?;
        self.consumer.incremental_assign(&list)?;
        self.state.queue = Some(queue);
        Ok(())
    }

    /// Gives the partition back. After an error it is the only sure way to begin anew.
    pub(crate) fn leave(&mut self) {
        self.is_lost();
        if self.state.queue.take().is_none() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.slot.name, self.slot.partition);
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            tracing::warn!(%error, topic = self.slot.name, "a partition was not given back");
        }
    }
}

/// Milliseconds since `start`.
pub(crate) fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Topic name and partition of every place.
pub(crate) fn named(layout: &crate::layout::Layout) -> Vec<(String, i32)> {
    let name = |(topic, partition): (Topic, i32)| (layout.name(topic), partition);
    layout.places().map(name).collect()
}
