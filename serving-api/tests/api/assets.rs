//! `/assets/{id}/health`.

use openinfra_schemas::key::partition_of;
use openinfra_store::tables::views::{ASSET_SHARDS, AssetHealthRow};
use serde_json::json;

use crate::app::{NOON, TestApp, tenant, ts};

#[tokio::test]
async fn an_asset_says_what_its_sensors_say() {
    let app = TestApp::new().await;
    let id = "pump house/3";
    app.rows([AssetHealthRow {
        tenant: tenant(),
        shard: partition_of(id.as_bytes(), ASSET_SHARDS),
        asset_id: id.to_owned(),
        worst_severity: Some("high".to_owned()),
        alerts_info: 0,
        alerts_low: 0,
        alerts_medium: 2,
        alerts_high: 1,
        alerts_critical: 0,
        sensors_total: 4,
        sensors_online: 2,
        sensors_offline: 1,
        sensors_stale: 1,
        sensors_never_seen: 1,
        tick: ts(NOON),
    }])
    .await;
    let health = app.ok("/api/v1/assets/pump%20house%2F3/health").await;
    let wanted = json!({
        "asset_id": id,
        "worst_severity": "high",
        "open_alerts": {"info": 0, "low": 0, "medium": 2, "high": 1, "critical": 0},
        "sensors": {"total": 4, "online": 2, "offline": 1, "stale": 1, "never_seen": 1},
        "as_of": NOON,
    });
    assert_eq!(health, wanted);
    app.refused("/api/v1/assets/none/health", 404, "not-found")
        .await;
}
