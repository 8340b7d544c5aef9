//! A server of its own for a test: `openinfra up --dev` on free ports over a folder that the test chose.
//!
//! What a newcomer would get wrong: dropping it kills it with SIGKILL, by its process id, which is what a
//! crash test wants; only [`Platform::stop`] lets it drain.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    hash::{DefaultHasher, Hasher},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

use super::{
    command::{self, Ended, openinfra},
    place,
    wait::eventually,
};

/// How long a server may take until it answers, a long log included.
const START: Duration = Duration::from_secs(120);
/// How long the views may take to reach the end of the log.
const CATCH_UP: Duration = Duration::from_secs(900);
/// How long a server may take to end once it is asked to.
const STOP: Duration = Duration::from_secs(60);

/// A running server.
pub struct Platform {
    child: Child,
    pub http: SocketAddr,
    mqtt: Option<SocketAddr>,
    client: reqwest::Client,
    /// What it logged, for when a test fails.
    log: PathBuf,
}

/// `GET /api/v1/ledger/summary`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ledger {
    pub log_records: u64,
    pub accepted: u64,
    pub duplicates: u64,
    pub corrections: u64,
    pub refused: BTreeMap<String, u64>,
}

impl Ledger {
    /// All that was refused, whatever for.
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// `openinfra replay --json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Replay {
    pub sent: u64,
    pub acknowledged: u64,
    pub rejected: u64,
    pub unreadable: u64,
    pub ended_early: Option<String>,
}

/// A dump, as far as two of them are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    pub rows: u64,
    pub bytes: u64,
    pub hash: u64,
}

impl Platform {
    /// Starts a server on the folder and waits until it takes input.
    pub async fn start(data: &Path) -> Self {
        Self::start_with(data, &[]).await
    }

    /// As [`Platform::start`], with more flags.
    pub async fn start_with(data: &Path, flags: &[&str]) -> Self {
        Self::start_in(data, flags, &[]).await
    }

    /// As [`Platform::start_with`], with variables of its environment.
    pub async fn start_in(data: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_at(&place::flags(data), data, flags, variables).await
    }

    /// A server on the log that stands for one folder and the store that stands for another.
    pub async fn start_on(log: &Path, store: &Path, flags: &[&str]) -> Self {
        Self::start_at(&place::flags_on(log, store), store, flags, &[]).await
    }

    async fn start_at(
        place: &[String],
        data: &Path,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        place::prepare(data).await;
        let mut args = vec!["up", "--mqtt", "127.0.0.1:0"];
        args.extend(place.iter().map(String::as_str));
        args.extend(flags);
        Self::run_in(&args, &data.with_extension("log"), variables).await
    }

    /// Runs a command that serves, on a free HTTP port and without credentials, and waits until it takes
    /// input; `log` is where it logs to.
    pub async fn run(command: &[&str], log: &Path) -> Self {
        Self::run_in(command, log, &[]).await
    }

    /// As [`Platform::run`], with variables in its environment.
    pub async fn run_in(command: &[&str], log: &Path, variables: &[(&str, &str)]) -> Self {
        let started = Self::spawn(command, log, variables).await;
        let platform = started.unwrap_or_else(|said| {
            panic!("the server did not start: {said}\n{}", tail(log));
        });
        eventually("the server is ready", START, async || {
            platform.is_ready().await.then_some(())
        })
        .await;
        platform
    }

    /// As [`Platform::run`], without waiting until it is ready; errs when it ends before it listens.
    pub async fn spawn(
        command: &[&str],
        log: &Path,
        variables: &[(&str, &str)],
    ) -> Result<Self, String> {
        let mut args = [command, &["--dev", "--json"]].concat();
        if !command.contains(&"--http") {
            args.extend(["--http", "127.0.0.1:0"]);
        }
        let file = File::options().create(true).append(true).open(log);
        let mut child = openinfra(&args)
            .env("OPENINFRA_LOG", "info")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(file.unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(START, lines.next_line()).await;
        let Ok(Ok(Some(line))) = first else {
            return Err(format!("{first:?}, {:?}", child.try_wait()));
        };
        let said: Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| said["listening"][name].as_str()?.parse().ok();
        Ok(Self {
            http: address("http").unwrap(),
            mqtt: address("mqtt"),
            child,
            client: reqwest::Client::new(),
            log: log.to_owned(),
        })
    }

    /// Where devices connect.
    pub fn mqtt(&self) -> SocketAddr {
        self.mqtt.expect("it listens to devices")
    }

    /// As `--url` takes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// A request to a path of the API; it is up to the test to send it.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url()))
    }

