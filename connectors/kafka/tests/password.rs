//! A broker that wants a password and has no TLS: whoever has it gets in, in any build; who has not is told.
//!
//! What a newcomer would get wrong: this is PLAIN alone, as SCRAM needs the feature `tls` though it encrypts nothing;
//! see `secure`.

mod support;

use openinfra_kafka::{Config, OpenError, config::Mechanism};
use prometheus::Registry;
use support::{
    one, open,
    password::{PASSWORD, WRONG, refused, sasl},
    prefix, read_all, skip,
};

/// As it has to be; none where there is no such broker.
fn with_password() -> Option<Config> {
    Some(Config {
        brokers: vec![skip::server("OPENINFRA_TEST_PASSWORD_KAFKA")?],
        topic_prefix: prefix(),
        partitions: 1,
        request_timeout_ms: 5_000,
        sasl: sasl(Mechanism::Plain, PASSWORD),
        ..Config::default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_password_gets_in() {
    let Some(config) = with_password() else {
        return;
    };
    let log = open(&config, &Registry::new()).await;
    log.append(one(0, "1")).await.unwrap();
    assert_eq!(read_all(&*log, 0).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_is_told_why() {
    let Some(config) = with_password() else {
        return;
    };
    let wrong = Config {
        sasl: sasl(Mechanism::Plain, WRONG),
        ..config.clone()
    };
    let (error, text) = refused(&wrong).await;
    assert!(matches!(error, OpenError::Denied(_)), "{text}");
    assert!(text.to_lowercase().contains("authentication"), "{text}");
    assert!(text.contains("sasl.password"), "{text}");

    let without = Config {
        sasl: None,
        ..config
    };
    let (_, text) = refused(&without).await;
    assert!(text.contains("sasl"), "{text}");
}
