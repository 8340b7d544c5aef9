//! `asset_health` and `indicators`: how many sensors and open alerts there are of each kind, by asset and by
//! tenant.
//!
//! A newcomer would count at the end only. A row says at which tick it last changed, so the counts are
//! kept as differences by tick, and added up.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use openinfra_schemas::{TenantId, key::murmur2, time::Millis};
use openinfra_store::tables::views::{ASSET_SHARDS, AssetHealthRow, IndicatorRow};

use super::{alerts::SEVERITIES, lists::Listed};

/// What is counted: five kinds of sensor, then open alerts by severity.
const KINDS: usize = 10;
const TOTAL: usize = 0;
const ONLINE: usize = 1;
const OFFLINE: usize = 2;
const NEVER_SEEN: usize = 3;
const STALE: usize = 4;
const ALERTS: usize = 5;

type Counts = [i64; KINDS];
type Changes = BTreeMap<Millis, Counts>;

/// What one sensor counts as at the end of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Share<'a> {
    asset: Option<&'a str>,
    counts: Counts,
}

impl<'a> Share<'a> {
    /// Of a sensor as lists show it, if they do, and its open alert.
    pub(crate) fn new(
        asset: Option<&'a str>,
        listed: Option<Listed>,
        alert: Option<usize>,
    ) -> Self {
        let mut counts = Counts::default();
        if let Some(listed) = listed {
            counts[TOTAL] = 1;
            counts[STALE] = i64::from(listed.is_stale);
            counts[match listed.status {
                "online" => ONLINE,
                "offline" => OFFLINE,
                _ => NEVER_SEEN,
            }] = 1;
        }
        if let Some(severity) = alert {
            counts[ALERTS + severity] = 1;
        }
        // Who counts as nothing is on no asset.
        let asset = asset.filter(|_| counts != Counts::default());
        Self { asset, counts }
    }
}

/// How all counts changed.
#[derive(Debug, Default)]
pub(crate) struct Rollups {
    tenants: HashMap<TenantId, Changes>,
    assets: HashMap<(TenantId, String), Changes>,
}

impl Rollups {
    /// A sensor counts as `now` from a tick on, and no longer as `before`.
    pub(crate) fn change(
        &mut self,
        tenant: &TenantId,
        tick: Millis,
        before: Share<'_>,
        now: Share<'_>,
    ) {
        for (share, sign) in [(before, -1), (now, 1)] {
            if share.counts == Counts::default() {
                continue;
            }
            let of_tenant = self.tenants.entry(tenant.clone()).or_default();
            add(of_tenant.entry(tick).or_default(), &share.counts, sign);
            if let Some(asset) = share.asset {
                let key = (tenant.clone(), asset.to_owned());
                let of_asset = self.assets.entry(key).or_default();
                add(of_asset.entry(tick).or_default(), &share.counts, sign);
            }
        }
    }

    /// The rows of all assets that a sensor or an open alert names.
    pub(crate) fn asset_health(&self) -> Vec<AssetHealthRow> {
        let row = |((tenant, asset), changes): (&(TenantId, String), &Changes)| {
            let (tick, counts) = last_change(changes, |counts| *counts)?;
            Some(asset_row(tenant, asset, &counts, tick))
        };
        self.assets.iter().filter_map(row).collect()
    }

    /// The rows of all counts that are not 0.
    pub(crate) fn indicators(&self) -> Vec<IndicatorRow> {
        let mut rows = Vec::new();
        for (tenant, changes) in &self.tenants {
            for (name, kinds) in indicators() {
                let value = |counts: &Counts| counts[kinds.clone()].iter().sum::<i64>();
                if let Some((tick, value)) = last_change(changes, value) {
                    rows.push(IndicatorRow {
                        tenant: tenant.clone(),
                        name,
                        value,
                        tick,
                    });
                }
            }
        }
        rows
    }
}

/// Names of counts, and the kinds whose sum each is.
fn indicators() -> Vec<(String, Range<usize>)> {
    let of_one = |kind: usize| kind..kind + 1;
    let mut all: Vec<(String, Range<usize>)> = vec![
        ("sensors_total".to_owned(), of_one(TOTAL)),
        ("sensors_online".to_owned(), of_one(ONLINE)),
        ("sensors_offline".to_owned(), of_one(OFFLINE)),
        ("sensors_never_seen".to_owned(), of_one(NEVER_SEEN)),
        ("sensors_stale".to_owned(), of_one(STALE)),
        ("alerts_open".to_owned(), ALERTS..KINDS),
    ];
    for (place, severity) in SEVERITIES.iter().enumerate() {
        all.push((format!("alerts_open_{severity}"), of_one(ALERTS + place)));
    }
    all
}

fn add(sum: &mut Counts, more: &Counts, sign: i64) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += sign * more;
    }
}

/// What a count has come to, and the tick that brought it there; none when that is nothing.
fn last_change<T: PartialEq + Default + Copy>(
    changes: &Changes,
    value: impl Fn(&Counts) -> T,
) -> Option<(Millis, T)> {
    let mut sum = Counts::default();
    let mut last = (Millis::MIN, T::default());
    for (tick, change) in changes {
        add(&mut sum, change, 1);
        let now = value(&sum);
        if now != last.1 {
            last = (*tick, now);
        }
    }
    (last.1 != T::default()).then_some(last)
}

fn asset_row(tenant: &TenantId, asset: &str, counts: &Counts, tick: Millis) -> AssetHealthRow {
    let worst = (0..SEVERITIES.len()).rev().find(|s| counts[ALERTS + s] > 0);
    let [info, low, medium, high, critical] = std::array::from_fn(|s| counts[ALERTS + s]);
    AssetHealthRow {
        tenant: tenant.clone(),
        shard: (murmur2(asset.as_bytes()) % ASSET_SHARDS as u32) as i32,
        asset_id: asset.to_owned(),
        worst_severity: worst.map(|severity| SEVERITIES[severity].to_owned()),
        alerts_info: info,
        alerts_low: low,
        alerts_medium: medium,
        alerts_high: high,
        alerts_critical: critical,
        sensors_total: counts[TOTAL],
        sensors_online: counts[ONLINE],
        sensors_offline: counts[OFFLINE],
        sensors_stale: counts[STALE],
        sensors_never_seen: counts[NEVER_SEEN],
        tick,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_of_the_tick_that_changed_it_last() {
        let tenant = TenantId::trusted("t");
        let mut rollups = Rollups::default();
        let none = Share::default();
        let alerting = |severity| Share::new(Some("pump"), None, Some(severity));
        rollups.change(&tenant, 10, none, alerting(2));
        rollups.change(&tenant, 20, alerting(2), alerting(4));
        // Two sensors that change places at one tick change nothing.
        rollups.change(&tenant, 30, alerting(4), none);
        rollups.change(&tenant, 30, none, alerting(4));
        let rows: Vec<_> = rollups
            .indicators()
            .into_iter()
            .map(|row| (row.name, row.value, row.tick))
            .collect();
        let expected = [("alerts_open", 1, 10), ("alerts_open_critical", 1, 20)];
        assert_eq!(
            rows,
            expected.map(|(name, n, tick)| (name.to_owned(), n, tick))
        );
        let health = rollups.asset_health();
        assert_eq!(health[0].worst_severity.as_deref(), Some("critical"));
        assert_eq!((health[0].alerts_critical, health[0].tick), (1, 20));
        rollups.change(&tenant, 40, alerting(4), none);
        assert!(rollups.indicators().is_empty());
        assert!(rollups.asset_health().is_empty());
    }
}
