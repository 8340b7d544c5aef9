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
    Change, Engine, EngineConfig, JobDataflow, OutcomeCounts, TickInput, dataflow::TickOutput,
};
use openinfra_schemas::{LedgerEntry, TenantId, Topic, time::Millis};
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
    render::{LedgerSource, render},
    tick_reader::Plan,
};

/// How long a worker sleeps at most while it waits for the others.
const PARK: Duration = Duration::from_millis(5);

/// What one worker has to say about one tick.
#[derive(Debug)]
pub(crate) struct WorkerOutput {
    pub(crate) plan: Arc<Plan>,
    /// Empty when the store has the tick's rows already.
    pub(crate) batch: Batch,
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
}

/// The ends of the channels of one worker.
pub(crate) struct Channels {
    pub(crate) items: mpsc::Receiver<WorkItem>,
    pub(crate) outputs: mpsc::Sender<WorkerOutput>,
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
    outputs: mpsc::Sender<WorkerOutput>,
    engine: Rc<RefCell<Engine>>,
    dataflow: JobDataflow,
    partitions: i32,
    /// The newest tick that the engine was told is durable.
    acknowledged: Millis,
}

impl<'a> WorkerLoop<'a> {
    fn new(
        context: &'a Arc<Context>,
        runtime: &'a Handle,
        worker: &'a mut Worker,
        outputs: mpsc::Sender<WorkerOutput>,
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
            acknowledged: Millis::MIN,
        }
    }

    /// Takes ticks until there are no more.
    fn run(mut self, mut items: mpsc::Receiver<WorkItem>) -> Result<(), Halt> {
        while let Some(item) = items.blocking_recv() {
            self.acknowledge(&item.plan);
            let output = self.tick(item)?;
            // The commit stage is gone only after an abort.
            let sent = self.outputs.blocking_send(output);
            sent.map_err(|_| Halt::Aborted)?;
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

    fn tick(&mut self, item: WorkItem) -> Result<WorkerOutput, Halt> {
        let WorkItem { plan, chunks } = item;
        let input = TickInput {
            tick: plan.tick,
            entities: plan.entities.clone(),
            records: self.decode(&chunks)?,
        };
        self.supply_history(&input)?;
        self.dataflow.feed(input);
        while !self.dataflow.is_done(plan.tick) {
            if self.context.abort().is_cancelled() {
                return Err(Halt::Aborted);
            }
            self.worker.step_or_park(Some(PARK));
        }
        let output = self.dataflow.take_output(plan.tick);
        Ok(self.render(plan, &chunks, output))
    }

    fn decode(&self, chunks: &[Chunk]) -> Result<Vec<openinfra_operators::InputRecord>, Halt> {
        let mut learn = |id| self.runtime.block_on(self.context.learn(id));
        Decoder::new(&self.context.codec, self.partitions, &mut learn).decode(chunks)
    }

    fn supply_history(&self, input: &TickInput) -> Result<(), Halt> {
        let mut engine = self.engine.borrow_mut();
        let blocks = engine.blocks_needed(input);
        if blocks.is_empty() {
            return Ok(());
        }
        let rows = self
            .runtime
            .block_on(history::fetch(self.context, &blocks))?;
        for (block, rows) in blocks.iter().zip(rows) {
            engine.supply(block, rows);
        }
        Ok(())
    }

    fn render(&self, plan: Arc<Plan>, chunks: &[Chunk], output: TickOutput) -> WorkerOutput {
        let mut counts = ViewCounts::default();
        let mut tenants = Vec::new();
        let mut batch = Batch::new(WriteClass::Tick(plan.tick));
        for change in output.changes {
            counts.count(&change);
            if let Change::Tenant(tenant) = change {
                tenants.push(tenant);
            } else if plan.write {
                let source = |record| ledger_source(&self.context.codec, chunks, record);
                render(change, plan.tick, source, &mut batch);
            }
        }
        WorkerOutput {
            marks: chunks.iter().filter_map(Chunk::marked).collect(),
            oldest: oldest(chunks),
            next_due: self.engine.borrow_mut().next_due(),
            plan,
            batch,
            counts,
            outcomes: output.outcomes,
            tenants,
        }
    }
}

/// When the log took the oldest of some records.
fn oldest(chunks: &[Chunk]) -> Option<Millis> {
    let firsts = chunks.iter().filter_map(|chunk| chunk.records.first());
    firsts.map(|record| record.append_ts).min()
}

/// The record behind a change of the ledger: the worker's `index`-th of the tick. Of what a connector
/// refused the payload is kept, of anything else the record's own bytes.
fn ledger_source(
    codec: &openinfra_schemas::Codec,
    chunks: &[Chunk],
    mut index: usize,
) -> LedgerSource {
    for chunk in chunks {
        let Some(record) = chunk.records.get(index) else {
            index -= chunk.records.len();
            continue;
        };
        let refused = (chunk.topic == Topic::Ledger)
            .then(|| codec.decode::<LedgerEntry>(&record.value).ok())
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
