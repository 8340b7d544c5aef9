//! One view a file: its definition over whole histories. Nothing here reads the log or knows of changes.

pub(crate) mod alerts;
pub(crate) mod hourly;
pub(crate) mod latest;
pub(crate) mod ledger;
pub(crate) mod lists;
pub(crate) mod outcome;
pub(crate) mod readings;
pub(crate) mod rollups;
pub(crate) mod sensors;
pub(crate) mod status;
mod totals;

pub(crate) use totals::Totals;
