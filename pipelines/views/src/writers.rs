//! The writers' schemas of one tick's records, as one reader of the tick holds them.
//!
//! A newcomer would keep what was once known. An id may be known by what the log says further on, and have
//! been unknown at the tick that is replayed now; so it is kept only from where it holds at all ticks.

use std::collections::{BTreeSet, HashMap};

use openinfra_log::LogRecord;
use openinfra_schemas::{
    Codec, DecodeError, Writer,
    codec::{Record, unframe},
    registry::SchemaId,
    time::Millis,
};

use crate::{context::Context, error::Halt, verdicts::Verdict};

/// How records of a tick are read, by the ids in their frames.
#[derive(Default)]
pub(crate) struct Writers {
    tick: Millis,
    of_tick: HashMap<SchemaId, Writer>,
    /// Of this tick and all that come.
    kept: HashMap<SchemaId, Writer>,
}

impl Writers {
    /// Sees to it that all of some records can be read. Ticks ascend.
    pub(crate) async fn prepare<'r>(
        &mut self,
        context: &Context,
        tick: Millis,
        records: impl IntoIterator<Item = &'r LogRecord>,
    ) -> Result<(), Halt> {
        let missing = self.missing(tick, records);
        if missing.is_empty() {
            return Ok(());
        }
        for (id, verdict) in context.judge(tick, &missing).await? {
            match verdict {
                Verdict::Unknown => self.put(id, context.codec.nobody()),
                Verdict::Known(known) => {
                    let writer = context.codec.writer(&known.schema);
                    if known.since <= tick {
                        self.kept.insert(id, writer);
                    } else {
                        self.put(id, writer);
                    }
                }
            }
        }
        Ok(())
    }

    /// The ids of some records that are not known yet.
    fn missing<'r>(
        &mut self,
        tick: Millis,
        records: impl IntoIterator<Item = &'r LogRecord>,
    ) -> BTreeSet<SchemaId> {
        if tick != self.tick {
            self.tick = tick;
            self.of_tick = HashMap::new();
        }
        let mut missing = BTreeSet::new();
        let mut last = None;
        for record in records {
            // What has no id is undecodable, by any schema.
            let Ok((id, _)) = unframe(&record.value) else {
                continue;
            };
            // Most records are by the schema of the one before them.
            if last != Some(id) && self.find(id).is_none() {
                missing.insert(id);
            }
            last = Some(id);
        }
        missing
    }

    /// Says how the records of an id are read at the tick.
    pub(crate) fn put(&mut self, id: SchemaId, writer: Writer) {
        self.of_tick.insert(id, writer);
    }

    /// Decodes the bytes of a record that was prepared.
    pub(crate) fn decode<T: Record>(&self, codec: &Codec, bytes: &[u8]) -> Result<T, DecodeError> {
        let (id, _) = unframe(bytes)?;
        let writer = self.find(id);
        let writer = writer.expect("whoever reads a tick's records prepares them");
        codec.decode_by(writer, bytes)
    }

    fn find(&self, id: SchemaId) -> Option<&Writer> {
        self.kept.get(&id).or_else(|| self.of_tick.get(&id))
    }
}
