//! A broker that does what the test says, packet by packet, and the client under test beside it.

use std::{net::SocketAddr, sync::Arc};

use openinfra_embedded::{Embedded, Options};
use openinfra_intake::Intake;
use openinfra_mqtt::broker::{BrokerClient, Config};
use openinfra_store::Store;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Client, FakeIntake, PATIENCE, Packet, packet, string};

/// The metric of a running client, as [`super::Server::metric`] reads them.
pub fn metric(registry: &prometheus::Registry, name: &str, label: Option<&str>) -> f64 {
    for family in registry.gather() {
        for metric in family.get_metric() {
            let labelled =
                label.is_none_or(|want| metric.get_label().iter().any(|l| l.value() == want));
            if family.name() == name && labelled {
                return metric.get_gauge().get_value() + metric.get_counter().get_value();
            }
        }
    }
    0.0
}

/// A client under test over an intake that records.
pub struct Running {
    pub intake: Arc<FakeIntake>,
    pub registry: prometheus::Registry,
    pub cancel: CancellationToken,
    pub task: JoinHandle<()>,
    _folder: Option<Folder>,
}

/// A store that is there as long as this.
pub struct Folder {
    embedded: Embedded,
    _folder: TempDir,
}

impl Folder {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            embedded: Embedded::open(folder.path(), Options::default()).unwrap(),
            _folder: folder,
        }
    }

    pub fn store(&self) -> Arc<dyn Store> {
        self.embedded.store()
    }
}

impl Running {
    /// With a store of its own.
    pub fn over(config: Config, intake: FakeIntake) -> Self {
        let folder = Folder::new();
        let running = Self::beside(folder.store(), config, intake);
        Self {
            _folder: Some(folder),
            ..running
        }
    }

    pub fn beside(store: Arc<dyn Store>, config: Config, intake: FakeIntake) -> Self {
        let intake = Arc::new(intake);
        let registry = prometheus::Registry::new();
        let taken = Arc::clone(&intake) as Arc<dyn Intake>;
        let client = BrokerClient::new(config, taken, store, &registry).unwrap();
        let cancel = CancellationToken::new();
        let task = tokio::spawn(client.run(cancel.clone()));
        Self {
            intake,
            registry,
            cancel,
            task,
            _folder: None,
        }
    }

    pub fn metric(&self, name: &str, label: Option<&str>) -> f64 {
        metric(&self.registry, name, label)
    }

    /// Of `openinfra_broker_messages_total`.
    pub fn messages(&self, kind: &str) -> f64 {
        self.metric("openinfra_broker_messages_total", Some(kind))
    }
}

/// The listening side.
pub struct FakeBroker {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl FakeBroker {
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// Settings of a client of this broker: one filter, soon back.
    pub fn config(&self) -> Config {
        Config {
            topics: vec!["sensors/#".to_owned()],
            reconnect_max_ms: 50,
            ..Config::new(format!("mqtt://{}", self.address), "default")
        }
    }

    /// The next connection, let in and with its subscription granted.
    pub async fn serve(&self, session_present: bool) -> Client {
        let (mut client, _) = self.accept(session_present).await;
        subscribed(&mut client, &[1]).await;
        client
    }

    /// The next connection, and its CONNECT.
    pub async fn accept(&self, session_present: bool) -> (Client, Packet) {
        let accepted = timeout(PATIENCE, self.listener.accept()).await;
        let (stream, _) = accepted.expect("a connection").unwrap();
        let mut client = Client::over(stream);
        let connect = client.packet().await;
        assert_eq!(connect.kind, 1, "{connect:?}");
        client
            .send(&packet(0x20, &[u8::from(session_present), 0, 0]))
            .await;
        (client, connect)
    }
}

/// Reads SUBSCRIBE and answers with these codes; returns its filters with their options.
pub async fn subscribed(client: &mut Client, codes: &[u8]) -> Vec<(String, u8)> {
    let subscribe = client.packet().await;
    assert_eq!(subscribe.kind, 8, "{subscribe:?}");
    let (id, mut rest) = subscribe.body.split_at(2);
    assert_eq!(rest[0], 0, "no properties");
    rest = &rest[1..];
    let mut filters = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        let filter = String::from_utf8(rest[2..2 + length].to_vec()).unwrap();
        filters.push((filter, rest[2 + length]));
        rest = &rest[3 + length..];
    }
    client
        .send(&packet(0x90, &[id, &[0], codes].concat()))
        .await;
    filters
}

/// Reads UNSUBSCRIBE and answers with this code; returns its filter.
pub async fn unsubscribed(client: &mut Client, code: u8) -> String {
    let unsubscribe = client.packet().await;
    assert_eq!(unsubscribe.kind, 10, "{unsubscribe:?}");
    let (id, rest) = unsubscribe.body.split_at(2);
    assert_eq!(rest[0], 0, "no properties");
    client.send(&packet(0xB0, &[id, &[0, code]].concat())).await;
    String::from_utf8(rest[3..].to_vec()).unwrap()
}

/// A PUBLISH that the broker sends again.
pub fn again(id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let body = [&string(topic)[..], &id.to_be_bytes(), &[0], payload].concat();
    packet(0x3A, &body)
}
