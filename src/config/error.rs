//! Why a configuration cannot be used.
//!
//! What a newcomer would get wrong: whoever reads it has the file before them and nothing else, so that each names
//! the key, what stands there, and what may.

use std::{net::SocketAddr, path::PathBuf};

use openinfra_intake::budget::LARGEST_BYTES;

use super::check::{LEAST_RECORD_BYTES, MOST_DELIVERY_MS};

/// Why a configuration cannot be used, in a sentence for whoever wrote it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("configuration file {path}: {source}")]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("configuration: {0}")]
    Wrong(String),
    #[error("configuration: variable {name}: {reason}")]
    Variable { name: String, reason: String },
    #[error(
        "--dev switches authentication off and binds loopback addresses only, and {what} {address} \
         is none; use 127.0.0.1, or leave --dev out and make keys with `openinfra admin create-key`"
    )]
    NotLoopback {
        what: &'static str,
        address: SocketAddr,
    },
    #[error("configuration: job.{0}")]
    Job(String),
    #[error("configuration: [{section}]: {reason}")]
    Section {
        section: &'static str,
        reason: String,
    },
    #[error("configuration: two of [[broker]] are called {0:?}")]
    Brokers(String),
    #[error("configuration: job.workers is {0}; 1 to 64 expected")]
    Workers(usize),
    #[error("configuration: ingest.in_flight_bytes is {0}; at least {LARGEST_BYTES} expected")]
    InFlight(usize),
    #[error(
        "{what} is one of several processes, which share no data folder: --log kafka://…, --registry \
         URL and --store cql://… are needed, and {missing} is embedded; `openinfra up` runs everything \
         in one process"
    )]
    OneProcess {
        what: &'static str,
        missing: &'static str,
    },
    #[error(
        "--topic-prefix names topics and subjects on servers; log and registry are embedded here"
    )]
    Prefix,
    #[error(
        "configuration: kafka.delivery_timeout_ms is {0}; at most {MOST_DELIVERY_MS} expected, so that \
         an append ends before the request that waits for it"
    )]
    Delivery(u32),
    #[error("configuration: {what} is {bytes}; 1 to {most} expected")]
    Bytes {
        what: String,
        bytes: usize,
        most: usize,
    },
    #[error(
        "configuration: {what} is {bytes}, and what is refused of it, in the ledger with its bytes, makes a \
         record larger than kafka.max_record_bytes, {limit}: set that to {least} at least, or {what} to {most} \
         at most"
    )]
    Record {
        what: String,
        bytes: usize,
        limit: usize,
        least: usize,
        most: usize,
    },
    #[error(
        "configuration: kafka.max_record_bytes is {0}; at least {LEAST_RECORD_BYTES} expected, so that any \
         entity fits"
    )]
    LeastRecord(usize),
}
