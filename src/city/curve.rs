//! What a sensor measures at a time: a daily curve, noise, and for some an excursion now and then.
//!
//! What a newcomer would get wrong: there is no state. The value at a time is a function of the seed and
//! the time, so that a city that is started again goes on where it would have been.

use std::f64::consts::TAU;

use openinfra_schemas::time::Millis;

use super::plan::{mix, unit};

const DAY_MS: Millis = 86_400_000;
/// An excursion comes once in so long, lasts a part of it, and is over before the next.
const EXCURSION_EVERY_MS: Millis = 40_000;
const EXCURSION_LASTS_MS: Millis = 12_000;

/// How one sensor's values go.
#[derive(Debug, Clone, Copy)]
pub struct Curve {
    pub base: f64,
    pub daily: f64,
    /// The hour, in UTC, at which it is highest.
    pub peak_hour: f64,
    pub noise: f64,
    pub restless: bool,
    pub seed: u64,
}

/// The limits that fit a curve: it stays within them but for its excursions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub warning_max: f64,
    pub critical_max: f64,
    pub deadband: f64,
}

impl Curve {
    /// The value at a time, in milliseconds since the epoch, rounded as an instrument does.
    pub fn at(&self, ts: Millis) -> f64 {
        let hours = ts.rem_euclid(DAY_MS) as f64 / 3_600_000.0;
        let day = self.daily * ((hours - self.peak_hour) / 24.0 * TAU).cos();
        // Twelve uniform numbers would be a better bell; three look like one.
        let noise: f64 = (0..3).map(|n| unit(self.random(ts as u64, n)) - 0.5).sum();
        let value = self.base + day + noise * self.noise * 2.0 + self.excursion(ts);
        (value * 1_000.0).round() / 1_000.0
    }

    /// Limits above everything that a calm day brings.
    pub fn limits(&self) -> Limits {
        let calm_max = self.base + self.daily + 3.0 * self.noise;
        let step = self.step();
        Limits {
            warning_max: calm_max + step,
            critical_max: calm_max + 3.0 * step,
            deadband: step / 2.0,
        }
    }

    /// How far apart limits lie.
    fn step(&self) -> f64 {
        2.0 * self.noise + 0.1 * self.daily
    }

    fn excursion(&self, ts: Millis) -> f64 {
        let shift = self.random(0, 9) % EXCURSION_EVERY_MS as u64;
        let since = ts + shift as Millis;
        if !self.restless || since.rem_euclid(EXCURSION_EVERY_MS) >= EXCURSION_LASTS_MS {
            return 0.0;
        }
        // Every third one is critical. Whatever the hour, it reaches from here past the limits.
        let critical = (since / EXCURSION_EVERY_MS) % 3 == 0;
        let beyond = if critical { 5.0 } else { 2.0 };
        2.0 * self.daily + 6.0 * self.noise + beyond * self.step()
    }

    fn random(&self, time: u64, number: u64) -> u64 {
        mix(mix(self.seed, time), number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(restless: bool) -> Curve {
        Curve {
            base: 4.5,
            daily: 0.4,
            peak_hour: 2.0,
            noise: 0.03,
            restless,
            seed: 11,
        }
    }

    #[test]
    fn a_calm_sensor_never_crosses_its_limits() {
        let calm = curve(false);
        let limits = calm.limits();
        assert!(
            (0..DAY_MS)
                .step_by(10_007)
                .all(|ts| calm.at(ts) < limits.warning_max)
        );
    }

    #[test]
    fn a_restless_one_opens_and_clears_an_alert_within_any_minute() {
        let restless = curve(true);
        let limits = restless.limits();
        for minute in (0..DAY_MS).step_by(3_600_000) {
            let beyond = |ts: &Millis| restless.at(*ts) > limits.warning_max;
            let clear = |ts: &Millis| restless.at(*ts) <= limits.warning_max - limits.deadband;
            let seconds: Vec<Millis> = (minute..minute + 60_000).step_by(1_000).collect();
            let opened = seconds.iter().position(beyond);
            assert!(opened.is_some(), "no alert from {minute} on");
            assert!(seconds.iter().any(clear), "never clear from {minute} on");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_values() {
        assert_eq!(
            curve(true).at(1_000).to_bits(),
            curve(true).at(1_000).to_bits()
        );
        assert_ne!(
            curve(false).at(1_000).to_bits(),
            curve(false).at(2_000).to_bits()
        );
    }
}
