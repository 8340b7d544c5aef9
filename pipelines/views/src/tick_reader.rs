//! Reads `ticks` back and acts on what counts: the only place where a tick begins to have an effect.
//!
//! A newcomer would act on a tick as soon as its append returned. By then a newer instance may have
//! begun; only the topic's order says so, and only reading it back shows that order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use openinfra_log::LogRecord;
use openinfra_schemas::{EntityChange, TickRecord, Topic, time::Millis};
use openinfra_store::tables::views::ProgressRow;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{
    JobError,
    begin::{decode_tick_record, ticks_from},
    context::Context,
    cursor::Cursor,
    ends::{Ends, Span},
    error::Halt,
    marks::{Mark, Marked},
    tick_rules::{Meaning, TickRules},
    writers::Writers,
};

/// Somebody else who writes into `ticks` is told of this often.
const FOREIGN: Duration = Duration::from_secs(30);

/// How often the topic is looked at while nobody says that there is more: another instance may begin.
const POLL: Duration = Duration::from_millis(50);

/// One tick that is acted on.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) tick: Millis,
    /// Where its record stands in `ticks`.
    pub(crate) tick_offset: i64,
    /// What it covers of `readings` and `ledger`, in the order of feeding.
    pub(crate) spans: Vec<Span>,
    /// All changes of entities that it covers.
    pub(crate) entities: Vec<EntityChange>,
    /// By which the last of those of each partition is known again.
    pub(crate) entity_marks: Vec<Marked>,
    /// What it and all before it cover.
    pub(crate) ends: Ends,
    /// False when the store has its rows already.
    pub(crate) write: bool,
    /// The same of the rows of `hourly_aggregate`, which may come later.
    pub(crate) write_hours: bool,
    /// Bounds what is in memory; given back when the tick is committed.
    _room: OwnedSemaphorePermit,
}

impl Plan {
    /// The first offset that it covers of a partition of `readings` from which it covers any.
    pub(crate) fn first_offset(&self, partition: i32) -> i64 {
        let place = (Topic::Readings, partition);
        let found = self
            .spans
            .binary_search_by_key(&place, |span| (span.topic, span.partition));
        found.map_or(0, |at| self.spans[at].from)
    }
}

/// Up to which ticks the store has rows already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) rows: Millis,
    /// Of `hourly_aggregate`.
    pub(crate) hours: Millis,
}

impl Written {
    pub(crate) fn of(progress: &ProgressRow) -> Self {
        Self {
            rows: progress.as_of,
            hours: progress.hourly_as_of.unwrap_or(progress.as_of),
        }
    }
}

/// Reads ticks and hands out plans.
pub(crate) struct TickReader {
    context: Arc<Context>,
    attempt: i64,
    rules: TickRules,
    /// None when the store is empty.
    written: Option<Written>,
    entities: Vec<Cursor>,
    writers: Writers,
    workers: Vec<mpsc::Sender<Arc<Plan>>>,
    room: Arc<Semaphore>,
    most_room: usize,
    told_foreign: Option<Instant>,
}

impl TickReader {
    /// Reads from the topic's start; `workers` get every plan.
    pub(crate) fn new(
        context: Arc<Context>,
        attempt: i64,
        written: Option<Written>,
        workers: Vec<mpsc::Sender<Arc<Plan>>>,
    ) -> Self {
        // Three full ticks: one being written, one at work, one read ahead.
        let most_room = context
            .config
            .max_records_per_tick()
            .saturating_mul(3)
            .clamp(1, u32::MAX as usize >> 1);
        let entities = (0..context.log.partitions(Topic::Entities))
            .map(|partition| Cursor::new(Topic::Entities, partition))
            .collect();
        Self {
            rules: TickRules::new(Ends::zero(&*context.log)),
            context,
            attempt,
            written,
            entities,
            writers: Writers::default(),
            workers,
            room: Arc::new(Semaphore::new(most_room)),
            most_room,
            told_foreign: None,
        }
    }

