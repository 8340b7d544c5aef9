//! What the views say of a sensor, beside its entity.

use openinfra_schemas::{Sensor, SensorId, TenantId, time::Millis};
use openinfra_store::{
    Freshness, Row, get_row,
    tables::views::{LatestReadingRow, SensorStatusRow},
};
use serde_json::{Map, Value};

use crate::{
    app::App,
    entities::{SensorFields, Stored},
    error::ApiError,
    wire::Ts,
};

use super::{
    super::sensor_data::ReadingResponse,
    bucket_of,
    response::{SensorResponse, Stamp},
    sensor_key,
};

/// What the views say of one sensor.
pub(super) struct Views {
    pub(super) status: String,
    pub(super) stale: bool,
    /// Whether any view has the sensor.
    pub(super) known: bool,
    pub(super) heard: Heard,
}

/// When the last message of a sensor came, and the newest reading that was taken of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    pub(super) latest: Option<LatestReadingRow>,
    pub(super) last_recv_ts: Option<Millis>,
}

impl Heard {
    pub(super) fn of(latest: Option<LatestReadingRow>, status: Option<&SensorStatusRow>) -> Self {
        Self {
            last_recv_ts: heard_at(latest.as_ref(), status),
            latest,
        }
    }
}

/// Greatest receive time of any message of a sensor. Its status has it until a reading was taken.
pub(in super::super) fn heard_at(
    latest: Option<&LatestReadingRow>,
    status: Option<&SensorStatusRow>,
) -> Option<Millis> {
    match latest {
        Some(latest) => Some(latest.last_recv_ts),
        None => status.and_then(|status| status.last_recv_ts),
    }
}

impl Views {
    pub(super) async fn of(app: &App, tenant: &TenantId, id: &SensorId) -> Result<Self, ApiError> {
        let bucket = bucket_of(app, tenant, id);
        let key = sensor_key(SensorStatusRow::TABLE, tenant, bucket, id);
        let status = get_row::<SensorStatusRow>(&*app.store, &key, Freshness::Acknowledged).await?;
        let key = sensor_key(LatestReadingRow::TABLE, tenant, bucket, id);
        let latest =
            get_row::<LatestReadingRow>(&*app.store, &key, Freshness::Acknowledged).await?;
        Ok(Self {
            known: status.is_some() || latest.is_some(),
            stale: status.as_ref().is_some_and(|s| s.stale_since.is_some()),
            heard: Heard::of(latest, status.as_ref()),
            status: status.map_or_else(|| "never_seen".to_owned(), |status| status.status),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.known
    }

    pub(super) fn beside(&self, stored: &Stored<Sensor>, include_latest: bool) -> SensorResponse {
        self.of_entity(&stored.entity, stored.version, include_latest)
    }

    pub(super) fn of_entity(
        &self,
        sensor: &Sensor,
        version: i64,
        include_latest: bool,
    ) -> SensorResponse {
        SensorResponse {
            fields: SensorFields::from(sensor).to_json(),
            registered: true,
            stamp: Stamp::new(sensor, version),
            ..self.alone(&sensor.sensor_id, include_latest)
        }
    }

    pub(super) fn alone(&self, id: &SensorId, include_latest: bool) -> SensorResponse {
        let latest = self.heard.latest.as_ref().filter(|_| include_latest);
        SensorResponse {
            sensor_id: id.to_string(),
            fields: Value::Object(Map::new()),
            registered: false,
            status: self.status.clone(),
            stale: self.stale,
            last_recv_at: self.heard.last_recv_ts.map(Ts),
            latest: latest.map(ReadingResponse::from),
            stamp: Stamp::default(),
        }
    }
}

/// The answer to a write: what the views say of the sensor comes with its next read.
pub(in super::super) async fn written(
    app: &App,
    tenant: &TenantId,
    sensor: &Sensor,
    version: i64,
) -> Result<SensorResponse, ApiError> {
    let views = Views::of(app, tenant, &sensor.sensor_id).await?;
    Ok(views.of_entity(sensor, version, false))
}
