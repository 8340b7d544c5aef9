//! After-images as they stand in the store: the entity's record as JSON, none when it is deleted.
//!
//! The kind is in the row's key, not in the body.

use openinfra_schemas::{AfterImage, EntityChange, EntityKind, key};
use openinfra_store::tables::entities::{EntityRow, INTENT_SHARDS, IntentRow};
use serde::de::DeserializeOwned;

use super::WriteError;

/// The body of a row that holds this image.
pub(super) fn to_body(after: &AfterImage) -> Option<String> {
    let json = match after {
        AfterImage::Deleted => return None,
        AfterImage::Sensor(sensor) => serde_json::to_string(sensor),
        AfterImage::TenantSettings(settings) => serde_json::to_string(settings),
    };
    Some(json.expect("entities are maps with text keys, which JSON always takes"))
}

/// The kind and the image of a row.
pub(super) fn from_body(
    kind: &str,
    id: &str,
    body: Option<&str>,
) -> Result<(EntityKind, AfterImage), WriteError> {
    fn read<T: DeserializeOwned>(body: &str) -> Result<T, String> {
        serde_json::from_str(body).map_err(|e| e.to_string())
    }
    let known = EntityKind::parse(kind).ok_or_else(|| "the kind is not known".to_owned());
    known
        .and_then(|known| {
            let after = match (known, body) {
                (_, None) => AfterImage::Deleted,
                (EntityKind::Sensor, Some(body)) => AfterImage::Sensor(read(body)?),
                (EntityKind::TenantSettings, Some(body)) => AfterImage::TenantSettings(read(body)?),
            };
            Ok((known, after))
        })
        .map_err(|reason| WriteError::Unreadable {
            kind: kind.to_owned(),
            id: id.to_owned(),
            reason,
        })
}

/// The record of the log that an intent leads to, and its key.
pub(super) fn record_of(intent: &IntentRow) -> Result<(Vec<u8>, EntityChange), WriteError> {
    let (kind, after) = from_body(&intent.kind, &intent.id, intent.body.as_deref())?;
    let change = EntityChange {
        tenant: intent.tenant.clone(),
        kind: intent.kind.clone(),
        id: intent.id.clone(),
        version: intent.version,
        change_id: intent.change_id.clone(),
        actor: intent.actor.clone(),
        at: intent.at,
        after,
    };
    Ok((key::entity_key(&intent.tenant, kind, &intent.id), change))
}

/// The row that an intent leads to: its current row at `version` 0, else the history row.
pub(super) fn row_of(intent: &IntentRow, version: i64) -> EntityRow {
    EntityRow {
        tenant: intent.tenant.clone(),
        kind: intent.kind.clone(),
        id: intent.id.clone(),
        version,
        holds: intent.version,
        change_id: intent.change_id.clone(),
        actor: intent.actor.clone(),
        at: intent.at,
        body: intent.body.clone(),
    }
}

/// The intent that led to a history row.
pub(super) fn intent_of(row: EntityRow) -> IntentRow {
    IntentRow {
        shard: shard_of(&row.change_id),
        change_id: row.change_id,
        tenant: row.tenant,
        kind: row.kind,
        id: row.id,
        version: row.holds,
        actor: row.actor,
        at: row.at,
        body: row.body,
    }
}

/// The shard that a change's intent stands in.
pub(super) fn shard_of(change_id: &str) -> i32 {
    key::partition_of(change_id.as_bytes(), INTENT_SHARDS)
}
