//! What operators hear of clients that were refused or closed for cause: one line each, up to a bound.
//!
//! Anybody who reaches the port can be refused as often as he likes, so lines are bounded for the whole
//! listener; the first line after some were left out says how many.

use std::{net::SocketAddr, sync::Mutex, time::Duration};

use tokio::time::Instant;

/// Lines in each [`SPAN`], of all clients together.
const LINES: u32 = 20;
const SPAN: Duration = Duration::from_secs(1);
/// How much of a client id a line shows; CONNECT allows 64 kB.
const CLIENT_ID_CHARS: usize = 128;

/// The lines of one listener.
#[derive(Default)]
pub(crate) struct Complaints(Mutex<Span>);

#[derive(Default)]
struct Span {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Complaints {
    /// Says why a client was not let in, or is closed; `client_id` is empty when it is not known.
    pub fn closed(&self, address: SocketAddr, client_id: &str, reason: &dyn std::fmt::Display) {
        if let Some(left_out) = self.may_say(Instant::now()) {
            let client_id = shown(client_id);
            tracing::warn!(%address, ?client_id, %reason, left_out, "MQTT client closed for cause");
        }
    }

    /// None when there were too many lines; otherwise how many were left out since the last one.
    fn may_say(&self, now: Instant) -> Option<u64> {
        let mut span = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if span.since.is_none_or(|since| now >= since + SPAN) {
            (span.since, span.lines) = (Some(now), 0);
        }
        if span.lines >= LINES {
            span.left_out += 1;
            return None;
        }
        span.lines += 1;
        Some(std::mem::take(&mut span.left_out))
    }
}

/// The beginning of a client id, which a client may choose freely.
pub(crate) fn shown(client_id: &str) -> &str {
    match client_id.char_indices().nth(CLIENT_ID_CHARS) {
        Some((end, _)) => &client_id[..end],
        None => client_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_those_left_out_are_counted() {
        let complaints = Complaints::default();
        let now = Instant::now();
        for _ in 0..LINES {
            assert_eq!(complaints.may_say(now), Some(0));
        }
        assert_eq!(complaints.may_say(now), None);
        assert_eq!(complaints.may_say(now), None);
        assert_eq!(complaints.may_say(now + SPAN), Some(2));
        assert_eq!(complaints.may_say(now + SPAN), Some(0));
    }

    #[test]
    fn a_long_client_id_is_cut_between_characters() {
        assert_eq!(shown("a"), "a");
        assert_eq!(shown(&"ü".repeat(200)), "ü".repeat(CLIENT_ID_CHARS));
    }
}
