//! The routes, a file for each resource: path, query, answer, handler, conversions.

mod alerts;
mod assets;
mod health;
mod indicators;
mod ledger;
mod problems;
mod registry;
mod sensor_data;
mod sensor_status;
mod sensor_writes;
mod sensors;
mod tenant_settings;
mod verify;
mod view_rows;
mod views;

use openinfra_schemas::AfterImage;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;

use crate::{app::AppState, entities::Stored};

pub(crate) use registry::face;
pub use verify::VerifyResponse;

/// Routes that answer soon.
pub(crate) fn usual() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(sensors::router())
        .merge(sensor_data::router())
        .merge(sensor_status::router())
        .merge(tenant_settings::router())
        .merge(alerts::router())
        .merge(assets::router())
        .merge(indicators::router())
        .merge(ledger::router())
        .merge(views::router())
        .merge(problems::router())
}

/// Routes of another protocol, which stand behind [`face`].
pub(crate) fn registry() -> OpenApiRouter<AppState> {
    registry::router()
}

/// Routes for whoever runs the process.
pub(crate) fn operations() -> OpenApiRouter<AppState> {
    health::router()
}

/// Routes that work through everything there is.
pub(crate) fn long() -> OpenApiRouter<AppState> {
    view_rows::router().merge(verify::router())
}

/// An entity as its own route answers it, without what views say of it.
pub(crate) fn image_to_json(stored: &Stored<AfterImage>) -> Value {
    let written = match &stored.entity {
        AfterImage::Deleted => Ok(Value::Null),
        AfterImage::Sensor(sensor) => {
            serde_json::to_value(sensors::EntityResponse::new(sensor, stored.version))
        }
        AfterImage::TenantSettings(settings) => serde_json::to_value(
            tenant_settings::SettingsResponse::new(settings, stored.version),
        ),
    };
    written.expect("wire types are plain data")
}
