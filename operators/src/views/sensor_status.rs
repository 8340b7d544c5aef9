//! Maintains `sensor_status`: whether a sensor speaks (connectivity, on receive time) and whether what it
//! said is still fresh (on event time).
//!
//! * **Input** messages and entities of a sensor.
//! * **Output** a row for each sensor that is registered, or has sent since it was last removed. Until a
//!   reading is taken it has the greatest receive time, which `latest_reading` has from then on.
//! * **Time** never_seen → online → offline at the deadline, to the millisecond, as of the first tick at
//!   or past it; stale as of the first tick past newest event time + max_age.
//! * **State** contact and registration of each sensor, and one pending deadline.
//! * **Faults** none.

use openinfra_schemas::time::Millis;

use crate::change::StatusColumns;

use super::offline_episode::Contact;

/// What the status of a sensor follows from.
#[derive(Debug, Clone, Copy)]
pub struct StatusInput {
    pub contact: Option<Contact>,
    /// The tick that registered it, while it is registered.
    pub registered_at: Option<Millis>,
    pub timeout_ms: Millis,
    pub max_age_ms: Option<Millis>,
    /// Event time of the newest accepted reading.
    pub newest_event_ts: Option<Millis>,
}

/// The status as of a tick; none when the sensor is neither registered nor heard of.
pub fn status_at(input: &StatusInput, tick: Millis) -> Option<StatusColumns> {
    let (status, since, offline_since, reason) = match (input.contact, input.registered_at) {
        (Some(contact), _) => {
            let deadline = contact.deadline(input.timeout_ms);
            if tick >= deadline {
                ("offline", deadline, Some(deadline), Some("silent"))
            } else {
                ("online", contact.online_since, None, None)
            }
        }
        (None, Some(registered_at)) => {
            let deadline = registered_at.saturating_add(input.timeout_ms);
            if tick >= deadline {
                ("offline", deadline, Some(deadline), Some("never_reported"))
            } else {
                ("never_seen", registered_at, None, None)
            }
        }
        (None, None) => return None,
    };
    let stale_since = stale_from(input).filter(|from| tick > *from);
    let timeout_ms = input.timeout_ms;
    let untaken = input.contact.filter(|_| input.newest_event_ts.is_none());
    Some(StatusColumns {
        status,
        since,
        offline_since,
        timeout_ms,
        reason,
        stale_since,
        last_recv_ts: untaken.map(|contact| contact.last_recv),
    })
}

/// The first tick after `tick` at which the status may change although nothing is heard.
pub fn next_deadline(input: &StatusInput, tick: Millis) -> Option<Millis> {
    let offline = match (input.contact, input.registered_at) {
        (Some(contact), _) => Some(contact.deadline(input.timeout_ms)),
        (None, registered_at) => registered_at.map(|at| at.saturating_add(input.timeout_ms)),
    };
    let stale = stale_from(input).map(|from| from.saturating_add(1));
    [offline, stale]
        .into_iter()
        .flatten()
        .filter(|due| *due > tick)
        .min()
}

fn stale_from(input: &StatusInput) -> Option<Millis> {
    Some(input.newest_event_ts?.saturating_add(input.max_age_ms?))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        input::TickInput,
        views::{
            definition::{decide, entity_at, registered_at, sensors},
            offline_episode::timeout_of,
            sensor_seen,
            testing::{SensorKey, check, logs},
        },
    };

    pub(crate) fn recompute(log: &[TickInput]) -> BTreeMap<SensorKey, StatusColumns> {
        let decided = decide(log);
        let now = log.last().unwrap().tick;
        let seen = sensor_seen::tests::recompute(log);
        let row = |key: SensorKey| {
            let registered_at = registered_at(log, &key, now);
            if registered_at.is_none() && !seen.contains_key(&key) {
                return None;
            }
            let entity = entity_at(log, &key, now);
            let timeout_ms = timeout_of(entity.as_ref());
            let heard: Vec<_> = decided
                .iter()
                .filter(|d| d.is_of(&key) && d.is_heard())
                .map(|d| (d.reading.as_ref().unwrap().recv_ts, d.tick))
                .collect();
            let mut stretch: Option<(Millis, Millis)> = None;
            for (recv_ts, tick) in heard {
                let timeout_ms = timeout_of(entity_at(log, &key, tick).as_ref());
                stretch = Some(match stretch {
                    Some((since, last)) if recv_ts - last > timeout_ms => {
                        (recv_ts, recv_ts.max(since))
                    }
                    Some((since, last)) => (since, last.max(recv_ts)),
                    None => (recv_ts, recv_ts),
                });
            }
            let deadline = stretch.map(|(_, last)| last).or(registered_at)? + timeout_ms;
            let is_offline = now >= deadline;
            let newest = decided
                .iter()
                .filter(|d| d.is_of(&key) && d.is_taken())
                .map(|d| d.reading.as_ref().unwrap().event_ts)
                .max();
            let max_age_ms = entity.and_then(|entity| entity.max_age_ms);
            let stale_from = newest.zip(max_age_ms).map(|(newest, age)| newest + age);
            let columns = StatusColumns {
                status: match (is_offline, stretch) {
                    (true, _) => "offline",
                    (false, Some(_)) => "online",
                    (false, None) => "never_seen",
                },
                since: match (is_offline, stretch) {
                    (true, _) => deadline,
                    (false, Some((since, _))) => since,
                    (false, None) => registered_at?,
                },
                offline_since: is_offline.then_some(deadline),
                timeout_ms,
                reason: match (is_offline, stretch) {
                    (true, Some(_)) => Some("silent"),
                    (true, None) => Some("never_reported"),
                    (false, _) => None,
                },
                stale_since: stale_from.filter(|from| now > *from),
                last_recv_ts: stretch.map(|(_, last)| last).filter(|_| newest.is_none()),
            };
            Some((key, columns))
        };
        sensors(log).into_iter().filter_map(row).collect()
    }

    proptest! {
        #[test]
        fn is_its_definition(log in logs()) {
            check(&log, |views| views.status.clone(), recompute);
        }

        #[test]
        fn lists_say_the_same(log in logs()) {
            check(
                &log,
                |views| {
                    let row = |(key, row): (&SensorKey, &crate::change::IndexColumns)| {
                        (key.clone(), (row.registered, row.status, row.stale, row.entity.clone()))
                    };
                    views.index.iter().map(row).collect::<BTreeMap<_, _>>()
                },
                |log| {
                    let now = log.last().unwrap().tick;
                    let row = |(key, status): (SensorKey, StatusColumns)| {
                        let entity = entity_at(log, &key, now).map(Box::new);
                        let stale = status.stale_since.is_some();
                        (key, (entity.is_some(), status.status, stale, entity))
                    };
                    recompute(log).into_iter().map(row).collect()
                },
            );
        }
    }

    #[test]
    fn offline_from_the_deadline_on_to_the_millisecond() {
        let input = StatusInput {
            contact: Some(Contact::first(1_000)),
            registered_at: None,
            timeout_ms: 500,
            max_age_ms: None,
            newest_event_ts: None,
        };
        assert_eq!(status_at(&input, 1_499).unwrap().status, "online");
        let offline = status_at(&input, 9_999).unwrap();
        assert_eq!((offline.status, offline.since), ("offline", 1_500));
        assert_eq!(next_deadline(&input, 1_000), Some(1_500));
        assert_eq!(next_deadline(&input, 1_500), None);
    }
}
