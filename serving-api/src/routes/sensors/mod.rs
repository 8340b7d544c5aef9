//! Sensors: those that people registered, and those that only sent.
//!
//! The list is the view `sensor_index`, as of its tick; one sensor read by its id is the entity as it
//! stands now, beside what the views say of it.

mod body;
mod find;
mod list;
mod query;
mod response;
mod rows;
mod views;

use openinfra_schemas::{
    SensorId, TenantId,
    key::{partition_of_bucket, reading_key, sensor_bucket},
};
use openinfra_store::{KeyBuf, RowKey, Table};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::{App, AppState};

use super::sensor_writes;

pub(super) use body::{CreateSensorBody, SensorBody};
pub(crate) use response::EntityResponse;
pub(super) use response::SensorResponse;
pub(super) use views::{heard_at, written};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list::list_sensors, sensor_writes::create_sensor))
        .routes(routes!(
            find::find_sensor,
            sensor_writes::update_sensor,
            sensor_writes::patch_sensor,
            sensor_writes::delete_sensor
        ))
}

/// The bucket that a sensor's rows are in.
pub(super) fn bucket_of(app: &App, tenant: &TenantId, id: &SensorId) -> i32 {
    sensor_bucket(&reading_key(tenant, id), app.partitions())
}

/// The key of a sensor's row in a table of views that has one for each.
pub(super) fn sensor_key(
    table: &'static Table,
    tenant: &TenantId,
    bucket: i32,
    id: &SensorId,
) -> RowKey {
    let log_partition = partition_of_bucket(bucket);
    let partition = KeyBuf::new().text(tenant.as_str()).int(log_partition);
    RowKey::new(table, &partition, &KeyBuf::new().text(id.as_str()))
}
