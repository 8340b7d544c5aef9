//! What holds while several append and read at once.

use std::{collections::BTreeMap, sync::Arc};

use openinfra_schemas::Topic;
use tokio::sync::watch;

use super::{append, ends, everything, numbered, read, read_all};
use crate::{AppendBatch, Fetch, Log};

/// Appends at the same time: each batch whole and in order, no offset twice, none left out.
pub async fn appenders_do_not_disturb_each_other(log: &Arc<dyn Log>) {
    const APPENDERS: i32 = 8;
    const ROUNDS: i32 = 25;
    let before = ends(log.as_ref(), Topic::Readings).await;
    let mut tasks = Vec::new();
    for appender in 0..APPENDERS {
        let log = log.clone();
        tasks.push(tokio::spawn(async move {
            let mut placed = Vec::new();
            for round in 0..ROUNDS {
                let mut batch = AppendBatch::default();
                for i in 0..6 {
                    let value = format!("{appender} {round} {i}");
                    batch.push(Topic::Readings, i % 2, b"", value.as_bytes());
                }
                for (i, offset) in (0..6).zip(append(log.as_ref(), batch).await) {
                    placed.push(((i % 2, offset), format!("{appender} {round} {i}")));
                }
            }
            assert!(
                placed
                    .iter()
                    .filter(|((p, _), _)| *p == 0)
                    .is_sorted_by_key(|((_, offset), _)| *offset),
                "appender {appender} in partition 0"
            );
            placed
        }));
    }
    let mut placed = BTreeMap::new();
    for task in tasks {
        for (place, value) in task.await.expect("the appender does not panic") {
            assert_eq!(placed.insert(place, value), None, "{place:?} twice");
        }
    }
    for partition in 0..2 {
        let from = before[partition as usize];
        let records = read_all(log.as_ref(), Topic::Readings, partition, from).await;
        assert_eq!(records.len() as i32, APPENDERS * ROUNDS * 3);
        for (offset, record) in (from..).zip(records) {
            assert_eq!(record.offset, offset);
            assert_eq!(record.value, placed[&(partition, offset)], "at {offset}");
        }
    }
}

/// While someone appends, a reader sees no record at or beyond the ends, ends never fall, and whatever
/// lies below them, what was acknowledged among it, is there at once.
pub async fn nothing_is_seen_before_its_end(log: &Arc<dyn Log>) {
    let topic = Topic::Entities;
    let first = ends(log.as_ref(), topic).await[0];
    let (acknowledge, acknowledged) = watch::channel(first);
    let appender = {
        let log = log.clone();
        tokio::spawn(async move {
            for round in 0..150 {
                let offsets = append(log.as_ref(), numbered(topic, 0, round, 4)).await;
                acknowledge.send_replace(offsets[3] + 1);
            }
        })
    };
    let mut readers = Vec::new();
    for _ in 0..3 {
        let log = log.clone();
        let acknowledged = acknowledged.clone();
        readers.push(tokio::spawn(async move {
            let mut seen = first;
            while seen < first + 600 {
                let promised = *acknowledged.borrow();
                let end_before = ends(log.as_ref(), topic).await[0];
                let fetch = Fetch {
                    from: seen,
                    ..everything(topic, 0)
                };
                let records = read(log.as_ref(), fetch).await;
                let end_after = ends(log.as_ref(), topic).await[0];
                let read_to = seen + records.len() as i64;
                assert!(
                    promised <= end_before && end_before <= end_after,
                    "the end fell"
                );
                assert!(end_before <= read_to, "a record below the end is missing");
                assert!(read_to <= end_after, "a record is seen before its end");
                assert!(records.iter().map(|r| r.offset).eq(seen..read_to));
                seen = read_to;
                tokio::task::yield_now().await;
            }
        }));
    }
    appender.await.expect("the appender does not panic");
    for reader in readers {
        reader.await.expect("the reader found nothing wrong");
    }
}
