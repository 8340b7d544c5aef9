//! That the brokers refuse what is appended until somebody puts a setting or a right in order.
//!
//! Who appends tries again, and may do so for hours: a client of an MQTT broker holds what it has read until it is
//! taken. So it is said again as long as it lasts. What a newcomer would get wrong: a refusal for a record's size is
//! about that record, which anybody may send; only one that is about all records of a topic is told to whoever asks
//! whether input is taken, or a sender could take the process out of service.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::{Duration, Instant},
};

use openinfra_log::LogError;
use openinfra_schemas::Topic;
use prometheus::IntCounter;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::error::is_about_size;

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
    /// The newest of each topic to which nothing was appended since; under none what is not about a topic.
    newest: BTreeMap<Option<Topic>, (Instant, String)>,
    told: Option<Instant>,
    untold: u64,
}

impl Refusal {
    pub(crate) fn new(count: IntCounter) -> Self {
        let state = Mutex::default();
        Self { count, state }
    }

    /// Takes note of an append that was refused.
    pub(crate) fn refused(&self, topic: Option<Topic>, code: Code, why: &str) {
        self.count.inc();
        let now = Instant::now();
        self.state(|state| {
            if !is_about_size(code) {
                state.newest.insert(topic, (now, why.to_owned()));
            }
            state.tell(now, why);
        });
    }

    /// Takes note of an append that was taken.
    pub(crate) fn taken(&self, topics: &BTreeSet<Topic>) {
        self.state(|state| {
            state
                .newest
                .retain(|topic, _| topic.is_some_and(|topic| !topics.contains(&topic)));
        });
    }

    /// Errs while appends to a topic are refused.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        self.state(|state| state.check(Instant::now()))
    }

    fn state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().expect("no holder of the lock panics"))
    }
}

impl State {
    fn tell(&mut self, now: Instant, why: &str) {
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
        let mut standing = self.newest.values();
        match standing.find(|(since, _)| now < *since + STANDS) {
            Some((_, why)) => Err(LogError::Refused(why.clone())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(refusal: &Refusal) -> bool {
        matches!(refusal.check(), Err(LogError::Refused(why)) if why == "no right")
    }

    #[test]
    fn it_stands_until_something_is_taken_or_nobody_tries_any_more() {
        let count = IntCounter::new("refused", "refused").unwrap();
        let refusal = Refusal::new(count.clone());
        let denied = Code::TopicAuthorizationFailed;
        assert!(!is_refused(&refusal));
        refusal.refused(Some(Topic::Ledger), denied, "no right");
        refusal.taken(&[Topic::Readings].into());
        assert!(is_refused(&refusal), "another topic says nothing of it");
        refusal.taken(&[Topic::Ledger].into());
        assert!(!is_refused(&refusal));
        refusal.refused(None, denied, "no right");
        assert!(is_refused(&refusal));
        let later = |after| refusal.state(|state| state.check(Instant::now() + after));
        assert!(later(STANDS / 2).is_err() && later(STANDS).is_ok());
        refusal.taken(&[Topic::Readings].into());
        assert!(!is_refused(&refusal), "whatever is taken says that");
        assert_eq!(count.get(), 2);
    }

    #[test]
    fn one_large_record_takes_nobody_out_of_service() {
        let count = IntCounter::new("refused", "refused").unwrap();
        let refusal = Refusal::new(count.clone());
        refusal.refused(
            Some(Topic::Readings),
            Code::MessageSizeTooLarge,
            "too large",
        );
        assert!(refusal.check().is_ok());
        assert_eq!(count.get(), 1);
    }

    #[test]
    fn the_log_has_a_line_in_a_while() {
        let mut state = State::default();
        let begun = Instant::now();
        let mut lines = 0;
        for second in 0..100 {
            let now = begun + Duration::from_secs(second);
            state.tell(now, "too large");
            lines += usize::from(state.told == Some(now));
        }
        assert_eq!((lines, state.untold), (4, 9));
    }
}
