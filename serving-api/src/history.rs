//! A sensor's readings and hours in a span of event time, in pages.
//!
//! Tables are partitioned by hour and by day; the sensor's calendar says which days have anything, and
//! hours are read in batches that grow, so that neither a short page nor a long silence costs much.

use openinfra_schemas::{
    SensorId, TenantId,
    time::{HOUR_MS, Millis, day_of, hour_of, month_of},
};
use openinfra_store::{
    Edge, KeyBuf, Range, Row, Store, StoreError, range_many_rows, range_rows,
    tables::views::{HourlyAggregateRow, ReadingRow, SensorDaysRow},
};
use serde::{Deserialize, Serialize};

use crate::calendar::{DAY_MS, days_of};

/// A sensor and where its rows are.
#[derive(Debug, Clone)]
pub struct Place {
    pub tenant: TenantId,
    pub bucket: i32,
    pub sensor_id: SensorId,
}

/// `from <= event_ts < to`; of hours those that begin in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub from: Millis,
    pub to: Millis,
    pub descending: bool,
}

/// A value in force.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    pub row: ReadingRow,
    /// Whether another value stood at this event time before.
    pub corrected: bool,
}

/// Rows, and what of the span is left when there may be more.
#[derive(Debug, Clone)]
pub struct Found<T> {
    pub rows: Vec<T>,
    pub rest: Option<Span>,
}

/// The most hours that are read at once.
const MAX_BATCH: usize = 24;

/// The readings in force in a span that pass a test, at most `limit`.
pub async fn readings(
    store: &dyn Store,
    place: &Place,
    span: Span,
    limit: usize,
    passes: impl Fn(&ReadingRow) -> bool,
) -> Result<Found<InForce>, StoreError> {
    let days = days(store, place, span).await?;
    let mut hours: Vec<Millis> = days
        .into_iter()
        .flat_map(|day| (0..24).map(move |hour| day + hour * HOUR_MS))
        .filter(|hour| *hour >= hour_of(span.from) && *hour < span.to)
        .collect();
    if span.descending {
        hours.reverse();
    }
    let mut found = Vec::new();
    let mut batch = 1;
    let mut rest = hours.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(batch.min(rest.len()));
        let ranges: Vec<Range> = now.iter().map(|hour| place.hour(*hour, span)).collect();
        let rows = range_many_rows::<ReadingRow>(store, &ranges).await?;
        for reading in in_force(rows, span.descending) {
            if !passes(&reading.row) {
                continue;
            }
            if found.len() == limit {
                let rest = span.behind(found.last().map(|r: &InForce| r.row.event_ts));
                return Ok(Found { rows: found, rest });
            }
            found.push(reading);
        }
        rest = later;
        batch = (batch * 2).min(MAX_BATCH);
    }
    Ok(Found {
        rows: found,
        rest: None,
    })
}

/// The hours that begin in a span and have readings, at most `limit`.
pub async fn hours(
    store: &dyn Store,
    place: &Place,
    span: Span,
    limit: usize,
) -> Result<Found<HourlyAggregateRow>, StoreError> {
    let mut days = days(store, place, span).await?;
    if span.descending {
        days.reverse();
    }
    let mut found: Vec<HourlyAggregateRow> = Vec::new();
    for batch in days.chunks(31) {
        let ranges: Vec<Range> = batch.iter().map(|day| place.day(*day, span)).collect();
        for row in range_many_rows::<HourlyAggregateRow>(store, &ranges).await? {
            if found.len() == limit {
                let rest = span.behind(found.last().map(|row| row.hour));
                return Ok(Found { rows: found, rest });
            }
            found.push(row);
        }
    }
    Ok(Found {
        rows: found,
        rest: None,
    })
}

/// Starts of the days of a span in which the sensor has readings, ascending.
async fn days(store: &dyn Store, place: &Place, span: Span) -> Result<Vec<Millis>, StoreError> {
    if span.from >= span.to {
        return Ok(Vec::new());
    }
    if hour_of(span.from) == hour_of(span.to - 1) {
        // One partition to look into: the calendar costs as much as it could save.
        return Ok(vec![day_of(span.from)]);
    }
    let month = |ts| place.sensor().int(month_of(ts)).into_bytes();
    let range = Range {
        from: Edge::Before(month(span.from)),
        to: Edge::After(month(span.to - 1)),
        ..Range::partition(SensorDaysRow::TABLE, place.bucket().into_bytes())
    };
    let months = range_rows::<SensorDaysRow>(store, &range).await?;
    let days = months
        .into_iter()
        .flat_map(|row| days_of(row.month, row.days))
        .filter(|day| *day >= day_of(span.from) && *day < span.to);
    Ok(days.collect())
}

/// The last by offset of the rows of each event time, in the order that the rows have.
pub fn in_force(rows: Vec<ReadingRow>, descending: bool) -> impl Iterator<Item = InForce> {
    let mut rows = rows.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut row = rows.next()?;
        let mut corrected = false;
        while let Some(next) = rows.next_if(|next| next.event_ts == row.event_ts) {
            corrected = true;
            // Ascending, the greatest offset comes last, else first.
            if !descending {
                row = next;
            }
        }
        Some(InForce { row, corrected })
    })
}

impl Place {
    fn bucket(&self) -> KeyBuf {
        KeyBuf::new().text(self.tenant.as_str()).int(self.bucket)
    }

    fn sensor(&self) -> KeyBuf {
        KeyBuf::new().text(self.sensor_id.as_str())
    }

    /// The sensor's readings of an hour that lie in the span.
    pub fn hour(&self, hour: Millis, span: Span) -> Range {
        let partition = self.bucket().bigint(hour).into_bytes();
        self.between(
            Range::partition(ReadingRow::TABLE, partition),
            (hour, hour + HOUR_MS),
            span,
        )
    }

    /// The sensor's hours of a day that begin in the span.
    pub fn day(&self, day: Millis, span: Span) -> Range {
        let partition = self.bucket().bigint(day).into_bytes();
        self.between(
            Range::partition(HourlyAggregateRow::TABLE, partition),
            (day, day + DAY_MS),
            span,
        )
    }

    fn between(&self, all: Range, window: (Millis, Millis), span: Span) -> Range {
        let at = |ts| self.sensor().bigint(ts).into_bytes();
        Range {
            from: Edge::Before(at(window.0.max(span.from))),
            to: Edge::Before(at(window.1.min(span.to))),
            descending: span.descending,
            ..all
        }
    }
}

impl Span {
    /// What of the span lies behind a time that was answered.
    fn behind(self, last: Option<Millis>) -> Option<Self> {
        let last = last?;
        Some(match self.descending {
            true => Self { to: last, ..self },
            false => Self {
                from: last + 1,
                ..self
            },
        })
    }
}
