//! `/ledger` and `/ledger/summary`.

use openinfra_store::tables::views::{LedgerRow, LedgerSummaryRow};
use serde_json::{Value, json};

use crate::app::{NOON, TestApp, column, pages, tenant, ts};

fn refused(reason: &str, topic: &str, partition: i32, offset: i64, sensor: &str) -> LedgerRow {
    LedgerRow {
        tenant: tenant(),
        reason: reason.to_owned(),
        topic: topic.to_owned(),
        log_partition: partition,
        offset,
        detail: "why".to_owned(),
        source: if topic == "ledger" { "mqtt" } else { "http" }.to_owned(),
        sensor_id: Some(sensor.to_owned()),
        event_ts: None,
        recv_ts: Some(ts(NOON) + offset),
        payload: b"\xffraw".to_vec(),
        tick: ts(NOON),
    }
}

async fn refusing() -> TestApp {
    let app = TestApp::new().await;
    let mut rows = vec![
        refused("undecodable", "ledger", 31, 0, "a"),
        refused("invalid", "ledger", 2, 5, "a"),
        refused("late_beyond_horizon", "readings", 7, 1, "b"),
    ];
    rows.extend((0..600).map(|offset| refused("clock_future", "readings", 4, offset, "c")));
    app.rows(rows).await;
    app
}

async fn reasons(app: &TestApp, query: &str) -> Vec<Value> {
    column(&app.ok(&format!("/api/v1/ledger?{query}")).await, "reason")
}

#[tokio::test]
async fn what_was_refused_is_listed_with_its_bytes() {
    let app = refusing().await;
    let page = app.ok("/api/v1/ledger?reason=undecodable").await;
    let wanted = json!({
        "topic": "ledger", "partition": 31, "offset": 0, "reason": "undecodable",
        "detail": "why", "source": "mqtt", "sensor_id": "a", "event_ts": null,
        "recv_ts": NOON, "payload_base64": "/3Jhdw==", "readmitted_at": null,
    });
    assert_eq!(page["items"], json!([wanted]));
    assert_eq!(page["next_cursor"], Value::Null);
}

#[tokio::test]
async fn pages_give_each_once() {
    let app = refusing().await;
    let mut seen = Vec::new();
    for field in ["reason", "partition", "offset"] {
        seen.push(pages(&app, "/api/v1/ledger?limit=100", field).await);
    }
    let seen: Vec<String> = (0..seen[0].len())
        .map(|i| format!("{}/{}/{}", seen[0][i], seen[1][i], seen[2][i]))
        .collect();
    assert_eq!(seen.len(), 603);
    let mut unique = seen.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), 603);
}

#[tokio::test]
async fn filters_hold_together() {
    let app = refusing().await;
    assert_eq!(
        reasons(&app, "source=mqtt").await,
        ["invalid", "undecodable"]
    );
    assert_eq!(
        reasons(&app, "topic=readings&sensor_id=b").await,
        ["late_beyond_horizon"]
    );
    assert_eq!(
        reasons(&app, "reason=invalid,undecodable&sensor_id=a")
            .await
            .len(),
        2
    );
    let from = "from=2022-07-01T12:00:00.599Z";
    assert_eq!(reasons(&app, from).await, ["clock_future"]);
    assert_eq!(reasons(&app, "to=2022-07-01T12:00:00.000Z").await.len(), 0);
    let page = app
        .ok("/api/v1/ledger?count=true&limit=1&reason=clock_future")
        .await;
    assert_eq!(page["total"], 600);
    let page = app
        .ok("/api/v1/ledger?source=mqtt&fields=reason,offset&limit=1")
        .await;
    assert_eq!(page["items"], json!([{"reason": "invalid", "offset": 5}]));
    let later = "updated_from=2022-07-01T12:00:00.001Z";
    assert_eq!(reasons(&app, later).await, Vec::<Value>::new());
    app.refused("/api/v1/ledger?reason=weather", 400, "malformed-request")
        .await;
}

#[tokio::test]
async fn a_page_of_large_payloads_is_short() {
    let app = TestApp::new().await;
    let large = (0..12).map(|offset| LedgerRow {
        payload: vec![0; 1 << 20],
        ..refused("invalid", "ledger", 2, offset, "a")
    });
    app.rows(large.collect::<Vec<_>>()).await;
    let page = app.ok("/api/v1/ledger?limit=1000").await;
    assert_eq!(column(&page, "offset").len(), 9);
    assert!(page["next_cursor"].is_string());
    let all = pages(&app, "/api/v1/ledger?limit=1000", "offset").await;
    assert_eq!(all.len(), 12);
}

#[tokio::test]
async fn the_summary_adds_up() {
    let app = TestApp::new().await;
    let row = |source: &str, accepted, late| LedgerSummaryRow {
        tenant: tenant(),
        source: source.to_owned(),
        log_records: accepted + late + 3,
        accepted,
        duplicates: 2,
        corrections: 1,
        undecodable: 0,
        invalid: 0,
        schema_rejected: 0,
        unknown_tenant: 0,
        late_beyond_horizon: late,
        clock_future: 0,
        unknown_sensor: 0,
        server_ts: 1,
        tick: ts(NOON),
    };
    app.rows([row("http", 10, 4), row("mqtt", 5, 0)]).await;
    let summary = app.ok("/api/v1/ledger/summary").await;
    assert_eq!(summary["log_records"], 25);
    assert_eq!(summary["accepted"], 15);
    assert_eq!(summary["duplicates"], 4);
    assert_eq!(summary["corrections"], 2);
    assert_eq!(summary["refused"]["late_beyond_horizon"], 4);
    assert_eq!(summary["refused"].as_object().unwrap().len(), 7);
    assert_eq!(summary.get("by_source"), None);
    let summary = app.ok("/api/v1/ledger/summary?by_source=true").await;
    assert_eq!(summary["by_source"]["mqtt"]["accepted"], 5);
}
