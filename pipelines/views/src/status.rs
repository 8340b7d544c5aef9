//! What the job says of itself, from memory.
//!
//! A newcomer would serve `as_of` from here. Readers take it from the store's progress row, read before
//! the rows; this is for health checks and for people.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use openinfra_schemas::time::Millis;

/// A part that answers one request and not the next is told of this often.
const AT_MOST_EVERY: Duration = Duration::from_secs(30);

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
    troubles: Mutex<Troubles>,
}

#[derive(Debug, Default)]
struct Troubles {
    newest: Option<(&'static str, String)>,
    /// By part.
    told: HashMap<&'static str, Told>,
}

/// What the process's log was told of a part.
#[derive(Debug, Default)]
struct Told {
    /// While the wait for it that was told lasts: why.
    reason: Option<String>,
    at: Option<Instant>,
}

impl StatusCell {
    /// Notes what `part` waits for, which several may do at once. Whether that is to be told: a wait that
    /// begins, or goes on for another reason.
    pub(crate) fn trouble(&self, part: &'static str, what: &dyn std::fmt::Display) -> bool {
        self.trouble_at(part, what.to_string(), Instant::now())
    }

    fn trouble_at(&self, part: &'static str, reason: String, now: Instant) -> bool {
        let mut troubles = self.lock();
        let told = troubles.told.entry(part).or_default();
        let is_due = told.at.is_none_or(|last| now - last >= AT_MOST_EVERY);
        let is_news = is_due && told.reason.as_ref() != Some(&reason);
        if is_news {
            told.reason = Some(reason.clone());
            told.at = Some(now);
        }
        troubles.newest = Some((part, reason));
        is_news
    }

    /// `part` waits no longer. Whether that is to be told.
    pub(crate) fn recovered(&self, part: &'static str) -> bool {
        let mut troubles = self.lock();
        troubles.newest.take_if(|(whose, _)| *whose == part);
        let told = troubles.told.get_mut(part);
        told.is_some_and(|told| told.reason.take().is_some())
    }

    pub(crate) fn trouble_text(&self) -> Option<String> {
        let troubles = self.lock();
        let newest = troubles.newest.as_ref();
        newest.map(|(part, what)| format!("{part}: {what}"))
    }

    pub(crate) fn last_commit(&self) -> Option<Millis> {
        match self.last_commit_at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(at),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().expect("no holder of the lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_at_both_ends_and_when_its_reason_changes() {
        let status = StatusCell::default();
        let begin = Instant::now();
        let waits = |part, reason: &str, s| {
            let now = begin + Duration::from_secs(s);
            status.trouble_at(part, reason.to_owned(), now)
        };
        assert!(waits("log", "down", 0));
        assert!(!waits("log", "down", 1));
        assert!(waits("store", "slow", 2), "each part by itself");
        assert!(!waits("log", "no leader", 3));
        assert!(waits("log", "no leader", 31));
        assert!(!waits("log", "no leader", 90));
        assert_eq!(status.trouble_text().unwrap(), "log: no leader");
        assert!(status.recovered("log"));
        assert!(!status.recovered("log"));
        assert_eq!(status.trouble_text(), None);
        assert!(status.recovered("store"));
        // One that flickers, and then stays away.
        assert!(!waits("store", "down", 20));
        assert!(!status.recovered("store"), "nobody was told that it waits");
        assert!(waits("store", "down", 40));
    }
}
