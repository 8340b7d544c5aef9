//! Which schemas stand under the ids of a tick's records, so that every replay reads them alike.
//!
//! A newcomer would ask the registry whenever a record is decoded. It learns ids, and may lose them; so it is
//! asked where the log says nothing yet, what it says is appended to `ticks`, and acted on when it is read back.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
};

use futures::{StreamExt, TryStreamExt, stream};
use openinfra_log::AppendBatch;
use openinfra_schemas::{
    KnownSchema, TickRecord, Verdicts as Said,
    compatibility::write_alike,
    registry::{RegistryError, SchemaId},
    time::Millis,
};

use crate::{
    JobError,
    begin::{decode_tick_record, push_tick_record, ticks_from},
    context::Context,
    error::Halt,
    retry::Backoff,
    verdicts::{Verdict, Verdicts},
};

/// Ids that the registry is asked for at the same time.
const AT_ONCE: usize = 16;

/// What the schemas and ids of one record of `ticks` take at most, in bytes: it must fit into any log, and a
/// log may be set to take no more than 64 KiB.
const MAX_BYTES: usize = 60_000;

/// What an id takes beside its schema, at most.
const ID_BYTES: usize = 10;

/// The verdicts of one attempt.
#[derive(Debug)]
pub(crate) struct Judge {
    attempt: i64,
    verdicts: Mutex<Verdicts>,
    /// Held by the one who reads on and asks.
    asking: tokio::sync::Mutex<()>,
}

impl Judge {
    pub(crate) fn new(attempt: i64) -> Self {
        Self {
            attempt,
            verdicts: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock().expect("no holder of the lock panics")
    }

    /// Takes records of `ticks`, which may have been taken before, with their offsets. Nobody asks any more
    /// for ticks up to `committed`. A newer instance's `Begin` ends this one: what it says from there on is
    /// void.
    pub(crate) fn hear(
        &self,
        records: &[(i64, Option<TickRecord>)],
        committed: Millis,
    ) -> Result<(), JobError> {
        let mut verdicts = self.verdicts();
        verdicts.forget(committed);
        for (offset, record) in records {
            if *offset < verdicts.next_offset {
                continue;
            }
            match record {
                Some(TickRecord::Begin(begin)) if begin.attempt > self.attempt => {
                    return Err(JobError::Superseded {
                        ours: self.attempt,
                        theirs: begin.attempt,
                    });
                }
                record => verdicts.take(record.as_ref()),
            }
        }
        Ok(())
    }

    /// Those of some ids of which the log says nothing, as far as it is read.
    fn open(&self, tick: Millis, ids: &BTreeSet<SchemaId>) -> BTreeSet<SchemaId> {
        let verdicts = self.verdicts();
        let open = ids.iter().filter(|id| verdicts.of(**id, tick).is_none());
        open.copied().collect()
    }
}

impl Context {
    /// What stands under ids of records of a tick; one for each id.
    pub(crate) async fn judge(
        &self,
        tick: Millis,
        ids: &BTreeSet<SchemaId>,
    ) -> Result<Vec<(SchemaId, Verdict)>, Halt> {
        if !self.judge.open(tick, ids).is_empty() {
            let _asking = self.judge.asking.lock().await;
            let mut open = self.judge.open(tick, ids);
            while !open.is_empty() && self.read_on().await? {
                open = self.judge.open(tick, &open);
            }
            if !open.is_empty() {
                self.ask(tick, &open).await?;
            }
        }
        let found = ids.iter().map(|id| Ok((*id, self.verdict(tick, *id)?)));
        found.collect()
    }

    fn verdict(&self, tick: Millis, id: SchemaId) -> Result<Verdict, JobError> {
        let verdict = self.judge.verdicts().of(id, tick);
        let verdict = verdict.ok_or_else(|| JobError::NotReadBack {
            offset: self.judge.verdicts().next_offset,
            missing: format!("what is said of schema id {id} at tick {tick}"),
        })?;
        if let Verdict::Known(known) = &verdict
            && let Some((subject, text)) = self.codec.own_schema(id)
            && !write_alike(text, &known.schema).unwrap_or(false)
        {
            return Err(JobError::OtherSchema { id, subject });
        }
        Ok(verdict)
    }

    /// Reads `ticks` on; false at its end.
    async fn read_on(&self) -> Result<bool, Halt> {
        let from = self.judge.verdicts().next_offset;
        let records = self.read(ticks_from(from)).await?;
        let decoded: Result<Vec<_>, JobError> = records
            .iter()
            .map(|record| Ok((record.offset, decode_tick_record(&self.codec, record)?)))
            .collect();
        self.judge.hear(&decoded?, self.flow.state().committed)?;
        Ok(!records.is_empty())
    }

