//! When which sensor has to be looked at although nothing is heard of it: at most one entry a sensor
//! counts, the others are passed over when their time comes.

use std::{cmp::Reverse, collections::BinaryHeap};

use openinfra_schemas::time::Millis;

/// A queue of (due, sensor).
#[derive(Default)]
pub struct Deadlines {
    heap: BinaryHeap<Reverse<(Millis, u32)>>,
    /// The earliest entry of each sensor, by its place.
    scheduled: Vec<Option<Millis>>,
}

impl Deadlines {
    /// Makes sure that the sensor is looked at by `due`. A later deadline is found out then.
    pub fn schedule(&mut self, sensor: u32, due: Millis) {
        let place = sensor as usize;
        if self.scheduled.len() <= place {
            self.scheduled.resize(place + 1, None);
        }
        if self.scheduled[place].is_none_or(|scheduled| due < scheduled) {
            self.scheduled[place] = Some(due);
            self.heap.push(Reverse((due, sensor)));
        }
    }

    /// When the next sensor has to be looked at.
    pub fn next(&mut self) -> Option<Millis> {
        while let Some(Reverse((due, sensor))) = self.heap.peek().copied() {
            if self.scheduled[sensor as usize] == Some(due) {
                return Some(due);
            }
            self.heap.pop();
        }
        None
    }

    /// Takes out a sensor that is due at `tick`.
    pub fn pop(&mut self, tick: Millis) -> Option<u32> {
        while let Some(Reverse((due, sensor))) = self.heap.peek().copied() {
            if due > tick {
                return None;
            }
            self.heap.pop();
            let scheduled = &mut self.scheduled[sensor as usize];
            if *scheduled == Some(due) {
                *scheduled = None;
                return Some(sensor);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_counts_once() {
        let mut deadlines = Deadlines::default();
        deadlines.schedule(3, 20);
        deadlines.schedule(3, 10);
        deadlines.schedule(3, 30);
        assert_eq!(deadlines.next(), Some(10));
        assert_eq!(deadlines.pop(9), None);
        assert_eq!(deadlines.pop(25), Some(3));
        assert_eq!(deadlines.pop(25), None);
        assert_eq!(deadlines.next(), None, "passed over with the earliest");
        deadlines.schedule(3, 30);
        assert_eq!(deadlines.pop(30), Some(3));
    }
}
