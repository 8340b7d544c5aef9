//! What the log says of schema ids: which schema stands under an id, at a tick.
//!
//! A newcomer would take what is said last. Of everything that is said of an id and a tick, and is not void,
//! what stands first holds: whoever acted on it need not look further, and what is appended again changes
//! nothing.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use openinfra_schemas::{TickRecord, Verdicts as Said, registry::SchemaId, time::Millis};

/// What the log says of an id at a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Known(Known),
    Unknown,
}

/// The schema under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) schema: Arc<str>,
    /// From this tick on the id was never unknown.
    pub(crate) since: Millis,
}

/// What follows from the records of `ticks` read so far, from the first on.
///
/// Once something is said of an id and a tick, no later record changes it: one may read on as far as one needs.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    /// The offset of the next record of `ticks`.
    pub(crate) next_offset: i64,
    newest_attempt: i64,
    known: HashMap<SchemaId, Known>,
    /// Of ticks past `forgotten` only.
    unknown: BTreeSet<(Millis, SchemaId)>,
    /// The greatest tick at which any id was unknown.
    newest_unknown: Option<Millis>,
    forgotten: Option<Millis>,
}

impl Verdicts {
    /// Takes the next record; none is one that is not the job's.
    pub(crate) fn take<'a>(&mut self, record: impl Into<Option<&'a TickRecord>>) {
        self.next_offset += 1;
        match record.into() {
            Some(TickRecord::Begin(begin)) => {
                self.newest_attempt = self.newest_attempt.max(begin.attempt);
            }
            Some(TickRecord::Verdicts(said)) if said.attempt >= self.newest_attempt => {
                self.hear(said);
            }
            Some(TickRecord::Verdicts(_) | TickRecord::LogId(_) | TickRecord::Tick(_)) | None => {}
        }
    }

    fn hear(&mut self, said: &Said) {
        for known in &said.known {
            let since = self.newest_unknown.map_or(Millis::MIN, |tick| tick + 1);
            self.known.entry(known.id).or_insert_with(|| Known {
                schema: known.schema.as_str().into(),
                since,
            });
        }
        for id in &said.unknown {
            if self.known.contains_key(id) {
                continue;
            }
            self.newest_unknown = self.newest_unknown.max(Some(said.tick));
            if self.forgotten.is_none_or(|forgotten| said.tick > forgotten) {
                self.unknown.insert((said.tick, *id));
            }
        }
    }

    /// What is said of an id at a tick, which is not forgotten; none as far as the records were read.
    pub(crate) fn of(&self, id: SchemaId, tick: Millis) -> Option<Verdict> {
        if self.unknown.contains(&(tick, id)) {
            return Some(Verdict::Unknown);
        }
        self.known.get(&id).cloned().map(Verdict::Known)
    }

    /// Nobody asks any more for a tick, nor for those before it.
    pub(crate) fn forget(&mut self, tick: Millis) {
        if self.forgotten.is_none_or(|forgotten| tick > forgotten) {
            self.forgotten = Some(tick);
            if self
                .unknown
                .first()
                .is_some_and(|(first, _)| *first <= tick)
            {
                self.unknown = self.unknown.split_off(&(tick + 1, SchemaId::MIN));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use openinfra_schemas::{Begin, KnownSchema};
    use proptest::prelude::*;

    use super::*;

    /// The definition, over all records: the first that is not void and says something of the id at the tick.
    fn recompute(records: &[TickRecord], id: SchemaId, tick: Millis) -> Option<Option<&str>> {
        let mut newest = 0;
        for record in records {
            match record {
                TickRecord::Begin(begin) => newest = newest.max(begin.attempt),
                TickRecord::Verdicts(said) if said.attempt >= newest => {
                    if let Some(known) = said.known.iter().find(|known| known.id == id) {
                        return Some(Some(&known.schema));
                    }
                    if said.tick == tick && said.unknown.contains(&id) {
                        return Some(None);
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn of(verdicts: &Verdicts, id: SchemaId, tick: Millis) -> Option<Option<String>> {
        verdicts.of(id, tick).map(|verdict| match verdict {
            Verdict::Known(known) => Some(known.schema.to_string()),
            Verdict::Unknown => None,
        })
    }

    fn record() -> impl Strategy<Value = TickRecord> {
        let begin = (0..6i64).prop_map(|attempt| {
            TickRecord::Begin(Begin {
                attempt,
                processes: 1,
                generation: 1,
                tzdata: String::new(),
            })
        });
        let known = prop::collection::vec((0..4u32, "[ab]"), 0..2);
        let unknown = prop::collection::vec(0..4u32, 0..3);
        let said =
            (0..6i64, 0..5i64, known, unknown).prop_map(|(attempt, tick, known, unknown)| {
                let known = known.into_iter();
                TickRecord::Verdicts(Said {
                    attempt,
                    tick,
                    known: known
                        .map(|(id, schema)| KnownSchema { id, schema })
                        .collect(),
                    unknown,
                })
            });
        prop_oneof![1 => begin, 4 => said]
    }

    proptest! {
        #[test]
        fn what_is_said_first_holds(
            records in prop::collection::vec(record(), 0..30),
            forgotten in prop::option::of((0..30usize, 0..5i64)),
        ) {
            let mut verdicts = Verdicts::default();
            let mut from = Millis::MIN;
            for (at, record) in records.iter().enumerate() {
                verdicts.take(record);
                if let Some((_, tick)) = forgotten.filter(|(place, _)| *place == at) {
                    verdicts.forget(tick);
                    from = tick + 1;
                }
                for id in 0..4 {
                    for tick in (0..5).filter(|tick| *tick >= from) {
                        let expected = recompute(&records[..=at], id, tick);
                        let expected = expected.map(|schema| schema.map(str::to_owned));
                        prop_assert_eq!(of(&verdicts, id, tick), expected.clone());
                        // What was said stands, however far one reads.
                        if expected.is_some() {
                            let whole = recompute(&records, id, tick);
                            prop_assert_eq!(
                                whole.map(|schema| schema.map(str::to_owned)),
                                expected
                            );
                        }
                        // A known id may be kept without asking again, from where it says.
                        if let Some(Verdict::Known(known)) = verdicts.of(id, 0) {
                            for later in known.since.max(0)..5 {
                                prop_assert_eq!(
                                    of(&verdicts, id, later),
                                    Some(Some(known.schema.to_string()))
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_no_tick_asks_for_any_more_is_forgotten() {
        let mut verdicts = Verdicts::default();
        for tick in 0..100 {
            verdicts.take(&TickRecord::Verdicts(Said {
                attempt: 1,
                tick,
                known: Vec::new(),
                unknown: vec![1, 2],
            }));
            verdicts.forget(tick - 3);
            assert!(verdicts.unknown.len() <= 6);
        }
        assert_eq!(of(&verdicts, 2, 99), Some(None));
        assert_eq!(verdicts.next_offset, 100);
    }
}
