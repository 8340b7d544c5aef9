//! View `readings`: the value in force at each event time, by sensor and event time.
//!
//! Tables are partitioned by hour across sensors, the dump goes sensor by sensor: the calendars of all
//! buckets, merged, give the sensors in order and the days in which each has rows.

use openinfra_schemas::{
    SensorId,
    time::{HOUR_MS, Millis},
};
use openinfra_store::{
    range_many_rows,
    tables::views::{ReadingRow, SensorDaysRow},
};
use serde::Serialize;

use super::{DumpError, Source, line::Lines};
use crate::{
    calendar::days_of,
    history::{Place, Span, in_force},
    merge::Merge,
    wire::Ts,
};

#[derive(Serialize)]
struct Line<'a> {
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
    tick: Option<Ts>,
    tenant: &'a str,
}

/// How many rows of each bucket's calendar are in memory.
const CHUNK: usize = 64;
/// A span that leaves nothing out.
pub(super) const ALL: Span = Span {
    from: Millis::MIN,
    to: Millis::MAX,
    descending: false,
};

pub(super) async fn dump(source: Source<'_>, lines: &mut Lines<'_>) -> Result<(), DumpError> {
    let ranges = source.buckets::<SensorDaysRow>();
    let mut months = Merge::<SensorDaysRow>::new(source.store, ranges, CHUNK).await?;
    while let Some(month) = months.next().await? {
        for day in days_of(month.month, month.days) {
            dump_day(source, &place_of(&month), day, lines).await?;
        }
    }
    Ok(())
}

/// The sensor of a calendar's row.
pub(super) fn place_of(month: &SensorDaysRow) -> Place {
    Place {
        tenant: month.tenant.clone(),
        bucket: month.bucket,
        sensor_id: month.sensor_id.clone(),
    }
}

async fn dump_day(
    source: Source<'_>,
    place: &Place,
    day: Millis,
    lines: &mut Lines<'_>,
) -> Result<(), DumpError> {
    let hours = (0..24).map(|hour| place.hour(day + hour * HOUR_MS, ALL));
    let ranges: Vec<_> = hours.collect();
    let rows = range_many_rows::<ReadingRow>(source.store, &ranges).await?;
    for reading in in_force(rows, false) {
        let row = &reading.row;
        let line = Line {
            sensor_id: &row.sensor_id,
            event_ts: Ts(row.event_ts),
            value: row.value,
            quality: row.quality.as_str(),
            unit: row.unit.as_deref(),
            recv_ts: source.unless_by_content(Ts(row.recv_ts)),
            offset: source.unless_by_content(row.offset),
            tick: source.unless_by_content(Ts(row.tick)),
            tenant: row.tenant.as_str(),
        };
        lines.push(&line).await?;
    }
    Ok(())
}
