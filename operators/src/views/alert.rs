//! Maintains `alert`: episodes of the built-in rule, a sensor's own thresholds.
//!
//! * **Input** readings taken (acceptances and corrections) that are not BAD, were received at most the
//!   correction window after their event time, and are not behind the newest one evaluated, by
//!   (event time, offset); and edits of the sensor.
//! * **Output** a row for each episode. At most one is open for each sensor. Starts ascend strictly: an
//!   episode that would start at or before its predecessor's start starts a millisecond after it.
//! * **Time** an episode starts and ends at event times; one that an edit opens or ends, at the edit's
//!   tick. An end is never before its start.
//! * **State** the standing value, the levels that stand, and the open episode, for each sensor.
//! * **Faults** none.
//!
//! A level stands from when the value is strictly beyond its threshold until it is no longer beyond the
//! threshold drawn in by the deadband. The episode is open while any level stands; its severity is that
//! of the highest one.

use openinfra_schemas::{Thresholds, time::Millis};

/// A limit: above or below it a value is beyond.
#[derive(Debug, Clone, Copy)]
struct Level {
    limit: Option<f64>,
    high: bool,
    severity: Severity,
}

/// What the levels of the built-in rule are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A `warning` threshold.
    Medium,
    /// A `critical` threshold.
    Critical,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Medium => "medium",
            Self::Critical => "critical",
        }
    }
}

impl Level {
    fn stands(&self, value: f64, stood: bool, deadband: f64) -> bool {
        let Some(limit) = self.limit else {
            return false;
        };
        let slack = if stood { deadband } else { 0.0 };
        if self.high {
            value > limit - slack
        } else {
            value < limit + slack
        }
    }
}

/// The levels of a sensor's thresholds, the highest severity first.
fn levels(thresholds: &Thresholds) -> [Level; 4] {
    let level = |limit, high, severity| Level {
        limit,
        high,
        severity,
    };
    [
        level(thresholds.critical_max, true, Severity::Critical),
        level(thresholds.critical_min, false, Severity::Critical),
        level(thresholds.warning_max, true, Severity::Medium),
        level(thresholds.warning_min, false, Severity::Medium),
    ]
}

/// A reading as rules see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    pub event_ts: Millis,
    pub offset: i64,
    pub value: f64,
}

/// One episode.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    pub start_ts: Millis,
    pub raised_at: Millis,
    pub end_ts: Option<Millis>,
    pub severity: Severity,
    pub max_severity: Severity,
    pub trigger: Standing,
    /// The limit that the trigger passed, of the highest level.
    pub threshold: f64,
    pub last_value: f64,
    /// Readings evaluated while it was open, the one that raised it included.
    pub count: i64,
    pub detected_at: Millis,
    /// Version of the sensor's entity that was in force at the last evaluation while it was open.
    pub rule_version: i64,
}

/// The built-in rule on one sensor.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ThresholdRule {
    standing: Option<Standing>,
    stands: [bool; 4],
    open: Option<Episode>,
    last_start: Option<Millis>,
}

/// What an evaluation did to the open episode.
#[derive(Debug, Clone, PartialEq)]
pub enum Evaluated {
    /// Nothing is open, nor was.
    Quiet,
    /// An episode was opened, or the open one changed; [`ThresholdRule::open`] has it.
    Open,
    /// The open episode ended.
    Ended(Episode),
}

/// Thresholds in force, and the entity's version they are of.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    pub thresholds: Option<&'a Thresholds>,
    pub version: i64,
}

impl ThresholdRule {
    /// The episode that is open.
    pub fn open(&self) -> Option<&Episode> {
        self.open.as_ref()
    }

    /// Whether a reading is not behind the newest one evaluated.
    pub fn takes(&self, event_ts: Millis) -> bool {
        self.standing
            .is_none_or(|standing| event_ts >= standing.event_ts)
    }

    /// Evaluates a reading that [`takes`](Self::takes) accepted.
    pub fn reading(&mut self, reading: Standing, rule: Rule<'_>, tick: Millis) -> Evaluated {
        self.standing = Some(reading);
        let evaluated = self.evaluate(reading, reading.event_ts, rule, tick);
        if let Some(open) = &mut self.open {
            open.count += 1;
        }
        evaluated
    }

