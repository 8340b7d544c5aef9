//! What the job's tests share: a job over a folder, wrappers that stand between the job and what it uses,
//! and dumps of every table.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

pub mod dump;
pub mod wrap;

use std::{ops::Deref, sync::Arc, time::Duration};

use openinfra_log::{Fetch, Log};
use openinfra_schemas::{AfterImage, EntityChange, Sensor, TickRecord, Topic};
use openinfra_store::{Store, tables::views::ProgressRow};
pub use openinfra_testing::{
    PARTITIONS, append_tick_record, bad, now, progress, progress_key, reading, sensor, until,
};
use openinfra_testing::{sensor_change, settings_change, wait_covered};
use openinfra_views::{Config, Job, JobError, JobHandle};

/// A data folder that jobs run over.
pub struct Folder(openinfra_testing::Folder);

impl Deref for Folder {
    type Target = openinfra_testing::Folder;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Folder {
    pub async fn new() -> Self {
        Self(openinfra_testing::Folder::new().await)
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

    /// All records of `ticks`.
    pub async fn tick_records(&self) -> Vec<TickRecord> {
        let records = self.log.read(all_of(Topic::Ticks, 0)).await.unwrap();
        let decode = |r: &openinfra_log::LogRecord| self.codec.decode(&r.value).unwrap();
        records.iter().map(decode).collect()
    }

    /// Waits until everything that is in the log now is in the views of a store.
    pub async fn wait_covered(&self, store: &dyn Store) -> ProgressRow {
        wait_covered(&*self.log, store).await
    }
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

/// Waits for a failure, at most a minute.
pub async fn failure(job: &JobHandle) -> JobError {
    tokio::time::timeout(Duration::from_secs(60), job.failed())
        .await
        .unwrap()
}

pub fn config(workers: usize) -> Config {
    Config {
        workers,
        tick_interval_ms: Some(5),
        idle_interval_ms: 20,
        ..Config::default()
    }
}

/// A version of a sensor.
pub fn sensor_entity(tenant: &str, sensor: Sensor, version: i64) -> EntityChange {
    let id = sensor.sensor_id.to_string();
    sensor_change(tenant, &id, version, AfterImage::Sensor(sensor))
}

/// A tenant's first settings.
pub fn settings(tenant: &str, horizon_ms: i64) -> EntityChange {
    settings_change(tenant, 1, horizon_ms, true)
}
