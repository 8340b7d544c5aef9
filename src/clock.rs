//! The wall clock, for all that is not a view: receive times, ages of requests, what a client waits for.
//!
//! A newcomer would use it for what views hold; those know ticks only.

use std::time::SystemTime;

use openinfra_schemas::time::Millis;

/// Milliseconds since the epoch, now; 0 for a clock that stands before it.
pub fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    since.as_millis() as Millis
}
