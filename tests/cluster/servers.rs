//! Each server killed once while readings come in. Nobody else may use the servers then, so this runs only
//! where `OPENINFRA_FAULTS` is `full`, on the servers that `tests/services/services` started with the same
//! variables, and one test at a time.
//!
//! What a newcomer would get wrong: Mosquitto itself forgets what it acknowledged in the last second before
//! it is killed. All other servers keep what they acknowledged, as `tests/services/services` runs them.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tokio::process::Command;

use super::{
    brokers::{broker, listener},
    cluster::{Cluster, assert_counted_once, faults_are_full},
    support::{platform::Platform, wait::eventually},
};

const SOON: Duration = Duration::from_secs(180);
const SENSORS: u32 = 200;
const ROUNDS: u32 = 300;
const RATE: u32 = 2_000;

/// `tests/services/services`, with our variables.
async fn services(args: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/services");
    let output = Command::new(script).args(args).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "services {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// A cluster with the servers to itself; none where they are not to be killed.
async fn alone(test: &str) -> Option<Cluster> {
    if !faults_are_full() {
        eprintln!("skipped: OPENINFRA_FAULTS is not full, no server is killed");
        return None;
    }
    let cluster = Cluster::alone(test).await?;
    let own = services(&["env"]).await;
    assert!(
        own.contains(&cluster.servers.kafka) && own.contains(&cluster.servers.cql),
        "SERVICES_DIR and PORT_BASE are not those of the servers of OPENINFRA_TEST_…:\n{own}"
    );
    Some(cluster)
}

/// Kills a server in the midst of things, and starts it again; how long it was away.
async fn kill(server: &str) -> Duration {
    tokio::time::sleep(Duration::from_secs(6)).await;
    let since = Instant::now();
    services(&["kill", server]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    services(&["up", server]).await;
    since.elapsed()
}

/// Each says by itself that all is well.
async fn healed(platforms: &[&Platform]) -> Duration {
    let since = Instant::now();
    for platform in platforms {
        eventually("everything answers again", SOON, async || {
            platform.is_ready().await.then_some(())
        })
        .await;
    }
    since.elapsed()
}

/// Reads go through: a broker that comes back leads one partition after the other, so that the first good
/// word is not the last.
async fn steady(serve: &Platform) {
    let mut since = Instant::now();
    eventually("reads go through for a while", SOON, async || {
        let request = serve.request(reqwest::Method::GET, "/api/v1/views");
        if !request
            .send()
            .await
            .is_ok_and(|answer| answer.status() == 200)
        {
            since = Instant::now();
        }
        (since.elapsed() > Duration::from_secs(3)).then_some(())
    })
    .await;
}

/// Kills a server during a replay over MQTT into `ingest`.
async fn survives(server: &str) {
    let Some(cluster) = alone(&format!("{server}_killed")).await else {
        return;
    };
    let all = u64::from(SENSORS * ROUNDS);
    let views = cluster.views().await;
    let (ingest, serve) = tokio::join!(cluster.ingest(), cluster.serve(&views));
    let file = cluster.readings("s", SENSORS, ROUNDS);
    let mut replay = cluster.replay(&file, &format!("mqtt://{}", ingest.mqtt()), RATE);
    let away = kill(server).await;
    let over = replay.try_wait().unwrap().is_some();
    let healed = healed(&[&ingest, &views, &serve]).await;
    let output = replay.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}\n{}", ingest.logged());
    steady(&serve).await;
    let ledger = serve.ledger().await;
    assert_counted_once(&ledger, all);
    serve.verify().await;
    eprintln!(
        "{server} killed: away {away:.1?} (the replay {}), healed {healed:.1?} later, {} of {all} counted \
         once, {} came twice",
        if over { "was over" } else { "went on" },
        ledger.accepted,
        ledger.duplicates
    );
    for platform in [serve, ingest, views] {
        platform.stop().await;
    }
    cluster.end().await;
}

#[tokio::test]
async fn kafka_killed() {
    survives("kafka").await;
}

#[tokio::test]
async fn the_store_killed() {
    survives("cassandra").await;
}

#[tokio::test]
async fn the_registry_killed() {
    survives("registry").await;
}

#[tokio::test]
async fn a_broker_killed() {
    let Some(broker) = broker() else { return };
    let Some(cluster) = alone("mosquitto_killed").await else {
        return;
    };
    let all = u64::from(SENSORS * ROUNDS);
    let views = cluster.views().await;
    let serve = cluster.serve(&views).await;
    // Shared subscriptions are not kept by Mosquitto over its end, others are.
    let ingest = listener(&cluster, &broker, "ingest", false).await;
    let sensors = format!("{}/s", cluster.name);
    let file = cluster.readings_of("s", &sensors, SENSORS, ROUNDS);
    let replay = cluster.replay(&file, &format!("mqtt://{broker}"), RATE);
    let away = kill("mosquitto").await;
    let output = replay.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut last = 0;
    let ledger = eventually("no more comes", SOON, async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let ledger = serve.ledger().await;
        let before = std::mem::replace(&mut last, ledger.log_records);
        (before == last).then_some(ledger)
    })
    .await;
    eprintln!(
        "mosquitto killed: away {away:.1?}, {} of {all} counted, {} came twice; it forgot {}",
        ledger.accepted,
        ledger.duplicates,
        all - ledger.accepted
    );
    // What the broker forgot is of the second before it was killed, and what it had in its hands.
    assert!(ledger.accepted + u64::from(2 * RATE) >= all, "{ledger:?}");
    // A device that sends it again is counted once.
    let again = cluster.replay(&file, &format!("mqtt://{broker}"), 3 * RATE);
    assert!(again.wait_with_output().await.unwrap().status.success());
    let ledger = eventually("all is counted", SOON, async || {
        let ledger = serve.ledger().await;
        (ledger.log_records >= all + u64::from(SENSORS) && ledger.accepted >= all).then_some(ledger)
    })
    .await;
    let counted = (ledger.accepted, ledger.corrections, ledger.refusals());
    assert_eq!(counted, (all, 0, 0), "{ledger:?}");
    serve.verify().await;
    for platform in [serve, ingest, views] {
        platform.stop().await;
    }
    cluster.end().await;
}
