//! `POST /iot/sensors`, and `GET PUT PATCH DELETE /iot/sensors/{id}`.

use serde_json::{Value, json};

use crate::{
    app::{NOON, TestApp, ts},
    rows::{latest, status},
};

const PATH: &str = "/api/v1/iot/sensors/pump%2F7";

async fn registered() -> TestApp {
    let app = TestApp::new().await;
    let body = json!({"sensor_id": "pump/7", "unit": "bar", "thresholds": {"warning_max": 0}});
    let answer = app
        .call("POST", "/api/v1/iot/sensors", &[], Some(body))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("location"), PATH);
    assert_eq!(answer.header("etag"), "\"v1\"");
    assert!(answer.header("openinfra-token").starts_with("1.e"));
    let sensor = answer.json();
    assert_eq!(sensor["sensor_id"], "pump/7");
    assert_eq!(sensor["thresholds"], json!({"warning_max": 0.0}));
    assert_eq!(sensor["created_by"], "dev");
    app
}

#[tokio::test]
async fn a_sensor_is_registered_read_changed_and_removed() {
    let app = registered().await;
    let answer = app.get(PATH).await;
    assert_eq!(answer.header("etag"), "\"v1\"");
    assert_eq!(answer.json()["registered"], true);
    let unchanged = app
        .call("GET", PATH, &[("if-none-match", "\"v1\"")], None)
        .await;
    assert_eq!((unchanged.status.as_u16(), unchanged.bytes.len()), (304, 0));

    let first = [("if-match", "\"v1\"")];
    let body = Some(json!({"asset_id": "a1", "offline_timeout_ms": 60_000}));
    let answer = app.call("PUT", PATH, &first, body).await;
    assert_eq!(answer.header("etag"), "\"v2\"");
    let sensor = answer.json();
    assert_eq!(sensor.get("unit"), None, "a replacement sets defaults");
    assert_eq!(sensor["asset_id"], "a1");

    let second = [("if-match", "\"v2\"")];
    let body = Some(json!({"asset_id": null, "unit": "kPa"}));
    let sensor = app.call("PATCH", PATH, &second, body).await.json();
    assert_eq!(sensor["unit"], "kPa");
    assert_eq!(sensor.get("asset_id"), None);
    assert_eq!(sensor["offline_timeout_ms"], 60_000);

    let answer = app.call("DELETE", PATH, &second, None).await;
    let problem = answer.problem(412, "precondition-failed");
    assert_eq!(problem["current_version"], 3);
    assert_eq!(problem["current"]["unit"], "kPa");
    let third = [("if-match", "\"v3\"")];
    assert_eq!(app.call("DELETE", PATH, &third, None).await.status, 204);
    app.refused(PATH, 404, "not-found").await;
    app.call("DELETE", PATH, &third, None)
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn changes_name_the_version_that_they_are_meant_for() {
    let app = registered().await;
    let answer = app.call("PUT", PATH, &[], Some(json!({}))).await;
    answer.problem(428, "precondition-required");
    for tag in ["*", "v1", "W/\"v1\""] {
        let answer = app
            .call("PUT", PATH, &[("if-match", tag)], Some(json!({})))
            .await;
        answer.problem(400, "malformed-request");
    }
}

#[tokio::test]
async fn a_put_that_expects_nothing_creates_only() {
    let app = TestApp::new().await;
    let put = async |headers: &[(&str, &str)], unit: &str| {
        let body = Some(json!({"unit": unit}));
        app.call("PUT", PATH, headers, body).await
    };
    let only = [("if-none-match", "*")];
    let made = put(&only, "bar").await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.header("location"), PATH);
    assert_eq!(made.header("etag"), "\"v1\"");
    assert!(!made.header("openinfra-token").is_empty());
    assert_eq!(made.json()["sensor_id"], "pump/7");
    let problem = put(&only, "kPa").await.problem(412, "precondition-failed");
    assert_eq!(problem["current_version"], 1);
    assert_eq!(problem["current"]["unit"], "bar");
    // What was removed is not there; its versions go on.
    let removed = app.call("DELETE", PATH, &[("if-match", "\"v1\"")], None);
    assert_eq!(removed.await.status, 204);
    let again = put(&only, "kPa").await;
    assert_eq!(
        (again.status.as_u16(), again.header("etag")),
        (201, "\"v3\"")
    );
}

