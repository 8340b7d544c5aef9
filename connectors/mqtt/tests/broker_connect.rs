//! What a broker is asked for, how the client comes back to it, and how it leaves.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::sync::atomic::Ordering::SeqCst;

use openinfra_mqtt::broker::{BrokerClient, Config};
use openinfra_schemas::Secret;
use support::{
    FakeIntake, PATIENCE,
    broker::{FakeBroker, Folder, Running, subscribed},
    packet, publish, string, until,
};
use tokio::time::timeout;

const TOPIC: &str = "sensors/a/data";
const DISCONNECT: u8 = 14;

fn holds(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn connect_asks_for_a_session_that_stays() {
    let broker = FakeBroker::start().await;
    let config = Config {
        client_id: "ingest-0".to_owned(),
        user: Some("reader".to_owned()),
        password: Some(Secret::new("pssst")),
        session_expiry_s: 0x0102_0304,
        receive_maximum: 0x0506,
        max_packet_bytes: 0x0008_090A,
        ..broker.config()
    };
    let _running = Running::over(config, FakeIntake::default());
    let (mut session, connect) = broker.accept(false).await;
    assert!(connect.body.starts_with(b"\0\x04MQTT\x05"));
    assert_eq!(connect.body[7] & 0b10, 0, "no clean start");
    assert_eq!(connect.body[8..10], [0, 30], "keep alive");
    for part in [
        &[0x11, 1, 2, 3, 4][..],
        &[0x21, 5, 6],
        &[0x27, 0, 8, 9, 10],
        &[string("ingest-0"), string("reader"), string("pssst")].concat(),
    ] {
        assert!(holds(&connect.body, part), "{part:?} in {connect:?}");
    }
    // QoS 1 at most, and nothing that is retained.
    let filters = subscribed(&mut session, &[1]).await;
    let expected = ("$share/openinfra/sensors/#".to_owned(), 0b0010_0001);
    assert_eq!(filters, [expected]);
}

#[tokio::test]
async fn a_filter_that_is_refused_counts_and_is_asked_for_again() {
    let broker = FakeBroker::start().await;
    let config = Config {
        topics: Vec::new(),
        share: String::new(),
        ..broker.config()
    };
    let running = Running::over(config, FakeIntake::default());
    let (mut session, _) = broker.accept(false).await;
    let asked = subscribed(&mut session, &[0x87, 1]).await;
    let names: Vec<&str> = asked.iter().map(|(filter, _)| filter.as_str()).collect();
    assert_eq!(names, ["sensors/+/data", "tenants/default/sensors/+/data"]);
    let granted = || running.metric("openinfra_broker_subscriptions", None);
    until("one is granted", || granted() == 1.0).await;
    let refused = running.metric("openinfra_broker_subscriptions_refused_total", None);
    assert_eq!(refused, 1.0);
    let asked = subscribed(&mut session, &[1]).await;
    assert_eq!(asked[0].0, "sensors/+/data");
    assert_eq!(asked.len(), 1);
    until("both are granted", || granted() == 2.0).await;
}

#[tokio::test]
async fn it_comes_back_to_a_broker_that_was_away() {
    let broker = FakeBroker::start().await;
    let (config, address) = (broker.config(), broker.address);
    drop(broker);
    let running = Running::over(config, FakeIntake::default());
    let failed = || running.metric("openinfra_broker_connects_total", Some("failed"));
    until("tried more than once", || failed() >= 3.0).await;
    let broker = FakeBroker::at(address).await;
    let mut session = broker.serve(false).await;
    assert_eq!(running.metric("openinfra_broker_connected", None), 1.0);
    // Sent away with a reason, then without one.
    session.send(&packet(0xE0, &[0x8E])).await;
    drop(session);
    drop(broker.serve(true).await);
    let mut session = broker.serve(true).await;
    session.send(&publish(true, Some(1), TOPIC, b"1")).await;
    assert_eq!(session.packet().await.puback(), (1, 0));
    until("lost twice", || {
        running.metric("openinfra_broker_connections_lost_total", None) == 2.0
    })
    .await;
}

#[tokio::test]
async fn at_the_end_commits_are_waited_for_and_acknowledged_before_disconnect() {
    let broker = FakeBroker::start().await;
    let running = Running::over(broker.config(), FakeIntake::default());
    let mut session = broker.serve(false).await;
    running.intake.hold.send_replace(true);
    for id in 1..=3 {
        session.send(&publish(true, Some(id), TOPIC, b"1")).await;
    }
    until("received", || running.messages("received") == 3.0).await;
    running.cancel.cancel();
    session.quiet().await;
    // What comes now is for the next start.
    session.send(&publish(true, Some(4), TOPIC, b"1")).await;
    running.intake.hold.send_replace(false);
    for id in 1..=3 {
        assert_eq!(session.packet().await.puback(), (id, 0));
    }
    let last = session.packet().await;
    assert_eq!((last.kind, last.body.len()), (DISCONNECT, 0));
    drop(session);
    timeout(PATIENCE, running.task).await.unwrap().unwrap();
    assert_eq!(running.intake.committed.load(SeqCst), 3);
}

#[tokio::test]
async fn the_end_comes_without_the_log_and_acknowledges_nothing_then() {
    let broker = FakeBroker::start().await;
    let config = Config {
        drain_timeout_ms: 100,
        ..broker.config()
    };
    let running = Running::over(config, FakeIntake::default());
    let mut session = broker.serve(false).await;
    running.intake.fail.store(true, SeqCst);
    session.send(&publish(true, Some(1), TOPIC, b"1")).await;
    until("offered", || running.intake.commits.load(SeqCst) > 0).await;
    running.cancel.cancel();
    assert_eq!(session.packet().await.kind, DISCONNECT);
    drop(session);
    timeout(PATIENCE, running.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn it_ends_at_once_while_the_broker_is_away() {
    let broker = FakeBroker::start().await;
    let config = broker.config();
    drop(broker);
    let running = Running::over(config, FakeIntake::default());
    until("tried", || {
        running.metric("openinfra_broker_connects_total", Some("failed")) >= 1.0
    })
    .await;
    running.cancel.cancel();
    timeout(PATIENCE, running.task).await.unwrap().unwrap();
}

#[test]
fn several_clients_share_a_registry_under_names_of_their_own() {
    let (registry, folder) = (prometheus::Registry::new(), Folder::new());
    let client = |name: &str| {
        let config = Config {
            name: name.to_owned(),
            ..Config::new("mqtt://broker", "acme")
        };
        let intake = std::sync::Arc::new(FakeIntake::default());
        BrokerClient::new(config, intake, folder.store(), &registry)
    };
    let (a, b) = (client("a").unwrap(), client("b").unwrap());
    assert_ne!(a.client_id(), b.client_id());
    assert!(client("a").is_err());
}

const PINGREQ: u8 = 12;
const PUBACK: u8 = 4;

fn lost(running: &Running) -> f64 {
    running.metric("openinfra_broker_connections_lost_total", None)
}

fn five_seconds(broker: &FakeBroker) -> Config {
    Config {
        keep_alive_s: 5,
        ..broker.config()
    }
}

/// One whose answer to a ping waits behind more than it may send.
#[tokio::test]
async fn a_broker_that_sends_is_alive_whatever_it_owes() {
    let broker = FakeBroker::start().await;
    let running = Running::over(five_seconds(&broker), FakeIntake::default());
    let mut session = broker.serve(false).await;
    session.send(&publish(true, Some(1), TOPIC, b"1")).await;
    let mut pings = 0;
    while pings < 3 {
        match session.packet().await.kind {
            PINGREQ => {
                pings += 1;
                let id = 1 + pings;
                session.send(&publish(true, Some(id), TOPIC, b"1")).await;
            }
            kind => assert_eq!(kind, PUBACK),
        }
    }
    assert_eq!(lost(&running), 0.0);
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_lost() {
    let broker = FakeBroker::start().await;
    let running = Running::over(five_seconds(&broker), FakeIntake::default());
    let mut session = broker.serve(false).await;
    assert_eq!(session.packet().await.kind, PINGREQ);
    drop(timeout(3 * PATIENCE, broker.serve(true)).await.unwrap());
    until("lost", || lost(&running) >= 1.0).await;
}
