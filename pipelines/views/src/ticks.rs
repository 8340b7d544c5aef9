//! The ticker: decides ticks and appends them. It acts on none.
//!
//! A newcomer would sample ends and then read the clock, or sample entities with the rest. The order is
//! what makes ticks true: clock, then `readings` and `ledger`, then `entities`, so that a change that was
//! answered before a reading was sent is in force for it.

use std::{collections::VecDeque, sync::Arc, sync::atomic::Ordering, time::Duration};

use futures::future::try_join_all;
use openinfra_log::{AppendBatch, Fetch};
use openinfra_schemas::{Tick, TickRecord, Topic, time::Millis};

use crate::{
    begin::push_tick_record,
    clock::StepGuard,
    context::Context,
    cut::{cut, tick_time},
    ends::{Ends, INPUTS},
    error::Halt,
    retry::Backoff,
};

/// Decides the ticks of one attempt.
pub(crate) struct Ticker {
    context: Arc<Context>,
    attempt: i64,
    /// What the ticks cover so far.
    ends: Ends,
    last: Option<Millis>,
    guard: StepGuard,
    /// Ticks not committed yet, oldest first.
    uncommitted: VecDeque<Millis>,
    /// When the last tick was decided, by the monotonic clock.
    decided_at: Option<Duration>,
}

impl Ticker {
    /// Goes on behind the last tick that counts.
    pub(crate) fn new(
        context: Arc<Context>,
        attempt: i64,
        ends: Ends,
        last: Option<Millis>,
    ) -> Self {
        Self {
            context,
            attempt,
            ends,
            last,
            guard: StepGuard::default(),
            uncommitted: VecDeque::new(),
            decided_at: None,
        }
    }

    /// Decides ticks until the job stops.
    pub(crate) async fn run(mut self) -> Result<(), Halt> {
        let context = Arc::clone(&self.context);
        tokio::select! {
            () = context.stop.cancelled() => Ok(()),
            () = context.abort().cancelled() => Err(Halt::Aborted),
            result = self.decide_for_ever() => result,
        }
    }

    async fn decide_for_ever(&mut self) -> Result<(), Halt> {
        // What earlier attempts left is replayed first: its ticks would only queue up.
        if let Some(last) = self.last {
            self.context.flow.wait_committed(|at| at >= last).await;
        }
        loop {
            self.wait_for_room().await;
            let more = self.decide().await?;
            if !more {
                tokio::time::sleep(self.context.config.tick_interval()).await;
            }
        }
    }

    /// Waits while too many ticks are not committed, or somebody holds the job.
    async fn wait_for_room(&mut self) {
        let Self {
            context,
            uncommitted,
            ..
        } = self;
        let most = context.config.max_uncommitted_ticks;
        context
            .flow
            .wait_committed(|committed| {
                while uncommitted.front().is_some_and(|tick| *tick <= committed) {
                    uncommitted.pop_front();
                }
                uncommitted.len() <= most
            })
            .await;
    }

    /// Decides a tick if there is reason for one; says whether records were left unread.
    async fn decide(&mut self) -> Result<bool, Halt> {
        let now = self.guard.now(&*self.context.clock)?;
        let seen = self.sample().await?;
        self.observe(now, &seen);
        let cut = cut(
            &self.ends,
            &seen,
            self.context.config.max_records_per_tick(),
        );
        if cut.records == 0 && !self.is_tick_due(now) {
            return Ok(false);
        }
        let first_unread = self.first_append_ts(&cut.unread).await?;
        let tick = tick_time(now, first_unread, self.last);
        self.append(Tick {
            attempt: self.attempt,
            tick,
            ends: self.ends.moved_to(&cut.ends),
        })
        .await?;
        self.ends = cut.ends;
        self.last = Some(tick);
        self.uncommitted.push_back(tick);
        self.decided_at = Some(self.context.clock.monotonic());
        Ok(!cut.unread.is_empty())
    }

    /// Whether there is reason for a tick that covers nothing.
    fn is_tick_due(&self, now: Millis) -> bool {
        let due = self.context.next_due.load(Ordering::Relaxed);
        // A tick that covers it is enough, even if it has not run yet.
        if due <= now && self.last.is_none_or(|last| last < due) {
            return true;
        }
        let interval = self.context.config.idle_interval();
        self.decided_at
            .is_none_or(|at| self.context.clock.monotonic().saturating_sub(at) >= interval)
    }

    /// The ends of all inputs, entities last.
    async fn sample(&self) -> Result<Ends, Halt> {
        let readings = self.end_offsets(Topic::Readings).await?;
        let ledger = self.end_offsets(Topic::Ledger).await?;
        let entities = self.end_offsets(Topic::Entities).await?;
        Ok(Ends::new(readings, entities, ledger))
    }

    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, Halt> {
        let mut backoff = Backoff::new();
        loop {
            match self.context.log.end_offsets(topic).await {
                Ok(ends) => {
                    self.context.log_answered(&backoff);
                    return Ok(ends);
                }
                Err(error) => self.context.wait_for_log(error, &mut backoff).await?,
            }
        }
    }

    /// The least append time of some records.
    async fn first_append_ts(&self, unread: &[(Topic, i32, i64)]) -> Result<Option<Millis>, Halt> {
        let reads = unread.iter().map(|(topic, partition, from)| {
            self.context.read(Fetch {
                topic: *topic,
                partition: *partition,
                from: *from,
                to: *from + 1,
                max_records: 1,
                max_bytes: 1,
            })
        });
        let records = try_join_all(reads).await?;
        Ok(records.iter().flatten().map(|r| r.append_ts).min())
    }

    /// Appends a tick, however long that takes. Repeating one whose append failed is harmless: readers
    /// count a tick once.
    async fn append(&self, tick: Tick) -> Result<(), Halt> {
        let record = TickRecord::Tick(tick);
        let mut backoff = Backoff::new();
        loop {
            let mut batch = AppendBatch::default();
            push_tick_record(&mut batch, &self.context.codec, &record);
            match self.context.log.append(batch).await {
                Ok(_) => break self.context.log_answered(&backoff),
                Err(error) => self.context.wait_for_log(error, &mut backoff).await?,
            }
        }
        self.context.appended.notify_one();
        Ok(())
    }

    /// Shows how far behind the views are.
    fn observe(&self, now: Millis, seen: &Ends) {
        let Context {
            metrics,
            flow,
            status,
            ..
        } = &*self.context;
        let committed = flow.state().committed;
        if committed != Millis::MIN {
            metrics.epoch_age.set((now - committed) as f64 / 1_000.0);
        }
        self.context.shown(|shown| {
            let behind = seen.accountable() - shown.ends.accountable();
            status.behind_records.store(behind, Ordering::Relaxed);
            for topic in INPUTS {
                metrics.lag(topic, &shown.ends, seen);
            }
        });
    }
}
