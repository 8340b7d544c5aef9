//! `/alerts`.

use serde_json::Value;

use crate::{
    app::{TestApp, column},
    rows::{alert, write_alerts},
};

async fn alerted() -> TestApp {
    let app = TestApp::new().await;
    let mut critical = alert("c1", "s2", "2022-06-20T00:00:00Z", false);
    critical.severity = "high".to_owned();
    critical.max_severity = "critical".to_owned();
    let mut on_asset = alert("o2", "s3", "2022-06-30T00:00:00Z", true);
    on_asset.asset_id = Some("a1".to_owned());
    on_asset.severity = "critical".to_owned();
    write_alerts(
        &app,
        vec![
            alert("o1", "s1", "2022-05-01T00:00:00Z", true),
            on_asset,
            critical,
            alert("c2", "s1", "2022-06-01T00:00:00Z", false),
            alert("c3", "s1", "2022-04-01T00:00:00Z", false),
        ],
    )
    .await;
    app
}

async fn ids(app: &TestApp, query: &str) -> Vec<Value> {
    column(
        &app.ok(&format!("/api/v1/alerts?{query}")).await,
        "alert_id",
    )
}

#[tokio::test]
async fn open_and_cleared_are_one_list_by_start() {
    let app = alerted().await;
    assert_eq!(ids(&app, "").await, ["o2", "c1", "c2", "o1", "c3"]);
    assert_eq!(
        ids(&app, "sort=raised_at").await,
        ["c3", "o1", "c2", "c1", "o2"]
    );
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = app.ok(&format!("/api/v1/alerts?limit=2{cursor}")).await;
        seen.extend(column(&page, "alert_id"));
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["o2", "c1", "c2", "o1", "c3"]);
}

#[tokio::test]
async fn filters_hold_together() {
    let app = alerted().await;
    assert_eq!(ids(&app, "state=open").await, ["o2", "o1"]);
    assert_eq!(ids(&app, "state=cleared&sensor=s1").await, ["c2", "c3"]);
    assert_eq!(ids(&app, "sensor_id=s2,s3").await, ["o2", "c1"]);
    assert_eq!(ids(&app, "severity=warning").await, ["c2", "o1", "c3"]);
    assert_eq!(ids(&app, "min_severity=high").await, ["o2", "c1"]);
    assert_eq!(ids(&app, "asset_id=a1").await, ["o2"]);
    assert_eq!(ids(&app, "rule_id=other").await, Vec::<Value>::new());
    let span = "opened_from=2022-05-01T00:00:00Z&opened_to=2022-06-20T00:00:00Z";
    assert_eq!(ids(&app, span).await, ["c2", "o1"]);
    let page = app
        .ok("/api/v1/alerts?count=true&limit=1&state=cleared")
        .await;
    assert_eq!(page["total"], 3);
    let twice = "/api/v1/alerts?sensor=a&sensor_id=b";
    app.refused(twice, 400, "malformed-request").await;
    app.refused("/api/v1/alerts?severity=awful", 400, "malformed-request")
        .await;
}

#[tokio::test]
async fn an_alert_that_moves_is_met_once() {
    let app = alerted().await;
    // Between the partitions' writes it stands in both.
    write_alerts(&app, vec![alert("o1", "s1", "2022-05-01T00:00:00Z", false)]).await;
    let all = ids(&app, "").await;
    assert_eq!(all, ["o2", "c1", "c2", "o1", "c3"]);
    assert_eq!(app.ok("/api/v1/alerts?count=true").await["total"], 5);
}

#[tokio::test]
async fn an_alert_is_found_by_its_id() {
    let app = alerted().await;
    let open = app.ok("/api/v1/alerts/o2").await;
    assert_eq!(open["state"], "open");
    assert_eq!(open["finality"], "provisional");
    assert_eq!(open["title"], "s3 above 80: 90");
    assert_eq!(open["trigger_pos"]["offset"], 7);
    assert_eq!(open["end_ts"], Value::Null);
    let cleared = app.ok("/api/v1/alerts/c1").await;
    assert_eq!(cleared["max_severity"], "critical");
    assert_eq!(cleared["end_ts"], "2022-06-20T00:01:00.000Z");
    app.refused("/api/v1/alerts/none", 404, "not-found").await;
}
