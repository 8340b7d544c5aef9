//! One instance of the job: its start, its parts, its end.
//!
//! ```text
//! ticker ──append──▶ ticks ──read back──▶ tick reader ──plans──▶ feeder ──bytes──▶ worker ──rows──▶ commit
//!                                                        (one feeder and one worker for each thread)
//! ```
//!
//! A newcomer would stop the parts. Stopping is closing the first channel: each part ends when its input
//! does, so that everything in flight is committed.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use futures::FutureExt;
use openinfra_log::Log;
use openinfra_schemas::{Codec, time::Millis};
use openinfra_store::Store;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, JobError, JobStatus,
    begin::{Begun, begin},
    clock::{Clock, SystemClock},
    commit::{Committer, Identity},
    context::{Context, Failure, Shown},
    ends::Ends,
    error::Halt,
    feed::Feeder,
    hold::{Flow, Held},
    judge::Judge,
    marks::Marks,
    metrics::Metrics,
    same_log,
    status::StatusCell,
    tick_reader::{TickReader, Written},
    ticks::Ticker,
    worker::{self, Channels, panic_text},
};

/// Ticks that are read ahead of a worker. What is in memory is bounded by records, in the tick reader.
const PLANS_AHEAD: usize = 64;

/// Ticks of each worker that wait for the store.
const OUTPUTS_AHEAD: usize = 16;

/// Starts instances of the job.
pub struct Job;

impl Job {
    /// Takes the next attempt and begins. Must be called within a tokio runtime of several threads.
    ///
    /// Errs when log, store or registry do not answer, or do not belong together.
    pub async fn start(
        config: Config,
        log: Arc<dyn Log>,
        store: Arc<dyn Store>,
        codec: Arc<Codec>,
        registry: &prometheus::Registry,
    ) -> Result<JobHandle, JobError> {
        let clock = Arc::new(SystemClock::new());
        Self::start_with_clock(config, log, store, codec, registry, clock).await
    }

    /// As [`start`](Job::start), with a clock for the ticks.
    pub async fn start_with_clock(
        config: Config,
        log: Arc<dyn Log>,
        store: Arc<dyn Store>,
        codec: Arc<Codec>,
        registry: &prometheus::Registry,
        clock: Arc<dyn Clock>,
    ) -> Result<JobHandle, JobError> {
        config.check().map_err(JobError::Config)?;
        let metrics = Metrics::new(registry)?;
        let begun = begin(&*log, &*store, &codec, &*clock).await?;
        let written = begun.progress.as_ref().map(Written::of);
        let written_to = written.map(|written| written.rows);
        let context = Arc::new(Context {
            shown: Mutex::new(Shown {
                ends: Ends::zero(&*log),
                marks: Marks::default(),
            }),
            config,
            log,
            store,
            codec,
            judge: Judge::new(begun.attempt),
            clock,
            metrics,
            flow: Flow::new(),
            status: StatusCell::default(),
            failure: Failure::new(),
            stop: CancellationToken::new(),
            appended: Notify::new(),
            acknowledged: AtomicI64::new(written_to.unwrap_or(Millis::MIN)),
            next_due: AtomicI64::new(Millis::MAX),
        });
        tracing::info!(
            attempt = begun.attempt,
            log_id = begun.log_id,
            as_of = written_to,
            "the views job begins"
        );
        JobHandle::assemble(context, begun, written)
    }
}

/// A running instance. Dropping it ends the instance without waiting for what is in flight.
pub struct JobHandle {
    context: Arc<Context>,
    attempt: i64,
    tasks: JoinSet<()>,
    workers_gone: oneshot::Receiver<()>,
}

