//! Whether settings that can be read can be used, by themselves and together, before any port opens.
//!
//! What a newcomer would get wrong: this knows bounds that touch more than one part. What a part finds wrong with
//! its own settings it says itself.

use std::net::SocketAddr;

use openinfra_api::MAX_INGEST_BODY_BYTES;
use openinfra_intake::budget::LARGEST_BYTES;
use openinfra_mqtt::broker::BrokerClient;
use openinfra_schemas::Secret;

use super::{Config, ConfigError};
use crate::client::Client;

/// So that a packet and its records fit into the greatest room there is.
const MOST_PACKET_BYTES: usize = 10 << 20;
/// So that an append ends, its own spare time of 5 s included, before a request does after 30 s.
pub(super) const MOST_DELIVERY_MS: u32 = 24_000;
/// What stands around the bytes of a refused message in its entry of the ledger: topic, sensor, reason. What
/// is longer is cut there.
const ENTRY_BYTES: usize = 16 << 10;
/// An entity comes in a body of at most 1 MiB, and is one record.
pub(super) const LEAST_RECORD_BYTES: usize = 2 << 20;

impl Config {
    /// Errs when something that `what` shares with other processes is embedded.
    pub fn check_shared(&self, what: &'static str) -> Result<(), ConfigError> {
        let embedded = [
            ("the log", self.kafka.is_none()),
            ("the registry", self.registry.is_none()),
            ("the store", self.cql.is_none()),
        ];
        match embedded.into_iter().find(|(_, embedded)| *embedded) {
            Some((missing, _)) => Err(ConfigError::OneProcess { what, missing }),
            None => Ok(()),
        }
    }

    pub(super) fn check(&self, dev: bool) -> Result<(), ConfigError> {
        if !(1..=64).contains(&self.job.workers) {
            return Err(ConfigError::Workers(self.job.workers));
        }
        self.job.check().map_err(ConfigError::Job)?;
        self.check_servers()?;
        if self.ingest.in_flight_bytes < LARGEST_BYTES {
            return Err(ConfigError::InFlight(self.ingest.in_flight_bytes));
        }
        self.check_bytes()?;
        if let Some(kafka) = &self.kafka
            && kafka.delivery_timeout_ms > MOST_DELIVERY_MS
        {
            return Err(ConfigError::Delivery(kafka.delivery_timeout_ms));
        }
        if dev {
            loopback("--http", self.http.bind)?;
            loopback("--mqtt", self.mqtt.bind)?;
            if let Some(tls) = &self.mqtt.tls {
                loopback("mqtt.tls.bind", tls.bind)?;
            }
        }
        Ok(())
    }

    /// What comes in has to fit into the bytes in flight, and what is refused of it into a record of the log.
    fn check_bytes(&self) -> Result<(), ConfigError> {
        let brokers = self.broker.iter().map(|broker| {
            let what = format!("max_packet_bytes of the [[broker]] {:?}", broker.name);
            (what, broker.max_packet_bytes as usize, MOST_PACKET_BYTES)
        });
        let listener = self.mqtt.max_packet_bytes as usize;
        let inputs = [
            (
                "http.max_body_bytes".to_owned(),
                self.http.max_body_bytes,
                MAX_INGEST_BODY_BYTES,
            ),
            (
                "mqtt.max_packet_bytes".to_owned(),
                listener,
                MOST_PACKET_BYTES,
            ),
        ];
        let limit = self
            .kafka
            .as_ref()
            .map_or(usize::MAX, |kafka| kafka.max_record_bytes);
        if limit < LEAST_RECORD_BYTES {
            return Err(ConfigError::LeastRecord(limit));
        }
        for (what, bytes, most) in inputs.into_iter().chain(brokers) {
            if bytes == 0 || bytes > most {
                return Err(ConfigError::Bytes { what, bytes, most });
            }
            let least = bytes + ENTRY_BYTES;
            if limit < least {
                return Err(ConfigError::Record {
                    what,
                    bytes,
                    limit,
                    least,
                    most: limit - ENTRY_BYTES,
                });
            }
        }
        Ok(())
    }

    /// What the parts themselves find wrong with the settings of the servers they talk to.
    pub fn check_servers(&self) -> Result<(), ConfigError> {
        let of = |section| move |reason| ConfigError::Section { section, reason };
        if let Some(kafka) = &self.kafka {
            kafka.check().map_err(of("kafka"))?;
        }
        if let Some(registry) = &self.registry {
            let made = openinfra_registry::RegistryClient::new(registry);
            made.map_err(|error| of("registry")(error.to_string()))?;
        }
        if let Some(cql) = &self.cql {
            cql.check().map_err(of("cql"))?;
        }
        if let Some(url) = &self.views.url {
            let made = Client::new(url, self.views.api_key.as_ref().map(Secret::reveal));
            made.map_err(|error| of("views")(error.to_string()))?;
        }
        Ok(())
    }

    /// Errs when a broker of `[[broker]]` cannot be connected to as it is described. Reads certificates, and
    /// so is for processes that connect.
    pub fn check_brokers(&self) -> Result<(), ConfigError> {
        for (at, broker) in self.broker.iter().enumerate() {
            BrokerClient::check(broker).map_err(|error| ConfigError::Section {
                section: "[broker]",
                // Which file it is stands in a cause.
                reason: format!("{:?}: {:#}", broker.name, anyhow::Error::new(error)),
            })?;
            if self.broker[..at]
                .iter()
                .any(|other| other.name == broker.name)
            {
                return Err(ConfigError::Brokers(broker.name.clone()));
            }
        }
        Ok(())
    }
}

