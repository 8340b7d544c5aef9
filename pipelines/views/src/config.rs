//! What an operator sets of the job.
//!
//! A newcomer would think that `workers` may follow the load: views do not depend on it, but changing it
//! means a restart, which replays.

use std::time::Duration;

use openinfra_schemas::time::Millis;
use serde::Deserialize;

/// Settings of the views job. All have defaults, those of the embedded deployment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Timely workers, each a thread. At least 1; more than partitions of `readings` stay idle.
    pub workers: usize,
    /// How long to wait between two ticks while records arrive, in milliseconds. None: 20, or what
    /// [`Config::on_servers`] says.
    pub tick_interval_ms: Option<u64>,
    /// A row of `hourly_aggregate` is written at most once in so many milliseconds; readers are told how
    /// far the view is. 0: with every tick that changes it. None: 0, or what [`Config::on_servers`] says.
    pub hourly_interval_ms: Option<u64>,
    /// How long to wait between two ticks while none arrives, in milliseconds.
    pub idle_interval_ms: u64,
    /// Records that one tick covers at most. Of three times as many there is something in memory while the job
    /// catches up, about a kilobyte each. None: 8,000, or what [`Config::on_servers`] says.
    pub max_records_per_tick: Option<usize>,
    /// Ticks that wait for the store are written together until their rows have so many bytes. None: 4 MiB,
    /// or what [`Config::on_servers`] says.
    pub max_commit_bytes: Option<usize>,
    /// Records of a tick are fed to a worker in pieces of so many bytes: a tick of a backlog may cover more than
    /// there is memory for. What is read ahead, at work or not yet written is at most 64 MiB of records, or
    /// 26 MiB for each worker where that is more.
    pub max_piece_bytes: usize,
    /// No new tick is decided while more than so many are not committed; each covers more then.
    pub max_uncommitted_ticks: usize,
    /// What the history blocks of all workers together may hold, in bytes.
    pub block_cache_bytes: usize,
    /// How long [`JobHandle::hold`](crate::JobHandle::hold) waits for ticks in flight, in milliseconds.
    pub hold_timeout_ms: u64,
    /// How long [`JobHandle::stop`](crate::JobHandle::stop) waits for ticks in flight, in milliseconds.
    pub stop_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: 2,
            tick_interval_ms: None,
            hourly_interval_ms: None,
            idle_interval_ms: 1_000,
            max_records_per_tick: None,
            max_commit_bytes: None,
            max_piece_bytes: 4 << 20,
            max_uncommitted_ticks: 4,
            block_cache_bytes: 32 << 20,
            hold_timeout_ms: 30_000,
            stop_timeout_ms: 10_000,
        }
    }
}

/// Between two ticks where log and store are in this process.
const EMBEDDED_TICK_MS: u64 = 20;
/// Between two ticks where they are servers: what a tick covers of a bucket is one request, and most of what a
/// small one costs a database is the request.
const SERVERS_TICK_MS: u64 = 250;

/// Of three rows that a reading changes, the hour's is the one that nobody waits for.
const SERVERS_HOURLY_MS: u64 = 5_000;

/// As [`Config::max_records_per_tick`]: the process is to stay small on a laptop.
const EMBEDDED_TICK_RECORDS: usize = 8_000;
/// A sensor's rows are rewritten once a commit, and a request of 64 rows costs a database little more than
/// one of three: while catching up, what one commit covers decides how fast it goes.
const SERVERS_TICK_RECORDS: usize = 100_000;

const EMBEDDED_COMMIT_BYTES: usize = 4 << 20;
const SERVERS_COMMIT_BYTES: usize = 32 << 20;

impl Config {
    /// As it is for a log or a store that is a server of its own, where nothing else was set.
    pub fn on_servers(&mut self) {
        self.tick_interval_ms.get_or_insert(SERVERS_TICK_MS);
        self.hourly_interval_ms.get_or_insert(SERVERS_HOURLY_MS);
        self.max_records_per_tick
            .get_or_insert(SERVERS_TICK_RECORDS);
        self.max_commit_bytes.get_or_insert(SERVERS_COMMIT_BYTES);
    }

    pub(crate) fn hourly_interval_ms(&self) -> Millis {
        let interval = self.hourly_interval_ms.unwrap_or(0);
        Millis::try_from(interval).unwrap_or(Millis::MAX)
    }

    pub(crate) fn max_records_per_tick(&self) -> usize {
        self.max_records_per_tick.unwrap_or(EMBEDDED_TICK_RECORDS)
    }

    pub(crate) fn max_commit_bytes(&self) -> usize {
        self.max_commit_bytes.unwrap_or(EMBEDDED_COMMIT_BYTES)
    }

    pub(crate) fn tick_interval(&self) -> Duration {
        Duration::from_millis(self.tick_interval_ms.unwrap_or(EMBEDDED_TICK_MS))
    }

    pub(crate) fn idle_interval(&self) -> Duration {
        Duration::from_millis(self.idle_interval_ms)
    }

    pub(crate) fn hold_timeout(&self) -> Duration {
        Duration::from_millis(self.hold_timeout_ms)
    }

    pub(crate) fn stop_timeout(&self) -> Duration {
        Duration::from_millis(self.stop_timeout_ms)
    }

    /// Why these settings cannot be used, in a sentence.
    pub fn check(&self) -> Result<(), String> {
        let zero = [
            ("workers", self.workers == 0),
            ("tick_interval_ms", self.tick_interval_ms == Some(0)),
            ("idle_interval_ms", self.idle_interval_ms == 0),
            ("max_records_per_tick", self.max_records_per_tick == Some(0)),
            ("max_piece_bytes", self.max_piece_bytes == 0),
            ("hold_timeout_ms", self.hold_timeout_ms == 0),
        ];
        if let Some((name, _)) = zero.iter().find(|(_, zero)| *zero) {
            return Err(format!("{name} is 0; at least 1 is needed"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Set = fn(&mut Config);

    #[test]
    fn what_may_not_be_zero_is_named() {
        Config::default().check().unwrap();
        let with = |set: Set| {
            let mut config = Config::default();
            set(&mut config);
            config.check()
        };
        let may_be_none: [Set; 5] = [
            |c| c.hourly_interval_ms = Some(0),
            |c| c.max_commit_bytes = Some(0),
            |c| c.max_uncommitted_ticks = 0,
            |c| c.block_cache_bytes = 0,
            |c| c.stop_timeout_ms = 0,
        ];
        for set in may_be_none {
            with(set).unwrap();
        }
        let named: [(&str, Set); 6] = [
            ("workers", |c| c.workers = 0),
            ("tick_interval_ms", |c| c.tick_interval_ms = Some(0)),
            ("idle_interval_ms", |c| c.idle_interval_ms = 0),
            ("max_records_per_tick", |c| {
                c.max_records_per_tick = Some(0);
            }),
            ("max_piece_bytes", |c| c.max_piece_bytes = 0),
            ("hold_timeout_ms", |c| c.hold_timeout_ms = 0),
        ];
        for (name, set) in named {
            let error = with(set).unwrap_err();
            assert!(error.starts_with(&format!("{name} is 0")), "{error}");
        }
    }
}
