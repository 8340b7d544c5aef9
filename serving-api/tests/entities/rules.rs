//! What may be written of sensors and settings: every rule, and where a broken one is pointed at.

use openinfra_api::entities::{
    MAX_FUTURE_GUARD_MS, MAX_HORIZON_MS, NewSensor, SensorFields, SettingsFields, Violation,
    WriteError,
};
use openinfra_schemas::{Point, Thresholds};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::id;

/// The violations that an answer tells of, none when it is fine.
fn violations<T>(answer: Result<T, WriteError>) -> Vec<Violation> {
    match answer {
        Ok(_) => Vec::new(),
        Err(WriteError::Validation(violations)) => violations,
        Err(WriteError::Geometry(violation)) => vec![violation],
        Err(other) => panic!("{other}"),
    }
}

/// Pointers and codes of what is wrong with a registration of sensor `s1` that has also this in its body.
fn wrong_with(more: &Value) -> Vec<(String, &'static str)> {
    let mut body = json!({"sensor_id": "s1"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    violations(NewSensor::from_json(&body))
        .into_iter()
        .map(|v| (v.pointer, v.code))
        .collect()
}

fn check(more: Value, wanted: &[(&str, &'static str)]) {
    let wanted: Vec<_> = wanted.iter().map(|(p, c)| ((*p).to_owned(), *c)).collect();
    assert_eq!(wrong_with(&more), wanted, "{more}");
}

#[test]
fn a_full_registration_is_read_as_it_is_meant() {
    let body = json!({
        "sensor_id": " büro/3 ",
        "sensor_type": "  flow ",
        "unit": "m\u{0033}/h",
        "asset_id": "Cafe\u{301}",
        "location": {"type": "Point", "coordinates": [105.85, 21.03]},
        "thresholds": {"warning_min": -0.5, "warning_max": 0, "deadband": 0},
        "offline_timeout_ms": 60_000.0,
        "max_age_ms": 1,
        "reporting_interval_ms": 10,
    });
    let new = NewSensor::from_json(&body).unwrap();
    // The id is the device's own: taken as it is. Other texts are trimmed and composed.
    assert_eq!(new.sensor_id.as_str(), " büro/3 ");
    let wanted = SensorFields {
        sensor_type: Some("flow".to_owned()),
        unit: Some("m3/h".to_owned()),
        asset_id: Some("Caf\u{e9}".to_owned()),
        location: Some(Point {
            longitude: 105.85,
            latitude: 21.03,
            height: None,
        }),
        thresholds: Some(Thresholds {
            warning_min: Some(-0.5),
            warning_max: Some(0.0),
            deadband: Some(0.0),
            ..Thresholds::default()
        }),
        offline_timeout_ms: Some(60_000),
        max_age_ms: Some(1),
        reporting_interval_ms: Some(10),
    };
    assert_eq!(new.fields, wanted);
    assert_eq!(
        SensorFields::from_json(&wanted.to_json(), &id("s1")).unwrap(),
        wanted
    );
}

#[test]
fn null_is_absent() {
    check(
        json!({"unit": null, "thresholds": null, "location": null}),
        &[],
    );
    check(json!({"thresholds": {"warning_max": null}}), &[]);
}

#[test]
fn ids_follow_their_rule() {
    for (id, code) in [
        (json!(""), "format"),
        (json!("a+b"), "format"),
        (json!("a\u{7}"), "format"),
        (json!("x".repeat(257)), "format"),
        (json!(7), "type"),
        (Value::Null, "required"),
    ] {
        check(json!({ "sensor_id": id }), &[("/sensor_id", code)]);
    }
    let other = SensorFields::from_json(&json!({"sensor_id": "s2"}), &id("s1"));
    assert_eq!(violations(other)[0].code, "immutable");
    let same = SensorFields::from_json(&json!({"sensor_id": "s1"}), &id("s1"));
    assert_eq!(violations(same), []);
}

#[test]
fn texts_and_types_follow_their_rules() {
    check(json!({"unit": "u".repeat(32)}), &[]);
    check(json!({"unit": "u".repeat(33)}), &[("/unit", "length")]);
    check(json!({"unit": "  "}), &[("/unit", "length")]);
    check(
        json!({"sensor_type": "a\u{0}b"}),
        &[("/sensor_type", "control_character")],
    );
    check(
        json!({"unit": 5, "asset_id": true}),
        &[("/unit", "type"), ("/asset_id", "type")],
    );
    check(json!({"measurement_unit": "V"}), &[]);
    check(
        json!({"measurement_unit": "V", "unit": "V"}),
        &[("/measurement_unit", "duplicate_field")],
    );
    check(
        json!({"version": 1, "a/b": 1, "thresholds": {"x~": 1}}),
        &[
            ("/thresholds/x~0", "unknown_field"),
            ("/a~1b", "unknown_field"),
            ("/version", "read_only"),
        ],
    );
    let array = violations(NewSensor::from_json(&json!([])));
    assert_eq!((&*array[0].pointer, array[0].code), ("", "type"));
}

#[test]
fn times_follow_their_rules() {
    check(
        json!({"offline_timeout_ms": 59_999}),
        &[("/offline_timeout_ms", "out_of_range")],
    );
    check(json!({"max_age_ms": 0}), &[("/max_age_ms", "out_of_range")]);
    check(
        json!({"reporting_interval_ms": 9}),
        &[("/reporting_interval_ms", "out_of_range")],
    );
    check(
        json!({"max_age_ms": i64::MAX}),
        &[("/max_age_ms", "out_of_range")],
    );
    check(json!({"max_age_ms": 1.5}), &[("/max_age_ms", "type")]);
    check(json!({"max_age_ms": "60000"}), &[("/max_age_ms", "type")]);
}

#[test]
fn a_geometry_alone_is_a_problem_of_its_own() {
    let swapped = json!({"sensor_id": "s1", "location": {"longitude": 21.0, "latitude": 105.8}});
    match NewSensor::from_json(&swapped) {
        Err(WriteError::Geometry(v)) => assert_eq!((&*v.pointer, v.code), ("/location", "swapped")),
        other => panic!("{other:?}"),
    }
    check(
        json!({"unit": "", "location": {"type": "Point", "coordinates": [588_000, 2_325_000]}}),
        &[("/unit", "length"), ("/location", "projected")],
    );
}

#[test]
fn thresholds_are_in_order() {
    let limits = |limits: Value| json!({ "thresholds": limits });
    check(
        limits(json!({"critical_min": 0, "warning_min": 0, "warning_max": 1, "critical_max": 1})),
        &[],
    );
    check(limits(json!({"warning_max": 0})), &[]);
    check(limits(json!({"critical_min": 1, "critical_max": 2})), &[]);
    for (given, pointer) in [
        (
            json!({"warning_min": 0, "warning_max": 0}),
            "/thresholds/warning_max",
        ),
        (
            json!({"critical_min": 0, "critical_max": 0}),
            "/thresholds/critical_max",
        ),
        (
            json!({"critical_min": 1, "warning_min": 0}),
            "/thresholds/warning_min",
        ),
        (
            json!({"warning_max": 1, "critical_max": 0}),
            "/thresholds/critical_max",
        ),
        (
            json!({"critical_min": 1, "warning_max": 0}),
            "/thresholds/warning_max",
        ),
        (
            json!({"warning_min": 1, "critical_max": 1}),
            "/thresholds/critical_max",
        ),
    ] {
        check(limits(given), &[(pointer, "order")]);
    }
    check(
        limits(json!({"deadband": -0.1})),
        &[("/thresholds/deadband", "out_of_range")],
    );
    let infinite = SensorFields {
        thresholds: Some(Thresholds {
            warning_max: Some(f64::INFINITY),
            deadband: Some(f64::NAN),
            ..Thresholds::default()
        }),
        ..SensorFields::default()
    };
    assert_eq!(violations(infinite.checked()).len(), 2);
}

#[test]
fn a_patch_finds_the_location_in_the_form_that_it_uses() {
    let base = json!({"unit": "C", "location": {"longitude": 10, "latitude": 20}});
    let base = SensorFields::from_json(&base, &id("s1")).unwrap();
    for (patch, wanted) in [
        (json!({"location": {"latitude": 21}}), Some((10.0, 21.0))),
        (
            json!({"location": {"longitude": 1, "latitude": 2}}),
            Some((1.0, 2.0)),
        ),
        (
            json!({"location": {"type": "Point", "coordinates": [3, 4]}}),
            Some((3.0, 4.0)),
        ),
        (
            json!({"location": {"coordinates": [3, 4]}}),
            Some((3.0, 4.0)),
        ),
        (json!({"location": null}), None),
        (json!({"measurement_unit": "C"}), Some((10.0, 20.0))),
    ] {
        let patched = base.patched(&patch, &id("s1")).unwrap();
        let place = patched.location.map(|p| (p.longitude, p.latitude));
        assert_eq!(place, wanted, "{patch}");
        assert_eq!(patched.unit.as_deref(), Some("C"));
    }
    for patch in [
        json!("C"),
        json!({"units": "C"}),
        json!({"location": {"latitude": null}}),
    ] {
        assert_eq!(
            violations(base.patched(&patch, &id("s1"))).len(),
            1,
            "{patch}"
        );
    }
}

#[test]
fn settings_follow_their_rules() {
    let full = json!({"horizon_ms": MAX_HORIZON_MS, "future_guard_ms": MAX_FUTURE_GUARD_MS, "auto_register": false});
    assert_eq!(SettingsFields::from_json(&full).unwrap().to_json(), full);
    let absent = SettingsFields::from_json(&json!({})).unwrap();
    assert_eq!(absent, SettingsFields::default());
    let broken = json!({
        "horizon_ms": MAX_HORIZON_MS + 1,
        "future_guard_ms": -1,
        "auto_register": "yes",
        "horizon": 1,
    });
    let mut told: Vec<_> = violations(SettingsFields::from_json(&broken))
        .into_iter()
        .map(|v| (v.pointer, v.code))
        .collect();
    told.sort();
    let wanted = [
        ("/auto_register", "type"),
        ("/future_guard_ms", "out_of_range"),
        ("/horizon", "unknown_field"),
        ("/horizon_ms", "out_of_range"),
    ];
    assert_eq!(told, wanted.map(|(p, c)| (p.to_owned(), c)));
}

proptest! {
    /// Thresholds pass exactly when every two of those present are in order.
    #[test]
    fn the_order_of_thresholds_is_that_of_every_pair(
        limits in prop::array::uniform4(prop::option::of(-2..3i8))
    ) {
        let limits = limits.map(|limit| limit.map(f64::from));
        let [critical_min, warning_min, warning_max, critical_max] = limits;
        let pairs = [
            (critical_min, warning_min, true),
            (critical_min, warning_max, false),
            (critical_min, critical_max, false),
            (warning_min, warning_max, false),
            (warning_min, critical_max, false),
            (warning_max, critical_max, true),
        ];
        let in_order = pairs.iter().all(|(low, high, may_equal)| match (low, high) {
            (Some(low), Some(high)) => low < high || (*may_equal && low == high),
            _ => true,
        });
        let fields = SensorFields {
            thresholds: Some(Thresholds {
                warning_min,
                warning_max,
                critical_min,
                critical_max,
                deadband: None,
            }),
            ..SensorFields::default()
        };
        prop_assert_eq!(fields.checked().is_ok(), in_order);
    }
}
