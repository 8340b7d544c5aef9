//! What holds of every route: problems in one form, credentials, unknown parameters, methods.

use axum::{body::Body, http::Request};
use openinfra_intake::{PrincipalKind, keys::NewKey};
use openinfra_schemas::TenantId;
use serde_json::Value;

use crate::{
    app::{NOON, TestApp, tenant},
    rows,
};

/// Routes that ask for no credentials.
fn is_public(path: &str) -> bool {
    !path.starts_with("/api/v1/") || path == "/api/v1/openapi.json"
}

/// The schema registry has another protocol's errors; its own tests see to what is walked over here.
fn is_registry(path: &str) -> bool {
    path.starts_with("/registry/")
}

/// Ingest refuses before it reads, in its own order.
fn is_ingest(method: &str, path: &str) -> bool {
    method == "POST" && (path.ends_with("/data") || path.ends_with("batch-ingest"))
}

/// Method and path of every route of the document, parameters filled in.
async fn routes(app: &TestApp) -> Vec<(String, String)> {
    let document = app.ok("/api/v1/openapi.json").await;
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let methods = ["get", "put", "post", "patch", "delete"];
            if methods.contains(&method.as_str()) {
                let path = path.replace("{id}", "x").replace("{name}", "readings");
                let path = path.replace("{slug}", "gone");
                routes.push((method.to_uppercase(), path));
            }
        }
    }
    assert!(routes.len() > 20, "{routes:?}");
    routes
}

