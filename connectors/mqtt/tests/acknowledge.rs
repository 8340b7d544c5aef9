//! PUBACK stands for "in the log": nothing is acknowledged before its commit returned, in either version.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::sync::atomic::Ordering;

use openinfra_mqtt::listener::Config;
use support::{Connect, PINGREQ, Server, publish, until};

const TOPIC: &str = "sensors/a/b/data";

#[tokio::test]
async fn both_versions_publish_and_are_acknowledged() {
    let server = Server::start().await;
    for (mut client, v5) in [(server.v3().await, false), (server.v5().await, true)] {
        client.send(&publish(v5, Some(7), TOPIC, b"1")).await;
        assert_eq!(client.packet().await.puback(), (7, 0));
    }
    let seen = server.intake.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].sensor.as_deref(), Some("a/b"));
    assert_eq!(seen[0].tenant, None);
    assert_eq!(seen[0].payload, b"1");
    assert_eq!(
        server.metric("openinfra_mqtt_packets_total", Some("puback")),
        2.0
    );
    assert_eq!(server.metric("openinfra_ingest_ack_seconds", None), 2.0);
}

#[tokio::test]
async fn nothing_is_acknowledged_before_its_commit() {
    let server = Server::start().await;
    let mut client = server.v5().await;
    server.intake.hold.send_replace(true);
    for id in 1..=3 {
        client.send(&publish(true, Some(id), TOPIC, b"1")).await;
    }
    until("all taken", || server.intake.seen_len() == 3).await;
    // The connection lives while the log is slow.
    client.send(&PINGREQ).await;
    assert_eq!(client.packet().await.kind, 13);
    client.quiet().await;
    assert_eq!(server.metric("openinfra_ingest_inflight", None), 3.0);
    server.intake.hold.send_replace(false);
    for id in 1..=3 {
        assert_eq!(client.packet().await.puback(), (id, 0));
    }
    assert_eq!(server.metric("openinfra_ingest_inflight", None), 0.0);
}

