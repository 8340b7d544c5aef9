//! What the routes work with, put together by the binary.
//!
//! The API reads what the views job wrote and never links it: what it must ask of a running job goes
//! through [`JobControl`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use openinfra_intake::{Intake, Keys};
use openinfra_log::Log;
use openinfra_schemas::{Codec, Topic, time::Millis};
use openinfra_store::Store;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{cursor::CursorKey, entities::Entities, metrics::HttpMetrics};

/// What every handler is given.
pub type AppState = Arc<App>;

/// The parts behind the routes.
pub struct App {
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn Store>,
    pub codec: Arc<Codec>,
    pub keys: Keys,
    pub intake: Arc<dyn Intake>,
    pub entities: Entities,
    pub ops: Arc<dyn JobControl>,
    /// What `/metrics` prints.
    pub registry: prometheus::Registry,
    pub config: Config,
    /// Cancelled when the process stops taking requests; `/health/ready` says so from then on.
    pub draining: CancellationToken,
    pub(crate) metrics: HttpMetrics,
}

/// What [`App`] is made of.
pub struct Parts {
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn Store>,
    pub codec: Arc<Codec>,
    pub keys: Keys,
    pub intake: Arc<dyn Intake>,
    pub entities: Entities,
    pub ops: Arc<dyn JobControl>,
    pub registry: prometheus::Registry,
    pub config: Config,
}

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct Config {
    /// The generation of views that is served.
    pub generation: i32,
    /// How long a request may take; streams and verification have [`Config::long_timeout`].
    pub timeout: Duration,
    /// How long `GET /views/{name}/rows` and `POST /views/verify` may hold the job's ticks.
    pub long_timeout: Duration,
    /// The most bytes of a body, but for ingest.
    pub body_limit: usize,
    /// How long a read waits for the write that `OpenInfra-After` names.
    pub after_timeout: Duration,
    /// Signs cursors. Processes that share a store share it too, if a list read from one is to go on at
    /// another.
    pub cursor_key: CursorKey,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            generation: 1,
            timeout: Duration::from_secs(30),
            long_timeout: Duration::from_secs(600),
            body_limit: 1 << 20,
            after_timeout: Duration::from_secs(2),
            cursor_key: CursorKey::random(),
        }
    }
}

impl App {
    /// Errs when the registry has metrics of these names already.
    pub fn new(parts: Parts) -> Result<AppState, prometheus::Error> {
        let metrics = HttpMetrics::new(&parts.registry)?;
        Ok(Arc::new(Self {
            log: parts.log,
            store: parts.store,
            codec: parts.codec,
            keys: parts.keys,
            intake: parts.intake,
            entities: parts.entities,
            ops: parts.ops,
            registry: parts.registry,
            config: parts.config,
            draining: CancellationToken::new(),
            metrics,
        }))
    }

    /// Partitions of keyed topics, on which the buckets of sensors depend.
    pub fn partitions(&self) -> i32 {
        self.log.partitions(Topic::Readings)
    }

    /// The wall clock.
    pub fn now(&self) -> Millis {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as Millis)
    }
}

/// What the API asks of the job that writes the views.
#[async_trait]
pub trait JobControl: Send + Sync + 'static {
    /// Returns when no tick is being written; none begins until what is returned is dropped.
    async fn hold(&self) -> Result<Box<dyn Send>, JobUnavailable>;

    /// Compares all views with a batch recomputation of the log, as of one tick.
    async fn verify(&self) -> Result<Verification, JobUnavailable>;
}

/// The job does not run, or does not answer.
#[derive(Debug, thiserror::Error)]
#[error("the views job is unavailable: {0}")]
pub struct JobUnavailable(pub String);

/// What a comparison found.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    /// The tick that both sides are as of.
    pub as_of: Millis,
    pub equal: bool,
    /// The first rows that differ.
    pub differing: Vec<Difference>,
}

/// One row that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub view: String,
    /// The row's key, as a person reads it.
    pub key: String,
    /// What the log gives; none: no such row.
    pub expected: Option<Value>,
    /// What the store has; none: no such row.
    pub found: Option<Value>,
}
