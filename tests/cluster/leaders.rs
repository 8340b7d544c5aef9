//! Each of three Kafka brokers is killed in turn while readings come in: every partition is led by another for a
//! while, nothing is lost, nothing counted twice, and everything goes on by itself.
//!
//! What a newcomer would get wrong: the brokers are those that `BROKERS=3 tests/services/services up` started, and
//! no other test may use them meanwhile.

use std::{path::Path, time::Instant};

use tokio::process::Command;

use super::{
    cluster::{Cluster, assert_counted_once},
    sending::Sending,
    support::skip,
    watch::{A_BROKER_AWAY, goes_on, healed, is_none},
};

const SENSORS: u32 = 200;
/// Readings a second.
const RATE: u32 = 500;

async fn services(args: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/services");
    let done = Command::new(script).args(args).output().await.unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
}

#[tokio::test]
async fn every_broker_is_killed_and_comes_back() {
    let brokers = std::env::var("OPENINFRA_TEST_KAFKA").unwrap_or_default();
    let brokers = brokers.split(',').count();
    if brokers < 3 || std::env::var_os("SERVICES_DIR").is_none() {
        skip::tell("there are no three brokers (BROKERS=3 tests/services/services)");
        return;
    }
    let Some(cluster) = Cluster::new("leaders").await else {
        return;
    };
    let views = cluster.views().await;
    let (ingest, serve) = tokio::join!(cluster.ingest(), cluster.serve(&views));
    let sending = Sending::start(&format!("mqtt://{}", ingest.mqtt()), SENSORS, RATE);
    for broker in 1..=brokers {
        let some = u64::from(3 * RATE);
        goes_on(&serve, "readings are counted", some).await;
        // It writes to all brokers, where the job may have no need of one.
        is_none(&ingest, A_BROKER_AWAY.metric).await;
        let watched = A_BROKER_AWAY.of(&ingest).await;
        services(&["kill", &format!("kafka-{broker}")]).await;
        let killed = Instant::now();
        watched.gone().await;
        goes_on(&serve, "readings are counted without a broker", some).await;
        let on = killed.elapsed();
        services(&["up", "kafka"]).await;
        goes_on(&serve, "readings are counted with all brokers", some).await;
        healed(&[&ingest, &views, &serve]).await;
        watched.back().await;
        let all = killed.elapsed();
        eprintln!("broker {broker} killed: {on:.1?} to more rows, {all:.1?} to all brokers");
    }
    let all = sending.end().await;
    let ledger = serve.ledger().await;
    assert_counted_once(&ledger, all);
    serve.verify().await;
    eprintln!(
        "{} of {all} counted once, {} came twice",
        ledger.accepted, ledger.duplicates
    );
    for platform in [serve, ingest, views] {
        platform.stop().await;
    }
    cluster.end().await;
}
