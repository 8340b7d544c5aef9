//! Captures of real sensors, sent to the real binary, and its views held against computations of our own.
//!
//! What a newcomer would get wrong: the captures are not part of the repository. They are looked for in the
//! folder that `OPENINFRA_TEST_DATA` names, else in `../shared/data`; a test that does not find them, or no
//! `python3` to read them with, says so in a line and passes, unless `OPENINFRA_TEST_CAPTURES` is `required`.
//! `OPENINFRA_CAPTURES=full` takes the largest capture whole.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod airnow;
mod bad_input;
mod capture;
mod crash;
mod model;
mod purpleair;
mod rows;
mod series;
mod sources;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with other tests, which use other parts of it"
)]
mod support;
mod tampered;
mod workers;
