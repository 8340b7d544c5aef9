//! What the tests of damage and crashes write, and how they find it again.

#![allow(dead_code, reason = "not each test uses all")]

use openinfra_embedded::Embedded;
use openinfra_log::{AppendBatch, Fetch, Log, LogError};
use openinfra_schemas::Topic;
use openinfra_store::{
    Batch, Condition, ConditionalBatch, Freshness, Outcome, Row, StoreError, WriteClass, get_row,
    table,
};

table! {
    /// Written durably, and conditionally.
    pub struct DurableRow in "crash_durable" {
        partition { writer: i64 }
        clustering { number: i64 }
        values { text: String, version: i64 }
    }
}

table! {
    /// Written by ticks: all rows of a tick have its number.
    pub struct TickRow in "crash_tick" {
        partition { bucket: i64 }
        clustering { at: i64 }
        values { number: i64 }
    }
}

pub const TOPIC: Topic = Topic::Readings;
pub const TICK_ROWS: i64 = 8;

/// The value of a record: it says who wrote it and when, and is long enough to fill blocks.
pub fn value(writer: i64, number: i64, i: i64) -> String {
    format!(
        "writer {writer} number {number} record {i} {}",
        "filling ".repeat(4)
    )
}

/// Appends one batch of 4 records, two to each of two partitions; returns the offsets.
pub async fn append(log: &dyn Log, writer: i64, number: i64) -> Result<Vec<i64>, LogError> {
    let mut batch = AppendBatch::default();
    for i in 0..4 {
        let bytes = value(writer, number, i);
        batch.push(TOPIC, (i % 2) as i32, b"key", bytes.as_bytes());
    }
    Ok(log.append(batch).await?.offsets)
}

pub fn durable_row(writer: i64, number: i64) -> DurableRow {
    DurableRow {
        writer,
        number,
        text: value(writer, number, 0),
        version: number,
    }
}

/// Writes a row, conditionally when its number is odd.
pub async fn write_durable(
    embedded: &Embedded,
    writer: i64,
    number: i64,
) -> Result<(), StoreError> {
    let row = durable_row(writer, number);
    if number % 2 == 0 {
        let mut batch = Batch::new(WriteClass::Durable);
        batch.put(&row);
        return embedded.store().write(batch).await;
    }
    let mut batch = ConditionalBatch::new(vec![Condition::Absent(row.key())]);
    batch.put(&row);
    match embedded.store().write_if(batch).await? {
        Outcome::Applied => Ok(()),
        refused => panic!("{refused:?}"),
    }
}

/// The rows of a tick, as one batch.
pub fn tick_batch(tick: i64) -> Batch {
    let mut batch = Batch::new(WriteClass::Tick(tick));
    for bucket in 0..TICK_ROWS {
        let row = TickRow {
            bucket,
            at: 0,
            number: tick,
        };
        batch.put(&row);
    }
    batch
}

/// All records of a partition, as text; offsets are checked to have no gaps.
pub async fn read_all(log: &dyn Log, partition: i32) -> Result<Vec<String>, LogError> {
    let end = log.end_offsets(TOPIC).await?[partition as usize];
    let mut values = Vec::new();
    while (values.len() as i64) < end {
        let fetch = Fetch {
            topic: TOPIC,
            partition,
            from: values.len() as i64,
            to: i64::MAX,
            max_records: 1000,
            max_bytes: usize::MAX,
        };
        let records = log.read(fetch).await?;
        assert!(!records.is_empty(), "nothing at {} of {end}", values.len());
        for record in records {
            assert_eq!(record.offset, values.len() as i64);
            values.push(String::from_utf8(record.value.to_vec()).unwrap());
        }
    }
    Ok(values)
}

/// The numbers of the tick rows; none where there is no row.
pub async fn tick_numbers(embedded: &Embedded) -> Result<Vec<Option<i64>>, StoreError> {
    let mut numbers = Vec::new();
    for bucket in 0..TICK_ROWS {
        let row = TickRow {
            bucket,
            at: 0,
            number: 0,
        };
        let found: Option<TickRow> = get_row(
            embedded.store().as_ref(),
            &row.key(),
            Freshness::Acknowledged,
        )
        .await?;
        numbers.push(found.map(|row| row.number));
    }
    Ok(numbers)
}

pub async fn find_durable(
    embedded: &Embedded,
    writer: i64,
    number: i64,
) -> Result<Option<DurableRow>, StoreError> {
    let key = durable_row(writer, number).key();
    get_row(embedded.store().as_ref(), &key, Freshness::Linearizable).await
}
