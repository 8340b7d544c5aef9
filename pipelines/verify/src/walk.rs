//! A sensor through time: what is known of it at the end of each tick at which anything could change.
//!
//! A newcomer would step through ticks. There are fifty a second; between two messages or edits nothing
//! changes but by a deadline, and there are two of those.

use openinfra_schemas::{Sensor, entity::DEFAULT_OFFLINE_TIMEOUT_MS, time::Millis};

use crate::{sensor::SensorLog, ticks::Ticks};

/// What follows from a sensor's edits and messages up to a tick.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known<'a> {
    /// Of the newest edit, a removal's too; 0 before the first.
    pub(crate) version: i64,
    pub(crate) entity: Option<&'a Sensor>,
    /// The tick of the registration in force.
    pub(crate) registered_at: Option<Millis>,
    /// Greatest receive time of any message.
    pub(crate) last_recv: Option<Millis>,
    /// Receive time of the message that ended the last silence; of the first message before any.
    pub(crate) speaks_since: Millis,
    /// First and greatest receive time since the last edit, and the last tick that changed them; while
    /// the sensor is not registered.
    pub(crate) seen: Option<(Millis, Millis, Millis)>,
    /// Greatest event time accepted.
    pub(crate) newest_event: Option<Millis>,
}

/// A silence that a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence {
    pub(crate) offline_since: Millis,
    pub(crate) recovered_at: Millis,
    pub(crate) tick: Millis,
}

impl Known<'_> {
    /// How long it may be silent: its own timeout, else three intervals but at least a minute, else 15
    /// minutes.
    pub(crate) fn timeout_ms(&self) -> Millis {
        let own = self.entity.and_then(|entity| entity.offline_timeout_ms);
        let derived = self
            .entity
            .and_then(|entity| entity.reporting_interval_ms)
            .map(|interval| interval.saturating_mul(3).max(60_000));
        own.or(derived).unwrap_or(DEFAULT_OFFLINE_TIMEOUT_MS)
    }

    /// When silence becomes an outage: counted from the last message, or from the registration.
    pub(crate) fn offline_from(&self) -> Option<Millis> {
        let from = self.last_recv.or(self.registered_at)?;
        Some(from.saturating_add(self.timeout_ms()))
    }

    /// Past this time what it said last is stale.
    pub(crate) fn stale_from(&self) -> Option<Millis> {
        let max_age = self.entity?.max_age_ms?;
        Some(self.newest_event?.saturating_add(max_age))
    }

    /// Whether lists show it.
    pub(crate) fn is_listed(&self) -> bool {
        self.registered_at.is_some() || self.seen.is_some()
    }
}

/// Calls `see` with what is known at the end of each tick at which it, or a deadline, may have changed, in
/// their order. Returns the silences that messages ended.
pub(crate) fn walk<'a>(
    sensor: &'a SensorLog,
    ticks: &Ticks,
    mut see: impl FnMut(Millis, &Known<'a>),
) -> Vec<Silence> {
    let mut known = Known::default();
    let mut silences = Vec::new();
    let (mut edits, mut messages) = (
        sensor.edits.iter().peekable(),
        sensor.messages.iter().peekable(),
    );
    let mut last = Millis::MIN;
    loop {
        let next_edit = edits.peek().map(|edit| edit.tick);
        let next_message = messages.peek().map(|message| message.tick);
        let next = [next_edit, next_message].into_iter().flatten().min();
        for tick in deadlines(&known, ticks, last, next) {
            see(tick, &known);
        }
        let Some(tick) = next else { return silences };
        // Edits come first: they are in force for the messages of their tick.
        while let Some(edit) = edits.next_if(|edit| edit.tick == tick) {
            known.version = edit.version;
            known.entity = edit.sensor.as_deref();
            known.registered_at = known.entity.and(known.registered_at.or(Some(tick)));
            known.seen = None;
        }
        while let Some(message) = messages.next_if(|message| message.tick == tick) {
            silences.extend(hear(&mut known, message.recv_ts, tick));
            if message.is_taken() {
                known.newest_event = known.newest_event.max(Some(message.event_ts));
            }
        }
        see(tick, &known);
        last = tick;
    }
}

/// Ticks after `last` and before `next` at which a deadline is first passed, ascending.
fn deadlines(
    known: &Known<'_>,
    ticks: &Ticks,
    last: Millis,
    next: Option<Millis>,
) -> impl Iterator<Item = Millis> {
    let stale = known.stale_from().map(|from| from.saturating_add(1));
    let mut at = [known.offline_from(), stale].map(|due| {
        due.filter(|due| *due > last)
            .and_then(|due| ticks.at_or_after(due))
            .filter(|tick| next.is_none_or(|next| *tick < next))
    });
    at.sort_unstable();
    at.into_iter().flatten()
}

