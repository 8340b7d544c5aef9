//! `GET /iot/sensors/{id}/status`.

use openinfra_schemas::time::HOUR_MS;
use openinfra_store::tables::views::OfflineEpisodeRow;
use serde_json::{Value, json};

use crate::{
    app::{NOON, TestApp, tenant, ts},
    rows::{latest, sensor, status},
};

fn episode(app: &TestApp, id: &str, since: i64, recovered: Option<i64>) -> OfflineEpisodeRow {
    OfflineEpisodeRow {
        tenant: tenant(),
        bucket: app.bucket(id),
        sensor_id: sensor(id),
        offline_since: since,
        recovered_at: recovered,
        gap_ms: recovered.map(|at| at - since),
        tick: ts(NOON),
    }
}

async fn silent() -> TestApp {
    let app = TestApp::new().await;
    let noon = ts(NOON);
    let mut row = status(&app, "s1");
    row.status = "offline".to_owned();
    row.offline_since = Some(noon - HOUR_MS);
    row.reason = Some("silent".to_owned());
    app.rows([row]).await;
    app.rows([latest(&app, "s1", noon - 2 * HOUR_MS)]).await;
    let hours = |h: i64| noon - h * HOUR_MS;
    app.rows([
        episode(&app, "s1", hours(9), Some(hours(8))),
        episode(&app, "s1", hours(5), Some(hours(3))),
        episode(&app, "s1", hours(1), None),
        episode(&app, "s10", hours(4), None),
    ])
    .await;
    app
}

#[tokio::test]
async fn a_silent_sensor_says_since_when() {
    let app = silent().await;
    let status = app.ok("/api/v1/iot/sensors/s1/status").await;
    assert_eq!(status["status"], "offline");
    assert_eq!(status["offline_since"], "2022-07-01T11:00:00.000Z");
    assert_eq!(status["last_recv_at"], "2022-07-01T10:00:00.020Z");
    assert_eq!(status["deadline"], "2022-07-01T10:15:00.020Z");
    assert_eq!(status["battery_pct"], 80.0);
    assert_eq!(status["as_of"], NOON);
    let episodes = status["offline_episodes"].as_array().unwrap();
    assert_eq!(episodes.len(), 3);
    let newest =
        json!({"offline_since": "2022-07-01T11:00:00.000Z", "recovered_at": null, "gap_ms": null});
    assert_eq!(episodes[0], newest);
    assert_eq!(episodes[1]["gap_ms"], 2 * HOUR_MS);
}

#[tokio::test]
async fn episodes_that_overlap_the_span_are_told() {
    let app = silent().await;
    let count = async |query: &str| {
        let status = app
            .ok(&format!("/api/v1/iot/sensors/s1/status?{query}"))
            .await;
        status["offline_episodes"].as_array().unwrap().len()
    };
    assert_eq!(count("from=2022-07-01T08:00:00Z").await, 2);
    assert_eq!(count("from=2022-07-01T09:00:00Z").await, 1);
    assert_eq!(
        count("from=2022-07-01T08:00:00Z&to=2022-07-01T10:00:00Z").await,
        1
    );
    assert_eq!(count("to=2022-07-01T03:00:00Z").await, 0);
}

#[tokio::test]
async fn a_sensor_that_the_views_do_not_have_yet_was_never_seen() {
    let app = TestApp::new().await;
    let body = json!({"sensor_id": "new", "reporting_interval_ms": 60_000});
    app.call("POST", "/api/v1/iot/sensors", &[], Some(body))
        .await;
    let status = app.ok("/api/v1/iot/sensors/new/status").await;
    assert_eq!(status["status"], "never_seen");
    assert_eq!(status["timeout_ms"], 180_000);
    assert_eq!(status["deadline"], Value::Null);
    app.refused("/api/v1/iot/sensors/none/status", 404, "not-found")
        .await;
}

#[tokio::test]
async fn a_sensor_of_which_nothing_was_taken_was_heard_all_the_same() {
    let app = TestApp::new().await;
    let mut row = status(&app, "refused");
    row.last_recv_ts = Some(ts(NOON));
    app.rows([row]).await;
    let answer = app.ok("/api/v1/iot/sensors/refused/status").await;
    assert_eq!(answer["last_recv_at"], NOON);
    assert_eq!(answer["deadline"], "2022-07-01T12:15:00.000Z");
    assert_eq!(answer["last_event_ts"], Value::Null);
    let sensor = app.ok("/api/v1/iot/sensors/refused").await;
    assert_eq!(sensor["last_recv_at"], NOON);
}

#[tokio::test]
async fn a_sensor_that_never_sent_has_a_deadline_from_its_registration() {
    let app = TestApp::new().await;
    let mut row = status(&app, "quiet");
    row.status = "never_seen".to_owned();
    app.rows([row.clone()]).await;
    let path = "/api/v1/iot/sensors/quiet/status";
    let answer = app.ok(path).await;
    assert_eq!(answer["deadline"], "2022-07-01T12:15:00.000Z");
    assert_eq!(answer["last_recv_at"], Value::Null);
    row.status = "offline".to_owned();
    row.reason = Some("never_reported".to_owned());
    row.since = ts(NOON) + 900_000;
    row.offline_since = Some(row.since);
    app.rows([row]).await;
    let answer = app.ok(path).await;
    assert_eq!(answer["deadline"], "2022-07-01T12:15:00.000Z");
}
