//! Brokers that want a password over TLS: who has both gets in, who has not is told what to set.
//!
//! `SECURE=1 tests/services/services up kafka` starts one; without it, or without the feature `tls`, these tests say
//! so and pass.

mod support;

use std::path::PathBuf;

use openinfra_kafka::{
    Config, OpenError,
    config::{Mechanism, Tls},
};
use prometheus::Registry;
use support::{
    one, open,
    password::{PASSWORD, WRONG, refused, sasl},
    prefix, read_all, skip,
};

/// What a variable says of such a broker; none, and told, where there is none or the feature is missing.
fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    let value = value.filter(|_| cfg!(feature = "tls"));
    if value.is_none() {
        skip::tell("SECURE=1 tests/services/services, or the feature tls, is not there");
    }
    value
}

fn file(name: &str) -> Option<PathBuf> {
    Some(PathBuf::from(variable("OPENINFRA_TEST_SECURE_TLS")?).join(name))
}

/// As it has to be; none where there is no such broker.
fn secure() -> Option<Config> {
    Some(Config {
        brokers: vec![variable("OPENINFRA_TEST_SECURE_KAFKA")?],
        topic_prefix: prefix(),
        partitions: 1,
        request_timeout_ms: 5_000,
        tls: Tls {
            enabled: true,
            ca_file: file("ca.pem"),
        },
        sasl: sasl(Mechanism::ScramSha512, PASSWORD),
        ..Config::default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mechanism_gets_in() {
    let Some(config) = secure() else { return };
    let mechanisms = [
        Mechanism::Plain,
        Mechanism::ScramSha256,
        Mechanism::ScramSha512,
    ];
    for (mechanism, count) in mechanisms.into_iter().zip(1..) {
        let config = Config {
            sasl: sasl(mechanism, PASSWORD),
            ..config.clone()
        };
        let log = open(&config, &Registry::new()).await;
        log.append(one(0, "1")).await.unwrap();
        assert_eq!(read_all(&*log, 0).await.len(), count, "{mechanism:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told() {
    let Some(config) = secure() else { return };
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256] {
        let wrong = Config {
            sasl: sasl(mechanism, WRONG),
            ..config.clone()
        };
        let (error, text) = refused(&wrong).await;
        assert!(matches!(error, OpenError::Denied(_)), "{text}");
        assert!(text.contains("sasl.password"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_trusted_is_told() {
    let Some(config) = secure() else { return };
    let mut other = config.clone();
    other.tls.ca_file = file("other.pem");
    let (error, text) = refused(&other).await;
    assert!(matches!(error, OpenError::Denied(_)), "{text}");
    assert!(text.contains("tls.ca_file"), "{text}");

    let mut absent = config;
    absent.tls.ca_file = file("absent.pem");
    let (error, text) = refused(&absent).await;
    assert!(matches!(error, OpenError::Client(_)), "{text}");
    assert!(text.contains("absent.pem"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_where_there_is_none_and_none_where_there_is() {
    let Some(config) = secure() else { return };
    let mut without = config.clone();
    without.tls.enabled = false;
    let (_, text) = refused(&without).await;
    assert!(text.contains("tls.enabled"), "{text}");

    let without = Config {
        sasl: None,
        ..config.clone()
    };
    let (_, text) = refused(&without).await;
    assert!(text.contains("sasl"), "{text}");

    let with = Config {
        brokers: vec![variable("OPENINFRA_TEST_SECURE_PLAINTEXT").unwrap()],
        ..config
    };
    let (_, text) = refused(&with).await;
    assert!(text.contains("tls.enabled"), "{text}");
}
