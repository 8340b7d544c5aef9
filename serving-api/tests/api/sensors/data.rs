//! `GET /iot/sensors/{id}/data`.

use openinfra_schemas::time::HOUR_MS;
use serde_json::{Value, json};

use crate::{
    app::{NOON, TestApp, column, ts},
    rows::{days, hourly, latest, reading, status},
};

const PATH: &str = "/api/v1/iot/sensors/s1/data";
const DAY: i64 = 24 * HOUR_MS;

/// Readings over three days, one of them corrected twice, one BAD; beside another sensor's.
async fn measured() -> TestApp {
    let app = TestApp::new().await;
    let noon = ts(NOON);
    let times = [noon - 2 * DAY, noon - HOUR_MS, noon - 1, noon];
    app.rows([
        reading(&app, "s1", times[0], 1, Some(0.1)),
        reading(&app, "s1", times[1], 2, Some(1.0)),
        reading(&app, "s1", times[1], 5, Some(2.0)),
        reading(&app, "s1", times[1], 4, Some(3.0)),
        reading(&app, "s1", times[2], 6, None),
        reading(&app, "s1", times[3], 7, Some(4.0)),
        reading(&app, "s10", noon, 8, Some(9.0)),
    ])
    .await;
    app.rows(days(&app, "s1", &times)).await;
    app.rows(days(&app, "s10", &[noon])).await;
    app.rows([latest(&app, "s1", noon), latest(&app, "s10", noon)])
        .await;
    app.rows([
        hourly(&app, "s1", noon - 2 * DAY),
        hourly(&app, "s1", noon - HOUR_MS),
    ])
    .await;
    app
}

async fn values(app: &TestApp, query: &str) -> Vec<Value> {
    column(&app.ok(&format!("{PATH}?{query}")).await, "value")
}

#[tokio::test]
async fn the_last_correction_is_in_force() {
    let app = measured().await;
    let page = app.ok(PATH).await;
    assert_eq!(
        column(&page, "value"),
        [json!(2.0), Value::Null, json!(4.0)]
    );
    assert_eq!(column(&page, "corrected"), [true, false, false]);
    assert_eq!(column(&page, "quality"), ["GOOD", "BAD", "GOOD"]);
    assert_eq!(column(&page, "ts_source"), ["device", "device", "device"]);
    assert_eq!(page["next_cursor"], Value::Null);
    assert_eq!(page.get("final_through"), None);
}

#[tokio::test]
async fn spans_hold_their_start_and_not_their_end() {
    let app = measured().await;
    let all = "from=2022-01-01T00:00:00Z";
    assert_eq!(
        values(&app, all).await,
        [json!(0.1), json!(2.0), Value::Null, json!(4.0)]
    );
    let query = "from=2022-07-01T11:00:00Z&to=2022-07-01T12:00:00Z";
    assert_eq!(values(&app, query).await, [json!(2.0), Value::Null]);
    let query = format!("{query}&order=desc&quality=GOOD,UNCERTAIN");
    assert_eq!(values(&app, &query).await, [json!(2.0)]);
    let query = "from=2022-07-02T00:00:00Z&to=2022-07-03T00:00:00Z";
    assert_eq!(values(&app, query).await, Vec::<Value>::new());
}

#[tokio::test]
async fn pages_go_on_where_they_ended() {
    let app = measured().await;
    for order in ["asc", "desc"] {
        let whole = values(&app, &format!("from=2022-01-01T00:00:00Z&order={order}")).await;
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let query = format!("from=2022-01-01T00:00:00Z&order={order}&limit=1{cursor}");
            let page = app.ok(&format!("{PATH}?{query}")).await;
            seen.extend(column(&page, "value"));
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, whole, "{order}");
        assert_eq!(seen.len(), 4);
    }
}

#[tokio::test]
async fn hours_say_whether_they_are_final() {
    let app = measured().await;
    let query = "granularity=hour&from=2022-06-01T00:00:00Z";
    let page = app.ok(&format!("{PATH}?{query}")).await;
    assert_eq!(
        column(&page, "hour"),
        ["2022-06-29T12:00:00.000Z", "2022-07-01T11:00:00.000Z"]
    );
    // 26 h of horizon and 10 minutes before noon: 09:50 of the day before.
    assert_eq!(column(&page, "final"), [true, false]);
    assert_eq!(page["final_through"], "2022-06-30T09:00:00.000Z");
    assert_eq!(page["items"][0]["mean"], 1.5);
    assert_eq!(page["items"][0].get("coverage"), None);
    let page = app.ok(&format!("{PATH}?{query}&limit=1&order=desc")).await;
    assert_eq!(column(&page, "hour"), ["2022-07-01T11:00:00.000Z"]);
    assert!(page["next_cursor"].is_string());
}

#[tokio::test]
async fn coverage_is_told_where_the_interval_is_known() {
    let app = measured().await;
    let body = json!({"sensor_id": "s1", "reporting_interval_ms": 900_000});
    app.call("POST", "/api/v1/iot/sensors", &[], Some(body))
        .await;
    let page = app.ok(&format!("{PATH}?granularity=hour")).await;
    assert_eq!(page["items"][0]["expected_count"], 4);
    assert_eq!(page["items"][0]["coverage"], 0.5);
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() {
    let app = measured().await;
    for query in [
        "granularity=minute",
        "from=yesterday",
        "limit=10001",
        "quality=FINE",
        "granularity=hour&quality=GOOD",
        "from=2022-07-02T00:00:00Z&to=2022-07-01T00:00:00Z",
    ] {
        app.refused(&format!("{PATH}?{query}"), 400, "malformed-request")
            .await;
    }
    const DAY: &str = "from=2022-07-01T00:00:00Z&to=2022-07-02T00:00:00Z";
    for query in [
        String::new(),
        format!("?{DAY}"),
        format!("?{DAY}&granularity=hour"),
    ] {
        let path = format!("/api/v1/iot/sensors/none/data{query}");
        app.refused(&path, 404, "not-found").await;
    }
    let body = json!({"sensor_id": "silent"});
    app.call("POST", "/api/v1/iot/sensors", &[], Some(body))
        .await;
    let page = app.ok("/api/v1/iot/sensors/silent/data").await;
    assert_eq!(page["items"], json!([]));
}

#[tokio::test]
async fn without_readings_the_answer_has_the_shape_that_was_asked_for() {
    let app = measured().await;
    // One is registered, of the other every reading was refused.
    let body = json!({"sensor_id": "silent"});
    app.call("POST", "/api/v1/iot/sensors", &[], Some(body))
        .await;
    app.rows([status(&app, "refused")]).await;
    for id in ["silent", "refused"] {
        let path = format!("/api/v1/iot/sensors/{id}/data");
        let empty = json!({"items": [], "next_cursor": null, "as_of": NOON});
        assert_eq!(app.ok(&path).await, empty);
        let hours = app.ok(&format!("{path}?granularity=hour")).await;
        assert_eq!(hours["items"], json!([]));
        assert_eq!(hours["final_through"], "2022-06-30T09:00:00.000Z");
        let wrong = format!("{path}?from=2022-07-02T00:00:00Z&to=2022-07-01T00:00:00Z");
        app.refused(&wrong, 400, "malformed-request").await;
    }
}
