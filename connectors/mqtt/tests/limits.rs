//! What a client may not do, what a slow or hostile one costs, and how a connection ends.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::sync::atomic::Ordering;

use openinfra_mqtt::listener::Config;
use proptest::prelude::*;
use support::{Client, Connect, PINGREQ, Server, packet, publish, string, until, until_enough};

const TOPIC: &str = "sensors/l/data";

/// The server says `code` (v5) and closes; v3.1.1 is closed without a word.
async fn check(server: &Server, what: &str, bytes: impl Fn(bool) -> Vec<u8>, code: u8) {
    let mut v5 = server.v5().await;
    v5.try_send(&bytes(true)).await;
    assert_eq!(v5.packet().await.disconnect_code(), code, "{what}");
    v5.closed().await;
    let mut v3 = server.v3().await;
    v3.try_send(&bytes(false)).await;
    v3.closed().await;
}

#[tokio::test]
async fn violations_end_the_connection_with_their_code() {
    let server = Server::start().await;
    let qos2 = |v5| {
        let mut bytes = publish(v5, Some(1), TOPIC, b"1");
        bytes[0] = 0x34;
        bytes
    };
    check(&server, "QoS 2", qos2, 0x9B).await;
    let twenty_megabytes = |v5| publish(v5, Some(1), TOPIC, &vec![b'1'; 20_000_000]);
    check(&server, "a body of 20 MB", twenty_megabytes, 0x95).await;
    check(&server, "QoS 3", |_| vec![0x36, 2, 0, 0], 0x81).await;
    check(
        &server,
        "a length of five bytes",
        |_| vec![0x30, 255, 255, 255, 255, 1],
        0x81,
    )
    .await;
    check(&server, "packet type 0", |_| vec![0, 0], 0x81).await;
    check(&server, "reserved flags", |_| vec![0xC1, 0], 0x81).await;
    let bad_topic = |_| packet(0x32, b"\0\x02\xff\xfe\0\x01\0 1");
    check(&server, "a topic that is not UTF-8", bad_topic, 0x81).await;
    check(
        &server,
        "a topic past the end",
        |_| packet(0x32, &[0, 99, b'a']),
        0x81,
    )
    .await;
    let no_id = |v5| publish(v5, Some(0), TOPIC, b"1");
    check(&server, "packet identifier 0", no_id, 0x82).await;
    let no_topic = |v5| publish(v5, Some(1), "", b"1");
    check(&server, "no topic", no_topic, 0x82).await;
    check(
        &server,
        "a second CONNECT",
        |_| Connect::v5("x").bytes(),
        0x82,
    )
    .await;
    check(&server, "a PUBACK", |_| packet(0x40, &[0, 1]), 0x82).await;
    check(&server, "a CONNACK", |_| packet(0x20, &[0, 0]), 0x82).await;
    check(
        &server,
        "a SUBSCRIBE to nothing",
        |v5| packet(0x82, &[0, 1, 0][..2 + usize::from(v5)]),
        0x82,
    )
    .await;

    let mut alias = server.v5().await;
    let body = [&string(TOPIC)[..], &[0, 1, 3, 0x23, 0, 1, b'1']].concat();
    alias.send(&packet(0x32, &body)).await;
    assert_eq!(alias.packet().await.disconnect_code(), 0x94);

    assert_eq!(server.intake.seen_len(), 0);
    // Nothing of that broke the server.
    let mut client = server.v5().await;
    client.send(&publish(true, Some(1), TOPIC, b"1")).await;
    assert_eq!(client.packet().await.puback(), (1, 0));
}

#[tokio::test]
async fn what_stood_before_a_violation_is_taken_and_acknowledged() {
    let server = Server::start().await;
    let mut client = server.v5().await;
    let mut bytes = publish(true, Some(1), TOPIC, b"1");
    bytes.extend([0xC1, 0]);
    client.send(&bytes).await;
    assert_eq!(client.packet().await.puback(), (1, 0));
    assert_eq!(client.packet().await.disconnect_code(), 0x81);
}

#[tokio::test]
async fn the_largest_packet_is_taken_and_one_byte_more_is_not() {
    let max_packet_bytes = 1000;
    let server = Server::with(Config {
        max_packet_bytes,
        ..Config::default()
    })
    .await;
    let room = 1000 - publish(true, Some(1), TOPIC, &[b'1'; 500]).len() + 500;
    let mut client = server.v5().await;
    client
        .send(&publish(true, Some(1), TOPIC, &vec![b'1'; room]))
        .await;
    assert_eq!(client.packet().await.puback(), (1, 0));
    client
        .send(&publish(true, Some(2), TOPIC, &vec![b'1'; room + 1]))
        .await;
    assert_eq!(client.packet().await.disconnect_code(), 0x95);
}

