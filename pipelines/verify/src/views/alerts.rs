//! `alert`: episodes of the built-in rule on one sensor.
//!
//! A newcomer would evaluate readings by event time. They are taken as the log has them; one behind the
//! newest that was evaluated takes no part, nor does one that came more than the correction window late.

use openinfra_schemas::{
    Quality, Sensor, Thresholds,
    alert::{BUILTIN_THRESHOLDS, DEFAULT_CORRECTION_WINDOW_MS, alert_id},
    time::Millis,
};
use openinfra_store::tables::views::{AlertRow, month_of};

use crate::sensor::{Message, SensorLog};

/// All severities, the least first.
pub(crate) const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];
const MEDIUM: usize = 2;
const CRITICAL: usize = 4;

/// A sensor's alerts.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    /// In the order they were opened.
    pub(crate) rows: Vec<AlertRow>,
    /// At the end of each tick that evaluated something: the place in [`SEVERITIES`] of what is open.
    pub(crate) open: Vec<(Millis, Option<usize>)>,
}

/// One limit of a sensor, of a severity that falls from limit to limit.
#[derive(Debug, Clone, Copy)]
struct Limit {
    at: Option<f64>,
    is_upper: bool,
    severity: usize,
}

impl Limit {
    fn all(thresholds: &Thresholds) -> [Self; 4] {
        let limit = |at, is_upper, severity| Self {
            at,
            is_upper,
            severity,
        };
        [
            limit(thresholds.critical_max, true, CRITICAL),
            limit(thresholds.critical_min, false, CRITICAL),
            limit(thresholds.warning_max, true, MEDIUM),
            limit(thresholds.warning_min, false, MEDIUM),
        ]
    }

    /// Whether it is violated now: strictly beyond it, or, when it was violated, still beyond the limit
    /// drawn in by the deadband.
    fn is_violated(&self, value: f64, was: bool, deadband: f64) -> bool {
        self.at.is_some_and(|at| {
            if self.is_upper {
                value > at || (was && value > at - deadband)
            } else {
                value < at || (was && value < at + deadband)
            }
        })
    }
}

/// What is evaluated: the standing value, under which entity, and when.
struct Evaluation<'a> {
    value: f64,
    offset: i64,
    /// Event time of a reading; tick of an edit.
    at: Millis,
    tick: Millis,
    entity: Option<&'a Sensor>,
    version: i64,
    is_edit: bool,
}

/// All episodes of a sensor.
pub(crate) fn episodes(sensor: &SensorLog, log_partition: i32) -> Alerts {
    let mut rule = Walk {
        sensor,
        log_partition,
        violated: [false; 4],
        severity: None,
        alerts: Alerts::default(),
    };
    let mut standing: Option<&Message> = None;
    let mut edits = sensor.edits.iter().peekable();
    let (mut entity, mut version) = (None, 0);
    let takes_part = |m: &&Message| {
        m.is_taken()
            && m.quality != Quality::Bad
            && m.recv_ts.saturating_sub(m.event_ts) <= DEFAULT_CORRECTION_WINDOW_MS
    };
    let mut messages = sensor.messages.iter().filter(takes_part).peekable();
    loop {
        let before = messages.peek().map_or(Millis::MAX, |message| message.tick);
        if let Some(edit) = edits.next_if(|edit| edit.tick <= before) {
            (entity, version) = (edit.sensor.as_deref(), edit.version);
            if let Some(standing) = standing {
                rule.evaluate(&Evaluation {
                    value: standing.value,
                    offset: standing.offset,
                    at: edit.tick,
                    tick: edit.tick,
                    entity,
                    version,
                    is_edit: true,
                });
            }
            continue;
        }
        let Some(message) = messages.next() else {
            return rule.alerts;
        };
        if standing.is_none_or(|standing| message.event_ts >= standing.event_ts) {
            standing = Some(message);
            rule.evaluate(&Evaluation {
                value: message.value,
                offset: message.offset,
                at: message.event_ts,
                tick: message.tick,
                entity,
                version,
                is_edit: false,
            });
        }
    }
}

