//! What the engine keeps of each tenant: its settings, its sensors' places, and the tick's counts.

use std::collections::HashMap;

use openinfra_schemas::{SensorId, TenantId, TenantSettings};

use crate::{change::OutcomeCounts, views::readings::guards};

/// One tenant, as one worker sees it.
#[derive(Default)]
pub struct Tenant {
    pub settings: Option<TenantSettings>,
    /// The highest version of the settings taken.
    pub settings_version: i64,
    /// Places in the engine's list.
    pub sensors: HashMap<SensorId, u32>,
    counts: Vec<OutcomeCounts>,
}

impl Tenant {
    /// Horizon and future guard in force.
    pub fn guards(&self) -> (i64, i64) {
        guards(self.settings.as_ref())
    }

    /// Whether a sensor that nobody registered is accepted.
    pub fn auto_registers(&self) -> bool {
        self.settings
            .as_ref()
            .map_or(TenantSettings::DEFAULT_AUTO_REGISTER, |settings| {
                settings.auto_register
            })
    }

    /// The tick's counts of one source, of which there are a handful.
    pub fn counts(&mut self, tenant: &TenantId, source: &str) -> &mut OutcomeCounts {
        let place = match self
            .counts
            .iter()
            .position(|counts| counts.source == source)
        {
            Some(place) => place,
            None => {
                self.counts.push(OutcomeCounts::new(tenant.clone(), source));
                self.counts.len() - 1
            }
        };
        &mut self.counts[place]
    }

    /// Takes out the tick's counts.
    pub fn drain_counts(&mut self, into: &mut Vec<OutcomeCounts>) {
        into.append(&mut self.counts);
    }
}

/// The tenants of one worker.
#[derive(Default)]
pub struct Tenants {
    tenants: HashMap<TenantId, Tenant>,
    /// Tenants heard of for the first time in this tick.
    new: Vec<TenantId>,
}

impl Tenants {
    pub fn find(&self, tenant: &TenantId) -> Option<&Tenant> {
        self.tenants.get(tenant)
    }

    /// The tenant, made when it is heard of for the first time.
    pub fn entry(&mut self, tenant: &TenantId) -> &mut Tenant {
        if !self.tenants.contains_key(tenant) {
            self.new.push(tenant.clone());
            self.tenants.insert(tenant.clone(), Tenant::default());
        }
        self.tenants
            .get_mut(tenant)
            .expect("it is there, or was just inserted")
    }

    /// Takes out the tenants that are new.
    pub fn drain_new(&mut self) -> Vec<TenantId> {
        std::mem::take(&mut self.new)
    }

    /// Takes out the counts of all tenants.
    pub fn drain_counts(&mut self) -> Vec<OutcomeCounts> {
        let mut counts = Vec::new();
        for tenant in self.tenants.values_mut() {
            tenant.drain_counts(&mut counts);
        }
        counts
    }
}
