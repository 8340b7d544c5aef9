//! The rows of sensors in the tables that hold one or a few for each: what the definitions give, sensor by
//! sensor. The former lie by partition of the log, the latter by bucket.

use std::collections::{BTreeMap, BTreeSet};

use openinfra_schemas::{
    TenantId,
    key::partition_of_bucket,
    time::{HOUR_MS, Millis},
};
use openinfra_store::{
    KeyBuf, Range, Row,
    tables::views::{
        HourlyAggregateRow, LatestReadingRow, OfflineEpisodeRow, SensorDaysRow, SensorIndexRow,
        SensorSeenRow, SensorStatusRow, month_of,
    },
};

use crate::{
    VerifyError,
    compare::{Comparer, Expected},
    entities::Entities,
    sensor::{Extras, SensorLog},
    ticks::Ticks,
    walk::{Silence, walk},
};

use super::{
    Totals, alerts,
    alerts::Alerts,
    hourly, latest,
    lists::{self, Listed},
    outcome,
    rollups::Share,
    status::{self, Status},
};

const DAY_MS: Millis = 24 * HOUR_MS;

/// The rows of one tenant's sensors in one partition of the log: one at most of each sensor in each table.
#[derive(Debug)]
pub(crate) struct SingleRows {
    latest: Expected,
    status: Expected,
    seen: Expected,
}

impl SingleRows {
    pub(crate) fn new(tenant: &TenantId, log_partition: i32) -> Self {
        let place = KeyBuf::new().text(tenant.as_str()).int(log_partition);
        Self {
            latest: Expected::partition::<LatestReadingRow>(place.clone()),
            status: Expected::partition::<SensorStatusRow>(place.clone()),
            seen: Expected::partition::<SensorSeenRow>(place),
        }
    }

    pub(crate) async fn compare(self, compare: &mut Comparer<'_>) -> Result<(), VerifyError> {
        compare.ranges::<LatestReadingRow>([self.latest]).await?;
        compare.ranges::<SensorStatusRow>([self.status]).await?;
        compare.ranges::<SensorSeenRow>([self.seen]).await?;
        Ok(())
    }
}

/// The rows of one tenant's sensors in one bucket.
#[derive(Debug)]
pub(crate) struct SensorRows {
    place: KeyBuf,
    episodes: Expected,
    days: Expected,
    hours: BTreeMap<Millis, Expected>,
    named_days: BTreeSet<Millis>,
}

impl SensorRows {
    pub(crate) fn new(tenant: &TenantId, bucket: i32) -> Self {
        let place = KeyBuf::new().text(tenant.as_str()).int(bucket);
        Self {
            episodes: Expected::partition::<OfflineEpisodeRow>(place.clone()),
            days: Expected::partition::<SensorDaysRow>(place.clone()),
            hours: BTreeMap::new(),
            named_days: BTreeSet::new(),
            place,
        }
    }

    /// Adds the rows of a sensor whose messages are decided; what is counted over sensors goes to `totals`.
    pub(crate) fn add(
        &mut self,
        sensor: &SensorLog,
        extras: &[Extras],
        entities: &Entities,
        ticks: &Ticks,
        singles: &mut SingleRows,
        totals: &mut Totals,
    ) {
        if let Some(row) = latest::row(sensor, extras) {
            singles.latest.push(&row);
        }
        let taken = outcome::by_event_time(&sensor.messages);
        for row in hourly::days(sensor, &taken) {
            self.named_days.extend(days_of(&row));
            self.days.push(&row);
        }
        let horizon = |tick| entities.guards(&sensor.tenant, tick).horizon_ms;
        for row in hourly::rows(sensor, &taken, horizon) {
            let place = self.place.clone().bigint(row.day);
            self.hours
                .entry(row.day)
                .or_insert_with(|| Expected::partition::<HourlyAggregateRow>(place))
                .push(&row);
        }
        let alerts = alerts::episodes(sensor, partition_of_bucket(sensor.bucket));
        let last = follow(sensor, &alerts, ticks, totals);
        if let Some((tick, status)) = last.status {
            singles.status.push(&status_row(sensor, &status, tick));
        }
        for silence in &last.silences {
            self.episodes.push(&closed_row(sensor, silence));
        }
        if let Some((tick, offline_since)) = last.silent {
            self.episodes.push(&open_row(sensor, offline_since, tick));
        }
        if let Some(row) = last.seen {
            singles.seen.push(&row);
        }
        if let Some(row) = last.index {
            totals.index(&row);
        }
        totals.alerts(alerts.rows);
    }

    /// Compares all of them; says in which days readings are to be looked for.
    pub(crate) async fn compare(
        mut self,
        compare: &mut Comparer<'_>,
    ) -> Result<BTreeSet<Millis>, VerifyError> {
        let place = self.place.clone().into_bytes();
        let of_bucket = Range::partition(SensorDaysRow::TABLE, place.clone());
        for row in compare.store().range(&of_bucket).await? {
            // One that does not decode differs, which is told where it is compared.
            if let Ok(row) = SensorDaysRow::decode(&place, &row.clustering, &row.value) {
                self.named_days.extend(days_of(&row));
            }
        }
        for day in &self.named_days {
            let place = self.place.clone().bigint(*day);
            self.hours
                .entry(*day)
                .or_insert_with(|| Expected::partition::<HourlyAggregateRow>(place));
        }
        compare.ranges::<OfflineEpisodeRow>([self.episodes]).await?;
        compare.ranges::<SensorDaysRow>([self.days]).await?;
        compare
            .ranges::<HourlyAggregateRow>(self.hours.into_values())
            .await?;
        Ok(self.named_days)
    }
}

