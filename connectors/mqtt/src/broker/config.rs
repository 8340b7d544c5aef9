//! What an operator sets for the client of a broker.
//!
//! What a newcomer would get wrong: `client_id` names the session at the broker, in which waits what was not
//! acknowledged. It has to be the same after a restart, and another one in each process.

use std::{path::PathBuf, time::Duration};

use openinfra_schemas::Secret;
use serde::Deserialize;

/// Settings of one client; `url` and `tenant` are required.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What this client is called in metrics and the log, and in the default client id. Default `broker`.
    #[serde(default = "default::name")]
    pub name: String,
    /// `mqtt://HOST[:1883]`, or `mqtts://HOST[:8883]` with `tls`.
    pub url: String,
    /// Whose readings these are. A topic that names another tenant is refused.
    pub tenant: String,
    /// The session's name at the broker: stable, and another one in each process. `{instance}` and `{name}`
    /// stand for what those are. Default `openinfra-{instance}-{name}`.
    #[serde(default = "default::client_id")]
    pub client_id: String,
    /// Which of the processes with these settings this one is; whoever starts it sets it, as a file says the
    /// same to all of them. Default: the host's name, a pod's in Kubernetes.
    #[serde(skip)]
    pub instance: Option<String>,
    /// User name at the broker. Default: none.
    #[serde(default)]
    pub user: Option<String>,
    /// Password at the broker; needs `user`. Default: none.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Certificates for `mqtts://`.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Topic filters, without `$share`. Default: `sensors/+/data` and `tenants/TENANT/sensors/+/data`.
    /// Filters must not overlap, or messages come twice.
    #[serde(default)]
    pub topics: Vec<String>,
    /// The group of clients that share the messages; empty: this client gets all. Default `openinfra`.
    #[serde(default = "default::share")]
    pub share: String,
    /// Take receive times from the payloads. Default: no.
    #[serde(default)]
    pub trust_recv: bool,
    /// Readings a second that are taken; the broker is held back beyond. Default: no limit.
    #[serde(default)]
    pub readings_per_s: Option<u32>,
    /// Seconds between pings, at least 5. Default 30.
    #[serde(default = "default::keep_alive_s")]
    pub keep_alive_s: u16,
    /// How long the broker keeps the session while this client is away, in seconds. What it kept is lost
    /// after that. Default 86,400: a day.
    #[serde(default = "default::session_expiry_s")]
    pub session_expiry_s: u32,
    /// Messages that the broker may send before one is acknowledged, 1 to 65,535. Default 2,048.
    #[serde(default = "default::receive_maximum")]
    pub receive_maximum: u16,
    /// The largest packet, in bytes; the broker discards larger ones. Default 1 MiB.
    #[serde(default = "default::max_packet_bytes")]
    pub max_packet_bytes: u32,
    /// Bytes taken and not yet committed at which reading pauses. Default 8 MiB.
    #[serde(default = "default::in_flight_bytes")]
    pub in_flight_bytes: usize,
    /// Time from connecting to CONNACK, TLS included, in seconds. Default 10.
    #[serde(default = "default::connect_timeout_s")]
    pub connect_timeout_s: u64,
    /// The longest pause between two attempts to connect, in milliseconds. Default 10,000.
    #[serde(default = "default::reconnect_max_ms")]
    pub reconnect_max_ms: u64,
    /// How long to wait for commits in flight at the end, in milliseconds. Default 5,000.
    #[serde(default = "default::drain_timeout_ms")]
    pub drain_timeout_ms: u64,
}

/// Certificates, as PEM files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificates that the broker's has to be signed by; no others are trusted.
    pub ca: PathBuf,
    /// The client's own certificate chain, where the broker asks for one; needs `key`.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// The private key of `cert`.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

impl Config {
    /// The defaults for a broker and a tenant.
    pub fn new(url: impl Into<String>, tenant: impl Into<String>) -> Self {
        Self {
            name: default::name(),
            url: url.into(),
            tenant: tenant.into(),
            client_id: default::client_id(),
            instance: None,
            user: None,
            password: None,
            tls: None,
            topics: Vec::new(),
            share: default::share(),
            trust_recv: false,
            readings_per_s: None,
            keep_alive_s: default::keep_alive_s(),
            session_expiry_s: default::session_expiry_s(),
            receive_maximum: default::receive_maximum(),
            max_packet_bytes: default::max_packet_bytes(),
            in_flight_bytes: default::in_flight_bytes(),
            connect_timeout_s: default::connect_timeout_s(),
            reconnect_max_ms: default::reconnect_max_ms(),
            drain_timeout_ms: default::drain_timeout_ms(),
        }
    }

    pub(crate) fn reconnect_max(&self) -> Duration {
        Duration::from_millis(self.reconnect_max_ms)
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }

    /// The filters as they are sent.
    pub(crate) fn filters(&self) -> Vec<String> {
        let plain = match self.topics.is_empty() {
            false => self.topics.clone(),
            true => vec![
                "sensors/+/data".to_owned(),
                format!("tenants/{}/sensors/+/data", self.tenant),
            ],
        };
        match self.share.as_str() {
            "" => plain,
            group => plain
                .into_iter()
                .map(|filter| format!("$share/{group}/{filter}"))
                .collect(),
        }
    }
}

mod default {
    pub fn name() -> String {
        "broker".to_owned()
    }
    pub fn client_id() -> String {
        "openinfra-{instance}-{name}".to_owned()
    }
    pub fn share() -> String {
        "openinfra".to_owned()
    }
    pub fn keep_alive_s() -> u16 {
        30
    }
    pub fn session_expiry_s() -> u32 {
        86_400
    }
    pub fn receive_maximum() -> u16 {
        2_048
    }
    pub fn max_packet_bytes() -> u32 {
        1 << 20
    }
    pub fn in_flight_bytes() -> usize {
        8 << 20
    }
    pub fn connect_timeout_s() -> u64 {
        10
    }
    pub fn reconnect_max_ms() -> u64 {
        10_000
    }
    pub fn drain_timeout_ms() -> u64 {
        5_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_and_tenant_are_enough() {
        let json = r#"{"url": "mqtt://broker", "tenant": "acme"}"#;
        let config: Config = serde_json::from_str(json).unwrap();
        let filters = [
            "$share/openinfra/sensors/+/data",
            "$share/openinfra/tenants/acme/sensors/+/data",
        ];
        assert_eq!(config.filters(), filters);
        assert_eq!(
            format!("{config:?}"),
            format!("{:?}", Config::new("mqtt://broker", "acme"))
        );
    }

    #[test]
    fn without_a_group_filters_stand_as_they_are() {
        let config = Config {
            share: String::new(),
            topics: vec!["a/#".to_owned()],
            ..Config::new("mqtt://broker", "acme")
        };
        assert_eq!(config.filters(), ["a/#"]);
    }

    #[test]
    fn unknown_settings_are_refused_and_passwords_are_not_shown() {
        let json = r#"{"url": "mqtt://b", "tenant": "a", "passwd": "x"}"#;
        assert!(serde_json::from_str::<Config>(json).is_err());
        let json = r#"{"url": "mqtt://b", "tenant": "a", "user": "u", "password": "pssst"}"#;
        let config: Config = serde_json::from_str(json).unwrap();
        assert!(!format!("{config:?}").contains("pssst"));
    }
}
