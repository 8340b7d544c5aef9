//! Writes whose outcome is not known at first, and what repeating them under a key finds out.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use openinfra_api::{Config, entities::fault};
use openinfra_log::{AppendBatch, Appended, Fetch, Log, LogError, LogRecord};
use openinfra_schemas::Topic;
use openinfra_store::{
    Condition, ConditionalBatch, Outcome, Row, tables::entities::IdempotencyRow,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    app::{Answer, Setup, TestApp, tenant},
    wait::eventually,
};

const PATH: &str = "/api/v1/iot/sensors";
const KEY: (&str, &str) = ("idempotency-key", "k1");

/// A log that takes nothing while it is away.
struct Away {
    inner: Arc<dyn Log>,
    away: Arc<AtomicBool>,
}

#[async_trait]
impl Log for Away {
    fn partitions(&self, topic: Topic) -> i32 {
        self.inner.partitions(topic)
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable("for the test".to_owned()));
        }
        self.inner.append(batch).await
    }

    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        self.inner.read(fetch).await
    }

    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.inner.end_offsets(topic).await
    }

    async fn start_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.inner.start_offsets(topic).await
    }
}

/// An application whose log is away, and the switch that brings it back.
async fn away() -> (TestApp, Arc<AtomicBool>) {
    away_in(|_| ()).await
}

async fn away_in(config: fn(&mut Config)) -> (TestApp, Arc<AtomicBool>) {
    let away = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&away);
    let setup = Setup {
        log: Box::new(move |inner| Arc::new(Away { inner, away })),
        patience: Duration::from_millis(50),
        config,
        ..Setup::default()
    };
    (TestApp::with(setup).await, switch)
}

fn body() -> Value {
    json!({"sensor_id": "s1", "unit": "F"})
}

async fn post(app: &TestApp, headers: &[(&str, &str)]) -> Answer {
    app.call("POST", PATH, headers, Some(body())).await
}

fn assert_created(answer: &Answer) -> Value {
    assert_eq!(answer.status, 201, "{}", answer.text());
    let sensor = answer.json();
    assert_eq!(
        (&sensor["version"], &sensor["unit"]),
        (&json!(1), &json!("F"))
    );
    assert_eq!(answer.header("etag"), "\"v1\"");
    assert!(!answer.header("openinfra-token").is_empty());
    sensor
}

#[tokio::test]
async fn what_may_have_been_taken_is_not_answered_as_nothing_taken() {
    let (app, away) = away().await;
    let answer = post(&app, &[]).await;
    let problem = answer.problem(408, "request-timeout");
    assert_eq!(problem["part"], "log");
    assert_eq!(problem["outcome"], "unknown");
    away.store(false, Ordering::SeqCst);
    assert_eq!(app.state.entities.relay_pass(0).await.unwrap().finished, 1);
    // Whoever sends it again without a key learns that it stands.
    post(&app, &[]).await.problem(409, "conflict");
}

