//! Real brokers: the one that `OPENINFRA_TEST_MQTT` names, and Mosquitto processes of a test's own.

use std::{
    io::ErrorKind,
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use openinfra_mqtt::publisher::{Publisher, PublisherConfig};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

use super::{PATIENCE, skip};

/// When readings are of, so that one which comes twice is seen to be the same.
const TIME_S: u64 = 1_700_000_000;

/// `host:port` of the broker that all tests share; none, and a line that says so, when there is none.
pub fn shared() -> Option<String> {
    skip::server("OPENINFRA_TEST_MQTT")
}

/// Unlike any other of any run: a tenant, and with it topics, sessions and groups of a test's own.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let (number, process) = (NEXT.fetch_add(1, Relaxed), std::process::id());
    format!(
        "{name}-{}-{process}-{number}",
        now.as_millis() % 1_000_000_000
    )
}

/// Publishes one reading for each value, in turn for three sensors of the tenant, and waits until the broker
/// has them.
pub async fn publish(address: &str, tenant: &str, values: std::ops::Range<u64>) {
    let id = unique("publisher");
    publish_as(PublisherConfig::new(address, id), tenant, values).await;
}

pub async fn publish_as(config: PublisherConfig, tenant: &str, values: std::ops::Range<u64>) {
    let (mut publisher, mut acked) = Publisher::connect(config).await.unwrap();
    for value in values.clone() {
        let topic = format!("tenants/{tenant}/sensors/s-{}/data", value % 3);
        let payload = format!("{{\"value\": {value}, \"timestamp\": {}}}", TIME_S + value);
        publisher
            .publish(&topic, payload.as_bytes(), value)
            .await
            .unwrap();
    }
    for _ in values {
        let acked = timeout(PATIENCE, acked.recv()).await;
        assert!(acked.expect("a PUBACK").expect("a connection").accepted());
    }
}

/// A port that nobody has now.
pub fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// A Mosquitto of a test's own, with its data in a folder that stays until this is dropped.
pub struct Mosquitto {
    pub folder: TempDir,
    pub port: u16,
    process: Option<Child>,
}

impl Mosquitto {
    /// A running one with `settings` beside the usual; none, and a line that says so, where none is installed.
    pub async fn start(settings: impl FnOnce(&TempDir) -> String) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let path = folder.path().display();
        let own = settings(&folder);
        // Started by root it would become another user, who may not write here.
        let text = format!(
            "user root\nlistener {port} 127.0.0.1\npersistence true\npersistence_location {path}/\n\
             autosave_interval 1\nmax_queued_messages 100000\n{own}\n"
        );
        std::fs::write(folder.path().join("mosquitto.conf"), text).unwrap();
        let mut broker = Self {
            folder,
            port,
            process: None,
        };
        broker.up().await.then_some(broker)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it, again after [`terminate`](Self::terminate).
    pub async fn up(&mut self) -> bool {
        let spawned = Command::new("mosquitto")
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .env(
                "PATH",
                "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/bin",
            )
            .kill_on_drop(true)
            .spawn();
        match spawned {
            Ok(process) => self.process = Some(process),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let required = skip::is_required("OPENINFRA_TEST_SERVICES");
                skip::unless(required, "mosquitto is not installed");
                return false;
            }
            Err(error) => panic!("mosquitto does not start: {error}"),
        }
        let listens = async {
            while TcpStream::connect(self.address()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, listens).await.expect("mosquitto listens");
        true
    }

    /// Stops it with SIGTERM, and waits until it is gone.
    pub async fn terminate(&mut self) {
        let mut process = self.process.take().unwrap();
        let id = process.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(sent.unwrap().success());
        timeout(PATIENCE, process.wait()).await.unwrap().unwrap();
    }
}
