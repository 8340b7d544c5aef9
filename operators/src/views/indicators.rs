//! Maintains `indicators`: the counts a dashboard shows first, by tenant and name.
//!
//! * **Input** `facts`: one for each listed sensor and each open alert.
//! * **Output** `((tenant, name), count)`; a count that falls to 0 is retracted.
//! * **Time** the tick, totally ordered, so that `count_total` answers from its input alone.
//! * **State** one arrangement, a row for each tenant and name.
//! * **Faults** none.
//! * **Source** McSherry, Murray, Isaacs, Isard, "Differential dataflow", CIDR 2013.

use differential_dataflow::{VecCollection, operators::CountTotal};
use openinfra_schemas::TenantId;

use super::facts::{Class, Fact, SEVERITIES};

/// What is counted, and for whom.
pub type IndicatorKey = (TenantId, String);

/// The counts of all tenants.
pub fn indicators<'scope>(
    facts: VecCollection<'scope, u64, Fact>,
) -> VecCollection<'scope, u64, (IndicatorKey, isize)> {
    facts
        .flat_map(|fact| {
            let tenant = fact.tenant;
            names(fact.class)
                .into_iter()
                .map(move |name| (tenant.clone(), name))
        })
        .count_total()
}

/// The indicators that one fact counts in.
fn names(class: Class) -> Vec<String> {
    match class {
        Class::Sensor { status, stale } => {
            let mut names = vec![
                "sensors_total".to_owned(),
                format!("sensors_{}", status.as_str()),
            ];
            if stale {
                names.push("sensors_stale".to_owned());
            }
            names
        }
        Class::Alert { severity } => vec![
            "alerts_open".to_owned(),
            format!("alerts_open_{}", SEVERITIES[usize::from(severity)]),
        ],
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
            alert, sensor_status,
            testing::{check, logs},
        },
    };

    fn recompute(log: &[TickInput]) -> BTreeMap<(TenantId, String), i64> {
        let mut counts: BTreeMap<_, i64> = BTreeMap::new();
        let mut count = |tenant: &TenantId, name: String| {
            *counts.entry((tenant.clone(), name)).or_default() += 1;
        };
        for ((tenant, _), status) in sensor_status::tests::recompute(log) {
            count(&tenant, "sensors_total".to_owned());
            count(&tenant, format!("sensors_{}", status.status));
            if status.stale_since.is_some() {
                count(&tenant, "sensors_stale".to_owned());
            }
        }
        for alert in alert::tests::recompute(log)
            .into_values()
            .filter(|alert| alert.key.open)
        {
            count(&alert.tenant, "alerts_open".to_owned());
            count(&alert.tenant, format!("alerts_open_{}", alert.severity));
        }
        counts
    }

    proptest! {
        #[test]
        fn is_its_definition(log in logs()) {
            check(&log, |views| views.indicators.clone(), recompute);
        }
    }
}
