//! What may be written of a sensor: read from a body, put back into one, and checked.
//!
//! A sensor's id is the device's own and is taken as it is, unlike every other text, which is trimmed and
//! composed.

use openinfra_schemas::{Point, Sensor, SensorId, Thresholds};
use serde_json::{Map, Value};

use super::{
    super::{
        WriteError,
        error::Violation,
        fields::{Fields, check_range, clean_text},
        location, patch,
    },
    thresholds::{check_limits, limits_from_json, limits_to_json},
};

/// Ten years of 366 days: beyond it a deadline has no use, and sums of times stay within their type.
const MAX_INTERVAL_MS: i64 = 10 * 366 * 86_400_000;
const MIN_OFFLINE_TIMEOUT_MS: i64 = 60_000;
const MIN_REPORTING_INTERVAL_MS: i64 = 10;

const TYPE_CHARS: usize = 64;
const UNIT_CHARS: usize = 32;
const ASSET_CHARS: usize = 200;

/// The fields of a sensor that people set. Absent means: the default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SensorFields {
    /// At most 64 characters.
    pub sensor_type: Option<String>,
    /// At most 32 characters.
    pub unit: Option<String>,
    /// At most 200 characters; opaque.
    pub asset_id: Option<String>,
    pub location: Option<Point>,
    pub thresholds: Option<Thresholds>,
    /// At least a minute.
    pub offline_timeout_ms: Option<i64>,
    /// Above 0.
    pub max_age_ms: Option<i64>,
    /// At least 10 ms.
    pub reporting_interval_ms: Option<i64>,
}

/// A sensor to be registered.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSensor {
    pub sensor_id: SensorId,
    pub fields: SensorFields,
}

impl NewSensor {
    /// Reads the body of a registration; every rule that it breaks is reported.
    pub fn from_json(body: &Value) -> Result<Self, WriteError> {
        let mut violations = Vec::new();
        let mut sensor_id = None;
        let fields = read(body, &mut violations, |fields| sensor_id = own_id(fields));
        match (sensor_id, fields) {
            (Some(sensor_id), Some(fields)) if violations.is_empty() => {
                Ok(Self { sensor_id, fields })
            }
            _ => Err(WriteError::invalid(violations)),
        }
    }
}

impl SensorFields {
    /// Reads the body of a replacement of the sensor `id`; every rule that it breaks is reported. The body
    /// may repeat the id, but not change it.
    pub fn from_json(body: &Value, id: &SensorId) -> Result<Self, WriteError> {
        let mut violations = Vec::new();
        let fields = read(body, &mut violations, |fields| same_id(fields, id));
        match fields {
            Some(fields) if violations.is_empty() => Ok(fields),
            _ => Err(WriteError::invalid(violations)),
        }
    }

    /// The fields as a body has them; absent ones are left out.
    pub fn to_json(&self) -> Value {
        let mut body = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        set("sensor_type", self.sensor_type.clone().map(Value::from));
        set("unit", self.unit.clone().map(Value::from));
        set("asset_id", self.asset_id.clone().map(Value::from));
        set("location", self.location.as_ref().map(location::to_geojson));
        set("thresholds", self.thresholds.as_ref().map(limits_to_json));
        set(
            "offline_timeout_ms",
            self.offline_timeout_ms.map(Value::from),
        );
        set("max_age_ms", self.max_age_ms.map(Value::from));
        let interval = self.reporting_interval_ms;
        set("reporting_interval_ms", interval.map(Value::from));
        Value::Object(body)
    }

    /// These fields after an RFC 7396 merge patch.
    pub fn patched(&self, patch: &Value, id: &SensorId) -> Result<Self, WriteError> {
        let Some(changes) = patch.as_object() else {
            return Self::from_json(patch, id);
        };
        let mut changes = changes.clone();
        let mut body = self.to_json();
        if let Some(unit) = changes.remove(UNIT_ALIAS) {
            if changes.contains_key("unit") {
                return Err(WriteError::invalid(vec![unit_twice()]));
            }
            changes.insert("unit".to_owned(), unit);
        }
        if let (Some(point), Some(change)) = (&self.location, changes.get("location")) {
            body["location"] = location::in_form_of(point, change);
        }
        patch::merge(&mut body, &Value::Object(changes));
        Self::from_json(&body, id)
    }

