//! `/tenant/settings`.

use serde_json::{Value, json};

use crate::app::TestApp;

const PATH: &str = "/api/v1/tenant/settings";

#[tokio::test]
async fn settings_begin_with_their_defaults() {
    let app = TestApp::new().await;
    let answer = app.get(PATH).await;
    assert_eq!(answer.header("etag"), "\"v0\"");
    let settings = answer.json();
    assert_eq!(settings["horizon_ms"], 93_600_000);
    assert_eq!(settings["auto_register"], true);
    assert_eq!(settings["created_at"], Value::Null);

    let body = Some(json!({"horizon_ms": 1000}));
    let answer = app.call("PUT", PATH, &[("if-match", "\"v0\"")], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("etag"), "\"v1\"");
    assert!(answer.headers.contains_key("openinfra-token"));
    let body = Some(json!({"auto_register": false}));
    let answer = app
        .call("PATCH", PATH, &[("if-match", "\"v1\"")], body)
        .await;
    let settings = answer.json();
    assert_eq!(settings["horizon_ms"], 1000);
    assert_eq!(settings["auto_register"], false);
    assert_eq!(settings["version"], 2);
}

#[tokio::test]
async fn a_stale_change_is_told_how_it_stands() {
    let app = TestApp::new().await;
    let body = || Some(json!({"future_guard_ms": 5}));
    app.call("PUT", PATH, &[("if-match", "\"v0\"")], body())
        .await;
    let answer = app
        .call("PUT", PATH, &[("if-match", "\"v0\"")], body())
        .await;
    let problem = answer.problem(412, "precondition-failed");
    assert_eq!(problem["current_version"], 1);
    assert_eq!(problem["current"]["future_guard_ms"], 5);
    let body = Some(json!({"horizon_ms": -1}));
    let answer = app.call("PUT", PATH, &[("if-match", "\"v1\"")], body).await;
    let problem = answer.problem(422, "validation-failed");
    assert_eq!(problem["errors"][0]["pointer"], "/horizon_ms");
}

#[tokio::test]
async fn who_expects_none_writes_the_first() {
    let app = TestApp::new().await;
    let put = || {
        let body = Some(json!({"horizon_ms": 1000}));
        app.call("PUT", PATH, &[("if-none-match", "*")], body)
    };
    let first = put().await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.header("etag"), "\"v1\"");
    let problem = put().await.problem(412, "precondition-failed");
    assert_eq!(problem["current_version"], 1);
    app.call("PUT", PATH, &[], Some(json!({})))
        .await
        .problem(428, "precondition-required");
}