    /// Evaluates the standing value under changed thresholds; none are those of a removed sensor.
    pub fn edit(&mut self, rule: Rule<'_>, tick: Millis) -> Evaluated {
        match self.standing {
            Some(standing) => {
                let was_open = self.open.is_some();
                let evaluated = self.evaluate(standing, tick, rule, tick);
                if let (Some(open), false) = (&mut self.open, was_open) {
                    open.count = 1;
                }
                evaluated
            }
            None => Evaluated::Quiet,
        }
    }

    fn evaluate(&mut self, at: Standing, ts: Millis, rule: Rule<'_>, tick: Millis) -> Evaluated {
        let none = Thresholds::default();
        let thresholds = rule.thresholds.unwrap_or(&none);
        let deadband = thresholds.deadband.unwrap_or(0.0);
        let levels = levels(thresholds);
        for (stands, level) in self.stands.iter_mut().zip(&levels) {
            *stands = level.stands(at.value, *stands, deadband);
        }
        let highest = self.stands.iter().zip(&levels).find(|(stands, _)| **stands);
        match (highest.map(|(_, level)| *level), self.open.take()) {
            (None, None) => Evaluated::Quiet,
            (None, Some(episode)) => Evaluated::Ended(Episode {
                end_ts: Some(ts.max(episode.start_ts)),
                last_value: at.value,
                ..episode
            }),
            (Some(level), Some(episode)) => {
                self.open = Some(Episode {
                    severity: level.severity,
                    max_severity: episode.max_severity.max(level.severity),
                    last_value: at.value,
                    rule_version: rule.version,
                    ..episode
                });
                Evaluated::Open
            }
            (Some(level), None) => {
                self.open = Some(self.start(level, at, ts, rule.version, tick));
                Evaluated::Open
            }
        }
    }

