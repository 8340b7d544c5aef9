//! `--horizon-from-file`: what the capture needs the tenant's settings to be.
//!
//! What a newcomer would get wrong: settings are only ever widened, and a capture that needs less than
//! what stands is no reason to write.

use std::{io::BufRead, time::Duration};

use openinfra_schemas::time::HOUR_MS;
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::source::read;
use crate::{
    client::{Client, ClientError},
    clock::now,
};

const SETTINGS: &str = "/api/v1/tenant/settings";
/// What is added to what the capture needs: the replay takes time, clocks differ.
const MARGIN_MS: i64 = 24 * HOUR_MS;
const GUARD_MARGIN_MS: i64 = 300_000;

/// How far event times lie from receive times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spread {
    /// By how much the oldest lies before its receive time.
    pub behind_ms: i64,
    /// By how much the newest lies after it.
    pub ahead_ms: i64,
}

/// What was done to the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Widened {
    pub horizon_ms: i64,
    pub future_guard_ms: i64,
    /// False: they were wide enough.
    pub changed: bool,
}

/// Reads a capture once for its event times. Lines that are no reading are left for the second pass.
///
/// # Errors
/// When the capture cannot be read.
pub fn scan(mut capture: impl BufRead, trust_recv: bool) -> std::io::Result<Spread> {
    let now = now();
    let mut spread = Spread::default();
    let mut text = Vec::new();
    while capture.read_until(b'\n', &mut text)? > 0 {
        if let Ok(line) = read(&text) {
            // Without a receive time of its own, a trusted line was received when it happened.
            let received = if trust_recv {
                line.recv_ts.unwrap_or(line.ts)
            } else {
                now
            };
            let behind = received.saturating_sub(line.ts);
            spread.behind_ms = spread.behind_ms.max(behind);
            spread.ahead_ms = spread.ahead_ms.max(0_i64.saturating_sub(behind));
        }
        text.clear();
    }
    Ok(spread)
}

impl Spread {
    /// The settings that let every reading through, from those in force.
    pub fn widen(self, horizon_ms: i64, future_guard_ms: i64) -> Widened {
        let behind = if self.behind_ms > horizon_ms - MARGIN_MS / 2 {
            self.behind_ms.saturating_add(MARGIN_MS)
        } else {
            horizon_ms
        };
        let ahead = if self.ahead_ms > future_guard_ms {
            self.ahead_ms.saturating_add(GUARD_MARGIN_MS)
        } else {
            future_guard_ms
        };
        let horizon = behind.max(horizon_ms);
        Widened {
            horizon_ms: horizon,
            future_guard_ms: ahead,
            changed: (horizon, ahead) != (horizon_ms, future_guard_ms),
        }
    }
}

/// Widens the settings behind an API. A write that was overtaken by another's is done again.
pub async fn widen(client: &Client, spread: Spread) -> Result<Widened, ClientError> {
    const WHAT: &str = "widening the tenant's horizon";
    let mut attempts = 0;
    loop {
        let found = client.get(WHAT, SETTINGS).await?;
        let (wanted, body) = body(&found.body, spread)?;
        if !wanted.changed {
            return Ok(wanted);
        }
        let etag = found.etag.ok_or_else(|| shape("no ETag"))?;
        match client.put(WHAT, SETTINGS, &etag, &body).await {
            Err(ClientError::Refused { status, .. }) if status == 412 && attempts < 5 => {
                attempts += 1
            }
            other => return other.map(|_| wanted),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The error of [`widen`], with where the settings are when nobody has them where they were looked for.
pub fn explained(error: ClientError) -> anyhow::Error {
    let elsewhere =
        matches!(&error, ClientError::Refused { status, .. } if *status == StatusCode::NOT_FOUND);
    let error = anyhow::Error::new(error);
    match elsewhere {
        true => error.context(
            "the tenant's settings are at the API (`up`, `serve`), and not at `ingest`; name it with --api \
             http://HOST:PORT",
        ),
        false => error,
    }
}

fn body(found: &Value, spread: Spread) -> Result<(Widened, Value), ClientError> {
    let number = |name: &str| {
        found[name]
            .as_i64()
            .ok_or_else(|| shape(&format!("{name} is no whole number")))
    };
    let wanted = spread.widen(number("horizon_ms")?, number("future_guard_ms")?);
    // A PUT replaces every writable field.
    let body = json!({
        "horizon_ms": wanted.horizon_ms,
        "future_guard_ms": wanted.future_guard_ms,
        "auto_register": found["auto_register"],
    });
    Ok((wanted, body))
}

fn shape(detail: &str) -> ClientError {
    ClientError::Shape {
        what: "the tenant's settings".to_owned(),
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * HOUR_MS;

    #[test]
    fn the_oldest_and_the_newest_line_count() {
        let now = now();
        let capture = format!(
            "{{\"sensor_id\":\"a\",\"ts\":{},\"value\":1}}\nrubbish\n{{\"sensor_id\":\"a\",\"ts\":{},\"value\":1}}\n",
            now - 400 * DAY_MS,
            now + DAY_MS,
        );
        let spread = scan(capture.as_bytes(), false).unwrap();
        assert!((400 * DAY_MS..400 * DAY_MS + 60_000).contains(&spread.behind_ms));
        assert!((DAY_MS - 60_000..=DAY_MS).contains(&spread.ahead_ms));
        // Trusted receive times: no line has one, so that each counts as received when it happened.
        assert_eq!(scan(capture.as_bytes(), true).unwrap(), Spread::default());
    }

    #[test]
    fn settings_are_only_widened() {
        let spread = Spread {
            behind_ms: 10 * DAY_MS,
            ahead_ms: 0,
        };
        let widened = spread.widen(DAY_MS, 300_000);
        assert_eq!(widened.horizon_ms, 11 * DAY_MS);
        assert_eq!(widened.future_guard_ms, 300_000);
        assert!(widened.changed);
        assert!(!spread.widen(30 * DAY_MS, 300_000).changed);
        assert!(!spread.widen(widened.horizon_ms, 300_000).changed);
    }
}
