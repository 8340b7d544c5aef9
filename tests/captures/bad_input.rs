//! What devices and strangers send that is no reading: each is answered or stands in the ledger with its
//! reason, and the server goes on.

use std::{io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use openinfra_mqtt::publisher::{Acked, ConnectError, PublishError, Publisher, PublisherConfig};
use reqwest::Method;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc::UnboundedReceiver,
};

use super::{
    rows::{Bits, ReadingRow},
    support::platform::{Ledger, Platform},
};

const MIB: usize = 1024 * 1024;
/// A sensor's route.
const PUMP: &str = "/api/v1/iot/sensors/pump-1/data";
const BATCH: &str = "/api/v1/iot/sensors/batch-ingest";

/// What a message becomes.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It counts.
    Accepted,
    /// It stands in the ledger.
    Refused(&'static str),
    /// It was answered, and nothing of it was taken.
    Untouched,
}
use Fate::{Accepted, Refused, Untouched};

/// A payload that is wrong in one way, and what it becomes.
fn payloads() -> Vec<(&'static str, Vec<u8>, Fate)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        (
            "broken JSON",
            text(r#"{"value": 1"#),
            Refused("undecodable"),
        ),
        (
            "a bare NaN",
            text(r#"{"value": NaN}"#),
            Refused("undecodable"),
        ),
        (
            "invalid UTF-8",
            b"{\"value\": 1, \"unit\": \"\xff\xfe\"}".to_vec(),
            Refused("undecodable"),
        ),
        ("nothing at all", Vec::new(), Refused("undecodable")),
        (
            "a value as a string",
            text(r#"{"value": "12"}"#),
            Refused("invalid"),
        ),
        (
            "the year 2099",
            text(r#"{"value": 1, "timestamp": "2099-01-01T00:00:00Z"}"#),
            Refused("clock_future"),
        ),
        (
            "the year 1999",
            text(r#"{"value": 1, "timestamp": "1999-01-01T00:00:00Z"}"#),
            Refused("late_beyond_horizon"),
        ),
        ("a reading", text(r#"{"value": 1.5}"#), Accepted),
    ]
}

/// A server, and what its ledger must say by now.
struct Trial {
    platform: Platform,
    expected: Ledger,
    _scratch: tempfile::TempDir,
}

impl Trial {
    async fn start() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let platform = Platform::start(&scratch.path().join("data")).await;
        let expected = platform.ledger().await;
        assert_eq!(expected.log_records, 0);
        Self {
            platform,
            expected,
            _scratch: scratch,
        }
    }

    /// What was just sent became this and nothing else, and the server goes on.
    async fn became(&mut self, what: &str, fate: Fate) {
        match fate {
            Untouched => {}
            Accepted => self.expected.accepted += 1,
            Refused(reason) => *self.expected.refused.entry(reason.to_owned()).or_default() += 1,
        }
        self.expected.log_records += u64::from(!matches!(fate, Untouched));
        assert_eq!(self.platform.ledger().await, self.expected, "{what}");
        assert!(
            self.platform.is_ready().await,
            "{what}: the server is not ready any more"
        );
    }

    /// Posts a body; the status and the problem's type that it was answered with.
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, String) {
        let mut request = self.platform.request(Method::POST, path).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        (status, body["type"].as_str().unwrap_or_default().to_owned())
    }

    async fn publisher(&self, password: Option<&str>) -> Result<Connection, ConnectError> {
        let config = PublisherConfig {
            password: password.map(str::to_owned),
            ..PublisherConfig::new(self.platform.mqtt().to_string(), "bad-input")
        };
        Publisher::connect(config).await
    }

    /// The server still takes and shows a reading, and its views are what the log says.
    async fn goes_on(mut self) {
        let (status, _) = self.post(PUMP, &[], br#"{"value": 42.5}"#.to_vec()).await;
        assert_eq!(status, 202);
        self.became("a reading at the end", Accepted).await;
        let latest = self.platform.dump::<ReadingRow>("latest_reading").await;
        let pump = latest.iter().find(|row| row.sensor_id == "pump-1").unwrap();
        assert_eq!(pump.value, Some(Bits(42.5)));
        self.platform.verify().await;
        self.platform.stop().await;
    }
}

type Connection = (Publisher, UnboundedReceiver<Acked>);

#[tokio::test]
async fn over_http() {
    let mut trial = Trial::start().await;
    for (what, body, fate) in payloads() {
        let (status, kind) = trial.post(PUMP, &[], body).await;
        let fits = match fate {
            Refused("undecodable") => {
                (status, kind.as_str()) == (400, "/problems/malformed-request")
            }
            Refused("invalid") => (status, kind.as_str()) == (422, "/problems/validation-failed"),
            _ => status == 202,
        };
        assert!(fits, "{what}: {status} {kind}");
        trial.became(what, fate).await;
    }

    let id = "x".repeat(300);
    let body = format!(r#"{{"readings": [{{"sensor_id": "{id}", "value": 1}}]}}"#);
    let (status, _) = trial.post(BATCH, &[], body.into_bytes()).await;
    assert_eq!(status, 422);
    trial
        .became("an id of 300 characters", Refused("invalid"))
        .await;

    let untouched = [
        ("20 MB", PUMP, "x-nothing", "", vec![b' '; 20 * MIB], 413),
        (
            "a gzip bomb",
            BATCH,
            "content-encoding",
            "gzip",
            bomb(),
            413,
        ),
        (
            "a wrong key",
            PUMP,
            "x-api-key",
            "0123456789ab.nonsense",
            b"{}".to_vec(),
            401,
        ),
        (
            "an unknown parameter",
            &format!("{PUMP}?trust=1"),
            "x-nothing",
            "",
            b"{}".to_vec(),
            400,
        ),
        (
            "another type",
            PUMP,
            "content-type",
            "text/csv",
            b"1,2".to_vec(),
            415,
        ),
    ];
    for (what, path, name, value, body, expected) in untouched {
        let (status, kind) = trial.post(path, &[(name, value)], body).await;
        assert_eq!(status, expected, "{what}");
        assert!(kind.starts_with("/problems/"), "{what}: {kind}");
        trial.became(what, Untouched).await;
    }
    trial.goes_on().await;
}

#[tokio::test]
async fn over_mqtt() {
    let mut trial = Trial::start().await;
    let (mut publisher, mut acks) = trial.publisher(None).await.unwrap();
    let id = "x".repeat(300);
    let long = format!("sensors/{id}/data");
    let good = br#"{"value": 1}"#;
    let topics = [
        (
            "an unknown topic",
            "pumps/1",
            good.to_vec(),
            Refused("invalid"),
            0x90,
        ),
        (
            "an id of 300 characters",
            &long,
            good.to_vec(),
            Refused("invalid"),
            0x99,
        ),
        (
            "a tenant of others",
            "tenants/theirs/sensors/a/data",
            good.to_vec(),
            Refused("unknown_tenant"),
            0x87,
        ),
    ];
    let payloads = payloads().into_iter().map(|(what, body, fate)| {
        let code = if matches!(fate, Refused("undecodable" | "invalid")) {
            0x99
        } else {
            0
        };
        (what, "sensors/pump-1/data", body, fate, code)
    });
    for (tag, (what, topic, body, fate, code)) in (0..).zip(payloads.chain(topics)) {
        publisher.publish(topic, &body, tag).await.unwrap();
        let ack = acks.recv().await.unwrap();
        assert_eq!((ack.tag, ack.reason_code), (tag, code), "{what}");
        trial.became(what, fate).await;
    }

    let large = publisher
        .publish("sensors/pump-1/data", &vec![b' '; 20 * MIB], 0)
        .await;
    assert!(
        matches!(large, Err(PublishError::TooLarge { .. })),
        "{large:?}"
    );
    drop(publisher);
    flood(&trial.platform).await;
    trial.became("20 MB", Untouched).await;

    let wrong = trial
        .publisher(Some("0123456789ab.nonsense"))
        .await
        .map(|_| ());
    assert!(
        matches!(wrong, Err(ConnectError::Refused { code: 0x86, .. })),
        "{wrong:?}"
    );
    trial.became("a wrong key", Untouched).await;
    trial.goes_on().await;
}

/// What was refused is kept as it came, and can be looked up.
#[tokio::test]
async fn what_was_refused_can_be_listed() {
    let trial = Trial::start().await;
    trial.post(PUMP, &[], br#"{"value": NaN}"#.to_vec()).await;
    trial.platform.caught_up().await;
    let listed = trial
        .platform
        .get("/api/v1/ledger?reason=undecodable")
        .await;
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{listed}");
    assert_eq!(
        items[0]["payload_base64"], "eyJ2YWx1ZSI6IE5hTn0=",
        "{listed}"
    );
    trial.platform.stop().await;
}

/// 200 MB of blanks as 200 kB.
fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let blanks = vec![b' '; MIB];
    for _ in 0..200 {
        encoder.write_all(&blanks).unwrap();
    }
    encoder.finish().unwrap()
}

/// A client that does not ask how much it may send: the server hangs up on it.
async fn flood(platform: &Platform) {
    let mut stream = TcpStream::connect(platform.mqtt()).await.unwrap();
    let connect = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05flood";
    stream.write_all(connect).await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    // PUBLISH with QoS 1 and 20 MiB to follow, as its length says.
    stream
        .write_all(b"\x32\x80\x80\x80\x0a\x00\x13sensors/pump-1/data\x00\x01")
        .await
        .unwrap();
    let blanks = vec![b' '; MIB];
    for _ in 0..20 {
        if stream.write_all(&blanks).await.is_err() {
            break;
        }
    }
    let mut rest = Vec::new();
    let hung_up =
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    hung_up.expect("the server hangs up").ok();
    assert!(!rest.starts_with(&[0x40]), "it was acknowledged");
}