#[tokio::test]
async fn a_v5_client_beyond_its_window_is_disconnected() {
    let receive_maximum = 3;
    let server = Server::with(Config {
        receive_maximum,
        ..Config::default()
    })
    .await;
    let mut client = server.v5().await;
    server.intake.hold.send_replace(true);
    for id in 1..=3 {
        client.send(&publish(true, Some(id), TOPIC, b"1")).await;
    }
    until("taken", || server.intake.seen_len() == 3).await;
    client.send(&PINGREQ).await;
    assert_eq!(client.packet().await.kind, 13);
    client.send(&publish(true, Some(4), TOPIC, b"1")).await;
    until("noticed", || {
        server.metric("openinfra_mqtt_packets_total", Some("publish")) == 4.0
    })
    .await;
    server.intake.hold.send_replace(false);
    for id in 1..=3 {
        assert_eq!(client.packet().await.puback(), (id, 0));
    }
    assert_eq!(client.packet().await.disconnect_code(), 0x93);
}

#[tokio::test]
async fn bytes_in_flight_are_bounded() {
    let in_flight_bytes = 100_000;
    let server = Server::with(Config {
        in_flight_bytes,
        ..Config::default()
    })
    .await;
    server.intake.hold.send_replace(true);
    let mut client = server.v5().await;
    let sender = tokio::spawn(async move {
        for id in 1..=500 {
            client
                .send(&publish(true, Some(id), TOPIC, &[b'1'; 50_000]))
                .await;
        }
        client
    });
    until("full", || server.intake.seen_len() >= 2).await;
    // The server has the time to read on: others are served meanwhile.
    let mut other = server.v3().await;
    for _ in 0..100 {
        other.send(&PINGREQ).await;
        assert_eq!(other.packet().await.kind, 13);
    }
    let held = server.intake.seen_len();
    // The bound, and what one read may bring beyond it.
    assert!((2..=4).contains(&held), "{held}");
    server.intake.hold.send_replace(false);
    let mut client = sender.await.unwrap();
    for id in 1..=500 {
        assert_eq!(client.packet().await.puback(), (id, 0));
    }
}

#[tokio::test]
async fn silence_ends_the_connection_and_a_ping_prevents_it() {
    let server = Server::start().await;
    let connect = |level, id: &str| Connect {
        level,
        keep_alive_s: 1,
        ..Connect::v5(id)
    };
    // First come, first silent: without its pings this one would end before the others.
    let mut alive = server.client(&connect(4, "alive").bytes()).await;
    assert_eq!(alive.packet().await.connack_code(), 0);
    let mut silent = server.client(&connect(5, "silent").bytes()).await;
    assert_eq!(silent.packet().await.connack_code(), 0);
    let mut dribbling = server.client(&connect(4, "dribbling").bytes()).await;
    assert_eq!(dribbling.packet().await.connack_code(), 0);
    // Half a packet, however slowly it grows, is no sign of life.
    let mut half = packet(0x32, &[b'1'; 16_000]).into_iter().take(15_000);
    until_enough("the others ended", async || {
        dribbling.try_send(half.next().as_slice()).await;
        alive.send(&PINGREQ).await;
        assert_eq!(alive.packet().await.kind, 13);
        server.metric("openinfra_mqtt_connections", None) <= 1.0
    })
    .await;
    assert_eq!(silent.packet().await.disconnect_code(), 0x8D);
    silent.closed().await;
    dribbling.closed().await;
    alive.send(&PINGREQ).await;
    assert_eq!(alive.packet().await.kind, 13);
}

