//! Proves that the views in the store are what the log says: a batch recomputation of every view.
//!
//! It shares no code with the operators, and must not: each definition is written down a second time, over
//! whole histories instead of changes, so that the same mistake is unlikely to be made twice. What a
//! newcomer would get wrong: it compares two things as of one tick, so nobody may write views meanwhile;
//! whoever calls it holds the job, and a store that moved all the same is an error, never a difference.
//!
//! The log is read partition by partition, and only one partition's messages are in memory, next to the
//! entities, the ticks, and one row for each alert and each asset.
//!
//! **What it cannot see.** A stored row that the log does not give is found wherever the store can be asked
//! for it: in every bucket, shard, reason and position of a tenant that the log or the table `tenant`
//! names; in each month that has, or that `alert_month` says to have, alerts; in each day that has, or that
//! `sensor_days` says to have, readings. A store cannot list its partitions, so a stray row of a tenant, a
//! month or a day that nothing names stays unseen; nor is a stray row of `alert_by_id` seen whose alert
//! nobody has. The wording of `detail` in `ledger` is compared only where a connector wrote it.

mod compare;
mod decode;
mod entities;
mod error;
mod part;
mod progress;
mod report;
mod rows;
mod schemas;
mod sensor;
mod ticks;
mod views;
mod walk;

use openinfra_log::Log;
use openinfra_schemas::{Codec, Topic};
use openinfra_store::{Store, tables::views::GENERATION};

pub use error::VerifyError;
pub use report::{Difference, Report, ViewReport};

use compare::Comparer;
use entities::Entities;
use ticks::Ticks;
use views::Totals;

/// What a verification may be told.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many differing rows the report names. All are counted.
    pub max_differences: usize,
    /// The generation of views, as in the progress row.
    pub generation: i32,
    /// Whether every tick that was begun is in the views whole: a job is held, or was stopped in order. Where
    /// nobody knows, rows of ticks past the progress may stand in the store, and a difference says nothing.
    pub settled: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_differences: 20,
            generation: GENERATION,
            settled: true,
        }
    }
}

/// Recomputes every view from the log's first record to the tick that the store's progress row names, and
/// compares every row, value by value, doubles by their bits. Writes nothing.
///
/// It computes for as long as the log is, between short waits: a server calls it away from the threads that
/// answer requests.
///
/// # Errors
/// When no comparison was possible; rows that differ are no error.
pub async fn verify(
    log: &dyn Log,
    store: &dyn Store,
    codec: &Codec,
    options: Options,
) -> Result<Report, VerifyError> {
    let progress = progress::read(store, options.generation)
        .await?
        .ok_or(VerifyError::NoViews)?;
    if let Some(hourly) = progress.hourly_as_of.filter(|tick| *tick < progress.as_of) {
        return Err(VerifyError::Waiting {
            hourly,
            as_of: progress.as_of,
        });
    }
    let ticks = Ticks::read(log, codec, progress.as_of).await?;
    let entities = Entities::read(log, codec, &ticks).await?;
    let mut totals = Totals::new(entities.tenants().clone());
    let mut compare = Comparer::new(store, options.max_differences);
    compare.learn_tenants(&totals).await?;
    for partition in 0..log.partitions(Topic::Readings) {
        let mut part = part::Part::new(partition, log.partitions(Topic::Readings), &entities);
        part.read(log, codec, &ticks, &mut totals, &mut compare)
            .await?;
        part.compare(&ticks, &mut totals, &mut compare).await?;
    }
    for partition in 0..log.partitions(Topic::Ledger) {
        part::read_refused(log, codec, &ticks, partition, &mut totals, &mut compare).await?;
    }
    totals.compare(&mut compare).await?;
    progress::compare(&progress, log, &ticks, &mut compare);
    if progress::read(store, options.generation).await?.as_ref() != Some(&progress) {
        return Err(VerifyError::Moved(progress.as_of));
    }
    let report = compare.into_report(&progress, &totals);
    match ticks.beyond {
        Some(newest) if !report.equal && !options.settled => Err(VerifyError::Unsettled {
            as_of: report.as_of,
            newest,
        }),
        _ => Ok(report),
    }
}
