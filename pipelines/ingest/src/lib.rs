//! Sources to log: authenticate, admit, decode, append.
//!
//! All connectors take readings in through [`Ingest`], so that what counts as a reading, whose it is and
//! what the ledger keeps is decided in one place. What a newcomer would get wrong: nothing here is in the
//! log until [`Intake::commit`] returned, refusals included.

pub mod admit;
pub mod config;
mod fit;
pub mod metrics;
mod originals;
mod take;

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use openinfra_intake::{
    AuthError, Budget, CommitError, Credentials, Delivery, INGEST_READINGS, Intake, Keys,
    Principal, Room, TooMany, Verdict,
};
use openinfra_log::{AppendBatch, Appended, Log, LogError};
use openinfra_schemas::{Codec, Reason, Topic};
use prometheus::Registry;

pub use config::Config;

use admit::Admission;
use metrics::Metrics;
use take::Taking;

/// The one path from every connector into the log.
pub struct Ingest {
    log: Arc<dyn Log>,
    codec: Arc<Codec>,
    keys: Keys,
    admission: Admission,
    budget: Arc<Budget>,
    metrics: Arc<Metrics>,
    readings_partitions: i32,
    ledger_partitions: i32,
    /// What the log takes as one record, in bytes.
    max_record_bytes: usize,
}

impl Ingest {
    /// The intake of one process; a second one over the same `registry` panics, as their metrics would
    /// be taken for one's.
    pub fn new(
        log: Arc<dyn Log>,
        codec: Arc<Codec>,
        keys: Keys,
        config: Config,
        registry: &Registry,
    ) -> Arc<Self> {
        let budget = Budget::new(config.in_flight_bytes);
        let metrics = Metrics::register(registry, &budget);
        let metrics = metrics.expect("one intake registers with a registry");
        Arc::new(Self {
            readings_partitions: log.partitions(Topic::Readings),
            ledger_partitions: log.partitions(Topic::Ledger),
            max_record_bytes: log.max_record_bytes(),
            log,
            codec,
            keys,
            admission: Admission::new(config),
            budget,
            metrics: Arc::new(metrics),
        })
    }

    fn taking<'a>(
        &'a self,
        who: &'a Principal,
        delivery: &'a Delivery<'a>,
        batch: &'a mut AppendBatch,
    ) -> Taking<'a> {
        Taking::new(self, who, delivery, batch)
    }
}

#[async_trait]
impl Intake for Ingest {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Arc<Principal>, AuthError> {
        let verified = self.keys.verify(credentials).await.and_then(|who| {
            if who.may(INGEST_READINGS) {
                Ok(who)
            } else {
                Err(AuthError::Forbidden(INGEST_READINGS))
            }
        });
        verified.inspect_err(|error| self.metrics.auth_failed(error, credentials.address))
    }

    fn count_refused(&self, error: &AuthError, address: Option<IpAddr>) {
        self.metrics.auth_failed(error, address);
    }

    fn admit(&self, who: &Principal, readings: u32) -> Result<(), TooMany> {
        self.admission
            .admit(who, readings)
            .inspect_err(|_| self.metrics.throttled())
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    fn take(&self, who: &Principal, delivery: &Delivery<'_>, batch: &mut AppendBatch) -> Verdict {
        self.taking(who, delivery, batch).run()
    }

    fn refuse(
        &self,
        who: &Principal,
        delivery: &Delivery<'_>,
        reason: Reason,
        detail: &str,
        batch: &mut AppendBatch,
    ) {
        self.taking(who, delivery, batch)
            .refuse_whole(reason, detail.to_owned());
    }

    async fn commit(&self, batch: AppendBatch, room: Room) -> Result<Appended, CommitError> {
        if batch.is_empty() {
            return Ok(Appended {
                offsets: Vec::new(),
            });
        }
        let (log, metrics) = (Arc::clone(&self.log), Arc::clone(&self.metrics));
        // In a task of its own, as the batch stays in the log's queue when whoever waits here goes away;
        // its room must not be given back before, and what the log takes counts as taken.
        let append = tokio::spawn(async move {
            let offered = metrics.offer(&batch);
            let appended = log.append(batch).await;
            drop(room);
            if appended.is_ok() {
                offered.committed();
            }
            appended
        });
        match append.await {
            Ok(appended) => appended.map_err(not_committed),
            Err(ended) => Err(CommitError::Unavailable(ended.to_string())),
        }
    }
}

/// Errors that pass, sooner or later: none of the records is too large, as [`fit`] sees to that.
fn not_committed(error: LogError) -> CommitError {
    match error {
        LogError::StorageFull => CommitError::StorageFull,
        other => CommitError::Unavailable(other.to_string()),
    }
}
