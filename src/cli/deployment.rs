//! Where log, schemas and store are: what every command that opens them is told.

use std::path::PathBuf;

use clap::Args;

use crate::deployment::{LogPlace, RegistryPlace, StorePlace};

/// Flags that say where log, schemas and store are. What none says is embedded, in `--data`.
#[derive(Debug, Clone, Default, Args)]
pub struct DeploymentArgs {
    /// Folder that keeps whatever is embedded; a server makes it when it is not there [default:
    /// .openinfra/data, for `demo` a temporary folder]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where the log is: `embedded`, or kafka://HOST:PORT[,HOST:PORT…] [default: embedded]
    #[arg(long, value_name = "PLACE")]
    pub log: Option<LogPlace>,
    /// Where schemas are registered: `embedded`, or the URL of a Confluent-compatible registry
    /// [default: embedded]
    #[arg(long, value_name = "PLACE")]
    pub registry: Option<RegistryPlace>,
    /// Where views and entities are: `embedded`, or cql://HOST:PORT[,HOST:PORT…]/KEYSPACE
    /// [default: embedded]
    #[arg(long, value_name = "PLACE")]
    pub store: Option<StorePlace>,
    /// What the names of our Kafka topics and subjects begin with [default: nothing]
    #[arg(long, value_name = "PREFIX")]
    pub topic_prefix: Option<String>,
    /// Configuration in TOML
    #[arg(long, value_name = "FILE", env = "OPENINFRA_CONFIG")]
    pub config: Option<PathBuf>,
}
