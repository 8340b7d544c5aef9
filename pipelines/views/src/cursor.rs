//! Reads one partition forwards, ahead of what is asked for.
//!
//! A newcomer would read exactly what a tick covers. Replayed ticks cover a handful of records of each
//! partition; reading ahead turns thousands of small reads into a few. Nor is all of a tick read at once:
//! it may cover more bytes than there is memory.

use std::collections::VecDeque;

use openinfra_log::{Fetch, LogRecord};
use openinfra_schemas::Topic;

use crate::{context::Context, ends::Span, error::Halt, retry::Backoff};

/// Records to read at least, if the log has them, and bytes to stop at.
const AHEAD_RECORDS: usize = 2_048;
const AHEAD_BYTES: usize = 512 << 10;

/// The largest record that our own connectors make, in bytes: `ledger` keeps deliveries as they came, of
/// 10 MiB at most, the other topics what we made of one.
const LARGEST_REFUSED: usize = 12 << 20;
const LARGEST_OTHER: usize = 64 << 10;

/// One partition, read up to somewhere.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) topic: Topic,
    pub(crate) partition: i32,
    /// Read already, and not asked for yet.
    ahead: VecDeque<LogRecord>,
    ahead_bytes: usize,
    /// The largest record that is to be expected, in bytes; it grows with what is found.
    largest: usize,
}

/// What a record takes while it is at work, in bytes.
pub(crate) fn size(record: &LogRecord) -> usize {
    record.key.len() + record.value.len()
}

impl Cursor {
    pub(crate) fn new(topic: Topic, partition: i32) -> Self {
        Self {
            topic,
            partition,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            largest: match topic {
                Topic::Ledger => LARGEST_REFUSED,
                _ => LARGEST_OTHER,
            },
        }
    }

    /// What one [`fetch`](Self::fetch) brings at most, in bytes, as far as one can know.
    pub(crate) fn fetch_bytes(&self) -> usize {
        AHEAD_BYTES + self.largest
    }

    /// Whether the record at an offset is read already.
    pub(crate) fn has(&self, offset: i64) -> bool {
        self.ahead.back().is_some_and(|last| last.offset >= offset)
    }

    /// Reads on behind what is there, up to `span.to` at least, as far as one read goes. Says how many
    /// bytes came.
    pub(crate) async fn fetch(&mut self, context: &Context, span: Span) -> Result<usize, Halt> {
        let next = self.ahead.back().map_or(span.from, |last| last.offset + 1);
        let missing = (span.to - next).max(0) as usize;
        let fetch = Fetch {
            topic: self.topic,
            partition: self.partition,
            from: next,
            to: i64::MAX,
            max_records: missing.max(AHEAD_RECORDS),
            max_bytes: AHEAD_BYTES,
        };
        let mut backoff = Backoff::new();
        let read = loop {
            let read = context.read(fetch).await?;
            if !read.is_empty() {
                break read;
            }
            let what = format!(
                "{}/{} ends at {next}, and a tick covers it up to {}",
                self.topic, self.partition, span.to
            );
            context.metrics.log_retries.inc();
            // A replica that lags behind the one which answered the ticker has it sooner.
            if backoff.is_slow() && context.status.trouble("log", &what) {
                tracing::error!(
                    %what,
                    "the views stand still until the log has what its own tick covers: it lost \
                     records, or somebody else wrote the tick"
                );
            }
            backoff.pause(context.abort()).await?;
        };
        context.log_answered(&backoff);
        let bytes = read.iter().map(size).sum();
        let largest = read.iter().map(size).max().unwrap_or(0);
        self.largest = self.largest.max(largest);
        self.ahead_bytes += bytes;
        if self.ahead.is_empty() {
            self.ahead = read.into();
        } else {
            self.ahead.extend(read);
        }
        Ok(bytes)
    }

    /// Takes records below `to` out of what is read, until they have so many bytes; one at least, if there
    /// is one.
    pub(crate) fn take(&mut self, to: i64, max_bytes: usize) -> Vec<LogRecord> {
        let mut bytes = 0;
        let mut taken = 0;
        for record in &self.ahead {
            if record.offset >= to || (taken > 0 && bytes >= max_bytes) {
                break;
            }
            bytes += size(record);
            taken += 1;
        }
        self.ahead_bytes -= bytes;
        if taken == self.ahead.len() {
            return std::mem::take(&mut self.ahead).into();
        }
        self.ahead.drain(..taken).collect()
    }

    /// Forgets what was read ahead; it is read again when it is asked for. Says how many bytes that were.
    pub(crate) fn forget(&mut self) -> usize {
        self.ahead = VecDeque::new();
        std::mem::take(&mut self.ahead_bytes)
    }
}
