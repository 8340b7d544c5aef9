//! The views that have a row, or some, for each sensor: by sensor id.

use openinfra_schemas::SensorId;
use openinfra_store::{
    Row,
    tables::views::{LatestReadingRow, OfflineEpisodeRow, SensorSeenRow, SensorStatusRow},
};
use serde::Serialize;

use super::{DumpError, Place, Source, line::Rows};
use crate::{merge::Merge, wire::Ts};

const CHUNK: usize = 128;

#[derive(Serialize)]
struct LatestLine<'a> {
    sensor_id: &'a SensorId,
    event_ts: Ts,
    value: Option<f64>,
    quality: &'static str,
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recv_ts: Option<Ts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_recv_ts: Option<Ts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<Ts>,
    tenant: &'a str,
}

/// View `latest_reading`.
pub(super) async fn latest(source: Source<'_>, out: &mut Rows<'_>) -> Result<(), DumpError> {
    let mut rows = merged::<LatestReadingRow>(source).await?;
    while let Some(row) = rows.next().await? {
        let line = LatestLine {
            sensor_id: &row.sensor_id,
            event_ts: Ts(row.event_ts),
            value: row.value,
            quality: row.quality.as_str(),
            unit: row.unit.as_deref(),
            recv_ts: source.unless_by_content(Ts(row.recv_ts)),
            offset: source.unless_by_content(row.offset),
            last_recv_ts: source.unless_by_content(Ts(row.last_recv_ts)),
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
struct StatusLine<'a> {
    sensor_id: &'a SensorId,
    status: &'a str,
    since: Ts,
    offline_since: Option<Ts>,
    timeout_ms: i64,
    reason: Option<&'a str>,
    stale_since: Option<Ts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_recv_ts: Option<Option<Ts>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<Ts>,
    tenant: &'a str,
}

/// View `sensor_status`.
pub(super) async fn status(source: Source<'_>, out: &mut Rows<'_>) -> Result<(), DumpError> {
    let mut rows = merged::<SensorStatusRow>(source).await?;
    while let Some(row) = rows.next().await? {
        let line = StatusLine {
            sensor_id: &row.sensor_id,
            status: &row.status,
            since: Ts(row.since),
            offline_since: row.offline_since.map(Ts),
            timeout_ms: row.timeout_ms,
            reason: row.reason.as_deref(),
            stale_since: row.stale_since.map(Ts),
            last_recv_ts: source.unless_by_content(row.last_recv_ts.map(Ts)),
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
struct EpisodeLine<'a> {
    sensor_id: &'a SensorId,
    offline_since: Ts,
    recovered_at: Option<Ts>,
    gap_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<Ts>,
    tenant: &'a str,
}

/// View `offline_episode`.
pub(super) async fn episodes(source: Source<'_>, out: &mut Rows<'_>) -> Result<(), DumpError> {
    let mut rows: Merge<'_, OfflineEpisodeRow> = Merge::new(
        source.store,
        source.buckets::<OfflineEpisodeRow>(),
        source.chunk(CHUNK),
    )
    .await?;
    while let Some(row) = rows.next().await? {
        let line = EpisodeLine {
            sensor_id: &row.sensor_id,
            offline_since: Ts(row.offline_since),
            recovered_at: row.recovered_at.map(Ts),
            gap_ms: row.gap_ms,
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
struct SeenLine<'a> {
    sensor_id: &'a SensorId,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_recv_ts: Option<Ts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_recv_ts: Option<Ts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<Ts>,
    tenant: &'a str,
}

/// View `sensor_seen`.
pub(super) async fn seen(source: Source<'_>, out: &mut Rows<'_>) -> Result<(), DumpError> {
    let mut rows = merged::<SensorSeenRow>(source).await?;
    while let Some(row) = rows.next().await? {
        let line = SeenLine {
            sensor_id: &row.sensor_id,
            first_recv_ts: source.unless_by_content(Ts(row.first_recv_ts)),
            last_recv_ts: source.unless_by_content(Ts(row.last_recv_ts)),
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

/// The rows of a view that has one for each sensor.
async fn merged<R: Row>(source: Source<'_>) -> Result<Merge<'_, R>, DumpError> {
    let partitions = source.shards::<R>(source.dump.partitions);
    Ok(Merge::new(source.store, partitions, source.chunk(CHUNK)).await?)
}
