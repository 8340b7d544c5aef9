//! The publisher against the listener: a full window, refusals, a lost connection, TLS.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::{sync::atomic::Ordering, time::Duration};

use openinfra_mqtt::{
    listener::Config,
    publisher::{Acked, ConnectError, PublishError, Publisher, PublisherConfig},
};
use support::{PATIENCE, QUIET, Server, until};
use tokio::{sync::mpsc::UnboundedReceiver, time::timeout};

const TOPIC: &str = "sensors/p/data";

fn config(server: &Server) -> PublisherConfig {
    PublisherConfig::new(server.address.to_string(), "publisher")
}

async fn acked(acks: &mut UnboundedReceiver<Acked>) -> Acked {
    timeout(PATIENCE, acks.recv())
        .await
        .unwrap()
        .expect("an acknowledgement")
}

#[tokio::test]
async fn messages_arrive_in_order_and_are_acknowledged_by_tag() {
    let server = Server::start().await;
    let (mut publisher, mut acks) = Publisher::connect(config(&server)).await.unwrap();
    for tag in 0..5000 {
        let payload = format!("{tag}");
        publisher
            .publish(TOPIC, payload.as_bytes(), tag)
            .await
            .unwrap();
    }
    publisher.finish().await.unwrap();
    for tag in 0..5000 {
        let ack = acked(&mut acks).await;
        assert_eq!((ack.tag, ack.reason_code, ack.accepted()), (tag, 0, true));
    }
    assert!(acks.recv().await.is_none());
    let seen = server.intake.seen();
    let payloads = seen
        .iter()
        .map(|s| String::from_utf8(s.payload.clone()).unwrap());
    assert!(payloads.eq((0..5000).map(|n: u64| n.to_string())));
}

#[tokio::test]
async fn publishing_waits_while_the_window_is_full() {
    let receive_maximum = 20;
    let server = Server::with(Config {
        receive_maximum,
        ..Config::default()
    })
    .await;
    server.intake.hold.send_replace(true);
    let (mut publisher, mut acks) = Publisher::connect(config(&server)).await.unwrap();
    assert_eq!(publisher.window(), receive_maximum);
    for tag in 0..20 {
        publisher.publish(TOPIC, b"1", tag).await.unwrap();
    }
    let full = timeout(QUIET, publisher.publish(TOPIC, b"1", 20)).await;
    assert!(full.is_err());
    server.intake.hold.send_replace(false);
    publisher.publish(TOPIC, b"1", 20).await.unwrap();
    for tag in 0..=20 {
        assert_eq!(acked(&mut acks).await.tag, tag);
    }
}

#[tokio::test]
async fn a_lost_connection_acknowledges_nothing_that_did_not_get_there() {
    let server = Server::start().await;
    let (mut publisher, mut acks) = Publisher::connect(config(&server)).await.unwrap();
    publisher.publish(TOPIC, b"1", 1).await.unwrap();
    assert_eq!(acked(&mut acks).await.tag, 1);
    server.intake.hold.send_replace(true);
    for tag in 2..=9 {
        publisher.publish(TOPIC, b"1", tag).await.unwrap();
    }
    until("taken", || server.intake.seen_len() == 9).await;
    server.intake.fail.store(true, Ordering::SeqCst);
    server.intake.hold.send_replace(false);
    assert_eq!(acks.recv().await, None);
    let error = publisher.publish(TOPIC, b"1", 10).await.unwrap_err();
    assert!(
        matches!(&error, PublishError::Lost(why) if why.contains("0x89")),
        "{error}"
    );
    assert!(publisher.finish().await.is_err());
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let server = Server::start().await;
    let (mut publisher, mut acks) = Publisher::connect(config(&server)).await.unwrap();
    publisher.publish("weather/today", b"1", 1).await.unwrap();
    publisher.publish(TOPIC, b"bad", 2).await.unwrap();
    assert_eq!(acked(&mut acks).await.reason_code, 0x90);
    let ack = acked(&mut acks).await;
    assert_eq!((ack.reason_code, ack.accepted()), (0x99, false));
    // What cannot be sent at all costs neither the connection nor a place in the window.
    let large = publisher.publish(TOPIC, &vec![0; 2 << 20], 3).await;
    assert!(matches!(large, Err(PublishError::TooLarge { .. })));
    let wildcard = publisher.publish("sensors/+/data", b"1", 4).await;
    assert!(matches!(wildcard, Err(PublishError::Topic(_))));
    publisher.publish(TOPIC, b"1", 5).await.unwrap();
    assert_eq!(acked(&mut acks).await.tag, 5);
    timeout(PATIENCE, publisher.finish())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_refused_connection_says_why() {
    let server = Server::start().await;
    let mut wrong = config(&server);
    wrong.password = Some("wrong".to_owned());
    let refused = Publisher::connect(wrong).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(
            &refused,
            ConnectError::Refused {
                code: 0x86,
                text: Some(_),
                ..
            }
        ),
        "{refused}"
    );
    let mut right = config(&server);
    right.username = Some("key".to_owned());
    right.password = Some("secret".to_owned());
    Publisher::connect(right).await.unwrap();
    // A port where nobody answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut late = PublisherConfig::new(silent.local_addr().unwrap().to_string(), "late");
    late.connect_timeout = Duration::from_millis(50);
    let timeout = Publisher::connect(late).await.map(|_| ()).unwrap_err();
    assert!(matches!(timeout, ConnectError::Timeout { .. }));
}

#[tokio::test]
async fn an_idle_publisher_keeps_its_connection() {
    let server = Server::start().await;
    let mut idle = config(&server);
    idle.keep_alive_s = 1;
    let (mut publisher, mut acks) = Publisher::connect(idle).await.unwrap();
    until("pinged", || {
        server.metric("openinfra_mqtt_packets_total", Some("pingreq")) >= 4.0
    })
    .await;
    publisher.publish(TOPIC, b"1", 1).await.unwrap();
    assert_eq!(acked(&mut acks).await.tag, 1);
}

#[tokio::test]
async fn a_server_that_falls_silent_without_closing_is_noticed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = PublisherConfig::new(listener.local_addr().unwrap().to_string(), "c");
    config.keep_alive_s = 1;
    let silent = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut connect = [0; 64];
        assert!(stream.read(&mut connect).await.unwrap() > 0);
        stream.write_all(&[0x20, 3, 0, 0, 0]).await.unwrap();
        stream
    };
    let (connected, _silent) = tokio::join!(Publisher::connect(config), silent);
    let (mut publisher, mut acks) = connected.unwrap();
    publisher.publish(TOPIC, b"1", 1).await.unwrap();
    assert_eq!(timeout(PATIENCE, acks.recv()).await.unwrap(), None);
    let error = publisher.publish(TOPIC, b"1", 2).await.unwrap_err();
    assert!(error.to_string().contains("ping"), "{error}");
}
