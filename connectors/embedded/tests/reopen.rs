//! What is acknowledged is there when the folder is opened again.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

use std::sync::Arc;

use openinfra_embedded::{Embedded, OpenError, Options};
use openinfra_log::{AppendBatch, Fetch, Log};
use openinfra_schemas::{Topic, registry::RegistryError};
use openinfra_store::{
    Batch, Freshness, Range, Row, WriteClass, get_row, range_rows, row::KeyBuf, table,
};

table! {
    /// Rows of these tests.
    struct NumberRow in "test_number" {
        partition { name: String }
        clustering { at: i64 }
        values { number: i64 }
    }
}

fn number(at: i64) -> NumberRow {
    NumberRow {
        name: "n".into(),
        at,
        number: at * 10,
    }
}

async fn append(log: &Arc<dyn Log>, partition: i32, values: &[String]) -> Vec<i64> {
    let mut batch = AppendBatch::default();
    for value in values {
        batch.push(Topic::Readings, partition, b"key", value.as_bytes());
    }
    log.append(batch).await.unwrap().offsets
}

async fn values(log: &Arc<dyn Log>, partition: i32) -> Vec<String> {
    let fetch = Fetch {
        topic: Topic::Readings,
        partition,
        from: 0,
        to: i64::MAX,
        max_records: usize::MAX,
        max_bytes: usize::MAX,
    };
    let records = log.read(fetch).await.unwrap();
    records
        .iter()
        .map(|record| String::from_utf8(record.value.to_vec()).unwrap())
        .collect()
}

#[tokio::test]
async fn log_and_store_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let words: Vec<String> = (0..100).map(|i| format!("word {i}")).collect();
    for round in 0..4 {
        let embedded = Embedded::open(folder.path(), Options::default()).unwrap();
        let (log, store) = (embedded.log(), embedded.store());
        assert_eq!(values(&log, 3).await.len(), round * 25);
        let offsets = append(&log, 3, &words[round * 25..(round + 1) * 25]).await;
        assert_eq!(offsets[0], round as i64 * 25);
        assert_eq!(values(&log, 3).await, words[..(round + 1) * 25]);

        let mut batch = Batch::new(WriteClass::Durable);
        batch.put(&number(round as i64));
        store.write(batch).await.unwrap();
        let all = Range::partition(NumberRow::TABLE, KeyBuf::new().text("n").into_bytes());
        let rows: Vec<NumberRow> = range_rows(store.as_ref(), &all).await.unwrap();
        assert_eq!(rows, (0..=round as i64).map(number).collect::<Vec<_>>());
        if round % 2 == 0 {
            embedded.close().unwrap();
        }
    }
}

#[tokio::test]
async fn a_tick_that_was_written_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    for tick in [5, 5, 4, 6] {
        let embedded = Embedded::open(folder.path(), Options::default()).unwrap();
        let mut batch = Batch::new(WriteClass::Tick(tick));
        batch.put(&NumberRow {
            number: tick,
            ..number(0)
        });
        embedded.store().write(batch).await.unwrap();
        let row: Option<NumberRow> = get_row(
            embedded.store().as_ref(),
            &number(0).key(),
            Freshness::Acknowledged,
        )
        .await
        .unwrap();
        assert_eq!(row.unwrap().number, tick.max(5));
    }
}

#[tokio::test]
async fn one_opener_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = Embedded::open(folder.path(), Options::default()).unwrap();
    let second = Embedded::open(folder.path(), Options::default());
    assert!(matches!(second, Err(OpenError::Locked(_))));
    let log = first.log();
    first.close().unwrap();
    assert!(log.append(AppendBatch::default()).await.is_err());
    drop(log);
    Embedded::open(folder.path(), Options::default()).unwrap();
}

#[test]
fn partitions_are_fixed_for_life() {
    let folder = tempfile::tempdir().unwrap();
    drop(Embedded::open(folder.path(), Options::default()).unwrap());
    let other = Options {
        partitions: 7,
        ..Options::default()
    };
    let reopened = Embedded::open(folder.path(), other);
    assert!(matches!(reopened, Err(OpenError::Format { .. })));
}

#[tokio::test]
async fn schema_ids_are_given_for_ever() {
    let one = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
    let spaced = r#"{ "name":"R","type":"record", "fields":[{"name":"a","type":"int"}]}"#;
    let two = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"int","default":0}]}"#;
    let bad = r#"{"type":"record","name":"R","fields":[{"name":"c","type":"int"}]}"#;
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let embedded = Embedded::open(folder.path(), Options::default()).unwrap();
        let registry = embedded.registry();
        assert_eq!(registry.register("s", one).await.unwrap(), 1);
        assert_eq!(registry.register("s", spaced).await.unwrap(), 1);
        assert_eq!(registry.register("s", two).await.unwrap(), 2);
        assert_eq!(registry.register("s", one).await.unwrap(), 1);
        assert_eq!(registry.register("other", two).await.unwrap(), 2);
        assert_eq!(registry.schema(2).await.unwrap(), two);
        let refused = registry.register("s", bad).await;
        assert!(matches!(refused, Err(RegistryError::Incompatible { .. })));
        let refused = registry.register("s", "{").await;
        assert!(matches!(refused, Err(RegistryError::Unparsable { .. })));
        let unknown = registry.schema(3).await;
        assert!(matches!(unknown, Err(RegistryError::UnknownId(3))));
    }
}

/// The making of the database stopped at the moment at which what lies there is of no use: the file that
/// names its format is there, and empty.
#[tokio::test]
async fn a_folder_whose_making_was_cut_off_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(Embedded::open(folder.path(), Options::default()).unwrap());
    std::fs::rename(folder.path().join("db"), folder.path().join("db.new")).unwrap();
    std::fs::remove_file(folder.path().join("ends")).unwrap();
    std::fs::write(folder.path().join("db.new/version"), []).unwrap();
    let embedded = Embedded::open(folder.path(), Options::default()).unwrap();
    append(&embedded.log(), 0, &["word".to_owned()]).await;
    assert_eq!(values(&embedded.log(), 0).await, ["word"]);
    assert!(!folder.path().join("db.new").exists());
}
