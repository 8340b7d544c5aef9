//! Maintains `offline_episode`: silences longer than the sensor's timeout.
//!
//! * **Input** the receive time of every message of a sensor that the log has: duplicates, BAD ones, late
//!   ones too. One that steps back counts as the greatest so far.
//! * **Output** a closed row `[earlier + timeout, later)` for each two successive messages more than the
//!   timeout apart, and at most one open row, from the last message's deadline on.
//! * **Time** the timeout in force at the later message's tick judges a pair; an open row is there as of
//!   the first tick at or past the deadline.
//! * **State** the greatest receive time, and whether an open row stands, for each sensor.
//! * **Faults** none.

use openinfra_schemas::{Sensor, entity::DEFAULT_OFFLINE_TIMEOUT_MS, time::Millis};

/// The least timeout that is derived from a reporting interval.
const LEAST_DERIVED_TIMEOUT_MS: Millis = 60_000;

/// How long a sensor may be silent: its own timeout, else three reporting intervals (at least a minute),
/// else a quarter of an hour.
pub fn timeout_of(sensor: Option<&Sensor>) -> Millis {
    let Some(sensor) = sensor else {
        return DEFAULT_OFFLINE_TIMEOUT_MS;
    };
    if let Some(own) = sensor.offline_timeout_ms {
        return own;
    }
    match sensor.reporting_interval_ms {
        Some(interval) => interval.saturating_mul(3).max(LEAST_DERIVED_TIMEOUT_MS),
        None => DEFAULT_OFFLINE_TIMEOUT_MS,
    }
}

/// A silence that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    pub offline_since: Millis,
    pub recovered_at: Millis,
}

/// What is known of the messages of one sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// Greatest receive time so far.
    pub last_recv: Millis,
    /// Receive time of the message that began the stretch without a silence.
    pub online_since: Millis,
}

impl Contact {
    /// The sensor's first message.
    pub fn first(recv_ts: Millis) -> Self {
        Self {
            last_recv: recv_ts,
            online_since: recv_ts,
        }
    }

    /// Takes a further message; says which silence it ends.
    pub fn message(&mut self, recv_ts: Millis, timeout_ms: Millis) -> Option<Closed> {
        if recv_ts <= self.last_recv {
            return None;
        }
        let offline_since = self.last_recv.saturating_add(timeout_ms);
        self.last_recv = recv_ts;
        if recv_ts <= offline_since {
            return None;
        }
        self.online_since = recv_ts;
        Some(Closed {
            offline_since,
            recovered_at: recv_ts,
        })
    }

    /// When the sensor counts as offline unless it speaks.
    pub fn deadline(&self, timeout_ms: Millis) -> Millis {
        self.last_recv.saturating_add(timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        input::TickInput,
        views::{
            definition::{decide, entity_at, sensors},
            testing::{SensorKey, check, logs},
        },
    };

    fn recompute(log: &[TickInput]) -> BTreeMap<(SensorKey, Millis), Option<Millis>> {
        let decided = decide(log);
        let now = log.last().unwrap().tick;
        let mut episodes = BTreeMap::new();
        for key in sensors(log) {
            let mut last: Option<Millis> = None;
            for record in decided.iter().filter(|d| d.is_of(&key) && d.is_heard()) {
                let recv_ts = record.reading.as_ref().unwrap().recv_ts;
                let timeout_ms = timeout_of(entity_at(log, &key, record.tick).as_ref());
                if let Some(last) = last.filter(|last| recv_ts - last > timeout_ms) {
                    episodes.insert((key.clone(), last + timeout_ms), Some(recv_ts));
                }
                last = last.max(Some(recv_ts));
            }
            let timeout_ms = timeout_of(entity_at(log, &key, now).as_ref());
            if let Some(last) = last.filter(|last| now >= last + timeout_ms) {
                episodes.insert((key, last + timeout_ms), None);
            }
        }
        episodes
    }

    proptest! {
        #[test]
        fn is_its_definition(log in logs()) {
            check(&log, |views| views.episodes.clone(), recompute);
        }
    }

    #[test]
    fn a_gap_of_exactly_the_timeout_is_no_episode() {
        let mut contact = Contact::first(0);
        assert_eq!(contact.message(100, 100), None);
        let closed = contact.message(201, 100);
        assert_eq!(
            closed,
            Some(Closed {
                offline_since: 200,
                recovered_at: 201
            })
        );
    }

    #[test]
    fn a_receive_time_that_steps_back_moves_nothing() {
        let mut contact = Contact::first(100);
        assert_eq!(contact.message(50, 10), None);
        assert_eq!(contact.last_recv, 100);
    }
}
