//! What an operator sets about taking readings in.
//!
//! Zero is never "no limit" here: where there may be none, the setting says so in its own word.

use serde::Deserialize;

/// How much is taken from whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Readings a second that a key may send when it says nothing of its own. 20,000 by default.
    pub readings_per_s: u32,
    /// Readings that a key may send at once after a pause. 60,000 by default. A key with a rate of its
    /// own may send three seconds' worth, but never less than the largest batch.
    pub burst: u32,
    /// Whether the dev principal is held to a rate, too. It is not by default.
    pub limit_dev: bool,
    /// Bytes that all connectors together hold between the socket and the log: messages, what they
    /// inflate to, and the records made of them. Beyond it HTTP answers 503 and MQTT stops reading. At least
    /// 32 MiB, as much as the largest batch takes; 64 MiB by default.
    pub in_flight_bytes: usize,
}

/// The largest batch over HTTP, in readings; no burst is less, as such a batch could never pass.
pub const MAX_BATCH: u32 = 10_000;

impl Default for Config {
    fn default() -> Self {
        Self {
            readings_per_s: 20_000,
            burst: 60_000,
            limit_dev: false,
            in_flight_bytes: 64 << 20,
        }
    }
}
