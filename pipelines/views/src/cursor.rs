//! Reads one partition forwards, ahead of what is asked for.
//!
//! A newcomer would read exactly what a tick covers. Replayed ticks cover a handful of records of each
//! partition; reading ahead turns thousands of small reads into a few.

use std::collections::VecDeque;

use openinfra_log::{Fetch, LogRecord};
use openinfra_schemas::Topic;

use crate::{context::Context, error::Halt, retry::Backoff};

/// Records to read at least, if the log has them, and bytes to stop at.
const AHEAD_RECORDS: usize = 2_048;
const AHEAD_BYTES: usize = 512 << 10;

/// One partition, read up to somewhere.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) topic: Topic,
    pub(crate) partition: i32,
    /// Read already, and not asked for yet.
    ahead: VecDeque<LogRecord>,
}

impl Cursor {
    pub(crate) fn new(topic: Topic, partition: i32) -> Self {
        Self {
            topic,
            partition,
            ahead: VecDeque::new(),
        }
    }

    /// The records `from..to`, all of them: a tick binds only what is durable.
    pub(crate) async fn take(
        &mut self,
        context: &Context,
        from: i64,
        to: i64,
    ) -> Result<Vec<LogRecord>, Halt> {
        let mut backoff = Backoff::new();
        loop {
            let next = self.ahead.back().map_or(from, |last| last.offset + 1);
            if next >= to {
                break;
            }
            let missing = (to - next) as usize;
            let read = context
                .read(Fetch {
                    topic: self.topic,
                    partition: self.partition,
                    from: next,
                    to: i64::MAX,
                    max_records: missing.max(AHEAD_RECORDS),
                    max_bytes: AHEAD_BYTES,
                })
                .await?;
            if read.is_empty() {
                // A replica that lags behind the one which answered the ticker.
                let what = format!("{}/{} ends before {to}", self.topic, self.partition);
                context.status.trouble("log", &what);
                backoff.pause(context.abort()).await?;
                continue;
            }
            context.log_answered(&backoff);
            if self.ahead.is_empty() {
                self.ahead = read.into();
            } else {
                self.ahead.extend(read);
            }
        }
        let taken = self.ahead.partition_point(|record| record.offset < to);
        if taken == self.ahead.len() {
            return Ok(std::mem::take(&mut self.ahead).into());
        }
        Ok(self.ahead.drain(..taken).collect())
    }
}
