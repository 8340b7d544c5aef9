//! A cluster that wants a password and takes TLS: who has both gets in, who has not is told what to set.
//!
//! `SECURE=1 tests/services/services up cassandra` starts one; without it these tests say so and pass.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use openinfra_schemas::Secret;
use openinfra_scylla::{Cluster, Config, ScyllaStore, TlsConfig, migrate};
use openinfra_store::tables;
use prometheus::Registry;
use scylla::client::session_builder::SessionBuilder;

/// Cassandra's own first user, made some seconds after the first start.
const USER: &str = "cassandra";
const PASSWORD: &str = "cassandra";
const WRONG: &str = "swordfish";
const SOON: Duration = Duration::from_secs(60);

fn file(name: &str) -> PathBuf {
    PathBuf::from(std::env::var("OPENINFRA_TEST_SECURE_TLS").unwrap()).join(name)
}

/// As it has to be; none where there is no such cluster.
fn secure() -> Option<Config> {
    let Ok(address) = std::env::var("OPENINFRA_TEST_SECURE_CQL") else {
        common::skip::tell("there is no SECURE=1 tests/services/services");
        return None;
    };
    let keyspace = format!("secure_{}", common::now_ms());
    Some(Config {
        user: Some(USER.to_owned()),
        password: Some(Secret::new(PASSWORD)),
        tls: Some(TlsConfig {
            ca: file("ca.pem"),
            cert: None,
            key: None,
        }),
        ..Config::new(vec![address], keyspace)
    })
}

/// Connects once the first user is there.
async fn connect(config: &Config) -> Cluster {
    let deadline = Instant::now() + SOON;
    loop {
        match Cluster::connect(config).await {
            Ok(cluster) => return cluster,
            Err(error) if Instant::now() > deadline => panic!("{}", chain(&error)),
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

/// An error as a person reads it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

/// What who is refused is told.
async fn refused(config: &Config) -> String {
    match Cluster::connect(config).await {
        Ok(_) => panic!("connected with {config:?}"),
        Err(error) => {
            let text = chain(&error);
            eprintln!("{text}");
            assert!(!format!("{text} {error:?}").contains(WRONG), "{text}");
            text
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_made_and_used_with_password_and_tls() {
    let Some(config) = secure() else { return };
    let cluster = connect(&config).await;
    migrate::migrate(&cluster, &common::options())
        .await
        .unwrap();
    ScyllaStore::open(&config, tables::ALL, &Registry::new())
        .await
        .unwrap();
    let session = SessionBuilder::new()
        .known_node(&config.contact_points[0])
        .user(USER, PASSWORD);
    let drop = format!("DROP KEYSPACE \"{}\"", config.keyspace);
    let session = session.build().await.unwrap();
    session.query_unpaged(drop, ()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_is_told_what_to_set() {
    let Some(config) = secure() else { return };
    connect(&config).await;
    let wrong = Config {
        password: Some(Secret::new(WRONG)),
        ..config.clone()
    };
    assert!(refused(&wrong).await.contains("user and password"));
    let none = Config {
        user: None,
        password: None,
        ..config.clone()
    };
    assert!(refused(&none).await.contains("user and password"));
    let tls = |ca: &str| Config {
        tls: Some(TlsConfig {
            ca: file(ca),
            cert: None,
            key: None,
        }),
        ..config.clone()
    };
    assert!(refused(&tls("other.pem")).await.contains("tls.ca"));
    assert!(refused(&tls("absent.pem")).await.contains("absent.pem"));
}
