//! What an operator sets for the client.

use std::time::Duration;

use openinfra_schemas::Secret;
use serde::Deserialize;

/// Where the registry is, and who asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Base address of the Confluent API, without credentials: `http://HOST:8081`, with Apicurio
    /// `http://HOST:8080/apis/ccompat/v7`. With `https` the certificates of the system are trusted, or those
    /// that `SSL_CERT_FILE` names.
    pub url: String,
    /// Name for HTTP basic authentication. Default: none is sent.
    #[serde(default)]
    pub user: Option<String>,
    /// Password for it. Default: empty.
    #[serde(default)]
    pub password: Option<Secret>,
    /// What stands before each subject: the prefix of the deployment's topics. Default: nothing.
    #[serde(default)]
    pub subject_prefix: String,
    /// How long one request may take, in milliseconds; one that fails is sent up to three times more.
    /// Default 5,000.
    #[serde(default = "five_seconds")]
    pub timeout_ms: u64,
}

fn five_seconds() -> u64 {
    5_000
}

impl Config {
    /// The registry at an address, everything else as by default.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            user: None,
            password: None,
            subject_prefix: String::new(),
            timeout_ms: five_seconds(),
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// Why there is no client for a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The address is not repeated: it may hold a password.
    #[error("the schema registry's address is no URL of the form http://HOST:PORT: {0}")]
    Url(String),
    #[error(
        "the schema registry's address holds a name or a password: set them as user and password"
    )]
    Credentials,
    #[error("a password is set for the schema registry, and no user")]
    User,
    #[error("the schema registry's timeout is 0")]
    Timeout,
    #[error("there is no HTTP client: {0}")]
    Client(String),
}
