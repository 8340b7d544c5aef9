//! Who is let in, and how the others are told; TLS; one client id, one connection.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::{fs, sync::Arc, sync::atomic::Ordering};

use openinfra_mqtt::{
    listener::{Config, ListenError, Listener, TlsConfig},
    publisher::{Publisher, PublisherConfig, PublisherTls},
    tls,
};
use support::{Client, Connect, FakeIntake, PINGREQ, Server, packet, publish, until};
use tempfile::TempDir;

const TOPIC: &str = "sensors/c/data";

/// Answers of both versions to the same credentials.
async fn check(server: &Server, connect: Connect, v3: u8, v5: u8) {
    for (level, code) in [(4, v3), (5, v5)] {
        let connect = Connect {
            level,
            ..connect.clone()
        };
        let mut client = server.client(&connect.bytes()).await;
        assert_eq!(client.packet().await.connack_code(), code, "level {level}");
        if code != 0 {
            client.closed().await;
        }
    }
}

#[tokio::test]
async fn credentials_are_answered_in_the_words_of_each_version() {
    let server = Server::start().await;
    let nobody = Connect::v5("c");
    check(&server, nobody.clone(), 0, 0).await;
    check(&server, nobody.clone().user("key", "secret"), 0, 0).await;
    check(&server, nobody.clone().user("key", "wrong"), 4, 0x86).await;
    check(&server, nobody.clone().user("powerless", "secret"), 5, 0x87).await;
    server.intake.anonymous.store(false, Ordering::SeqCst);
    check(&server, nobody.clone(), 5, 0x87).await;
    server.intake.auth_down.store(true, Ordering::SeqCst);
    check(&server, nobody.user("key", "secret"), 3, 0x88).await;
    assert_eq!(
        server.metric("openinfra_mqtt_connects_total", Some("bad_credentials")),
        2.0
    );
    until("gone", || {
        server.metric("openinfra_mqtt_connections", None) == 0.0
    })
    .await;
}

#[tokio::test]
async fn v5_is_told_the_bounds_and_its_client_id() {
    let config = Config {
        receive_maximum: 77,
        keep_alive_max_s: 30,
        ..Config::default()
    };
    let server = Server::with(config).await;
    let mut client = server.client(&Connect::v5("").bytes()).await;
    let connack = client.packet().await;
    assert_eq!(connack.connack_code(), 0);
    let body = &connack.body[3..];
    let has = |property: &[u8]| body.windows(property.len()).any(|w| w == property);
    assert!(has(&[0x21, 0, 77]), "receive maximum");
    assert!(has(&[0x24, 1]), "maximum QoS");
    assert!(has(&[0x25, 0]), "retain not available");
    assert!(has(&[0x27, 0, 0x10, 0, 0]), "maximum packet size");
    assert!(has(&[0x22, 0, 0]), "no topic aliases");
    assert!(
        has(&[0x28, 0]) && has(&[0x29, 0]) && has(&[0x2A, 0]),
        "no subscriptions"
    );
    assert!(has(&[0x13, 0, 30]), "server keep-alive");
    assert!(has(b"openinfra-"), "assigned client id");
}

