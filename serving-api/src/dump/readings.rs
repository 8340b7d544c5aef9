//! View `readings`: the value in force at each event time, by sensor and event time.
//!
//! Tables are partitioned by hour across sensors, the dump goes sensor by sensor: the calendars of all
//! buckets, merged, give the sensors in order and the days in which each has rows.

use openinfra_schemas::{
    SensorId,
    time::{HOUR_MS, Millis, month_of},
};
use openinfra_store::{
    Edge, KeyBuf, range_many_rows,
    tables::views::{ReadingRow, SensorDaysRow},
};
use serde::Serialize;

use super::{DumpError, Place, Source, line::Rows};
use crate::{
    calendar::{DAY_MS, days_of},
    history::{Place as SensorPlace, Span, in_force},
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
const ALL: Span = Span {
    from: Millis::MIN,
    to: Millis::MAX,
    descending: false,
};

pub(super) async fn dump(source: Source<'_>, out: &mut Rows<'_>) -> Result<(), DumpError> {
    let mut months = months(source, CHUNK).await?;
    while let Some(month) = months.next().await? {
        let (place, span, days) = part_of(source, &month);
        for day in days {
            dump_day(source, &place, day, span, out).await?;
            if out.is_full() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The calendars of all buckets, from the sensor and month on where the dump begins.
pub(super) async fn months(
    source: Source<'_>,
    chunk: usize,
) -> Result<Merge<'_, SensorDaysRow>, DumpError> {
    let mut ranges = source.buckets::<SensorDaysRow>();
    if let Some(Place::Time(sensor, ts)) = source.after {
        let month = KeyBuf::new().text(sensor.as_str()).int(month_of(*ts));
        let month = month.into_bytes();
        for range in &mut ranges {
            range.from = Edge::Before(month.clone());
        }
    }
    Ok(Merge::new(source.store, ranges, source.chunk(chunk)).await?)
}

/// The sensor of a calendar's row, and which of its time and of the month's days are to be dumped.
pub(super) fn part_of(
    source: Source<'_>,
    month: &SensorDaysRow,
) -> (SensorPlace, Span, Vec<Millis>) {
    let place = SensorPlace {
        tenant: month.tenant.clone(),
        bucket: month.bucket,
        sensor_id: month.sensor_id.clone(),
    };
    let span = match source.after {
        Some(after) => after.rest_of_time(&month.sensor_id, ALL),
        None => ALL,
    };
    let days = days_of(month.month, month.days);
    let days = days.filter(|day| day.saturating_add(DAY_MS) > span.from);
    (place, span, days.collect())
}

async fn dump_day(
    source: Source<'_>,
    place: &SensorPlace,
    day: Millis,
    span: Span,
    out: &mut Rows<'_>,
) -> Result<(), DumpError> {
    let hours = (0..24).map(|hour| day + hour * HOUR_MS);
    let hours = hours.filter(|hour| hour.saturating_add(HOUR_MS) > span.from);
    let ranges: Vec<_> = hours.map(|hour| place.hour(hour, span)).collect();
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
        let at = || Place::Time(row.sensor_id.clone(), row.event_ts);
        out.push(&line, at).await?;
        if out.is_full() {
            break;
        }
    }
    Ok(())
}
