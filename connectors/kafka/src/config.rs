//! What an operator sets.
//!
//! What a newcomer would get wrong: partitions are fixed for a topic's life. Another number here does not
//! change a topic that is there; it is refused at start.

use std::{path::PathBuf, time::Duration};

use openinfra_schemas::{Secret, topic::DEFAULT_PARTITIONS};
use serde::Deserialize;

/// The largest record in bytes, key and value together: a delivery of 10 MiB that stands in the ledger
/// as it came, and what the ledger says about it.
pub const DEFAULT_MAX_RECORD_BYTES: usize = 12 << 20;

/// How the log on Kafka is reached and laid out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `HOST:PORT` of some brokers; the others are learned from them.
    pub brokers: Vec<String>,
    /// Stands before the name of every topic: `city.` makes `city.readings`.
    pub topic_prefix: String,
    /// Partitions of each topic but `ticks`, which has one.
    pub partitions: i32,
    /// Copies of each topic that is made; by default three, or as many as there are brokers.
    pub replication_factor: Option<i32>,
    /// What is done about the topics at start.
    pub topics: Topics,
    /// How long a record may wait for others to go with it, in milliseconds.
    pub linger_ms: u32,
    /// Bytes of one partition that go together at most; a larger record goes alone.
    pub batch_bytes: usize,
    /// Bytes on their way to the brokers at which appends wait.
    pub queue_bytes: usize,
    /// The largest record, key and value together. Topics are made to take it.
    pub max_record_bytes: usize,
    /// Bytes that are read ahead of each partition that somebody reads.
    pub read_ahead_bytes: usize,
    /// How many may read one partition at different places without disturbing each other.
    pub readers: usize,
    /// How long an append is tried before it fails, in milliseconds.
    pub delivery_timeout_ms: u32,
    /// How long an answer is waited for, in milliseconds.
    pub request_timeout_ms: u32,
    /// How often the client's statistics become metrics, in milliseconds.
    pub statistics_interval_ms: u32,
    pub tls: Tls,
    pub sasl: Option<Sasl>,
}

/// What is done about the topics at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topics {
    /// Missing ones are made, all are checked.
    #[default]
    Create,
    /// All have to be there, and are checked.
    Check,
    /// All have to be there; only their partitions are counted. For brokers that do not let us see the
    /// settings of topics.
    Trust,
}

/// Encryption towards the brokers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    pub enabled: bool,
    /// PEM file of the authorities that are trusted; the system's when absent.
    pub ca_file: Option<PathBuf>,
}

/// Who we are to the brokers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    pub mechanism: Mechanism,
    pub user: String,
    pub password: Secret,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Mechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brokers: vec!["127.0.0.1:9092".to_owned()],
            topic_prefix: String::new(),
            partitions: DEFAULT_PARTITIONS,
            replication_factor: None,
            topics: Topics::default(),
            linger_ms: 5,
            batch_bytes: 1_000_000,
            queue_bytes: 64 << 20,
            max_record_bytes: DEFAULT_MAX_RECORD_BYTES,
            read_ahead_bytes: 512 << 10,
            readers: 3,
            delivery_timeout_ms: 20_000,
            request_timeout_ms: 10_000,
            statistics_interval_ms: 1_000,
            tls: Tls::default(),
            sasl: None,
        }
    }
}

