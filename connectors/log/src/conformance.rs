//! What every implementation of [`Log`] must pass.
//!
//! The checks append to whatever the log already holds and judge only what they appended, so they run
//! against a broker that others used before. They panic with what was wrong. What a newcomer would get
//! wrong: durability is promised too, and no check in one process can show it; each implementation has
//! crash tests of its own.

mod concurrent;

use std::sync::Arc;

use openinfra_schemas::Topic;

use crate::{AppendBatch, Fetch, Log, LogError, LogRecord};

pub use concurrent::{appenders_do_not_disturb_each_other, nothing_is_seen_before_its_end};

/// Runs every check. The log must have two partitions or more in keyed topics, and no other writer.
pub async fn run(log: &Arc<dyn Log>) {
    every_partition_has_ends(log.as_ref()).await;
    offsets_follow_the_batch(log.as_ref()).await;
    a_later_batch_stands_behind(log.as_ref()).await;
    any_bytes_come_back(log.as_ref()).await;
    an_empty_batch_is_nothing(log.as_ref()).await;
    reads_keep_to_their_bounds(log.as_ref()).await;
    beyond_the_end_is_nothing(log.as_ref()).await;
    partitions_that_are_not_are_refused(log.as_ref()).await;
    below_the_start_is_gone(log.as_ref()).await;
    records_stay_as_they_were(log.as_ref()).await;
    append_times_never_fall(log.as_ref()).await;
    appenders_do_not_disturb_each_other(log).await;
    nothing_is_seen_before_its_end(log).await;
}

/// As many ends and starts as partitions; one partition of `ticks`.
pub async fn every_partition_has_ends(log: &dyn Log) {
    assert_eq!(log.partitions(Topic::Ticks), 1);
    for topic in Topic::ALL {
        let partitions = log.partitions(topic) as usize;
        let ends = ends(log, topic).await;
        let starts = log.start_offsets(topic).await.expect("start offsets");
        assert_eq!(ends.len(), partitions, "{topic} ends");
        assert_eq!(starts.len(), partitions, "{topic} starts");
        for (start, end) in starts.iter().zip(&ends) {
            assert!(0 <= *start && start <= end, "{topic}: {start}..{end}");
        }
    }
}

/// The offsets of a batch's records are the next ones of their partitions, in the batch's order.
pub async fn offsets_follow_the_batch(log: &dyn Log) {
    for topic in Topic::ALL {
        let partitions = log.partitions(topic);
        let before = ends(log, topic).await;
        let mut batch = AppendBatch::default();
        let mut expected = Vec::new();
        let mut next = before.clone();
        for i in 0..200 {
            let partition = (i * 7) % partitions;
            batch.push(
                topic,
                partition,
                format!("key {i}").as_bytes(),
                format!("value {i}").as_bytes(),
            );
            expected.push(next[partition as usize]);
            next[partition as usize] += 1;
        }
        let appended = append(log, batch).await;
        assert_eq!(appended, expected, "{topic}");
        assert_eq!(ends(log, topic).await, next, "{topic}");
        for (i, offset) in (0..200).zip(appended) {
            let partition = (i * 7) % partitions;
            let record = record_at(log, topic, partition, offset).await;
            assert_eq!(record.key, format!("key {i}"), "{topic}/{partition}");
            assert_eq!(record.value, format!("value {i}"), "{topic}/{partition}");
        }
    }
}

/// A batch appended after another returned has greater offsets in every partition.
pub async fn a_later_batch_stands_behind(log: &dyn Log) {
    let mut last = -1;
    for round in 0..20 {
        let offsets = append(log, numbered(Topic::Readings, 0, round, 3)).await;
        assert!(offsets.is_sorted() && last < offsets[0], "round {round}");
        last = offsets[2];
    }
}

