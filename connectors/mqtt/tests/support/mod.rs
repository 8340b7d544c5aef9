//! An intake that records, and a client that writes MQTT by hand.
//!
//! The client shares no code with the listener's codec on purpose: a mistake on one side would hide
//! behind the same mistake on the other.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod broker;
pub mod log;
pub mod mosquitto;
#[path = "../../../../tests/support/skip.rs"]
pub mod skip;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use openinfra_intake::{
    AuthError, Budget, CommitError, Credentials, Delivery, INGEST_READINGS, Intake, Principal,
    PrincipalKind, Rejection, Room, TooMany, Verdict,
};
use openinfra_log::{AppendBatch, Appended};
use openinfra_mqtt::listener::{Config, Listener};
use openinfra_schemas::{Reason, TenantId, Topic};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Long enough for a loaded machine; a test that passes never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long to look for something that must not come.
pub const QUIET: Duration = Duration::from_millis(200);

/// A message as the intake saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub origin: String,
    pub sensor: Option<String>,
    pub tenant: Option<String>,
    pub payload: Vec<u8>,
    pub trust_recv: bool,
    pub refused: Option<String>,
}

/// Records what it takes; its commits can be held back, and can fail.
///
/// Payloads say what becomes of them: `bad` is undecodable, `forbidden` is of a sensor not the key's,
/// `mixed` is two readings of which one is refused, `many:N` is N readings, anything else is one.
pub struct FakeIntake {
    pub seen: Mutex<Vec<Seen>>,
    /// Records whose commit returned `Ok`.
    pub committed: AtomicUsize,
    pub commits: AtomicUsize,
    pub fail: AtomicBool,
    pub anonymous: AtomicBool,
    pub auth_down: AtomicBool,
    /// Readings that may still be admitted; none: any.
    pub budget: Mutex<Option<u32>>,
    pub hold: watch::Sender<bool>,
    pub bytes: Arc<Budget>,
}

impl Default for FakeIntake {
    fn default() -> Self {
        Self {
            seen: Mutex::default(),
            committed: AtomicUsize::new(0),
            commits: AtomicUsize::new(0),
            fail: AtomicBool::new(false),
            anonymous: AtomicBool::new(true),
            auth_down: AtomicBool::new(false),
            budget: Mutex::new(None),
            hold: watch::Sender::new(false),
            bytes: Budget::new(1 << 30),
        }
    }
}

impl FakeIntake {
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn seen_len(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn record(&self, delivery: &Delivery<'_>, refused: Option<String>) {
        self.seen.lock().unwrap().push(Seen {
            origin: delivery.origin.to_owned(),
            sensor: delivery.sensor.map(str::to_owned),
            tenant: delivery.tenant.map(str::to_owned),
            payload: delivery.payload.to_vec(),
            trust_recv: delivery.trust_recv,
            refused,
        });
    }
}

fn rejection(index: usize, reason: Reason) -> Rejection {
    Rejection {
        index,
        reason,
        detail: "as the test wants it".to_owned(),
    }
}

fn principal(name: &str, kind: PrincipalKind) -> Arc<Principal> {
    let mut principal = Principal::dev(TenantId::parse("default").unwrap());
    principal.name = name.to_owned();
    principal.kind = kind;
    principal.may_trust_recv = kind == PrincipalKind::Dev;
    if name != "powerless" {
        principal.permissions.insert(INGEST_READINGS.to_owned());
    }
    Arc::new(principal)
}

#[async_trait]
impl Intake for FakeIntake {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Arc<Principal>, AuthError> {
        if self.auth_down.load(Ordering::SeqCst) {
            return Err(AuthError::Unavailable("the store does not answer".into()));
        }
        match (&credentials.username, &credentials.secret) {
            (None, None) if self.anonymous.load(Ordering::SeqCst) => {
                Ok(principal("dev", PrincipalKind::Dev))
            }
            (None, None) => Err(AuthError::Missing),
            (Some(name), Some(secret)) if secret == "secret" => {
                Ok(principal(name, PrincipalKind::Device))
            }
            _ => Err(AuthError::Wrong),
        }
    }

