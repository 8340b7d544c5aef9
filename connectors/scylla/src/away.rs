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

/// The cluster is away when requests have come to nothing for so long, and none was answered.
const UNANSWERED: Duration = Duration::from_secs(2);

/// Whether the cluster answers, as the last requests say.
#[derive(Debug)]
pub(crate) struct Away {
    /// The nodes that we know it by, and the keyspace.
    place: String,
    begin: Instant,
    /// When a request was last answered, in milliseconds since `begin`.
    answered: AtomicU64,
    /// Whether the outage that lasts is told. Changed under the lock.
    is_told: AtomicBool,
    failed: Mutex<Failed>,
}

#[derive(Debug, Default)]
struct Failed {
    /// Of the requests that came to nothing since one was answered, when the first was made.
    since: Option<Instant>,
    /// When an outage was last told.
    told_at: Option<Instant>,
}

impl Away {
    pub(crate) fn new(place: String) -> Self {
        Self {
            place,
            begin: Instant::now(),
            answered: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
            failed: Mutex::default(),
        }
    }

    /// A request ended that was made at `began`.
    pub(crate) fn heard(&self, began: Instant, error: Option<&ExecutionError>) {
        match error {
            None if self.came_back(Instant::now()) => {
                tracing::info!(store = self.place, "the store answers again");
            }
            Some(error) if says_away(error) => self.unanswered(began, &error.to_string()),
            // It answers, if only with an error.
            _ => {}
        }
    }

    /// A request came to nothing that was made at `began`.
    pub(crate) fn unanswered(&self, began: Instant, cause: &str) {
        if self.went_away(began, Instant::now()) {
            tracing::warn!(store = self.place, cause, "the store does not answer");
        }
    }

    /// Every request comes by here: without a lock, but at an outage's end.
    fn came_back(&self, now: Instant) -> bool {
        let answered = now.saturating_duration_since(self.begin).as_millis() as u64;
        self.answered.store(answered, Relaxed);
        if !self.is_told.load(Relaxed) {
            return false;
        }
        let _failed = self.failed.lock().expect("no holder of the lock panics");
        self.is_told.swap(false, Relaxed)
    }

    fn went_away(&self, began: Instant, now: Instant) -> bool {
        let mut failed = self.failed.lock().expect("no holder of the lock panics");
        let answered = self.begin + Duration::from_millis(self.answered.load(Relaxed));
        let first = failed.since.filter(|first| *first >= answered);
        let since = first.map_or(began, |first| first.min(began)).max(answered);
        failed.since = Some(since);
        let is_due = failed
            .told_at
            .is_none_or(|last| now - last >= AT_MOST_EVERY);
        if self.is_told.load(Relaxed) || !is_due || now - since < UNANSWERED {
            return false;
        }
        failed.told_at = Some(now);
        self.is_told.store(true, Relaxed);
        true
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
        let fails = |s| away.went_away(at(s), at(s));
        let answers = |s| away.came_back(at(s));
        assert!(!answers(0));
        assert!(!fails(1));
        assert!(!answers(2));
        assert!(!fails(3), "one was answered since");
        assert!(!fails(4));
        assert!(fails(5));
        assert!(!fails(6));
        assert!(answers(7));
        assert!(!answers(8));
        // One that flickers.
        assert!(!fails(10));
        assert!(!fails(13));
        assert!(!answers(14));
        // And then stays away.
        assert!(!fails(16));
        assert!(!fails(34));
        assert!(fails(35));
        assert!(!fails(90));
        assert!(answers(91));
    }

    #[test]
    fn a_request_that_waited_long_enough_says_it_alone() {
        let away = Away::new("c:9042/k".to_owned());
        let at = |s| away.begin + Duration::from_secs(s);
        assert!(!away.came_back(at(10)));
        assert!(
            !away.went_away(at(5), at(11)),
            "another was answered meanwhile"
        );
        assert!(!away.came_back(at(20)));
        assert!(!away.went_away(at(30), at(31)));
        assert!(!away.came_back(at(40)));
        assert!(away.went_away(at(50), at(55)));
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
