//! Brokers for tests: a real one where there is one, and librdkafka's own imitation.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

pub mod brokers;
pub mod password;
#[path = "../../../../tests/cluster/proxy.rs"]
pub mod proxy;
#[path = "../../../../tests/support/skip.rs"]
pub mod skip;
pub mod traffic;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use openinfra_kafka::{Config, KafkaLog, config::Topics};
use openinfra_log::{AppendBatch, Fetch, Log, LogError, LogRecord};
use openinfra_schemas::Topic;
use prometheus::Registry;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    mocking::MockCluster,
    producer::DefaultProducerContext,
};

/// The address of the real broker, or of several with commas between them. Without one the test is skipped, unless it is required.
pub fn broker() -> Option<String> {
    skip::server("OPENINFRA_TEST_KAFKA")
}

/// A prefix that nobody else has.
pub fn prefix() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{number}.", now.unwrap().as_micros())
}

/// Topics of their own on the real broker.
pub struct Real {
    pub config: Config,
}

impl Real {
    /// `brokers` as `OPENINFRA_TEST_KAFKA` has them.
    pub fn new(brokers: &str) -> Self {
        Self {
            config: Config {
                brokers: brokers.split(',').map(str::to_owned).collect(),
                topic_prefix: prefix(),
                partitions: 3,
                replication_factor: Some(1),
                ..Config::default()
            },
        }
    }

    pub fn name(&self, topic: Topic) -> String {
        format!("{}{topic}", self.config.topic_prefix)
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", self.config.brokers.join(","))
            .create()
            .unwrap()
    }

    /// Removes the topics.
    pub async fn clean(&self) {
        let names = Topic::ALL.map(|topic| self.name(topic));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let options = AdminOptions::new();
        self.admin().delete_topics(&names, &options).await.unwrap();
    }
}

/// Imitated brokers with the topics in place.
pub struct Mock {
    pub cluster: MockCluster<'static, DefaultProducerContext>,
    pub config: Config,
}

impl Mock {
    pub fn new(brokers: i32) -> Self {
        let cluster = MockCluster::new(brokers).unwrap();
        let config = Config {
            brokers: cluster
                .bootstrap_servers()
                .split(',')
                .map(str::to_owned)
                .collect(),
            partitions: 3,
            // The imitation cannot make topics, nor tell their settings.
            topics: Topics::Trust,
            delivery_timeout_ms: 4_000,
            request_timeout_ms: 2_000,
            statistics_interval_ms: 100,
            ..Config::default()
        };
        for topic in Topic::ALL {
            let partitions = topic.partitions(config.partitions);
            cluster
                .create_topic(topic.name(), partitions, brokers)
                .unwrap();
        }
        Self { cluster, config }
    }
}

/// Opens a log; its metrics go to the registry.
pub async fn open(config: &Config, registry: &Registry) -> Arc<dyn Log> {
    Arc::new(KafkaLog::open(config.clone(), registry).await.unwrap())
}

/// The value of a counter or gauge, all its labels together.
pub fn metric(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name);
    let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
    let value =
        |m: &prometheus::proto::Metric| m.get_counter().get_value() + m.get_gauge().get_value();
    metrics.iter().map(value).sum()
}

/// Waits until a condition holds, for 30 s at most.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// One record in a partition of `readings`.
pub fn one(partition: i32, value: &str) -> AppendBatch {
    let mut batch = AppendBatch::default();
    batch.push(Topic::Readings, partition, b"key", value.as_bytes());
    batch
}

pub fn all(partition: i32, from: i64) -> Fetch {
    Fetch {
        topic: Topic::Readings,
        partition,
        from,
        to: i64::MAX,
        max_records: usize::MAX,
        max_bytes: usize::MAX,
    }
}

/// Everything in a partition of `readings`, trying again while the log is unavailable.
pub async fn read_all(log: &dyn Log, partition: i32) -> Vec<LogRecord> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut records: Vec<LogRecord> = Vec::new();
    loop {
        match log.read(all(partition, records.len() as i64)).await {
            Ok(more) if more.is_empty() => return records,
            Ok(more) => records.extend(more),
            Err(LogError::Unavailable(_)) if Instant::now() < deadline => {}
            Err(error) => panic!("{error}"),
        }
    }
}