/// Keys and values are any bytes, none, or many.
pub async fn any_bytes_come_back(log: &dyn Log) {
    let all: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..700_000u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect();
    let contents: [(&[u8], &[u8]); 6] = [
        (b"", b""),
        (b"key", b""),
        (b"", b"value"),
        (&all, &all),
        (b"large", &large),
        (b"after", b"it"),
    ];
    let mut batch = AppendBatch::default();
    for (key, value) in contents {
        batch.push(Topic::Ledger, 1, key, value);
    }
    let offsets = append(log, batch).await;
    let records = read_all(log, Topic::Ledger, 1, offsets[0]).await;
    assert_eq!(records.len(), contents.len());
    for (record, (key, value)) in records.iter().zip(contents) {
        assert!(record.key == key && record.value == value);
    }
}

/// An empty batch is acknowledged and changes nothing.
pub async fn an_empty_batch_is_nothing(log: &dyn Log) {
    let before = ends(log, Topic::Readings).await;
    assert_eq!(append(log, AppendBatch::default()).await, Vec::<i64>::new());
    assert_eq!(ends(log, Topic::Readings).await, before);
}

/// A read gives consecutive records from its first offset on, as far as each of its bounds allows.
pub async fn reads_keep_to_their_bounds(log: &dyn Log) {
    let mut first = i64::MAX;
    // Several appends, so that a read crosses whatever they are stored in.
    for round in 0..10 {
        let offsets = append(log, numbered(Topic::Entities, 1, round, 10)).await;
        first = first.min(offsets[0]);
    }
    for (from, to) in [(0, 100), (0, 1), (5, 25), (9, 11), (37, 38), (99, 100)] {
        let fetch = Fetch {
            from: first + from,
            to: first + to,
            ..everything(Topic::Entities, 1)
        };
        assert_eq!(
            offsets_of(log, fetch).await,
            (first + from..first + to).collect::<Vec<_>>()
        );
        for max_records in [0, 1, 7, 10, 11] {
            let bounded = Fetch {
                max_records,
                ..fetch
            };
            let expected: Vec<i64> = (fetch.from..fetch.to).take(max_records).collect();
            assert_eq!(offsets_of(log, bounded).await, expected, "{max_records}");
        }
    }
    bytes_are_bounded(log, first).await;
}

/// No further record once the bytes are reached, and always a first one.
async fn bytes_are_bounded(log: &dyn Log, first: i64) {
    let from_first = Fetch {
        from: first,
        ..everything(Topic::Entities, 1)
    };
    let sizes: Vec<usize> = read(log, from_first)
        .await
        .iter()
        .map(|record| record.key.len() + record.value.len())
        .collect();
    for max_bytes in [0, 1, sizes[0], sizes[0] + 1, 100, 250] {
        let bounded = Fetch {
            max_bytes,
            ..from_first
        };
        let got = read(log, bounded).await.len();
        let before_last: usize = sizes[..got.max(1) - 1].iter().sum();
        assert!(got >= 1, "{max_bytes}");
        // Bounds on bytes count what an implementation finds handy to count, keys and values at least.
        assert!(
            before_last < max_bytes || got == 1,
            "{max_bytes}: {got} records"
        );
    }
}

/// At and beyond the end a read is empty; it waits for nothing.
pub async fn beyond_the_end_is_nothing(log: &dyn Log) {
    for topic in Topic::ALL {
        let end = ends(log, topic).await[0];
        for from in [end, end + 1, end + 1_000_000] {
            let fetch = Fetch {
                from,
                ..everything(topic, 0)
            };
            assert_eq!(read(log, fetch).await, vec![], "{topic} from {from}");
        }
        let backwards = Fetch {
            from: end,
            to: end - 1,
            ..everything(topic, 0)
        };
        assert_eq!(read(log, backwards).await, vec![], "{topic} backwards");
    }
}

/// A partition that the topic does not have is refused, and nothing of its batch is taken.
pub async fn partitions_that_are_not_are_refused(log: &dyn Log) {
    for topic in Topic::ALL {
        let before = ends(log, topic).await;
        for wrong in [-1, log.partitions(topic), i32::MAX] {
            let mut batch = AppendBatch::default();
            batch.push(topic, 0, b"good", b"partition");
            batch.push(topic, wrong, b"wrong", b"partition");
            let refused = log.append(batch).await;
            assert!(
                matches!(&refused, Err(LogError::NoPartition { topic: t, partition, partitions })
                    if *t == topic && *partition == wrong && *partitions == log.partitions(topic)),
                "{topic}/{wrong}: {refused:?}"
            );
            let refused = log.read(everything(topic, wrong)).await;
            assert!(
                matches!(refused, Err(LogError::NoPartition { .. })),
                "{topic}/{wrong}: {refused:?}"
            );
        }
        assert_eq!(ends(log, topic).await, before, "{topic}");
    }
}

