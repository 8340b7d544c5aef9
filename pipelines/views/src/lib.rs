//! Log to operators to store: ticks bind offsets to time, workers turn records into rows, one batch a
//! tick makes them visible.
//!
//! Start with `job.rs`, which shows the parts and how they hang together. What a newcomer would get wrong:
//! nothing has an effect when it is decided. A tick is appended to the log, and acted on only when it is
//! read back (`tick_reader.rs`).

mod begin;
mod clock;
mod commit;
mod config;
mod context;
mod counts;
mod cursor;
mod cut;
mod decode;
mod ends;
mod error;
mod feed;
mod history;
mod hold;
mod hours;
mod job;
mod judge;
mod log_clock;
mod marks;
mod metrics;
mod purse;
mod render;
mod retry;
mod same_log;
mod status;
mod tick_reader;
mod tick_rules;
mod ticks;
mod verdicts;
mod worker;
mod writers;

pub use begin::check_same_log;
pub use clock::{Clock, MAX_STEP_MS, SystemClock};
pub use config::Config;
pub use error::JobError;
pub use hold::Held;
pub use job::{Job, JobHandle};
pub use status::JobStatus;