impl Config {
    /// Says what is wrong with it, in a plain sentence.
    pub fn check(&self) -> Result<(), String> {
        let at_least = |name: &str, value: usize, least: usize| {
            if value < least {
                return Err(format!("{name} is {value}; at least {least} expected"));
            }
            Ok(())
        };
        if self.brokers.iter().all(|broker| broker.trim().is_empty()) {
            return Err("brokers is empty; HOST:PORT of at least one expected".to_owned());
        }
        if let Some(broker) = self.brokers.iter().find(|broker| broker.contains(',')) {
            return Err(format!("brokers: `{broker}` is not one HOST:PORT"));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !self.topic_prefix.chars().all(legal) || self.topic_prefix.len() > 200 {
            return Err(format!(
                "topic_prefix `{}` is not up to 200 of a-z, A-Z, 0-9, `.`, `_` and `-`",
                self.topic_prefix
            ));
        }
        if !(1..=10_000).contains(&self.partitions) {
            return Err(format!(
                "partitions is {}; 1 to 10000 expected",
                self.partitions
            ));
        }
        if let Some(copies) = self.replication_factor
            && !(1..=100).contains(&copies)
        {
            return Err(format!("replication_factor is {copies}; 1 to 100 expected"));
        }
        at_least("readers", self.readers, 1)?;
        at_least("batch_bytes", self.batch_bytes, 1_000)?;
        at_least("read_ahead_bytes", self.read_ahead_bytes, 16 << 10)?;
        at_least("max_record_bytes", self.max_record_bytes, 64 << 10)?;
        at_least("queue_bytes", self.queue_bytes, 2 * self.max_record_bytes)?;
        // Whatever waits longer than a request may take would never be tried twice.
        at_least(
            "request_timeout_ms",
            self.request_timeout_ms as usize,
            1_000,
        )?;
        at_least(
            "delivery_timeout_ms",
            self.delivery_timeout_ms as usize,
            self.request_timeout_ms as usize,
        )?;
        at_least(
            "statistics_interval_ms",
            self.statistics_interval_ms as usize,
            100,
        )?;
        if self.max_record_bytes > 500 << 20 || self.queue_bytes > 1 << 40 {
            return Err("max_record_bytes is at most 500 MiB, queue_bytes 1 TiB".to_owned());
        }
        self.check_security()
    }

    fn check_security(&self) -> Result<(), String> {
        if cfg!(feature = "tls") {
            return Ok(());
        }
        let needs_openssl = |what: &str| {
            Err(format!(
                "{what} needs OpenSSL, and this program was built without it; build it with the \
                 feature `kafka-tls`"
            ))
        };
        if self.tls.enabled {
            return needs_openssl("tls");
        }
        match &self.sasl {
            // The hashes of SCRAM are OpenSSL's; PLAIN has none.
            Some(sasl) if sasl.mechanism != Mechanism::Plain => {
                needs_openssl(sasl.mechanism.name())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.brokers.join(",")
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms.into())
    }

    /// Beyond this an append is given up even if the client never reports.
    pub fn append_deadline(&self) -> Duration {
        Duration::from_millis(self.delivery_timeout_ms.into()) + Duration::from_secs(5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sasl(mechanism: Mechanism) -> Config {
        Config {
            sasl: Some(Sasl {
                mechanism,
                user: "city".to_owned(),
                password: Secret::new("hunter2"),
            }),
            ..Config::default()
        }
    }

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.check().unwrap_err()
    }

    #[test]
    fn the_defaults_are_good() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(refused(|c| c.brokers.clear()).starts_with("brokers is empty"));
        assert!(refused(|c| c.brokers = vec!["a:1,b:2".to_owned()]).contains("`a:1,b:2`"));
        assert!(refused(|c| c.topic_prefix = "city/".to_owned()).contains("`city/`"));
        assert!(refused(|c| c.partitions = 0).starts_with("partitions is 0"));
        assert!(refused(|c| c.replication_factor = Some(0)).starts_with("replication_factor"));
        assert!(refused(|c| c.queue_bytes = 1 << 20).starts_with("queue_bytes"));
        assert!(refused(|c| c.delivery_timeout_ms = 9_999).starts_with("delivery_timeout_ms"));
    }

    #[test]
    fn the_password_is_not_printed() {
        let printed = format!("{:?}", sasl(Mechanism::Plain));
        assert!(printed.contains("city") && printed.contains("(hidden)"));
        assert!(!printed.contains("hunter2"));
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn what_needs_openssl_is_refused_without_it() {
        assert!(refused(|c| c.tls.enabled = true).starts_with("tls needs OpenSSL"));
        let scram = sasl(Mechanism::ScramSha512).check().unwrap_err();
        assert!(scram.starts_with("SCRAM-SHA-512 needs OpenSSL") && scram.contains("kafka-tls"));
        assert_eq!(sasl(Mechanism::Plain).check(), Ok(()));
    }

    #[test]
    fn reads_from_text_and_refuses_unknown_fields() {
        let text = r#"{"brokers": ["k:9092"], "topics": "check",
            "sasl": {"mechanism": "SCRAM-SHA-256", "user": "u", "password": "p"}}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        assert_eq!(config.topics, Topics::Check);
        assert_eq!(config.sasl.unwrap().mechanism, Mechanism::ScramSha256);
        assert!(serde_json::from_str::<Config>(r#"{"broker": "k:9092"}"#).is_err());
    }
}
