//! Maintains `asset_health`: the worst open alert on each asset, and how its sensors are.
//!
//! * **Input** `facts`: one for each listed sensor and each open alert.
//! * **Output** `((tenant, asset), columns)`, a row for each asset that a listed sensor or an open alert
//!   names; retracted when none does.
//! * **Time** the tick, totally ordered; final once the input frontier is beyond it.
//! * **State** one arrangement of facts by asset and one of the rows: as many entries as assets have
//!   distinct classes.
//! * **Faults** none.
//! * **Source** McSherry, Murray, Isaacs, Isard, "Differential dataflow", CIDR 2013.

use std::sync::Arc;

use differential_dataflow::VecCollection;
use openinfra_schemas::TenantId;

use crate::change::AssetHealthColumns;

use super::facts::{Class, Connectivity, Fact, SEVERITIES};

/// What rows are keyed by.
pub type AssetKey = (TenantId, Arc<str>);

/// The rows of all assets.
pub fn asset_health<'scope>(
    facts: VecCollection<'scope, u64, Fact>,
) -> VecCollection<'scope, u64, (AssetKey, AssetHealthColumns)> {
    facts
        .flat_map(|fact| {
            fact.asset_id
                .map(|asset| ((fact.tenant, asset), fact.class))
        })
        .reduce_named("asset_health", |_asset, classes, rows| {
            let mut columns = AssetHealthColumns::default();
            for (class, count) in classes {
                add(&mut columns, **class, *count as i64);
            }
            rows.push((columns, 1));
        })
}

fn add(columns: &mut AssetHealthColumns, class: Class, count: i64) {
    match class {
        Class::Sensor { status, stale } => {
            columns.sensors_total += count;
            columns.sensors_stale += if stale { count } else { 0 };
            match status {
                Connectivity::NeverSeen => columns.sensors_never_seen += count,
                Connectivity::Online => columns.sensors_online += count,
                Connectivity::Offline => columns.sensors_offline += count,
            }
        }
        Class::Alert { severity } => {
            columns.open_alerts[usize::from(severity)] += count;
            let worst = columns.open_alerts.iter().rposition(|open| *open > 0);
            columns.worst_severity = worst.map(|place| SEVERITIES[place]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        input::TickInput,
        views::{
            alert,
            definition::entity_at,
            sensor_status,
            testing::{check, logs},
        },
    };

    fn recompute(log: &[TickInput]) -> BTreeMap<(TenantId, String), AssetHealthColumns> {
        let now = log.last().unwrap().tick;
        let mut rows: BTreeMap<_, AssetHealthColumns> = BTreeMap::new();
        for (key, status) in sensor_status::tests::recompute(log) {
            let Some(asset) = entity_at(log, &key, now).and_then(|entity| entity.asset_id) else {
                continue;
            };
            let row = rows.entry((key.0, asset)).or_default();
            row.sensors_total += 1;
            row.sensors_online += i64::from(status.status == "online");
            row.sensors_offline += i64::from(status.status == "offline");
            row.sensors_never_seen += i64::from(status.status == "never_seen");
            row.sensors_stale += i64::from(status.stale_since.is_some());
        }
        for alert in alert::tests::recompute(log)
            .into_values()
            .filter(|alert| alert.key.open)
        {
            let Some(asset) = alert.asset_id else {
                continue;
            };
            let row = rows.entry((alert.tenant, asset)).or_default();
            let place = SEVERITIES
                .iter()
                .position(|name| *name == alert.severity)
                .unwrap();
            row.open_alerts[place] += 1;
            let worst = row
                .worst_severity
                .and_then(|w| SEVERITIES.iter().position(|name| *name == w));
            row.worst_severity = Some(SEVERITIES[worst.map_or(place, |worst| worst.max(place))]);
        }
        rows
    }

    proptest! {
        #[test]
        fn is_its_definition(log in logs()) {
            check(&log, |views| views.health.clone(), recompute);
        }
    }
}