#[tokio::test]
async fn unknown_parameters_are_refused_everywhere() {
    let app = TestApp::new().await;
    for (method, path) in routes(&app).await {
        let is_file = path.ends_with("openapi.json") || path == "/redoc";
        if is_ingest(&method, &path) || is_registry(&path) || is_file {
            continue;
        }
        let headers = [("if-match", "\"v1\"")];
        let answer = app
            .call(
                &method,
                &format!("{path}?colour=red"),
                &headers,
                Some(Value::Null),
            )
            .await;
        let problem = answer.problem(400, "unknown-parameter");
        assert_eq!(problem["parameter"], "colour", "{method} {path}");
        assert!(problem["known"].is_array(), "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_not_public_asks_for_credentials() {
    let app = TestApp::guarded().await;
    for (method, path) in routes(&app).await {
        if is_registry(&path) {
            continue;
        }
        let answer = app
            .call(&method, &path, &[("if-match", "\"v1\"")], None)
            .await;
        if is_public(&path) {
            assert_ne!(answer.status, 401, "{method} {path}");
            continue;
        }
        answer.problem(401, "unauthenticated");
        assert!(
            answer.headers.contains_key("www-authenticate"),
            "{method} {path}"
        );
        let wrong = [("x-api-key", "abc.def"), ("if-match", "\"v1\"")];
        let answer = app.call(&method, &path, &wrong, None).await;
        answer.problem(401, "invalid-credentials");
    }
}

#[tokio::test]
async fn a_key_without_the_permission_is_told_which() {
    let app = TestApp::guarded().await;
    let key = app.state.keys.create(NewKey::device(tenant(), "d")).await;
    let key = key.unwrap().key;
    for (path, permission) in [
        ("/api/v1/iot/sensors", "view_telemetry"),
        ("/api/v1/alerts", "view_alerts"),
        ("/api/v1/ledger", "view_data_quality"),
        ("/api/v1/assets/a/health", "view_all_assets"),
        ("/api/v1/views/readings/rows", "view_operations"),
    ] {
        for header in [
            ("x-api-key", key.clone()),
            ("authorization", format!("Bearer {key}")),
        ] {
            let answer = app.call("GET", path, &[(header.0, &header.1)], None).await;
            let problem = answer.problem(403, "forbidden");
            assert_eq!(problem["required_permission"], permission);
        }
    }
    let answer = app
        .call("GET", "/api/v1/views", &[("x-api-key", &key)], None)
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn another_tenant_sees_nothing() {
    let app = TestApp::guarded().await;
    let key = async |tenant: &str| {
        let tenant = TenantId::parse(tenant).unwrap();
        let permissions = ["view_telemetry", "manage_iot", "view_alerts"];
        let new = NewKey {
            kind: PrincipalKind::Service,
            permissions: permissions.into_iter().map(str::to_owned).collect(),
            ..NewKey::device(tenant, "service")
        };
        app.state.keys.create(new).await.unwrap().key
    };
    let (own, other) = (key("default").await, key("other").await);
    app.rows([rows::index(&app, "s1")]).await;
    app.rows([rows::status(&app, "s1")]).await;
    rows::write_alerts(&app, vec![rows::alert("a1", "s1", NOON, true)]).await;
    let body = serde_json::json!({"sensor_id": "s1"});
    let made = app
        .call(
            "POST",
            "/api/v1/iot/sensors",
            &[("x-api-key", &own)],
            Some(body),
        )
        .await;
    assert_eq!(made.status, 201);
    for path in [
        "/api/v1/iot/sensors/s1",
        "/api/v1/iot/sensors/s1/status",
        "/api/v1/alerts/a1",
    ] {
        let answer = app.call("GET", path, &[("x-api-key", &own)], None).await;
        assert_eq!(answer.status, 200, "{path}");
        let answer = app.call("GET", path, &[("x-api-key", &other)], None).await;
        answer.problem(404, "not-found");
    }
    for path in ["/api/v1/iot/sensors", "/api/v1/alerts"] {
        let count = async |key: &str| {
            let answer = app.call("GET", path, &[("x-api-key", key)], None).await;
            answer.json()["items"].as_array().unwrap().len()
        };
        assert_eq!((count(&own).await, count(&other).await), (1, 0), "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let app = TestApp::new().await;
    for (_, path) in routes(&app).await {
        let answer = app.call("TRACE", &path, &[], None).await;
        let problem = answer.problem(405, "method-not-allowed");
        let allowed = problem["allowed"].as_array().unwrap();
        assert!(!allowed.is_empty(), "{path}");
        assert!(answer.headers.contains_key("allow"), "{path}");
    }
    let problem = app
        .call("POST", "/api/v1/indicators", &[], None)
        .await
        .problem(405, "method-not-allowed");
    assert_eq!(problem["allowed"], serde_json::json!(["GET", "HEAD"]));
}

#[tokio::test]
async fn paths_without_a_route_are_not_found() {
    let app = TestApp::new().await;
    for path in [
        "/",
        "/api/v2/iot/sensors",
        "/api/v1/nothing",
        "/api/v1/iot/sensors/a/b",
    ] {
        app.refused(path, 404, "not-found").await;
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_problems() {
    let app = TestApp::new().await;
    let send = async |content_type: Option<&str>, body: Vec<u8>| {
        let mut request = Request::post("/api/v1/iot/sensors");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        app.send(request.body(Body::from(body)).unwrap()).await
    };
    let json = Some("application/json");
    for (body, code) in [
        (&b"{"[..], "syntax"),
        (b"", "syntax"),
        (
            b"{\"sensor_id\": \"a\", \"sensor_id\": \"b\"}",
            "duplicate_key",
        ),
        (b"{\"sensor_id\": \"\xff\"}", "syntax"),
        (b"{\"value\": NaN}", "syntax"),
        ("[".repeat(70).as_bytes(), "depth"),
    ] {
        let problem = send(json, body.to_vec())
            .await
            .problem(400, "malformed-request");
        assert_eq!(problem["errors"][0]["code"], code);
    }
    let problem = send(json, vec![b' '; 2 << 20])
        .await
        .problem(413, "payload-too-large");
    assert_eq!(problem["limit_bytes"], 1 << 20);
    for content_type in [None, Some("text/plain")] {
        let answer = send(content_type, b"{}".to_vec()).await;
        let problem = answer.problem(415, "unsupported-media-type");
        assert_eq!(problem["accepted"][0], "application/json");
    }
}

#[tokio::test]
async fn every_answer_has_the_common_headers() {
    let app = TestApp::new().await;
    let id = "0190163d-8694-739b-aea5-966c26f8ad91";
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let given = [("x-request-id", id), ("traceparent", trace)];
    for path in ["/api/v1/views", "/api/v1/nothing"] {
        let answer = app.call("GET", path, &given, None).await;
        assert_eq!(answer.header("x-request-id"), id);
        assert_eq!(answer.header("traceparent"), trace);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert!(answer.header("content-security-policy").contains("'none'"));
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    // What is no id is not repeated into logs and bodies.
    let answer = app
        .call("GET", "/", &[("x-request-id", "<script>")], None)
        .await;
    assert_eq!(answer.header("x-request-id").len(), 36);
}

#[tokio::test]
async fn before_the_first_tick_views_say_so() {
    let app = TestApp::start(true).await;
    for path in [
        "/api/v1/iot/sensors",
        "/api/v1/alerts",
        "/api/v1/indicators",
    ] {
        let problem = app.refused(path, 503, "unavailable").await;
        assert_eq!(problem["part"], "job");
    }
    let views = app.ok("/api/v1/views").await;
    assert_eq!(views["as_of"], Value::Null);
    assert_eq!(views["caught_up"], false);
}
