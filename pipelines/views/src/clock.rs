//! The clock that tick times are read from, and the guard against its steps.
//!
//! A newcomer would compare wall times with each other to find a step. Only the monotonic clock says how
//! much time passed; a step is where both disagree.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use openinfra_schemas::time::Millis;

use crate::JobError;

/// Where the ticker gets the time from; tests bring their own.
pub trait Clock: Send + Sync + 'static {
    /// Wall time.
    fn now(&self) -> Millis;

    /// Time since any fixed moment, by a clock that nobody sets.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_millis() as Millis,
            Err(before) => -(before.duration().as_millis() as Millis),
        }
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A step of more than this stops the ticks: 5 minutes.
pub const MAX_STEP_MS: Millis = 300_000;

/// Compares each reading of the wall clock with the one before. Slow corrections pass, as they should.
#[derive(Debug, Default)]
pub(crate) struct StepGuard {
    last: Option<(Millis, Duration)>,
}

impl StepGuard {
    /// Wall time, or the step that the wall clock made since the last call.
    pub(crate) fn now(&mut self, clock: &dyn Clock) -> Result<Millis, JobError> {
        let (now, monotonic) = (clock.now(), clock.monotonic());
        if let Some((last_now, last_monotonic)) = self.last {
            let passed = monotonic.saturating_sub(last_monotonic).as_millis() as Millis;
            let step_ms = now - last_now - passed;
            if step_ms.abs() > MAX_STEP_MS {
                return Err(JobError::ClockStepped { step_ms });
            }
        }
        self.last = Some((now, monotonic));
        Ok(now)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Fake(Mutex<(Millis, u64)>);

    impl Clock for Fake {
        fn now(&self) -> Millis {
            self.0.lock().unwrap().0
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.lock().unwrap().1)
        }
    }

    fn check(wall: Millis, passed: u64, step: Option<Millis>) {
        let clock = Fake(Mutex::new((1_000_000, 50)));
        let mut guard = StepGuard::default();
        guard.now(&clock).unwrap();
        *clock.0.lock().unwrap() = (1_000_000 + wall, 50 + passed);
        match (guard.now(&clock), step) {
            (Ok(now), None) => assert_eq!(now, 1_000_000 + wall),
            (Err(JobError::ClockStepped { step_ms }), Some(step)) => assert_eq!(step_ms, step),
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_step_is_an_error() {
        check(20, 20, None);
        // Hours between two ticks are no step when the monotonic clock saw them too.
        check(7_200_000, 7_200_000, None);
        check(MAX_STEP_MS, 0, None);
        check(MAX_STEP_MS + 1, 0, Some(MAX_STEP_MS + 1));
        check(-MAX_STEP_MS - 1, 0, Some(-MAX_STEP_MS - 1));
    }
}
