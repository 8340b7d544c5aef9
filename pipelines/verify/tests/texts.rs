//! Texts that are longer than any store takes them, as only writers other than ours make them.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use common::{Folder, now, reading};
use openinfra_schemas::{LedgerEntry, Reason, TenantId, Topic};
use openinfra_store::{
    KeyBuf, Range, Row, range_rows,
    tables::{LEDGER_DETAIL_BYTES, LEDGER_PAYLOAD_BYTES, views::LedgerRow},
};

fn entry(tenant: &str, source: &str, detail: &str) -> LedgerEntry {
    LedgerEntry {
        tenant: TenantId::trusted(tenant),
        source: source.to_owned(),
        reason: Reason::Undecodable.as_str().to_owned(),
        detail: detail.to_owned(),
        origin: "/ingest".to_owned(),
        sensor_id: Some("s".repeat(100_000)),
        event_ts: None,
        recv_ts: now(),
        payload: vec![1; LEDGER_PAYLOAD_BYTES + 9],
    }
}

async fn rows(folder: &Folder, reason: Reason) -> Vec<LedgerRow> {
    let mut rows = Vec::new();
    for partition in 0..openinfra_testing::PARTITIONS {
        let key = KeyBuf::new().text("city").text(reason.as_str());
        let key = key.text(Topic::Ledger.name()).int(partition).into_bytes();
        let range = Range::partition(LedgerRow::TABLE, key);
        rows.extend(range_rows(&*folder.store, &range).await.unwrap());
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_store_takes_is_refused_or_cut() {
    let folder = Folder::new().await;
    let long = "x".repeat(70_000);
    for (tenant, source, detail) in [
        ("city", "http", &*long),
        ("", "http", ""),
        (&long, "http", ""),
        ("city", &long, ""),
    ] {
        folder.append_refused(&entry(tenant, source, detail)).await;
    }
    let mut unit = reading("city", "a", now(), 1.0);
    unit.unit = Some(long.clone());
    let mut source = reading("city", "a", now(), 1.0);
    source.source = long.clone();
    folder.append_readings(&[unit, source]).await;
    folder.append_bytes(Topic::Readings, &long, b"?").await;
    folder.catch_up().await;

    let report = folder.verify().await;
    assert!(report.equal, "{report:#?}");
    assert_eq!(report.refused["undecodable"], 3);
    assert_eq!(report.refused["invalid"], 4);
    let kept = rows(&folder, Reason::Undecodable).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].payload.len(), LEDGER_PAYLOAD_BYTES);
    assert!(kept[0].detail.len() < LEDGER_DETAIL_BYTES + 200);
    assert!(kept[0].sensor_id.as_ref().unwrap().len() < 2_000);
}
