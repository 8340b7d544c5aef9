//! A deployment of a test's own on the servers, and its processes.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::SystemTime,
};

use tempfile::TempDir;
use tokio::{
    process::Child,
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{
    cql,
    kafka::drop_topic,
    support::{
        command::{self, Ended, openinfra},
        platform::{Ledger, Platform},
        skip,
    },
};

/// Tests share the servers; one that kills them has them to itself.
static SERVERS: RwLock<()> = RwLock::const_new(());

/// Its part in the servers.
enum Part {
    Shared(#[expect(dead_code, reason = "held")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>),
}

/// Whether faults take as long, and happen as often, as is promised; tests take minutes then.
pub fn faults_are_full() -> bool {
    std::env::var("OPENINFRA_FAULTS").is_ok_and(|faults| faults == "full")
}

/// Where the servers are, as flags take them; a test may put a proxy in the place of one.
#[derive(Debug, Clone)]
pub struct Servers {
    pub kafka: String,
    pub registry: String,
    pub cql: String,
}

/// A keyspace, and topics and subjects with a prefix, all of one name.
pub struct Cluster {
    pub name: String,
    pub servers: Servers,
    direct_cql: String,
    direct_kafka: String,
    scratch: TempDir,
    _part: Part,
}

impl Servers {
    fn from_env() -> Option<Self> {
        Some(Self {
            kafka: skip::server("OPENINFRA_TEST_KAFKA")?,
            registry: skip::server("OPENINFRA_TEST_REGISTRY")?,
            cql: skip::server("OPENINFRA_TEST_CQL")?,
        })
    }
}

impl Cluster {
    /// Makes the keyspace; none where there are no servers.
    pub async fn new(test: &str) -> Option<Self> {
        let part = Part::Shared(SERVERS.read().await);
        Self::with(test, part).await
    }

    /// As [`Cluster::new`], while no other test of this program uses the servers.
    pub async fn alone(test: &str) -> Option<Self> {
        let part = Part::Alone(SERVERS.write().await);
        Self::with(test, part).await
    }

    async fn with(test: &str, part: Part) -> Option<Self> {
        let servers = Servers::from_env()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let cluster = Self {
            name: format!("{test}_{:x}", now.unwrap().as_millis()),
            direct_cql: servers.cql.clone(),
            direct_kafka: servers.kafka.clone(),
            servers,
            scratch: tempfile::tempdir().unwrap(),
            _part: part,
        };
        cluster.migrate(&cluster.name).await;
        Some(cluster)
    }

    /// Makes a keyspace with all tables.
    pub async fn migrate(&self, keyspace: &str) {
        let store = format!("cql://{}/{keyspace}", self.direct_cql);
        let ended = command::run(&["admin", "migrate", "--replication", "1", "--store", &store])
            .await
            .expect_code(0);
        assert!(!ended.stderr.contains("WARN"), "{}", ended.stderr);
    }

    /// The flags of its place.
    pub fn flags(&self) -> Vec<String> {
        self.flags_with(&self.servers, &self.name)
    }

    pub fn flags_with(&self, servers: &Servers, keyspace: &str) -> Vec<String> {
        [
            "--log",
            &format!("kafka://{}", servers.kafka),
            "--registry",
            &servers.registry,
            "--store",
            &format!("cql://{}/{keyspace}", servers.cql),
            "--topic-prefix",
            &format!("{}.", self.name),
        ]
        .map(str::to_owned)
        .into()
    }

    /// A file of the test's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Starts a process; `name` is that of its log file.
    pub async fn start(&self, name: &str, command: &[&str]) -> Platform {
        self.start_in(name, command, &[]).await
    }

    /// As [`Cluster::start`], with variables in its environment.
    pub async fn start_in(
        &self,
        name: &str,
        command: &[&str],
        variables: &[(&str, &str)],
    ) -> Platform {
        let flags = self.flags();
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let command = [command, &flags].concat();
        Platform::run_in(&command, &self.file(name), variables).await
    }

    pub async fn views(&self) -> Platform {
        self.start("views", &["views", "run"]).await
    }

    pub async fn ingest(&self) -> Platform {
        self.start("ingest", &["ingest", "--mqtt", "127.0.0.1:0"])
            .await
    }

    pub async fn serve(&self, views: &Platform) -> Platform {
        self.start("serve", &["serve", "--views", &views.url()])
            .await
    }

    /// A file of readings: `rounds` of each of `sensors`, a second apart, the last one now.
    pub fn readings(&self, name: &str, sensors: u32, rounds: u32) -> PathBuf {
        self.readings_of(name, name, sensors, rounds)
    }

    /// As [`Cluster::readings`], of sensors whose names begin in another way.
    pub fn readings_of(&self, name: &str, prefix: &str, sensors: u32, rounds: u32) -> PathBuf {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let first = now.unwrap().as_millis() as u64 - u64::from(rounds) * 1_000;
        let mut lines = String::new();
        for round in 0..rounds {
            for sensor in 0..sensors {
                let ts = first + u64::from(round) * 1_000;
                let value = f64::from(round * 7 + sensor) / 4.0;
                let line =
                    format!(r#"{{"sensor_id":"{prefix}-{sensor}","ts":{ts},"value":{value}}}"#);
                writeln!(lines, "{line}").unwrap();
            }
        }
        let path = self.file(&format!("{name}.ndjson"));
        std::fs::write(&path, lines).unwrap();
        path
    }

    /// Sends a file at so many readings a second, and goes on through outages.
    pub fn replay(&self, file: &Path, to: &str, rate: u32) -> Child {
        let (file, rate) = (file.to_str().unwrap(), rate.to_string());
        let args = [
            "replay",
            file,
            "--to",
            to,
            "--rate",
            &rate,
            "--give-up-after",
            "180",
        ];
        openinfra(&[&args[..], &["--json"]].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// `views verify` without a server.
    pub async fn verify_alone(&self) -> Ended {
        let flags = self.flags();
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        command::run(&[&["views", "verify"], flags.as_slice()].concat()).await
    }

    /// Drops the keyspace and the topics: hundreds of tables are too many for a small database, and thousands
    /// of partitions keep a broker that was killed from coming back.
    pub async fn end(self) {
        self.drop_keyspace(&self.name).await;
        for topic in ["readings", "entities", "ticks", "ledger"] {
            drop_topic(&self.direct_kafka, &format!("{}.{topic}", self.name)).await;
        }
    }

    pub async fn drop_keyspace(&self, keyspace: &str) {
        cql::execute(
            &self.direct_cql,
            &format!("DROP KEYSPACE IF EXISTS {keyspace}"),
        )
        .await;
    }
}

/// So many readings, all counted once, and nothing else.
pub fn assert_counted_once(ledger: &Ledger, readings: u64) {
    assert_eq!(
        (ledger.accepted, ledger.corrections, ledger.refusals()),
        (readings, 0, 0),
        "{ledger:?}"
    );
}
