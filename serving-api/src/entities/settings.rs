//! A tenant's settings: one entity for each tenant, whose id is the tenant's own.
//!
//! A tenant that never wrote them has the defaults, at version 0; whoever expects version 0 creates them.

use openinfra_schemas::{AfterImage, EntityKind, TenantId, TenantSettings, time::Millis};
use serde_json::{Value, json};

use super::{
    Change, Entities, Stored, WriteError, Written,
    error::Violation,
    fields::{Fields, check_range},
    patch,
    write::Target,
};

/// A hundred years: captures that are replayed are years old.
pub const MAX_HORIZON_MS: i64 = 36_500 * 86_400_000;
/// One day.
pub const MAX_FUTURE_GUARD_MS: i64 = 86_400_000;

/// What may be written of a tenant's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingsFields {
    /// 0 to 36,500 days.
    pub horizon_ms: i64,
    /// 0 to one day.
    pub future_guard_ms: i64,
    pub auto_register: bool,
}

impl Default for SettingsFields {
    fn default() -> Self {
        Self {
            horizon_ms: TenantSettings::DEFAULT_HORIZON_MS,
            future_guard_ms: TenantSettings::DEFAULT_FUTURE_GUARD_MS,
            auto_register: TenantSettings::DEFAULT_AUTO_REGISTER,
        }
    }
}

impl From<&TenantSettings> for SettingsFields {
    fn from(settings: &TenantSettings) -> Self {
        Self {
            horizon_ms: settings.horizon_ms,
            future_guard_ms: settings.future_guard_ms,
            auto_register: settings.auto_register,
        }
    }
}

impl SettingsFields {
    /// Reads the body of a replacement; what is absent gets its default. Every rule that it breaks is
    /// reported.
    pub fn from_json(body: &Value) -> Result<Self, WriteError> {
        let mut violations = Vec::new();
        match read(body, &mut violations) {
            Some(fields) if violations.is_empty() => Ok(fields),
            _ => Err(WriteError::invalid(violations)),
        }
    }

    /// The fields as a body has them.
    pub fn to_json(&self) -> Value {
        json!({
            "horizon_ms": self.horizon_ms,
            "future_guard_ms": self.future_guard_ms,
            "auto_register": self.auto_register,
        })
    }

    /// These fields after an RFC 7396 merge patch.
    pub fn patched(&self, patch: &Value) -> Result<Self, WriteError> {
        let mut body = self.to_json();
        patch::merge(&mut body, patch);
        Self::from_json(&body)
    }

    /// Checks every rule.
    pub fn checked(self) -> Result<Self, WriteError> {
        let mut violations = Vec::new();
        self.check(&mut violations);
        if violations.is_empty() {
            Ok(self)
        } else {
            Err(WriteError::invalid(violations))
        }
    }

    fn check(&self, violations: &mut Vec<Violation>) {
        for (value, at, most) in [
            (self.horizon_ms, "/horizon_ms", MAX_HORIZON_MS),
            (
                self.future_guard_ms,
                "/future_guard_ms",
                MAX_FUTURE_GUARD_MS,
            ),
        ] {
            check_range(Some(value), at, 0, most, violations);
        }
    }
}

fn read(body: &Value, violations: &mut Vec<Violation>) -> Option<SettingsFields> {
    let defaults = SettingsFields::default();
    let mut fields = Fields::of(body, "", violations)?;
    let read = SettingsFields {
        horizon_ms: fields.whole("horizon_ms").unwrap_or(defaults.horizon_ms),
        future_guard_ms: fields
            .whole("future_guard_ms")
            .unwrap_or(defaults.future_guard_ms),
        auto_register: fields
            .flag("auto_register")
            .unwrap_or(defaults.auto_register),
    };
    fields.done();
    read.check(violations);
    Some(read)
}

