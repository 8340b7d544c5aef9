//! What a tick covers, and which time it gets: decisions without any IO.
//!
//! A newcomer would give a tick the time of our clock. In a backlog that would make every sensor go
//! offline that reported while the job was down; so a tick is never later than what it leaves unread.

use openinfra_schemas::{Topic, time::Millis};

use crate::ends::{Ends, INPUTS};

/// What the next tick covers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) ends: Ends,
    /// The first records left unread, where any are.
    pub(crate) unread: Vec<(Topic, i32, i64)>,
    /// Records covered.
    pub(crate) records: usize,
}

/// Cuts what lies between `taken` and `seen` at `cap` records. Changes of entities come first, as they
/// are in force for readings of the same tick; what room is left is shared in proportion.
pub(crate) fn cut(taken: &Ends, seen: &Ends, cap: usize) -> Cut {
    let mut ends = taken.clone();
    let entities = advance(&mut ends, seen, &[Topic::Entities], cap);
    let rest = advance(
        &mut ends,
        seen,
        &[Topic::Readings, Topic::Ledger],
        cap - entities,
    );
    let mut unread = Vec::new();
    for topic in INPUTS {
        let pairs = ends.of(topic).iter().zip(seen.of(topic));
        for (partition, (end, seen)) in pairs.enumerate() {
            if end < seen {
                unread.push((topic, partition as i32, *end));
            }
        }
    }
    Cut {
        ends,
        unread,
        records: entities + rest,
    }
}

/// Moves ends of some topics towards `seen` by at most `room` records; says by how many.
fn advance(ends: &mut Ends, seen: &Ends, topics: &[Topic], room: usize) -> usize {
    let waiting = |ends: &Ends, topic: Topic, p: usize| {
        (seen.of(topic).get(p).copied().unwrap_or(0) - ends.of(topic)[p]).max(0) as u128
    };
    let places: Vec<(Topic, usize, u128)> = topics
        .iter()
        .flat_map(|topic| (0..ends.of(*topic).len()).map(|p| (*topic, p)))
        .map(|(topic, p)| (topic, p, waiting(ends, topic, p)))
        .filter(|(_, _, waiting)| *waiting > 0)
        .collect();
    let total: u128 = places.iter().map(|(_, _, waiting)| waiting).sum();
    let room = (room as u128).min(total);
    // Cutting the running sum in proportion gives every place its share to within one record, and
    // exactly `room` together.
    let mut before = 0;
    for (topic, p, waiting) in places {
        let after = before + waiting;
        let share = after * room / total - before * room / total;
        ends.of_mut(topic)[p] += share as i64;
        before = after;
    }
    room as usize
}

/// The time of a tick: our clock, read before the ends were sampled, but not later than the append of
/// any record left unread, and always above the last tick.
pub(crate) fn tick_time(now: Millis, first_unread: Option<Millis>, last: Option<Millis>) -> Millis {
    let time = first_unread.map_or(now, |append_ts| now.min(append_ts));
    last.map_or(time, |last| time.max(last + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(readings: &[i64], entities: &[i64], ledger: &[i64]) -> Ends {
        Ends::new(readings.to_vec(), entities.to_vec(), ledger.to_vec())
    }

    #[test]
    fn everything_fits() {
        let seen = ends(&[5, 7], &[1, 0], &[0, 2]);
        let cut = cut(&ends(&[5, 0], &[0, 0], &[0, 0]), &seen, 100);
        assert_eq!((cut.ends, cut.unread, cut.records), (seen, vec![], 10));
    }

    #[test]
    fn a_backlog_is_shared_in_proportion() {
        let cut = cut(
            &ends(&[0, 0], &[0, 0], &[0, 0]),
            &ends(&[3_000, 1_000], &[0, 0], &[0, 4_000]),
            800,
        );
        assert_eq!(cut.ends, ends(&[300, 100], &[0, 0], &[0, 400]));
        assert_eq!(
            cut.unread,
            [
                (Topic::Readings, 0, 300),
                (Topic::Readings, 1, 100),
                (Topic::Ledger, 1, 400)
            ]
        );
    }

    #[test]
    fn entities_go_first() {
        let none = ends(&[0], &[0], &[0]);
        let seen = ends(&[100], &[60], &[0]);
        assert_eq!(cut(&none, &seen, 80).ends, ends(&[20], &[60], &[0]));
        assert_eq!(cut(&none, &seen, 50).ends, ends(&[0], &[50], &[0]));
    }

    #[test]
    fn ends_that_step_back_take_nothing_back() {
        let taken = ends(&[9], &[0], &[0]);
        let cut = cut(&taken, &ends(&[4], &[0], &[0]), 10);
        assert_eq!((cut.ends, cut.records), (taken, 0));
    }

    #[test]
    fn a_tick_has_the_time_of_what_it_leaves() {
        assert_eq!(tick_time(100, None, None), 100);
        assert_eq!(tick_time(100, None, Some(50)), 100);
        assert_eq!(tick_time(100, Some(70), Some(50)), 70);
        assert_eq!(tick_time(100, Some(170), Some(50)), 100);
        // Strictly above the last tick, whatever the clock and the unread say.
        assert_eq!(tick_time(100, Some(40), Some(50)), 51);
        assert_eq!(tick_time(20, None, Some(50)), 51);
    }

    proptest! {
        #[test]
        fn a_cut_takes_as_much_as_it_may(
            waiting in prop::collection::vec(0i64..500, 6),
            cap in 1usize..1_500,
        ) {
            let none = ends(&[0, 0], &[0, 0], &[0, 0]);
            let seen = ends(&waiting[..2], &waiting[2..4], &waiting[4..]);
            let cut = cut(&none, &seen, cap);
            let total: i64 = waiting.iter().sum();
            prop_assert_eq!(cut.records, cap.min(total as usize));
            let taken: usize = none.spans_to(&cut.ends).iter().map(|s| s.len()).sum();
            prop_assert_eq!(taken, cut.records);
            for topic in INPUTS {
                for (end, seen) in cut.ends.of(topic).iter().zip(seen.of(topic)) {
                    prop_assert!(*end >= 0 && end <= seen);
                }
            }
        }
    }
}
