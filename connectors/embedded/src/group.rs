//! Requests that are committed together.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use fjall::{Keyspace, OwnedWriteBatch, PersistMode};
use openinfra_log::{AppendBatch, Appended};
use openinfra_schemas::{
    Topic,
    registry::{RegistryError, SchemaId},
    time::Millis,
};
use openinfra_store::{Batch, ConditionalBatch, Mutation, Outcome, Table, WriteClass};

use crate::{
    chunk::{self, ChunkBuilder},
    committer::Reply,
    database::Database,
    ends::Ends,
    error::Failure,
    meta,
    schemas::{self, Registration},
};

/// A batch under construction, and who waits for it.
pub(crate) struct Group {
    database: Arc<Database>,
    batch: Option<OwnedWriteBatch>,
    chunks: Vec<OpenChunk>,
    append_ts: Millis,
    chunk_bytes: usize,
    size_bytes: usize,
    sync: bool,
    /// Whether a tick's rows are in it.
    tick: bool,
    /// Partitions of the store that it changes, but for those of tick batches: tables that are written
    /// conditionally are written by no other means.
    touched: HashSet<(&'static str, Vec<u8>)>,
    waiting: Vec<Waiting>,
}

/// The records of one partition that are gathered now.
struct OpenChunk {
    topic: Topic,
    partition: i32,
    builder: ChunkBuilder,
}

/// Who is answered when the group is committed.
enum Waiting {
    Append(Reply<Appended>, Vec<i64>),
    Write(Reply<()>),
    WriteIf(Reply<Outcome>),
    Register(Reply<SchemaId, RegistryError>, SchemaId),
}

impl Group {
    /// An empty group whose records are appended now, but not before `least_append_ts`.
    pub(crate) fn new(
        database: Arc<Database>,
        least_append_ts: Millis,
        chunk_bytes: usize,
    ) -> Self {
        Self {
            batch: Some(database.batch()),
            database,
            chunks: Vec::new(),
            append_ts: now().max(least_append_ts),
            chunk_bytes,
            size_bytes: 0,
            sync: false,
            tick: false,
            touched: HashSet::new(),
            waiting: Vec::new(),
        }
    }

    pub(crate) fn append(&mut self, ends: &mut Ends, batch: &AppendBatch, reply: Reply<Appended>) {
        let mut offsets = Vec::with_capacity(batch.len());
        for record in batch.iter() {
            let at = self.open_chunk(ends, record.topic, record.partition);
            let builder = &mut self.chunks[at].builder;
            offsets.push(builder.end_offset());
            builder.push(record.key, record.value);
            ends.set(record.topic, record.partition, builder.end_offset());
            if builder.size_bytes() >= self.chunk_bytes {
                let full = self.chunks.swap_remove(at);
                self.store_chunk(full);
            }
        }
        self.size_bytes += batch.size_bytes();
        self.sync |= !batch.is_empty();
        self.waiting.push(Waiting::Append(reply, offsets));
    }

    /// Where the open chunk of a partition stands. A handful of partitions is usual, and all of them are
    /// few enough to look through.
    fn open_chunk(&mut self, ends: &Ends, topic: Topic, partition: i32) -> usize {
        let found = self
            .chunks
            .iter()
            .position(|chunk| chunk.partition == partition && chunk.topic == topic);
        found.unwrap_or_else(|| {
            let base = ends.get(topic, partition).unwrap_or(0);
            self.chunks.push(OpenChunk {
                topic,
                partition,
                builder: ChunkBuilder::new(base),
            });
            self.chunks.len() - 1
        })
    }

    fn store_chunk(&mut self, chunk: OpenChunk) {
        let key = chunk::key(chunk.partition, chunk.builder.end_offset() - 1);
        let value = chunk.builder.finish(self.append_ts);
        let topic = self.database.topic(chunk.topic);
        if let Some(batch) = &mut self.batch {
            batch.insert(topic, key.as_slice(), value);
        }
    }

    /// Adds a batch of the store; its tick is the caller's to check.
    /// False, and answered, when it could not be added.
    pub(crate) fn write(&mut self, batch: &Batch, reply: Reply<()>) -> bool {
        let track = match batch.class {
            WriteClass::Durable | WriteClass::Numbered(_) => true,
            WriteClass::Tick(_) | WriteClass::Ahead(_) | WriteClass::Rest(_) => false,
        };
        // Rows of one fjall batch appear together, so that `then` rows need no order of their own.
        if let Err(failure) = self.put(|| batch.mutations().chain(batch.then()), track) {
            let _ = reply.send(Err(failure));
            return false;
        }
        self.sync |= track;
        self.tick |= matches!(batch.class, WriteClass::Tick(_) | WriteClass::Rest(_));
        self.size_bytes += batch.size_bytes();
        self.waiting.push(Waiting::Write(reply));
        true
    }

