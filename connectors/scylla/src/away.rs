//! The log's lines about a cluster that went away and came back.
//!
//! A newcomer would write a line for each request that failed: there are hundreds a second, and the one that says
//! that it is over is missing.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::error::Kind;

/// A cluster that answers one request and not the next is told of this often.
const AT_MOST_EVERY: Duration = Duration::from_secs(30);

/// Whether the cluster answers, as the last requests say.
#[derive(Debug)]
pub(crate) struct Away {
    /// The nodes that we know it by, and the keyspace.
    place: String,
    is_away: AtomicBool,
    /// Whether the outage that lasts is told; and when the last one was.
    told: Mutex<(bool, Option<Instant>)>,
}

/// A line to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Went,
    CameBack,
}

impl Away {
    pub(crate) fn new(place: String) -> Self {
        Self {
            place,
            is_away: AtomicBool::new(false),
            told: Mutex::default(),
        }
    }

    /// A request ended; `cause` gives the error's text.
    pub(crate) fn heard(&self, error: Option<Kind>, cause: impl FnOnce() -> String) {
        let is_away = match error {
            None => false,
            Some(Kind::Timeout | Kind::NoNode | Kind::Connection) => true,
            // It answers, if only with an error.
            Some(Kind::Overloaded | Kind::Server | Kind::Refused) => return,
        };
        match self.turned(is_away, Instant::now()) {
            None => {}
            Some(Line::Went) => {
                let (store, cause) = (&self.place, cause());
                tracing::warn!(store, cause, "the store does not answer");
            }
            Some(Line::CameBack) => tracing::info!(store = self.place, "the store answers again"),
        }
    }

    fn turned(&self, is_away: bool, now: Instant) -> Option<Line> {
        if !is_away {
            // Every request comes by here: without a lock, but at an outage's end.
            let was_away = self.is_away.load(Relaxed) && self.is_away.swap(false, Relaxed);
            return (was_away && std::mem::take(&mut self.told().0)).then_some(Line::CameBack);
        }
        self.is_away.store(true, Relaxed);
        let mut told = self.told();
        let is_due = told.1.is_none_or(|last| now - last >= AT_MOST_EVERY);
        if told.0 || !is_due {
            return None;
        }
        *told = (true, Some(now));
        Some(Line::Went)
    }

    fn told(&self) -> MutexGuard<'_, (bool, Option<Instant>)> {
        self.told.lock().expect("no holder of the lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_has_a_line_at_each_end() {
        let away = Away::new("c:9042/k".to_owned());
        let begin = Instant::now();
        let at = |s| begin + Duration::from_secs(s);
        assert_eq!(away.turned(false, at(0)), None);
        assert_eq!(away.turned(true, at(1)), Some(Line::Went));
        assert_eq!(away.turned(true, at(2)), None);
        assert_eq!(away.turned(false, at(3)), Some(Line::CameBack));
        assert_eq!(away.turned(false, at(4)), None);
        // One that flickers.
        assert_eq!(away.turned(true, at(5)), None);
        assert_eq!(away.turned(false, at(6)), None);
        // And then stays away.
        assert_eq!(away.turned(true, at(7)), None);
        assert_eq!(away.turned(true, at(31)), Some(Line::Went));
        assert_eq!(away.turned(true, at(90)), None);
        assert_eq!(away.turned(false, at(91)), Some(Line::CameBack));
    }
}
