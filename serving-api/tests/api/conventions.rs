//! What holds of every route about the form of its answers: what is accepted, how it is encoded.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    app::{TestApp, column},
    rows::index,
};

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
            let forms: BTreeSet<String> = successes
                .filter_map(|(_, response)| response["content"].as_object())
                .flat_map(|content| content.keys().cloned())
                .collect();
            if !forms.is_empty() {
                let path = path.replace("{id}", "x").replace("{name}", "readings");
                let path = path.replace("{slug}", "gone");
                let forms = forms.into_iter().collect();
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

#[tokio::test]
async fn answers_are_compressed_for_who_takes_them_so() {
    let app = TestApp::new().await;
    let path = "/api/v1/views";
    let plain = app.get(path).await;
    assert!(!plain.headers.contains_key("content-encoding"));
    assert_eq!(plain.header("vary"), "accept-encoding");
    let as_of = plain.header("openinfra-as-of");
    for coding in ["gzip", "br", "zstd"] {
        let accept = format!("deflate, {coding};q=0.8, identity;q=0.1");
        let answer = app
            .call("GET", path, &[("accept-encoding", &accept)], None)
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-encoding"), coding);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("openinfra-as-of"), as_of);
        assert!(answer.bytes.len() < plain.bytes.len(), "{coding}");
        if coding == "gzip" {
            let mut inflated = Vec::new();
            let mut reader = flate2::read::GzDecoder::new(&answer.bytes[..]);
            std::io::Read::read_to_end(&mut reader, &mut inflated).unwrap();
            assert_eq!(inflated, plain.bytes);
        }
    }
    // What takes nothing is refused before anything is done.
    let nothing = [("accept-encoding", "identity;q=0")];
    let body = json!({"sensor_id": "s1"});
    let answer = app
        .call("POST", "/api/v1/iot/sensors", &nothing, Some(body))
        .await;
    answer.problem(406, "not-acceptable");
    app.refused("/api/v1/iot/sensors/s1", 404, "not-found")
        .await;
}

/// A strong tag names one sequence of bytes, so what has one is sent as it is.
#[tokio::test]
async fn what_has_a_tag_is_one_sequence_of_bytes() {
    let app = TestApp::new().await;
    let body = json!({"sensor_id": "s1", "sensor_type": "x".repeat(60), "unit": "y".repeat(30)});
    let made = app
        .call("POST", "/api/v1/iot/sensors", &[], Some(body))
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = "/api/v1/iot/sensors/s1";
    let gzip = ("accept-encoding", "gzip");
    let plain = app.get(path).await;
    let answer = app.call("GET", path, &[gzip], None).await;
    assert!(answer.bytes.len() > 256);
    assert_eq!(answer.bytes, plain.bytes);
    assert!(!answer.headers.contains_key("content-encoding"));
    let have = [gzip, ("if-none-match", plain.header("etag"))];
    let again = app.call("GET", path, &have, None).await;
    assert_eq!(again.status, 304);
    assert_eq!(again.header("etag"), plain.header("etag"));
    assert!(again.bytes.is_empty());
    // Problems keep their form, too.
    let missing = app.call("GET", "/api/v1/alerts/x", &[gzip], None).await;
    missing.problem(404, "not-found");
}

#[tokio::test]
async fn a_cursor_outlives_its_process() {
    let app = TestApp::new().await;
    app.rows(["a", "b", "c"].map(|id| index(&app, id))).await;
    let page = app.ok("/api/v1/iot/sensors?limit=1").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let path = format!("/api/v1/iot/sensors?limit=1&cursor={cursor}");
    let next = app.ok(&path).await;
    assert_eq!(app.another().await.ok(&path).await["items"], next["items"]);
    assert_eq!(column(&next, "sensor_id"), ["b"]);
}
