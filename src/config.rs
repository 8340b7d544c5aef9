//! What an operator sets: one TOML file, `OPENINFRA_…` variables over it, flags over both.
//!
//! A newcomer would expect a misspelt key to do nothing. It is an error that names the key, from the
//! file and from the environment alike, before any port opens.

mod check;
mod culprit;
#[cfg(test)]
mod documented;
mod error;
mod flags;
mod read;
#[cfg(test)]
mod testing;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use openinfra_api::MAX_INGEST_BODY_BYTES;
use openinfra_schemas::Secret;
use serde::Deserialize;

use crate::cli::{DeploymentArgs, ServerArgs};

pub use error::ConfigError;

/// The whole configuration of every process of the product. Each part keeps its own settings and their defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of log and views; made when it is not there. Default: `.openinfra/data`.
    pub data: PathBuf,
    /// `[kafka]`: where the log is; none: in the folder.
    pub kafka: Option<openinfra_kafka::Config>,
    /// `[registry]`: where schemas are; none: in the folder.
    pub registry: Option<openinfra_registry::Config>,
    /// `[cql]`: where views and entities are; none: in the folder.
    pub cql: Option<openinfra_scylla::Config>,
    /// `[views]`: where `serve` finds the process that runs the job.
    pub views: Views,
    /// `[http]`: the API, and ingest over HTTP.
    pub http: Http,
    /// `[mqtt]`: the listener that devices connect to; `[mqtt.tls]`: its TLS port.
    pub mqtt: openinfra_mqtt::config::Config,
    /// `[[broker]]`: brokers of others whose messages are taken.
    pub broker: Vec<openinfra_mqtt::broker::Config>,
    /// Which of several processes that share this file this one is: `{instance}` in the client ids of
    /// `[[broker]]`. Default: the host's name.
    pub instance: Option<String>,
    /// `[ingest]`: how much is taken from whom.
    pub ingest: openinfra_ingest::Config,
    /// `[job]`: what keeps the views.
    pub job: openinfra_views::Config,
    pub log: Log,
    /// How long to finish what was taken once the process is asked to stop, in milliseconds. Default
    /// 20,000.
    pub drain_timeout_ms: u64,
}

/// `[http]`: the API and ingest over HTTP.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Default: `127.0.0.1:8080`. Put a proxy that speaks TLS before anything but loopback.
    pub bind: SocketAddr,
    /// The largest body with readings, before inflating and after, in bytes. Default and most: 10 MiB.
    pub max_body_bytes: usize,
    /// `[http.limits]`: how many requests are taken from whom. Readings are limited by `[ingest]`.
    pub limits: openinfra_api::Limits,
}

/// `[views]`: the process that runs the job, for whoever does not.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Views {
    /// As `http://HOST:PORT`, the address of `openinfra views run`; none: what holds ticks is refused.
    pub url: Option<String>,
    /// A key with `manage_platform`.
    pub api_key: Option<Secret>,
}

/// `[log]`: what this process tells about itself, on standard error.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// As `OPENINFRA_LOG`, which wins. Default: `info`.
    pub filter: Option<String>,
    /// One JSON object a line.
    pub json: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from(".openinfra/data"),
            kafka: None,
            registry: None,
            cql: None,
            views: Views::default(),
            http: Http::default(),
            mqtt: openinfra_mqtt::config::Config::default(),
            broker: Vec::new(),
            instance: None,
            ingest: openinfra_ingest::Config::default(),
            job: openinfra_views::Config::default(),
            log: Log::default(),
            drain_timeout_ms: 20_000,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_body_bytes: MAX_INGEST_BODY_BYTES,
            limits: openinfra_api::Limits::default(),
        }
    }
}

impl Config {
    /// Merges file, environment and flags, and checks the result.
    pub fn load(args: &ServerArgs, dev: bool) -> Result<Self, ConfigError> {
        let mut config = Self::merged(&args.deployment)?;
        config.apply(args);
        config.check(dev)?;
        Ok(config)
    }

    /// As [`Config::load`], for a command that opens what a server works on and is none.
    pub fn load_deployment(args: &DeploymentArgs) -> Result<Self, ConfigError> {
        let config = Self::merged(args)?;
        config.check(false)?;
        Ok(config)
    }

    /// The defaults, on another folder.
    pub fn of_folder(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            ..Self::default()
        }
    }

    /// Whether anything is kept in the data folder.
    pub fn needs_folder(&self) -> bool {
        self.kafka.is_none() || self.registry.is_none() || self.cql.is_none()
    }

    fn merged(args: &DeploymentArgs) -> Result<Self, ConfigError> {
        // Names and values that are no Unicode are none of ours.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let mut config = Self::read(args.config.as_deref(), variables)?;
        config.place(args);
        if args.topic_prefix.is_some() && config.kafka.is_none() && config.registry.is_none() {
            return Err(ConfigError::Prefix);
        }
        config.name_subjects();
        if config.kafka.is_some() || config.cql.is_some() {
            config.job.on_servers();
        }
        Ok(config)
    }

    /// A subject is called after its topic, where nothing else was set.
    fn name_subjects(&mut self) {
        if let (Some(kafka), Some(registry)) = (&self.kafka, &mut self.registry)
            && registry.subject_prefix.is_empty()
        {
            registry.subject_prefix.clone_from(&kafka.topic_prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::from_file;

    #[test]
    fn subjects_are_called_after_their_topics() {
        let text = "[kafka]\ntopic_prefix = \"city.\"\n[registry]\nurl = \"http://r:8081\"\n";
        let mut config = from_file(text).unwrap();
        config.name_subjects();
        assert_eq!(config.registry.unwrap().subject_prefix, "city.");
        let own = format!("{text}subject_prefix = \"own.\"\n");
        let mut config = from_file(&own).unwrap();
        config.name_subjects();
        assert_eq!(config.registry.unwrap().subject_prefix, "own.");
    }
}