    fn start(
        &mut self,
        level: Level,
        trigger: Standing,
        ts: Millis,
        rule_version: i64,
        tick: Millis,
    ) -> Episode {
        let start_ts = self.last_start.map_or(ts, |last| ts.max(last + 1));
        self.last_start = Some(start_ts);
        Episode {
            start_ts,
            raised_at: ts,
            end_ts: None,
            severity: level.severity,
            max_severity: level.severity,
            trigger,
            threshold: level.limit.expect("a level without a limit never stands"),
            last_value: trigger.value,
            count: 0,
            detected_at: tick,
            rule_version,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use openinfra_schemas::{
        Quality, Sensor, TenantId,
        alert::{BUILTIN_THRESHOLDS, alert_id},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{
        change::{AlertChange, AlertKey},
        input::TickInput,
        views::{
            definition::{decide, edits, entity_at, sensors},
            testing::{SensorKey, check, logs},
        },
    };

    /// Limits of a sensor as (limit, above, critical).
    fn limits(entity: Option<&Sensor>) -> Vec<(f64, bool, bool)> {
        let Some(t) = entity.and_then(|entity| entity.thresholds) else {
            return Vec::new();
        };
        [
            (t.critical_max, true, true),
            (t.critical_min, false, true),
            (t.warning_max, true, false),
            (t.warning_min, false, false),
        ]
        .into_iter()
        .filter_map(|(limit, above, critical)| limit.map(|limit| (limit, above, critical)))
        .collect()
    }

    /// All episodes: a walk over the evaluations of each sensor, its edits before its readings at a tick.
    pub(crate) fn recompute(log: &[TickInput]) -> BTreeMap<(TenantId, String), AlertChange> {
        let decided = decide(log);
        let now = log.last().unwrap().tick;
        let mut alerts = BTreeMap::new();
        for key in sensors(log) {
            let asset_now = entity_at(log, &key, now).and_then(|entity| entity.asset_id);
            let mut standing: Option<Standing> = None;
            let mut standing_levels: Vec<(bool, bool)> = Vec::new();
            let mut open: Option<AlertChange> = None;
            let mut last_start: Option<Millis> = None;
            for input in log {
                let tick = input.tick;
                let readings = decided.iter().filter(|d| d.tick == tick && d.is_of(&key));
                let readings = readings.filter(|d| d.is_taken()).filter_map(|d| {
                    let reading = d.reading.as_ref().unwrap();
                    let counts = reading.quality != Quality::Bad
                        && reading.recv_ts - reading.event_ts <= 600_000;
                    counts.then_some((None, Some((reading.event_ts, d.offset, reading.value))))
                });
                let changed = edits(log, &key).into_iter().filter(|(at, ..)| *at == tick);
                let changed = changed.map(|edit| (Some(edit), None));
                let mut in_force = edits(log, &key)
                    .into_iter()
                    .rfind(|(at, ..)| *at < tick)
                    .map(|(_, version, entity)| (version, entity));
                for (edit, reading) in changed.chain(readings) {
                    let ts = match (edit, reading) {
                        (Some((_, version, entity)), _) => {
                            in_force = Some((version, entity));
                            tick
                        }
                        (_, Some((event_ts, offset, value))) => {
                            if standing.is_some_and(|standing| event_ts < standing.event_ts) {
                                continue;
                            }
                            standing = Some(Standing {
                                event_ts,
                                offset,
                                value,
                            });
                            event_ts
                        }
                        _ => unreachable!("each evaluation is an edit or a reading"),
                    };
                    let Some(at) = standing else { continue };
                    let version = in_force.as_ref().map_or(0, |(version, _)| *version);
                    let entity = in_force.as_ref().and_then(|(_, entity)| entity.as_ref());
                    let deadband = entity
                        .and_then(|e| e.thresholds)
                        .and_then(|t| t.deadband)
                        .unwrap_or(0.0);
                    let beyond: Vec<_> = limits(entity)
                        .into_iter()
                        .filter(|(limit, above, critical)| {
                            let slack = if standing_levels.contains(&(*above, *critical)) {
                                deadband
                            } else {
                                0.0
                            };
                            if *above {
                                at.value > limit - slack
                            } else {
                                at.value < limit + slack
                            }
                        })
                        .collect();
                    standing_levels = beyond
                        .iter()
                        .map(|(_, above, critical)| (*above, *critical))
                        .collect();
                    let severity = match beyond.first() {
                        Some((_, _, true)) => "critical",
                        _ => "medium",
                    };
                    let asset_id = entity.and_then(|entity| entity.asset_id.clone());
                    match (beyond.first(), &mut open) {
                        (None, None) => {}
                        (None, Some(alert)) => {
                            alert.key.open = false;
                            alert.end_ts = Some(ts.max(alert.key.start_ts));
                            alert.last_value = at.value;
                            alert.asset_id = asset_id;
                            let alert = open.take().unwrap();
                            alerts.insert((key.0.clone(), alert.key.alert_id.clone()), alert);
                        }
                        (Some(_), Some(alert)) => {
                            alert.severity = severity;
                            if severity == "critical" {
                                alert.max_severity = severity;
                            }
                            alert.last_value = at.value;
                            alert.rule_version = version;
                            alert.count += i64::from(reading.is_some());
                        }
                        (Some((threshold, ..)), None) => {
                            let start_ts = last_start.map_or(ts, |last| ts.max(last + 1));
                            last_start = Some(start_ts);
                            let id = alert_id(&key.0, BUILTIN_THRESHOLDS, &key.1, start_ts);
                            open = Some(AlertChange {
                                tenant: key.0.clone(),
                                key: AlertKey {
                                    open: true,
                                    start_ts,
                                    alert_id: id,
                                },
                                before: None,
                                rule_id: BUILTIN_THRESHOLDS,
                                rule_version: version,
                                sensor_id: key.1.clone(),
                                asset_id,
                                severity,
                                max_severity: severity,
                                raised_at: ts,
                                end_ts: None,
                                trigger_value: at.value,
                                threshold: *threshold,
                                trigger_partition: partition(&key),
                                trigger_offset: at.offset,
                                last_value: at.value,
                                count: 1,
                                detected_at: tick,
                            });
                        }
                    }
                }
            }
            if let Some(alert) = open {
                let alert = AlertChange {
                    asset_id: asset_now,
                    ..alert
                };
                alerts.insert((key.0, alert.key.alert_id.clone()), alert);
            }
        }
        alerts
    }

    fn partition(key: &SensorKey) -> i32 {
        let bytes = openinfra_schemas::key::reading_key(&key.0, &key.1);
        openinfra_schemas::key::partition_of(&bytes, crate::views::testing::PARTITIONS)
    }

    proptest! {
        #[test]
        fn is_its_definition(log in logs()) {
            check(&log, |views| views.alerts.clone(), recompute);
        }

        #[test]
        fn one_open_for_each_sensor_at_most(log in logs()) {
            let mut open: Vec<_> = recompute(&log.ticks)
                .into_values()
                .filter(|alert| alert.key.open)
                .map(|alert| (alert.tenant, alert.sensor_id))
                .collect();
            let all = open.len();
            open.dedup();
            prop_assert_eq!(open.len(), all);
        }
    }

    fn thresholds(warning_max: f64, critical_max: f64, deadband: f64) -> Thresholds {
        Thresholds {
            warning_max: Some(warning_max),
            critical_max: Some(critical_max),
            deadband: Some(deadband),
            ..Thresholds::default()
        }
    }

    /// Feeds values at 1, 2, 3 …; says after each which severity is open.
    fn check_levels(thresholds: &Thresholds, steps: &[(f64, Option<Severity>)]) {
        let mut rule = ThresholdRule::default();
        for (at, (value, expected)) in (1..).zip(steps) {
            let reading = Standing {
                event_ts: at,
                offset: at,
                value: *value,
            };
            let in_force = Rule {
                thresholds: Some(thresholds),
                version: 1,
            };
            rule.reading(reading, in_force, 100 + at);
            assert_eq!(
                rule.open().map(|open| open.severity),
                *expected,
                "{value} at {at}"
            );
        }
    }

    #[test]
    fn strictly_beyond_raises_and_equality_clears() {
        use Severity::{Critical, Medium};
        check_levels(
            &thresholds(80.0, 100.0, 0.0),
            &[
                (80.0, None),
                (80.1, Some(Medium)),
                (101.0, Some(Critical)),
                (80.0, None),
            ],
        );
    }

    #[test]
    fn a_level_stands_until_drawn_in() {
        use Severity::{Critical, Medium};
        check_levels(
            &thresholds(80.0, 100.0, 5.0),
            &[
                (101.0, Some(Critical)),
                (95.1, Some(Critical)),
                (95.0, Some(Medium)),
                (75.1, Some(Medium)),
                (75.0, None),
                (79.0, None),
            ],
        );
    }

    #[test]
    fn zero_is_a_threshold() {
        let thresholds = Thresholds {
            warning_max: Some(0.0),
            ..Thresholds::default()
        };
        check_levels(
            &thresholds,
            &[(0.0, None), (0.1, Some(Severity::Medium)), (-3.0, None)],
        );
    }

    #[test]
    fn an_edit_is_evaluated_at_once_and_starts_at_its_tick() {
        let mut rule = ThresholdRule::default();
        let none = Rule {
            thresholds: None,
            version: 1,
        };
        rule.reading(
            Standing {
                event_ts: 10,
                offset: 0,
                value: 90.0,
            },
            none,
            100,
        );
        assert!(rule.open().is_none());
        let limits = thresholds(80.0, 100.0, 0.0);
        rule.edit(
            Rule {
                thresholds: Some(&limits),
                version: 2,
            },
            200,
        );
        let open = rule.open().unwrap();
        assert_eq!((open.start_ts, open.raised_at, open.count), (200, 200, 1));
        let Evaluated::Ended(ended) = rule.edit(none, 300) else {
            panic!("it must end")
        };
        assert_eq!(ended.end_ts, Some(300));
    }

    #[test]
    fn starts_ascend_and_ends_are_not_before_them() {
        let mut rule = ThresholdRule::default();
        let limits = thresholds(80.0, 100.0, 0.0);
        let in_force = Rule {
            thresholds: Some(&limits),
            version: 1,
        };
        let at = |event_ts, offset, value| Standing {
            event_ts,
            offset,
            value,
        };
        rule.reading(at(5, 0, 90.0), in_force, 100);
        let Evaluated::Ended(first) = rule.reading(at(5, 1, 10.0), in_force, 100) else {
            panic!("it must end")
        };
        assert_eq!((first.start_ts, first.end_ts), (5, Some(5)));
        rule.reading(at(5, 2, 91.0), in_force, 100);
        assert_eq!(rule.open().unwrap().start_ts, 6);
        let Evaluated::Ended(second) = rule.reading(at(5, 3, 1.0), in_force, 100) else {
            panic!("it must end")
        };
        assert_eq!(second.end_ts, Some(6));
    }
}
