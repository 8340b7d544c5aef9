//! Where a sensor stands: a GeoJSON Point, or `{longitude, latitude}`.
//!
//! Longitude comes first. Coordinates that look swapped or projected are refused with that as the reason:
//! taken as they are they would put a sensor into another ocean.

use openinfra_schemas::Point;
use serde_json::{Value, json};

use super::{
    error::Violation,
    fields::{Fields, wanted},
};

/// As it is answered: GeoJSON.
pub(super) fn to_geojson(point: &Point) -> Value {
    let mut coordinates = vec![point.longitude, point.latitude];
    coordinates.extend(point.height);
    json!({"type": "Point", "coordinates": coordinates})
}

/// In the form that a patch uses, so that a patch of one of its members finds the others.
pub(super) fn in_form_of(point: &Point, patch: &Value) -> Value {
    let by_name = ["longitude", "latitude", "height"];
    if by_name.iter().any(|name| patch.get(name).is_some()) {
        json!({"longitude": point.longitude, "latitude": point.latitude, "height": point.height})
    } else {
        to_geojson(point)
    }
}

/// Reads either form; ranges are [`check`]'s.
pub(super) fn from_json(value: &Value, at: &str, violations: &mut Vec<Violation>) -> Option<Point> {
    let mut fields = Fields::of(value, at, violations)?;
    let point = if fields.has("type") || fields.has("coordinates") {
        geojson(&mut fields)
    } else {
        by_name(&mut fields)
    };
    fields.done();
    point
}

fn by_name(fields: &mut Fields<'_>) -> Option<Point> {
    for name in ["longitude", "latitude"] {
        if !fields.has(name) {
            let at = fields.pointer(name);
            fields.violation(Violation::new(
                at,
                "required",
                "a location is a GeoJSON Point, or has longitude and latitude",
            ));
        }
    }
    let (longitude, latitude) = (fields.number("longitude"), fields.number("latitude"));
    let height = fields.number("height");
    Some(Point {
        longitude: longitude?,
        latitude: latitude?,
        height,
    })
}

fn geojson(fields: &mut Fields<'_>) -> Option<Point> {
    let is_point = fields.text("type").is_some_and(|kind| kind == "Point");
    if !is_point {
        let at = fields.pointer("type");
        fields.violation(Violation::new(
            at,
            "format",
            "the type of a location is Point",
        ));
    }
    let at = fields.pointer("coordinates");
    let coordinates = fields.value("coordinates").unwrap_or(Value::Null);
    let numbers: Option<Vec<f64>> = coordinates
        .as_array()
        .and_then(|items| items.iter().map(Value::as_f64).collect());
    match numbers.as_deref() {
        Some([longitude, latitude, rest @ ..]) if rest.len() <= 1 => is_point.then_some(Point {
            longitude: *longitude,
            latitude: *latitude,
            height: rest.first().copied(),
        }),
        Some(numbers) => {
            let detail = format!("has {} numbers, 2 or 3 expected", numbers.len());
            fields.violation(Violation::new(at, "length", detail));
            None
        }
        None => {
            let detail = wanted(
                "an array of longitude, latitude and perhaps height",
                &coordinates,
            );
            fields.violation(Violation::new(at, "type", detail));
            None
        }
    }
}

/// What is wrong with the coordinates, if anything is.
pub(super) fn check(point: &Point, at: &str) -> Option<Violation> {
    let Point {
        longitude,
        latitude,
        height,
    } = *point;
    let finite = |number: f64| number.is_finite();
    let (code, detail) = if !finite(longitude) || !finite(latitude) || !height.is_none_or(finite) {
        ("out_of_range", "coordinates must be finite".to_owned())
    } else if longitude.abs() <= 180.0 && latitude.abs() <= 90.0 {
        return None;
    } else if longitude.abs() <= 90.0 && latitude.abs() <= 180.0 {
        let detail = format!("latitude {latitude} is beyond 90; longitude comes first");
        ("swapped", detail)
    } else if longitude.abs() > 360.0 || latitude.abs() > 360.0 {
        let detail = format!("{longitude}, {latitude} are not degrees; WGS84 is expected");
        ("projected", detail)
    } else {
        let detail = format!(
            "{longitude}, {latitude} lie outside longitude -180 to 180, latitude -90 to 90"
        );
        ("out_of_range", detail)
    };
    Some(Violation::geometry(at, code, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> (Option<Point>, Vec<Violation>) {
        let mut violations = Vec::new();
        let point = from_json(value, "/location", &mut violations);
        (point, violations)
    }

    #[test]
    fn both_forms_are_read() {
        let wanted = Point {
            longitude: 105.85,
            latitude: 21.03,
            height: Some(3.0),
        };
        for value in [
            json!({"type": "Point", "coordinates": [105.85, 21.03, 3]}),
            json!({"longitude": 105.85, "latitude": 21.03, "height": 3}),
            to_geojson(&wanted),
            in_form_of(&wanted, &json!({"latitude": 1})),
        ] {
            assert_eq!(read(&value), (Some(wanted), vec![]), "{value}");
        }
    }

    #[test]
    fn what_is_no_point_is_refused_where_it_is_wrong() {
        for (value, pointer, code) in [
            (json!("here"), "/location", "type"),
            (json!({}), "/location/longitude", "required"),
            (json!({"longitude": 1}), "/location/latitude", "required"),
            (
                json!({"type": "LineString", "coordinates": [1, 2]}),
                "/location/type",
                "format",
            ),
            (json!({"type": "Point"}), "/location/coordinates", "type"),
            (
                json!({"type": "Point", "coordinates": ["1", "2"]}),
                "/location/coordinates",
                "type",
            ),
            (
                json!({"type": "Point", "coordinates": [1]}),
                "/location/coordinates",
                "length",
            ),
            (
                json!({"type": "Point", "coordinates": [1, 2, 3, 4]}),
                "/location/coordinates",
                "length",
            ),
            (
                json!({"type": "Point", "coordinates": [1, 2], "crs": {}}),
                "/location/crs",
                "unknown_field",
            ),
        ] {
            let (_, violations) = read(&value);
            let found = violations.first().unwrap();
            assert_eq!((&*found.pointer, found.code), (pointer, code), "{value}");
        }
    }

    #[test]
    fn coordinates_tell_why_they_are_refused() {
        for (longitude, latitude, code) in [
            (0.0, 0.0, None),
            (180.0, -90.0, None),
            (21.03, 105.85, Some("swapped")),
            (-77.0, 91.0, Some("swapped")),
            (181.0, 10.0, Some("out_of_range")),
            (100.0, 91.0, Some("out_of_range")),
            (588_000.5, 2_325_000.0, Some("projected")),
            (f64::NAN, 1.0, Some("out_of_range")),
        ] {
            let point = Point {
                longitude,
                latitude,
                height: None,
            };
            let found = check(&point, "/location").map(|violation| violation.code);
            assert_eq!(found, code, "{longitude}, {latitude}");
        }
    }
}
