//! The client of a Confluent-compatible schema registry.
//!
//! What a newcomer would get wrong: whether a record is rejected hangs on one answer, that an id has no
//! schema. So only the registry's own word for it counts (`refusal.rs`); a proxy's 404, a login page or silence
//! mean that nothing is known yet, and whoever reads the record waits.

mod client;
mod config;
mod http;
mod level;
mod refusal;
mod reports;
mod wire;

pub use client::RegistryClient;
pub use config::{Config, ConfigError};
