//! What an alert is called: its id is a function of what it is about, so that replays agree.

use uuid::Uuid;

use crate::{
    ids::{SensorId, TenantId},
    time::Millis,
};

/// The rule that every sensor's own thresholds make.
pub const BUILTIN_THRESHOLDS: &str = "builtin:thresholds";

/// A reading takes part in rules when it was received at most so long after its event time.
pub const DEFAULT_CORRECTION_WINDOW_MS: i64 = 600_000;

/// The namespace of alert ids: random, and fixed for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b0a_1f0e_5c0e_5d5b_9f6e_0a51_7c2e_44d1);

/// The id of the episode of a rule on a sensor that starts at `start_ts`: a UUIDv5, lower case.
pub fn alert_id(tenant: &TenantId, rule: &str, sensor: &SensorId, start_ts: Millis) -> String {
    // A tenant and a rule hold no `/`; the time stands before the sensor, whose id may.
    let name = format!("{tenant}/{rule}/{start_ts}/{sensor}");
    Uuid::new_v5(&NAMESPACE, name.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_where_the_episode_does() {
        let id = |tenant, sensor, ts| {
            alert_id(
                &TenantId::trusted(tenant),
                BUILTIN_THRESHOLDS,
                &SensorId::trusted(sensor),
                ts,
            )
        };
        assert_eq!(id("a", "s", 1), id("a", "s", 1));
        assert_ne!(id("a", "s", 1), id("a", "s", 2));
        assert_ne!(id("a", "s", 1), id("b", "s", 1));
        assert_ne!(id("a", "1/s", 1), id("a", "s", 1));
    }
}
