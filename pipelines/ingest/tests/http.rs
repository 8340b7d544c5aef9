//! The HTTP routes over the real intake: the bad input of the field, each answered and in the ledger.
// Tests may panic.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::sync::Arc;

use axum::{Router, body::Body, http::Request};
use common::{Bench, tenant};
use http_body_util::BodyExt;
use openinfra_http::ingest::{HttpIngest, router};
use openinfra_ingest::Config;
use openinfra_intake::Intake;
use openinfra_log::WriteToken;
use openinfra_schemas::Topic;
use serde_json::{Value, json};
use tower::ServiceExt;

const BATCH: &str = "/api/v1/iot/sensors/batch-ingest";

struct App {
    bench: Bench,
    router: Router,
    key: String,
}

async fn app(config: Config) -> App {
    let bench = Bench::with(config, |keys| keys).await;
    let key = bench.key(|_| {}).await.key;
    let intake = Arc::clone(&bench.ingest) as Arc<dyn Intake>;
    let (router, _) = router(HttpIngest::new(intake)).split_for_parts();
    App { bench, router, key }
}

impl App {
    async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> (u16, Value) {
        let request = Request::post(path)
            .header("x-api-key", &self.key)
            .header("content-type", content_type)
            .body(body.into())
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn data(&self, id: &str, body: impl Into<Body>) -> (u16, Value) {
        let path = format!("/api/v1/iot/sensors/{id}/data");
        self.post(&path, "application/json", body).await
    }

    async fn counts(&self) -> (usize, usize) {
        let readings = self.bench.readings().await.len();
        (readings, self.bench.ledger().await.len())
    }
}

#[tokio::test]
async fn a_batch_is_taken_and_its_token_covers_it() {
    let app = app(Config::default()).await;
    let lines: String = (0..100)
        .map(|i| format!("{{\"sensor_id\": \"s/{i}\", \"value\": {i}}}\n"))
        .collect();
    let (status, answer) = app
        .post(BATCH, "application/x-ndjson", lines + "nonsense\n")
        .await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(100), &json!(1))
    );
    assert_eq!(answer["errors"][0]["index"], 100);
    assert_eq!(answer["errors"][0]["reason"], "undecodable");
    let token: WriteToken = answer["token"].as_str().unwrap().parse().unwrap();
    let log = &app.bench.log;
    let readings = log.end_offsets(Topic::Readings).await.unwrap();
    let ledger = log.end_offsets(Topic::Ledger).await.unwrap();
    let end = |topic, partition: i32| match topic {
        Topic::Readings => readings[partition as usize],
        _ => ledger[partition as usize],
    };
    assert!(token.is_covered_by(end));
    assert!(!token.is_covered_by(|topic, partition| end(topic, partition) - 1));
    assert_eq!(app.counts().await, (100, 1));
}

#[tokio::test]
async fn bad_bodies_are_answered_and_kept() {
    let app = app(Config::default()).await;
    let long = "x".repeat(300);
    let invalid_utf8 = b"{\"value\": 1, \"unit\": \"\xff\"}".to_vec();
    for (n, (id, body, status)) in [
        ("pump", br#"{"value": 1"#.to_vec(), 400),
        ("pump", br#"{"value": NaN}"#.to_vec(), 400),
        ("pump", invalid_utf8, 400),
        ("pump", br#"{"value": "1"}"#.to_vec(), 422),
        (
            "pump",
            br#"{"value": 1, "timestamp": "soon"}"#.to_vec(),
            422,
        ),
        (&long, br#"{"value": 1}"#.to_vec(), 422),
        ("a%0Ab", br#"{"value": 1}"#.to_vec(), 422),
    ]
    .into_iter()
    .enumerate()
    {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let (answered, answer) = app.data(id, body.clone()).await;
        assert_eq!(answered, status, "{shown}: {answer}");
        assert_eq!(answer["rejected"], 1, "{shown}: {answer}");
        let ledger = app.bench.ledger().await;
        assert_eq!(ledger.len(), n + 1, "{shown}");
        assert_eq!(ledger[n].payload, body, "{shown}");
        assert_eq!(ledger[n].tenant, tenant());
    }
    assert_eq!(app.bench.readings().await.len(), 0);
}

#[tokio::test]
async fn ids_with_slashes_reach_the_log_as_they_are() {
    let app = app(Config::default()).await;
    let (status, answer) = app.data("purpleair%2F1%2Fpm2.5", r#"{"value": 1}"#).await;
    assert_eq!(status, 202, "{answer}");
    let readings = app.bench.readings().await;
    assert_eq!(readings[0].sensor_id.as_str(), "purpleair/1/pm2.5");
    assert_eq!(readings[0].source, "http");
}

#[tokio::test]
async fn more_than_a_batch_may_hold_is_refused_whole() {
    let app = app(Config::default()).await;
    let lines = "{\"sensor_id\": \"a\", \"value\": 1}\n".repeat(10_001);
    let (status, answer) = app.post(BATCH, "application/x-ndjson", lines).await;
    assert_eq!((status, &answer["accepted"]), (422, &json!(0)));
    assert_eq!(app.counts().await, (0, 1));
}

#[tokio::test]
async fn over_its_rate_nothing_of_a_batch_is_taken() {
    let app = app(Config {
        readings_per_s: 1,
        burst: 1,
        ..Config::default()
    })
    .await;
    let lines = "{\"sensor_id\": \"a\", \"value\": 1}\n".repeat(6_000);
    let first = app.post(BATCH, "application/x-ndjson", lines.clone()).await;
    assert_eq!(first.0, 202);
    let (status, answer) = app.post(BATCH, "application/x-ndjson", lines).await;
    assert_eq!(status, 429, "{answer}");
    assert!(answer["retry_after_s"].as_u64().unwrap() > 1_000);
    assert_eq!(app.counts().await, (6_000, 0));
}

#[tokio::test]
async fn a_log_that_is_down_takes_nothing() {
    let mut app = app(Config::default()).await;
    // So that the key is known when the store is gone with the log.
    assert_eq!(app.data("a", r#"{"value": 1}"#).await.0, 202);
    app.bench.embedded.take().unwrap().close().unwrap();
    let (status, answer) = app.data("a", r#"{"value": 1}"#).await;
    assert_eq!((status, &answer["part"]), (503, &json!("log")));
}
