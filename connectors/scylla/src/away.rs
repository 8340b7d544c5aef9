//! The log's lines about a cluster that went away and came back.
//!
//! A newcomer would write a line for each request that failed: there are hundreds a second, and the one that says
//! that it is over is missing. Nor does one that failed say that the cluster is away: others succeed meanwhile.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use scylla::errors::{DbError, ExecutionError, RequestAttemptError, WriteType};

use crate::error::Kind;

/// A cluster that answers one request and not the next is told of this often.
const AT_MOST_EVERY: Duration = Duration::from_secs(30);

/// A failure says that the cluster is away when nothing has been answered for so long.
const UNANSWERED: Duration = Duration::from_secs(2);

/// Whether the cluster answers, as the last requests say.
#[derive(Debug)]
pub(crate) struct Away {
    /// The nodes that we know it by, and the keyspace.
    place: String,
    begin: Instant,
    /// When a request was last answered, in milliseconds since `begin`.
    answered: AtomicU64,
    /// Whether the outage that lasts is told. Changed under the lock of `told_at`.
    is_told: AtomicBool,
    /// When the last one was.
    told_at: Mutex<Option<Instant>>,
}

impl Away {
    pub(crate) fn new(place: String) -> Self {
        Self {
            place,
            begin: Instant::now(),
            answered: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
            told_at: Mutex::default(),
        }
    }

    /// A request ended.
    pub(crate) fn heard(&self, error: Option<&ExecutionError>) {
        match error {
            None if self.came_back(Instant::now()) => {
                tracing::info!(store = self.place, "the store answers again");
            }
            Some(error) if says_away(error) => self.unanswered(&error.to_string()),
            // It answers, if only with an error.
            _ => {}
        }
    }

    /// A request came to nothing, for which the cluster may be to blame.
    pub(crate) fn unanswered(&self, cause: &str) {
        if self.went_away(Instant::now()) {
            tracing::warn!(store = self.place, cause, "the store does not answer");
        }
    }

    /// Every request comes by here: without a lock, but at an outage's end.
    fn came_back(&self, now: Instant) -> bool {
        self.answered.store(self.since_begin(now), Relaxed);
        if !self.is_told.load(Relaxed) {
            return false;
        }
        let _told_at = self.told_at.lock().expect("no holder of the lock panics");
        self.is_told.swap(false, Relaxed)
    }

    fn went_away(&self, now: Instant) -> bool {
        let mut told_at = self.told_at.lock().expect("no holder of the lock panics");
        let silent = self
            .since_begin(now)
            .saturating_sub(self.answered.load(Relaxed));
        let is_due = told_at.is_none_or(|last| now - last >= AT_MOST_EVERY);
        if self.is_told.load(Relaxed) || !is_due || silent < UNANSWERED.as_millis() as u64 {
            return false;
        }
        *told_at = Some(now);
        self.is_told.store(true, Relaxed);
        true
    }

    fn since_begin(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begin).as_millis() as u64
    }
}

/// Whether an error says that nobody answers. One of a row that many write at once does not.
fn says_away(error: &ExecutionError) -> bool {
    let is_contended = matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::WriteTimeout {
                write_type: WriteType::Cas,
                ..
            },
            _
        ))
    );
    !is_contended
        && matches!(
            Kind::of(error),
            Kind::Timeout | Kind::NoNode | Kind::Connection
        )
}

#[cfg(test)]
mod tests {
    use scylla::{errors::RequestAttemptError::DbError as ByNode, statement::Consistency};

    use super::*;

    #[test]
    fn an_outage_has_a_line_at_each_end() {
        let away = Away::new("c:9042/k".to_owned());
        let at = |s| away.begin + Duration::from_secs(s);
        assert!(!away.came_back(at(0)));
        assert!(!away.went_away(at(1)), "others are answered meanwhile");
        assert!(away.went_away(at(2)));
        assert!(!away.went_away(at(3)));
        assert!(away.came_back(at(4)));
        assert!(!away.came_back(at(5)));
        // One that flickers.
        assert!(!away.went_away(at(10)));
        assert!(!away.came_back(at(11)));
        // And then stays away.
        assert!(!away.went_away(at(14)));
        assert!(away.went_away(at(32)));
        assert!(!away.went_away(at(90)));
        assert!(away.came_back(at(91)));
    }

    #[test]
    fn a_row_that_many_write_is_no_outage() {
        let timeout = |write_type| {
            let error = DbError::WriteTimeout {
                consistency: Consistency::Quorum,
                received: 1,
                required: 2,
                write_type,
            };
            ExecutionError::LastAttemptError(ByNode(error, String::new()))
        };
        assert!(says_away(&timeout(WriteType::Batch)));
        assert!(!says_away(&timeout(WriteType::Cas)));
        assert!(says_away(&ExecutionError::EmptyPlan));
        let full = ByNode(DbError::Overloaded, String::new());
        assert!(!says_away(&ExecutionError::LastAttemptError(full)));
    }
}
