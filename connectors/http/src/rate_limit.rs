//! The headers that tell a client how much it may still send.
//!
//! Two names for each, as clients know one or the other: the draft standard's and the older `X-` form.

use axum::http::{HeaderName, HeaderValue};

/// What stands in the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// What the client may send.
    pub limit: u64,
    /// What it may still send now.
    pub remaining: u64,
    /// Until it may send more, in seconds.
    pub reset_s: u64,
}

impl RateLimit {
    /// The headers of an answer.
    pub fn headers(self) -> [(HeaderName, HeaderValue); 6] {
        [
            ("ratelimit-limit", self.limit),
            ("x-ratelimit-limit", self.limit),
            ("ratelimit-remaining", self.remaining),
            ("x-ratelimit-remaining", self.remaining),
            ("ratelimit-reset", self.reset_s),
            ("x-ratelimit-reset", self.reset_s),
        ]
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from(value)))
    }
}