    /// Asks the registry, appends what it says, and reads that back.
    async fn ask(&self, tick: Millis, ids: &BTreeSet<SchemaId>) -> Result<(), Halt> {
        let schemas: Vec<_> = stream::iter(ids.clone())
            .map(|id| self.schema(id))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut end = 0;
        for said in records(self.judge.attempt, tick, schemas) {
            let mut batch = AppendBatch::default();
            push_tick_record(&mut batch, &self.codec, &TickRecord::Verdicts(said));
            end = 1 + self.append(batch).await?;
        }
        let mut backoff = Backoff::new();
        while self.judge.verdicts().next_offset < end {
            if !self.read_on().await? {
                // A replica that lags behind the one which took it.
                backoff.pause(self.abort()).await?;
            }
        }
        Ok(())
    }

    /// Appends one record of `ticks`, however long that takes; its offset. Repeating it is harmless: what is
    /// said first holds.
    async fn append(&self, batch: AppendBatch) -> Result<i64, Halt> {
        let mut backoff = Backoff::new();
        loop {
            let answer = tokio::select! {
                () = self.abort().cancelled() => return Err(Halt::Aborted),
                answer = self.log.append(batch.clone()) => answer,
            };
            match answer {
                Ok(appended) => {
                    self.log_answered(&backoff);
                    return Ok(appended.offsets[0]);
                }
                Err(error) => self.wait_for_log(error, &mut backoff).await?,
            }
        }
    }

    /// The schema of an id, waiting for the registry; none where there is none, or one too long to be kept.
    async fn schema(&self, id: SchemaId) -> Result<(SchemaId, Option<String>), Halt> {
        let mut backoff = Backoff::new();
        loop {
            let answer = tokio::select! {
                () = self.abort().cancelled() => return Err(Halt::Aborted),
                answer = self.codec.schema(id) => answer,
            };
            match answer {
                Ok(schema) => {
                    if backoff.has_paused() {
                        self.answered("registry");
                    }
                    return Ok((id, schema.filter(|text| text.len() <= MAX_BYTES)));
                }
                Err(error @ RegistryError::Unavailable(_)) => {
                    if self.status.trouble("registry", &error) {
                        tracing::warn!(%error, "the views job waits for the schema registry");
                    }
                    backoff.pause(self.abort()).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What is to be said of some ids, in records that fit into any log.
fn records(
    attempt: i64,
    tick: Millis,
    schemas: Vec<(SchemaId, Option<String>)>,
) -> impl Iterator<Item = Said> {
    let mut schemas = schemas.into_iter().peekable();
    std::iter::from_fn(move || {
        schemas.peek()?;
        let mut said = Said {
            attempt,
            tick,
            known: Vec::new(),
            unknown: Vec::new(),
        };
        let mut bytes = 0;
        let size = |schema: &Option<String>| schema.as_ref().map_or(0, String::len) + ID_BYTES;
        while let Some((id, schema)) =
            schemas.next_if(|(_, schema)| bytes == 0 || bytes + size(schema) <= MAX_BYTES)
        {
            bytes += size(&schema);
            match schema {
                Some(schema) => said.known.push(KnownSchema { id, schema }),
                None => said.unknown.push(id),
            }
        }
        Some(said)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_record_is_too_large_for_a_log() {
        let schema = |id: SchemaId| match id % 100 {
            0 => Some("x".repeat(MAX_BYTES)),
            1 => Some("x".repeat(MAX_BYTES / 2)),
            _ => None,
        };
        let all: Vec<_> = (0..20_000).map(|id| (id, schema(id))).collect();
        let mut left: BTreeSet<SchemaId> = all.iter().map(|(id, _)| *id).collect();
        for said in records(3, 7, all) {
            assert_eq!((said.attempt, said.tick), (3, 7));
            let of = said.known.iter().map(|known| known.id);
            for id in of.chain(said.unknown.iter().copied()) {
                assert_eq!(schema(id).is_none(), said.unknown.contains(&id));
                assert!(left.remove(&id));
            }
            let texts: usize = said.known.iter().map(|known| known.schema.len()).sum();
            let ids = said.known.len() + said.unknown.len();
            assert!(texts + 5 * ids + 100 < 64 << 10, "{texts} and {ids} ids");
        }
        assert!(left.is_empty());
        assert_eq!(records(3, 7, Vec::new()).count(), 0);
    }
}
