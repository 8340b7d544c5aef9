//! The API as its clients see it: the real router over the embedded log and store, laid out as the URLs.
//!
//! Views are written straight into the store here, as the job would; nothing of the job is linked.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod alerts;
mod app;
mod assets;
mod control;
mod conventions;
mod credentials;
mod dump;
mod full;
mod health;
mod idempotency;
mod indicators;
mod job;
mod ledger;
mod limits;
mod openapi;
mod registry;
mod rows;
mod sensors;
mod serve;
mod tenant_settings;
mod verify;
mod view_rows;
mod views;
mod wait;
mod walk;