#[tokio::test]
async fn a_client_is_not_silent_while_it_is_held_back() {
    let receive_maximum = 1;
    let server = Server::with(Config {
        receive_maximum,
        ..Config::default()
    })
    .await;
    let connect = |level, id: &str| Connect {
        level,
        keep_alive_s: 1,
        ..Connect::v5(id)
    };
    let mut client = server.client(&connect(4, "held").bytes()).await;
    assert_eq!(client.packet().await.connack_code(), 0);
    server.intake.hold.send_replace(true);
    client.send(&publish(false, Some(1), TOPIC, b"1")).await;
    until("taken", || server.intake.seen_len() == 1).await;
    // One that is silent as long of its own will is ended meanwhile.
    let mut silent = server.client(&connect(5, "silent").bytes()).await;
    assert_eq!(silent.packet().await.connack_code(), 0);
    assert_eq!(silent.packet().await.disconnect_code(), 0x8D);
    server.intake.hold.send_replace(false);
    assert_eq!(client.packet().await.puback(), (1, 0));
    client.send(&PINGREQ).await;
    assert_eq!(client.packet().await.kind, 13);
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_dropped() {
    let server = Server::with(Config {
        write_timeout_ms: 200,
        ..Config::default()
    })
    .await;
    let mut client = server.v3().await;
    // Pings without end, and nobody reads the answers.
    let pings = PINGREQ.repeat(1 << 20);
    let flood = tokio::spawn(async move {
        for _ in 0..64 {
            client.try_send(&pings).await;
        }
    });
    until("dropped", || {
        server.metric("openinfra_mqtt_connections", None) == 0.0
    })
    .await;
    flood.abort();
}

#[tokio::test]
async fn the_listener_drains_before_it_stops() {
    let server = Server::start().await;
    let (mut v5, mut v3) = (server.v5().await, server.v3().await);
    server.intake.hold.send_replace(true);
    v5.send(&publish(true, Some(1), TOPIC, b"1")).await;
    v3.send(&publish(false, Some(2), TOPIC, b"1")).await;
    until("taken", || server.intake.seen_len() == 2).await;
    server.cancel.cancel();
    v5.quiet().await;
    server.intake.hold.send_replace(false);
    assert_eq!(v5.packet().await.puback(), (1, 0));
    assert_eq!(v5.packet().await.disconnect_code(), 0x8B);
    v5.closed().await;
    assert_eq!(v3.packet().await.puback(), (2, 0));
    v3.closed().await;
    drop((v5, v3));
    server.task.await.unwrap();
    assert!(
        tokio::net::TcpStream::connect(server.address)
            .await
            .is_err()
    );
    assert_eq!(server.registry.gather().len(), 5);
}

#[tokio::test]
async fn a_log_that_never_answers_does_not_keep_the_listener() {
    let server = Server::with(Config {
        drain_timeout_ms: 100,
        ..Config::default()
    })
    .await;
    let mut client = server.v5().await;
    server.intake.hold.send_replace(true);
    client.send(&publish(true, Some(1), TOPIC, b"1")).await;
    until("taken", || server.intake.seen_len() == 1).await;
    server.cancel.cancel();
    assert_eq!(client.packet().await.disconnect_code(), 0x8B);
    client.closed().await;
    server.task.await.unwrap();
    assert_eq!(server.intake.committed.load(Ordering::SeqCst), 0);
}

/// Bytes that look like packets more often than chance would have it.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let any_packet = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(header, body)| packet(header, &body));
    let broken_publish = (
        any::<bool>(),
        any::<u16>(),
        any::<prop::sample::Index>(),
        any::<u8>(),
    )
        .prop_map(|(v5, id, at, byte)| {
            let mut bytes = publish(v5, Some(id), TOPIC, b"{\"value\": 1}");
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        });
    let noise = prop::collection::vec(any::<u8>(), 0..60);
    let part = prop_oneof![any_packet, broken_publish, noise];
    prop::collection::vec(part, 1..6).prop_map(|parts| parts.concat())
}

#[test]
fn no_bytes_harm_the_server() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    let strategy = (any::<bool>(), any::<bool>(), garbage());
    let config = ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |((connected, v5, bytes) in strategy)| {
        runtime.block_on(async {
            let connect = if v5 { Connect::v5("").bytes() } else { Connect::v3("").bytes() };
            let mut client = Client::tcp(server.address).await;
            if connected {
                client.try_send(&connect).await;
            }
            client.try_send(&bytes).await;
            drop(client);
        });
    });
    runtime.block_on(async {
        // A task that panics takes its connection from the gauge never.
        until("all gone", || {
            server.metric("openinfra_mqtt_connections", None) == 0.0
        })
        .await;
        let mut client = server.v5().await;
        client.send(&publish(true, Some(1), TOPIC, b"1")).await;
        assert_eq!(client.packet().await.puback(), (1, 0));
        server.cancel.cancel();
    });
}
