//! View `alert`: the open ones, then the cleared ones, each by start and id.

use openinfra_schemas::SensorId;
use openinfra_store::{
    KeyBuf, Range, Row, range_rows,
    tables::views::{AlertMonthRow, AlertRow},
};
use serde::Serialize;

use super::{DumpError, Place, Source, line::Rows};
use crate::{merge::Merge, wire::Ts};

const CHUNK: usize = 256;

#[derive(Serialize)]
struct Line<'a> {
    alert_id: &'a str,
    sensor_id: &'a SensorId,
    rule_id: &'a str,
    state: &'a str,
    severity: &'a str,
    max_severity: &'a str,
    start_ts: Ts,
    end_ts: Option<Ts>,
    trigger_value: Option<f64>,
    threshold: Option<f64>,
    last_value: Option<f64>,
    count: i64,
    asset_id: Option<&'a str>,
    rule_version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    raised_at: Option<Ts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger_partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detected_at: Option<Ts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<Ts>,
    tenant: &'a str,
}

pub(super) async fn dump(source: Source<'_>, out: &mut Rows<'_>) -> Result<(), DumpError> {
    for range in source.rest_of_sequence(partitions(source).await?) {
        let mut rows = Merge::<AlertRow>::new(source.store, vec![range], CHUNK).await?;
        while let Some(row) = rows.next().await? {
            out.push(&line(&source, &row), || Place::of(&row)).await?;
            if out.is_full() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The open ones' partition, then those of the months that have cleared ones.
async fn partitions(source: Source<'_>) -> Result<Vec<Range>, DumpError> {
    let tenant = KeyBuf::new().text(source.tenant.as_str());
    let months = Range::partition(AlertMonthRow::TABLE, tenant.clone().into_bytes());
    let months = range_rows::<AlertMonthRow>(source.store, &months).await?;
    let cleared = months.iter().map(|month| ("cleared", month.month));
    let all = std::iter::once(("open", -1)).chain(cleared);
    let partition = |(state, month)| tenant.clone().text(state).int(month).into_bytes();
    Ok(all
        .map(|at| Range::partition(AlertRow::TABLE, partition(at)))
        .collect())
}

fn line<'a>(source: &Source<'_>, row: &'a AlertRow) -> Line<'a> {
    Line {
        alert_id: &row.alert_id,
        sensor_id: &row.sensor_id,
        rule_id: &row.rule_id,
        state: &row.state,
        severity: &row.severity,
        max_severity: &row.max_severity,
        start_ts: Ts(row.start_ts),
        end_ts: row.end_ts.map(Ts),
        trigger_value: row.trigger_value,
        threshold: row.threshold,
        last_value: row.last_value,
        count: row.count,
        asset_id: row.asset_id.as_deref(),
        rule_version: row.rule_version,
        raised_at: source.unless_by_content(Ts(row.raised_at)),
        trigger_partition: source.unless_by_content(row.trigger_partition),
        trigger_offset: source.unless_by_content(row.trigger_offset),
        detected_at: source.unless_by_content(Ts(row.detected_at)),
        tick: source.unless_by_content(Ts(row.tick)),
        tenant: row.tenant.as_str(),
    }
}
