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
    sending::Sending,
    support::{skip, wait::eventually},
    watch::{CQL_AWAY, KAFKA_AWAY, MQTT_AWAY, SOON, Signs, Watched, goes_on, healed},
};

/// How long a server stays away at least.
const AWAY: Duration = Duration::from_secs(3);
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
        skip::tell("OPENINFRA_FAULTS is not full, no server is killed");
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

/// Kills a server, and starts it again when a process said that it is away; how long it was.
async fn kill(server: &str, said_by: Option<&Watched<'_>>) -> Duration {
    let since = Instant::now();
    services(&["kill", server]).await;
    tokio::time::sleep(AWAY).await;
    if let Some(watched) = said_by {
        watched.gone().await;
    }
    services(&["up", server]).await;
    since.elapsed()
}

/// Kills a server while readings come in over MQTT, and goes on sending until all is well again. `signs` are
/// those of the views job; none where nobody needs the server meanwhile.
async fn survives(server: &str, signs: Option<Signs>) {
    let Some(cluster) = alone(&format!("{server}_killed")).await else {
        return;
    };
    let views = cluster.views().await;
    let (ingest, serve) = tokio::join!(cluster.ingest(), cluster.serve(&views));
    let sending = Sending::start(&format!("mqtt://{}", ingest.mqtt()), SENSORS, RATE);
    let some = u64::from(2 * RATE);
    goes_on(&serve, "readings are counted before", some).await;
    let watched = match signs {
        Some(signs) => Some(signs.of(&views).await),
        None => None,
    };
    let away = kill(server, watched.as_ref()).await;
    let counted = goes_on(&serve, "readings are counted after", some).await;
    let healed = healed(&[&ingest, &views, &serve]).await;
    if let Some(watched) = watched {
        watched.back().await;
    }
    let all = sending.end().await;
    let ledger = serve.ledger().await;
    assert_counted_once(&ledger, all);
    serve.verify().await;
    eprintln!(
        "{server} killed: away {away:.1?}, {some} more counted {counted:.1?} later, all well {healed:.1?} \
         after that; {} of {all} counted once, {} came twice",
        ledger.accepted, ledger.duplicates
    );
    for platform in [serve, ingest, views] {
        platform.stop().await;
    }
    cluster.end().await;
}

#[tokio::test]
async fn kafka_killed() {
    survives("kafka", Some(KAFKA_AWAY)).await;
}

#[tokio::test]
async fn the_store_killed() {
    survives("cassandra", Some(CQL_AWAY)).await;
}

#[tokio::test]
async fn the_registry_killed() {
    // Ids that are known need no registry.
    survives("registry", None).await;
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
    goes_on(&serve, "readings are counted", u64::from(2 * RATE)).await;
    let watched = MQTT_AWAY.of(&ingest).await;
    let away = kill("mosquitto", Some(&watched)).await;
    watched.back().await;
    let output = replay.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    // What the broker forgot is of the second before it was killed, and what it had in its hands.
    let forgotten = u64::from(2 * RATE);
    let mut last = 0;
    let ledger = eventually("all that is left has come", SOON, async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let ledger = serve.ledger().await;
        let before = std::mem::replace(&mut last, ledger.log_records);
        (before == last && ledger.accepted + forgotten >= all).then_some(ledger)
    })
    .await;
    eprintln!(
        "mosquitto killed: away {away:.1?}, {} of {all} counted, {} came twice; it forgot {}",
        ledger.accepted,
        ledger.duplicates,
        all - ledger.accepted
    );
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
