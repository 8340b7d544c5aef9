//! What the city is made of: the same for the same settings.
//!
//! What a newcomer would get wrong: sensors are not all alike. One in twenty keeps crossing its
//! thresholds, so that alerts open and clear for everyone to see; some fall silent, send twice or send
//! late, as real ones do.

use std::time::Duration;

use super::{Settings, curve::Curve};

/// Degrees around which the city lies.
const CENTRE: (f64, f64) = (77.5946, 12.9716);

/// A kind of asset, and the quantities that are measured on it.
struct Kind {
    name: &'static str,
    quantities: &'static [Quantity],
}

/// One quantity: what it is, how it goes over a day, and where it becomes worrying.
struct Quantity {
    name: &'static str,
    unit: &'static str,
    base: f64,
    /// How far a day carries it up and down.
    daily: f64,
    /// The hour, in UTC, at which it is highest.
    peak_hour: f64,
    noise: f64,
}

const fn quantity(
    name: &'static str,
    unit: &'static str,
    (base, daily, peak_hour, noise): (f64, f64, f64, f64),
) -> Quantity {
    Quantity {
        name,
        unit,
        base,
        daily,
        peak_hour,
        noise,
    }
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "pump",
        quantities: &[
            quantity("pressure", "bar", (4.5, 0.4, 2.0, 0.03)),
            quantity("flow", "m3/h", (120.0, 45.0, 7.0, 2.0)),
            quantity("vibration", "mm/s", (1.8, 0.3, 7.0, 0.08)),
        ],
    },
    Kind {
        name: "lamp",
        quantities: &[
            quantity("power", "W", (38.0, 36.0, 20.0, 0.4)),
            quantity("voltage", "V", (230.0, 3.0, 3.0, 0.5)),
        ],
    },
    Kind {
        name: "air",
        quantities: &[
            quantity("pm2.5", "ug/m3", (22.0, 9.0, 2.0, 0.8)),
            quantity("no2", "ug/m3", (30.0, 14.0, 4.0, 1.0)),
            quantity("temperature", "degC", (24.0, 5.0, 9.0, 0.1)),
            quantity("humidity", "%RH", (62.0, 15.0, 0.0, 0.5)),
        ],
    },
    Kind {
        name: "river",
        quantities: &[
            quantity("level", "m", (2.4, 0.2, 12.0, 0.01)),
            quantity("discharge", "m3/s", (48.0, 6.0, 12.0, 0.6)),
        ],
    },
    Kind {
        name: "main",
        quantities: &[
            quantity("pressure", "bar", (3.6, 0.5, 21.0, 0.02)),
            quantity("flow", "m3/h", (60.0, 32.0, 7.0, 1.2)),
        ],
    },
    Kind {
        name: "transformer",
        quantities: &[
            quantity("load", "kVA", (310.0, 120.0, 14.0, 6.0)),
            quantity("oil_temperature", "degC", (58.0, 9.0, 15.0, 0.3)),
            quantity("vibration", "mm/s", (0.9, 0.1, 14.0, 0.04)),
        ],
    },
];

/// How a sensor behaves besides measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    Steady,
    /// Its value keeps leaving the range.
    Restless,
    /// Says nothing for a minute and a half in every three.
    Silent,
    /// Sends each message twice.
    Repeating,
    /// Keeps its messages back and sends twenty of them at once.
    Late,
}

/// One sensor.
#[derive(Debug, Clone)]
pub struct Device {
    pub sensor_id: String,
    pub sensor_type: &'static str,
    pub unit: &'static str,
    pub asset_id: String,
    pub longitude: f64,
    pub latitude: f64,
    pub curve: Curve,
    pub habit: Habit,
    /// Differs from sensor to sensor, so that they do not all send at one instant. Below 1.
    pub phase: f64,
}

/// All sensors of the city.
#[derive(Debug, Clone)]
pub struct Plan {
    pub devices: Vec<Device>,
    pub interval: Duration,
}

impl Plan {
    pub fn new(settings: Settings) -> Self {
        let mut devices = Vec::new();
        for number in 0..settings.assets {
            let kind = &KINDS[number as usize % KINDS.len()];
            let asset_id = format!("{}-{:03}", kind.name, number as usize / KINDS.len() + 1);
            let place = mix(settings.seed, u64::from(number));
            for quantity in kind.quantities {
                let seed = mix(settings.seed, devices.len() as u64 ^ 0x5eed);
                devices.push(device(&asset_id, place, quantity, seed, devices.len()));
            }
        }
        Self {
            devices,
            interval: settings.interval,
        }
    }

    /// The share of one of several gateways.
    pub fn devices_of(&self, number: usize, gateways: usize) -> Vec<Device> {
        self.devices
            .iter()
            .skip(number)
            .step_by(gateways)
            .cloned()
            .collect()
    }
}

fn device(asset_id: &str, place: u64, quantity: &Quantity, seed: u64, number: usize) -> Device {
    let habit = match number % 60 {
        7 | 27 | 47 => Habit::Restless,
        33 if number % 120 == 33 => Habit::Silent,
        51 if number % 120 == 51 => Habit::Repeating,
        53 if number % 240 == 53 => Habit::Late,
        _ => Habit::Steady,
    };
    Device {
        sensor_id: format!("{asset_id}/{}", quantity.name),
        sensor_type: quantity.name,
        unit: quantity.unit,
        asset_id: asset_id.to_owned(),
        longitude: CENTRE.0 + (unit(place) - 0.5) * 0.2,
        latitude: CENTRE.1 + (unit(mix(place, 1)) - 0.5) * 0.2,
        curve: Curve {
            base: quantity.base,
            daily: quantity.daily,
            peak_hour: quantity.peak_hour,
            noise: quantity.noise,
            restless: habit == Habit::Restless,
            seed,
        },
        habit,
        phase: unit(mix(seed, 2)),
    }
}

/// A number that depends on both, and looks like no other (SplitMix64).
pub fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed ^ number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number from 0 to below 1.
pub fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SETTINGS: Settings = Settings {
        assets: 220,
        interval: Duration::from_secs(1),
        seed: 7,
    };

    #[test]
    fn the_default_city_is_large_enough_and_has_everyone_in_it() {
        let plan = Plan::new(SETTINGS);
        let assets: HashSet<_> = plan.devices.iter().map(|d| &d.asset_id).collect();
        let ids: HashSet<_> = plan.devices.iter().map(|d| &d.sensor_id).collect();
        assert!(assets.len() >= 200 && plan.devices.len() >= 500);
        assert_eq!(ids.len(), plan.devices.len());
        for habit in [
            Habit::Restless,
            Habit::Silent,
            Habit::Repeating,
            Habit::Late,
        ] {
            assert!(
                plan.devices.iter().filter(|d| d.habit == habit).count() >= 2,
                "{habit:?}"
            );
        }
    }

    #[test]
    fn gateways_share_all_devices() {
        let plan = Plan::new(SETTINGS);
        let shares: usize = (0..4).map(|n| plan.devices_of(n, 4).len()).sum();
        assert_eq!(shares, plan.devices.len());
    }
}
