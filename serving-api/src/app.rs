//! What the routes work with, put together by the binary.
//!
//! The API reads what the views job wrote and never links it: what it must ask of a running job goes
//! through [`JobControl`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use openinfra_http::ingest::MAX_BODY_BYTES;
use openinfra_intake::{Intake, Keys};
use openinfra_log::Log;
use openinfra_schemas::{Codec, Topic, registry::RegistryCatalog, time::Millis};
use openinfra_store::Store;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    control::Holds,
    cursor::CursorKey,
    entities::Entities,
    limits::{Limiter, Limits},
    metrics::HttpMetrics,
    verification::{Verification, Verifications},
};

/// What every handler is given.
pub type AppState = Arc<App>;

/// The parts behind the routes.
pub struct App {
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn Store>,
    pub codec: Arc<Codec>,
    pub schemas: Schemas,
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
    pub(crate) verifications: Verifications,
    pub(crate) limiter: Limiter,
    pub(crate) holds: Holds,
    /// What tells the claims of this process from those of others, and of itself before it crashed.
    pub(crate) process: String,
}

/// What [`App`] is made of.
pub struct Parts {
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn Store>,
    pub codec: Arc<Codec>,
    pub schemas: Schemas,
    pub keys: Keys,
    pub intake: Arc<dyn Intake>,
    pub entities: Entities,
    pub ops: Arc<dyn JobControl>,
    pub registry: prometheus::Registry,
    pub config: Config,
}

/// Where schemas are kept.
#[derive(Clone)]
pub enum Schemas {
    /// By this deployment, which serves them under `/registry`.
    Own(Arc<dyn RegistryCatalog>),
    /// By a registry elsewhere: its address, without credentials.
    Elsewhere(String),
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
    /// The most bytes of a body with readings, before inflating and after.
    pub ingest_body_limit: usize,
    /// How long a client may take for the header of a request, and be silent between two.
    pub header_timeout: Duration,
    /// How long a read waits for the write that `OpenInfra-After` names.
    pub after_timeout: Duration,
    /// How long a request with an Idempotency-Key may be without an answer, beyond what its work may take,
    /// until a repetition takes it for crashed and finishes its work.
    pub abandoned_after: Duration,
    /// Whether no other process serves this store. Then a crash left every claim that is not of this
    /// process, and a repetition finishes its work at once.
    pub sole_process: bool,
    /// Without what the process is not ready.
    pub needs: Needs,
    /// How many requests are taken from whom.
    pub limits: Limits,
    /// Signs cursors: [`CursorKey::kept_in`] the store, so that they outlive the process.
    pub cursor_key: CursorKey,
}

/// The parts without which a process is of no use to anybody. Readiness tells of the others too, and does not
/// depend on them: whoever takes readings is not to be taken out of service because the store is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    pub log: bool,
    pub store: bool,
}

/// Both.
impl Default for Needs {
    fn default() -> Self {
        Self {
            log: true,
            store: true,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            generation: 1,
            timeout: Duration::from_secs(30),
            long_timeout: Duration::from_secs(600),
            body_limit: 1 << 20,
            ingest_body_limit: MAX_BODY_BYTES,
            header_timeout: Duration::from_secs(15),
            after_timeout: Duration::from_secs(2),
            abandoned_after: Duration::from_secs(60),
            sole_process: false,
            needs: Needs::default(),
            limits: Limits::default(),
            cursor_key: CursorKey::random(),
        }
    }
}

impl App {
    /// Errs when the registry has metrics of these names already.
    pub fn new(parts: Parts) -> Result<AppState, prometheus::Error> {
        let metrics = HttpMetrics::new(&parts.registry)?;
        let limiter = Limiter::new(&parts.config.limits);
        Ok(Arc::new(Self {
            log: parts.log,
            store: parts.store,
            codec: parts.codec,
            schemas: parts.schemas,
            keys: parts.keys,
            intake: parts.intake,
            entities: parts.entities,
            ops: parts.ops,
            registry: parts.registry,
            config: parts.config,
            draining: CancellationToken::new(),
            metrics,
            verifications: Verifications::default(),
            limiter,
            holds: Holds::default(),
            process: Uuid::now_v7().to_string(),
        }))
    }

    /// Partitions of keyed topics, on which the buckets of sensors depend.
    pub fn partitions(&self) -> i32 {
        self.log.partitions(Topic::Readings)
    }

    /// The wall clock.
    pub fn now(&self) -> Millis {
        now()
    }
}

/// The wall clock.
pub(crate) fn now() -> Millis {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as Millis)
}

/// What the API asks of the job that writes the views.
#[async_trait]
pub trait JobControl: Send + Sync + 'static {
    /// Returns when no tick is being written; none begins until what is returned is dropped.
    async fn hold(&self) -> Result<Box<dyn Hold>, JobUnavailable>;

    /// Compares all views with a batch recomputation of the log, as of one tick. Stops soon after what it
    /// returned is dropped.
    async fn verify(&self) -> Result<Verification, JobUnavailable>;
}

/// No tick is written while this lives.
pub trait Hold: Send + Sync + 'static {
    /// Whether ticks may have been written all the same, as the job or the way to it was lost.
    fn is_lost(&self) -> bool;
}

/// The job does not run, or does not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the views job is unavailable: {0}")]
pub struct JobUnavailable(pub String);