#[tokio::test]
async fn what_is_no_connect_is_turned_away() {
    let server = Server::start().await;
    for bytes in [
        publish(true, Some(1), TOPIC, b"1"),
        PINGREQ.to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        // Larger than any CONNECT that is read.
        vec![0x10, 0xFF, 0xFF, 0xFF, 0x7F],
        vec![0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
    ] {
        server.client(&bytes).await.closed().await;
    }
    let level = |level, code| {
        (
            Connect {
                level,
                ..Connect::v3("old")
            }
            .bytes(),
            code,
        )
    };
    for (bytes, code) in [level(3, 1), level(6, 0x84)] {
        let mut client = server.client(&bytes).await;
        assert_eq!(client.packet().await.connack_code(), code);
        client.closed().await;
    }
    let mut resume = Connect::v3("");
    resume.clean = false;
    let mut client = server.client(&resume.bytes()).await;
    assert_eq!(client.packet().await.connack_code(), 2);
    // Enhanced authentication is not spoken.
    let mut scram = Connect::v5("scram");
    scram.properties = [&[0x15][..], &support::string("SCRAM-SHA-1")].concat();
    let mut client = server.client(&scram.bytes()).await;
    assert_eq!(client.packet().await.connack_code(), 0x8C);
    assert_eq!(server.intake.seen_len(), 0);
}

#[tokio::test]
async fn whoever_does_not_finish_connect_is_cut_off() {
    let config = Config {
        connect_timeout_ms: 50,
        ..Config::default()
    };
    let server = Server::with(config).await;
    let mut silent = Client::tcp(server.address).await;
    let mut slow = server.client(&Connect::v5("slow").bytes()[..5]).await;
    silent.closed().await;
    slow.closed().await;
    until("counted", || {
        server.metric("openinfra_mqtt_connects_total", Some("timeout")) == 2.0
    })
    .await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_a_place_comes_back() {
    let config = Config {
        max_connections: 1,
        ..Config::default()
    };
    let server = Server::with(config).await;
    let first = server.v5().await;
    server
        .client(&Connect::v5("second").bytes())
        .await
        .closed()
        .await;
    drop(first);
    until("gone", || {
        server.metric("openinfra_mqtt_connections", None) == 0.0
    })
    .await;
    // The place is given back a moment after the gauge is.
    let mut let_in = false;
    while !let_in {
        let mut client = server.client(&Connect::v5("third").bytes()).await;
        let_in = client.next().await.is_some();
    }
}

#[tokio::test]
async fn a_newer_connection_takes_the_client_id_over() {
    let server = Server::start().await;
    let mut v5 = server.client(&Connect::v5("same").bytes()).await;
    assert_eq!(v5.packet().await.connack_code(), 0);
    let other_key = Connect::v5("same").user("other", "secret");
    let mut other = server.client(&other_key.bytes()).await;
    assert_eq!(other.packet().await.connack_code(), 0);
    let mut v3 = server.client(&Connect::v3("same").bytes()).await;
    assert_eq!(v3.packet().await.connack_code(), 0);
    assert_eq!(v5.packet().await.disconnect_code(), 0x8E);
    v5.closed().await;
    let mut newest = server.client(&Connect::v3("same").bytes()).await;
    assert_eq!(newest.packet().await.connack_code(), 0);
    v3.closed().await;
    drop((v5, v3));
    until("the older ones are gone", || {
        server.metric("openinfra_mqtt_connections", None) == 2.0
    })
    .await;
    // The end of the older ones does not end the newest, nor that of another key.
    for client in [&mut newest, &mut other] {
        client.send(&PINGREQ).await;
        assert_eq!(client.packet().await.kind, 13);
    }
    // Nor does it make the server forget who has the id.
    let mut last = server.client(&Connect::v3("same").bytes()).await;
    assert_eq!(last.packet().await.connack_code(), 0);
    newest.closed().await;
}

fn self_signed(folder: &TempDir) -> TlsConfig {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    fs::write(&cert, signed.cert.pem()).unwrap();
    fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    TlsConfig {
        bind: "127.0.0.1:0".parse().unwrap(),
        cert,
        key,
    }
}

#[tokio::test]
async fn tls_on_its_own_port() {
    let folder = TempDir::new().unwrap();
    let certificate = self_signed(&folder);
    let roots = tls::client(&certificate.cert).unwrap();
    let config = Config {
        tls: Some(certificate),
        ..Config::default()
    };
    let server = Server::with(config).await;
    let mut secure = PublisherConfig::new(server.tls.unwrap().to_string(), "secure");
    secure.tls = Some(PublisherTls {
        config: roots,
        server_name: "localhost".to_owned(),
    });
    let (mut publisher, mut acks) = Publisher::connect(secure.clone()).await.unwrap();
    for tag in 0..1000 {
        publisher.publish(TOPIC, &[b'1'; 300], tag).await.unwrap();
    }
    publisher.finish().await.unwrap();
    for tag in 0..1000 {
        assert_eq!(acks.recv().await.unwrap().tag, tag);
    }
    // Another name, and plain bytes on the TLS port.
    secure.tls.as_mut().unwrap().server_name = "elsewhere".to_owned();
    assert!(Publisher::connect(secure).await.is_err());
    let mut plain = Client::tcp(server.tls.unwrap()).await;
    plain.send(&Connect::v5("plain").bytes()).await;
    while plain.next().await.is_some() {}
    until("counted", || {
        server.metric("openinfra_mqtt_connects_total", Some("tls_error")) == 2.0
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_said_at_once() {
    let registry = prometheus::Registry::new();
    let bind = async |config: Config| {
        let intake = Arc::new(FakeIntake::default());
        Listener::bind(config, intake, &registry)
            .await
            .map(|_| ())
            .unwrap_err()
    };
    let folder = TempDir::new().unwrap();
    let mut tls = self_signed(&folder);
    fs::write(&tls.key, "no key").unwrap();
    let any = Config {
        bind: "127.0.0.1:0".parse().unwrap(),
        ..Config::default()
    };
    let error = bind(Config {
        tls: Some(tls.clone()),
        ..any.clone()
    })
    .await;
    assert!(error.to_string().contains("key.pem"), "{error}");
    tls.cert = folder.path().join("missing.pem");
    let error = bind(Config {
        tls: Some(tls),
        ..any.clone()
    })
    .await;
    assert!(error.to_string().contains("missing.pem"), "{error}");
    let error = bind(Config {
        receive_maximum: 0,
        ..any
    })
    .await;
    assert!(matches!(
        error,
        ListenError::Zero {
            field: "receive_maximum"
        }
    ));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = bind(Config {
        bind: taken.local_addr().unwrap(),
        ..Config::default()
    })
    .await;
    assert!(matches!(error, ListenError::Bind { .. }));
}

#[test]
fn an_unknown_setting_is_an_error_that_names_it() {
    let error = serde_json::from_str::<Config>(r#"{"port": 1883}"#).unwrap_err();
    assert!(
        error.to_string().contains("unknown field `port`"),
        "{error}"
    );
    let config: Config = serde_json::from_str("{}").unwrap();
    assert_eq!(config.max_packet_bytes, 1 << 20);
}

#[tokio::test]
async fn a_subscription_is_refused_and_the_connection_goes_on() {
    let server = Server::start().await;
    let filter = support::string("sensors/#");
    for (mut client, v5) in [(server.v3().await, false), (server.v5().await, true)] {
        let properties: &[u8] = if v5 { &[0] } else { &[] };
        let two = [&[0, 5], properties, &filter, &[1], &filter, &[0]].concat();
        client.send(&packet(0x82, &two)).await;
        let suback = client.packet().await;
        assert_eq!(suback.kind, 9);
        let codes: &[u8] = if v5 { &[0x83, 0x83] } else { &[0x80, 0x80] };
        assert_eq!(suback.body, [&[0, 5], properties, codes].concat());
        client
            .send(&packet(0xA2, &[&[0, 6], properties, &filter].concat()))
            .await;
        let unsuback = client.packet().await;
        assert_eq!(unsuback.kind, 11);
        assert_eq!(unsuback.body[..2], [0, 6]);
    }
}
