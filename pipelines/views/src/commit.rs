//! The commit stage: gathers what all workers say of a tick, and writes it as one batch.
//!
//! A newcomer would write each worker's rows when they come. A tick becomes visible with its progress
//! row, and that may stand only behind the rows of every worker. When the store is slower than the ticks,
//! several go into one batch.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use openinfra_schemas::{TenantId, time::Millis};
use openinfra_store::{
    Batch, WriteClass,
    tables::views::{GENERATION, ProgressRow},
};
use tokio::sync::mpsc;

use crate::{
    context::Context,
    counts::{Ledgers, View, ViewCounts, outcome_name},
    error::Halt,
    hours::Waiting,
    marks::Marks,
    purse::AtWork,
    render,
    retry::Backoff,
    tick_reader::Plan,
    worker::{Said, WorkerOutput},
};

/// Who this instance is, as the progress row says it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) attempt: i64,
    pub(crate) log_id: String,
    /// The newest tick that counted at the start: behind it the job is hydrated.
    pub(crate) hydrated_at: Option<Millis>,
}

/// Writes ticks in their order.
pub(crate) struct Committer {
    context: Arc<Context>,
    identity: Identity,
    workers: usize,
    outputs: mpsc::Receiver<Said>,
    /// By tick; the first is the next to be written.
    gathered: BTreeMap<Millis, Vec<WorkerOutput>>,
    views: ViewCounts,
    ledgers: Ledgers,
    tenants: HashSet<TenantId>,
    marks: Marks,
    waiting: Waiting,
    /// As this instance wrote it last.
    progress: Option<ProgressRow>,
    /// The newest tick whose counts are in a batch or in the store.
    counted_to: Millis,
}

/// Ticks that are written together.
struct Group {
    batch: Batch,
    newest: Arc<Plan>,
    /// Of the ticks before the newest: each holds its room until the batch is written.
    older: Vec<Arc<Plan>>,
    /// Of each tick: when the log took its oldest record.
    oldest: Vec<Millis>,
    /// The records whose rows these are, until they are written.
    at_work: Vec<AtWork>,
    write: bool,
}

impl Committer {
    pub(crate) fn new(
        context: Arc<Context>,
        identity: Identity,
        workers: usize,
        outputs: mpsc::Receiver<Said>,
    ) -> Self {
        Self {
            waiting: Waiting::new(context.config.hourly_interval_ms()),
            progress: None,
            context,
            identity,
            workers,
            outputs,
            gathered: BTreeMap::new(),
            views: ViewCounts::default(),
            ledgers: Ledgers::default(),
            tenants: HashSet::new(),
            marks: Marks::default(),
            counted_to: Millis::MIN,
        }
    }

    /// Commits until no worker is left and nothing waits.
    pub(crate) async fn run(mut self) -> Result<(), Halt> {
        if self.identity.hydrated_at.is_none() {
            self.hydrated();
        }
        let abort = self.context.abort().clone();
        loop {
            let output = tokio::select! {
                biased;
                () = abort.cancelled() => return Err(Halt::Aborted),
                output = self.outputs.recv() => output,
                () = self.context.flow.wants_settled() => {
                    self.settle().await?;
                    continue;
                }
            };
            let Some(output) = output else {
                return self.settle().await;
            };
            self.take(output).await?;
            // What came while the last batch was written goes into the next.
            while let Ok(output) = self.outputs.try_recv() {
                self.take(output).await?;
            }
            while let Some(group) = self.next_group() {
                self.commit(group).await?;
            }
        }
    }

    /// Writes what goes ahead of its tick, and keeps the rest until all workers have spoken.
    async fn take(&mut self, said: Said) -> Result<(), Halt> {
        match said {
            Said::Ahead(batch, _at_work) => self.write(batch).await,
            Said::Tick(output) => {
                self.gather(*output);
                Ok(())
            }
        }
    }

    fn gather(&mut self, output: WorkerOutput) {
        let tick = output.plan.tick;
        let workers = self.workers;
        self.gathered
            .entry(tick)
            .or_insert_with(|| Vec::with_capacity(workers))
            .push(output);
    }

    /// Merges the next complete ticks; none when the next one is not complete.
    fn next_group(&mut self) -> Option<Group> {
        let most = self.context.config.max_commit_bytes();
        let mut group: Option<Group> = None;
        while let Some(first) = self.gathered.first_entry() {
            let write = first.get()[0].plan.write;
            let complete = first.get().len() == self.workers;
            let fits = group
                .as_ref()
                .is_none_or(|g| g.write == write && g.batch.size_bytes() < most);
            if !complete || !fits {
                break;
            }
            let outputs = first.remove();
            self.merge(outputs, &mut group);
        }
        group
    }

