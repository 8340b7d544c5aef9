//! Which intents this process is at work on, and which it had to leave.
//!
//! A request may end anywhere: its client goes away and its future is dropped. So a flight that was not
//! landed counts as left, whatever ended it, and the relay takes it up at its next pass.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flight {
    /// A request is at work on it: the relay leaves it alone.
    Live,
    /// No request is: the relay need not wait until it is old.
    Left,
}

/// The intents of this process, by change id. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<String, Flight>>>);

impl Flights {
    /// Marks an intent as being worked on, until the guard is dropped.
    pub(super) fn begin(&self, change_id: &str) -> Guard {
        self.lock().insert(change_id.to_owned(), Flight::Live);
        Guard {
            flights: self.clone(),
            change_id: change_id.to_owned(),
            landed: false,
        }
    }

    pub(super) fn state(&self, change_id: &str) -> Option<Flight> {
        self.lock().get(change_id).copied()
    }

    /// The change ids that are left.
    pub(super) fn left(&self) -> Vec<String> {
        let flights = self.lock();
        flights
            .iter()
            .filter(|(_, flight)| **flight == Flight::Left)
            .map(|(change_id, _)| change_id.clone())
            .collect()
    }

    /// Drops a left one: it is done, or was never written.
    pub(super) fn forget(&self, change_id: &str) {
        let mut flights = self.lock();
        if flights.get(change_id) == Some(&Flight::Left) {
            flights.remove(change_id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Flight>> {
        // No holder leaves the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One intent being worked on.
#[derive(Debug)]
pub(super) struct Guard {
    flights: Flights,
    change_id: String,
    landed: bool,
}

impl Guard {
    /// The intent is gone: nothing is left to do.
    pub(super) fn land(mut self) {
        self.landed = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        if self.landed {
            flights.remove(&self.change_id);
        } else {
            flights.insert(self.change_id.clone(), Flight::Left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flight_that_did_not_land_is_left() {
        let flights = Flights::default();
        let guard = flights.begin("a");
        assert_eq!(flights.state("a"), Some(Flight::Live));
        drop(guard);
        assert_eq!(flights.left(), ["a"]);
        flights.forget("a");
        assert_eq!(flights.state("a"), None);
    }

    #[test]
    fn a_landed_flight_is_gone_and_a_live_one_is_not_forgotten() {
        let flights = Flights::default();
        flights.begin("a").land();
        assert_eq!(flights.state("a"), None);
        let guard = flights.begin("b");
        flights.forget("b");
        assert_eq!(flights.state("b"), Some(Flight::Live));
        guard.land();
    }
}
