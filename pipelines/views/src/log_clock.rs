//! Whether our clock and the log's agree.
//!
//! A newcomer would trust the machine's clock, and watch it for steps. It may be wrong from the start: on a
//! host that is an hour ahead every sensor has been silent for an hour, and the ticks of whoever comes after
//! it cannot go back. The log says when it took a record, so one is written that means nothing.

use std::time::Duration;

use openinfra_log::{AppendBatch, Fetch, Log};
use openinfra_schemas::{Begin, Codec, TickRecord, time::Millis};
use openinfra_store::tables::views::GENERATION;

use crate::{
    JobError,
    begin::{push_tick_record, ticks_from},
    clock::{Clock, MAX_STEP_MS},
};

/// How long to look whether the log's clock moves.
const MOVES: Duration = Duration::from_millis(20);

/// Errs when our clock is further from the log's than any step may be. To be asked before an attempt is
/// taken: a host with a wrong clock must not end an instance that runs.
///
/// A log never lets its times fall. One whose clock was ahead and was put right gives the same time until the
/// clock has caught up; whoever keeps to the right time must not be refused for that.
pub(crate) async fn check(log: &dyn Log, codec: &Codec, clock: &dyn Clock) -> Result<(), JobError> {
    let (ahead_ms, at) = look(log, codec, clock).await?;
    if ahead_ms.abs() <= MAX_STEP_MS {
        return Ok(());
    }
    if ahead_ms < 0 {
        tokio::time::sleep(MOVES).await;
        let (ahead_ms, later) = look(log, codec, clock).await?;
        if later <= at {
            tracing::warn!(
                ahead_ms,
                "the log's clock stands still until ours has caught up; ticks follow each other by a \
                 millisecond meanwhile"
            );
            return Ok(());
        }
    }
    Err(JobError::ClockDiffers { ahead_ms })
}

/// By how much our clock is ahead of the log's, as far as that is certain, and the log's time.
async fn look(
    log: &dyn Log,
    codec: &Codec,
    clock: &dyn Clock,
) -> Result<(Millis, Millis), JobError> {
    let mut batch = AppendBatch::default();
    push_tick_record(&mut batch, codec, &nothing());
    let before = clock.now();
    let offset = log.append(batch).await?.offsets[0];
    let after = clock.now();
    let fetch = Fetch {
        to: offset + 1,
        max_records: 1,
        ..ticks_from(offset)
    };
    let records = log.read(fetch).await?;
    let taken = records.first().ok_or_else(|| JobError::NotReadBack {
        offset,
        missing: "the record that shows the log's time".to_owned(),
    })?;
    let at = taken.append_ts;
    // It was taken between the two.
    Ok((before.max(at.min(after)) - at, at))
}

/// A record that means nothing to anybody: the beginning of an attempt that is older than all.
fn nothing() -> TickRecord {
    TickRecord::Begin(Begin {
        attempt: 0,
        processes: 1,
        generation: GENERATION,
        tzdata: String::new(),
    })
}
