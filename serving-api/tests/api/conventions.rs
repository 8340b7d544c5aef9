//! What holds of every route about the form of its answers: what is accepted, how it is encoded.

use serde_json::{Value, json};

use crate::app::TestApp;

/// Method, path and the media types of the successes of every route that answers with a body.
async fn offers(app: &TestApp) -> Vec<(String, String, Vec<String>)> {
    let document = app.ok("/api/v1/openapi.json").await;
    let mut offers = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(responses) = operation["responses"].as_object() else {
                continue;
            };
            let successes = responses
                .iter()
                .filter(|(status, _)| status.starts_with('2'));
            let forms: Vec<String> = successes
                .filter_map(|(_, response)| response["content"].as_object())
                .flat_map(|content| content.keys().cloned())
                .collect();
            if !forms.is_empty() {
                let path = path.replace("{id}", "x").replace("{name}", "readings");
                let path = path.replace("{slug}", "gone");
                offers.push((method.to_uppercase(), path, forms));
            }
        }
    }
    assert!(offers.len() > 20, "{offers:?}");
    offers
}

#[tokio::test]
async fn what_nobody_could_read_is_not_done() {
    let app = TestApp::new().await;
    for (method, path, forms) in offers(&app).await {
        let headers = [("accept", "image/png, text/*;q=0"), ("if-match", "\"v1\"")];
        let answer = app.call(&method, &path, &headers, None).await;
        let problem = answer.problem(406, "not-acceptable");
        let allowed = problem["allowed"].as_array().unwrap();
        assert_eq!(allowed.len(), forms.len(), "{method} {path}");
    }
    let refused = [("accept", "image/png")];
    let body = json!({"sensor_id": "s1"});
    let answer = app
        .call("POST", "/api/v1/iot/sensors", &refused, Some(body))
        .await;
    answer.problem(406, "not-acceptable");
    app.refused("/api/v1/iot/sensors/s1", 404, "not-found")
        .await;
}

#[tokio::test]
async fn what_is_accepted_may_be_said_in_many_ways() {
    let app = TestApp::new().await;
    for accept in ["*/*", "application/*;q=0.1", "text/html, application/json"] {
        let answer = app
            .call("GET", "/api/v1/views", &[("accept", accept)], None)
            .await;
        assert_eq!(answer.status, 200, "{accept}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
    let accept = [("accept", "json")];
    let answer = app.call("GET", "/api/v1/views", &accept, None).await;
    let problem = answer.problem(400, "malformed-request");
    assert_eq!(problem["errors"][0]["pointer"], "Accept");
    // A problem is one whatever is accepted.
    let accept = [("accept", "application/json")];
    let answer = app.call("GET", "/api/v1/alerts/none", &accept, None).await;
    answer.problem(404, "not-found");
}

#[tokio::test]
async fn an_unchanged_answer_says_as_of_when() {
    let app = TestApp::new().await;
    let body = json!({"sensor_id": "s1"});
    let made = app
        .call("POST", "/api/v1/iot/sensors", &[], Some(body))
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = "/api/v1/iot/sensors/s1";
    let first = app.get(path).await;
    let have = [("if-none-match", first.header("etag"))];
    let again = app.call("GET", path, &have, None).await;
    assert_eq!(again.status, 304);
    for name in ["openinfra-as-of", "etag"] {
        assert_eq!(again.header(name), first.header(name));
    }
    assert!(again.bytes.is_empty());
    assert!(!again.headers.contains_key("content-type"));
    let _: Value = first.json();
}