#[tokio::test]
async fn a_put_expects_one_thing() {
    let app = registered().await;
    for headers in [
        &[("if-none-match", "\"v1\"")][..],
        &[("if-none-match", "*, \"v1\"")],
        &[("if-none-match", "*"), ("if-match", "\"v1\"")],
        &[("if-none-match", "*"), ("if-none-match", "*")],
    ] {
        let answer = app.call("PUT", PATH, headers, Some(json!({}))).await;
        let problem = answer.problem(400, "malformed-request");
        let pointer = problem["errors"][0]["pointer"].as_str().unwrap();
        assert!(pointer.eq_ignore_ascii_case("If-None-Match"), "{problem}");
    }
    assert_eq!(app.get(PATH).await.header("etag"), "\"v1\"");
}

#[tokio::test]
async fn what_breaks_a_rule_is_pointed_at() {
    let app = registered().await;
    let post = async |body: Value| {
        app.call("POST", "/api/v1/iot/sensors", &[], Some(body))
            .await
    };
    let problem = post(json!({"sensor_id": "pump/7"}))
        .await
        .problem(409, "conflict");
    assert_eq!(problem["field"], "sensor_id");
    assert_eq!(problem["existing_id"], "pump/7");
    let body =
        json!({"unit": 5, "colour": "red", "thresholds": {"warning_max": 1, "warning_min": 2}});
    let problem = post(body).await.problem(422, "validation-failed");
    let errors = problem["errors"].as_array().unwrap();
    let pointers: Vec<_> = errors
        .iter()
        .map(|e| e["pointer"].as_str().unwrap())
        .collect();
    for pointer in ["/sensor_id", "/unit", "/colour"] {
        assert!(pointers.contains(&pointer), "{pointers:?}");
    }
    let body = json!({"sensor_id": "b", "location": {"type": "Point", "coordinates": [10, 95]}});
    let problem = post(body).await.problem(422, "geometry-invalid");
    assert!(problem["reason"].is_string());
}

#[tokio::test]
async fn the_same_key_twice_has_one_effect_and_one_answer() {
    let app = TestApp::new().await;
    let key = [("idempotency-key", "k1")];
    let post = async |body: Value| {
        app.call("POST", "/api/v1/iot/sensors", &key, Some(body))
            .await
    };
    let first = post(json!({"sensor_id": "a"})).await;
    let again = post(json!({"sensor_id": "a"})).await;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 201));
    assert_eq!(first.json(), again.json());
    for header in ["location", "etag", "openinfra-token"] {
        assert_eq!(first.header(header), again.header(header));
    }
    assert_eq!(again.header("idempotency-replayed"), "true");
    let other = post(json!({"sensor_id": "b"})).await;
    other.problem(422, "idempotency-key-reused");
    // A refusal is an answer too.
    let key = [("idempotency-key", "k2")];
    let body = || Some(json!({"sensor_id": "a"}));
    let refused = app.call("POST", "/api/v1/iot/sensors", &key, body()).await;
    refused.problem(409, "conflict");
    let again = app.call("POST", "/api/v1/iot/sensors", &key, body()).await;
    assert_eq!(again.status, 409);
    assert_eq!(again.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn of_two_requests_at_once_one_works() {
    let app = TestApp::new().await;
    let key = [("idempotency-key", "k1")];
    let body = || Some(json!({"sensor_id": "a"}));
    let post = || app.call("POST", "/api/v1/iot/sensors", &key, body());
    let (one, other) = tokio::join!(post(), post());
    for answer in [one, other] {
        match answer.status.as_u16() {
            201 => assert_eq!(answer.json()["version"], 1),
            _ => drop(answer.problem(409, "idempotency-in-progress")),
        }
    }
}

#[tokio::test]
async fn a_sensor_that_nobody_registered_has_defaults() {
    let app = TestApp::new().await;
    app.rows([status(&app, "s1")]).await;
    app.rows([latest(&app, "s1", ts(NOON))]).await;
    let answer = app.get("/api/v1/iot/sensors/s1?include=latest").await;
    let sensor = answer.json();
    assert_eq!(sensor["registered"], false);
    assert_eq!(sensor["status"], "online");
    assert_eq!(sensor["latest"]["event_ts"], NOON);
    assert!(!answer.headers.contains_key("etag"));
    app.refused("/api/v1/iot/sensors/s2", 404, "not-found")
        .await;
    let long = "x".repeat(300);
    app.refused(&format!("/api/v1/iot/sensors/{long}"), 404, "not-found")
        .await;
}
