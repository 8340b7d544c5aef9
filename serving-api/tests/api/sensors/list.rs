//! `GET /iot/sensors`: filters, pages, what is included.

use openinfra_schemas::Sensor;
use serde_json::{Value, json};

use crate::{
    app::{Answer, NOON, TestApp, column, ts},
    rows::{index, latest, sensor},
};

/// Sensors `s00` … of which the even are registered, every fifth is offline.
async fn city(count: usize) -> TestApp {
    let app = TestApp::new().await;
    let rows = (0..count).map(|i| {
        let id = format!("s{i:02}");
        let mut row = index(&app, &id);
        if i % 2 == 0 {
            let entity = Sensor {
                sensor_id: sensor(&id),
                sensor_type: Some("pump".to_owned()),
                unit: Some("bar".to_owned()),
                asset_id: Some(format!("a{}", i % 4)),
                location: None,
                thresholds: None,
                offline_timeout_ms: None,
                max_age_ms: None,
                reporting_interval_ms: None,
                created_at: ts(NOON),
                created_by: "dev".to_owned(),
                updated_at: ts(NOON),
                updated_by: "dev".to_owned(),
            };
            row.registered = true;
            row.version = 3;
            row.sensor_type = entity.sensor_type.clone();
            row.asset_id = entity.asset_id.clone();
            row.body = Some(serde_json::to_string(&entity).unwrap());
        }
        if i % 5 == 0 {
            row.status = "offline".to_owned();
        }
        row.stale = i == 7;
        row
    });
    app.rows(rows.collect::<Vec<_>>()).await;
    app
}

async fn ids(app: &TestApp, query: &str) -> Vec<Value> {
    column(
        &app.ok(&format!("/api/v1/iot/sensors?limit=1000&{query}"))
            .await,
        "sensor_id",
    )
}

#[tokio::test]
async fn pages_give_each_sensor_once_in_order() {
    let app = city(60).await;
    let all = ids(&app, "").await;
    let wanted: Vec<String> = (0..60).map(|i| format!("s{i:02}")).collect();
    assert_eq!(all, wanted);
    for (sort, limit) in [("sensor_id", 7), ("-sensor_id", 7), ("sensor_id", 60)] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/iot/sensors?limit={limit}&sort={sort}{cursor}");
            let page = app.ok(&path).await;
            seen.extend(column(&page, "sensor_id"));
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        let mut wanted = wanted.clone();
        if sort.starts_with('-') {
            wanted.reverse();
        }
        assert_eq!(seen, wanted, "{sort}");
    }
}

#[tokio::test]
async fn filters_hold_together() {
    let app = city(20).await;
    assert_eq!(
        ids(&app, "status=offline").await,
        ["s00", "s05", "s10", "s15"]
    );
    assert_eq!(
        ids(&app, "status=offline&registered=true").await,
        ["s00", "s10"]
    );
    assert_eq!(ids(&app, "status=online,offline").await.len(), 20);
    assert_eq!(
        ids(&app, "asset_id=a2").await,
        ["s02", "s06", "s10", "s14", "s18"]
    );
    assert_eq!(ids(&app, "asset_id=a2,a0&sensor_type=pump").await.len(), 10);
    assert_eq!(ids(&app, "has_asset_id=false").await.len(), 10);
    assert_eq!(ids(&app, "stale=true").await, ["s07"]);
    assert_eq!(ids(&app, "q=S01").await, ["s01"]);
    assert_eq!(ids(&app, "has_location=true").await, Vec::<Value>::new());
    assert_eq!(
        ids(&app, "updated_from=2023-01-01T00:00:00Z").await.len(),
        0
    );
    for query in [
        "status=asleep",
        "limit=0",
        "limit=1001",
        "registered=maybe",
        "sort=unit",
    ] {
        let path = format!("/api/v1/iot/sensors?{query}");
        app.refused(&path, 400, "malformed-request").await;
    }
}

#[tokio::test]
async fn a_cursor_is_of_its_filters() {
    let app = city(20).await;
    let page = app.ok("/api/v1/iot/sensors?limit=2&registered=true").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    for query in ["registered=false", "", "registered=true&sort=-sensor_id"] {
        let path = format!("/api/v1/iot/sensors?{query}&cursor={cursor}");
        app.refused(&path, 400, "invalid-cursor").await;
    }
    // The page's size is no filter.
    let path = format!("/api/v1/iot/sensors?registered=true&limit=1&cursor={cursor}");
    assert_eq!(column(&app.ok(&path).await, "sensor_id"), ["s04"]);
}

#[tokio::test]
async fn a_page_says_what_it_is_as_of_and_how_many_there_are() {
    let app = city(20).await;
    let answer = app.get("/api/v1/iot/sensors?count=true&limit=1").await;
    assert_eq!(answer.header("openinfra-as-of"), NOON);
    let page = answer.json();
    assert_eq!(page["as_of"], NOON);
    assert_eq!(page["total"], 20);
    assert_eq!(page.get("total_capped"), None);
    let page = app
        .ok("/api/v1/iot/sensors?fields=sensor_id,status&limit=1")
        .await;
    assert_eq!(
        page["items"][0],
        json!({"sensor_id": "s00", "status": "offline"})
    );
}

#[tokio::test]
async fn registered_sensors_have_their_entity_and_others_defaults() {
    let app = city(2).await;
    app.rows([latest(&app, "s01", ts(NOON))]).await;
    let page = app.ok("/api/v1/iot/sensors?include=latest").await;
    let registered = &page["items"][0];
    assert_eq!(registered["unit"], "bar");
    assert_eq!(registered["version"], 3);
    assert_eq!(registered["last_recv_at"], Value::Null);
    let seen = &page["items"][1];
    assert_eq!(seen["registered"], false);
    assert_eq!(seen.get("version"), None);
    assert_eq!(seen["latest"]["value"], 1.5);
    assert_eq!(seen["last_recv_at"], "2022-07-01T12:00:00.020Z");
}

#[tokio::test]
async fn a_read_waits_for_the_write_that_it_names() {
    let app = city(1).await;
    let token = [("openinfra-after", "1.e3-9")];
    let get = async |token: &[(&str, &str)]| -> Answer {
        app.call("GET", "/api/v1/iot/sensors", token, None).await
    };
    let problem = get(&token).await.problem(503, "not-caught-up");
    assert_eq!(problem["wanted"], "1.e3-9");
    assert_eq!(problem["reached"], "1.e3-0");
    assert_eq!(get(&[("openinfra-after", "1.e3-0")]).await.status, 200);
    get(&[("openinfra-after", "tomorrow")])
        .await
        .problem(400, "malformed-request");
}