#[tokio::test]
async fn a_failed_commit_acknowledges_nothing_and_disconnects() {
    let server = Server::start().await;
    let (mut v3, mut v5) = (server.v3().await, server.v5().await);
    server.intake.fail.store(true, Ordering::SeqCst);
    v5.send(&publish(true, Some(1), TOPIC, b"1")).await;
    assert_eq!(v5.packet().await.disconnect_code(), 0x89);
    v5.closed().await;
    v3.send(&publish(false, Some(1), TOPIC, b"1")).await;
    v3.closed().await;
    assert_eq!(server.intake.committed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn refused_messages_are_acknowledged_with_their_reason_once_ledgered() {
    let server = Server::start().await;
    let mut client = server.v5().await;
    let cases: [(&str, &[u8], u8); 7] = [
        ("weather/today", b"1", 0x90),
        ("sensors//data", b"1", 0x90),
        ("sensors/+/data", b"1", 0x90),
        (TOPIC, b"bad", 0x99),
        (TOPIC, b"\xff\xfe", 0x99),
        (TOPIC, b"forbidden", 0x87),
        (TOPIC, b"mixed", 0x99),
    ];
    server.intake.hold.send_replace(true);
    for (id, (topic, payload, _)) in (1..).zip(cases) {
        client.send(&publish(true, Some(id), topic, payload)).await;
    }
    client.quiet().await;
    server.intake.hold.send_replace(false);
    for (id, (topic, _, code)) in (1..).zip(cases) {
        let ack = client.packet().await;
        assert_eq!(ack.puback(), (id, code), "{topic}");
        assert!(ack.body.len() > 10, "a reason string says what was wrong");
    }
    let seen = server.intake.seen();
    let detail = seen[0].refused.as_deref().unwrap();
    assert!(
        detail.contains("expected sensors/{sensor_id}/data"),
        "{detail}"
    );
    assert_eq!(seen[0].origin, "weather/today");
    // A v3.1.1 client cannot be told, but is acknowledged: the ledger has the message.
    let mut v3 = server.v3().await;
    v3.send(&publish(false, Some(9), "weather/today", b"1"))
        .await;
    assert_eq!(v3.packet().await.body, [0, 9]);
}

#[tokio::test]
async fn reason_strings_are_left_out_when_the_client_does_not_want_them() {
    let server = Server::start().await;
    let mut connect = Connect::v5("quiet");
    connect.properties = vec![0x17, 0];
    let mut client = server.client(&connect.bytes()).await;
    assert_eq!(client.packet().await.connack_code(), 0);
    client.send(&publish(true, Some(1), TOPIC, b"bad")).await;
    assert_eq!(client.packet().await.body, [0, 1, 0x99]);
}

#[tokio::test]
async fn a_message_of_qos_0_is_committed_after_its_sender_left() {
    let server = Server::start().await;
    server.intake.hold.send_replace(true);
    let mut client = server.v3().await;
    let mut bytes = publish(false, None, TOPIC, b"1");
    bytes.extend([0xE0, 0]);
    client.send(&bytes).await;
    drop(client);
    until("taken", || server.intake.seen_len() == 1).await;
    server.intake.hold.send_replace(false);
    until("committed", || {
        server.intake.committed.load(Ordering::SeqCst) == 1
    })
    .await;
    until("gone", || {
        server.metric("openinfra_mqtt_connections", None) == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_tenant_in_the_topic_and_the_wish_to_trust_receive_times_are_passed_on() {
    let server = Server::start().await;
    let mut connect = Connect::v5("replay");
    connect.properties = [
        &[0x26][..],
        &support::string("trust_recv"),
        &support::string("true"),
    ]
    .concat();
    let mut client = server.client(&connect.bytes()).await;
    assert_eq!(client.packet().await.connack_code(), 0);
    client
        .send(&publish(true, Some(1), "tenants/acme/sensors/x/data", b"1"))
        .await;
    assert_eq!(client.packet().await.puback(), (1, 0));
    let seen = server.intake.seen();
    assert_eq!(seen[0].tenant.as_deref(), Some("acme"));
    assert_eq!(seen[0].sensor.as_deref(), Some("x"));
    assert!(seen[0].trust_recv);
    // A device's key does not allow it.
    let mut client = server
        .client(&connect.user("device", "secret").bytes())
        .await;
    assert_eq!(client.packet().await.connack_code(), 0x87);
}

#[tokio::test]
async fn messages_sent_with_connect_are_taken() {
    let server = Server::start().await;
    let mut bytes = Connect::v5("eager").bytes();
    for id in 1..=200 {
        bytes.extend(publish(true, Some(id), TOPIC, b"{\"value\": 1}"));
    }
    let mut client = server.client(&bytes).await;
    assert_eq!(client.packet().await.connack_code(), 0);
    for id in 1..=200 {
        assert_eq!(client.packet().await.puback(), (id, 0));
    }
}

#[tokio::test]
async fn what_a_client_sends_too_fast_waits_and_is_not_dropped() {
    let server = Server::start().await;
    *server.intake.budget.lock().unwrap() = Some(5);
    let mut client = server.v5().await;
    let mut bytes = Vec::new();
    for id in 1..=20 {
        bytes.extend(publish(true, Some(id), TOPIC, b"1"));
    }
    client.send(&bytes).await;
    for id in 1..=5 {
        assert_eq!(client.packet().await.puback(), (id, 0));
    }
    client.quiet().await;
    assert_eq!(server.intake.seen_len(), 5);
    for round in 2..=4 {
        *server.intake.budget.lock().unwrap() = Some(5);
        for id in (round - 1) * 5 + 1..=round * 5 {
            assert_eq!(client.packet().await.puback(), (id, 0));
        }
    }
}

#[tokio::test]
async fn the_readings_of_one_large_message_count_against_the_rate() {
    let server = Server::start().await;
    *server.intake.budget.lock().unwrap() = Some(3);
    let mut client = server.v5().await;
    client
        .send(&publish(true, Some(1), TOPIC, b"many:10"))
        .await;
    assert_eq!(client.packet().await.puback(), (1, 0));
    client.send(&publish(true, Some(2), TOPIC, b"1")).await;
    client.quiet().await;
    // Nine readings are owed, two were paid from what was left, and the message itself is one.
    until("paid", || *server.intake.budget.lock().unwrap() == Some(0)).await;
    *server.intake.budget.lock().unwrap() = Some(7);
    client.quiet().await;
    *server.intake.budget.lock().unwrap() = Some(1);
    assert_eq!(client.packet().await.puback(), (2, 0));
}

#[tokio::test]
async fn a_v3_client_is_held_back_at_the_window() {
    let config = Config {
        receive_maximum: 10,
        ..Config::default()
    };
    let server = Server::with(config).await;
    server.intake.hold.send_replace(true);
    let mut client = server.v3().await;
    // Each in its own read, as far as the server reads at all.
    for id in 1..=100 {
        client
            .send(&publish(false, Some(id), TOPIC, &[b'1'; 5000]))
            .await;
        if id <= 10 {
            until("taken", || server.intake.seen_len() == usize::from(id)).await;
        }
    }
    client.quiet().await;
    assert_eq!(server.intake.seen_len(), 10);
    server.intake.hold.send_replace(false);
    for id in 1..=100 {
        assert_eq!(client.packet().await.puback(), (id, 0));
    }
}
