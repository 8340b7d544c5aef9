//! Tables that no view is in: entities, what is under way with them, credentials, secrets of the product's own,
//! and what it has to remember of others.

use openinfra_schemas::{TenantId, time::Millis};

use crate::table;

table! {
    /// An entity: version 0 is its current row, each version above it a row of its history. Below it stand
    /// verdicts, one for each change: the version that it made, or 0 when it was taken back.
    pub struct EntityRow in "entity" {
        partition { tenant: TenantId, kind: String, id: String }
        clustering { version: i64 }
        values {
            /// The version that this row holds: in the current row the newest, in the history the key's.
            holds: i64,
            change_id: String,
            actor: String,
            at: Millis,
            /// The after-image as JSON; none: deleted.
            body: Option<String>,
        }
    }
}

/// Into how many partitions intents are spread.
pub const INTENT_SHARDS: i32 = 16;

table! {
    /// A write under way: from before its batch until after its record is in the log.
    pub struct IntentRow in "intent" {
        partition { shard: i32 }
        clustering { change_id: String }
        values {
            tenant: TenantId,
            kind: String,
            id: String,
            /// The version that the write makes.
            version: i64,
            actor: String,
            at: Millis,
            body: Option<String>,
        }
    }
}

table! {
    /// A device or service key, found by its prefix; of the secret only a hash is kept.
    pub struct ApiKeyRow in "api_key" {
        partition { prefix: String }
        clustering {}
        values {
            tenant: TenantId,
            name: String,
            /// `device`, `gateway` or `service`.
            kind: String,
            /// SHA-256 of the secret: it has 256 random bits, so that a slow hash would add nothing.
            secret_hash: Vec<u8>,
            /// Space-separated permissions.
            permissions: String,
            /// JSON array of sensor ids; none: any sensor of the tenant.
            sensor_ids: Option<String>,
            readings_per_s: Option<i64>,
            revoked: bool,
            created_at: Millis,
        }
    }
}

table! {
    /// Which keys a tenant has. Written before the key itself, so that none is good and not listed; one
    /// whose key was never written is no key.
    pub struct KeyByTenantRow in "api_key_by_tenant" {
        partition { tenant: TenantId }
        clustering { prefix: String }
        values {
            created_at: Millis,
        }
    }
}

table! {
    /// The first answer to an Idempotency-Key.
    pub struct IdempotencyRow in "idempotency" {
        partition { tenant: TenantId, principal: String, route: String, key: String }
        clustering {}
        values {
            /// SHA-256 of the request's body.
            request_hash: Vec<u8>,
            /// None while the first request runs.
            status: Option<i32>,
            /// The answer's headers that belong to it, and its body, as JSON.
            answer: Option<String>,
            at: Millis,
            /// Of the write that the request makes, if it makes one: whoever takes the claim over tries
            /// the same again.
            change_id: Option<String>,
            /// The process that works on it: a name that it gave itself when it started.
            process: Option<String>,
        }
    }
}

table! {
    /// What the product itself keeps secret: keys that sign what it hands out, made once.
    pub struct SecretRow in "secret" {
        partition { name: String }
        clustering {}
        values {
            secret: Vec<u8>,
            created_at: Millis,
        }
    }
}

table! {
    /// Which filters a client has, or may have, in its session at somebody else's broker.
    pub struct BrokerSessionRow in "broker_session" {
        partition { client_id: String, broker: String }
        clustering {}
        values {
            /// Counts its writes.
            version: i64,
            /// A JSON array.
            filters: String,
        }
    }
}
