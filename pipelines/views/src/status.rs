//! What the job says of itself, from memory.
//!
//! A newcomer would serve `as_of` from here. Readers take it from the store's progress row, read before
//! the rows; this is for health checks and for people.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use openinfra_schemas::time::Millis;

/// How the job stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct JobStatus {
    /// The tick that all views are as of; none before the first.
    pub as_of: Option<Millis>,
    /// The attempt of this instance.
    pub attempt: i64,
    /// Whether the replay reached the newest tick that was in the log at the start.
    pub hydrated: bool,
    /// When a batch was last acknowledged by the store, by the wall clock.
    pub last_commit_at: Option<Millis>,
    /// Records of `readings` and `ledger` in the log, seen last, that no committed tick covers.
    pub behind_records: i64,
    /// Whether somebody holds the job.
    pub held: bool,
    /// What the job waits for, when it retries: the newest refusal of the log, store or registry.
    pub trouble: Option<String>,
}

/// The parts of a status that its writers share.
#[derive(Debug, Default)]
pub(crate) struct StatusCell {
    pub(crate) hydrated: AtomicBool,
    /// 0: none yet.
    pub(crate) last_commit_at: AtomicI64,
    pub(crate) behind_records: AtomicI64,
    trouble: Mutex<Option<(&'static str, String)>>,
}

impl StatusCell {
    /// Notes what `part` waits for.
    pub(crate) fn trouble(&self, part: &'static str, what: &dyn std::fmt::Display) {
        *self.lock() = Some((part, what.to_string()));
    }

    /// `part` waits no longer.
    pub(crate) fn recovered(&self, part: &'static str) {
        let mut trouble = self.lock();
        if trouble.as_ref().is_some_and(|(whose, _)| *whose == part) {
            *trouble = None;
        }
    }

    pub(crate) fn trouble_text(&self) -> Option<String> {
        self.lock()
            .as_ref()
            .map(|(part, what)| format!("{part}: {what}"))
    }

    pub(crate) fn last_commit(&self) -> Option<Millis> {
        match self.last_commit_at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(at),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(&'static str, String)>> {
        self.trouble.lock().expect("no holder of the lock panics")
    }
}
