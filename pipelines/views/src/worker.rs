//! One timely worker: decodes, supplies history, runs a tick, renders what it says.
//!
//! A newcomer would let a worker wait for its next tick inside the dataflow. It waits outside, between
//! two ticks: every worker is fed every tick, so that none waits for another for ever.

use std::{
    any::Any,
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use openinfra_operators::{
    Change, Engine, EngineConfig, InputRecord, JobDataflow, OutcomeCounts, TickInput,
};
use openinfra_schemas::{LedgerEntry, TenantId, Topic, key::partition_of_bucket, time::Millis};
use openinfra_store::{Batch, WriteClass};
use timely::worker::Worker;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use crate::{
    JobError,
    context::Context,
    counts::ViewCounts,
    decode::Decoder,
    error::Halt,
    feed::{Chunk, WorkItem},
    history,
    marks::Marked,
    purse::AtWork,
    render::{LedgerSource, render},
    tick_reader::Plan,
    writers::Writers,
};

/// How long a worker sleeps at most while it waits for the others.
const PARK: Duration = Duration::from_millis(5);

/// What a worker hands to the commit stage.
#[derive(Debug)]
pub(crate) enum Said {
    /// Rows of a tick that no other tick writes, ahead of the rest: all of them together may be more than
    /// there is memory for.
    Ahead(Batch, AtWork),
    /// All else of a tick.
    Tick(Box<WorkerOutput>),
}

/// What one worker has to say about one tick.
#[derive(Debug)]
pub(crate) struct WorkerOutput {
    pub(crate) plan: Arc<Plan>,
    /// Empty when the store has the tick's rows already.
    pub(crate) batch: Batch,
    /// Rows of `hourly_aggregate`, where they may wait; empty when the store has them already.
    pub(crate) hours: Batch,
    pub(crate) counts: ViewCounts,
    pub(crate) outcomes: Vec<OutcomeCounts>,
    /// Tenants that this worker saw first at this tick.
    pub(crate) tenants: Vec<TenantId>,
    /// By which the last record of each partition is known again.
    pub(crate) marks: Vec<Marked>,
    /// When the log took the oldest of the records.
    pub(crate) oldest: Option<Millis>,
    /// When a view of this worker's sensors changes next though nothing is heard of them.
    pub(crate) next_due: Option<Millis>,
    /// The records of the last piece, until their rows are written.
    pub(crate) at_work: AtWork,
}

/// A tick of which some pieces are done.
struct Open {
    batch: Batch,
    hours: Batch,
    counts: ViewCounts,
    tenants: Vec<TenantId>,
    marks: Vec<Marked>,
    oldest: Option<Millis>,
}

/// The ends of the channels of one worker.
pub(crate) struct Channels {
    pub(crate) items: mpsc::Receiver<WorkItem>,
    pub(crate) outputs: mpsc::Sender<Said>,
}

/// Starts all workers on threads of their own; the receiver hears when all are gone.
pub(crate) fn start(
    context: &Arc<Context>,
    channels: Vec<Channels>,
) -> Result<oneshot::Receiver<()>, JobError> {
    let workers = channels.len();
    let channels: Mutex<Vec<Option<Channels>>> =
        Mutex::new(channels.into_iter().map(Some).collect());
    let context = Arc::clone(context);
    let runtime = Handle::current();
    let (gone, all_gone) = oneshot::channel();
    let supervise = move || {
        let failure = Arc::clone(&context);
        let body = move |worker: &mut Worker| {
            let own = channels
                .lock()
                .expect("no holder of the lock panics")
                .get_mut(worker.index())
                .and_then(Option::take);
            if let Some(channels) = own {
                guarded(&context, &runtime, worker, channels, workers);
            }
        };
        match timely::execute(timely::Config::process(workers), body) {
            Ok(guards) => {
                for result in guards.join() {
                    if let Err(message) = result {
                        failure.failure.report(JobError::Panicked(message));
                    }
                }
            }
            Err(message) => failure.failure.report(JobError::Panicked(message)),
        }
        // Whoever started the job may have stopped waiting.
        let _ = gone.send(());
    };
    std::thread::Builder::new()
        .name("views-workers".to_owned())
        .spawn(supervise)
        .map_err(|e| JobError::Panicked(format!("no thread for the workers: {e}")))?;
    Ok(all_gone)
}

/// Runs one worker; whatever ends it, the others do not wait for it.
fn guarded(
    context: &Arc<Context>,
    runtime: &Handle,
    worker: &mut Worker,
    channels: Channels,
    workers: usize,
) {
    let index = worker.index();
    let run = AssertUnwindSafe(|| {
        WorkerLoop::new(context, runtime, worker, channels.outputs, workers).run(channels.items)
    });
    match catch_unwind(run) {
        Ok(result) => context.failure.note(result),
        Err(panic) => context.failure.report(JobError::WorkerPanicked {
            worker: index,
            message: panic_text(&*panic),
        }),
    }
    // Timely would go on until every worker's input is closed and drained; here all is said.
    for dataflow in worker.installed_dataflows() {
        worker.drop_dataflow(dataflow);
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

struct WorkerLoop<'a> {
    context: &'a Arc<Context>,
    runtime: &'a Handle,
    worker: &'a mut Worker,
    outputs: mpsc::Sender<Said>,
    engine: Rc<RefCell<Engine>>,
    dataflow: JobDataflow,
    partitions: i32,
    writers: Writers,
    /// The newest tick that the engine was told is durable.
    acknowledged: Millis,
}

impl<'a> WorkerLoop<'a> {
    fn new(
        context: &'a Arc<Context>,
        runtime: &'a Handle,
        worker: &'a mut Worker,
        outputs: mpsc::Sender<Said>,
        workers: usize,
    ) -> Self {
        let partitions = context.log.partitions(Topic::Readings);
        let engine = Rc::new(RefCell::new(Engine::new(EngineConfig {
            block_cache_bytes: context.config.block_cache_bytes / workers,
            partitions,
            worker: worker.index(),
            workers,
        })));
        Self {
            dataflow: JobDataflow::build(worker, Rc::clone(&engine)),
            context,
            runtime,
            worker,
            outputs,
            engine,
            partitions,
            writers: Writers::default(),
            acknowledged: Millis::MIN,
        }
    }

    /// Takes ticks until there are no more.
    fn run(mut self, mut items: mpsc::Receiver<WorkItem>) -> Result<(), Halt> {
        let mut open: Option<Open> = None;
        while let Some(item) = items.blocking_recv() {
            let begun = match open.take() {
                Some(begun) => begun,
                None => {
                    self.acknowledge(&item.plan);
                    Open::new(item.plan.tick)
                }
            };
            let (left, said) = self.piece(item, begun)?;
            open = left;
            if let Some(said) = said {
                // The commit stage is gone only after an abort.
                let sent = self.outputs.blocking_send(said);
                sent.map_err(|_| Halt::Aborted)?;
            }
        }
        Ok(())
    }

    /// Tells the engine what is durable, but never more than it has been fed.
    fn acknowledge(&mut self, next: &Plan) {
        let durable = self.context.acknowledged.load(Ordering::Acquire);
        let durable = durable.min(next.tick - 1);
        if durable > self.acknowledged {
            self.acknowledged = durable;
            self.engine.borrow_mut().acknowledged(durable);
        }
    }

    /// Takes one piece of a tick. The engine takes records one after the other, so that it does not matter
    /// where pieces end; only what it says at the end of a tick goes through the dataflow.
    fn piece(
        &mut self,
        item: WorkItem,
        mut open: Open,
    ) -> Result<(Option<Open>, Option<Said>), Halt> {
        let WorkItem {
            plan,
            chunks,
            is_first,
            is_last,
            at_work,
        } = item;
        let input = TickInput {
            tick: plan.tick,
            entities: if is_first {
                plan.entities.clone()
            } else {
                Vec::new()
            },
            records: self.decode(plan.tick, &chunks)?,
        };
        self.supply_history(&plan, &input)?;
        open.saw(&chunks);
        if !is_last {
            let changes = self.engine.borrow_mut().begin(input);
            let mut ahead = Batch::new(WriteClass::Ahead(plan.tick));
            self.render(&plan, &chunks, changes, &mut open, Some(&mut ahead));
            let said = (!ahead.is_empty()).then(|| Said::Ahead(ahead, at_work));
            return Ok((Some(open), said));
        }
        self.dataflow.feed(input);
        while !self.dataflow.is_done(plan.tick) {
            if self.context.abort().is_cancelled() {
                return Err(Halt::Aborted);
            }
            self.worker.step_or_park(Some(PARK));
        }
        let output = self.dataflow.take_output(plan.tick);
        self.render(&plan, &chunks, output.changes, &mut open, None);
        let said = Said::Tick(Box::new(WorkerOutput {
            batch: open.batch,
            hours: open.hours,
            counts: open.counts,
            outcomes: output.outcomes,
            tenants: open.tenants,
            marks: open.marks,
            oldest: open.oldest,
            next_due: self.engine.borrow_mut().next_due(),
            plan,
            at_work,
        }));
        Ok((None, Some(said)))
    }

    /// Decodes a piece, by schemas that the log vouches for.
    fn decode(&mut self, tick: Millis, chunks: &[Chunk]) -> Result<Vec<InputRecord>, Halt> {
        let records = chunks.iter().flat_map(|chunk| &chunk.records);
        self.runtime
            .block_on(self.writers.prepare(self.context, tick, records))?;
        Ok(Decoder::new(&self.context.codec, self.partitions, &self.writers).decode(chunks))
    }

    fn supply_history(&self, plan: &Plan, input: &TickInput) -> Result<(), Halt> {
        let mut engine = self.engine.borrow_mut();
        let mut blocks = engine.blocks_needed(input);
        if blocks.is_empty() {
            return Ok(());
        }
        for block in &mut blocks {
            // What the tick's earlier pieces brought is in the engine, and may be in the store or not.
            block.below_offset = plan.first_offset(partition_of_bucket(block.bucket));
        }
        let rows = self
            .runtime
            .block_on(history::fetch(self.context, &blocks))?;
        for (block, rows) in blocks.iter().zip(rows) {
            engine.supply(block, rows);
        }
        Ok(())
    }

    /// Renders changes as rows: those that no other tick writes into `ahead`, where there is one, and those
    /// that may wait by themselves.
    fn render(
        &self,
        plan: &Plan,
        chunks: &[Chunk],
        changes: Vec<Change>,
        open: &mut Open,
        mut ahead: Option<&mut Batch>,
    ) {
        let hours_wait = self.context.config.hourly_interval_ms() > 0;
        for change in changes {
            open.counts.count(&change);
            // A record that is no entry of a connector has no receive time, and keeps its own bytes.
            let is_entry = matches!(&change, Change::Ledger(row) if row.recv_ts.is_some());
            let (write, out) = match &change {
                Change::Tenant(tenant) => {
                    open.tenants.push(tenant.clone());
                    continue;
                }
                Change::Hourly(_) if hours_wait || !plan.write => {
                    (plan.write_hours, &mut open.hours)
                }
                Change::Reading(_) | Change::Ledger(_) => {
                    let ahead = ahead.as_deref_mut();
                    (plan.write, ahead.unwrap_or(&mut open.batch))
                }
                _ => (plan.write, &mut open.batch),
            };
            if write {
                let source = |at| self.ledger_source(chunks, at, is_entry);
                render(change, plan.tick, source, out);
            }
        }
    }

    /// The record behind a change of the ledger: the worker's `index`-th of the piece. Of what a connector
    /// refused the payload is kept, of anything else the record's own bytes.
    fn ledger_source(&self, chunks: &[Chunk], mut index: usize, is_entry: bool) -> LedgerSource {
        for chunk in chunks {
            let Some(record) = chunk.records.get(index) else {
                index -= chunk.records.len();
                continue;
            };
            let codec = &self.context.codec;
            let refused = (is_entry && chunk.topic == Topic::Ledger)
                .then(|| {
                    self.writers
                        .decode::<LedgerEntry>(codec, &record.value)
                        .ok()
                })
                .flatten();
            return LedgerSource {
                topic: chunk.topic.name(),
                partition: chunk.partition,
                offset: record.offset,
                payload: refused.map_or_else(|| record.value.to_vec(), |entry| entry.payload),
            };
        }
        unreachable!("a change of the ledger names a record of its own tick")
    }
}

impl Open {
    fn new(tick: Millis) -> Self {
        Self {
            batch: Batch::new(WriteClass::Tick(tick)),
            hours: Batch::new(WriteClass::Tick(tick)),
            counts: ViewCounts::default(),
            tenants: Vec::new(),
            marks: Vec::new(),
            oldest: None,
        }
    }

    /// Notes what is to be told of a piece's records.
    fn saw(&mut self, chunks: &[Chunk]) {
        // Of a partition that goes on in the next piece, the later mark is the one that stays.
        self.marks.extend(chunks.iter().filter_map(Chunk::marked));
        self.oldest = self.oldest.into_iter().chain(oldest(chunks)).min();
    }
}

/// When the log took the oldest of some records.
fn oldest(chunks: &[Chunk]) -> Option<Millis> {
    let firsts = chunks.iter().filter_map(|chunk| chunk.records.first());
    firsts.map(|record| record.append_ts).min()
}
