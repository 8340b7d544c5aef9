//! What the tests of the job and of its verification share: log and store, in a folder or on
//! real servers, records to append, and waiting.
//!
//! A newcomer would put the job in here. The verification links none of it, and its tests start it
//! themselves; this package knows neither.

#![expect(
    clippy::unwrap_used,
    reason = "only tests link it, and one that cannot go on ends"
)]

mod folder;
mod records;
mod servers;
mod wait;

pub use folder::{Folder, PARTITIONS, append_tick_record, progress, progress_key, wait_covered};
pub use records::{bad, now, reading, sensor, sensor_change, settings_change};
pub use servers::Servers;
pub use wait::until;
