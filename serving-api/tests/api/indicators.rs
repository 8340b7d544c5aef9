//! `/indicators`.

use openinfra_store::tables::views::IndicatorRow;
use serde_json::json;

use crate::app::{NOON, TestApp, tenant, ts};

#[tokio::test]
async fn a_count_without_a_row_is_zero() {
    let app = TestApp::new().await;
    app.rows([IndicatorRow {
        tenant: tenant(),
        name: "sensors_total".to_owned(),
        value: 5,
        tick: ts(NOON),
    }])
    .await;
    let all = app.ok("/api/v1/indicators").await;
    assert_eq!(all["indicators"]["sensors_total"], 5);
    assert_eq!(all["indicators"]["alerts_open_critical"], 0);
    assert_eq!(all["indicators"].as_object().unwrap().len(), 11);
    let some = app
        .ok("/api/v1/indicators?names=alerts_open,sensors_total")
        .await;
    assert_eq!(
        some["indicators"],
        json!({"alerts_open": 0, "sensors_total": 5})
    );
    app.refused("/api/v1/indicators?names=weather", 400, "malformed-request")
        .await;
}