    /// Acts on ticks until the job stops. Between two ticks, never in the middle of one.
    pub(crate) async fn run(mut self) -> Result<(), Halt> {
        loop {
            let records = self
                .context
                .read(ticks_from(self.rules.next_offset))
                .await?;
            if records.is_empty() {
                tokio::select! {
                    () = self.context.stop.cancelled() => return Ok(()),
                    () = self.context.abort().cancelled() => return Err(Halt::Aborted),
                    () = self.context.appended.notified() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
                continue;
            }
            let decoded = self.decode(&records)?;
            self.tell_foreign(&decoded);
            let committed = self.context.flow.state().committed;
            self.context.judge.hear(&decoded, committed)?;
            for (offset, record) in decoded {
                if self.context.stop.is_cancelled() {
                    return Ok(());
                }
                self.take(offset, record).await?;
            }
        }
    }

    /// Decodes what was read. A newer instance's `Begin` anywhere in it ends this one at once: the ticks
    /// before it count, but they are the newer instance's to act on.
    fn decode(&self, records: &[LogRecord]) -> Result<Vec<(i64, Option<TickRecord>)>, JobError> {
        let mut decoded = Vec::with_capacity(records.len());
        for record in records {
            let body = decode_tick_record(&self.context.codec, record)?;
            if let Some(TickRecord::Begin(begin)) = &body
                && begin.attempt > self.attempt
            {
                return Err(JobError::Superseded {
                    ours: self.attempt,
                    theirs: begin.attempt,
                });
            }
            decoded.push((record.offset, body));
        }
        Ok(decoded)
    }

    /// What was read of others is void, and somebody has to know of it: one line for many.
    fn tell_foreign(&mut self, decoded: &[(i64, Option<TickRecord>)]) {
        let mut foreign = decoded.iter().filter(|(_, record)| record.is_none());
        let Some((first, _)) = foreign.next() else {
            return;
        };
        let records = 1 + foreign.count();
        self.context.metrics.ticks_foreign.inc_by(records as u64);
        if self
            .told_foreign
            .is_none_or(|last| last.elapsed() >= FOREIGN)
        {
            self.told_foreign = Some(Instant::now());
            tracing::warn!(
                offset = first,
                records,
                "ticks has records that are not the views job's, from this offset on: they are void; \
                 nobody else may write there"
            );
        }
    }

    async fn take(&mut self, offset: i64, record: Option<TickRecord>) -> Result<(), Halt> {
        let meaning = self
            .rules
            .take(record)
            .map_err(|reason| JobError::Ticks { offset, reason })?;
        match meaning {
            Meaning::Tick { tick, spans } => self.dispatch(offset, tick, spans).await,
            Meaning::Begin(_) | Meaning::Nothing => Ok(()),
        }
    }

    /// Hands a tick to all workers, once there is room and nobody holds.
    async fn dispatch(&mut self, offset: i64, tick: Millis, spans: Vec<Span>) -> Result<(), Halt> {
        let records: usize = spans.iter().map(Span::len).sum();
        let weight = records.clamp(1, self.most_room) as u32;
        let context = Arc::clone(&self.context);
        let permitted = async {
            let room = Arc::clone(&self.room).acquire_many_owned(weight).await;
            context.flow.dispatch(tick).await;
            room.expect("the semaphore is never closed")
        };
        let room = tokio::select! {
            // Stopping here loses nothing: the tick stands in the log, and nobody has begun it.
            () = context.stop.cancelled() => return Ok(()),
            () = context.abort().cancelled() => return Err(Halt::Aborted),
            room = permitted => room,
        };
        context.metrics.epoch_current.set(tick);
        let (changes, spans) = spans
            .into_iter()
            .partition::<Vec<_>, _>(|span| span.topic == Topic::Entities);
        let (entities, entity_marks) = self.read_entities(tick, &changes).await?;
        let plan = Arc::new(Plan {
            tick,
            tick_offset: offset,
            spans,
            entities,
            entity_marks,
            ends: self.rules.ends.clone(),
            write: self.written.is_none_or(|written| tick > written.rows),
            write_hours: self.written.is_none_or(|written| tick > written.hours),
            _room: room,
        });
        for worker in &self.workers {
            // A worker that is gone has said why.
            let sent = worker.send(Arc::clone(&plan)).await;
            sent.map_err(|_| Halt::Aborted)?;
        }
        Ok(())
    }

    /// Changes of entities in (partition, offset) order. One that cannot be read is passed over: readings
    /// go on with the version before it.
    async fn read_entities(
        &mut self,
        tick: Millis,
        spans: &[Span],
    ) -> Result<(Vec<EntityChange>, Vec<Marked>), Halt> {
        let mut changes = Vec::new();
        let mut marks = Vec::new();
        for span in spans {
            let cursor = &mut self.entities[span.partition as usize];
            let mut from = span.from;
            let mut last = None;
            while from < span.to {
                if !cursor.has(from) {
                    cursor.fetch(&self.context, Span { from, ..*span }).await?;
                }
                let records = cursor.take(span.to, usize::MAX);
                let context = &*self.context;
                self.writers.prepare(context, tick, &records).await?;
                for record in records {
                    from = record.offset + 1;
                    changes.extend(entity(context, &self.writers, span.partition, &record));
                    last = Some(record);
                }
            }
            let mark = last.as_ref().map(Mark::of);
            marks.extend(mark.map(|mark| (Topic::Entities, span.partition, mark)));
        }
        Ok((changes, marks))
    }
}

/// The change of an entity that a record is, if it can be read.
fn entity(
    context: &Context,
    writers: &Writers,
    partition: i32,
    record: &LogRecord,
) -> Option<EntityChange> {
    match writers.decode(&context.codec, &record.value) {
        Ok(change) => Some(change),
        Err(error) => {
            context.metrics.entity_undecodable.inc();
            tracing::error!(
                partition,
                offset = record.offset,
                %error,
                "a change of an entity cannot be read"
            );
            None
        }
    }
}
