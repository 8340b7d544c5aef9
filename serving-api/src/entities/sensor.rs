//! Sensors: the writes of them, and what is written.

mod fields;
mod thresholds;

use openinfra_schemas::{AfterImage, EntityKind, Sensor, SensorId, TenantId, time::Millis};
use serde_json::Value;

use super::{Change, Entities, Stored, WriteError, Written, write::Target};

pub use fields::{NewSensor, SensorFields};

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

    /// Registers a sensor that the caller expects not to be there.
    ///
    /// Errs with `Stale`, as of version 0, when the id is taken.
    pub async fn create_sensor_if_absent(
        &self,
        actor: &str,
        tenant: &TenantId,
        new: NewSensor,
    ) -> Result<Written<Sensor>, WriteError> {
        let created = self.create_sensor(actor, tenant, new).await;
        created.map_err(WriteError::taken_is_stale)
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
