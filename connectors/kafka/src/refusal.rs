//! That the brokers refuse what is appended until somebody puts a setting or a right in order.
//!
//! Who appends tries again, and may do so for hours: a client of an MQTT broker holds what it has read until it is
//! taken. So it is said again as long as it lasts, and whoever asks whether input is taken hears of it. What a
//! newcomer would get wrong: it may be one large record among many that are taken. So nothing is held back here, and
//! what is taken clears it.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use openinfra_log::LogError;
use prometheus::IntCounter;

/// How long a refusal stands when nothing is appended any more. Longer than anybody waits before the next attempt.
const STANDS: Duration = Duration::from_secs(15);
/// The log of the process has a line in so long.
const TELL: Duration = Duration::from_secs(30);

/// What is refused now.
#[derive(Debug)]
pub(crate) struct Refusal {
    count: IntCounter,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest, if nothing was taken since.
    newest: Option<(Instant, String)>,
    told: Option<Instant>,
    untold: u64,
}

impl Refusal {
    pub(crate) fn new(count: IntCounter) -> Self {
        let state = Mutex::default();
        Self { count, state }
    }

    /// Takes note of how an append of some records ended.
    pub(crate) fn note<T>(&self, appended: &Result<T, LogError>) {
        match appended {
            Ok(_) => self.state(|state| state.newest = None),
            Err(LogError::Refused(why)) => {
                self.count.inc();
                self.state(|state| state.refused(Instant::now(), why));
            }
            Err(_) => {}
        }
    }

    /// Errs while appends are refused.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        self.state(|state| state.check(Instant::now()))
    }

    fn state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().expect("no holder of the lock panics"))
    }
}

impl State {
    fn refused(&mut self, now: Instant, why: &str) {
        self.newest = Some((now, why.to_owned()));
        if self.told.is_some_and(|told| now < told + TELL) {
            self.untold += 1;
            return;
        }
        let untold = std::mem::take(&mut self.untold);
        self.told = Some(now);
        tracing::error!(
            why,
            untold,
            "Kafka refuses what is appended; its senders keep it until this is put right"
        );
    }

    fn check(&self, now: Instant) -> Result<(), LogError> {
        match &self.newest {
            Some((since, why)) if now < *since + STANDS => Err(LogError::Refused(why.clone())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_until_something_is_taken_or_nobody_tries_any_more() {
        let count = IntCounter::new("refused", "refused").unwrap();
        let refusal = Refusal::new(count.clone());
        let refused = || Err::<(), _>(LogError::Refused("too large".to_owned()));
        assert!(refusal.check().is_ok());
        refusal.note(&refused());
        refusal.note(&Err::<(), _>(LogError::StorageFull));
        assert!(matches!(refusal.check(), Err(LogError::Refused(why)) if why == "too large"));
        refusal.note(&Ok(()));
        assert!(refusal.check().is_ok());
        refusal.note(&refused());
        assert_eq!(count.get(), 2);
        let later = |after| refusal.state(|state| state.check(Instant::now() + after));
        assert!(later(STANDS / 2).is_err() && later(STANDS).is_ok());
    }

    #[test]
    fn the_log_has_a_line_in_a_while() {
        let mut state = State::default();
        let begun = Instant::now();
        let mut lines = 0;
        for second in 0..100 {
            let now = begun + Duration::from_secs(second);
            state.refused(now, "too large");
            lines += usize::from(state.told == Some(now));
        }
        assert_eq!((lines, state.untold), (4, 9));
    }
}
