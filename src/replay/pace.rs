//! When a reading is due.
//!
//! A newcomer would pace by the gap to the line before: captures step back in time, some by months, so
//! that the pace follows the newest event time seen so far, and what lies behind it is due at once.

use std::time::{Duration, Instant};

use openinfra_schemas::time::Millis;

/// What sets the pace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as it is taken.
    Max,
    /// So many times faster than event time.
    Times(f64),
    /// So many readings a second.
    Rate(f64),
}

/// Tells one reading after the other when it is due.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    start: Instant,
    /// Event times: the first, and the newest so far.
    span: Option<(Millis, Millis)>,
    count: u64,
}

impl Schedule {
    pub fn new(pace: Pace, start: Instant) -> Self {
        Self {
            pace,
            start,
            span: None,
            count: 0,
        }
    }

    /// When the next reading, of this event time, is due; none: at once.
    pub fn due(&mut self, event_ts: Millis) -> Option<Instant> {
        let seconds = match self.pace {
            Pace::Max => return None,
            Pace::Rate(rate) => self.count as f64 / rate,
            Pace::Times(times) => {
                let (first, newest) = self.span.unwrap_or((event_ts, event_ts));
                let newest = newest.max(event_ts);
                self.span = Some((first, newest));
                newest.saturating_sub(first) as f64 / 1_000.0 / times
            }
        };
        self.count += 1;
        // A span too long for the clock is one that nobody waits for.
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        self.start
            .checked_add(wait)
            .or(Some(self.start + Duration::from_secs(u32::MAX.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pace: Pace, event_ts: &[Millis], due_ms: &[u64]) {
        let start = Instant::now();
        let mut schedule = Schedule::new(pace, start);
        let due: Vec<_> = event_ts
            .iter()
            .map(|&ts| {
                schedule
                    .due(ts)
                    .map_or(0, |due| (due - start).as_millis() as u64)
            })
            .collect();
        assert_eq!(due, due_ms, "{pace:?}");
    }

    #[test]
    fn event_time_sets_the_pace_and_what_lies_behind_is_due_at_once() {
        check(
            Pace::Times(60.0),
            &[0, 60_000, 30_000, 120_000],
            &[0, 1_000, 1_000, 2_000],
        );
        // The first line is no minimum: what comes before it does not wait either.
        check(Pace::Times(1.0), &[5_000, 0, 6_000], &[0, 0, 1_000]);
    }

    #[test]
    fn a_rate_counts_readings() {
        check(Pace::Rate(100.0), &[7, 7, 0, 7], &[0, 10, 20, 30]);
        check(Pace::Max, &[0, 1_000_000], &[0, 0]);
    }

    #[test]
    fn no_span_is_too_long() {
        let mut schedule = Schedule::new(Pace::Times(1e-9), Instant::now());
        schedule.due(Millis::MIN);
        assert!(schedule.due(Millis::MAX).is_some());
    }
}
