//! `GET /iot/sensors`: filters, pages, what is included.

use openinfra_schemas::{Point, Sensor};
use serde_json::{Value, json};

use crate::{
    app::{Answer, NOON, TestApp, column, pages, ts},
    rows::{index, latest, sensor, status},
};

/// Sensors `s00` … of which the even are registered, every fifth is offline.
async fn city(count: usize) -> TestApp {
    let app = TestApp::new().await;
    let rows = (0..count).map(|i| {
        let id = format!("s{i:02}");
        let mut row = index(&app, &id);
        if i % 2 == 0 {
            let entity = Sensor {
                asset_id: Some(format!("a{}", i % 4)),
                ..registered(&id)
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

fn registered(id: &str) -> Sensor {
    Sensor {
        sensor_id: sensor(id),
        sensor_type: Some("pump".to_owned()),
        unit: Some("bar".to_owned()),
        asset_id: None,
        location: None,
        thresholds: None,
        offline_timeout_ms: None,
        max_age_ms: None,
        reporting_interval_ms: None,
        created_at: ts(NOON),
        created_by: "dev".to_owned(),
        updated_at: ts(NOON),
        updated_by: "dev".to_owned(),
    }
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
        let path = format!("/api/v1/iot/sensors?limit={limit}&sort={sort}");
        let seen = pages(&app, &path, "sensor_id").await;
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

/// Sensors `s00` … last heard of at ever earlier times, in pairs; the last two never; and one of which
/// every reading was refused.
async fn heard(count: usize) -> TestApp {
    let app = city(count).await;
    let noon = ts(NOON);
    let heard =
        (0..count - 2).map(|i| latest(&app, &format!("s{i:02}"), noon - (i as i64 / 2) * 1_000));
    app.rows(heard.collect::<Vec<_>>()).await;
    let mut refused = status(&app, "refused");
    refused.last_recv_ts = Some(noon + 60_000);
    app.rows([refused]).await;
    app.rows([index(&app, "refused")]).await;
    app
}

#[tokio::test]
async fn sorted_by_when_they_were_heard() {
    let app = heard(40).await;
    let mut wanted: Vec<String> = (0..38).map(|i| format!("s{i:02}")).collect();
    // The newest first; of two heard at one time the greater id, as everything is turned round.
    wanted.sort_by_key(|id| {
        let i: usize = id[1..].parse().unwrap();
        (i / 2, std::cmp::Reverse(i))
    });
    wanted.insert(0, "refused".to_owned());
    wanted.extend(["s39".to_owned(), "s38".to_owned()]);
    for limit in [1, 7, 41, 50] {
        let path = format!("/api/v1/iot/sensors?sort=-last_recv_at&limit={limit}");
        assert_eq!(pages(&app, &path, "sensor_id").await, wanted, "{limit}");
    }
    wanted.reverse();
    let path = "/api/v1/iot/sensors?sort=last_recv_at&limit=7";
    assert_eq!(pages(&app, path, "sensor_id").await, wanted);

    let query = "sort=-last_recv_at&registered=false&status=online&count=true&limit=1";
    let page = app.ok(&format!("/api/v1/iot/sensors?{query}")).await;
    assert_eq!(column(&page, "sensor_id"), ["refused"]);
    assert_eq!(column(&page, "last_recv_at"), ["2022-07-01T12:01:00.000Z"]);
    assert_eq!(page["total"], 17);
}

#[tokio::test]
async fn sorted_by_when_they_were_updated() {
    let app = TestApp::new().await;
    let rows = (0..30).map(|i| {
        let mut row = index(&app, &format!("s{i:02}"));
        row.updated_at = ts(NOON) + (i * 7 % 10);
        row
    });
    app.rows(rows.collect::<Vec<_>>()).await;
    let mut wanted: Vec<(i64, String)> =
        (0..30).map(|i| (i * 7 % 10, format!("s{i:02}"))).collect();
    wanted.sort();
    let path = "/api/v1/iot/sensors?sort=updated_at&limit=4";
    let seen = pages(&app, path, "sensor_id").await;
    let ids = |wanted: &[(i64, String)]| -> Vec<Value> {
        wanted.iter().map(|(_, id)| json!(id)).collect()
    };
    assert_eq!(seen, ids(&wanted));
    wanted.reverse();
    let path = "/api/v1/iot/sensors?sort=-updated_at&limit=4";
    assert_eq!(pages(&app, path, "sensor_id").await, ids(&wanted));
    // A cursor of one order is none of another.
    let page = app.ok(path).await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let path = format!("/api/v1/iot/sensors?sort=updated_at&cursor={cursor}");
    app.refused(&path, 400, "invalid-cursor").await;
}

#[tokio::test]
async fn batteries_that_run_low_are_found() {
    let app = city(10).await;
    let mut low = latest(&app, "s03", ts(NOON));
    low.battery_pct = Some(9.5);
    app.rows([low, latest(&app, "s04", ts(NOON))]).await;
    assert_eq!(ids(&app, "battery_below=10").await, ["s03"]);
    assert_eq!(ids(&app, "battery_below=81").await, ["s03", "s04"]);
    assert_eq!(ids(&app, "battery_below=9.5").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_battery_is_below_a_finite_number() {
    let app = city(1).await;
    for below in ["NaN", "inf", "1e999", "-inf"] {
        let path = format!("/api/v1/iot/sensors?battery_below={below}");
        let problem = app.refused(&path, 400, "malformed-request").await;
        assert_eq!(problem["errors"][0]["pointer"], "battery_below", "{below}");
        assert_eq!(problem["errors"][0]["code"], "out_of_range", "{below}");
    }
}

#[tokio::test]
async fn a_list_of_sensors_is_a_map_when_it_is_asked_for() {
    let app = TestApp::new().await;
    let mut placed = index(&app, "placed");
    placed.body = Some(
        serde_json::to_string(&Sensor {
            location: Some(Point {
                longitude: 8.5,
                latitude: 47.25,
                height: Some(400.0),
            }),
            ..registered("placed")
        })
        .unwrap(),
    );
    placed.registered = true;
    app.rows([placed, index(&app, "somewhere")]).await;
    let get = async |query: &str| {
        let accept = [("accept", "application/geo+json")];
        let path = format!("/api/v1/iot/sensors?{query}");
        app.call("GET", &path, &accept, None).await
    };
    let answer = get("count=true").await;
    assert_eq!(answer.header("content-type"), "application/geo+json");
    assert_eq!(answer.header("openinfra-as-of"), NOON);
    let map = answer.json();
    assert_eq!(map["type"], "FeatureCollection");
    assert_eq!(map["as_of"], NOON);
    assert_eq!(map["next_cursor"], Value::Null);
    assert_eq!(map["total"], 2);
    let [placed, somewhere] = map["features"].as_array().unwrap().as_slice() else {
        panic!("{map}");
    };
    assert_eq!(placed["type"], "Feature");
    assert_eq!(placed["id"], "placed");
    let point = json!({"type": "Point", "coordinates": [8.5, 47.25, 400.0]});
    assert_eq!(placed["geometry"], point);
    assert_eq!(placed["properties"].get("location"), None);
    assert_eq!(placed["properties"]["unit"], "bar");
    assert_eq!(somewhere["geometry"], Value::Null);

    let page = get("limit=1&fields=status").await.json();
    let feature = &page["features"][0];
    assert_eq!(feature["geometry"], point);
    assert_eq!(feature["properties"], json!({"status": "online"}));
    let next = page["next_cursor"].as_str().unwrap();
    let page = get(&format!("limit=1&cursor={next}")).await.json();
    assert_eq!(page["features"][0]["id"], "somewhere");
}
