//! What the tests share: a job that fills a folder's store, and the verification of it.
//!
//! A newcomer would build the expected views here. The job makes one side and the verification the other;
//! a test only makes traffic, and changes rows.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

use std::{ops::Deref, sync::Arc};

use openinfra_log::Log;
pub use openinfra_testing::{
    PARTITIONS, bad, now, reading, sensor, sensor_change, settings_change,
};
use openinfra_verify::{Options, Report, VerifyError, verify};
use openinfra_views::{Config, Job, JobHandle};

/// A data folder whose views are made and verified.
pub struct Folder(openinfra_testing::Folder);

impl Deref for Folder {
    type Target = openinfra_testing::Folder;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Folder {
    pub async fn new() -> Self {
        Self(openinfra_testing::Folder::new().await)
    }

    pub async fn start(&self) -> JobHandle {
        self.start_with(40).await
    }

    /// Starts a job whose rows of `hourly_aggregate` wait for so many milliseconds.
    pub async fn start_with(&self, hourly_interval_ms: u64) -> JobHandle {
        let config = Config {
            hourly_interval_ms: Some(hourly_interval_ms),
            ..Self::config()
        };
        self.start_on(Arc::clone(&self.log), config).await
    }

    /// Small ticks, in smaller pieces, and blocks that have to be fetched again.
    fn config() -> Config {
        Config {
            workers: 2,
            tick_interval_ms: Some(2),
            idle_interval_ms: 10,
            max_records_per_tick: Some(60),
            // A few records: most ticks are fed in several pieces.
            max_piece_bytes: 600,
            block_cache_bytes: 20_000,
            ..Config::default()
        }
    }

    pub async fn start_on(&self, log: Arc<dyn Log>, config: Config) -> JobHandle {
        let registry = prometheus::Registry::new();
        let (store, codec) = (Arc::clone(&self.store), Arc::clone(&self.codec));
        Job::start(config, log, store, codec, &registry)
            .await
            .unwrap()
    }

    /// Runs the job until it has everything, then stops it.
    pub async fn catch_up(&self) {
        let job = self.start().await;
        self.wait_covered().await;
        job.stop().await.unwrap();
    }

    pub async fn verify(&self) -> Report {
        self.try_verify().await.unwrap()
    }

    pub async fn try_verify(&self) -> Result<Report, VerifyError> {
        self.verify_with(Options::default()).await
    }

    pub async fn verify_with(&self, options: Options) -> Result<Report, VerifyError> {
        let (log, store) = (Arc::clone(&self.log), Arc::clone(&self.store));
        let codec = Arc::clone(&self.codec);
        // As a server does: only what is `Send` can be spawned.
        let verified = tokio::spawn(async move { verify(&*log, &*store, &codec, options).await });
        verified.await.unwrap()
    }
}

/// The same numbers in every run of one seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}
