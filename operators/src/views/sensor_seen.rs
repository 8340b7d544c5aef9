//! Maintains `sensor_seen`: sensors that sent and that nobody registered.
//!
//! * **Input** messages and entities of a sensor.
//! * **Output** a row for each sensor that is not registered and sent a message since it was last removed
//!   (or ever): the receive time of the first such message and the greatest of them. Registration
//!   retracts it.
//! * **Time** the tick at which the record is in force.
//! * **State** two times for each such sensor.
//! * **Faults** none: what is refused as `unknown_sensor` was not seen.

use openinfra_schemas::time::Millis;

/// First and greatest receive time of an unregistered sensor's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub first_recv_ts: Millis,
    pub last_recv_ts: Millis,
}

impl Seen {
    /// Takes a message into what was seen so far.
    pub fn message(seen: Option<Self>, recv_ts: Millis) -> Self {
        match seen {
            None => Self {
                first_recv_ts: recv_ts,
                last_recv_ts: recv_ts,
            },
            Some(seen) => Self {
                last_recv_ts: seen.last_recv_ts.max(recv_ts),
                ..seen
            },
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        input::TickInput,
        views::{
            definition::{decide, edits, sensors},
            testing::{SensorKey, check, logs},
        },
    };

    pub(crate) fn recompute(log: &[TickInput]) -> BTreeMap<SensorKey, (Millis, Millis)> {
        let decided = decide(log);
        let row = |key: SensorKey| {
            let last_edit = edits(log, &key).pop();
            if last_edit
                .as_ref()
                .is_some_and(|(_, _, entity)| entity.is_some())
            {
                return None;
            }
            let since = last_edit.map_or(Millis::MIN, |(tick, ..)| tick);
            let received: Vec<_> = decided
                .iter()
                .filter(|d| d.is_of(&key) && d.is_heard() && d.tick >= since)
                .map(|d| d.reading.as_ref().unwrap().recv_ts)
                .collect();
            Some((key, (*received.first()?, *received.iter().max()?)))
        };
        sensors(log).into_iter().filter_map(row).collect()
    }

    proptest! {
        #[test]
        fn is_its_definition(log in logs()) {
            check(&log, |views| views.seen.clone(), recompute);
        }
    }
}
