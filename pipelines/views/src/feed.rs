//! Reads what a worker is fed, ahead of the worker, a piece of a tick at a time.
//!
//! A newcomer would decode here. Decoding is the dearest part of reading a record, so it happens on the
//! workers' threads; this task only moves bytes, and sees to it that they are never too many: a tick with
//! more than a piece of them is fed in several.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use openinfra_log::LogRecord;
use openinfra_schemas::Topic;
use tokio::sync::mpsc;

use crate::{
    context::Context,
    cursor::{Cursor, size},
    ends::Span,
    error::Halt,
    marks::{Mark, Marked},
    purse::{AtWork, Purse},
    tick_reader::Plan,
};

/// Partitions that are read at the same time.
const AT_ONCE: usize = 16;

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

/// A piece of one worker's part of a tick, as bytes, in the order of feeding.
#[derive(Debug)]
pub(crate) struct WorkItem {
    pub(crate) plan: Arc<Plan>,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) is_first: bool,
    /// Whether this ends the tick; every worker gets one that does of every tick.
    pub(crate) is_last: bool,
    pub(crate) at_work: AtWork,
}

/// Reads the partitions of one worker.
pub(crate) struct Feeder {
    context: Arc<Context>,
    /// In the order of feeding.
    cursors: Vec<Cursor>,
    purse: Purse,
    plans: mpsc::Receiver<Arc<Plan>>,
    worker: mpsc::Sender<WorkItem>,
}

/// What a piece has so far.
struct Piece {
    chunks: Vec<Chunk>,
    bytes: usize,
    is_first: bool,
}

impl Piece {
    fn first() -> Self {
        Self {
            chunks: Vec::new(),
            bytes: 0,
            is_first: true,
        }
    }

    /// The piece as it is; another begins behind it.
    fn cut(&mut self) -> Self {
        let next = Self {
            is_first: false,
            ..Self::first()
        };
        std::mem::replace(self, next)
    }
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
            purse: Purse::new(workers),
            plans,
            worker,
        }
    }

    /// Reads until there are no more plans.
    pub(crate) async fn run(mut self) -> Result<(), Halt> {
        while let Some(plan) = self.plans.recv().await {
            self.feed(&plan).await?;
        }
        Ok(())
    }

    /// Reads a tick, and hands over each piece as soon as it is there.
    async fn feed(&mut self, plan: &Arc<Plan>) -> Result<(), Halt> {
        let own = self.own(plan);
        self.read_ahead(&own).await?;
        let full = self.context.config.max_piece_bytes;
        let mut piece = Piece::first();
        for (at, span) in own {
            let mut from = span.from;
            while from < span.to {
                if !self.cursors[at].has(from) {
                    self.fetch(at, Span { from, ..span }, plan, &mut piece)
                        .await?;
                }
                let records = self.cursors[at].take(span.to, full - piece.bytes);
                from += records.len() as i64;
                piece.bytes += records.iter().map(size).sum::<usize>();
                piece.chunks.push(Chunk {
                    topic: span.topic,
                    partition: span.partition,
                    records,
                });
                if piece.bytes >= full {
                    self.send(plan, piece.cut(), false).await?;
                }
            }
        }
        self.send(plan, piece, true).await
    }

    /// This worker's spans, with the cursor of each.
    fn own(&self, plan: &Plan) -> Vec<(usize, Span)> {
        let cursors = self.cursors.iter().enumerate();
        let own = cursors.filter_map(|(at, cursor)| {
            let place = (cursor.topic, cursor.partition);
            let found = plan
                .spans
                .binary_search_by_key(&place, |span| (span.topic, span.partition));
            Some((at, plan.spans[found.ok()?]))
        });
        own.collect()
    }

    /// Reads of several partitions at the same time, once each, as far as there is room for what may come.
    async fn read_ahead(&mut self, own: &[(usize, Span)]) -> Result<(), Halt> {
        let mut taken = 0;
        let mut reads = Vec::new();
        let mut spans = own.iter();
        let mut next = spans.next();
        for (at, cursor) in self.cursors.iter_mut().enumerate() {
            let Some((_, span)) = next.filter(|(own, _)| *own == at) else {
                continue;
            };
            next = spans.next();
            if cursor.has(span.to - 1) {
                continue;
            }
            if !self.purse.try_take(cursor.fetch_bytes()) {
                break;
            }
            taken += cursor.fetch_bytes();
            reads.push(cursor.fetch(&self.context, *span));
        }
        let came: Vec<usize> = stream::iter(reads)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let came = came.into_iter().sum();
        self.purse.give_back(taken.saturating_sub(came));
        Ok(())
    }

    /// Reads on in one partition. Where there is no room, the worker and the store are waited for; where
    /// even they have too little to give back, what was read ahead in other partitions goes, and the piece
    /// so far.
    async fn fetch(
        &mut self,
        at: usize,
        span: Span,
        plan: &Arc<Plan>,
        piece: &mut Piece,
    ) -> Result<(), Halt> {
        let wanted = self.cursors[at].fetch_bytes();
        if !self.purse.try_take(wanted) {
            if !self.purse.comes_back(wanted) {
                let forgotten = self.cursors.iter_mut().map(Cursor::forget).sum();
                self.purse.give_back(forgotten);
                if !piece.chunks.is_empty() {
                    self.send(plan, piece.cut(), false).await?;
                }
            }
            tokio::select! {
                () = self.context.failure.abort.cancelled() => return Err(Halt::Aborted),
                () = self.purse.take(wanted) => {}
            }
        }
        let came = self.cursors[at].fetch(&self.context, span).await?;
        self.purse.give_back(wanted.saturating_sub(came));
        Ok(())
    }

    async fn send(&mut self, plan: &Arc<Plan>, piece: Piece, is_last: bool) -> Result<(), Halt> {
        let item = WorkItem {
            plan: Arc::clone(plan),
            is_first: piece.is_first,
            at_work: self.purse.hand_out(piece.bytes),
            chunks: piece.chunks,
            is_last,
        };
        // A worker that is gone has said why.
        self.worker.send(item).await.map_err(|_| Halt::Aborted)
    }
}
