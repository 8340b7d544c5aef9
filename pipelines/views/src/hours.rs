//! Rows of `hourly_aggregate` that wait to be written: each is rewritten with every reading of its hour, and
//! a database need not see all of that.
//!
//! What a newcomer would get wrong: a row that waits is not lost with the process. The progress row says as
//! of which tick all rows of the view are at least; the next start replays from there and makes them again.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use openinfra_schemas::time::Millis;
use openinfra_store::{Batch, Mutation, Table};

/// What waits at most, in bytes; beyond it everything is written.
const MOST_BYTES: usize = 16 << 20;

/// The newest content of each row that waits, by the store's partitions.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// How long a row may wait, in milliseconds of tick time; 0: none waits.
    every: Millis,
    partitions: BTreeMap<Vec<u8>, Partition>,
    bytes: usize,
}

#[derive(Debug)]
struct Partition {
    table: &'static Table,
    /// The oldest tick whose change of these rows is not written.
    since: Millis,
    /// Where in the interval its turn is: all at once would be a burst.
    phase: Millis,
    /// By clustering key.
    rows: HashMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Waiting {
    pub(crate) fn new(every: Millis) -> Self {
        Self {
            every,
            partitions: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Takes the rows of a tick; a row that waits already gives way.
    pub(crate) fn add(&mut self, rows: &Batch, tick: Millis) {
        for row in rows.mutations() {
            let (partition, clustering) = row.key.split_at(row.partition_len);
            if !self.partitions.contains_key(partition) {
                self.partitions
                    .insert(partition.to_vec(), Partition::new(&row, tick, self.every));
            }
            let waiting = self
                .partitions
                .get_mut(partition)
                .expect("it was put there if it was not");
            let size = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
            let value = row.value.map(<[u8]>::to_vec);
            self.bytes += clustering.len() + size(&value);
            if let Some(before) = waiting.rows.insert(clustering.to_vec(), value) {
                self.bytes -= clustering.len() + size(&before);
            }
        }
    }

    /// Moves what is due at `tick` into a batch.
    pub(crate) fn take_due(&mut self, tick: Millis, batch: &mut Batch) {
        let (every, all) = (self.every, self.bytes > MOST_BYTES);
        self.take(batch, |partition| all || partition.is_due(tick, every));
    }

    /// Moves everything into a batch.
    pub(crate) fn take_all(&mut self, batch: &mut Batch) {
        self.take(batch, |_| true);
    }

    fn take(&mut self, batch: &mut Batch, is_taken: impl Fn(&Partition) -> bool) {
        let bytes = &mut self.bytes;
        self.partitions.retain(|key, partition| {
            let taken = is_taken(partition);
            if taken {
                *bytes -= partition.write(key, batch);
            }
            !taken
        });
    }

    /// As of which tick all rows are at least in the store; none: nothing waits.
    pub(crate) fn written_to(&self) -> Option<Millis> {
        let since = self.partitions.values().map(|partition| partition.since);
        since.min().map(|since| since - 1)
    }
}

impl Partition {
    fn new(row: &Mutation<'_>, since: Millis, every: Millis) -> Self {
        let mut hasher = DefaultHasher::new();
        row.key[..row.partition_len].hash(&mut hasher);
        Self {
            table: row.table,
            since,
            phase: (hasher.finish() >> 1) as Millis % every.max(1),
            rows: HashMap::new(),
        }
    }

    /// Whether its turn came after it began to wait.
    fn is_due(&self, tick: Millis, every: Millis) -> bool {
        let turn = |at: Millis| (at - self.phase).div_euclid(every.max(1));
        every == 0 || turn(tick) > turn(self.since)
    }

    /// Adds its rows to a batch; their bytes.
    fn write(&self, key: &[u8], batch: &mut Batch) -> usize {
        let mut bytes = 0;
        let mut whole = key.to_vec();
        for (clustering, value) in &self.rows {
            whole.truncate(key.len());
            whole.extend_from_slice(clustering);
            bytes += clustering.len() + value.as_ref().map_or(0, Vec::len);
            batch.push(Mutation {
                table: self.table,
                key: &whole,
                partition_len: key.len(),
                value: value.as_deref(),
            });
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use openinfra_schemas::{SensorId, TenantId};
    use openinfra_store::{Row, WriteClass, tables::views::HourlyAggregateRow};

    use super::*;

    const EVERY: Millis = 1_000;

    fn row(bucket: i32, count: i64) -> HourlyAggregateRow {
        HourlyAggregateRow {
            tenant: TenantId::trusted("city"),
            bucket,
            day: 0,
            sensor_id: SensorId::trusted("a"),
            hour: 0,
            count,
            sum: None,
            min: None,
            max: None,
            mean: None,
            stddev: None,
            first: None,
            last: None,
            bad_count: 0,
            late_count: 0,
            revised_at: None,
            tick: count,
        }
    }

    fn rows(rows: &[HourlyAggregateRow]) -> Batch {
        let mut batch = Batch::new(WriteClass::Tick(0));
        rows.iter().for_each(|row| batch.put(row));
        batch
    }

    /// Bucket and count of each row.
    fn shown(batch: &Batch) -> Vec<(i32, i64)> {
        let decode = |m: Mutation<'_>| {
            let (partition, clustering) = m.key.split_at(m.partition_len);
            let row = HourlyAggregateRow::decode(partition, clustering, m.value.unwrap()).unwrap();
            (row.bucket, row.count)
        };
        let mut shown: Vec<_> = batch.mutations().map(decode).collect();
        shown.sort_unstable();
        shown
    }

    #[test]
    fn a_row_is_written_once_in_the_interval_with_its_newest_content() {
        let mut waiting = Waiting::new(EVERY);
        let mut writes = Vec::new();
        for tick in 0..10 * EVERY {
            waiting.add(&rows(&[row(1, tick)]), tick);
            let mut batch = Batch::new(WriteClass::Tick(tick));
            waiting.take_due(tick, &mut batch);
            let written = shown(&batch);
            if let [(1, count)] = written[..] {
                assert_eq!(count, tick);
                assert_eq!(waiting.written_to(), None);
                writes.push(tick);
            } else {
                assert_eq!(written, []);
                assert!(waiting.written_to().unwrap() >= tick - EVERY);
            }
        }
        assert!((9..=10).contains(&writes.len()), "{writes:?}");
        let gaps = writes.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.clone().all(|gap| gap == EVERY), "{writes:?}");
    }

    #[test]
    fn partitions_take_turns() {
        let mut waiting = Waiting::new(EVERY);
        let all: Vec<_> = (0..256).map(|bucket| row(bucket, 1)).collect();
        waiting.add(&rows(&all), 0);
        let mut sizes = Vec::new();
        for tick in (0..=EVERY).step_by(100) {
            let mut batch = Batch::new(WriteClass::Tick(tick));
            waiting.take_due(tick, &mut batch);
            sizes.push(batch.len());
        }
        assert_eq!(sizes.iter().sum::<usize>(), 256, "none waits for longer");
        assert!(sizes.iter().all(|size| *size < 60), "{sizes:?}");
        assert_eq!(waiting.bytes, 0);
    }

    #[test]
    fn what_waits_is_as_of_the_tick_before_its_oldest_change() {
        let mut waiting = Waiting::new(EVERY);
        waiting.add(&rows(&[row(1, 1), row(2, 1)]), 50);
        waiting.add(&rows(&[row(1, 2)]), 60);
        assert_eq!(waiting.written_to(), Some(49));
        let mut batch = Batch::new(WriteClass::Tick(60));
        waiting.take_all(&mut batch);
        assert_eq!(shown(&batch), [(1, 2), (2, 1)]);
        assert_eq!((waiting.written_to(), waiting.bytes), (None, 0));
    }

    #[test]
    fn more_than_is_to_wait_is_written_at_once() {
        let mut waiting = Waiting::new(EVERY);
        let mut tick = 0;
        while waiting.bytes <= MOST_BYTES {
            let many: Vec<_> = (0..1_000).map(|i| row(1_000 * tick + i, 1)).collect();
            waiting.add(&rows(&many), 0);
            tick += 1;
        }
        let mut batch = Batch::new(WriteClass::Tick(0));
        waiting.take_due(0, &mut batch);
        assert_eq!(batch.len(), 1_000 * tick as usize);
        assert_eq!((waiting.written_to(), waiting.bytes), (None, 0));
    }

    #[test]
    fn without_an_interval_nothing_waits() {
        let mut waiting = Waiting::new(0);
        waiting.add(&rows(&[row(1, 1)]), 5);
        let mut batch = Batch::new(WriteClass::Tick(5));
        waiting.take_due(5, &mut batch);
        assert_eq!(shown(&batch), [(1, 1)]);
    }
}
