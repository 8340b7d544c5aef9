//! The views that are of a tenant, not of its sensors: `asset_health` by asset, `indicators` by name.

use openinfra_store::{
    KeyBuf, Range, Row, range_rows,
    tables::views::{ASSET_SHARDS, AssetHealthRow, IndicatorRow},
};
use serde::Serialize;

use super::{DumpError, Place, Source, line::Rows};
use crate::{merge::Merge, wire::Ts};

const CHUNK: usize = 256;

#[derive(Serialize)]
struct AssetLine<'a> {
    asset_id: &'a str,
    worst_severity: Option<&'a str>,
    alerts_info: i64,
    alerts_low: i64,
    alerts_medium: i64,
    alerts_high: i64,
    alerts_critical: i64,
    sensors_total: i64,
    sensors_online: i64,
    sensors_offline: i64,
    sensors_stale: i64,
    sensors_never_seen: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<Ts>,
    tenant: &'a str,
}

/// View `asset_health`.
pub(super) async fn asset_health(source: Source<'_>, out: &mut Rows<'_>) -> Result<(), DumpError> {
    let ranges = source.shards::<AssetHealthRow>(ASSET_SHARDS);
    let mut rows = Merge::<AssetHealthRow>::new(source.store, ranges, source.chunk(CHUNK)).await?;
    while let Some(row) = rows.next().await? {
        let line = AssetLine {
            asset_id: &row.asset_id,
            worst_severity: row.worst_severity.as_deref(),
            alerts_info: row.alerts_info,
            alerts_low: row.alerts_low,
            alerts_medium: row.alerts_medium,
            alerts_high: row.alerts_high,
            alerts_critical: row.alerts_critical,
            sensors_total: row.sensors_total,
            sensors_online: row.sensors_online,
            sensors_offline: row.sensors_offline,
            sensors_stale: row.sensors_stale,
            sensors_never_seen: row.sensors_never_seen,
            tick: source.unless_by_content(Ts(row.tick)),
            tenant: row.tenant.as_str(),
        };
        out.push(&line, || Place::of(&row)).await?;
        if out.is_full() {
            break;
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct IndicatorLine<'a> {
    name: &'a str,
    value: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<Ts>,
    tenant: &'a str,
}

/// View `indicators`.
pub(super) async fn indicators(source: Source<'_>, out: &mut Rows<'_>) -> Result<(), DumpError> {
    let tenant = KeyBuf::new().text(source.tenant.as_str()).into_bytes();
    let range = source.rest_of(Range::partition(IndicatorRow::TABLE, tenant));
    for row in range_rows::<IndicatorRow>(source.store, &range).await? {
        let line = IndicatorLine {
            name: &row.name,
            value: row.value,
            tick: source.unless_by_content(Ts(row.tick)),
            tenant: row.tenant.as_str(),
        };
        out.push(&line, || Place::of(&row)).await?;
        if out.is_full() {
            break;
        }
    }
    Ok(())
}