struct Walk<'a> {
    sensor: &'a SensorLog,
    log_partition: i32,
    violated: [bool; 4],
    /// Of the open episode, which is the last row.
    severity: Option<usize>,
    alerts: Alerts,
}

impl Walk<'_> {
    fn evaluate(&mut self, now: &Evaluation<'_>) {
        let thresholds = now.entity.and_then(|entity| entity.thresholds);
        let thresholds = thresholds.unwrap_or_default();
        let limits = Limit::all(&thresholds);
        let deadband = thresholds.deadband.unwrap_or(0.0);
        for (violated, limit) in self.violated.iter_mut().zip(&limits) {
            *violated = limit.is_violated(now.value, *violated, deadband);
        }
        let worst = self.violated.iter().position(|violated| *violated);
        match (worst.map(|place| limits[place]), self.severity.is_some()) {
            (None, false) => {}
            (None, true) => self.end(now),
            (Some(limit), true) => self.go_on(now, limit),
            (Some(limit), false) => self.begin(now, limit),
        }
        let open = &mut self.alerts.open;
        if open.last().is_some_and(|(tick, _)| *tick == now.tick) {
            open.pop();
        }
        open.push((now.tick, self.severity));
    }

    fn begin(&mut self, now: &Evaluation<'_>, limit: Limit) {
        let SensorLog { tenant, id, .. } = self.sensor;
        // Starts ascend strictly, so that no two episodes share a key.
        let least = self.alerts.rows.last().map(|row| row.start_ts + 1);
        let start_ts = least.map_or(now.at, |least| now.at.max(least));
        let severity = SEVERITIES[limit.severity].to_owned();
        self.severity = Some(limit.severity);
        self.alerts.rows.push(AlertRow {
            tenant: tenant.clone(),
            state: "open".to_owned(),
            month: -1,
            start_ts,
            alert_id: alert_id(tenant, BUILTIN_THRESHOLDS, id, start_ts),
            rule_id: BUILTIN_THRESHOLDS.to_owned(),
            rule_version: now.version,
            sensor_id: id.clone(),
            asset_id: asset_of(now),
            max_severity: severity.clone(),
            severity,
            raised_at: now.at,
            end_ts: None,
            trigger_value: Some(now.value),
            threshold: limit.at,
            trigger_partition: self.log_partition,
            trigger_offset: now.offset,
            last_value: Some(now.value),
            count: 1,
            detected_at: now.tick,
            tick: now.tick,
        });
    }

    fn go_on(&mut self, now: &Evaluation<'_>, limit: Limit) {
        self.severity = Some(limit.severity);
        let Some(row) = self.alerts.rows.last_mut() else {
            return;
        };
        row.severity = SEVERITIES[limit.severity].to_owned();
        let max = SEVERITIES.iter().position(|s| *s == row.max_severity);
        row.max_severity = SEVERITIES[max.unwrap_or(0).max(limit.severity)].to_owned();
        row.rule_version = now.version;
        row.last_value = Some(now.value);
        row.count += i64::from(!now.is_edit);
        row.asset_id = asset_of(now);
        row.tick = now.tick;
    }

    /// Severity, version and count stay what they were while it was open.
    fn end(&mut self, now: &Evaluation<'_>) {
        self.severity = None;
        let Some(row) = self.alerts.rows.last_mut() else {
            return;
        };
        row.state = "cleared".to_owned();
        row.month = month_of(row.start_ts);
        row.end_ts = Some(now.at.max(row.start_ts));
        row.last_value = Some(now.value);
        row.asset_id = asset_of(now);
        row.tick = now.tick;
    }
}