impl JobHandle {
    fn assemble(
        context: Arc<Context>,
        begun: Begun,
        written: Option<Written>,
    ) -> Result<Self, JobError> {
        let workers = context.config.workers;
        let (outputs, gathered) = mpsc::channel(OUTPUTS_AHEAD * workers);
        let mut tasks = JoinSet::new();
        let mut plans = Vec::with_capacity(workers);
        let mut channels = Vec::with_capacity(workers);
        for index in 0..workers {
            let (plan, planned) = mpsc::channel(PLANS_AHEAD);
            // One tick as bytes besides the one at work.
            let (item, items) = mpsc::channel(1);
            let feeder = Feeder::new(Arc::clone(&context), index, workers, planned, item);
            spawn(&mut tasks, &context, "feeder", feeder.run());
            plans.push(plan);
            channels.push(Channels {
                items,
                outputs: outputs.clone(),
            });
        }
        // The workers' clones alone keep the commit stage going.
        drop(outputs);
        let marks = same_log::marks_of(begun.progress.as_ref())?;
        let identity = Identity {
            attempt: begun.attempt,
            log_id: begun.log_id,
            hydrated_at: begun.rules.last_tick,
        };
        let committer = Committer::new(Arc::clone(&context), identity, workers, gathered);
        spawn(&mut tasks, &context, "commit", committer.run());
        let workers_gone = worker::start(&context, channels)?;
        let reader = TickReader::new(Arc::clone(&context), begun.attempt, written, plans);
        spawn(&mut tasks, &context, "tick reader", reader.run());
        let ticker = Ticker::new(
            Arc::clone(&context),
            begun.attempt,
            begun.rules.ends,
            begun.rules.last_tick,
        );
        spawn(&mut tasks, &context, "ticker", ticker.run());
        let watch = same_log::watch(Arc::clone(&context), marks);
        spawn(&mut tasks, &context, "log watch", watch);
        Ok(Self {
            context,
            attempt: begun.attempt,
            tasks,
            workers_gone,
        })
    }

    /// Decides no more ticks, commits those in flight and ends. When the log or the store keep that from
    /// happening in time, what is in flight is left: the next start replays it.
    ///
    /// Errs with the failure that ended the instance before, if one did.
    pub async fn stop(mut self) -> Result<(), JobError> {
        self.context.stop.cancel();
        let timeout = self.context.config.stop_timeout();
        let context = Arc::clone(&self.context);
        let all_gone = async {
            while self.tasks.join_next().await.is_some() {}
            // An error says that the supervisor is gone too.
            let _ = (&mut self.workers_gone).await;
        };
        tokio::pin!(all_gone);
        if tokio::time::timeout(timeout, &mut all_gone).await.is_err() {
            tracing::warn!("ticks in flight are left to the next start");
            context.abort().cancel();
            all_gone.await;
        }
        context.failure.get().map_or(Ok(()), Err)
    }

    /// Waits until the instance ends by itself, and says why. For ever when it does not.
    pub async fn failed(&self) -> JobError {
        self.context.failure.wait().await
    }

    /// Lets no further tick change the views until the answer is dropped. Waits for ticks in flight, up to
    /// the configured time.
    pub async fn hold(&self) -> Result<Held, JobError> {
        let timeout = self.context.config.hold_timeout();
        tokio::select! {
            // An instance that ended is quiet too, but nobody should take that for a hold.
            biased;
            error = self.failed() => Err(error),
            held = self.context.flow.hold(timeout) => held,
        }
    }

    /// How the job stands.
    pub fn status(&self) -> JobStatus {
        let Context { flow, status, .. } = &*self.context;
        let committed = flow.state().committed;
        JobStatus {
            as_of: (committed != Millis::MIN).then_some(committed),
            attempt: self.attempt,
            hydrated: status.hydrated.load(Ordering::Relaxed),
            last_commit_at: status.last_commit(),
            behind_records: status.behind_records.load(Ordering::Relaxed),
            held: flow.is_held(),
            trouble: status.trouble_text(),
        }
    }
}

impl Drop for JobHandle {
    fn drop(&mut self) {
        self.context.stop.cancel();
        self.context.abort().cancel();
    }
}

/// Runs a part of the job; its failure or panic is the instance's.
fn spawn(
    tasks: &mut JoinSet<()>,
    context: &Arc<Context>,
    name: &'static str,
    part: impl Future<Output = Result<(), Halt>> + Send + 'static,
) {
    let context = Arc::clone(context);
    tasks.spawn(async move {
        match std::panic::AssertUnwindSafe(part).catch_unwind().await {
            Ok(result) => context.failure.note(result),
            Err(panic) => {
                let message = format!("{name}: {}", panic_text(&*panic));
                context.failure.report(JobError::Panicked(message));
            }
        }
    });
}