    fn admit(&self, _: &Principal, readings: u32) -> Result<(), TooMany> {
        let mut budget = self.budget.lock().unwrap();
        match budget.as_mut() {
            None => Ok(()),
            Some(left) if *left >= readings => {
                *left -= readings;
                Ok(())
            }
            Some(_) => Err(TooMany {
                retry_after: Duration::from_millis(5),
                readings_per_s: 200,
            }),
        }
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.bytes
    }

    fn take(&self, _: &Principal, delivery: &Delivery<'_>, batch: &mut AppendBatch) -> Verdict {
        self.record(delivery, None);
        let payload = std::str::from_utf8(delivery.payload).unwrap_or("bad");
        batch.push(Topic::Readings, 0, b"key", delivery.payload);
        match payload {
            "bad" => Verdict {
                accepted: 0,
                rejected: vec![rejection(0, Reason::Undecodable)],
                forbidden: 0,
            },
            "forbidden" => Verdict {
                accepted: 0,
                rejected: vec![rejection(0, Reason::Invalid)],
                forbidden: 1,
            },
            "mixed" => Verdict {
                accepted: 1,
                rejected: vec![rejection(1, Reason::Invalid)],
                forbidden: 0,
            },
            other => Verdict {
                accepted: other
                    .strip_prefix("many:")
                    .map_or(1, |n| n.parse().unwrap()),
                ..Verdict::default()
            },
        }
    }

    fn refuse(
        &self,
        _: &Principal,
        delivery: &Delivery<'_>,
        _: Reason,
        detail: &str,
        batch: &mut AppendBatch,
    ) {
        self.record(delivery, Some(detail.to_owned()));
        batch.push(Topic::Ledger, 0, b"key", delivery.payload);
    }

    async fn commit(&self, batch: AppendBatch, _room: Room) -> Result<Appended, CommitError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let mut held = self.hold.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        if self.fail.load(Ordering::SeqCst) {
            return Err(CommitError::Unavailable("as the test wants it".into()));
        }
        self.committed.fetch_add(batch.len(), Ordering::SeqCst);
        Ok(Appended {
            offsets: (0..batch.len() as i64).collect(),
        })
    }
}

/// A running listener.
pub struct Server {
    pub intake: Arc<FakeIntake>,
    pub address: SocketAddr,
    pub tls: Option<SocketAddr>,
    pub registry: prometheus::Registry,
    pub cancel: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        Self::over(config, FakeIntake::default()).await
    }

    pub async fn over(mut config: Config, intake: FakeIntake) -> Self {
        config.bind.set_port(0);
        let intake = Arc::new(intake);
        let registry = prometheus::Registry::new();
        let listener = Listener::bind(config, Arc::clone(&intake) as Arc<dyn Intake>, &registry)
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let tls = listener.tls_addr().unwrap();
        let cancel = CancellationToken::new();
        let task = tokio::spawn(listener.run(cancel.clone()));
        Self {
            intake,
            address,
            tls,
            registry,
            cancel,
            task,
        }
    }

    pub async fn client(&self, connect: &[u8]) -> Client {
        let mut client = Client::tcp(self.address).await;
        client.send(connect).await;
        client
    }

    /// A v5 client that has been let in.
    pub async fn v5(&self) -> Client {
        let mut client = self.client(&Connect::v5("c5").bytes()).await;
        assert_eq!(client.packet().await.connack_code(), 0);
        client
    }

    /// A v3.1.1 client that has been let in.
    pub async fn v3(&self) -> Client {
        let mut client = self.client(&Connect::v3("c3").bytes()).await;
        assert_eq!(client.packet().await.connack_code(), 0);
        client
    }

    /// The value of a metric without or with one label, 0 when it is not there.
    pub fn metric(&self, name: &str, label: Option<&str>) -> f64 {
        for family in self.registry.gather() {
            for metric in family.get_metric() {
                let labelled =
                    label.is_none_or(|want| metric.get_label().iter().any(|l| l.value() == want));
                if family.name() == name && labelled {
                    let histogram = metric.get_histogram().get_sample_count() as f64;
                    return metric.get_gauge().get_value()
                        + metric.get_counter().get_value()
                        + histogram;
                }
            }
        }
        0.0
    }
}

/// Waits until a condition holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_enough(what, async || holds()).await;
}

