//! The settings of librdkafka that make its clients ours.
//!
//! What a newcomer would get wrong: its defaults are made for throughput of consumer groups. Several of
//! them make a reader wait for half a second or more; each that is changed says why.

use std::fs::File;

use rdkafka::{ClientConfig, config::RDKafkaLogLevel, error::KafkaError};

use crate::{
    OpenError,
    config::{Config, Sasl},
};

/// The client's name for `tls.ca_file`.
const CA_FILE: &str = "ssl.ca.location";

/// Brokers count what stands around a record, too.
const OVERHEAD_BYTES: usize = 64 << 10;

/// The largest batch that topics have to take: the largest record, alone.
pub(crate) fn max_message_bytes(config: &Config) -> usize {
    config.max_record_bytes + OVERHEAD_BYTES
}

/// What all clients have in common.
pub(crate) fn common(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    let request_timeout = config.request_timeout_ms.to_string();
    client
        .set("bootstrap.servers", config.bootstrap())
        .set("client.id", "openinfra")
        .set("message.max.bytes", max_message_bytes(config).to_string())
        .set("socket.timeout.ms", &request_timeout)
        .set("socket.keepalive.enable", "true")
        // A request that is not sent at once costs its answer's delayed acknowledgement.
        .set("socket.nagle.disable", "true")
        // The default goes up to 10 s: so long nobody would notice that the broker is back.
        .set("reconnect.backoff.max.ms", "1000")
        // Nobody asked for it.
        .set("enable.metrics.push", "false")
        // Whom a broker hangs up on is told in a line of this level, and nowhere else.
        .set_log_level(RDKafkaLogLevel::Info);
    secure(&mut client, config);
    client
}

/// The producer's: everything confirmed by all replicas in sync, in order, and once a session.
pub(crate) fn producer(config: &Config) -> ClientConfig {
    let mut client = common(config);
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // Callers say the partition themselves. Should a record ever come without, it goes where Java
        // clients would put it.
        .set("partitioner", "murmur2_random")
        .set("compression.codec", "lz4")
        .set("linger.ms", config.linger_ms.to_string())
        .set("batch.size", config.batch_bytes.to_string())
        .set("request.timeout.ms", config.request_timeout_ms.to_string())
        .set("message.timeout.ms", config.delivery_timeout_ms.to_string())
        .set("queue.buffering.max.messages", "1000000")
        .set(
            "queue.buffering.max.kbytes",
            config.queue_bytes.div_ceil(1_024).to_string(),
        )
        .set(
            "statistics.interval.ms",
            config.statistics_interval_ms.to_string(),
        );
    client
}

/// A client that asks for offsets and metadata and reads nothing.
pub(crate) fn asker(config: &Config) -> ClientConfig {
    let mut client = common(config);
    client.set("isolation.level", "read_uncommitted");
    client
}

/// A consumer that reads the partitions it is told to, from where it is told to, and commits nothing.
/// `ahead` are the bytes that it keeps of each partition.
pub(crate) fn consumer(config: &Config, ahead: usize) -> ClientConfig {
    let mut client = asker(config);
    client
        // Without a name nothing can be assigned. Nobody joins the group.
        .set("group.id", format!("{}openinfra", config.topic_prefix))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        // A broker holds one request of ours at a time. A partition that is new in the next request
        // waits until this one is answered, so it must not be held for long.
        .set("fetch.wait.max.ms", "10")
        .set("fetch.min.bytes", "1")
        // A partition whose read-ahead was full is looked at again so soon; the default is 1 s.
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.error.backoff.ms", "50")
        .set("fetch.message.max.bytes", ahead.to_string())
        .set("queued.min.messages", "1000000")
        .set(
            "queued.max.messages.kbytes",
            ahead.div_ceil(1_024).to_string(),
        )
        .set(
            "fetch.max.bytes",
            max_message_bytes(config).max(32 << 20).to_string(),
        )
        .set(
            "receive.message.max.bytes",
            (max_message_bytes(config).max(32 << 20) + (1 << 20)).to_string(),
        );
    client
}

