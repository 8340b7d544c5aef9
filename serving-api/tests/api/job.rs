//! A job that only counts.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use openinfra_api::{
    Difference, Hold, JobControl, JobUnavailable, LedgerCheck, Verification, ViewCheck,
};
use serde_json::json;
use tokio::sync::watch;

use crate::app::{NOON, ts};

/// Counts who holds it and what it verifies; verifications wait while it is told to.
pub struct FakeJob {
    held: Arc<AtomicUsize>,
    verifying: Arc<AtomicUsize>,
    verified: AtomicUsize,
    may_end: watch::Sender<bool>,
}

impl Default for FakeJob {
    fn default() -> Self {
        Self {
            held: Arc::default(),
            verifying: Arc::default(),
            verified: AtomicUsize::new(0),
            may_end: watch::Sender::new(true),
        }
    }
}

/// One of those that are counted, until it is dropped.
struct One(Arc<AtomicUsize>);

impl One {
    fn of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Hold for One {
    fn is_lost(&self) -> bool {
        false
    }
}

impl FakeJob {
    /// How many hold it now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// How many verifications run now.
    pub fn verifying(&self) -> usize {
        self.verifying.load(Ordering::SeqCst)
    }

    /// How many verifications began.
    pub fn verified(&self) -> usize {
        self.verified.load(Ordering::SeqCst)
    }

    /// Whether verifications come to an end.
    pub fn let_end(&self, may: bool) {
        self.may_end.send_replace(may);
    }
}

#[async_trait]
impl JobControl for FakeJob {
    async fn hold(&self) -> Result<Box<dyn Hold>, JobUnavailable> {
        Ok(Box::new(One::of(&self.held)))
    }

    async fn verify(&self) -> Result<Verification, JobUnavailable> {
        self.verified.fetch_add(1, Ordering::SeqCst);
        let _running = One::of(&self.verifying);
        let mut may_end = self.may_end.subscribe();
        let waited = may_end.wait_for(|may| *may).await;
        waited.map_err(|error| JobUnavailable(error.to_string()))?;
        Ok(Verification {
            as_of: ts(NOON),
            equal: false,
            differing: vec![Difference {
                view: "readings".to_owned(),
                key: "default/s1".to_owned(),
                expected: Some(json!({"value": 1.0})),
                found: None,
            }],
            views: [(
                "readings".to_owned(),
                ViewCheck {
                    rows_expected: 2,
                    rows_stored: 1,
                    differing: 1,
                },
            )]
            .into(),
            ledger: LedgerCheck {
                conserved: true,
                log_records: 3,
                accepted: 2,
                duplicates: 1,
                ..LedgerCheck::default()
            },
        })
    }
}
