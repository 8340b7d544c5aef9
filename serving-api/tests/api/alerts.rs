//! `/alerts`.

use serde_json::Value;

use crate::{
    app::{TestApp, column, pages},
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
    let seen = pages(&app, "/api/v1/alerts?limit=2", "alert_id").await;
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
    assert_eq!(ids(&app, "has_asset_id=true").await, ["o2"]);
    assert_eq!(ids(&app, "q=S3+above").await, ["o2"]);
    assert_eq!(
        ids(&app, "status=active&type=threshold_exceeded")
            .await
            .len(),
        5
    );
    assert_eq!(ids(&app, "status=acknowledged").await, Vec::<Value>::new());
    assert_eq!(ids(&app, "source_type=offline").await, Vec::<Value>::new());
    assert_eq!(
        ids(&app, "updated_from=2022-07-01T12:00:00.001Z")
            .await
            .len(),
        0
    );
    assert_eq!(
        ids(&app, "updated_from=2022-07-01T12:00:00Z").await.len(),
        5
    );
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
    // What it became is told, whichever way the list goes.
    for sort in ["raised_at", "-raised_at", "end_ts", "-severity"] {
        let page = app.ok(&format!("/api/v1/alerts?sort={sort}")).await;
        let moved = page["items"].as_array().unwrap().iter();
        let moved: Vec<_> = moved.filter(|alert| alert["alert_id"] == "o1").collect();
        assert_eq!(moved.len(), 1, "{sort}");
        assert_eq!(moved[0]["state"], "cleared", "{sort}");
    }
}

#[tokio::test]
async fn sorted_by_severity_and_by_end() {
    let app = alerted().await;
    let sorted = async |sort: &str| {
        let path = format!("/api/v1/alerts?limit=2&sort={sort}");
        pages(&app, &path, "alert_id").await
    };
    assert_eq!(sorted("severity").await, ["c2", "c3", "o1", "c1", "o2"]);
    assert_eq!(sorted("-severity").await, ["o2", "c1", "o1", "c3", "c2"]);
    // What is open ends after everything else.
    assert_eq!(sorted("end_ts").await, ["c3", "c2", "c1", "o1", "o2"]);
    assert_eq!(sorted("-end_ts").await, ["o2", "o1", "c1", "c2", "c3"]);
    assert_eq!(
        ids(&app, "sort=-end_ts&state=cleared&limit=1").await,
        ["c1"]
    );
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
