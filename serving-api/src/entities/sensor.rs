//! Sensors: what may be written of them, its rules, and the writes.
//!
//! A threshold of 0 is a threshold; only an absent one is none. A sensor's id is the device's own and is
//! taken as it is, unlike every other text, which is trimmed and composed.

use openinfra_schemas::{
    AfterImage, EntityKind, Point, Sensor, SensorId, TenantId, Thresholds, time::Millis,
};
use serde_json::{Map, Value, json};

use super::{
    Change, Entities, Stored, WriteError, Written,
    error::Violation,
    fields::{Fields, check_range, clean_text},
    location, patch,
    write::Target,
};

/// Ten years of 366 days: beyond it a deadline has no use, and sums of times stay within their type.
pub const MAX_INTERVAL_MS: i64 = 10 * 366 * 86_400_000;
pub const MIN_OFFLINE_TIMEOUT_MS: i64 = 60_000;
pub const MIN_REPORTING_INTERVAL_MS: i64 = 10;

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

fn limits_to_json(limits: &Thresholds) -> Value {
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

fn limits_from_json(value: &Value, violations: &mut Vec<Violation>) -> Option<Thresholds> {
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
fn check_limits(limits: &Thresholds, violations: &mut Vec<Violation>) {
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

impl Entities {
    /// Registers a sensor. An id that was deleted may be registered again: its versions go on.
    ///
    /// Errs with `Conflict` when the id is taken.
    pub async fn create_sensor(
        &self,
        actor: &str,
        tenant: &TenantId,
        new: NewSensor,
    ) -> Result<Written<Sensor>, WriteError> {
        self.create_sensor_once(actor, tenant, new, &Change::new())
            .await
    }

    /// As [`Entities::create_sensor`], with an identity that tells this creation when it is tried again:
    /// if an earlier try succeeded unseen, it answers what that one did.
    pub async fn create_sensor_once(
        &self,
        actor: &str,
        tenant: &TenantId,
        new: NewSensor,
        change: &Change,
    ) -> Result<Written<Sensor>, WriteError> {
        let NewSensor { sensor_id, fields } = new;
        let fields = fields.checked()?;
        let target = target(actor, tenant, &sensor_id, change);
        let now = self.now();
        let sensor = built(&sensor_id, fields, (now, actor), (now, actor));
        let written = self.create(target, AfterImage::Sensor(sensor)).await?;
        written.try_map(of_image)
    }

    /// Replaces every writable field of a sensor; what is absent gets its default.
    ///
    /// Errs with `Stale` when the sensor is not at `expected`, with `NotFound` when it is not there.
    pub async fn update_sensor(
        &self,
        actor: &str,
        tenant: &TenantId,
        id: &SensorId,
        expected: i64,
        fields: SensorFields,
    ) -> Result<Written<Sensor>, WriteError> {
        let fields = fields.checked()?;
        self.change_sensor(actor, tenant, id, expected, |_| Ok(fields))
            .await
    }

    /// Applies an RFC 7396 merge patch to the writable fields of a sensor; errs as
    /// [`Entities::update_sensor`].
    pub async fn patch_sensor(
        &self,
        actor: &str,
        tenant: &TenantId,
        id: &SensorId,
        expected: i64,
        patch: &Value,
    ) -> Result<Written<Sensor>, WriteError> {
        self.change_sensor(actor, tenant, id, expected, |sensor| {
            SensorFields::from(sensor).patched(patch, id)
        })
        .await
    }

    /// Deletes a sensor; its history stays. Answers what stood before; errs as
    /// [`Entities::update_sensor`].
    pub async fn delete_sensor(
        &self,
        actor: &str,
        tenant: &TenantId,
        id: &SensorId,
        expected: i64,
    ) -> Result<Written<Sensor>, WriteError> {
        let mut before = AfterImage::Deleted;
        let change = Change::new();
        let deleted = self
            .replace(target(actor, tenant, id, &change), expected, |current| {
                before = current;
                Ok(AfterImage::Deleted)
            })
            .await?;
        deleted.try_map(|_| of_image(before))
    }

    /// A sensor as it stands; see [`Entities::find`].
    pub async fn find_sensor(
        &self,
        tenant: &TenantId,
        id: &SensorId,
    ) -> Result<Option<Stored<Sensor>>, WriteError> {
        let stored = self.find(tenant, EntityKind::Sensor, id.as_str()).await?;
        stored.map(|stored| stored.try_map(of_image)).transpose()
    }

    async fn change_sensor(
        &self,
        actor: &str,
        tenant: &TenantId,
        id: &SensorId,
        expected: i64,
        fields: impl FnOnce(&Sensor) -> Result<SensorFields, WriteError>,
    ) -> Result<Written<Sensor>, WriteError> {
        let now = self.now();
        let after = |current| {
            let sensor = of_image(current)?;
            let fields = fields(&sensor)?;
            let created = (sensor.created_at, sensor.created_by.as_str());
            Ok(AfterImage::Sensor(built(id, fields, created, (now, actor))))
        };
        let change = Change::new();
        self.replace(target(actor, tenant, id, &change), expected, after)
            .await?
            .try_map(of_image)
    }
}

fn target<'a>(
    actor: &'a str,
    tenant: &'a TenantId,
    id: &'a SensorId,
    change: &'a Change,
) -> Target<'a> {
    Target {
        change,
        actor,
        tenant,
        kind: EntityKind::Sensor,
        id: id.as_str(),
    }
}

/// A sensor with these fields; when and by whom it was created and updated.
fn built(
    id: &SensorId,
    fields: SensorFields,
    created: (Millis, &str),
    updated: (Millis, &str),
) -> Sensor {
    Sensor {
        sensor_id: id.clone(),
        sensor_type: fields.sensor_type,
        unit: fields.unit,
        asset_id: fields.asset_id,
        location: fields.location,
        thresholds: fields.thresholds,
        offline_timeout_ms: fields.offline_timeout_ms,
        max_age_ms: fields.max_age_ms,
        reporting_interval_ms: fields.reporting_interval_ms,
        created_at: created.0,
        created_by: created.1.to_owned(),
        updated_at: updated.0,
        updated_by: updated.1.to_owned(),
    }
}

fn of_image(image: AfterImage) -> Result<Sensor, WriteError> {
    match image {
        AfterImage::Sensor(sensor) => Ok(sensor),
        AfterImage::Deleted | AfterImage::TenantSettings(_) => Err(WriteError::NotFound {
            kind: EntityKind::Sensor,
        }),
    }
}
