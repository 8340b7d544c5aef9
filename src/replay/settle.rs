//! What an answer to a batch says of each of its readings.
//!
//! What a newcomer would get wrong: an answer may refuse more than it names. What is neither accepted nor
//! named did not get anywhere, so it may not count as acknowledged.

use std::time::Instant;

use super::{source::Item, tally::Tally};

/// The answer to a batch.
#[derive(Debug)]
pub struct Settlement<'a> {
    /// Readings that the log has.
    pub accepted: usize,
    pub refused: Vec<Refused<'a>>,
}

/// A reading that was refused and named.
#[derive(Debug)]
pub struct Refused<'a> {
    /// Its place in the batch, from 0.
    pub index: usize,
    pub reason: &'a str,
    pub detail: &'a str,
}

impl Settlement<'_> {
    /// Counts each item of the batch once; one without a due time of its own was due when the batch was
    /// `started`.
    pub fn settle(&self, tally: &Tally, items: &[Item], started: Instant) {
        let mut rejected = vec![false; items.len()];
        for refused in &self.refused {
            // Several quantities of one item may be refused; the item is refused once.
            let Some(flag @ false) = rejected.get_mut(refused.index) else {
                continue;
            };
            *flag = true;
            let line = items[refused.index].line;
            tally.reject(refused.reason, || {
                format!("line {line}: {}", refused.detail)
            });
        }
        let left = rejected.iter().filter(|rejected| !**rejected).count();
        let untold = left.saturating_sub(self.accepted);
        for _ in 0..untold {
            tally.reject("untold", || "refused without saying which".to_owned());
        }
        let taken = items
            .iter()
            .zip(&rejected)
            .filter(|(_, rejected)| !**rejected);
        let due = taken
            .map(|(item, _)| item.due.unwrap_or(started))
            .skip(untold);
        tally.acknowledge(due, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(items: u64, accepted: usize, refused: &[usize], expected: (u64, u64)) {
        let items: Vec<Item> = (1..=items)
            .map(|line| Item {
                line,
                sensor: "s".into(),
                body: Vec::new(),
                due: None,
                probe: None,
            })
            .collect();
        let tally = Tally::default();
        tally.sending(items.len() as u64);
        let refused = refused.iter().map(|&index| Refused {
            index,
            reason: "invalid",
            detail: "",
        });
        let settlement = Settlement {
            accepted,
            refused: refused.collect(),
        };
        settlement.settle(&tally, &items, Instant::now());
        let totals = tally.totals();
        assert_eq!(
            (totals.acknowledged, totals.rejected),
            expected,
            "{settlement:?}"
        );
        assert_eq!(tally.open(), 0);
    }

    #[test]
    fn every_item_counts_once() {
        check(3, 3, &[], (3, 0));
        check(3, 2, &[1], (2, 1));
        check(3, 0, &[0, 1, 2], (0, 3));
        check(3, 2, &[1, 1], (2, 1));
    }

    #[test]
    fn what_is_refused_whole_and_named_once_is_not_acknowledged() {
        check(5_000, 0, &[0], (0, 5_000));
        check(3, 1, &[], (1, 2));
    }

    #[test]
    fn an_answer_that_names_what_was_not_sent_harms_nothing() {
        check(2, 2, &[7], (2, 0));
        check(2, 9, &[], (2, 0));
    }
}