    /// Whether `/health/ready` says 200.
    pub async fn is_ready(&self) -> bool {
        let answer = self
            .request(reqwest::Method::GET, "/health/ready")
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    /// What `/health/ready` says of each part: whether it is well. None when nothing is answered.
    pub async fn parts(&self) -> Option<HashMap<String, bool>> {
        let request = self.request(reqwest::Method::GET, "/health/ready");
        let answer: Value = request.send().await.ok()?.json().await.ok()?;
        let checks = answer["checks"].as_array()?.iter();
        let well =
            checks.map(|check| Some((check["name"].as_str()?.to_owned(), check["status"] == "ok")));
        well.collect()
    }

    /// The JSON at a path.
    pub async fn get(&self, path: &str) -> Value {
        self.look(path).await.unwrap_or_else(|body| {
            panic!("GET {path}: 503: {body}");
        })
    }

    /// The JSON at a path; the problem while a part does not answer.
    async fn look(&self, path: &str) -> Result<Value, String> {
        let answer = self
            .request(reqwest::Method::GET, path)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let body = answer.text().await.unwrap();
        if status == 503 {
            return Err(body);
        }
        assert_eq!(status, 200, "GET {path}: {body}");
        Ok(serde_json::from_str(&body).unwrap())
    }

    /// Waits until the views have all that the log has now; a part that does not answer may come to.
    pub async fn caught_up(&self) {
        eventually("the views have caught up", CATCH_UP, async || {
            let views = self.look("/api/v1/views").await.ok()?;
            (views["caught_up"] == true).then_some(())
        })
        .await;
    }

    /// What became of all records, which must add up.
    pub async fn ledger(&self) -> Ledger {
        self.caught_up().await;
        let summary = self.get("/api/v1/ledger/summary").await;
        let ledger: Ledger = serde_json::from_value(summary).unwrap();
        let counted = ledger.accepted + ledger.duplicates + ledger.corrections + ledger.refusals();
        assert_eq!(
            ledger.log_records, counted,
            "the ledger does not conserve: {ledger:?}"
        );
        ledger
    }

    /// Sends a capture as fast as it is taken; it must all be acknowledged.
    pub async fn replay(&self, file: &Path, flags: &[&str]) -> Replay {
        let url = self.url();
        let mut args = vec!["replay", file.to_str().unwrap(), "--format", "ndjson"];
        args.extend(["--to", &url, "--speed", "max", "--json"]);
        args.extend(flags);
        let ended = command::run(&args).await;
        assert_eq!(ended.code, Some(0), "{ended:?}\n{}", tail(&self.log));
        let replay: Replay = serde_json::from_value(ended.json()).unwrap();
        assert_eq!((replay.rejected, replay.unreadable), (0, 0), "{ended:?}");
        assert_eq!(replay.sent, replay.acknowledged, "{ended:?}");
        replay
    }

    /// Every row of a view, in key order.
    pub async fn dump<T: DeserializeOwned>(&self, view: &str) -> Vec<T> {
        let url = self.url();
        let ended = command::run(&["views", "dump", view, "--url", &url])
            .await
            .expect_code(0);
        let row = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{view}: {error}: {line}"))
        };
        ended.stdout.lines().map(row).collect()
    }

    /// A view by content: its rows counted and hashed as they come, none kept.
    pub async fn digest(&self, view: &str) -> Digest {
        let url = self.url();
        let mut child = openinfra(&["views", "dump", view, "--by-content", "--url", &url])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (mut rows, mut bytes) = (0, 0);
        let mut hasher = DefaultHasher::new();
        let mut line = Vec::new();
        while stdout.read_until(b'\n', &mut line).await.unwrap() > 0 {
            rows += 1;
            bytes += line.len() as u64;
            hasher.write(&line);
            line.clear();
        }
        assert!(
            child.wait().await.unwrap().success(),
            "dumping {view} broke off"
        );
        Digest {
            rows,
            bytes,
            hash: hasher.finish(),
        }
    }

    /// The digests of several views.
    pub async fn digests(&self, views: &[&str]) -> BTreeMap<String, Digest> {
        let mut digests = BTreeMap::new();
        for view in views {
            digests.insert((*view).to_owned(), self.digest(view).await);
        }
        digests
    }

    /// `views verify` must find that all views are what the log says.
    pub async fn verify(&self) {
        let url = self.url();
        let ended: Ended = command::run(&["views", "verify", "--url", &url]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}\n{}", tail(&self.log));
    }

    /// The most memory that the server was resident with so far, in bytes; none where the system does not
    /// tell.
    pub fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let told = std::process::Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(told.unwrap().success());
    }

    /// What it logged so far.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The code with which it ends by itself.
    pub async fn ended(&mut self, within: Duration) -> Option<i32> {
        let ended = tokio::time::timeout(within, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it runs on:\n{}", tail(&self.log)));
        status.unwrap().code()
    }

    /// SIGKILL: nothing more is written, nothing is drained.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM: it drains and must exit 0.
    pub async fn stop(mut self) {
        self.signal("TERM");
        let code = self.ended(STOP).await;
        assert_eq!(code, Some(0), "{}", tail(&self.log));
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server said:\n{}", tail(&self.log));
        }
    }
}

/// The end of what a server logged.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
