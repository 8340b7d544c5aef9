//! One view a file: what it holds, its definition in plain Rust, and the test that both agree.

pub mod alert;
pub mod asset_health;
pub mod facts;
pub mod hourly_aggregate;
pub mod indicators;
pub mod latest_reading;
pub mod ledger;
pub mod offline_episode;
pub mod readings;
pub mod sensor_seen;
pub mod sensor_status;

#[cfg(test)]
mod definition;
#[cfg(test)]
mod testing;
