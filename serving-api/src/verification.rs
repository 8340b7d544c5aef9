//! Verification: what it finds, and that one runs at a time.
//!
//! A verification reads the whole log, so whoever asks while one runs is given its answer: no tick is
//! written meanwhile, and another could find nothing else. What a newcomer would get wrong: it belongs to
//! those who wait for it. When the last of them is gone, at its own time limit or the server's, the
//! computation is dropped.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use openinfra_schemas::time::Millis;
use serde_json::Value;

use crate::app::{JobControl, JobUnavailable};

/// What a comparison found.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    /// The tick that both sides are as of.
    pub as_of: Millis,
    /// Whether no row differs, and all records are accounted for.
    pub equal: bool,
    /// The first rows that differ.
    pub differing: Vec<Difference>,
    /// How each view compares, by the name of the store's table.
    pub views: BTreeMap<String, ViewCheck>,
    pub ledger: LedgerCheck,
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

/// How one view compares, in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ViewCheck {
    /// Rows that the log gives.
    pub rows_expected: u64,
    /// Rows found in the store.
    pub rows_stored: u64,
    /// Rows that are on one side only, or differ in a value.
    pub differing: u64,
}

/// What became of every record, as recomputed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LedgerCheck {
    /// Whether each source's records are the sum of what became of them.
    pub conserved: bool,
    pub log_records: i64,
    pub accepted: i64,
    pub duplicates: i64,
    pub corrections: i64,
    /// By reason; reasons without any are left out.
    pub refused: BTreeMap<String, i64>,
}

type Outcome = Result<Arc<Verification>, JobUnavailable>;
type Running = BoxFuture<'static, Outcome>;

/// The verification that runs now, if one does.
#[derive(Default)]
pub(crate) struct Verifications(Mutex<Option<WeakShared<Running>>>);

impl Verifications {
    /// The answer of a verification of views that are at `since` or later: the running one's, else a new
    /// one's.
    pub(crate) async fn run(&self, job: &Arc<dyn JobControl>, since: Option<Millis>) -> Outcome {
        let found = self.join(job).await?;
        if Some(found.as_of) >= since {
            return Ok(found);
        }
        // It had let the ticks go on as it was joined.
        self.join(job).await
    }

    fn join(&self, job: &Arc<dyn JobControl>) -> Shared<Running> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let joined = running.as_ref().and_then(WeakShared::upgrade);
        if let Some(joined) = joined.filter(|joined| joined.peek().is_none()) {
            return joined;
        }
        let job = Arc::clone(job);
        let verify = async move { job.verify().await.map(Arc::new) };
        let started = verify.boxed().shared();
        *running = started.downgrade();
        started
    }
}
