//! What the records of `ticks` mean, read from the first on: which log it is, which attempt is the
//! newest, which ticks count and what each covers.
//!
//! A newcomer would judge a tick by its attempt alone. Its place decides: one that stands before a newer
//! `Begin` counts, whoever reads it; one that stands after it is void.

use openinfra_schemas::{Tick, TickRecord, Topic, time::Millis};

use crate::ends::{Ends, Span};

/// Everything that follows from the records read so far.
#[derive(Debug, Clone)]
pub(crate) struct TickRules {
    pub(crate) log_id: Option<String>,
    /// The greatest attempt of any `Begin`; 0 before the first.
    pub(crate) newest_attempt: i64,
    /// The last tick that counts.
    pub(crate) last_tick: Option<Millis>,
    /// What the ticks that count cover.
    pub(crate) ends: Ends,
    /// The offset of the next record of `ticks`.
    pub(crate) next_offset: i64,
}

/// What one record means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A tick that counts, and the records that it covers, in the order of feeding.
    Tick { tick: Millis, spans: Vec<Span> },
    /// An instance began; its attempt.
    Begin(i64),
    /// Nothing: not the job's, void, repeated, the log's id, or what is said of schemas (`verdicts.rs`).
    Nothing,
}

impl TickRules {
    /// Before the first record; `ends` are where the topics start.
    pub(crate) fn new(ends: Ends) -> Self {
        Self {
            log_id: None,
            newest_attempt: 0,
            last_tick: None,
            ends,
            next_offset: 0,
        }
    }

    /// Takes the next record; none is one that is not the job's. The error says what is wrong with it.
    pub(crate) fn take(
        &mut self,
        record: impl Into<Option<TickRecord>>,
    ) -> Result<Meaning, String> {
        self.next_offset += 1;
        let Some(record) = record.into() else {
            return Ok(Meaning::Nothing);
        };
        match record {
            TickRecord::LogId(id) => {
                // Two instances that found the topic empty may both write one: the first counts.
                self.log_id.get_or_insert(id.id);
                Ok(Meaning::Nothing)
            }
            _ if self.log_id.is_none() => Err("the first record is no log id".to_owned()),
            TickRecord::Begin(begin) if begin.attempt > self.newest_attempt => {
                self.newest_attempt = begin.attempt;
                Ok(Meaning::Begin(begin.attempt))
            }
            // An append whose outcome was unknown was repeated, or an older instance woke up.
            TickRecord::Begin(_) => Ok(Meaning::Nothing),
            TickRecord::Tick(tick) => self.take_tick(&tick),
            TickRecord::Verdicts(_) => Ok(Meaning::Nothing),
        }
    }

    fn take_tick(&mut self, tick: &Tick) -> Result<Meaning, String> {
        let void = tick.attempt < self.newest_attempt;
        // An append whose outcome was unknown was repeated: the first counts.
        let repeated = self.last_tick.is_some_and(|last| tick.tick <= last);
        if void || repeated {
            return Ok(Meaning::Nothing);
        }
        let mut ends = self.ends.clone();
        for moved in &tick.ends {
            let end = Topic::parse(&moved.topic)
                .and_then(|topic| {
                    let index = usize::try_from(moved.partition).ok()?;
                    ends.of_mut(topic).get_mut(index)
                })
                .ok_or_else(|| format!("{}/{} is no input", moved.topic, moved.partition))?;
            *end = moved.end.max(*end);
        }
        let spans = self.ends.spans_to(&ends);
        self.ends = ends;
        self.last_tick = Some(tick.tick);
        Ok(Meaning::Tick {
            tick: tick.tick,
            spans,
        })
    }
}

#[cfg(test)]
mod tests {
    use openinfra_schemas::{Begin, LogId, PartitionEnd};

    use super::*;

    fn rules() -> TickRules {
        let mut rules = TickRules::new(Ends::new(vec![0; 2], vec![0; 2], vec![0; 2]));
        let id = LogId { id: "one".into() };
        assert_eq!(rules.take(TickRecord::LogId(id)), Ok(Meaning::Nothing));
        rules
    }

    fn begin(attempt: i64) -> TickRecord {
        TickRecord::Begin(Begin {
            attempt,
            processes: 1,
            generation: 1,
            tzdata: String::new(),
        })
    }

    fn tick(attempt: i64, tick: Millis, ends: &[(&str, i32, i64)]) -> TickRecord {
        TickRecord::Tick(Tick {
            attempt,
            tick,
            ends: ends
                .iter()
                .map(|(topic, partition, end)| PartitionEnd {
                    topic: (*topic).to_owned(),
                    partition: *partition,
                    end: *end,
                })
                .collect(),
        })
    }

    fn spans(meaning: Meaning) -> Vec<(Topic, i32, i64, i64)> {
        match meaning {
            Meaning::Tick { spans, .. } => spans
                .into_iter()
                .map(|s| (s.topic, s.partition, s.from, s.to))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_tick_covers_what_no_earlier_one_did() {
        let mut rules = rules();
        assert_eq!(rules.take(begin(1)), Ok(Meaning::Begin(1)));
        let first = tick(1, 10, &[("readings", 1, 5), ("entities", 0, 2)]);
        assert_eq!(
            spans(rules.take(first).unwrap()),
            [(Topic::Readings, 1, 0, 5), (Topic::Entities, 0, 0, 2)]
        );
        assert_eq!(
            spans(rules.take(tick(1, 11, &[("readings", 1, 7)])).unwrap()),
            [(Topic::Readings, 1, 5, 7)]
        );
        assert_eq!(rules.next_offset, 4);
    }

    #[test]
    fn a_tick_is_void_behind_a_newer_begin_and_counts_before_it() {
        let mut rules = rules();
        rules.take(begin(1)).unwrap();
        assert!(matches!(
            rules.take(tick(1, 10, &[])).unwrap(),
            Meaning::Tick { tick: 10, .. }
        ));
        rules.take(begin(2)).unwrap();
        let late = tick(1, 11, &[("readings", 0, 9)]);
        assert_eq!(rules.take(late), Ok(Meaning::Nothing));
        assert_eq!(rules.ends.of(Topic::Readings), [0, 0]);
        // The older instance's Begin, appended again, changes nothing either.
        assert_eq!(rules.take(begin(1)), Ok(Meaning::Nothing));
        assert!(matches!(
            rules.take(tick(2, 11, &[])).unwrap(),
            Meaning::Tick { tick: 11, .. }
        ));
    }

    #[test]
    fn a_repeated_tick_counts_once() {
        let mut rules = rules();
        rules.take(begin(1)).unwrap();
        rules.take(tick(1, 10, &[("ledger", 0, 1)])).unwrap();
        let again = tick(1, 10, &[("ledger", 0, 1)]);
        assert_eq!(rules.take(again), Ok(Meaning::Nothing));
    }

    #[test]
    fn what_no_instance_writes_is_refused() {
        let mut empty = TickRules::new(Ends::new(vec![0], vec![0], vec![0]));
        assert!(empty.take(begin(1)).is_err());
        for bad in [
            ("ticks", 0, 1),
            ("readings", 2, 1),
            ("readings", -1, 1),
            ("x", 0, 1),
        ] {
            let mut rules = rules();
            assert!(rules.take(tick(0, 10, &[bad])).is_err(), "{bad:?}");
        }
    }
}
