//! An intake over a real log in a temporary folder, and what ended up there.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::{sync::Arc, time::Duration};

use openinfra_embedded::{Embedded, Options};
use openinfra_ingest::{Config, Ingest};
use openinfra_intake::{
    Credentials, Delivery, Format, Intake, Keys, Principal, Verdict,
    keys::{CreatedKey, NewKey},
};
use openinfra_log::{AppendBatch, Fetch, Log, LogRecord};
use openinfra_schemas::{Codec, LedgerEntry, Reading, TenantId, Topic, key};
use prometheus::Registry;
use tempfile::TempDir;

/// When every delivery of these tests was received.
pub const NOW: i64 = 1_700_000_000_000;

/// Long enough for a loaded machine; a test that passes never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a condition holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}

pub struct Bench {
    pub ingest: Arc<Ingest>,
    pub keys: Keys,
    pub log: Arc<dyn Log>,
    pub codec: Arc<Codec>,
    pub metrics: Registry,
    pub embedded: Option<Embedded>,
    _folder: TempDir,
}

pub fn tenant() -> TenantId {
    TenantId::trusted("t")
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(Config::default(), |keys| keys).await
    }

    pub async fn with(config: Config, keys: impl FnOnce(Keys) -> Keys) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(folder.path(), Options::default()).unwrap();
        let codec = Arc::new(Codec::open(embedded.registry()).await.unwrap());
        let keys = keys(Keys::new(embedded.store()));
        let metrics = Registry::new();
        let log = embedded.log();
        let ingest = Ingest::new(
            Arc::clone(&log),
            Arc::clone(&codec),
            keys.clone(),
            config,
            &metrics,
        );
        Self {
            ingest,
            keys,
            log,
            codec,
            metrics,
            embedded: Some(embedded),
            _folder: folder,
        }
    }

    pub async fn key(&self, change: impl FnOnce(&mut NewKey)) -> CreatedKey {
        let mut new = NewKey::device(tenant(), "a device");
        change(&mut new);
        self.keys.create(new).await.unwrap()
    }

    pub async fn principal(&self, change: impl FnOnce(&mut NewKey)) -> Arc<Principal> {
        let key = self.key(change).await;
        let shown = Credentials {
            secret: Some(key.key),
            ..Credentials::default()
        };
        self.ingest.authenticate(&shown).await.unwrap()
    }

    /// Takes and commits one delivery.
    pub async fn send(&self, who: &Principal, delivery: Delivery<'_>) -> Verdict {
        let mut batch = AppendBatch::default();
        let verdict = self.ingest.take(who, &delivery, &mut batch);
        assert_eq!(batch.len(), verdict.accepted + verdict.rejected.len());
        let room = self.ingest.budget().room();
        self.ingest.commit(batch, room).await.unwrap();
        verdict
    }

    pub async fn records(&self, topic: Topic) -> Vec<(i32, LogRecord)> {
        let mut all = Vec::new();
        for partition in 0..self.log.partitions(topic) {
            let fetch = Fetch {
                topic,
                partition,
                from: 0,
                to: i64::MAX,
                max_records: usize::MAX,
                max_bytes: usize::MAX,
            };
            let records = self.log.read(fetch).await.unwrap();
            all.extend(records.into_iter().map(|record| (partition, record)));
        }
        all
    }

    /// All readings, each checked to stand in its partition under its key.
    pub async fn readings(&self) -> Vec<Reading> {
        let partitions = self.log.partitions(Topic::Readings);
        let mut readings = Vec::new();
        for (partition, record) in self.records(Topic::Readings).await {
            let reading: Reading = self.codec.decode(&record.value).unwrap();
            let key = key::reading_key(&reading.tenant, &reading.sensor_id);
            assert_eq!(record.key, key);
            assert_eq!(partition, key::partition_of(&key, partitions));
            readings.push(reading);
        }
        readings
    }

    pub async fn ledger(&self) -> Vec<LedgerEntry> {
        let mut entries = Vec::new();
        for (_, record) in self.records(Topic::Ledger).await {
            let entry: LedgerEntry = self.codec.decode(&record.value).unwrap();
            assert_eq!(record.key, key::ledger_key(&entry.tenant, &entry.source));
            entries.push(entry);
        }
        entries
    }

    /// The value of a counter, summed over its labels but for those given.
    pub fn counted(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let families = self.metrics.gather();
        let family = families
            .iter()
            .find(|family| family.name() == name)
            .unwrap();
        let matches = |metric: &&prometheus::proto::Metric| {
            labels.iter().all(|(name, value)| {
                let mut pairs = metric.get_label().iter();
                pairs.any(|pair| pair.name() == *name && pair.value() == *value)
            })
        };
        let metrics = family.get_metric().iter().filter(matches);
        metrics
            .map(|metric| metric.get_counter().get_value() as u64)
            .sum()
    }
}

pub fn delivery(payload: &[u8]) -> Delivery<'_> {
    Delivery {
        source: "mqtt",
        origin: "sensors/pump/data",
        format: Format::SensorJson,
        sensor: Some("pump"),
        tenant: None,
        payload,
        recv_ts: NOW,
        trust_recv: false,
    }
}

pub fn batch(payload: &[u8]) -> Delivery<'_> {
    Delivery {
        source: "http",
        origin: "/batch",
        format: Format::BatchJson,
        sensor: None,
        ..delivery(payload)
    }
}
