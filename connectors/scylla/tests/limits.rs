//! Rows and keys at the edges of what the cluster takes.

mod common;

use openinfra_schemas::{Quality, SensorId, TenantId};
use openinfra_store::{
    Batch, Condition, ConditionalBatch, Freshness, KeyBuf, Outcome, Range, Row, RowKey, Store,
    StoreError, WriteClass,
    conformance::{CounterRow, ItemRow, MarkRow},
    get_row, range_rows,
    tables::views::ReadingRow,
};

use common::{Keyspace, SUITE_TABLES, address, now_ms};

fn item(at: i64, bytes: usize) -> ItemRow {
    ItemRow {
        part: "limits".to_owned(),
        bucket: 1,
        name: "row".to_owned(),
        at,
        number: at,
        text: None,
        real: None,
        bytes: vec![7; bytes],
        flag: true,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_rows_are_written_with_and_without_conditions() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::for_suite(&address).await;
    let store = keyspace.store(&SUITE_TABLES).await;
    let rows = [
        item(1, 10),
        item(2, 600 << 10),
        item(3, 49 << 10),
        item(4, 10),
    ];
    let mut batch = Batch::new(WriteClass::Tick(now_ms()));
    rows.iter().for_each(|row| batch.put(row));
    store.write(batch).await.unwrap();
    let partition = KeyBuf::new().text("limits").int(1).into_bytes();
    let range = Range::partition(ItemRow::TABLE, partition);
    let found: Vec<ItemRow> = range_rows(&store, &range).await.unwrap();
    assert!(found == rows, "{} rows", found.len());

    let row = |name: &str| CounterRow {
        part: "limits".to_owned(),
        name: name.to_owned(),
        note: Some("x".repeat(300 << 10)),
        version: 1,
        seen: None,
    };
    let mut batch = ConditionalBatch::new(vec![Condition::Absent(row("a").key())]);
    batch.put(&row("a"));
    batch.put(&row("b"));
    assert_eq!(store.write_if(batch).await.unwrap(), Outcome::Applied);
    let found = get_row(&store, &row("b").key(), Freshness::Linearizable).await;
    assert_eq!(found.unwrap(), Some(row("b")));
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_numbered_batches_the_greater_wins_whichever_comes_last() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::for_suite(&address).await;
    let store = keyspace.store(&SUITE_TABLES).await;
    let key = item(1, 0).key();
    for (number, row, stands) in [
        (4, Some(item(1, 4)), Some(item(1, 4))),
        (3, None, Some(item(1, 4))),
        (2, Some(item(1, 2)), Some(item(1, 4))),
        (5, None, None),
        (4, Some(item(1, 4)), None),
        (6, Some(item(1, 6)), Some(item(1, 6))),
    ] {
        let mut batch = Batch::new(WriteClass::Numbered(number));
        match row {
            Some(row) => batch.put(&row),
            None => batch.remove(&key),
        }
        store.write(batch).await.unwrap();
        let found = get_row(&store, &key, Freshness::Acknowledged).await;
        assert_eq!(found.unwrap(), stands, "after {number}");
    }
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_the_cluster_cannot_have_is_not_there() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::for_suite(&address).await;
    let store = keyspace.store(&SUITE_TABLES).await;
    {
        let part = "x".repeat(70_000);
        let mark = MarkRow { part, number: 1 };
        let key = mark.key();
        for freshness in [Freshness::Acknowledged, Freshness::Linearizable] {
            assert_eq!(store.get(&key, freshness).await.unwrap(), None);
        }
        assert_eq!(
            store.get_many(std::slice::from_ref(&key)).await.unwrap(),
            [None]
        );
        let range = Range::partition(MarkRow::TABLE, key.partition().to_vec());
        assert!(store.range(&range).await.unwrap().is_empty());
        let mut batch = Batch::new(WriteClass::Durable);
        batch.remove(&key);
        store.write(batch.clone()).await.unwrap();
        batch.put(&mark);
        let refused = store.write(batch).await.unwrap_err();
        assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
    }
    keyspace.remove().await;
}

/// Records that name no tenant are counted under the empty one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_key_may_be_empty() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::for_suite(&address).await;
    let store = keyspace.store(&SUITE_TABLES).await;
    let marks = ["", "\0"].map(|part| MarkRow {
        part: part.to_owned(),
        number: part.len() as i64,
    });
    let mut batch = Batch::new(WriteClass::Durable);
    marks.iter().for_each(|mark| batch.put(mark));
    store.write(batch).await.unwrap();
    for mark in marks {
        let found = get_row(&store, &mark.key(), Freshness::Acknowledged).await;
        assert_eq!(found.unwrap().as_ref(), Some(&mark));
        let partition = mark.key().partition().to_vec();
        let range = Range::partition(MarkRow::TABLE, partition);
        let found: Vec<MarkRow> = range_rows(&store, &range).await.unwrap();
        assert_eq!(found, [mark]);
    }
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_of_a_partition_and_pages_of_a_range() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::for_suite(&address).await;
    let store = keyspace.store(&SUITE_TABLES).await;
    let mut batch = Batch::new(WriteClass::Tick(now_ms()));
    (0..5_000).for_each(|at| batch.put(&item(at, 1)));
    store.write(batch).await.unwrap();
    let partition = KeyBuf::new().text("limits").int(1).into_bytes();
    for limit in [1, 1_999, 2_000, 2_001, 4_500, 6_000] {
        let range = Range::partition(ItemRow::TABLE, partition.clone()).limit(limit);
        let found: Vec<ItemRow> = range_rows(&store, &range).await.unwrap();
        let found: Vec<_> = found.into_iter().map(|row| row.at).collect();
        assert_eq!(found, (0..limit.min(5_000) as i64).collect::<Vec<_>>());
    }

    let counter = |at: i64| CounterRow {
        part: "many".to_owned(),
        name: format!("{at} \0"),
        note: None,
        version: at,
        seen: None,
    };
    let mut batch = ConditionalBatch::new(vec![]);
    (0..300).for_each(|at| batch.put(&counter(at * 2)));
    assert_eq!(store.write_if(batch).await.unwrap(), Outcome::Applied);
    let keys: Vec<RowKey> = (0..600).rev().map(|at| counter(at).key()).collect();
    let found = store.get_many(&keys).await.unwrap();
    for (key, (at, value)) in keys.iter().zip((0..600).rev().zip(found)) {
        let found = value
            .map(|value| CounterRow::decode(key.partition(), key.clustering(), &value).unwrap());
        assert_eq!(found, (at % 2 == 0).then(|| counter(at)));
    }
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_without_optional_columns_comes_back_as_it_was() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::migrated(&address).await;
    let store = keyspace.store(&[ReadingRow::TABLE]).await;
    let reading = |offset, value, unit: Option<&str>| ReadingRow {
        tenant: TenantId::trusted("t"),
        bucket: 1,
        hour: 0,
        sensor_id: SensorId::trusted("s"),
        event_ts: 5,
        offset,
        value,
        quality: Quality::Good,
        recv_ts: 6,
        device_ts: true,
        unit: unit.map(str::to_owned),
        battery_pct: None,
        signal_dbm: None,
        tick: 7,
    };
    let rows = [
        reading(1, None, None),
        reading(2, Some(f64::MIN_POSITIVE), Some("°C")),
    ];
    let mut batch = Batch::new(WriteClass::Tick(7));
    rows.iter().for_each(|row| batch.put(row));
    store.write(batch).await.unwrap();
    let partition = KeyBuf::new().text("t").int(1).bigint(0).into_bytes();
    let sensor = KeyBuf::new().text("s").into_bytes();
    let range = Range::prefix(ReadingRow::TABLE, partition, sensor);
    let found: Vec<ReadingRow> = range_rows(&store, &range).await.unwrap();
    assert_eq!(found, rows);
    keyspace.remove().await;
}
