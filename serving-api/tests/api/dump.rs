//! Dumps: fields, order, and that by content nothing tells of when and where.

use openinfra_api::dump::{Dump, View, dump_view};
use openinfra_schemas::time::HOUR_MS;
use openinfra_store::tables::views::TenantRow;
use serde_json::{Value, json};

use crate::{
    app::{NOON, TestApp, tenant, ts},
    rows::{alert, days, hourly, latest, reading, status, write_alerts},
};

async fn dump(app: &TestApp, view: View, by_content: bool) -> Vec<Value> {
    let dump = Dump {
        view,
        by_content,
        tenant: None,
        partitions: app.state.partitions(),
        as_of: ts(NOON),
    };
    let mut text = Vec::new();
    let mut emit = |lines: Vec<u8>| {
        text.extend(lines);
        Ok(())
    };
    dump_view(app.store(), &dump, &mut emit).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn app() -> TestApp {
    let app = TestApp::new().await;
    let row = TenantRow {
        scope: "all".to_owned(),
        tenant: tenant(),
        tick: ts(NOON),
    };
    app.rows([row]).await;
    app
}

#[tokio::test]
async fn readings_are_those_in_force_by_sensor_and_time() {
    let app = app().await;
    let noon = ts(NOON);
    let mut wanted = Vec::new();
    for id in ["b", "a/1", "a", "c"] {
        let times = [noon - 40 * 24 * HOUR_MS, noon - HOUR_MS, noon];
        app.rows([
            reading(&app, id, times[0], 1, Some(0.1 + 0.2)),
            reading(&app, id, times[1], 2, Some(5.0)),
            reading(&app, id, times[1], 3, None),
            reading(&app, id, times[2], 4, Some(1e300)),
        ])
        .await;
        app.rows(days(&app, id, &times)).await;
        for (at, value) in times
            .iter()
            .zip([json!(0.1 + 0.2), Value::Null, json!(1e300)])
        {
            wanted.push((id.to_owned(), *at, value));
        }
    }
    wanted.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let rows = dump(&app, View::Readings, true).await;
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            let id = row["sensor_id"].as_str().unwrap().to_owned();
            (
                id,
                ts(row["event_ts"].as_str().unwrap()),
                row["value"].clone(),
            )
        })
        .collect();
    assert_eq!(found, wanted);
    let first = json!({
        "sensor_id": "a", "event_ts": "2022-05-22T12:00:00.000Z", "value": 0.1 + 0.2,
        "quality": "GOOD", "unit": null, "tenant": "default",
    });
    assert_eq!(rows[0], first);
    let whole = dump(&app, View::Readings, false).await;
    assert_eq!(whole[0]["offset"], 1);
    assert!(whole[0]["recv_ts"].is_string() && whole[0]["tick"].is_string());
}

#[tokio::test]
async fn hours_have_the_named_fields() {
    let app = app().await;
    let noon = ts(NOON);
    app.rows([
        hourly(&app, "s", noon),
        hourly(&app, "s", noon - 48 * HOUR_MS),
    ])
    .await;
    app.rows(days(&app, "s", &[noon, noon - 48 * HOUR_MS]))
        .await;
    let rows = dump(&app, View::HourlyAggregate, false).await;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["final"], true);
    assert_eq!(rows[1]["final"], false);
    let wanted = json!({
        "sensor_id": "s", "hour": NOON, "count": 2, "sum": 3.0, "min": 1.0, "max": 2.0,
        "mean": 1.5, "stddev": 0.5, "first": 1.0, "last": 2.0, "bad_count": 1, "tenant": "default",
    });
    assert_eq!(dump(&app, View::HourlyAggregate, true).await[1], wanted);
}

#[tokio::test]
async fn views_of_sensors_are_by_sensor() {
    let app = app().await;
    let ids: Vec<String> = (0..300).map(|i| format!("s{i:03}")).collect();
    app.rows(ids.iter().map(|id| latest(&app, id, ts(NOON))))
        .await;
    app.rows(ids.iter().map(|id| status(&app, id))).await;
    for view in [View::LatestReading, View::SensorStatus] {
        let rows = dump(&app, view, true).await;
        let found: Vec<_> = rows
            .iter()
            .map(|row| row["sensor_id"].as_str().unwrap())
            .collect();
        assert_eq!(found, ids);
    }
    let row = &dump(&app, View::SensorStatus, true).await[0];
    assert_eq!(
        (&row["status"], &row["since"]),
        (&json!("online"), &json!(NOON))
    );
}

#[tokio::test]
async fn alerts_are_open_then_cleared_by_start() {
    let app = app().await;
    write_alerts(
        &app,
        vec![
            alert("c2", "s", "2022-06-02T00:00:00Z", false),
            alert("c1", "s", "2022-05-02T00:00:00Z", false),
            alert("o1", "s", "2022-07-01T00:00:00Z", true),
        ],
    )
    .await;
    let rows = dump(&app, View::Alert, true).await;
    let ids: Vec<_> = rows
        .iter()
        .map(|row| row["alert_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["o1", "c1", "c2"]);
    for field in [
        "rule_id",
        "state",
        "severity",
        "max_severity",
        "trigger_value",
        "threshold",
    ] {
        assert!(!rows[0][field].is_null(), "{field}");
    }
    assert_eq!(rows[0].get("raised_at"), None);
}