/// Waits until what is done again and again comes to say that it is enough.
pub async fn until_enough(what: &str, mut step: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !step().await {
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Looks for a while whether a condition goes on holding.
pub async fn stays(what: &str, mut holds: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + QUIET;
    while tokio::time::Instant::now() < end {
        assert!(holds(), "no longer: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// CONNECT, by hand.
#[derive(Clone)]
pub struct Connect {
    pub level: u8,
    pub client_id: String,
    pub username: Option<String>,
    pub password: Option<String>,
    pub keep_alive_s: u16,
    /// Properties, already encoded; v5 only.
    pub properties: Vec<u8>,
    pub clean: bool,
}

impl Connect {
    pub fn v5(client_id: &str) -> Self {
        Self {
            level: 5,
            client_id: client_id.to_owned(),
            username: None,
            password: None,
            keep_alive_s: 60,
            properties: Vec::new(),
            clean: true,
        }
    }

    pub fn v3(client_id: &str) -> Self {
        Self {
            level: 4,
            ..Self::v5(client_id)
        }
    }

    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.username = Some(name.to_owned());
        self.password = Some(password.to_owned());
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut body = b"\0\x04MQTT".to_vec();
        let flags = u8::from(self.username.is_some()) << 7
            | u8::from(self.password.is_some()) << 6
            | u8::from(self.clean) << 1;
        body.extend([self.level, flags]);
        body.extend(self.keep_alive_s.to_be_bytes());
        if self.level == 5 {
            body.push(u8::try_from(self.properties.len()).unwrap());
            body.extend(&self.properties);
        }
        body.extend(string(&self.client_id));
        for text in [&self.username, &self.password].into_iter().flatten() {
            body.extend(string(text));
        }
        packet(0x10, &body)
    }
}

pub fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

pub fn packet(header: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![header];
    let mut length = body.len();
    loop {
        let more = length >= 128;
        bytes.push((length % 128) as u8 | u8::from(more) << 7);
        length /= 128;
        if !more {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// PUBLISH, QoS by whether there is a packet id.
pub fn publish(v5: bool, id: Option<u16>, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = string(topic);
    body.extend(id.into_iter().flat_map(u16::to_be_bytes));
    if v5 {
        body.push(0);
    }
    body.extend(payload);
    packet(0x30 | u8::from(id.is_some()) << 1, &body)
}

pub const PINGREQ: [u8; 2] = [0xC0, 0];

/// A packet that came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub kind: u8,
    pub body: Vec<u8>,
}

impl Packet {
    pub fn connack_code(&self) -> u8 {
        assert_eq!(self.kind, 2, "{self:?}");
        assert_eq!(self.body[0], 0, "no session is ever present");
        self.body[1]
    }

    /// Packet id and reason code.
    pub fn puback(&self) -> (u16, u8) {
        assert_eq!(self.kind, 4, "{self:?}");
        let id = u16::from_be_bytes([self.body[0], self.body[1]]);
        (id, self.body.get(2).copied().unwrap_or(0))
    }

    pub fn disconnect_code(&self) -> u8 {
        assert_eq!(self.kind, 14, "{self:?}");
        self.body.first().copied().unwrap_or(0)
    }
}

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub struct Client {
    stream: Box<dyn Stream>,
}

impl Client {
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
        }
    }

    pub async fn tcp(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends what may not be taken to its end.
    pub async fn try_send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await;
    }

    /// The next packet; none when the server closed.
    pub async fn next(&mut self) -> Option<Packet> {
        timeout(PATIENCE, self.read())
            .await
            .expect("a packet or the end")
    }

    pub async fn packet(&mut self) -> Packet {
        self.next().await.expect("a packet")
    }

    /// Fails when a packet comes.
    pub async fn quiet(&mut self) {
        let came = timeout(QUIET, self.stream.read_u8()).await;
        assert!(came.is_err(), "unexpected: {came:?}");
    }

    /// Fails when anything but the end comes.
    pub async fn closed(&mut self) {
        assert_eq!(self.next().await, None);
    }

    async fn read(&mut self) -> Option<Packet> {
        let header = self.stream.read_u8().await.ok()?;
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 127) << shift;
            if byte & 128 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(Packet {
            kind: header >> 4,
            body,
        })
    }
}