    fn merge(&mut self, outputs: Vec<WorkerOutput>, group: &mut Option<Group>) {
        let due = outputs.iter().filter_map(|output| output.next_due).min();
        self.context
            .next_due
            .store(due.unwrap_or(Millis::MAX), Ordering::Relaxed);
        for output in outputs {
            let tick = output.plan.tick;
            self.waiting.add(&output.hours, tick);
            self.views.add(&output.counts);
            for view in View::ALL {
                let updates = output.counts.updates(view);
                if updates > 0 {
                    let metric = &self.context.metrics.view_updates;
                    metric.with_label_values(&[view.name()]).inc_by(updates);
                }
            }
            for counts in output.outcomes {
                self.ledgers.add(counts, tick);
            }
            for marked in output.marks {
                self.marks.set(marked);
            }
            let group = group.get_or_insert_with(|| Group {
                batch: Batch::new(WriteClass::Tick(tick)),
                newest: Arc::clone(&output.plan),
                older: Vec::new(),
                oldest: Vec::new(),
                at_work: Vec::new(),
                write: output.plan.write,
            });
            if group.batch.is_empty() {
                group.batch = output.batch;
            } else {
                group.batch.append(output.batch);
            }
            group.batch.class = WriteClass::Tick(tick);
            group.oldest.extend(output.oldest);
            group.at_work.push(output.at_work);
            for tenant in output.tenants {
                // Every worker may see a tenant's first record; the first of them all counts.
                if self.tenants.insert(tenant.clone()) && group.write {
                    group.batch.put(&render::tenant(tenant, tick));
                }
            }
            for marked in &output.plan.entity_marks {
                self.marks.set(marked.clone());
            }
            if group.newest.tick != tick {
                let older = std::mem::replace(&mut group.newest, output.plan);
                group.older.push(older);
            }
        }
    }

    async fn commit(&mut self, mut group: Group) -> Result<(), Halt> {
        let tick = group.newest.tick;
        if group.write {
            for row in self.ledgers.rows_since(self.counted_to) {
                group.batch.put(&row);
            }
            self.add_due(&mut group.batch, tick);
            let progress = self.progress_row(&group.newest);
            group.batch.put_then(&progress);
            let began = Instant::now();
            self.write(group.batch).await?;
            self.progress = Some(progress);
            let metrics = &self.context.metrics;
            metrics
                .commit_seconds
                .observe(began.elapsed().as_secs_f64());
            let now = self.context.clock.now();
            for oldest in group.oldest {
                metrics
                    .event_to_view
                    .observe((now - oldest).max(0) as f64 / 1_000.0);
            }
            let status = &self.context.status;
            status.last_commit_at.store(now, Ordering::Relaxed);
            self.context.acknowledged.store(tick, Ordering::Release);
        }
        self.counted_to = tick;
        self.show(&group.newest);
        self.context.flow.committed(tick, self.settled_at(tick));
        if self.identity.hydrated_at.is_some_and(|last| tick >= last) {
            self.hydrated();
        }
        Ok(())
    }

    /// Adds what waited and is due, before everything else: what is in the batch already is newer.
    fn add_due(&mut self, batch: &mut Batch, tick: Millis) {
        let mut due = Batch::new(batch.class);
        self.waiting.take_due(tick, &mut due);
        if !due.is_empty() {
            due.append(std::mem::replace(batch, Batch::new(batch.class)));
            *batch = due;
        }
    }

    /// Writes the rows that wait. Before this instance has written a tick they are left: the store is ahead
    /// of what it has replayed.
    async fn settle(&mut self) -> Result<(), Halt> {
        let committed = self.context.flow.state().committed;
        if let Some(mut progress) = self.progress.take() {
            let mut batch = Batch::new(WriteClass::Rest(progress.as_of));
            self.waiting.take_all(&mut batch);
            if !batch.is_empty() {
                progress.hourly_as_of = None;
                batch.put_then(&progress);
                self.write(batch).await?;
            }
            self.progress = Some(progress);
        }
        self.context.flow.committed(committed, committed);
        Ok(())
    }

    /// As of which tick no row waits.
    fn settled_at(&self, committed: Millis) -> Millis {
        let written_to = self.waiting.written_to();
        written_to.map_or(committed, |tick| tick.min(committed))
    }

    fn progress_row(&self, plan: &Plan) -> ProgressRow {
        ProgressRow {
            generation: GENERATION,
            as_of: plan.tick,
            attempt: self.identity.attempt,
            ends: plan.ends.to_json(),
            rows: self.views.to_json(),
            log_id: self.identity.log_id.clone(),
            tick_offset: plan.tick_offset,
            marks: Some(self.marks.to_json()),
            hourly_as_of: self.waiting.written_to(),
        }
    }

    /// Writes a batch, however long that takes: one whose outcome is unknown may be written again.
    async fn write(&self, batch: Batch) -> Result<(), Halt> {
        let context = &*self.context;
        let mut backoff = Backoff::new();
        loop {
            let answer = tokio::select! {
                () = context.abort().cancelled() => return Err(Halt::Aborted),
                answer = context.store.write(batch.clone()) => answer,
            };
            let error = match answer {
                Ok(()) => {
                    context.answered("store");
                    return Ok(());
                }
                Err(error) => error,
            };
            context.wait_for_store(error, &mut backoff).await?;
        }
    }

    /// Shows what is in the views now, and whether everything is accounted for.
    fn show(&self, plan: &Plan) {
        let metrics = &self.context.metrics;
        metrics.epoch_durable.set(plan.tick);
        for view in View::ALL {
            metrics.rows(view, self.views.rows(view));
        }
        let outcomes = self.ledgers.outcomes();
        let named = outcomes.iter().enumerate();
        let named = named.map(|(index, records)| (outcome_name(index), *records));
        let covered = plan.ends.accountable();
        let difference = covered - outcomes.iter().sum::<i64>();
        metrics.records(covered, named);
        metrics.conservation_difference.set(difference);
        if difference != 0 {
            tracing::error!(
                tick = plan.tick,
                covered,
                difference,
                "records are not accounted for"
            );
        }
        self.context.shown(|shown| {
            shown.ends.clone_from(&plan.ends);
            shown.marks.clone_from(&self.marks);
        });
    }

    fn hydrated(&mut self) {
        self.identity.hydrated_at = None;
        self.context.metrics.hydrated.set(1);
        self.context.status.hydrated.store(true, Ordering::Relaxed);
    }
}
