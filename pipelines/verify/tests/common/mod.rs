//! What the tests share: a folder with log and store, a job that fills the store, records to append.
//!
//! A newcomer would build the expected views here. The job makes one side and the verification the other;
//! a test only makes traffic, and changes rows.

#![allow(clippy::unwrap_used)] // tests
#![allow(dead_code)] // each test file uses a part

use std::{sync::Arc, time::Duration};

use openinfra_embedded::{Embedded, Options as FolderOptions};
use openinfra_log::{AppendBatch, Log};
use openinfra_schemas::{
    AfterImage, Codec, EntityChange, EntityKind, LedgerEntry, Quality, Reading, Sensor, SensorId,
    TenantId, TenantSettings, TickRecord, Topic, TsSource,
    key::{entity_key, ledger_key, partition_of, reading_key},
    reading::NO_VALUE,
    time::Millis,
};
use openinfra_store::{
    Batch, Freshness, KeyBuf, Row, RowKey, Store, WriteClass, get_row,
    tables::views::{GENERATION, ProgressRow},
};
use openinfra_verify::{Options, Report, VerifyError, verify};
use openinfra_views::{Config, Job, JobHandle};
use tempfile::TempDir;

pub const PARTITIONS: i32 = 4;

/// A data folder and what is in it.
pub struct Folder {
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn Store>,
    pub codec: Arc<Codec>,
    _embedded: Embedded,
    _dir: TempDir,
}

impl Folder {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = FolderOptions {
            partitions: PARTITIONS,
            ..FolderOptions::default()
        };
        let embedded = Embedded::open(dir.path(), options).unwrap();
        Self {
            log: embedded.log(),
            store: embedded.store(),
            codec: Arc::new(Codec::open(embedded.registry()).await.unwrap()),
            _embedded: embedded,
            _dir: dir,
        }
    }

    pub async fn start(&self) -> JobHandle {
        let config = Config {
            workers: 2,
            tick_interval_ms: 2,
            idle_interval_ms: 10,
            max_records_per_tick: 60,
            block_cache_bytes: 20_000,
            ..Config::default()
        };
        let registry = prometheus::Registry::new();
        let (log, store) = (Arc::clone(&self.log), Arc::clone(&self.store));
        Job::start(config, log, store, Arc::clone(&self.codec), &registry)
            .await
            .unwrap()
    }

    /// Runs the job until it has everything, then stops it.
    pub async fn catch_up(&self) {
        let job = self.start().await;
        self.wait_covered().await;
        job.stop().await.unwrap();
    }

    pub async fn verify(&self) -> Report {
        self.try_verify().await.unwrap()
    }

    pub async fn try_verify(&self) -> Result<Report, VerifyError> {
        let (log, store) = (Arc::clone(&self.log), Arc::clone(&self.store));
        let codec = Arc::clone(&self.codec);
        // As a server does: only what is `Send` can be spawned.
        let verified = tokio::spawn(async move {
            let options = Options::default();
            verify(&*log, &*store, &codec, options).await
        });
        verified.await.unwrap()
    }

    pub async fn append(&self, records: Vec<(Topic, i32, Vec<u8>, Vec<u8>)>) {
        let mut batch = AppendBatch::default();
        for (topic, partition, key, value) in records {
            batch.push(topic, partition, &key, &value);
        }
        self.log.append(batch).await.unwrap();
    }

    /// Appends bytes under a key, in the key's partition.
    pub async fn append_bytes(&self, topic: Topic, key: &str, value: &[u8]) {
        let key = key.as_bytes().to_vec();
        let partition = partition_of(&key, PARTITIONS);
        self.append(vec![(topic, partition, key, value.to_vec())])
            .await;
    }

    pub async fn append_readings(&self, readings: &[Reading]) {
        let encode = |r: &Reading| {
            let key = reading_key(&r.tenant, &r.sensor_id);
            let partition = partition_of(&key, PARTITIONS);
            (Topic::Readings, partition, key, self.codec.encode_to_vec(r))
        };
        self.append(readings.iter().map(encode).collect()).await;
    }

    pub async fn append_entity(&self, change: &EntityChange) {
        let kind = EntityKind::parse(&change.kind).unwrap();
        let key = entity_key(&change.tenant, kind, &change.id);
        let value = self.codec.encode_to_vec(change);
        let partition = partition_of(&key, PARTITIONS);
        self.append(vec![(Topic::Entities, partition, key, value)])
            .await;
    }

    pub async fn append_refused(&self, entry: &LedgerEntry) {
        let key = ledger_key(&entry.tenant, &entry.source);
        let value = self.codec.encode_to_vec(entry);
        let partition = partition_of(&key, PARTITIONS);
        self.append(vec![(Topic::Ledger, partition, key, value)])
            .await;
    }

    pub async fn append_tick_record(&self, record: &TickRecord) {
        let value = self.codec.encode_to_vec(record);
        self.append(vec![(Topic::Ticks, 0, Vec::new(), value)])
            .await;
    }

    pub async fn progress(&self) -> Option<ProgressRow> {
        let generation = KeyBuf::new().int(GENERATION);
        let key = RowKey::new(ProgressRow::TABLE, &generation, &KeyBuf::new());
        get_row(&*self.store, &key, Freshness::Acknowledged)
            .await
            .unwrap()
    }

    /// Waits until everything that is in the log now is in the views.
    pub async fn wait_covered(&self) -> ProgressRow {
        let mut ends = serde_json::Map::new();
        for topic in [Topic::Readings, Topic::Entities, Topic::Ledger] {
            let of_topic = self.log.end_offsets(topic).await.unwrap();
            ends.insert(topic.name().to_owned(), of_topic.into());
        }
        let ends = serde_json::Value::Object(ends);
        self.until(async || {
            let row = self.progress().await?;
            let covered: serde_json::Value = serde_json::from_str(&row.ends).unwrap();
            (covered == ends).then_some(row)
        })
        .await
    }

    /// Waits for a condition, at most a minute.
    pub async fn until<T>(&self, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(value) = ready().await {
                return value;
            }
            assert!(tokio::time::Instant::now() < deadline, "never");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Writes rows that the job never wrote.
    pub async fn put<R: Row>(&self, row: &R) {
        let mut batch = Batch::new(WriteClass::Durable);
        batch.put(row);
        self.store.write(batch).await.unwrap();
    }

    pub async fn remove(&self, key: &RowKey) {
        let mut batch = Batch::new(WriteClass::Durable);
        batch.remove(key);
        self.store.write(batch).await.unwrap();
    }
}

