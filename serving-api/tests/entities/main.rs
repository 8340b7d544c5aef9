//! The write path over the embedded log and store: what an answer promises, whatever fails or crashes.
//!
//! The crash tests start this very binary again; [`crash::child`] is what then runs, and does nothing
//! otherwise.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod crash;
mod harness;
mod model;
mod rules;
mod trouble;
mod verdicts;
mod writes;
