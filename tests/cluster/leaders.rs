//! Each of three Kafka brokers is killed in turn while readings come in: every partition is led by another for a
//! while, nothing is lost, nothing counted twice, and everything goes on by itself.
//!
//! What a newcomer would get wrong: the brokers are those that `BROKERS=3 tests/services/services up` started, and
//! no other test may use them meanwhile.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::process::Command;

use super::{
    cluster::{Cluster, assert_counted_once},
    support::{command::openinfra, platform::Platform, wait::eventually},
};

const SOON: Duration = Duration::from_secs(120);
const SENSORS: u32 = 200;
/// Longer than all kills take, at one reading a second of each sensor.
const SECONDS: u32 = 180;

async fn services(args: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/services");
    let done = Command::new(script).args(args).output().await.unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
}

/// Waits until the views have counted more readings than now.
async fn goes_on(serve: &Platform, what: &str) {
    let accepted = async || {
        let summary = serve.get("/api/v1/ledger/summary").await;
        summary["accepted"].as_u64().unwrap()
    };
    let before = accepted().await;
    let enough = before + 3 * u64::from(SENSORS);
    eventually(what, SOON, async || {
        (accepted().await >= enough).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_broker_is_killed_and_comes_back() {
    let brokers = std::env::var("OPENINFRA_TEST_KAFKA").unwrap_or_default();
    let brokers = brokers.split(',').count();
    if brokers < 3 || std::env::var_os("SERVICES_DIR").is_none() {
        eprintln!("skipped: there are no three brokers (BROKERS=3 tests/services/services)");
        return;
    }
    let Some(cluster) = Cluster::new("leaders").await else {
        return;
    };
    let views = cluster.views().await;
    let (ingest, serve) = tokio::join!(cluster.ingest(), cluster.serve(&views));
    let file = cluster.readings("s", SENSORS, SECONDS);
    let mut replay = openinfra(&[
        "replay",
        file.to_str().unwrap(),
        "--to",
        &format!("mqtt://{}", ingest.mqtt()),
        "--rate",
        &SENSORS.to_string(),
        "--json",
    ])
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    for broker in 1..=brokers {
        goes_on(&serve, "readings are counted").await;
        assert!(replay.try_wait().unwrap().is_none(), "over before {broker}");
        services(&["kill", &format!("kafka-{broker}")]).await;
        let killed = Instant::now();
        goes_on(&serve, "readings are counted without a broker").await;
        let on = killed.elapsed();
        services(&["up", "kafka"]).await;
        goes_on(&serve, "readings are counted with all brokers").await;
        let all = killed.elapsed();
        eprintln!("broker {broker} killed: {on:.1?} to more rows, {all:.1?} to all brokers");
    }
    let ended = tokio::time::timeout(SOON + SOON, replay.wait()).await;
    assert!(ended.unwrap().unwrap().success(), "{}", ingest.logged());
    assert_counted_once(&serve.ledger().await, u64::from(SENSORS * SECONDS));
    serve.verify().await;
    for platform in [serve, ingest, views] {
        platform.stop().await;
    }
    cluster.end().await;
}