pub fn now() -> Millis {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    since.as_millis() as Millis
}

pub fn reading(tenant: &str, sensor: &str, event_ts: Millis, value: f64) -> Reading {
    Reading {
        tenant: TenantId::parse(tenant).unwrap(),
        sensor_id: SensorId::parse(sensor).unwrap(),
        event_ts,
        recv_ts: event_ts,
        ts_source: TsSource::Device,
        value,
        unit: Some("m".to_owned()),
        quality: Quality::Good,
        event_id: None,
        sequence: None,
        battery_pct: None,
        signal_dbm: None,
        source: "mqtt".to_owned(),
        readmits: None,
    }
}

pub fn bad(reading: Reading) -> Reading {
    Reading {
        value: NO_VALUE,
        quality: Quality::Bad,
        ..reading
    }
}

pub fn sensor(id: &str) -> Sensor {
    Sensor {
        sensor_id: SensorId::parse(id).unwrap(),
        sensor_type: Some("level".to_owned()),
        unit: None,
        asset_id: None,
        location: None,
        thresholds: None,
        offline_timeout_ms: None,
        max_age_ms: None,
        reporting_interval_ms: None,
        created_at: 1,
        created_by: "tester".to_owned(),
        updated_at: 1,
        updated_by: "tester".to_owned(),
    }
}

pub fn sensor_change(tenant: &str, id: &str, version: i64, after: AfterImage) -> EntityChange {
    EntityChange {
        tenant: TenantId::parse(tenant).unwrap(),
        kind: EntityKind::Sensor.as_str().to_owned(),
        id: id.to_owned(),
        version,
        change_id: format!("change-{version}"),
        actor: "tester".to_owned(),
        at: 0,
        after,
    }
}

pub fn settings_change(
    tenant: &str,
    version: i64,
    horizon_ms: i64,
    auto_register: bool,
) -> EntityChange {
    EntityChange {
        tenant: TenantId::parse(tenant).unwrap(),
        kind: EntityKind::TenantSettings.as_str().to_owned(),
        id: tenant.to_owned(),
        version,
        change_id: format!("settings-{version}"),
        actor: "tester".to_owned(),
        at: 0,
        after: AfterImage::TenantSettings(TenantSettings {
            horizon_ms,
            future_guard_ms: TenantSettings::DEFAULT_FUTURE_GUARD_MS,
            auto_register,
            created_at: 0,
            created_by: "tester".to_owned(),
            updated_at: 0,
            updated_by: "tester".to_owned(),
        }),
    }
}

/// The same numbers in every run of one seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}