#[tokio::test]
async fn a_repetition_under_a_key_finds_the_true_outcome() {
    finds_the_true_outcome(|_| ()).await;
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_told_as_such() {
    let (app, away) = away_in(|config| config.timeout = Duration::from_secs(2)).await;
    let answer = post(&app, &[KEY]).await;
    let problem = answer.problem(408, "request-timeout");
    assert_eq!(
        (&problem["part"], &problem["outcome"]),
        (&json!("log"), &json!("unknown"))
    );
    // The work goes on all the same.
    away.store(false, Ordering::SeqCst);
    assert_created(&repeated(&app).await);
}

#[tokio::test]
async fn a_process_that_is_alone_does_not_abandon_its_own_claims() {
    finds_the_true_outcome(|config| config.sole_process = true).await;
}

async fn finds_the_true_outcome(config: fn(&mut Config)) {
    let (app, away) = away_in(config).await;
    let app = Arc::new(app);
    let first = {
        let app = Arc::clone(&app);
        tokio::spawn(async move { post(&app, &[KEY]).await })
    };
    let running = eventually("the first one runs", async || {
        let answer = post(&app, &[KEY]).await;
        (answer.status == 409).then_some(answer)
    });
    running.await.problem(409, "idempotency-in-progress");
    // Its client does not wait for the log to come back.
    first.abort();
    away.store(false, Ordering::SeqCst);
    let answer = repeated(&app).await;
    assert_created(&answer);
    assert_eq!(answer.header("idempotency-replayed"), "true");
}

/// The answer to the same request, sent until it is not told to wait.
async fn repeated(app: &TestApp) -> Answer {
    eventually("it is not told to wait", async || {
        let answer = post(app, &[KEY]).await;
        let waits =
            answer.status == 409 && answer.json()["type"] == "/problems/idempotency-in-progress";
        (!waits).then_some(answer)
    })
    .await
}

/// Claims the key for a process that is not this one, now.
async fn claimed(app: &TestApp, process: Option<&str>) {
    let claim = IdempotencyRow {
        tenant: tenant(),
        principal: "dev".to_owned(),
        route: "create_sensor".to_owned(),
        key: KEY.1.to_owned(),
        request_hash: Sha256::digest(body().to_string()).to_vec(),
        status: None,
        answer: None,
        at: app.state.now(),
        change_id: None,
        process: process.map(str::to_owned),
    };
    let mut batch = ConditionalBatch::new(vec![Condition::Absent(claim.key())]);
    batch.put(&claim);
    let outcome = app.store().write_if(batch).await.unwrap();
    assert_eq!(outcome, Outcome::Applied);
}

#[tokio::test]
async fn a_claim_of_another_process_stands_unless_there_is_no_other() {
    for process in [None, Some("another")] {
        let app = TestApp::new().await;
        claimed(&app, process).await;
        let answer = post(&app, &[KEY]).await;
        answer.problem(409, "idempotency-in-progress");

        let app = TestApp::with(Setup {
            config: |config| config.sole_process = true,
            ..Setup::default()
        })
        .await;
        claimed(&app, process).await;
        assert_created(&post(&app, &[KEY]).await);
        let again = post(&app, &[KEY]).await;
        assert_eq!(again.header("idempotency-replayed"), "true");
    }
}

const FOLDER: &str = "OPENINFRA_TEST_FOLDER";

fn in_folder(folder: &Path) -> Setup {
    Setup {
        folder: Some(folder.to_owned()),
        config: |config| config.sole_process = true,
        ..Setup::default()
    }
}

/// Posts in the folder that its environment names; nothing in the parent.
#[tokio::test]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let app = TestApp::with(in_folder(Path::new(&folder))).await;
    let _scenario = fail::FailScenario::setup();
    assert_created(&post(&app, &[KEY]).await);
    println!("answered");
    std::io::stdout().flush().unwrap();
}

fn crash_at(folder: &Path, point: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output: Output = child
        .args(["idempotency::child", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env("FAILPOINTS", format!("{point}=return"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{point}: {output:?}");
    assert!(!said.contains("answered"), "{point}: {said}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{point}: {errors}");
}

#[tokio::test]
async fn a_repetition_after_a_crash_anywhere_finds_the_one_effect() {
    for point in [
        fault::BEFORE_INTENT,
        fault::AFTER_INTENT,
        fault::AFTER_BATCH,
        fault::AFTER_APPEND,
        fault::AFTER_INTENT_REMOVED,
    ] {
        for relay_first in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            crash_at(folder.path(), point);
            let app = TestApp::with(in_folder(folder.path())).await;
            if relay_first {
                app.state.entities.relay_pass(0).await.unwrap();
            }
            let created = assert_created(&repeated(&app).await);
            app.state.entities.relay_pass(0).await.unwrap();
            let again = post(&app, &[KEY]).await;
            assert_eq!(assert_created(&again), created, "{point}");
            assert_eq!(again.header("idempotency-replayed"), "true");
            post(&app, &[]).await.problem(409, "conflict");
        }
    }
}
