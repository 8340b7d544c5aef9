//! What an operator hears of clients that are refused: one line each, with who, from where and why.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::{
    io,
    sync::{Arc, Mutex},
};

use openinfra_mqtt::listener::Config;
use support::{Client, Connect, Server, packet, publish, string, until};
use tracing::{Level, subscriber::DefaultGuard};

const TOPIC: &str = "sensors/l/data";

/// What is logged on this thread, on which everything of a test runs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn listen() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(Level::INFO)
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    fn all(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for the next line of `level`, which has to be the only one, and forgets it.
    async fn take(&self, level: &str) -> String {
        until(level, || !self.all().is_empty()).await;
        let all = self.all();
        self.0.lock().unwrap().clear();
        assert!(all.len() == 1 && all[0].contains(level), "{all:?}");
        all.into_iter().next().unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn qos_2() -> Vec<u8> {
    let mut bytes = publish(false, Some(1), TOPIC, b"1");
    bytes[0] = 0x34;
    bytes
}

#[tokio::test]
async fn each_client_that_is_closed_for_cause_has_one_line() {
    let (lines, _guard) = Lines::listen();
    let server = Server::with(Config {
        max_packet_bytes: 1000,
        ..Config::default()
    })
    .await;
    let too_large = publish(false, Some(1), TOPIC, &[b'1'; 1000]);
    for (bytes, reason) in [
        (qos_2(), "QoS 2 is not supported"),
        (too_large, "larger than the maximum packet size"),
        (vec![0xC1, 0], "malformed"),
        (packet(0x40, &[0, 1]), ""),
    ] {
        let mut client = server.v3().await;
        client.try_send(&bytes).await;
        client.closed().await;
        let line = lines.take("WARN").await;
        assert!(line.contains(reason), "{line}");
        assert!(line.contains("client_id=\"c3\""), "{line}");
        assert!(line.contains("address=127.0.0.1:"), "{line}");
    }
}

#[tokio::test]
async fn each_client_that_is_not_let_in_has_one_line() {
    let (lines, _guard) = Lines::listen();
    let server = Server::start().await;
    for (bytes, reason, client_id) in [
        (qos_2(), "the first packet is no CONNECT", "\"\""),
        (packet(0x10, b"\0\x04MQTT\x04\xff"), "CONNECT", "\"\""),
        (
            Connect::v3("pump").user("key", "secret?").bytes(),
            "credentials",
            "\"pump\"",
        ),
    ] {
        let mut client = Client::tcp(server.address).await;
        client.try_send(&bytes).await;
        let line = lines.take("WARN").await;
        assert!(line.contains(reason), "{line}");
        assert!(line.contains(&format!("client_id={client_id}")), "{line}");
        assert!(line.contains("address=127.0.0.1:"), "{line}");
        assert!(!line.contains("secret"), "a secret is no reason: {line}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_no_cause_for_a_line() {
    let (lines, _guard) = Lines::listen();
    let server = Server::start().await;
    let connected = || server.metric("openinfra_mqtt_connections", None);
    let mut polite = server.v3().await;
    polite.send(&[0xE0, 0]).await;
    drop(server.v5().await);
    until("gone", || connected() == 0.0).await;
    assert_eq!(lines.all(), Vec::<String>::new());
}

#[tokio::test]
async fn a_will_is_ignored_and_said_to_be() {
    let (lines, _guard) = Lines::listen();
    let server = Server::start().await;
    let body = [
        b"\0\x04MQTT\x04\x06\0\x3c".to_vec(),
        string("pump"),
        string("sensors/pump/data"),
        string("1"),
    ];
    let mut client = server.client(&packet(0x10, &body.concat())).await;
    assert_eq!(client.packet().await.connack_code(), 0);
    let line = lines.take("INFO").await;
    assert!(line.contains("will") && line.contains("pump"), "{line}");
    drop(client);
    until("gone", || {
        server.metric("openinfra_mqtt_connections", None) == 0.0
    })
    .await;
    assert_eq!(server.intake.seen_len(), 0);
}
