//! API keys: made once, shown once, kept as a hash, checked on every connection and request.
//!
//! A key is `prefix.secret`; the prefix finds its row, the secret has 256 random bits, so that one round
//! of SHA-256 is all the hashing it needs. What a newcomer would get wrong: a revoked key is refused at
//! once by the process that revoked it, by others when what they remember is 5 s old, and while the store
//! does not answer when it is 15 minutes old: readings go on without the store ([`Belief`]).

mod list;

pub use list::ListedKey;

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use moka::future::Cache;
use openinfra_schemas::{SensorId, TenantId, ids::IdError, time::Millis};
use openinfra_store::{
    Condition, ConditionalBatch, Freshness, KeyBuf, Outcome, Row, RowKey, Store, StoreError,
    get_row,
    tables::entities::{ApiKeyRow, KeyByTenantRow},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    AuthError, Credentials, INGEST_READINGS, Principal, PrincipalKind, TRUST_RECEIVE_TIME,
};

/// How long an answer is waited for where a row that may be believed is at hand.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many keys are remembered at most.
const CACHE_KEYS: u64 = 10_000;
/// The most sensors that one key may be bound to.
pub const MAX_SENSORS: usize = 10_000;

/// How long a row that was read is believed.
#[derive(Debug, Clone, Copy)]
pub struct Belief {
    /// Without a look at the store. Default: 5 s.
    pub fresh: Duration,
    /// While the store does not answer. Default: 15 minutes.
    pub at_most: Duration,
    /// How long a store that did not answer is not asked again. Default: 5 s.
    pub away: Duration,
}

impl Default for Belief {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(5),
            at_most: Duration::from_secs(15 * 60),
            away: Duration::from_secs(5),
        }
    }
}

/// Makes and checks keys. Cheap to clone; clones share their cache.
#[derive(Clone)]
pub struct Keys {
    store: Arc<dyn Store>,
    known: Cache<String, Arc<Known>>,
    belief: Belief,
    /// When the store did not answer, if it has not since.
    away: Arc<Mutex<Option<Instant>>>,
    dev: Option<Arc<Principal>>,
}

/// What is remembered of a key.
struct Known {
    read_at: Instant,
    secret_hash: Vec<u8>,
    principal: Arc<Principal>,
}

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub tenant: TenantId,
    /// For people: 1 to 200 characters.
    pub name: String,
    pub kind: PrincipalKind,
    pub permissions: BTreeSet<String>,
    /// The sensors it may send for; none: any of the tenant.
    pub sensor_ids: Option<Vec<String>>,
    /// Readings a second; none: the default.
    pub readings_per_s: Option<u32>,
}

impl NewKey {
    /// A device's key that may send readings of any sensor of the tenant, at the default rate.
    pub fn device(tenant: TenantId, name: &str) -> Self {
        Self {
            tenant,
            name: name.to_owned(),
            kind: PrincipalKind::Device,
            permissions: BTreeSet::from([INGEST_READINGS.to_owned()]),
            sensor_ids: None,
            readings_per_s: None,
        }
    }
}

