//! Why there was no comparison. Rows that differ are a result, and none of these.

use openinfra_log::LogError;
use openinfra_schemas::{Topic, registry::RegistryError, time::Millis};
use openinfra_store::StoreError;

/// Why a verification could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("the store holds no views yet: no tick was ever committed")]
    NoViews,
    /// Somebody writes views; hold or stop the job and try again.
    #[error("the views moved on from tick {0} while they were compared; the job has to be held")]
    Moved(Millis),
    /// Rows differ, and a job was cut off, or is at work, in ticks that come next: they may be its rows.
    #[error(
        "rows differ from the views as of tick {as_of}, but the log has ticks up to {newest}, of which a job may have written some rows and not all; nothing is known until it has finished them: start it, or ask its server, which holds it"
    )]
    Unsettled { as_of: Millis, newest: Millis },
    /// The job that wrote the views was killed, or is at work and was not held.
    #[error(
        "rows of hourly_aggregate are as of tick {hourly}, the other views as of {as_of}: hold the job, or \
         start it and let it stop by itself"
    )]
    Waiting { hourly: Millis, as_of: Millis },
    /// The log is no longer whole, or is not the one that the ticks are of.
    #[error(
        "{topic}/{partition} should have the records {from}..{to}, and answers none from {at} on"
    )]
    Missing {
        topic: Topic,
        partition: i32,
        from: i64,
        to: i64,
        at: i64,
    },
    #[error("the record at offset {offset} of ticks is not one: {reason}")]
    Ticks { offset: i64, reason: String },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}