fn asset_of(now: &Evaluation<'_>) -> Option<String> {
    now.entity.and_then(|entity| entity.asset_id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensor::testing::{limits, message, sensor};

    type Row<'a> = (Millis, Option<Millis>, &'a str, &'a str, i64);

    fn check(edits: &[(Millis, Option<Sensor>)], messages: &[Message], expected: &[Row<'_>]) {
        let found = episodes(&sensor(edits, messages), 0).rows;
        let found: Vec<Row<'_>> = found
            .iter()
            .map(|row| {
                let severities = (row.severity.as_str(), row.max_severity.as_str());
                (
                    row.start_ts,
                    row.end_ts,
                    severities.0,
                    severities.1,
                    row.count,
                )
            })
            .collect();
        assert_eq!(found, expected);
    }

    fn values(of: &[(Millis, f64)]) -> Vec<Message> {
        of.iter().map(|(ts, value)| message(*ts, *value)).collect()
    }

    #[test]
    fn strictly_beyond_raises_and_equality_clears() {
        let edits = [(0, Some(limits(10.0, 20.0, 0.0)))];
        let one = values(&[(1, 10.0), (2, 10.5), (3, 21.0), (4, 20.0), (5, 10.0)]);
        check(&edits, &one, &[(2, Some(5), "medium", "critical", 3)]);
    }

    #[test]
    fn each_level_stands_until_drawn_in() {
        let edits = [(0, Some(limits(80.0, 100.0, 5.0)))];
        let one = values(&[(1, 101.0), (2, 96.0), (3, 95.0), (4, 76.0), (5, 75.0)]);
        check(&edits, &one, &[(1, Some(5), "medium", "critical", 4)]);
        // What never was critical is not held there.
        check(
            &edits,
            &values(&[(1, 96.0)]),
            &[(1, None, "medium", "medium", 1)],
        );
    }

    #[test]
    fn zero_is_a_threshold() {
        let edits = [(0, Some(limits(0.0, 9.0, 0.0)))];
        let one = values(&[(1, 0.0), (2, 0.5)]);
        check(&edits, &one, &[(2, None, "medium", "medium", 1)]);
    }

    #[test]
    fn an_edit_is_evaluated_at_once_at_its_tick() {
        let edits = [
            (0, Some(limits(50.0, 90.0, 0.0))),
            (7, Some(limits(10.0, 90.0, 0.0))),
            (9, None),
        ];
        check(
            &edits,
            &values(&[(5, 20.0)]),
            &[(7, Some(9), "medium", "medium", 1)],
        );
    }

    #[test]
    fn what_is_behind_or_too_late_or_bad_takes_no_part() {
        let edits = [(0, Some(limits(10.0, 90.0, 0.0)))];
        let bad = Message {
            quality: Quality::Bad,
            value: f64::NAN,
            ..message(6, 0.0)
        };
        let received = |delay: Millis| Message {
            recv_ts: 7 + delay,
            ..message(7, 1.0)
        };
        let behind = Message {
            event_ts: 4,
            ..message(8, 1.0)
        };
        let start = message(5, 20.0);
        let open = (5, None, "medium", "medium", 1);
        check(&edits, &[start, bad, received(600_001), behind], &[open]);
        let closed = (5, Some(7), "medium", "medium", 1);
        check(&edits, &[start, received(600_000)], &[closed]);
        // A correction of the newest is not behind it.
        let corrected = Message {
            event_ts: 5,
            ..message(8, 1.0)
        };
        let vanished = (5, Some(5), "medium", "medium", 1);
        check(&edits, &[start, corrected], &[vanished]);
    }

    #[test]
    fn starts_ascend_and_ends_are_not_before_them() {
        let edits = [(0, Some(limits(10.0, 90.0, 0.0)))];
        let again = |offset, value| Message {
            tick: offset,
            offset,
            ..message(5, value)
        };
        check(
            &edits,
            &[again(5, 20.0), again(6, 1.0), again(7, 30.0), again(8, 2.0)],
            &[
                (5, Some(5), "medium", "medium", 1),
                (6, Some(6), "medium", "medium", 1),
            ],
        );
    }
}
