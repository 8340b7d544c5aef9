//! The document and its browser.

use serde_json::Value;

use crate::app::TestApp;

#[tokio::test]
async fn the_document_is_as_it_was() {
    let app = TestApp::new().await;
    let document = app.ok("/api/v1/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    insta::assert_json_snapshot!("openapi", document);
    assert_eq!(app.ok("/openapi.json").await, document);
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let app = TestApp::new().await;
    let document = app.ok("/api/v1/openapi.json").await;
    let mut todo = vec![&document];
    let mut seen = 0;
    while let Some(value) = todo.pop() {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
            seen += 1;
        }
        match value {
            Value::Array(items) => todo.extend(items),
            Value::Object(members) => todo.extend(members.values()),
            _ => {}
        }
    }
    assert!(seen > 20);
}

/// The reverse, that every route of the document is served, is what the walk over it shows.
#[tokio::test]
async fn every_route_that_is_served_is_in_the_document() {
    let app = TestApp::new().await;
    let document = app.ok("/api/v1/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    let served = [
        "/api/v1/iot/sensors",
        "/api/v1/iot/sensors/{id}",
        "/api/v1/iot/sensors/{id}/data",
        "/api/v1/iot/sensors/{id}/status",
        "/api/v1/iot/sensors/batch-ingest",
        "/api/v1/tenant/settings",
        "/api/v1/alerts",
        "/api/v1/alerts/{id}",
        "/api/v1/assets/{id}/health",
        "/api/v1/indicators",
        "/api/v1/ledger",
        "/api/v1/ledger/summary",
        "/api/v1/views",
        "/api/v1/views/{name}/rows",
        "/api/v1/views/verify",
        "/api/v1/openapi.json",
        "/openapi.json",
        "/redoc",
        "/health/live",
        "/health/ready",
        "/livez",
        "/readyz",
        "/metrics",
        "/problems/{slug}",
        "/registry/subjects",
        "/registry/subjects/{subject}",
        "/registry/subjects/{subject}/versions",
        "/registry/subjects/{subject}/versions/{version}",
        "/registry/subjects/{subject}/versions/{version}/schema",
        "/registry/schemas/ids/{id}",
        "/registry/compatibility/subjects/{subject}/versions/{version}",
        "/registry/config",
        "/registry/config/{subject}",
    ];
    for path in served {
        assert!(paths.contains_key(path), "{path}");
    }
    assert_eq!(paths.len(), served.len());
    // A route joins the router by `routes!`, which describes it; nothing joins it by `route`, but what is
    // for the product's own processes and no part of the API.
    for file in rust_files("src") {
        if file.ends_with("control.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(".route("), "{}", file.display());
    }
}

fn rust_files(folder: &str) -> Vec<std::path::PathBuf> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "rs" => found.push(path),
                _ => {}
            }
        }
    }
    assert!(found.len() > 20);
    found
}

#[tokio::test]
async fn the_browser_loads_nothing_from_elsewhere() {
    let app = TestApp::new().await;
    let answer = app.get("/docs/").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains("//cdn"), "{}", answer.text());
    assert!(answer.header("content-security-policy").contains("'self'"));
    let script = app.get("/docs/swagger-initializer.js").await;
    assert!(script.text().contains("/api/v1/openapi.json"));
    let answer = app.get("/redoc").await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.header("location"), "/docs");
}
