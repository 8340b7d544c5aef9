//! The command line, run as people run it: flags, configuration, exit codes, replays over each wire.
//!
//! What a newcomer would get wrong: exit codes are an interface. 64 says that the command was not
//! understood, before any port opened; 2 that a question could not be answered.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]
// Shared with other tests, which use more of it.
#![allow(dead_code, reason = "each test binary uses a part of the support")]

mod admin;
mod config;
mod demo;
mod dump;
#[cfg(feature = "failpoints")]
mod idempotency;
mod replay;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with other tests, which use other parts of it"
)]
mod support;
mod up;

use std::path::{Path, PathBuf};

/// A capture of `sensors` sensors with `each` readings a second apart, from `start` on.
fn capture(folder: &Path, start: i64, sensors: i64, each: i64) -> PathBuf {
    let mut lines = String::new();
    for n in 0..each {
        for sensor in 0..sensors {
            let (ts, value) = (start + n * 1_000, n as f64 / 2.0 + sensor as f64);
            lines.push_str(&format!(
                "{{\"sensor_id\":\"cli/{sensor}\",\"ts\":{ts},\"value\":{value},\"unit\":\"bar\",\"lat\":null,\"lon\":null}}\n"
            ));
        }
    }
    let file = folder.join("capture.ndjson");
    std::fs::write(&file, lines).unwrap();
    file
}

/// Now, in milliseconds since the epoch.
fn now() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
