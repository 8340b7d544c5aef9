//! Servers that go away, stand still, are slow, or cut a connection in the middle of something: nothing
//! acknowledged is lost, nothing counted twice, and everything goes on by itself.
//!
//! `OPENINFRA_FAULTS=full` keeps them away for a minute each instead of a few seconds.

use std::{net::SocketAddr, time::Duration};

use super::{
    cluster::{Cluster, Servers, assert_counted_once, faults_are_full},
    proxy::{Passing, Proxy},
    sending::Sending,
    support::{platform::Platform, wait::eventually},
    watch::{CQL_AWAY, KAFKA_AWAY, SOON, Signs, goes_on, healed, is_none, reaches},
};

const SENSORS: u32 = 100;
const REGISTRY_UP: &str = "openinfra_registry_up";

/// Appends are given up, and devices send again, before Kafka is back.
const IMPATIENT: [(&str, &str); 2] = [
    ("OPENINFRA_KAFKA__REQUEST_TIMEOUT_MS", "3000"),
    ("OPENINFRA_KAFKA__DELIVERY_TIMEOUT_MS", "3000"),
];

/// How long a server is away.
fn away() -> Duration {
    Duration::from_secs(if faults_are_full() { 60 } else { 4 })
}

/// Everything that goes wrong on the way to one server, while readings come in.
async fn disturb(proxy: &Proxy, platform: &Platform, signs: Signs) {
    let some = u64::from(3 * SENSORS);
    goes_on(platform, "readings are counted", some).await;
    for passing in [
        Passing::Nothing,
        Passing::Silence,
        Passing::Late(Duration::from_millis(150)),
    ] {
        let watched = signs.of(platform).await;
        let is_down = matches!(passing, Passing::Nothing);
        proxy.let_pass(passing);
        tokio::time::sleep(away()).await;
        if is_down {
            watched.gone().await;
        }
        proxy.let_pass(Passing::All);
        if is_down {
            watched.back().await;
        }
        let what = format!("readings are counted after {passing:?}");
        let after = goes_on(platform, &what, some).await;
        eprintln!(
            "{passing:?} for {:?}: {some} more counted {after:.1?} later",
            away()
        );
    }
    for bytes in [0, 700, 9_000, 60_000] {
        let before = proxy.cuts();
        proxy.cut_after(bytes);
        eventually("a connection was cut", SOON, async || {
            (proxy.cuts() > before).then_some(())
        })
        .await;
        goes_on(platform, "readings are counted after a cut", some).await;
    }
}

/// Runs everything in one process, with a proxy before one server, and sends readings as long as that is
/// disturbed.
async fn survives(
    test: &str,
    through: fn(&mut Servers, SocketAddr),
    port: u16,
    server: &str,
    signs: Signs,
) {
    let Some(mut cluster) = Cluster::new(test).await else {
        return;
    };
    let proxy = Proxy::start(port, server).await;
    through(&mut cluster.servers, proxy.address);
    let command = ["up", "--mqtt", "127.0.0.1:0"];
    let platform = cluster.start_in("up", &command, &IMPATIENT).await;
    let sending = Sending::start(&format!("mqtt://{}", platform.mqtt()), SENSORS, SENSORS);
    disturb(&proxy, &platform, signs).await;
    let all = sending.end().await;
    healed(&[&platform]).await;
    let ledger = platform.ledger().await;
    assert_counted_once(&ledger, all);
    platform.verify().await;
    eprintln!(
        "{test}: {} of {all} counted once, {} came twice",
        ledger.accepted, ledger.duplicates
    );
    platform.stop().await;
    cluster.end().await;
}

fn address_of(name: &str) -> Option<SocketAddr> {
    std::env::var(name).ok()?.split(',').next()?.parse().ok()
}

#[tokio::test]
async fn kafka() {
    // The second listener of the broker says that it is where the proxy stands.
    let port = address_of("OPENINFRA_TEST_KAFKA").map_or(0, |address| address.port());
    let behind = format!("127.0.0.1:{}", port + 200);
    let through = |servers: &mut Servers, proxy: SocketAddr| servers.kafka = proxy.to_string();
    survives("kafka_away", through, port + 300, &behind, KAFKA_AWAY).await;
}

#[tokio::test]
async fn the_store() {
    let server = address_of("OPENINFRA_TEST_CQL").map_or_else(String::new, |a| a.to_string());
    let through = |servers: &mut Servers, proxy: SocketAddr| servers.cql = proxy.to_string();
    survives("store_away", through, 0, &server, CQL_AWAY).await;
}

#[tokio::test]
async fn the_registry() {
    let Some(mut cluster) = Cluster::new("registry_away").await else {
        return;
    };
    let url = reqwest::Url::parse(&cluster.servers.registry).unwrap();
    let server = format!("127.0.0.1:{}", url.port().unwrap());
    let proxy = Proxy::start(0, &server).await;
    cluster.servers.registry = format!("http://{}{}", proxy.address, url.path());
    let platform = cluster.start("up", &["up", "--mqtt", "127.0.0.1:0"]).await;
    let sending = Sending::start(&format!("mqtt://{}", platform.mqtt()), SENSORS, SENSORS);
    // Ids that are known need no registry.
    for passing in [Passing::Nothing, Passing::Silence] {
        proxy.let_pass(Passing::All);
        reaches(&platform, REGISTRY_UP, 1.0).await;
        proxy.let_pass(passing);
        tokio::time::sleep(away()).await;
        is_none(&platform, REGISTRY_UP).await;
        let what = format!("readings are counted in spite of {passing:?}");
        goes_on(&platform, &what, u64::from(3 * SENSORS)).await;
    }
    let all = sending.end().await;
    assert_counted_once(&platform.ledger().await, all);
    eprintln!(
        "the registry away for {:?}, silent for {:?}: {all} counted once",
        away(),
        away()
    );
    let line = "the schema registry does not answer";
    assert!(platform.logged().contains(line), "{}", platform.logged());
    proxy.let_pass(Passing::All);
    reaches(&platform, REGISTRY_UP, 1.0).await;
    platform.verify().await;
    platform.stop().await;
    cluster.end().await;
}
