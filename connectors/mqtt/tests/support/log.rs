//! The real intake over a real log that can be made to fail, and what ended up there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use openinfra_embedded::{Embedded, Options};
use openinfra_ingest::Ingest;
use openinfra_intake::{Intake, Keys};
use openinfra_log::{AppendBatch, Appended, Fetch, Log, LogError, LogRecord};
use openinfra_schemas::{Codec, Reading, Topic};
use openinfra_store::Store;
use tempfile::TempDir;

/// A folder with a log in it.
pub struct Bench {
    embedded: Embedded,
    codec: Arc<Codec>,
    log: Arc<dyn Log>,
    _folder: TempDir,
}

impl Bench {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(folder.path(), Options::default()).unwrap();
        Self {
            codec: Arc::new(Codec::open(embedded.registry()).await.unwrap()),
            log: embedded.log(),
            embedded,
            _folder: folder,
        }
    }

    /// What stands beside the log.
    pub fn store(&self) -> Arc<dyn Store> {
        self.embedded.store()
    }

    /// An intake of its own, as each process has one, with the switch that makes its log fail.
    pub fn intake(&self, registry: &prometheus::Registry) -> (Arc<dyn Intake>, Arc<AtomicBool>) {
        let down = Arc::new(AtomicBool::new(false));
        let log = Arc::new(FailingLog {
            log: Arc::clone(&self.log),
            down: Arc::clone(&down),
        });
        let keys = Keys::new(self.embedded.store());
        let config = openinfra_ingest::Config::default();
        let ingest = Ingest::new(log, Arc::clone(&self.codec), keys, config, registry);
        (ingest, down)
    }

    /// How often each (sensor, value) is in the log.
    pub async fn readings(&self) -> BTreeMap<(String, u64), usize> {
        let mut counts = BTreeMap::new();
        for record in self.records(Topic::Readings).await {
            let reading: Reading = self.codec.decode(&record.value).unwrap();
            let key = (reading.sensor_id.as_str().to_owned(), reading.value as u64);
            *counts.entry(key).or_default() += 1;
        }
        counts
    }

    /// The values of each sensor in the order they were first appended.
    pub async fn orders(&self) -> BTreeMap<String, Vec<u64>> {
        let mut seen = BTreeSet::new();
        let mut orders: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for record in self.records(Topic::Readings).await {
            let reading: Reading = self.codec.decode(&record.value).unwrap();
            let (sensor, value) = (reading.sensor_id.as_str().to_owned(), reading.value as u64);
            if seen.insert((sensor.clone(), value)) {
                orders.entry(sensor).or_default().push(value);
            }
        }
        orders
    }

    async fn records(&self, topic: Topic) -> Vec<LogRecord> {
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
            all.extend(self.log.read(fetch).await.unwrap());
        }
        all
    }
}

/// Takes nothing while it is down.
struct FailingLog {
    log: Arc<dyn Log>,
    down: Arc<AtomicBool>,
}

#[async_trait]
impl Log for FailingLog {
    fn partitions(&self, topic: Topic) -> i32 {
        self.log.partitions(topic)
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        match self.down.load(SeqCst) {
            true => Err(LogError::Unavailable("as the test wants it".to_owned())),
            false => self.log.append(batch).await,
        }
    }

    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        self.log.read(fetch).await
    }

    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.log.end_offsets(topic).await
    }

    async fn start_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.log.start_offsets(topic).await
    }
}
