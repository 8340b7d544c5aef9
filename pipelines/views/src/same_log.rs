//! Whether the log is still the one that the views were made from.
//!
//! A newcomer would look once, at the start. Topics are also made anew, or cut short, under a job that
//! runs; as long as the ends stay below what they were, the log itself says so, but not once they are past
//! them. So some records are looked at again every few seconds: a topic is made anew as a whole.

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;
use openinfra_log::{Fetch, Log, LogError};
use openinfra_schemas::Topic;
use openinfra_store::{StoreError, tables::views::ProgressRow};

use crate::{
    JobError,
    context::Context,
    ends::{Ends, INPUTS},
    error::Halt,
    marks::{Mark, Marked, Marks},
    tick_rules::TickRules,
};

/// How often the log is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// A replay reads everything, so everything has to be there. To be asked before an attempt is taken: who
/// cannot replay must not end an instance that runs.
pub(crate) async fn check_whole(log: &dyn Log) -> Result<(), JobError> {
    for topic in Topic::ALL {
        let starts = log.start_offsets(topic).await?;
        for (partition, start) in (0..).zip(starts) {
            if start > 0 {
                return Err(JobError::Trimmed {
                    topic: topic.name(),
                    partition,
                    start,
                });
            }
        }
    }
    Ok(())
}

/// The log has what its own ticks cover.
pub(crate) async fn check_covered(log: &dyn Log, rules: &TickRules) -> Result<(), JobError> {
    for topic in INPUTS {
        let found = log.end_offsets(topic).await?;
        for (partition, covered) in rules.ends.of(topic).iter().enumerate() {
            let found = found.get(partition).copied().unwrap_or(0);
            if found < *covered {
                return Err(JobError::TicksAhead {
                    topic: topic.name(),
                    partition: partition as i32,
                    covered: *covered,
                    found,
                });
            }
        }
    }
    Ok(())
}

fn behind(topic: Topic, partition: i32, stored: i64, found: i64) -> JobError {
    JobError::LogBehind {
        topic: topic.name(),
        partition,
        stored,
        found,
    }
}

/// The store was filled from the log of this id; none: the log has none up to `end` of `ticks`, so that it was
/// filled from another.
pub(crate) fn check_log_id(
    progress: &ProgressRow,
    log_id: Option<&str>,
    end: i64,
) -> Result<(), JobError> {
    match log_id {
        None => Err(behind(Topic::Ticks, 0, progress.tick_offset + 1, end)),
        Some(found) if *found != progress.log_id => Err(JobError::OtherLog {
            stored: progress.log_id.clone(),
            found: found.to_owned(),
        }),
        Some(_) => Ok(()),
    }
}

/// The store was filled from this log, from no more than is there, and from the records that are there.
pub(crate) async fn check_progress(
    log: &dyn Log,
    progress: &ProgressRow,
    rules: &TickRules,
) -> Result<(), JobError> {
    check_log_id(progress, rules.log_id.as_deref(), rules.next_offset)?;
    if rules.next_offset <= progress.tick_offset {
        let stored = progress.tick_offset + 1;
        return Err(behind(Topic::Ticks, 0, stored, rules.next_offset));
    }
    let stored: Ends = parse("ends", &progress.ends)?;
    for topic in INPUTS {
        let found = log.end_offsets(topic).await?;
        for (partition, stored) in stored.of(topic).iter().enumerate() {
            let found = found.get(partition).copied().unwrap_or(0);
            if found < *stored {
                return Err(behind(topic, partition as i32, *stored, found));
            }
        }
    }
    let marks = marks_of(Some(progress))?;
    let checks = marks.all().into_iter().map(|marked| async move {
        let records = log.read(record_of(&marked)).await?;
        check(&marked, records.first().map(Mark::of).as_ref())
    });
    try_join_all(checks).await.map(drop)
}

/// The marks that a store's progress says.
pub(crate) fn marks_of(progress: Option<&ProgressRow>) -> Result<Marks, JobError> {
    let marks = progress.and_then(|progress| progress.marks.as_deref());
    marks.map_or(Ok(Marks::default()), |marks| parse("marks", marks))
}

fn parse<T: serde::de::DeserializeOwned>(column: &str, text: &str) -> Result<T, JobError> {
    serde_json::from_str(text).map_err(|e| {
        let what = format!("{column} of the progress row do not parse: {e}");
        JobError::from(StoreError::Damaged(what))
    })
}

/// Exactly the record of a mark.
fn record_of((topic, partition, mark): &Marked) -> Fetch {
    Fetch {
        topic: *topic,
        partition: *partition,
        from: mark.0,
        to: mark.0 + 1,
        max_records: 1,
        max_bytes: 1,
    }
}

fn check((topic, partition, mark): &Marked, found: Option<&Mark>) -> Result<(), JobError> {
    if found == Some(mark) {
        return Ok(());
    }
    Err(JobError::OtherRecord {
        topic: topic.name(),
        partition: *partition,
        offset: mark.0,
    })
}

/// Looks at records that were in the views a while ago, until the job stops: those of partitions that went on
/// since, and one of each topic that did not. `seen` are in the log for sure.
///
/// What the views have by now proves nothing: it may have been read from the other log already.
pub(crate) async fn watch(context: Arc<Context>, mut seen: Marks) -> Result<(), Halt> {
    for round in 0.. {
        tokio::select! {
            () = context.stop.cancelled() => return Ok(()),
            () = context.abort().cancelled() => return Err(Halt::Aborted),
            () = tokio::time::sleep(LOOK) => {}
        }
        for topic in INPUTS {
            let shown = context.shown(|shown| shown.marks.of(topic));
            let turn = round % shown.len().max(1);
            for (index, now) in shown.into_iter().enumerate() {
                let Some(before) = seen.find(topic, now.1) else {
                    seen.set(now);
                    continue;
                };
                // A replay has not come so far yet, or nothing has come.
                let went_on = now.2.0 > before.2.0;
                if !went_on && index != turn {
                    continue;
                }
                let stands = tokio::select! {
                    () = context.stop.cancelled() => return Ok(()),
                    stands = stands(&context, &before) => stands?,
                };
                if stands && went_on {
                    seen.set(now);
                }
            }
        }
    }
    Ok(())
}

/// Whether a record was found as it was; false when the log does not say.
async fn stands(context: &Context, marked: &Marked) -> Result<bool, Halt> {
    let (topic, partition, mark) = marked;
    match context.log.read(record_of(marked)).await {
        Ok(found) => match found.first() {
            Some(found) => check(marked, Some(&Mark::of(found))).map(|()| true),
            // Ends that fell are the ticker's to find.
            None => Ok(false),
        }
        .map_err(Halt::from),
        Err(LogError::Gone { start, .. }) => {
            tracing::error!(
                %topic, partition, offset = mark.0, start,
                "records are deleted that every start of the job needs: it can run on, not start again"
            );
            Ok(true)
        }
        Err(error @ LogError::Damaged(_)) => Err(error.into()),
        // Whoever needs the log waits for it, and says so.
        Err(_) => Ok(false),
    }
}
