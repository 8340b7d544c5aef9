//! Reads what a worker is fed, ahead of the worker.
//!
//! A newcomer would decode here. Decoding is the dearest part of reading a record, so it happens on the
//! workers' threads; this task only moves bytes.

use std::sync::Arc;

use futures::future::try_join_all;
use openinfra_log::LogRecord;
use openinfra_schemas::Topic;
use tokio::sync::mpsc;

use crate::{
    context::Context,
    cursor::Cursor,
    error::Halt,
    marks::{Mark, Marked},
    tick_reader::Plan,
};

/// Consecutive records of one partition.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) topic: Topic,
    pub(crate) partition: i32,
    pub(crate) records: Vec<LogRecord>,
}

impl Chunk {
    /// By which its last record is known again.
    pub(crate) fn marked(&self) -> Option<Marked> {
        let last = self.records.last()?;
        Some((self.topic, self.partition, Mark::of(last)))
    }
}

/// One worker's part of a tick, as bytes, in the order of feeding.
#[derive(Debug)]
pub(crate) struct WorkItem {
    pub(crate) plan: Arc<Plan>,
    pub(crate) chunks: Vec<Chunk>,
}

/// Reads the partitions of one worker.
pub(crate) struct Feeder {
    context: Arc<Context>,
    /// In the order of feeding.
    cursors: Vec<Cursor>,
    plans: mpsc::Receiver<Arc<Plan>>,
    worker: mpsc::Sender<WorkItem>,
}

impl Feeder {
    /// Worker `index` of `workers` owns every partition `p` with `p % workers == index`.
    pub(crate) fn new(
        context: Arc<Context>,
        index: usize,
        workers: usize,
        plans: mpsc::Receiver<Arc<Plan>>,
        worker: mpsc::Sender<WorkItem>,
    ) -> Self {
        let mut cursors = Vec::new();
        for topic in [Topic::Readings, Topic::Ledger] {
            let own = (0..context.log.partitions(topic))
                .skip(index)
                .step_by(workers);
            cursors.extend(own.map(|partition| Cursor::new(topic, partition)));
        }
        Self {
            context,
            cursors,
            plans,
            worker,
        }
    }

    /// Reads until there are no more plans.
    pub(crate) async fn run(mut self) -> Result<(), Halt> {
        while let Some(plan) = self.plans.recv().await {
            let chunks = self.read(&plan).await?;
            let sent = self.worker.send(WorkItem { plan, chunks }).await;
            // A worker that is gone has said why.
            sent.map_err(|_| Halt::Aborted)?;
        }
        Ok(())
    }

    async fn read(&mut self, plan: &Plan) -> Result<Vec<Chunk>, Halt> {
        let context = &*self.context;
        let reads = self.cursors.iter_mut().filter_map(|cursor| {
            let place = (cursor.topic, cursor.partition);
            let found = plan
                .spans
                .binary_search_by_key(&place, |span| (span.topic, span.partition));
            let span = plan.spans[found.ok()?];
            Some(async move {
                let records = cursor.take(context, span.from, span.to).await?;
                Ok::<_, Halt>(Chunk {
                    topic: span.topic,
                    partition: span.partition,
                    records,
                })
            })
        });
        try_join_all(reads).await
    }
}
