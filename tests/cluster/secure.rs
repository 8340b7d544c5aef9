//! Everything with passwords and over TLS, by one file of settings; and what is told to who has a wrong one.
//!
//! `SECURE=1 tests/services/services up kafka cassandra` starts such servers; without them, or without the feature
//! `kafka-tls`, the test says so and passes.

use std::{fmt::Write as _, path::Path, time::Duration};

use super::{
    cluster::assert_counted_once,
    support::{
        command::{self, openinfra},
        platform::Platform,
        skip,
        wait::eventually,
    },
};

const SOON: Duration = Duration::from_secs(90);
const WRONG: &str = "swordfish";
const READINGS: u64 = 2_000;

/// The settings, with a keyspace and topics of the test's own; none where there are no such servers.
fn settings(data: &Path) -> Option<String> {
    let named = |name: &str| {
        let value = std::env::var(name).ok();
        let value = value.filter(|_| cfg!(feature = "kafka-tls"));
        if value.is_none() {
            skip::tell("SECURE=1 tests/services/services, or the feature kafka-tls, is not there");
        }
        value
    };
    let kafka = named("OPENINFRA_TEST_SECURE_KAFKA")?;
    let cql = named("OPENINFRA_TEST_SECURE_CQL")?;
    let tls = named("OPENINFRA_TEST_SECURE_TLS")?;
    let name = format!("secure_{:x}", now_ms());
    Some(format!(
        r#"
        data = "{}"
        [kafka]
        brokers = ["{kafka}"]
        topic_prefix = "{name}."
        request_timeout_ms = 5000
        tls = {{ enabled = true, ca_file = "{tls}/ca.pem" }}
        sasl = {{ mechanism = "SCRAM-SHA-256", user = "openinfra", password = "correct horse" }}
        [cql]
        contact_points = ["{cql}"]
        keyspace = "{name}"
        user = "cassandra"
        password = "cassandra"
        tls = {{ ca = "{tls}/ca.pem" }}
        "#,
        data.display()
    ))
}

fn now_ms() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_millis()
}

#[tokio::test]
async fn everything_runs_with_passwords_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let Some(settings) = settings(&path("data")) else {
        return;
    };
    std::fs::write(path("city.toml"), settings).unwrap();
    let file = path("city.toml");
    let config = ["--config", file.to_str().unwrap()];
    let migrate = [&["admin", "migrate", "--replication", "1"], &config[..]].concat();
    // Cassandra makes its first user some seconds after it answers.
    eventually("the keyspace is made", SOON, async || {
        let ended = command::run(&migrate).await;
        (ended.code == Some(0)).then_some(())
    })
    .await;
    let up = [&["up", "--mqtt", "127.0.0.1:0"], &config[..]].concat();
    let platform = Platform::run(&up, &path("log")).await;
    let mut readings = String::new();
    // Older ones would be late beyond the horizon.
    let first = now_ms() - u128::from(READINGS);
    for number in 0..READINGS {
        let (sensor, ts) = (number % 10, first + u128::from(number / 10));
        writeln!(
            readings,
            r#"{{"sensor_id":"s-{sensor}","ts":{ts},"value":{number}}}"#
        )
        .unwrap();
    }
    std::fs::write(path("readings.ndjson"), readings).unwrap();
    platform.replay(&path("readings.ndjson"), &[]).await;
    assert_counted_once(&platform.ledger().await, READINGS);
    platform.verify().await;
    platform.stop().await;

    for (variable, told) in [
        ("OPENINFRA_KAFKA__SASL__PASSWORD", "sasl.password"),
        ("OPENINFRA_CQL__PASSWORD", "user and password"),
    ] {
        let output = openinfra(&up).env(variable, WRONG).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        eprintln!("{said}");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(told) && !said.contains(WRONG), "{said}");
    }
}
