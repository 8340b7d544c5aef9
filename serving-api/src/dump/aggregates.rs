//! View `hourly_aggregate`: by sensor and hour.

use openinfra_schemas::{SensorId, time::HOUR_MS};
use openinfra_store::{range_many_rows, tables::views::HourlyAggregateRow};
use serde::Serialize;

use super::{DumpError, Place, Source, line::Rows, readings};
use crate::{settings::Finality, wire::Ts};

#[derive(Serialize)]
struct Line<'a> {
    sensor_id: &'a SensorId,
    hour: Ts,
    count: i64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    mean: Option<f64>,
    stddev: Option<f64>,
    first: Option<f64>,
    last: Option<f64>,
    bad_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    late_count: Option<i64>,
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    is_final: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revised_at: Option<Option<Ts>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<Ts>,
    tenant: &'a str,
}

const CHUNK: usize = 64;

pub(super) async fn dump(source: Source<'_>, out: &mut Rows<'_>) -> Result<(), DumpError> {
    let finality = Finality::of(source.store, source.tenant, source.dump.as_of).await?;
    let mut months = readings::months(source, CHUNK).await?;
    while let Some(month) = months.next().await? {
        let (place, span, days) = readings::part_of(source, &month);
        let ranges: Vec<_> = days.into_iter().map(|day| place.day(day, span)).collect();
        for row in range_many_rows::<HourlyAggregateRow>(source.store, &ranges).await? {
            let at = || Place::Time(row.sensor_id.clone(), row.hour);
            out.push(&line(&source, &row, finality), at).await?;
            if out.is_full() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn line<'a>(source: &Source<'_>, row: &'a HourlyAggregateRow, finality: Finality) -> Line<'a> {
    Line {
        sensor_id: &row.sensor_id,
        hour: Ts(row.hour),
        count: row.count,
        sum: row.sum,
        min: row.min,
        max: row.max,
        mean: row.mean,
        stddev: row.stddev,
        first: row.first,
        last: row.last,
        bad_count: row.bad_count,
        late_count: source.unless_by_content(row.late_count),
        is_final: source.unless_by_content(finality.is_final(row.hour + HOUR_MS)),
        revised_at: source.unless_by_content(row.revised_at.map(Ts)),
        tick: source.unless_by_content(Ts(row.tick)),
        tenant: row.tenant.as_str(),
    }
}