/// Takes a message; says which silence it ends.
fn hear(known: &mut Known<'_>, recv_ts: Millis, tick: Millis) -> Option<Silence> {
    if known.registered_at.is_none() {
        known.seen = Some(match known.seen {
            None => (recv_ts, recv_ts, tick),
            Some((first, greatest, _)) if recv_ts > greatest => (first, recv_ts, tick),
            Some(seen) => seen,
        });
    }
    let Some(earlier) = known.last_recv else {
        known.last_recv = Some(recv_ts);
        known.speaks_since = recv_ts;
        return None;
    };
    // One that steps back counts as the greatest so far.
    let later = recv_ts.max(earlier);
    known.last_recv = Some(later);
    let offline_since = earlier.saturating_add(known.timeout_ms());
    if later <= offline_since || later == earlier {
        return None;
    }
    known.speaks_since = later;
    Some(Silence {
        offline_since,
        recovered_at: later,
        tick,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sensor::testing::{entity, message, sensor},
        views::status,
    };

    fn timeout(ms: Millis) -> Option<Sensor> {
        Some(Sensor {
            offline_timeout_ms: Some(ms),
            ..entity()
        })
    }

    fn silences(receive_times: &[Millis], timeout_ms: Millis) -> Vec<(Millis, Millis)> {
        let messages: Vec<_> = receive_times
            .iter()
            .enumerate()
            .map(|(place, recv_ts)| crate::sensor::Message {
                recv_ts: *recv_ts,
                ..message(1 + place as Millis, 0.0)
            })
            .collect();
        let log = sensor(&[(0, timeout(timeout_ms))], &messages);
        walk(&log, &Ticks::of_times(&[]), |_, _| {})
            .iter()
            .map(|silence| (silence.offline_since, silence.recovered_at))
            .collect()
    }

    /// Statuses in the order they come, with the ticks that bring them.
    fn statuses(log: &SensorLog, ticks: &[Millis]) -> Vec<(Millis, &'static str, Millis)> {
        let mut seen: Vec<(Millis, &'static str, Millis)> = Vec::new();
        walk(log, &Ticks::of_times(ticks), |tick, known| {
            if let Some(now) = status::at(known, tick)
                && seen
                    .last()
                    .is_none_or(|(_, status, _)| *status != now.status)
            {
                seen.push((tick, now.status, now.since));
            }
        });
        seen
    }

    #[test]
    fn a_gap_longer_than_the_timeout_is_an_episode() {
        assert_eq!(silences(&[0, 101], 100), [(100, 101)]);
        // An episode of no length is none.
        assert_eq!(silences(&[0, 100], 100), []);
        // A receive time that steps back counts as the greatest so far.
        assert_eq!(
            silences(&[500, 0, 601, 300, 900], 100),
            [(600, 601), (701, 900)]
        );
    }

    #[test]
    fn offline_to_the_millisecond_at_the_first_tick_past_it() {
        let log = sensor(
            &[(5, timeout(100))],
            &[message(300, 1.0), message(450, 1.0)],
        );
        let ticks = [5, 104, 105, 300, 399, 410, 450, 500, 555];
        assert_eq!(
            statuses(&log, &ticks),
            [
                (5, "never_seen", 5),
                (105, "offline", 105),
                (300, "online", 300),
                (410, "offline", 400),
                (450, "online", 450),
                (555, "offline", 550),
            ]
        );
    }

    #[test]
    fn a_longer_timeout_takes_an_outage_back() {
        let log = sensor(
            &[(5, timeout(100)), (250, timeout(500))],
            &[message(10, 1.0)],
        );
        assert_eq!(
            statuses(&log, &[5, 10, 200, 250, 600]),
            [
                (5, "never_seen", 5),
                (10, "online", 10),
                (200, "offline", 110),
                (250, "online", 10),
                (600, "offline", 510),
            ]
        );
    }

    #[test]
    fn the_timeout_follows_from_the_interval() {
        let of = |own, interval| {
            let entity = Sensor {
                offline_timeout_ms: own,
                reporting_interval_ms: interval,
                ..entity()
            };
            let known = Known {
                entity: Some(&entity),
                ..Known::default()
            };
            known.timeout_ms()
        };
        assert_eq!(of(Some(7), Some(50_000)), 7);
        assert_eq!(of(None, Some(50_000)), 150_000);
        assert_eq!(of(None, Some(1_000)), 60_000);
        assert_eq!(of(None, None), 900_000);
        assert_eq!(Known::default().timeout_ms(), 900_000);
    }

    #[test]
    fn removal_takes_it_from_the_lists_until_it_speaks_again() {
        let log = sensor(
            &[(5, timeout(1_000)), (20, None)],
            &[message(10, 1.0), message(30, 1.0)],
        );
        let mut listed = Vec::new();
        walk(&log, &Ticks::of_times(&[]), |tick, known| {
            listed.push((tick, known.is_listed(), known.seen));
        });
        assert_eq!(
            listed,
            [
                (5, true, None),
                (10, true, None),
                (20, false, None),
                (30, true, Some((30, 30, 30))),
            ]
        );
    }
}