fn loopback(what: &'static str, address: SocketAddr) -> Result<(), ConfigError> {
    if address.ip().is_loopback() {
        Ok(())
    } else {
        Err(ConfigError::NotLoopback { what, address })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::from_file;
    use super::*;

    #[test]
    fn dev_is_for_loopback_only() {
        let mut config = Config::default();
        config.check(true).unwrap();
        config.http.bind = SocketAddr::from(([0, 0, 0, 0], 8080));
        assert!(config.check(true).is_err());
        config.check(false).unwrap();
    }

    #[test]
    fn settings_of_servers_are_checked_with_all_others() {
        for (section, text) in [
            ("[kafka]", "[kafka]\npartitions = 0\n"),
            ("[registry]", "[registry]\nurl = \"registry:8081\"\n"),
            (
                "[cql]",
                "[cql]\ncontact_points = [\"c:9042\"]\nkeyspace = \"k\"\nmax_in_flight = 0\n",
            ),
            ("[views]", "[views]\nurl = \"views\"\n"),
        ] {
            let error = from_file(text).unwrap().check(false).unwrap_err();
            assert!(error.to_string().contains(section), "{error}");
        }
        let two = "[[broker]]\nname = \"a\"\nurl = \"mqtt://b:1883\"\ntenant = \"t\"\ntopics = [\"t/#\"]\n";
        let config = from_file(&two.repeat(2)).unwrap();
        config.check(false).unwrap();
        let error = config.check_brokers().unwrap_err().to_string();
        assert!(
            error.contains("[[broker]]") && error.contains("\"a\""),
            "{error}"
        );
        let secure = two.replace("mqtt://", "mqtts://") + "tls = { ca = \"/no/such.pem\" }\n";
        let config = from_file(&secure).unwrap();
        let error = config.check_brokers().unwrap_err().to_string();
        assert!(error.contains("/no/such.pem"), "{error}");
    }

    #[test]
    fn an_append_ends_before_the_request_that_waits_for_it() {
        let mut kafka = openinfra_kafka::Config {
            delivery_timeout_ms: MOST_DELIVERY_MS,
            ..openinfra_kafka::Config::default()
        };
        let request = openinfra_api::Config::default().timeout;
        assert!(kafka.append_deadline() < request);
        kafka.delivery_timeout_ms += 1;
        let config = Config {
            kafka: Some(kafka),
            ..Config::default()
        };
        let error = config.check(false).unwrap_err().to_string();
        assert!(error.contains("kafka.delivery_timeout_ms"), "{error}");
    }

    #[test]
    fn the_greatest_delivery_fits_into_the_bytes_in_flight() {
        let mut config = Config::default();
        config.ingest.in_flight_bytes = LARGEST_BYTES;
        config.mqtt.max_packet_bytes = MOST_PACKET_BYTES as u32;
        config.check(false).unwrap();
        config.ingest.in_flight_bytes -= 1;
        let error = config.check(false).unwrap_err().to_string();
        assert!(error.contains("ingest.in_flight_bytes"), "{error}");
        let mut config = Config::default();
        config.mqtt.max_packet_bytes = MOST_PACKET_BYTES as u32 + 1;
        let error = config.check(false).unwrap_err().to_string();
        assert!(error.contains("mqtt.max_packet_bytes"), "{error}");
    }

    #[test]
    fn what_may_be_refused_fits_into_a_record_of_the_log() {
        let cluster = "[kafka]\nbrokers = [\"k:9092\"]\n";
        from_file(cluster).unwrap().check(false).unwrap();
        let broker = "[[broker]]\nname = \"east\"\nurl = \"mqtt://b\"\ntenant = \"t\"\n";
        for (text, named) in [
            (
                format!("{cluster}max_record_bytes = 65536\n"),
                "kafka.max_record_bytes is 65536; at least 2097152",
            ),
            (
                format!("{cluster}max_record_bytes = 4194304\n"),
                "http.max_body_bytes to 4177920 at most",
            ),
            (
                format!(
                    "{cluster}max_record_bytes = 4194304\n[http]\nmax_body_bytes = 4177920\n\
                     [mqtt]\nmax_packet_bytes = 4194304\n"
                ),
                "mqtt.max_packet_bytes is 4194304",
            ),
            (
                format!(
                    "{cluster}max_record_bytes = 4194304\n[http]\nmax_body_bytes = 4177920\n\
                     {broker}max_packet_bytes = 5000000\n"
                ),
                "set that to 5016384 at least",
            ),
            (
                format!("{broker}max_packet_bytes = 10485761\n"),
                "[[broker]] \"east\" is 10485761; 1 to 10485760",
            ),
            (
                "[http]\nmax_body_bytes = 10485761\n".to_owned(),
                "http.max_body_bytes is 10485761",
            ),
        ] {
            let error = from_file(&text).unwrap().check(false).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
        let fits = format!(
            "{cluster}max_record_bytes = 4194304\n[http]\nmax_body_bytes = 4177920\n{broker}"
        );
        from_file(&fits).unwrap().check(false).unwrap();
    }
}
