//! `/views/{name}/rows`: all rows as lines, or a page of them as a list.

use openinfra_api::dump::View;
use openinfra_schemas::time::HOUR_MS;
use openinfra_store::tables::views::{
    ASSET_SHARDS, AssetHealthRow, IndicatorRow, LedgerRow, OfflineEpisodeRow, SensorSeenRow,
};
use serde_json::{Value, json};

use crate::{
    app::{NOON, TestApp, tenant, ts},
    rows::{alert, days, hourly, latest, reading, sensor, status, write_alerts},
};

#[tokio::test]
async fn rows_are_lines_and_ticks_go_on_afterwards() {
    let app = TestApp::new().await;
    app.rows([latest(&app, "b", ts(NOON)), latest(&app, "a", ts(NOON))])
        .await;
    let answer = app
        .get("/api/v1/views/latest_reading/rows?by_content=true")
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert_eq!(answer.header("openinfra-as-of"), NOON);
    let text = answer.text();
    let lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["sensor_id"], "a");
    assert_eq!(lines[0].get("tick"), None);
    while app.job.held() > 0 {
        tokio::task::yield_now().await;
    }
    app.refused("/api/v1/views/weather/rows", 404, "not-found")
        .await;
    assert_eq!(app.job.held(), 0);
}

/// Sensors `s0` … with some rows in every view.
async fn filled() -> TestApp {
    let app = TestApp::new().await;
    let noon = ts(NOON);
    for i in 0..9 {
        let id = &format!("s{i}");
        let times = [
            noon - 70 * 24 * HOUR_MS,
            noon - 25 * HOUR_MS,
            noon - 1,
            noon,
        ];
        let readings = times.iter().zip([1, 2, 3, 5]);
        app.rows(readings.map(|(at, offset)| reading(&app, id, *at, offset, Some(1.0))))
            .await;
        app.rows([reading(&app, id, noon - 1, 4, None)]).await;
        app.rows(days(&app, id, &times)).await;
        app.rows(times.map(|at| hourly(&app, id, at - at.rem_euclid(HOUR_MS))))
            .await;
        app.rows([latest(&app, id, noon)]).await;
        app.rows([status(&app, id)]).await;
        app.rows((0..3).map(|i| OfflineEpisodeRow {
            tenant: tenant(),
            bucket: app.bucket(id),
            sensor_id: sensor(id),
            offline_since: noon - i * HOUR_MS,
            recovered_at: None,
            gap_ms: None,
            tick: noon,
        }))
        .await;
        app.rows([SensorSeenRow {
            tenant: tenant(),
            log_partition: app.log_partition(id),
            sensor_id: sensor(id),
            first_recv_ts: noon,
            last_recv_ts: noon,
            tick: noon,
        }])
        .await;
        app.rows([AssetHealthRow {
            tenant: tenant(),
            shard: i % ASSET_SHARDS,
            asset_id: format!("a{}", 9 - i),
            worst_severity: None,
            alerts_info: 0,
            alerts_low: 0,
            alerts_medium: 0,
            alerts_high: 0,
            alerts_critical: 0,
            sensors_total: 1,
            sensors_online: 1,
            sensors_offline: 0,
            sensors_stale: 0,
            sensors_never_seen: 0,
            tick: noon,
        }])
        .await;
        app.rows([IndicatorRow {
            tenant: tenant(),
            name: format!("count_{i}"),
            value: 1,
            tick: noon,
        }])
        .await;
        let reason = ["invalid", "undecodable", "clock_future"][i as usize % 3];
        app.rows([LedgerRow {
            tenant: tenant(),
            reason: reason.to_owned(),
            topic: ["ledger", "readings"][i as usize % 2].to_owned(),
            log_partition: 3 * i,
            offset: 0,
            detail: String::new(),
            source: "http".to_owned(),
            sensor_id: None,
            event_ts: None,
            recv_ts: None,
            payload: Vec::new(),
            tick: noon,
        }])
        .await;
        let start = format!("2022-0{}-01T00:00:00Z", 1 + i % 5);
        write_alerts(&app, vec![alert(id, id, &start, i % 3 == 0)]).await;
    }
    app
}

async fn lines(app: &TestApp, path: &str) -> Vec<Value> {
    let answer = app.get(path).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let text = answer.text();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[tokio::test]
async fn pages_of_every_view_are_its_lines() {
    let app = filled().await;
    for view in View::ALL {
        for by_content in [true, false] {
            let path = format!("/api/v1/views/{}/rows?by_content={by_content}", view.name());
            let all = lines(&app, &path).await;
            assert!(all.len() >= 9, "{view:?}: {}", all.len());
            for limit in [1, 2, 5, all.len(), 10_000] {
                let path = format!("{path}&limit={limit}");
                let mut seen = Vec::new();
                let mut page = app.ok(&path).await;
                loop {
                    let items = page["items"].as_array().unwrap();
                    assert!(items.len() <= limit);
                    seen.extend(items.clone());
                    let Some(next) = page["next_cursor"].as_str() else {
                        break;
                    };
                    assert_eq!(items.len(), limit);
                    page = app.ok(&format!("{path}&cursor={next}")).await;
                }
                assert_eq!(seen, all, "{view:?} by {limit}");
            }
        }
    }
    while app.job.held() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_list_is_answered_to_whom_names_json() {
    let app = TestApp::new().await;
    app.rows([latest(&app, "a", ts(NOON))]).await;
    let get = async |accept: &str, query: &str| {
        let path = format!("/api/v1/views/latest_reading/rows{query}");
        let answer = app.call("GET", &path, &[("accept", accept)], None).await;
        answer.header("content-type").to_owned()
    };
    assert_eq!(get("*/*", "").await, "application/x-ndjson");
    assert_eq!(
        get("application/x-ndjson", "").await,
        "application/x-ndjson"
    );
    assert_eq!(get("application/json", "").await, "application/json");
    assert_eq!(
        get("text/csv, application/JSON;q=0.5", "").await,
        "application/json"
    );
    assert_eq!(get("*/*", "?limit=1").await, "application/json");
    // Both are named; lines are liked better.
    let both = "application/json;q=0.5, application/x-ndjson";
    assert_eq!(get(both, "").await, "application/x-ndjson");
    let path = "/api/v1/views/latest_reading/rows?limit=1";
    let ndjson = [("accept", "application/x-ndjson")];
    app.call("GET", path, &ndjson, None)
        .await
        .problem(400, "malformed-request");
    let page = app.ok("/api/v1/views/latest_reading/rows?limit=5").await;
    assert_eq!(page["as_of"], NOON);
    assert_eq!(page["next_cursor"], Value::Null);
    assert_eq!(page["items"][0]["sensor_id"], json!("a"));
}

#[tokio::test]
async fn a_cursor_is_of_its_view() {
    let app = filled().await;
    let page = app.ok("/api/v1/views/latest_reading/rows?limit=1").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    for path in [
        format!("sensor_status/rows?cursor={cursor}"),
        format!("latest_reading/rows?by_content=true&cursor={cursor}"),
        "latest_reading/rows?cursor=x".to_owned(),
    ] {
        app.refused(&format!("/api/v1/views/{path}"), 400, "invalid-cursor")
            .await;
    }
    for limit in [0, 10_001] {
        let path = format!("/api/v1/views/readings/rows?limit={limit}");
        app.refused(&path, 400, "malformed-request").await;
    }
    while app.job.held() > 0 {
        tokio::task::yield_now().await;
    }
}
