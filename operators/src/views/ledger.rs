//! Maintains `ledger` and its summary: every record of the log is accounted for, once.
//!
//! * **Input** every record of `readings` and `ledger`.
//! * **Output** a row for each record that was refused, by a connector or here, keyed by its position; and
//!   counts of what became of all, by tenant and source.
//! * **Time** the tick at which the record is in force.
//! * **State** none but the counts, which the host adds up.
//! * **Faults** this is where they stand.
//!
//! Conservation: `log_records`, counted as records come in, equals the sum of the outcomes, counted as
//! they are decided.

use openinfra_schemas::{Reason, TenantId};

use crate::change::{Outcome, OutcomeCounts};

impl OutcomeCounts {
    pub fn new(tenant: TenantId, source: &str) -> Self {
        Self {
            tenant,
            source: source.to_owned(),
            log_records: 0,
            accepted: 0,
            duplicates: 0,
            corrections: 0,
            refused: [0; 7],
            server_ts: 0,
        }
    }

    /// Counts what became of one record.
    pub fn decide(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Accepted => self.accepted += 1,
            Outcome::Duplicate => self.duplicates += 1,
            Outcome::Correction => self.corrections += 1,
            Outcome::Refused(reason) => self.refused[reason_index(reason)] += 1,
        }
    }

    /// The outcomes counted; equals `log_records` when the records are conserved.
    pub fn decided(&self) -> i64 {
        self.accepted + self.duplicates + self.corrections + self.refused.iter().sum::<i64>()
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        self.log_records += other.log_records;
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.corrections += other.corrections;
        self.server_ts += other.server_ts;
        for (mine, theirs) in self.refused.iter_mut().zip(&other.refused) {
            *mine += theirs;
        }
    }
}

/// Where a reason stands in [`OutcomeCounts::refused`].
pub fn reason_index(reason: Reason) -> usize {
    Reason::ALL
        .iter()
        .position(|other| *other == reason)
        .expect("ALL holds every reason")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openinfra_schemas::{Topic, TsSource};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        input::TickInput,
        views::{
            definition::decide,
            testing::{check, logs, run_on},
        },
    };

    type Rows = BTreeMap<(Topic, i32, i64), (TenantId, Reason)>;

    /// Every record that was refused, at its position.
    fn recompute(log: &[TickInput]) -> Rows {
        let refused = decide(log)
            .into_iter()
            .filter_map(|record| match record.outcome {
                Outcome::Refused(reason) => {
                    let position = (record.topic, record.partition, record.offset);
                    Some((position, (record.tenant, reason)))
                }
                _ => None,
            });
        refused.collect()
    }

    /// What became of all records, by tenant and source.
    fn recompute_summary(log: &[TickInput]) -> BTreeMap<(TenantId, String), OutcomeCounts> {
        let mut summary = BTreeMap::new();
        for record in decide(log) {
            let counts: &mut OutcomeCounts = summary
                .entry((record.tenant.clone(), record.source.clone()))
                .or_insert_with(|| OutcomeCounts::new(record.tenant.clone(), &record.source));
            counts.log_records += 1;
            match record.outcome {
                Outcome::Accepted => {
                    counts.accepted += 1;
                    let reading = record.reading.unwrap();
                    counts.server_ts += i64::from(reading.ts_source == TsSource::Server);
                }
                Outcome::Duplicate => counts.duplicates += 1,
                Outcome::Correction => counts.corrections += 1,
                Outcome::Refused(reason) => {
                    let place = Reason::ALL.iter().position(|r| *r == reason).unwrap();
                    counts.refused[place] += 1;
                }
            }
        }
        summary
    }

    proptest! {
        #[test]
        fn is_its_definition(log in logs()) {
            check(&log, |views| views.ledger.clone(), recompute);
        }

        #[test]
        fn the_summary_is_its_definition_and_conserves(log in logs()) {
            check(&log, |views| views.outcomes.clone(), recompute_summary);
            for counts in recompute_summary(&log.ticks).values() {
                prop_assert_eq!(counts.log_records, counts.decided());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// All views, not this one alone.
        #[test]
        fn any_number_of_workers_says_the_same(log in logs()) {
            let one = run_on(1, &log.ticks);
            for workers in [2, 3] {
                prop_assert_eq!(&run_on(workers, &log.ticks), &one);
            }
        }
    }
}