/// A key that was made; `key` cannot be had again.
#[derive(Clone, PartialEq, Eq)]
pub struct CreatedKey {
    pub prefix: String,
    /// `prefix.secret`.
    pub key: String,
}

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateKeyError {
    #[error("the name of a key has 1 to 200 characters, this one {0}")]
    Name(usize),
    #[error("a key is of kind device, gateway or service")]
    Kind,
    #[error("a {kind} key may hold {INGEST_READINGS} and {TRUST_RECEIVE_TIME}, not {permission:?}")]
    Permission {
        kind: &'static str,
        permission: String,
    },
    #[error("a key is bound to 1 to {MAX_SENSORS} sensors or to none, not to {0}")]
    SensorCount(usize),
    #[error(transparent)]
    Sensor(#[from] IdError),
    #[error("a key that may send 0 readings a second is of no use")]
    Rate,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Keys {
    /// The keys in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            known: Cache::builder().max_capacity(CACHE_KEYS).build(),
            belief: Belief::default(),
            away: Arc::default(),
            dev: None,
        }
    }

    /// Keys that are believed as long as this.
    #[must_use]
    pub fn believed(self, belief: Belief) -> Self {
        Self { belief, ..self }
    }

    /// Dev mode: who shows no credentials may do everything in `tenant`. Wrong credentials stay wrong.
    /// That only loopback addresses are served then is for the binary to see to.
    pub fn dev(self, tenant: TenantId) -> Self {
        Self {
            dev: Some(Arc::new(Principal::dev(tenant))),
            ..self
        }
    }

    /// Whose credentials these are.
    pub async fn verify(&self, credentials: &Credentials) -> Result<Arc<Principal>, AuthError> {
        let Some((prefix, secret)) = split(credentials)? else {
            return self.dev.clone().ok_or(AuthError::Missing);
        };
        let hash = hash(secret);
        let known = self.find(prefix).await.map_err(|error| {
            match &error {
                // The store itself has one line for all requests.
                StoreError::Unavailable(_) => tracing::debug!(%error, "a key cannot be checked"),
                _ => tracing::error!(%error, "a key cannot be checked"),
            }
            AuthError::Unavailable(error.to_string())
        })?;
        match known {
            Some(known) if bool::from(known.secret_hash.ct_eq(&hash)) => {
                Ok(Arc::clone(&known.principal))
            }
            _ => Err(AuthError::Wrong),
        }
    }

    /// Makes a key; when this returns, it is good.
    pub async fn create(&self, new: NewKey) -> Result<CreatedKey, CreateKeyError> {
        check(&new)?;
        loop {
            let prefix = hex(&rand::random::<[u8; 6]>());
            let secret = hex(&rand::random::<[u8; 32]>());
            let row = row_of(&new, &prefix, &secret);
            let listed = KeyByTenantRow {
                tenant: row.tenant.clone(),
                prefix: prefix.clone(),
                created_at: row.created_at,
            };
            if self.write_new(&listed).await? && self.write_new(&row).await? {
                let key = format!("{prefix}.{secret}");
                return Ok(CreatedKey { prefix, key });
            }
        }
    }

    /// Ends a key; false when there is none of this prefix.
    pub async fn revoke(&self, prefix: &str) -> Result<bool, StoreError> {
        loop {
            let Some(mut row) = self.row(prefix, Freshness::Linearizable).await? else {
                return Ok(false);
            };
            let unchanged = Condition::Equals {
                key: row.key(),
                column: "created_at",
                value: row.created_at,
            };
            row.revoked = true;
            let mut batch = ConditionalBatch::new(vec![unchanged]);
            batch.put(&row);
            if self.store.write_if(batch).await? == Outcome::Applied {
                self.known.invalidate(prefix).await;
                return Ok(true);
            }
        }
    }

    /// False when there is such a row already.
    async fn write_new<R: Row>(&self, row: &R) -> Result<bool, StoreError> {
        let mut batch = ConditionalBatch::new(vec![Condition::Absent(row.key())]);
        batch.put(row);
        Ok(self.store.write_if(batch).await? == Outcome::Applied)
    }

    async fn find(&self, prefix: &str) -> Result<Option<Arc<Known>>, StoreError> {
        let believed = self.known.get(prefix).await;
        let believed = believed.filter(|known| known.read_at.elapsed() < self.belief.at_most);
        if let Some(known) = &believed
            && (known.read_at.elapsed() < self.belief.fresh || self.is_away())
        {
            return Ok(believed);
        }
        // Unknown prefixes are not remembered: a key is good from the moment it is made.
        let asked = self.row(prefix, Freshness::Acknowledged);
        let answer = match believed {
            None => asked.await,
            Some(_) => tokio::time::timeout(PATIENCE, asked)
                .await
                .unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".to_owned()))),
        };
        let row = match (answer, believed) {
            (Err(error @ StoreError::Unavailable(_)), Some(known)) => {
                if self.set_away(Some(Instant::now())).is_none() {
                    tracing::warn!(%error, "keys are believed that were read before");
                }
                return Ok(Some(known));
            }
            (answer, _) => answer?,
        };
        if self.set_away(None).is_some() {
            tracing::info!("keys are read again");
        }
        let Some(known) = row.filter(|row| !row.revoked).and_then(known) else {
            self.known.invalidate(prefix).await;
            return Ok(None);
        };
        let known = Arc::new(known);
        self.known
            .insert(prefix.to_owned(), Arc::clone(&known))
            .await;
        Ok(Some(known))
    }

    fn is_away(&self) -> bool {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|since| since.elapsed() < self.belief.away)
    }

    /// What it was before.
    fn set_away(&self, since: Option<Instant>) -> Option<Instant> {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut away, since)
    }

    async fn row(
        &self,
        prefix: &str,
        freshness: Freshness,
    ) -> Result<Option<ApiKeyRow>, StoreError> {
        let partition = KeyBuf::new().text(prefix);
        let key = RowKey::new(ApiKeyRow::TABLE, &partition, &KeyBuf::new());
        get_row(&*self.store, &key, freshness).await
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("dev", &self.dev)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedKey")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Prefix and secret; none when nothing at all was shown.
///
/// A secret holds no dot, so that a whole key in the password's place is told from a secret alone.
fn split(credentials: &Credentials) -> Result<Option<(&str, &str)>, AuthError> {
    let username = credentials
        .username
        .as_deref()
        .filter(|name| !name.is_empty());
    match (username, credentials.secret.as_deref()) {
        (None, None) => Ok(None),
        (_, None) => Err(AuthError::Wrong),
        (username, Some(secret)) => match (secret.split_once('.'), username) {
            (Some(whole), _) => Ok(Some(whole)),
            (None, Some(username)) => Ok(Some((username, secret))),
            (None, None) => Err(AuthError::Wrong),
        },
    }
}

fn check(new: &NewKey) -> Result<(), CreateKeyError> {
    let characters = new.name.chars().count();
    if !(1..=200).contains(&characters) {
        return Err(CreateKeyError::Name(characters));
    }
    match new.kind {
        PrincipalKind::Device | PrincipalKind::Gateway => {
            let allowed = [INGEST_READINGS, TRUST_RECEIVE_TIME];
            let other = new
                .permissions
                .iter()
                .find(|p| !allowed.contains(&p.as_str()));
            if let Some(permission) = other {
                return Err(CreateKeyError::Permission {
                    kind: new.kind.as_str(),
                    permission: permission.clone(),
                });
            }
        }
        PrincipalKind::Service => {}
        PrincipalKind::Dev => return Err(CreateKeyError::Kind),
    }
    if let Some(sensors) = &new.sensor_ids {
        if !(1..=MAX_SENSORS).contains(&sensors.len()) {
            return Err(CreateKeyError::SensorCount(sensors.len()));
        }
        for sensor in sensors {
            SensorId::parse(sensor)?;
        }
    }
    if new.readings_per_s == Some(0) {
        return Err(CreateKeyError::Rate);
    }
    Ok(())
}

fn row_of(new: &NewKey, prefix: &str, secret: &str) -> ApiKeyRow {
    let permissions: Vec<&str> = new.permissions.iter().map(String::as_str).collect();
    ApiKeyRow {
        prefix: prefix.to_owned(),
        tenant: new.tenant.clone(),
        name: new.name.clone(),
        kind: new.kind.as_str().to_owned(),
        secret_hash: hash(secret),
        permissions: permissions.join(" "),
        sensor_ids: new
            .sensor_ids
            .as_ref()
            .map(|ids| serde_json::Value::from(ids.clone()).to_string()),
        readings_per_s: new.readings_per_s.map(i64::from),
        revoked: false,
        created_at: now(),
    }
}

/// None when the row holds what no version of ours wrote: such a key is good for nothing.
fn known(row: ApiKeyRow) -> Option<Known> {
    let permissions: BTreeSet<String> = row
        .permissions
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let sensors = match &row.sensor_ids {
        Some(ids) => Some(serde_json::from_str::<HashSet<String>>(ids).ok()?),
        None => None,
    };
    let principal = Principal {
        kind: PrincipalKind::parse_key(&row.kind)?,
        may_trust_recv: permissions.contains(TRUST_RECEIVE_TIME),
        readings_per_s: row.readings_per_s.and_then(|rate| rate.try_into().ok()),
        tenant: row.tenant,
        name: row.prefix,
        permissions,
        sensors,
    };
    Some(Known {
        read_at: Instant::now(),
        secret_hash: row.secret_hash,
        principal: Arc::new(principal),
    })
}

fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now() -> Millis {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as Millis)
}
