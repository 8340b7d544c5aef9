//! The limits of the built-in rule. A threshold of 0 is a threshold; only an absent one is none.

use openinfra_schemas::Thresholds;
use serde_json::{Value, json};

use super::super::{error::Violation, fields::Fields};

pub(super) fn limits_to_json(limits: &Thresholds) -> Value {
    let mut object = json!({});
    let named = [
        ("warning_min", limits.warning_min),
        ("warning_max", limits.warning_max),
        ("critical_min", limits.critical_min),
        ("critical_max", limits.critical_max),
        ("deadband", limits.deadband),
    ];
    for (name, limit) in named {
        if let Some(limit) = limit {
            object[name] = Value::from(limit);
        }
    }
    object
}

pub(super) fn limits_from_json(
    value: &Value,
    violations: &mut Vec<Violation>,
) -> Option<Thresholds> {
    let mut fields = Fields::of(value, "/thresholds", violations)?;
    let limits = Thresholds {
        warning_min: fields.number("warning_min"),
        warning_max: fields.number("warning_max"),
        critical_min: fields.number("critical_min"),
        critical_max: fields.number("critical_max"),
        deadband: fields.number("deadband"),
    };
    fields.done();
    Some(limits)
}

/// `critical_min ≤ warning_min < warning_max ≤ critical_max` among those that are there, all finite, and
/// a deadband of 0 or more.
pub(super) fn check_limits(limits: &Thresholds, violations: &mut Vec<Violation>) {
    let ordered = [
        ("critical_min", limits.critical_min, false),
        ("warning_min", limits.warning_min, false),
        ("warning_max", limits.warning_max, true),
        ("critical_max", limits.critical_max, true),
    ];
    let mut below: Option<(&str, f64, bool)> = None;
    for (name, limit, is_max) in ordered {
        let Some(limit) = limit else { continue };
        let at = format!("/thresholds/{name}");
        if !limit.is_finite() {
            violations.push(Violation::new(at, "out_of_range", "must be finite"));
            continue;
        }
        if let Some((other, bound, other_is_max)) = below {
            // Two limits of one side may be equal; a minimum is below every maximum.
            let same_side = other_is_max == is_max;
            if limit < bound || (limit == bound && !same_side) {
                let relation = if same_side { "at least" } else { "above" };
                let detail = format!("is {limit}, must be {relation} {other}, which is {bound}");
                violations.push(Violation::new(at, "order", detail));
            }
        }
        below = Some((name, limit, is_max));
    }
    if let Some(deadband) = limits.deadband.filter(|d| !(d.is_finite() && *d >= 0.0)) {
        let detail = format!("is {deadband}, 0 or more expected");
        violations.push(Violation::new(
            "/thresholds/deadband",
            "out_of_range",
            detail,
        ));
    }
}
