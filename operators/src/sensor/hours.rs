//! In which hours a sensor has rows: a set of hours as runs, so that years of an unbroken series are one.

use openinfra_schemas::time::{HOUR_MS, Millis, month_and_day_of};

/// A set of UTC hours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HourSet {
    /// Disjoint, ascending, not touching: first and last hour number (since the epoch), both inclusive.
    runs: Vec<(i64, i64)>,
}

impl HourSet {
    /// Whether the hour that starts at `hour` is in the set.
    pub fn contains(&self, hour: Millis) -> bool {
        let number = hour.div_euclid(HOUR_MS);
        let after = self.runs.partition_point(|(first, _)| *first <= number);
        after > 0 && self.runs[after - 1].1 >= number
    }

    /// Adds an hour; says whether it is the first of its UTC day.
    pub fn insert(&mut self, hour: Millis) -> bool {
        let number = hour.div_euclid(HOUR_MS);
        let day = number.div_euclid(24) * 24;
        let first_of_day = !self.touches(day, day + 23);
        let at = self.runs.partition_point(|(first, _)| *first <= number);
        let joins_before = at > 0 && self.runs[at - 1].1 >= number - 1;
        let joins_after = at < self.runs.len() && self.runs[at].0 == number + 1;
        match (joins_before, joins_after) {
            (true, true) => {
                self.runs[at - 1].1 = self.runs[at].1;
                self.runs.remove(at);
            }
            (true, false) => self.runs[at - 1].1 = self.runs[at - 1].1.max(number),
            (false, true) => self.runs[at].0 = number,
            (false, false) => self.runs.insert(at, (number, number)),
        }
        first_of_day
    }

    /// The month of an hour and the days of it that the set touches: bit d is the day d + 1.
    pub fn days_of_month(&self, hour: Millis) -> (i32, i32) {
        let (month, day_of_month) = month_and_day_of(hour);
        let first_day = hour.div_euclid(24 * HOUR_MS) - i64::from(day_of_month);
        let mut days = 0;
        for day in 0..31 {
            let start = (first_day + day) * 24;
            if month_and_day_of(start * HOUR_MS).0 == month && self.touches(start, start + 23) {
                days |= 1 << day;
            }
        }
        (month, days)
    }

    fn touches(&self, first: i64, last: i64) -> bool {
        let at = self.runs.partition_point(|(start, _)| *start <= last);
        at > 0 && self.runs[at - 1].1 >= first
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_set(numbers in prop::collection::vec(-60i64..60, 0..80)) {
            let mut set = HourSet::default();
            let mut model = BTreeSet::new();
            for number in numbers {
                let day = number.div_euclid(24);
                let first = !model.iter().any(|n: &i64| n.div_euclid(24) == day);
                let was_there = model.contains(&number);
                model.insert(number);
                prop_assert_eq!(set.insert(number * HOUR_MS), first && !was_there);
                for probe in -61..61 {
                    prop_assert_eq!(set.contains(probe * HOUR_MS), model.contains(&probe));
                }
            }
            for pair in set.runs.windows(2) {
                prop_assert!(pair[0].1 + 1 < pair[1].0, "runs neither overlap nor touch");
            }
        }
    }

    #[test]
    fn days_are_those_of_the_month() {
        let mut set = HourSet::default();
        let february = 31 * 24 * HOUR_MS;
        set.insert(february - HOUR_MS);
        set.insert(february);
        set.insert(february + 27 * 24 * HOUR_MS);
        assert_eq!(set.days_of_month(february), (1, 1 | 1 << 27));
        assert_eq!(set.days_of_month(0), (0, 1 << 30));
    }
}
