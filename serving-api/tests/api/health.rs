//! `//health/*`, `//metrics`, `//problems/*`.

use crate::app::TestApp;

#[tokio::test]
async fn a_process_that_answers_is_live_and_ready() {
    let app = TestApp::start(false).await;
    for path in ["/health/live", "/livez", "/health/ready", "/readyz"] {
        assert_eq!(app.ok(path).await["status"], "ok", "{path}");
    }
}

#[tokio::test]
async fn a_process_that_stops_is_not_ready_but_lives() {
    let app = TestApp::new().await;
    app.state.draining.cancel();
    let answer = app.get("/health/ready").await;
    assert_eq!(answer.status, 503);
    let body = answer.json();
    assert_eq!(body["status"], "unavailable");
    assert_eq!(body["checks"][0]["name"], "serving");
    assert_eq!(app.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn requests_are_counted_by_route_not_by_path() {
    let app = TestApp::new().await;
    app.get("/api/v1/iot/sensors/secret-id").await;
    let answer = app.get("/metrics").await;
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let line = "openinfra_api_requests_total{method=\"GET\",route=\"/api/v1/iot/sensors/{id}\",status=\"404\"} 1";
    assert!(text.contains(line), "{text}");
    assert!(!text.contains("secret-id"));
}

#[tokio::test]
async fn every_kind_of_problem_has_a_page() {
    let app = TestApp::new().await;
    for slug in openinfra_api::problem::Slug::ALL {
        let answer = app.get(&format!("/problems/{}", slug.as_str())).await;
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains(slug.as_str()));
    }
    app.refused("/problems/bad-weather", 404, "not-found").await;
}
