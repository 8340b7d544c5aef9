//! What a tenant's settings mean to views: when a window is final.

use openinfra_schemas::{
    EntityKind, TenantId, TenantSettings,
    time::{Millis, hour_of},
};
use openinfra_store::{
    Freshness, KeyBuf, Row, RowKey, Store, get_row, tables::entities::EntityRow,
};
use serde_json::Value;

use crate::error::ApiError;

/// A connector appends nothing that it received longer ago.
const FINALITY_MARGIN_MS: Millis = 600_000;

/// When windows of a tenant are final: derived when they are read, never stored.
#[derive(Debug, Clone, Copy)]
pub struct Finality {
    /// Windows that end here or before are final.
    pub through: Millis,
}

impl Finality {
    /// As of a tick, by the tenant's horizon.
    pub async fn of(store: &dyn Store, tenant: &TenantId, as_of: Millis) -> Result<Self, ApiError> {
        let horizon = horizon_ms(store, tenant).await?;
        Ok(Self {
            through: as_of
                .saturating_sub(horizon)
                .saturating_sub(FINALITY_MARGIN_MS),
        })
    }

    /// Whether a window that ends (exclusively) here is final.
    pub fn is_final(self, end: Millis) -> bool {
        end <= self.through
    }

    /// The end of the last hour that is final.
    pub fn hours_through(self) -> Millis {
        hour_of(self.through)
    }
}

async fn horizon_ms(store: &dyn Store, tenant: &TenantId) -> Result<Millis, ApiError> {
    let kind = EntityKind::TenantSettings.as_str();
    let partition = KeyBuf::new()
        .text(tenant.as_str())
        .text(kind)
        .text(tenant.as_str());
    let key = RowKey::new(EntityRow::TABLE, &partition, &KeyBuf::new().bigint(0));
    let row = get_row::<EntityRow>(store, &key, Freshness::Acknowledged).await?;
    let body = row.and_then(|row| row.body);
    let body: Option<Value> = body
        .map(|body| serde_json::from_str(&body))
        .transpose()
        .map_err(|source| ApiError::Stored {
            what: "the tenant's settings",
            source,
        })?;
    let horizon = body.and_then(|body| body.get("horizon_ms").and_then(Value::as_i64));
    Ok(horizon.unwrap_or(TenantSettings::DEFAULT_HORIZON_MS))
}
