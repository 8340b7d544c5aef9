//! Waiting before trying again: doubling pauses up to a bound, ended by an abort.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Halt;

/// The pauses between attempts of one thing.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
    paused: bool,
}

impl Backoff {
    /// From 20 ms to 2 s.
    pub(crate) fn new() -> Self {
        Self {
            next: Duration::from_millis(20),
            max: Duration::from_secs(2),
            paused: false,
        }
    }

    /// From now on up to 30 s: what is waited for takes an operator.
    pub(crate) fn slow_down(&mut self) {
        self.max = Duration::from_secs(30);
    }

    /// Whether there was any pause.
    pub(crate) fn has_paused(&self) -> bool {
        self.paused
    }

    /// Whether pauses have their full length by now, which takes some seconds.
    pub(crate) fn is_slow(&self) -> bool {
        self.next >= self.max
    }

    /// Waits, longer each time.
    pub(crate) async fn pause(&mut self, abort: &CancellationToken) -> Result<(), Halt> {
        let pause = self.next.min(self.max);
        self.next = pause * 2;
        self.paused = true;
        tokio::select! {
            () = abort.cancelled() => Err(Halt::Aborted),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }
}
