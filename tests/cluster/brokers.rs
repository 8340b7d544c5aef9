//! Processes that share what comes over a broker of somebody else's, while they are killed.
//!
//! What a newcomer would get wrong: the broker keeps what a process has not acknowledged in the session of
//! its client id, so a process that starts again must have the same one.

use std::path::PathBuf;

use super::{
    cluster::{Cluster, faults_are_full},
    sending::Sending,
    support::{platform::Platform, skip, wait::eventually},
    watch::{SOON, metric, reaches},
};

const PROCESSES: usize = 3;
const SENSORS: u32 = 100;
/// Readings a second: few enough that those who take them in keep up, while one is away.
const RATE: u32 = 500;

/// `HOST:PORT` of the broker; none, and a line that says so, where there is none.
pub fn broker() -> Option<String> {
    skip::server("OPENINFRA_TEST_MQTT")
}

/// A process that listens at the broker for the sensors of this cluster; `share`: with the others.
pub async fn listener(cluster: &Cluster, broker: &str, name: &str, share: bool) -> Platform {
    let config = settings(cluster, broker, name, share);
    let flags = [
        "ingest",
        "--mqtt",
        "127.0.0.1:0",
        "--config",
        config.to_str().unwrap(),
    ];
    let ingest = cluster.start(name, &flags).await;
    reaches(&ingest, "openinfra_broker_subscriptions", 1.0).await;
    ingest
}

fn settings(cluster: &Cluster, broker: &str, name: &str, share: bool) -> PathBuf {
    let prefix = &cluster.name;
    let group = if share { prefix } else { "" };
    let text = format!(
        r#"[[broker]]
name = "{name}"
url = "mqtt://{broker}"
tenant = "default"
client_id = "{prefix}-{name}"
topics = ["sensors/{prefix}/+/data"]
share = "{group}"
session_expiry_s = 600
reconnect_max_ms = 500
"#
    );
    let path = cluster.file(&format!("{name}.toml"));
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn processes_that_share_a_broker_may_be_killed() {
    let Some(broker) = broker() else { return };
    let Some(cluster) = Cluster::new("shared").await else {
        return;
    };
    let kills = if faults_are_full() { 10 } else { 2 };
    let views = cluster.views().await;
    let serve = cluster.serve(&views).await;
    let mut listeners = Vec::new();
    for number in 0..PROCESSES {
        listeners.push(listener(&cluster, &broker, &format!("ingest-{number}"), true).await);
    }
    let sensors = format!("{}/s", cluster.name);
    let sending = Sending::start_of(&format!("mqtt://{broker}"), &sensors, SENSORS, RATE);
    for kill in 0..kills {
        let at = kill % PROCESSES;
        reaches(&listeners[at], "openinfra_broker_messages_total", 200.0).await;
        listeners.remove(at).kill().await;
        // The others go on without it for a while.
        let other = &listeners[0];
        let taken = metric(other, "openinfra_broker_messages_total").await;
        reaches(other, "openinfra_broker_messages_total", taken + 200.0).await;
        let again = listener(&cluster, &broker, &format!("ingest-{at}"), true).await;
        listeners.insert(at, again);
    }
    let all = sending.end().await;
    let ledger = eventually("all that was published is counted", SOON, async || {
        let ledger = serve.ledger().await;
        (ledger.accepted >= all).then_some(ledger)
    })
    .await;
    eprintln!(
        "{kills} kills: {} of {all} counted, {} came twice",
        ledger.accepted, ledger.duplicates
    );
    let counted = (ledger.accepted, ledger.corrections, ledger.refusals());
    assert_eq!(counted, (all, 0, 0), "{ledger:?}");
    serve.verify().await;
    for platform in listeners.into_iter().chain([serve, views]) {
        platform.stop().await;
    }
    cluster.end().await;
}