impl Entities {
    /// A tenant's settings as they stand; the defaults at version 0 when nobody wrote them.
    pub async fn settings(&self, tenant: &TenantId) -> Result<Stored<TenantSettings>, WriteError> {
        let kind = EntityKind::TenantSettings;
        match self.find(tenant, kind, tenant.as_str()).await? {
            Some(stored) => stored.try_map(of_image),
            None => Ok(unwritten()),
        }
    }

    /// Replaces a tenant's settings, or creates them when `expected` is 0.
    ///
    /// Errs with `Stale` when they are at another version.
    pub async fn update_settings(
        &self,
        actor: &str,
        tenant: &TenantId,
        expected: i64,
        fields: SettingsFields,
    ) -> Result<Written<TenantSettings>, WriteError> {
        let fields = fields.checked()?;
        self.change_settings(actor, tenant, expected, |_| Ok(fields))
            .await
    }

    /// Applies an RFC 7396 merge patch to a tenant's settings; errs as [`Entities::update_settings`].
    pub async fn patch_settings(
        &self,
        actor: &str,
        tenant: &TenantId,
        expected: i64,
        patch: &Value,
    ) -> Result<Written<TenantSettings>, WriteError> {
        self.change_settings(actor, tenant, expected, |settings| {
            SettingsFields::from(settings).patched(patch)
        })
        .await
    }

    async fn change_settings(
        &self,
        actor: &str,
        tenant: &TenantId,
        expected: i64,
        fields: impl FnOnce(&TenantSettings) -> Result<SettingsFields, WriteError>,
    ) -> Result<Written<TenantSettings>, WriteError> {
        let now = self.now();
        let change = Change::new();
        let target = Target {
            change: &change,
            actor,
            tenant,
            kind: EntityKind::TenantSettings,
            id: tenant.as_str(),
        };
        let written = if expected == 0 {
            let fields = fields(&unwritten().entity)?;
            let after = built(fields, (now, actor), (now, actor));
            let created = self.create(target, AfterImage::TenantSettings(after)).await;
            // Settings are always there, so that creating them twice is a stale write.
            created.map_err(WriteError::taken_is_stale)?
        } else {
            let replaced = self
                .replace(target, expected, |current| {
                    let settings = of_image(current)?;
                    let created = (settings.created_at, settings.created_by.as_str());
                    let after = built(fields(&settings)?, created, (now, actor));
                    Ok(AfterImage::TenantSettings(after))
                })
                .await;
            replaced.map_err(|error| absent_is_stale(error, expected))?
        };
        written.try_map(of_image)
    }
}

/// Settings that nobody wrote are at version 0, not absent.
fn absent_is_stale(error: WriteError, expected: i64) -> WriteError {
    match error {
        WriteError::NotFound { kind } => {
            let current = unwritten().map(AfterImage::TenantSettings);
            WriteError::Stale {
                kind,
                expected,
                current: Box::new(current),
            }
        }
        other => other,
    }
}

/// What stands where nobody wrote: the defaults, by nobody, at the epoch.
fn unwritten() -> Stored<TenantSettings> {
    Stored {
        version: 0,
        change_id: String::new(),
        actor: String::new(),
        at: 0,
        entity: built(SettingsFields::default(), (0, ""), (0, "")),
    }
}

fn built(
    fields: SettingsFields,
    created: (Millis, &str),
    updated: (Millis, &str),
) -> TenantSettings {
    TenantSettings {
        horizon_ms: fields.horizon_ms,
        future_guard_ms: fields.future_guard_ms,
        auto_register: fields.auto_register,
        created_at: created.0,
        created_by: created.1.to_owned(),
        updated_at: updated.0,
        updated_by: updated.1.to_owned(),
    }
}

fn of_image(image: AfterImage) -> Result<TenantSettings, WriteError> {
    match image {
        AfterImage::TenantSettings(settings) => Ok(settings),
        AfterImage::Deleted | AfterImage::Sensor(_) => Err(WriteError::NotFound {
            kind: EntityKind::TenantSettings,
        }),
    }
}
