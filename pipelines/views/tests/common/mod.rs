//! What the job's tests share: a folder with log, store and registry, records to append, wrappers that
//! stand between the job and what it uses, and dumps of every table.

#![allow(clippy::unwrap_used)] // tests
#![allow(dead_code)] // each test file uses a part

pub mod dump;
pub mod wrap;

use std::{sync::Arc, time::Duration};

use openinfra_embedded::{Embedded, Options};
use openinfra_log::{AppendBatch, Fetch, Log};
use openinfra_schemas::{
    AfterImage, Codec, EntityChange, EntityKind, LedgerEntry, Quality, Reading, Sensor, SensorId,
    TenantId, TenantSettings, TickRecord, Topic, TsSource,
    key::{entity_key, ledger_key, partition_of, reading_key},
    reading::NO_VALUE,
    time::Millis,
};
use openinfra_store::{
    Freshness, KeyBuf, Row, RowKey, Store, get_row,
    tables::views::{GENERATION, ProgressRow},
};
use openinfra_views::{Config, Job, JobError, JobHandle};
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
        let options = Options {
            partitions: PARTITIONS,
            ..Options::default()
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

    pub async fn start(&self, config: Config) -> Result<JobHandle, JobError> {
        self.start_on(config, Arc::clone(&self.log), Arc::clone(&self.store))
            .await
    }

    pub async fn start_on(
        &self,
        config: Config,
        log: Arc<dyn Log>,
        store: Arc<dyn Store>,
    ) -> Result<JobHandle, JobError> {
        let registry = prometheus::Registry::new();
        Job::start(config, log, store, Arc::clone(&self.codec), &registry).await
    }

    /// Appends records as they are, each in its key's partition.
    pub async fn append(&self, records: Vec<(Topic, Vec<u8>, Vec<u8>)>) {
        let mut batch = AppendBatch::default();
        for (topic, key, value) in records {
            let partition = partition_of(&key, self.log.partitions(topic));
            batch.push(topic, partition, &key, &value);
        }
        self.log.append(batch).await.unwrap();
    }

    pub async fn append_readings(&self, readings: &[Reading]) {
        let encode = |r: &Reading| {
            let key = reading_key(&r.tenant, &r.sensor_id);
            (Topic::Readings, key, self.codec.encode_to_vec(r))
        };
        self.append(readings.iter().map(encode).collect()).await;
    }

    pub async fn append_entity(&self, change: &EntityChange) {
        let kind = EntityKind::parse(&change.kind).unwrap();
        let key = entity_key(&change.tenant, kind, &change.id);
        let value = self.codec.encode_to_vec(change);
        self.append(vec![(Topic::Entities, key, value)]).await;
    }

    pub async fn append_refused(&self, entry: &LedgerEntry) {
        let key = ledger_key(&entry.tenant, &entry.source);
        let value = self.codec.encode_to_vec(entry);
        self.append(vec![(Topic::Ledger, key, value)]).await;
    }

    pub async fn append_tick_record(&self, record: &TickRecord) {
        append_tick_record(&*self.log, &self.codec, record).await;
    }

    /// All records of `ticks`.
    pub async fn tick_records(&self) -> Vec<TickRecord> {
        let records = self.log.read(all_of(Topic::Ticks, 0)).await.unwrap();
        let decode = |r: &openinfra_log::LogRecord| self.codec.decode(&r.value).unwrap();
        records.iter().map(decode).collect()
    }

    pub async fn progress(&self) -> Option<ProgressRow> {
        progress(&*self.store).await
    }

    /// Waits until everything that is in the log now is in the views.
    pub async fn wait_covered(&self, store: &dyn Store) -> ProgressRow {
        let mut ends = serde_json::Map::new();
        for topic in [Topic::Readings, Topic::Entities, Topic::Ledger] {
            let of_topic = self.log.end_offsets(topic).await.unwrap();
            ends.insert(topic.name().to_owned(), of_topic.into());
        }
        let ends = serde_json::Value::Object(ends);
        until("the views cover the log", async || {
            let row = progress(store).await?;
            let covered: serde_json::Value = serde_json::from_str(&row.ends).unwrap();
            (covered == ends).then_some(row)
        })
        .await
    }
}

pub async fn append_tick_record(log: &dyn Log, codec: &Codec, record: &TickRecord) {
    let mut batch = AppendBatch::default();
    batch.push(Topic::Ticks, 0, b"", &codec.encode_to_vec(record));
    log.append(batch).await.unwrap();
}

pub fn all_of(topic: Topic, partition: i32) -> Fetch {
    Fetch {
        topic,
        partition,
        from: 0,
        to: i64::MAX,
        max_records: usize::MAX,
        max_bytes: usize::MAX,
    }
}

pub fn progress_key() -> RowKey {
    let generation = KeyBuf::new().int(GENERATION);
    RowKey::new(ProgressRow::TABLE, &generation, &KeyBuf::new())
}

pub async fn progress(store: &dyn Store) -> Option<ProgressRow> {
    get_row(store, &progress_key(), Freshness::Acknowledged)
        .await
        .unwrap()
}

/// Waits for a condition, at most a minute.
pub async fn until<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = ready().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits for a failure, at most a minute.
pub async fn failure(job: &JobHandle) -> JobError {
    tokio::time::timeout(Duration::from_secs(60), job.failed())
        .await
        .unwrap()
}

pub fn config(workers: usize) -> Config {
    Config {
        workers,
        tick_interval_ms: 5,
        idle_interval_ms: 20,
        ..Config::default()
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

pub fn sensor_entity(tenant: &str, sensor: Sensor, version: i64) -> EntityChange {
    EntityChange {
        tenant: TenantId::parse(tenant).unwrap(),
        kind: EntityKind::Sensor.as_str().to_owned(),
        id: sensor.sensor_id.to_string(),
        version,
        change_id: format!("change-{version}"),
        actor: "tester".to_owned(),
        at: 0,
        after: AfterImage::Sensor(sensor),
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
        created_at: 0,
        created_by: "tester".to_owned(),
        updated_at: 0,
        updated_by: "tester".to_owned(),
    }
}

pub fn settings(tenant: &str, horizon_ms: i64) -> EntityChange {
    EntityChange {
        tenant: TenantId::parse(tenant).unwrap(),
        kind: EntityKind::TenantSettings.as_str().to_owned(),
        id: tenant.to_owned(),
        version: 1,
        change_id: "settings".to_owned(),
        actor: "tester".to_owned(),
        at: 0,
        after: AfterImage::TenantSettings(TenantSettings {
            horizon_ms,
            future_guard_ms: TenantSettings::DEFAULT_FUTURE_GUARD_MS,
            auto_register: true,
            created_at: 0,
            created_by: "tester".to_owned(),
            updated_at: 0,
            updated_by: "tester".to_owned(),
        }),
    }
}