    /// Adds a batch whose conditions hold.
    pub(crate) fn write_conditional(&mut self, batch: &ConditionalBatch, reply: Reply<Outcome>) {
        if let Err(failure) = self.put(|| batch.mutations(), true) {
            let _ = reply.send(Err(failure));
            return;
        }
        self.sync = true;
        self.size_bytes += batch.size_bytes();
        self.waiting.push(Waiting::WriteIf(reply));
    }

    /// Answers when the group is committed, without adding anything to it.
    pub(crate) fn answer_with_group(&mut self, reply: Reply<()>) {
        self.waiting.push(Waiting::Write(reply));
    }

    pub(crate) fn register(
        &mut self,
        registration: Registration,
        reply: Reply<SchemaId, RegistryError>,
    ) {
        if let Some(batch) = &mut self.batch {
            for (key, value) in registration.rows {
                batch.insert(self.database.meta(), key, value);
                self.sync = true;
            }
        }
        self.waiting.push(Waiting::Register(reply, registration.id));
    }

    /// Adds all mutations, or none when a table cannot be made.
    fn put<'a, I: Iterator<Item = Mutation<'a>>>(
        &mut self,
        mutations: impl Fn() -> I,
        track: bool,
    ) -> Result<(), Failure> {
        let mut tables = Tables::default();
        for mutation in mutations() {
            tables.get(&self.database, mutation.table)?;
        }
        let Some(batch) = &mut self.batch else {
            return Ok(());
        };
        for mutation in mutations() {
            let keyspace = tables.get(&self.database, mutation.table)?;
            match mutation.value {
                Some(value) => batch.insert(keyspace, mutation.key, value),
                None => batch.remove(keyspace, mutation.key),
            }
            if track {
                let partition = &mutation.key[..mutation.partition_len];
                self.touched
                    .insert((mutation.table.name, partition.to_vec()));
            }
        }
        Ok(())
    }

    /// Whether it changes the partition of a conditional batch.
    pub(crate) fn touches(&self, batch: &ConditionalBatch) -> bool {
        batch
            .conditions
            .iter()
            .map(|condition| condition.key())
            .any(|key| {
                self.touched
                    .contains(&(key.table.name, key.partition().to_vec()))
            })
    }

    /// Bytes of what it holds so far.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    pub(crate) fn append_ts(&self) -> Millis {
        self.append_ts
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.batch.as_ref().is_none_or(OwnedWriteBatch::is_empty)
    }

    /// Whether something in it must be on disk before it is answered.
    pub(crate) fn must_sync(&self) -> bool {
        self.sync
    }

    /// Writes it, and syncs the journal if it must.
    pub(crate) fn commit(&mut self, sequence: u64, tick: Option<Millis>) -> Result<(), Failure> {
        for chunk in std::mem::take(&mut self.chunks) {
            self.store_chunk(chunk);
        }
        let Some(mut batch) = self.batch.take() else {
            return Ok(());
        };
        let meta = self.database.meta();
        batch.insert(meta, meta::SEQUENCE, sequence.to_be_bytes());
        if let (true, Some(tick)) = (self.tick, tick) {
            batch.insert(meta, meta::TICK, tick.to_be_bytes());
        }
        let mode = if self.sync {
            PersistMode::SyncData
        } else {
            PersistMode::Buffer
        };
        self.database.make_room()?;
        batch.durability(Some(mode)).commit()?;
        Ok(())
    }

    /// Answers everyone.
    pub(crate) fn answer(self, outcome: &Result<(), Failure>) {
        for waiting in self.waiting {
            // Who no longer waits for an answer has dropped the other side: nothing is owed.
            match waiting {
                Waiting::Append(reply, offsets) => {
                    drop(reply.send(outcome.clone().map(|()| Appended { offsets })));
                }
                Waiting::Write(reply) => drop(reply.send(outcome.clone())),
                Waiting::WriteIf(reply) => {
                    drop(reply.send(outcome.clone().map(|()| Outcome::Applied)));
                }
                Waiting::Register(reply, id) => {
                    let answer = outcome.clone().map(|()| id);
                    drop(reply.send(answer.map_err(schemas::unavailable)));
                }
            }
        }
    }
}

/// The keyspaces of the tables in a batch, found once each. Successive mutations mostly have one table.
#[derive(Default)]
struct Tables {
    found: Vec<(&'static str, Keyspace)>,
    last: usize,
}

impl Tables {
    fn get(&mut self, database: &Database, table: &'static Table) -> Result<&Keyspace, Failure> {
        let is = |entry: &(&'static str, Keyspace)| std::ptr::eq(entry.0, table.name);
        if !self.found.get(self.last).is_some_and(is) {
            self.last = match self.found.iter().position(is) {
                Some(at) => at,
                None => {
                    let keyspace = database.make_table(table.name)?;
                    self.found.push((table.name, keyspace));
                    self.found.len() - 1
                }
            };
        }
        Ok(&self.found[self.last].1)
    }
}

/// The wall clock, in milliseconds since the epoch.
fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