    /// Texts trimmed and composed, and every rule checked.
    pub fn checked(mut self) -> Result<Self, WriteError> {
        let mut violations = Vec::new();
        self.check(&mut violations);
        if violations.is_empty() {
            Ok(self)
        } else {
            Err(WriteError::invalid(violations))
        }
    }

    fn check(&mut self, violations: &mut Vec<Violation>) {
        let texts = [
            (&mut self.sensor_type, "/sensor_type", TYPE_CHARS),
            (&mut self.unit, "/unit", UNIT_CHARS),
            (&mut self.asset_id, "/asset_id", ASSET_CHARS),
        ];
        for (text, at, longest) in texts {
            *text = clean_text(text.take(), at, longest, violations);
        }
        if let Some(point) = &self.location {
            violations.extend(location::check(point, "/location"));
        }
        if let Some(limits) = &self.thresholds {
            check_limits(limits, violations);
        }
        let times = [
            (
                self.offline_timeout_ms,
                "/offline_timeout_ms",
                MIN_OFFLINE_TIMEOUT_MS,
            ),
            (self.max_age_ms, "/max_age_ms", 1),
            (
                self.reporting_interval_ms,
                "/reporting_interval_ms",
                MIN_REPORTING_INTERVAL_MS,
            ),
        ];
        for (value, at, least) in times {
            check_range(value, at, least, MAX_INTERVAL_MS, violations);
        }
    }
}

impl From<&Sensor> for SensorFields {
    fn from(sensor: &Sensor) -> Self {
        Self {
            sensor_type: sensor.sensor_type.clone(),
            unit: sensor.unit.clone(),
            asset_id: sensor.asset_id.clone(),
            location: sensor.location,
            thresholds: sensor.thresholds,
            offline_timeout_ms: sensor.offline_timeout_ms,
            max_age_ms: sensor.max_age_ms,
            reporting_interval_ms: sensor.reporting_interval_ms,
        }
    }
}

const UNIT_ALIAS: &str = "measurement_unit";

fn unit_twice() -> Violation {
    let detail = "unit and measurement_unit are one field; send one of them";
    Violation::new(format!("/{UNIT_ALIAS}"), "duplicate_field", detail)
}

/// Reads and checks all writable fields; `id` reads what the body says of the id.
fn read(
    body: &Value,
    violations: &mut Vec<Violation>,
    id: impl FnOnce(&mut Fields<'_>),
) -> Option<SensorFields> {
    let mut fields = Fields::of(body, "", violations)?;
    id(&mut fields);
    let unit = fields.text("unit");
    let alias = fields.text(UNIT_ALIAS);
    if unit.is_some() && alias.is_some() {
        fields.violation(unit_twice());
    }
    let location = fields.value("location");
    let thresholds = fields.value("thresholds");
    let mut read = SensorFields {
        sensor_type: fields.text("sensor_type"),
        unit: unit.or(alias),
        asset_id: fields.text("asset_id"),
        location: location
            .and_then(|value| location::from_json(&value, "/location", fields.violations())),
        thresholds: thresholds.and_then(|value| limits_from_json(&value, fields.violations())),
        offline_timeout_ms: fields.whole("offline_timeout_ms"),
        max_age_ms: fields.whole("max_age_ms"),
        reporting_interval_ms: fields.whole("reporting_interval_ms"),
    };
    fields.done();
    read.check(violations);
    Some(read)
}

fn own_id(fields: &mut Fields<'_>) -> Option<SensorId> {
    if !fields.has("sensor_id") {
        let detail = "a sensor is registered under its device's id";
        fields.violation(Violation::new("/sensor_id", "required", detail));
    }
    let text = fields.text("sensor_id")?;
    match SensorId::parse(&text) {
        Ok(id) => Some(id),
        Err(error) => {
            fields.violation(Violation::new("/sensor_id", "format", error.to_string()));
            None
        }
    }
}

fn same_id(fields: &mut Fields<'_>, id: &SensorId) {
    if fields
        .text("sensor_id")
        .is_some_and(|text| text != id.as_str())
    {
        let detail = "a sensor's id never changes; register the other one";
        fields.violation(Violation::new("/sensor_id", "immutable", detail));
    }
}
