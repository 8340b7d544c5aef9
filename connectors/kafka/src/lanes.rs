//! Who reads with which consumer.
//!
//! A reader goes on where it stood, so it is given the consumer that stands there and has fetched ahead.
//! Nobody says who they are: the job, a recomputation and a look-up all just ask for offsets. A newcomer
//! would give everybody the same consumer; two readers of one partition would then take turns to seek,
//! and each would throw away what was fetched for the other.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use rdkafka::{ClientConfig, error::KafkaError};

use crate::{
    client,
    config::Config,
    events::{Events, Reports},
    lane::{Lane, Seat, millis_since, named},
    layout::Layout,
};

/// Who read within this time is likely to go on; another consumer is made rather than have it seek.
const FRESH_MS: u64 = 5_000;

/// Partitions that nobody reads are let go of after this time.
const IDLE_MS: u64 = 15_000;

/// What is fetched ahead for a look-up: it wants a record, and the broker sends a batch.
const LOOK_UP_BYTES: usize = 16 << 10;

/// Consumers of one kind.
pub(crate) struct Lanes {
    settings: ClientConfig,
    most: usize,
    places: Vec<(String, i32)>,
    reports: Arc<Reports>,
    started: Instant,
    lanes: Mutex<Vec<Arc<Lane>>>,
}

impl Lanes {
    /// For readers that go through partitions.
    pub(crate) fn for_streams(config: &Config, layout: &Layout, reports: Arc<Reports>) -> Self {
        Self::new(
            config,
            layout,
            reports,
            config.read_ahead_bytes,
            config.readers,
        )
    }

    /// For reads of a record here and there.
    pub(crate) fn for_look_ups(config: &Config, layout: &Layout, reports: Arc<Reports>) -> Self {
        Self::new(config, layout, reports, LOOK_UP_BYTES, 1)
    }

    fn new(
        config: &Config,
        layout: &Layout,
        reports: Arc<Reports>,
        ahead: usize,
        most: usize,
    ) -> Self {
        Self {
            settings: client::consumer(config, ahead),
            most,
            places: named(layout),
            reports,
            started: Instant::now(),
            lanes: Mutex::default(),
        }
    }

    /// A seat at a partition for who wants to read from `from` on. Waits while all consumers read it.
    pub(crate) async fn sit(&self, place: usize, from: i64) -> Result<Seat, KafkaError> {
        let seat = match self.choose(place, from)? {
            Choice::Seat(seat) => seat,
            Choice::Wait(lane) => lane.sit(place).await,
        };
        seat.used(millis_since(self.started));
        Ok(seat)
    }

    fn choose(&self, place: usize, from: i64) -> Result<Choice, KafkaError> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let there = lanes.iter().find(|lane| lane.slot(place).next() == from);
        if let Some(seat) = there.and_then(|lane| lane.try_sit(place))
            && seat.next() == from
        {
            return Ok(Choice::Seat(seat));
        }
        let oldest = lanes.iter().min_by_key(|lane| lane.slot(place).used_at());
        let fresh_since = millis_since(self.started).saturating_sub(FRESH_MS);
        if let Some(lane) = oldest.cloned() {
            let used_at = lane.slot(place).used_at();
            let may_take = used_at == 0 || used_at < fresh_since || lanes.len() >= self.most;
            if may_take && let Some(seat) = lane.try_sit(place) {
                return Ok(Choice::Seat(seat));
            }
            if lanes.len() >= self.most {
                let free = lanes.iter().find_map(|lane| lane.try_sit(place));
                return Ok(free.map_or(Choice::Wait(lane), Choice::Seat));
            }
        }
        let events = Events(self.reports.clone());
        let lane = Arc::new(Lane::open(&self.settings, events, &self.places)?);
        lanes.push(lane.clone());
        Ok(lane.try_sit(place).map_or(Choice::Wait(lane), Choice::Seat))
    }

    /// Gives the clients' reports to their receivers, and lets go of what nobody reads. To be called
    /// several times a second.
    pub(crate) fn serve(&self) {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lanes = lanes.clone();
        let idle_since = millis_since(self.started).saturating_sub(IDLE_MS);
        for lane in lanes {
            lane.serve();
            lane.let_go(idle_since);
        }
    }

    /// Ends the consumers.
    pub(crate) fn close(&self) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.clear();
    }
}

enum Choice {
    Seat(Seat),
    Wait(Arc<Lane>),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use openinfra_log::{AppendBatch, Fetch};
    use openinfra_schemas::Topic;
    use prometheus::Registry;
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::{
        append::Appender,
        metrics::Metrics,
        taken::{Pause, Taken},
    };

    /// Reads `from..from + 2` with what the seat's queue gives, for 10 s at most.
    async fn read_two(seat: &mut Seat, from: i64) {
        let fetch = Fetch {
            topic: Topic::Readings,
            partition: 0,
            from,
            to: from + 2,
            max_records: 2,
            max_bytes: 1_000,
        };
        let mut taken = Taken::new(&fetch, from + 2);
        for _ in 0..1_000 {
            match taken.take_from(seat) {
                Pause::Done => break,
                Pause::Empty => tokio::time::sleep(Duration::from_millis(10)).await,
                _ => panic!("neither empty nor done"),
            }
        }
        let offsets: Vec<i64> = taken.into_records().iter().map(|r| r.offset).collect();
        assert_eq!(offsets, [from, from + 1]);
    }

    #[tokio::test]
    async fn a_partition_that_was_let_go_of_is_taken_again() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("readings", 1, 1).unwrap();
        let config = Config {
            brokers: vec![cluster.bootstrap_servers()],
            partitions: 1,
            ..Config::default()
        };
        let layout = Layout::new(&config);
        let reports = Reports::new(Metrics::new(&Registry::new()).unwrap());
        let appender = Appender::open(&config, &layout, reports.clone()).unwrap();
        let mut batch = AppendBatch::default();
        for _ in 0..100 {
            batch.push(Topic::Readings, 0, b"", b"value");
        }
        appender.append(batch).await.unwrap();
        let lanes = Lanes::for_streams(&config, &layout, reports);
        for from in [40, 60, 2] {
            let mut seat = lanes.sit(0, from).await.unwrap();
            assert!(seat.state.queue.is_none(), "nobody has it");
            seat.go_to(from).unwrap();
            read_two(&mut seat, from).await;
            drop(seat);
            let mut seat = lanes.sit(0, from + 2).await.unwrap();
            assert_eq!(seat.next(), from + 2);
            read_two(&mut seat, from + 2).await;
            let lane = lanes.lanes.lock().unwrap()[0].clone();
            lane.let_go(u64::MAX);
            assert!(seat.state.queue.is_some(), "it is in use");
            drop(seat);
            lane.let_go(u64::MAX);
        }
    }
}
