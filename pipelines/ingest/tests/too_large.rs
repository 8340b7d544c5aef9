//! What is larger than the log takes as one record: in the ledger, as far as it fits, and never in the way.
// Tests may panic.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use common::{Bench, delivery, tenant};
use openinfra_ingest::{Config, Ingest};
use openinfra_intake::{Delivery, Intake, Principal};
use openinfra_log::{AppendBatch, Appended, Fetch, Log, LogError, LogRecord};
use openinfra_schemas::{Reason, Topic};
use prometheus::Registry;

/// The least that a log can be set to.
const LIMIT: usize = 64 << 10;

/// A log that takes no larger records.
struct Narrow(Arc<dyn Log>);

#[async_trait]
impl Log for Narrow {
    fn partitions(&self, topic: Topic) -> i32 {
        self.0.partitions(topic)
    }

    fn max_record_bytes(&self) -> usize {
        LIMIT
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        let sizes = batch.iter().map(|r| r.key.len() + r.value.len());
        match sizes.max() {
            Some(bytes) if bytes > LIMIT => Err(LogError::TooLarge {
                bytes,
                limit: LIMIT,
            }),
            _ => self.0.append(batch).await,
        }
    }

    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        self.0.read(fetch).await
    }

    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.0.end_offsets(topic).await
    }

    async fn start_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.0.start_offsets(topic).await
    }
}

/// Takes a delivery over such a log, which has to take what comes of it.
async fn send(bench: &Bench, delivery: Delivery<'_>) -> Vec<Reason> {
    let log = Arc::new(Narrow(Arc::clone(&bench.log)));
    let (codec, keys) = (Arc::clone(&bench.codec), bench.keys.clone());
    let ingest = Ingest::new(log, codec, keys, Config::default(), &Registry::new());
    let mut batch = AppendBatch::default();
    let who = Principal::dev(tenant());
    let verdict = ingest.take(&who, &delivery, &mut batch);
    ingest.commit(batch, ingest.budget().room()).await.unwrap();
    verdict.rejected.iter().map(|r| r.reason).collect()
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_kept_as_far_as_it_fits() {
    let bench = Bench::new().await;
    let payload: Vec<u8> = (0..100_000).map(|n| (n % 251) as u8).collect();
    let reasons = send(&bench, delivery(&payload)).await;
    assert_eq!(reasons, [Reason::Undecodable]);
    let ledger = bench.ledger().await;
    let kept = &ledger[0].payload;
    assert!(payload.starts_with(kept) && kept.len() > LIMIT - 3_000);
    let said = format!("of 100000 bytes the first {} are kept", kept.len());
    assert!(ledger[0].detail.contains(&said), "{}", ledger[0].detail);
}

#[tokio::test]
async fn a_topic_that_names_no_sensor_may_be_as_long_as_it_likes() {
    let bench = Bench::new().await;
    let topic = format!("sensors/{}/data", "é".repeat(30_000));
    let named = Delivery {
        origin: &topic,
        sensor: Some(&topic),
        ..delivery(br#"{"value": 1}"#)
    };
    assert_eq!(send(&bench, named).await, [Reason::Invalid]);
    assert_eq!(bench.ledger().await[0].payload, br#"{"value": 1}"#);
}

#[tokio::test]
async fn the_largest_reading_is_far_from_it() {
    let bench = Bench::new().await;
    let payload = format!(
        r#"{{"value": -1.7976931348623157e308, "timestamp": 1700000000.123, "quality": "UNCERTAIN",
            "unit": "{}", "event_id": "{}", "sequence": 9223372036854775807, "battery": 99.9, "rssi": -99.9}}"#,
        "u".repeat(64),
        "e".repeat(256)
    );
    let sensor = "s".repeat(256);
    let largest = Delivery {
        sensor: Some(&sensor),
        ..delivery(payload.as_bytes())
    };
    assert!(send(&bench, largest).await.is_empty());
    let (_, record) = &bench.records(Topic::Readings).await[0];
    assert!(record.key.len() + record.value.len() < 2_000);
}
