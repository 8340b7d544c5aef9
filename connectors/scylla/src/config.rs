//! What an operator sets to reach the cluster.

use std::{path::PathBuf, time::Duration};

use openinfra_schemas::Secret;
use serde::Deserialize;

/// How to reach the cluster, and how much to ask of it.
///
/// Reads and writes are at QUORUM, conditional ones at SERIAL; that cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `host:port` of nodes to ask first; the others are learned from them.
    pub contact_points: Vec<String>,
    /// Letters, digits and underscores, 48 at most.
    pub keyspace: String,
    /// Nodes of this data centre are asked before others; default: any.
    #[serde(default)]
    pub datacenter: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub password: Option<Secret>,
    /// Default: no TLS.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// How long one request may take, in milliseconds; default 5,000.
    #[serde(default = "default_request_timeout_ms")]
    pub request_timeout_ms: u64,
    /// How many requests may be under way at once; default 256.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight: usize,
}

/// TLS towards the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the certificates to trust; nothing else is trusted.
    pub ca: PathBuf,
    /// PEM file with our own certificate chain, where the cluster asks for one.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// PEM file with the key of `cert`.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

impl Config {
    /// The defaults with these contact points and this keyspace.
    pub fn new(contact_points: Vec<String>, keyspace: impl Into<String>) -> Self {
        Self {
            contact_points,
            keyspace: keyspace.into(),
            datacenter: None,
            user: None,
            password: None,
            tls: None,
            request_timeout_ms: default_request_timeout_ms(),
            max_in_flight: default_max_in_flight(),
        }
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms.max(1))
    }

    /// What is wrong with it, in a sentence.
    pub fn check(&self) -> Result<(), String> {
        let name = self.keyspace.as_bytes();
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        if name.is_empty() || name.len() > 48 || !name.iter().all(is_word) {
            return Err(format!(
                "the keyspace {:?} is not 1 to 48 letters, digits and underscores",
                self.keyspace
            ));
        }
        if self.contact_points.is_empty() {
            return Err("there is no contact point".to_owned());
        }
        if self.user.is_some() != self.password.is_some() {
            return Err("user and password go together".to_owned());
        }
        if self.max_in_flight == 0 {
            return Err("max_in_flight is 0".to_owned());
        }
        Ok(())
    }
}

fn default_request_timeout_ms() -> u64 {
    5_000
}

fn default_max_in_flight() -> usize {
    256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let config = Config {
            user: Some("views".to_owned()),
            password: Some(Secret::new("open sesame")),
            ..Config::new(vec!["127.0.0.1:9042".to_owned()], "openinfra")
        };
        assert_eq!(config.check(), Ok(()));
        let shown = format!("{config:?}");
        assert!(
            shown.contains("views") && !shown.contains("sesame"),
            "{shown}"
        );
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let good = Config::new(vec!["127.0.0.1:9042".to_owned()], "openinfra");
        let mut bad = vec![Config::new(vec![], "openinfra")];
        for keyspace in ["", "with space", "quote\"", "é", &"x".repeat(49)] {
            bad.push(Config {
                keyspace: keyspace.to_owned(),
                ..good.clone()
            });
        }
        bad.push(Config {
            user: Some("views".to_owned()),
            ..good.clone()
        });
        bad.push(Config {
            max_in_flight: 0,
            ..good
        });
        for config in bad {
            assert!(config.check().is_err(), "{config:?}");
        }
    }
}
