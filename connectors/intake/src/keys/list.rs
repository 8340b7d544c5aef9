//! The keys of a tenant, as whoever runs the server looks through them.
//!
//! What a newcomer would get wrong: revoked keys are listed too. A prefix is never given again, so that
//! what a key once sent can be told for ever.

use openinfra_schemas::{TenantId, time::Millis};
use openinfra_store::{
    Freshness, KeyBuf, Range, Row, StoreError, range_rows,
    tables::entities::{ApiKeyRow, KeyByTenantRow},
};

use super::Keys;

/// A key without its secret, of which only a hash is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    pub prefix: String,
    pub name: String,
    /// `device`, `gateway` or `service`.
    pub kind: String,
    pub permissions: Vec<String>,
    /// JSON array of the sensors that it may send for; none: any of the tenant.
    pub sensor_ids: Option<String>,
    /// Readings a second; none: the default.
    pub readings_per_s: Option<i64>,
    pub revoked: bool,
    pub created_at: Millis,
}

impl Keys {
    /// All keys of a tenant, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self, tenant: &TenantId) -> Result<Vec<ListedKey>, StoreError> {
        let partition = KeyBuf::new().text(tenant.as_str()).into_bytes();
        let range = Range::partition(KeyByTenantRow::TABLE, partition);
        let listed: Vec<KeyByTenantRow> = range_rows(&*self.store, &range).await?;
        let mut keys = Vec::with_capacity(listed.len());
        for entry in listed {
            // One whose making was cut short is no key.
            let row = self.row(&entry.prefix, Freshness::Linearizable).await?;
            keys.extend(row.filter(|row| row.tenant == *tenant).map(ListedKey::from));
        }
        keys.sort_by(|a, b| (a.created_at, &a.prefix).cmp(&(b.created_at, &b.prefix)));
        Ok(keys)
    }
}

impl From<ApiKeyRow> for ListedKey {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            prefix: row.prefix,
            name: row.name,
            kind: row.kind,
            permissions: row
                .permissions
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            sensor_ids: row.sensor_ids,
            readings_per_s: row.readings_per_s,
            revoked: row.revoked,
            created_at: row.created_at,
        }
    }
}
