//! The write path over the embedded log and store: what an answer promises, whatever fails or crashes.
//!
//! The crash tests start this very binary again; [`crash::child`] is what then runs, and does nothing
//! otherwise.
#![allow(clippy::unwrap_used)] // Tests.

mod crash;
mod harness;
mod model;
mod rules;
mod trouble;
mod writes;
