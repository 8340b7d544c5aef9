//! A server that crashes in the middle of a write, and whoever sends the same again.

use std::time::Duration;

use openinfra_api::entities::fault;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::support::{place, platform::Platform, wait::eventually};

/// A claim that is a minute old was left by a crash.
const PATIENCE: Duration = Duration::from_secs(120);

async fn post(platform: &Platform) -> Result<Response, reqwest::Error> {
    let body = json!({"sensor_id": "s1", "unit": "bar"});
    let request = platform.request(Method::POST, "/api/v1/iot/sensors");
    let request = request.header("idempotency-key", "k1").json(&body);
    request.send().await
}

#[tokio::test]
async fn a_repetition_after_a_crash_is_answered() {
    for point in [fault::BEFORE_INTENT, fault::AFTER_APPEND] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let crash = format!("{point}=return");
        let crashing = Platform::start_in(&data, &[], &[("FAILPOINTS", &crash)]).await;
        assert!(post(&crashing).await.is_err(), "{point}");
        crashing.kill().await;

        let platform = Platform::start(&data).await;
        let answer = if place::is_cluster() {
            // There may be other processes, and this one's work may be theirs for as long as a minute.
            eventually("the claim is taken over", PATIENCE, async || {
                let answer = post(&platform).await.unwrap();
                (answer.status() != 409).then_some(answer)
            })
            .await
        } else {
            post(&platform).await.unwrap()
        };
        assert_eq!(answer.status(), 201, "{point}");
        let sensor: Value = answer.json().await.unwrap();
        assert_eq!(sensor["version"], 1, "{point}");
        platform.stop().await;
    }
}