/// What stands of a sensor at the last tick, each with the tick that brought it.
#[derive(Default)]
struct Last {
    status: Option<(Millis, Status)>,
    /// Since when the outage that is not over lasts.
    silent: Option<(Millis, Millis)>,
    listed: Option<(Millis, Listed)>,
    index: Option<SensorIndexRow>,
    seen: Option<SensorSeenRow>,
    silences: Vec<Silence>,
}

/// Follows a sensor through its ticks, and says what its share of the rollups is at each.
fn follow(sensor: &SensorLog, alerts: &Alerts, ticks: &Ticks, totals: &mut Totals) -> Last {
    let mut last = Last::default();
    let mut share = Share::default();
    let mut open_alerts = alerts.open.iter().peekable();
    let mut open_alert = None;
    let silences = walk(sensor, ticks, |tick, known| {
        let status = status::at(known, tick);
        let listed = status.as_ref().map(|status| Listed::of(known, status));
        keep(&mut last.status, status, tick);
        keep(&mut last.silent, status::silent_since(known, tick), tick);
        if keep(&mut last.listed, listed, tick) {
            last.index = listed.map(|listed| lists::index(sensor, known, listed, tick));
        }
        last.seen = lists::seen(sensor, known);
        while let Some((_, severity)) = open_alerts.next_if(|(at, _)| *at <= tick) {
            open_alert = *severity;
        }
        let asset = known.entity.and_then(|entity| entity.asset_id.as_deref());
        let now = Share::new(asset, listed, open_alert);
        if now != share {
            totals.rollups().change(&sensor.tenant, tick, share, now);
            share = now;
        }
    });
    last.silences = silences;
    last
}

/// Notes a change; says whether there was one.
fn keep<T: PartialEq>(kept: &mut Option<(Millis, T)>, now: Option<T>, tick: Millis) -> bool {
    let is_same = kept.as_ref().map(|(_, kept)| kept) == now.as_ref();
    if !is_same {
        *kept = now.map(|now| (tick, now));
    }
    !is_same
}

fn status_row(sensor: &SensorLog, status: &Status, tick: Millis) -> SensorStatusRow {
    SensorStatusRow {
        tenant: sensor.tenant.clone(),
        log_partition: partition_of_bucket(sensor.bucket),
        sensor_id: sensor.id.clone(),
        status: status.status.to_owned(),
        since: status.since,
        offline_since: status.offline_since,
        timeout_ms: status.timeout_ms,
        reason: status.reason.map(str::to_owned),
        stale_since: status.stale_since,
        tick,
        last_recv_ts: status.last_recv,
    }
}

fn closed_row(sensor: &SensorLog, silence: &Silence) -> OfflineEpisodeRow {
    OfflineEpisodeRow {
        recovered_at: Some(silence.recovered_at),
        gap_ms: Some(silence.recovered_at - silence.offline_since),
        ..open_row(sensor, silence.offline_since, silence.tick)
    }
}

fn open_row(sensor: &SensorLog, offline_since: Millis, tick: Millis) -> OfflineEpisodeRow {
    OfflineEpisodeRow {
        tenant: sensor.tenant.clone(),
        bucket: sensor.bucket,
        sensor_id: sensor.id.clone(),
        offline_since,
        recovered_at: None,
        gap_ms: None,
        tick,
    }
}

/// The days that a row of `sensor_days` names.
fn days_of(row: &SensorDaysRow) -> impl Iterator<Item = Millis> + use<> {
    let (first, days) = (month_start(row.month), row.days);
    (0..31)
        .filter(move |day| days & (1 << day) != 0)
        .filter_map(move |day| Some(first? + day * DAY_MS))
}

/// The first day of a month that is counted from 1970-01; none far outside the years that times have.
fn month_start(month: i32) -> Option<Millis> {
    if !(-30_000..120_000).contains(&month) {
        return None;
    }
    // No month is longer than 31 days, so that the middle of a mean month lies in it or next to it.
    let near = (f64::from(month) * 30.436_875) as i64 * DAY_MS;
    let mut day = near - near.rem_euclid(DAY_MS) - 3 * DAY_MS;
    while month_of(day) < month {
        day += DAY_MS;
    }
    while month_of(day - DAY_MS) >= month {
        day -= DAY_MS;
    }
    Some(day)
}

#[cfg(test)]
mod tests {
    use openinfra_schemas::{TenantId, time::day_of};

    use super::*;

    #[test]
    fn months_start_where_the_calendar_says() {
        for month in -24_000..100_000 {
            let start = month_start(month).expect("within the years that times have");
            assert_eq!((month_of(start), month_of(start - 1)), (month, month - 1));
            assert_eq!(day_of(start), start);
        }
        assert_eq!(month_start(i32::MAX), None);
        let row = SensorDaysRow {
            tenant: TenantId::trusted("t"),
            bucket: 0,
            sensor_id: openinfra_schemas::SensorId::trusted("s"),
            month: 1,
            days: 0b101,
        };
        assert_eq!(
            days_of(&row).collect::<Vec<_>>(),
            [31 * DAY_MS, 33 * DAY_MS]
        );
    }
}