fn secure(client: &mut ClientConfig, config: &Config) {
    let protocol = match (config.tls.enabled, &config.sasl) {
        (false, None) => "plaintext",
        (true, None) => "ssl",
        (false, Some(_)) => "sasl_plaintext",
        (true, Some(_)) => "sasl_ssl",
    };
    client.set("security.protocol", protocol);
    if let Some(file) = config.tls.ca_file.as_ref().filter(|_| config.tls.enabled) {
        client.set(CA_FILE, file.to_string_lossy());
    }
    if let Some(Sasl {
        mechanism,
        user,
        password,
    }) = &config.sasl
    {
        client
            .set("sasl.mechanism", mechanism.name())
            .set("sasl.username", user)
            .set("sasl.password", password.reveal());
    }
}

/// A client that could not be made. The message never has the setting's value in it, which may be a
/// password; but for the name of the file with certificates, of which OpenSSL says neither that nor why.
pub(crate) fn not_made(config: &Config, error: KafkaError) -> OpenError {
    let reason = match error {
        KafkaError::ClientConfig(_, reason, key, _) => format!("setting {key}: {reason}"),
        KafkaError::ClientCreation(reason) => reason,
        other => other.to_string(),
    };
    OpenError::Client(match &config.tls.ca_file {
        Some(file) if reason.contains(CA_FILE) => {
            let unreadable = File::open(file).err();
            let why = unreadable.map_or(reason, |error| error.to_string());
            format!("tls.ca_file {}: {why}", file.display())
        }
        _ => reason,
    })
}

#[cfg(test)]
mod tests {
    use openinfra_schemas::Secret;
    use rdkafka::{consumer::BaseConsumer, producer::BaseProducer};

    use super::*;
    use crate::config::Mechanism;
    #[cfg(feature = "tls")]
    use crate::config::Tls;

    #[test]
    fn librdkafka_takes_every_setting() {
        let config = Config::default();
        let _: BaseProducer = producer(&config).create().unwrap();
        let _: BaseConsumer = consumer(&config, config.read_ahead_bytes).create().unwrap();
        let _: BaseConsumer = asker(&config).create().unwrap();
    }

    /// The imitated brokers do not tell: they take a batch twice, and confirm before it is anywhere.
    #[test]
    fn what_the_promises_rest_on_is_set() {
        let config = Config::default();
        let producer = producer(&config);
        assert_eq!(producer.get("enable.idempotence"), Some("true"));
        assert_eq!(producer.get("acks"), Some("all"));
        let consumer = consumer(&config, 1_000);
        assert_eq!(consumer.get("auto.offset.reset"), Some("error"));
        assert_eq!(consumer.get("enable.auto.commit"), Some("false"));
        assert_eq!(consumer.get("isolation.level"), Some("read_uncommitted"));
    }

    #[test]
    fn sasl_plain_needs_no_openssl() {
        let config = Config {
            sasl: Some(Sasl {
                mechanism: Mechanism::Plain,
                user: "city".to_owned(),
                password: Secret::new("secret"),
            }),
            ..Config::default()
        };
        let _: BaseProducer = producer(&config).create().unwrap();
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_file_with_certificates_that_cannot_be_used_is_named() {
        for (file, why) in [
            ("absent.pem", "No such file"),
            (concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), CA_FILE),
        ] {
            let tls = Tls {
                enabled: true,
                ca_file: Some(file.into()),
            };
            let config = Config {
                tls,
                ..Config::default()
            };
            let made: Result<BaseProducer, _> = producer(&config).create();
            let text = not_made(&config, made.err().unwrap()).to_string();
            assert!(text.contains(file) && text.contains(why), "{text}");
        }
    }

    #[test]
    fn the_largest_settings_are_taken_too() {
        let config = Config {
            max_record_bytes: 500 << 20,
            queue_bytes: 1 << 40,
            read_ahead_bytes: 64 << 20,
            ..Config::default()
        };
        let _: BaseProducer = producer(&config).create().unwrap();
        let _: BaseConsumer = consumer(&config, config.read_ahead_bytes).create().unwrap();
    }
}