/// Below the first offset that is kept a read errs, and says where the log starts.
pub async fn below_the_start_is_gone(log: &dyn Log) {
    let starts = log
        .start_offsets(Topic::Readings)
        .await
        .expect("start offsets");
    let fetch = Fetch {
        from: starts[0] - 1,
        ..everything(Topic::Readings, 0)
    };
    let gone = log.read(fetch).await;
    assert!(
        matches!(gone, Err(LogError::Gone { wanted, start, .. })
            if wanted == starts[0] - 1 && start == starts[0]),
        "{gone:?}"
    );
}

/// What was read once is read the same after more was appended.
pub async fn records_stay_as_they_were(log: &dyn Log) {
    let offsets = append(log, numbered(Topic::Readings, 1, 0, 50)).await;
    let fetch = Fetch {
        from: offsets[0],
        to: offsets[49] + 1,
        ..everything(Topic::Readings, 1)
    };
    let first = read(log, fetch).await;
    assert_eq!(first.len(), 50);
    for round in 1..5 {
        append(log, numbered(Topic::Readings, 1, round, 50)).await;
        assert_eq!(read(log, fetch).await, first);
    }
}

/// Append times never decrease within a partition.
pub async fn append_times_never_fall(log: &dyn Log) {
    let mut first = i64::MAX;
    for round in 0..5 {
        let offsets = append(log, numbered(Topic::Ledger, 0, round, 5)).await;
        first = first.min(offsets[0]);
    }
    let records = read_all(log, Topic::Ledger, 0, first).await;
    assert!(records.is_sorted_by_key(|record| record.append_ts));
    assert!(records[0].append_ts > 0);
}

fn numbered(topic: Topic, partition: i32, round: i32, count: i32) -> AppendBatch {
    let mut batch = AppendBatch::default();
    for i in 0..count {
        let value = format!("value {i} of round {round}");
        batch.push(topic, partition, b"key", value.as_bytes());
    }
    batch
}

fn everything(topic: Topic, partition: i32) -> Fetch {
    Fetch {
        topic,
        partition,
        from: 0,
        to: i64::MAX,
        max_records: usize::MAX,
        max_bytes: usize::MAX,
    }
}

async fn append(log: &dyn Log, batch: AppendBatch) -> Vec<i64> {
    log.append(batch)
        .await
        .expect("the log takes a batch")
        .offsets
}

async fn ends(log: &dyn Log, topic: Topic) -> Vec<i64> {
    log.end_offsets(topic).await.expect("end offsets")
}

async fn read(log: &dyn Log, fetch: Fetch) -> Vec<LogRecord> {
    log.read(fetch).await.expect("a read")
}

async fn offsets_of(log: &dyn Log, fetch: Fetch) -> Vec<i64> {
    read(log, fetch).await.iter().map(|r| r.offset).collect()
}

/// Everything from an offset to the end; an implementation may give it in parts.
async fn read_all(log: &dyn Log, topic: Topic, partition: i32, from: i64) -> Vec<LogRecord> {
    let end = ends(log, topic).await[partition as usize];
    let mut records: Vec<LogRecord> = Vec::new();
    while from + (records.len() as i64) < end {
        let fetch = Fetch {
            from: from + records.len() as i64,
            ..everything(topic, partition)
        };
        let more = read(log, fetch).await;
        assert!(!more.is_empty(), "nothing at {fetch:?} below the end {end}");
        records.extend(more);
    }
    records
}

async fn record_at(log: &dyn Log, topic: Topic, partition: i32, offset: i64) -> LogRecord {
    let fetch = Fetch {
        from: offset,
        to: offset + 1,
        ..everything(topic, partition)
    };
    let mut records = read(log, fetch).await;
    assert_eq!(records.len(), 1, "{fetch:?}");
    records.remove(0)
}
