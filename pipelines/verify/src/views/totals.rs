//! What is counted or listed over partitions: tenants, sources, the index, alerts, rollups.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use openinfra_schemas::{Reason, TenantId, time::Millis};
use openinfra_store::{
    KeyBuf, Range, Row,
    tables::views::{
        ALL_TENANTS, ASSET_SHARDS, AlertByIdRow, AlertMonthRow, AlertRow, AssetHealthRow,
        IndicatorRow, LedgerSummaryRow, SENSOR_INDEX_SHARDS, SensorIndexRow, TenantRow,
    },
};

use crate::{
    VerifyError,
    compare::{Comparer, Expected},
    sensor::{Fate, Message},
};

use super::rollups::Rollups;

/// What became of the records of one tenant and source.
#[derive(Debug, Clone, Default)]
pub(crate) struct SourceCounts {
    log_records: i64,
    pub(crate) accepted: i64,
    pub(crate) duplicates: i64,
    pub(crate) corrections: i64,
    /// In the order of [`Reason::ALL`].
    refused: [i64; Reason::ALL.len()],
    server_ts: i64,
    tick: Millis,
}

/// What is gathered while partitions are compared.
#[derive(Debug)]
pub(crate) struct Totals {
    tenants: BTreeMap<TenantId, Millis>,
    sources: HashMap<TenantId, HashMap<String, SourceCounts>>,
    index: BTreeMap<(TenantId, i32), Expected>,
    alerts: Vec<AlertRow>,
    rollups: Rollups,
}

impl SourceCounts {
    /// One more record, whatever becomes of it.
    pub(crate) fn feed(&mut self, tick: Millis) {
        self.log_records += 1;
        self.tick = self.tick.max(tick);
    }

    pub(crate) fn refuse(&mut self, reason: Reason) {
        for (count, other) in self.refused.iter_mut().zip(Reason::ALL) {
            *count += i64::from(other == reason);
        }
    }

    /// What became of a message that was not refused.
    pub(crate) fn decide(&mut self, message: &Message) {
        match message.fate {
            Fate::Accepted => {
                self.accepted += 1;
                self.server_ts += i64::from(!message.device_ts);
            }
            Fate::Duplicate => self.duplicates += 1,
            Fate::Correction => self.corrections += 1,
            Fate::Refused | Fate::Undecided => {}
        }
    }

    fn is_conserved(&self) -> bool {
        let refused: i64 = self.refused.iter().sum();
        self.log_records == self.accepted + self.duplicates + self.corrections + refused
    }

    pub(crate) fn refused_by_reason(&self) -> BTreeMap<String, i64> {
        let named = Reason::ALL.iter().map(|reason| reason.as_str().to_owned());
        let counts = self.refused.iter().copied();
        named.zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    fn row(&self, tenant: &TenantId, source: &str) -> LedgerSummaryRow {
        let [
            undecodable,
            invalid,
            schema_rejected,
            unknown_tenant,
            late_beyond_horizon,
            clock_future,
            unknown_sensor,
        ] = self.refused;
        LedgerSummaryRow {
            tenant: tenant.clone(),
            source: source.to_owned(),
            log_records: self.log_records,
            accepted: self.accepted,
            duplicates: self.duplicates,
            corrections: self.corrections,
            undecodable,
            invalid,
            schema_rejected,
            unknown_tenant,
            late_beyond_horizon,
            clock_future,
            unknown_sensor,
            server_ts: self.server_ts,
            tick: self.tick,
        }
    }
}

impl Totals {
    /// Begins with the tenants that entities name.
    pub(crate) fn new(tenants: BTreeMap<TenantId, Millis>) -> Self {
        Self {
            tenants,
            sources: HashMap::new(),
            index: BTreeMap::new(),
            alerts: Vec::new(),
            rollups: Rollups::default(),
        }
    }

    /// A record names a tenant: the earliest tick of any counts.
    pub(crate) fn heard_of(&mut self, tenant: &TenantId, tick: Millis) {
        match self.tenants.get_mut(tenant) {
            Some(first) => *first = tick.min(*first),
            None => {
                self.tenants.insert(tenant.clone(), tick);
            }
        }
    }

    pub(crate) fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.tenants.keys()
    }

    pub(crate) fn source(&mut self, tenant: &TenantId, source: &str) -> &mut SourceCounts {
        // Looked for before it is made: this is asked for every record.
        if !self.sources.contains_key(tenant) {
            self.sources.insert(tenant.clone(), HashMap::new());
        }
        let sources = self.sources.get_mut(tenant).expect("it was just inserted");
        if !sources.contains_key(source) {
            sources.insert(source.to_owned(), SourceCounts::default());
        }
        sources.get_mut(source).expect("it was just inserted")
    }

    pub(crate) fn index(&mut self, row: &SensorIndexRow) {
        let place = KeyBuf::new().text(row.tenant.as_str()).int(row.shard);
        self.index
            .entry((row.tenant.clone(), row.shard))
            .or_insert_with(|| Expected::partition::<SensorIndexRow>(place))
            .push(row);
    }

    pub(crate) fn alerts(&mut self, rows: Vec<AlertRow>) {
        self.alerts.extend(rows);
    }

    pub(crate) fn rollups(&mut self) -> &mut Rollups {
        &mut self.rollups
    }

    pub(crate) fn is_conserved(&self) -> bool {
        let mut sources = self.sources.values().flat_map(HashMap::values);
        sources.all(SourceCounts::is_conserved)
    }

    /// All sources together.
    pub(crate) fn sums(&self) -> SourceCounts {
        let mut sums = SourceCounts::default();
        for counts in self.sources.values().flat_map(HashMap::values) {
            sums.log_records += counts.log_records;
            sums.accepted += counts.accepted;
            sums.duplicates += counts.duplicates;
            sums.corrections += counts.corrections;
            for (sum, more) in sums.refused.iter_mut().zip(counts.refused) {
                *sum += more;
            }
        }
        sums
    }

    pub(crate) fn records_covered(&self) -> i64 {
        self.sums().log_records
    }

    /// Compares all of it.
    pub(crate) async fn compare(&mut self, compare: &mut Comparer<'_>) -> Result<(), VerifyError> {
        let tenants = compare.tenants();
        self.compare_tenants(compare).await?;
        self.compare_index(&tenants, compare).await?;
        self.compare_alerts(&tenants, compare).await?;
        let summaries = self.sources.iter().flat_map(|(tenant, sources)| {
            let row = move |(source, counts): (&String, &SourceCounts)| counts.row(tenant, source);
            sources.iter().map(row)
        });
        let plain: Vec<KeyBuf> = tenants.iter().map(of_tenant).collect();
        let health: Vec<KeyBuf> = tenants
            .iter()
            .flat_map(|tenant| (0..ASSET_SHARDS).map(|shard| of_tenant(tenant).int(shard)))
            .collect();
        let (assets, indicators) = (self.rollups.asset_health(), self.rollups.indicators());
        let summaries = parts::<LedgerSummaryRow>(plain.clone(), summaries);
        compare.ranges::<LedgerSummaryRow>(summaries).await?;
        let assets = parts::<AssetHealthRow>(health, assets);
        compare.ranges::<AssetHealthRow>(assets).await?;
        let indicators = parts::<IndicatorRow>(plain, indicators);
        compare.ranges::<IndicatorRow>(indicators).await?;
        Ok(())
    }

    async fn compare_tenants(&self, compare: &mut Comparer<'_>) -> Result<(), VerifyError> {
        let rows = self.tenants.iter().map(|(tenant, tick)| TenantRow {
            scope: ALL_TENANTS.to_owned(),
            tenant: tenant.clone(),
            tick: *tick,
        });
        let scope = vec![KeyBuf::new().text(ALL_TENANTS)];
        compare.ranges::<TenantRow>(parts(scope, rows)).await?;
        Ok(())
    }

    async fn compare_index(
        &mut self,
        tenants: &[TenantId],
        compare: &mut Comparer<'_>,
    ) -> Result<(), VerifyError> {
        for tenant in tenants {
            for shard in 0..SENSOR_INDEX_SHARDS {
                let place = of_tenant(tenant).int(shard);
                let key = (tenant.clone(), shard);
                let rows = self.index.remove(&key);
                let rows = rows.unwrap_or_else(|| Expected::partition::<SensorIndexRow>(place));
                compare.ranges::<SensorIndexRow>([rows]).await?;
            }
        }
        Ok(())
    }

    async fn compare_alerts(
        &mut self,
        tenants: &[TenantId],
        compare: &mut Comparer<'_>,
    ) -> Result<(), VerifyError> {
        let rows = std::mem::take(&mut self.alerts);
        // A month is named since the last of its alerts cleared.
        let mut months: BTreeMap<(TenantId, i32), Millis> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.end_ts.is_some()) {
            let tick = months.entry((row.tenant.clone(), row.month)).or_default();
            *tick = row.tick.max(*tick);
        }
        let mut places = Vec::new();
        for tenant in tenants {
            places.push(of_tenant(tenant).text("open").int(-1));
            let named = months
                .keys()
                .filter(|(of, _)| of == tenant)
                .map(|(_, m)| *m);
            let mut named: BTreeSet<i32> = named.collect();
            named.extend(stored_months(tenant, compare).await?);
            let cleared = |month| of_tenant(tenant).text("cleared").int(month);
            places.extend(named.into_iter().map(cleared));
        }
        let by_id: Vec<AlertByIdRow> = rows.iter().map(by_id).collect();
        compare.ranges::<AlertRow>(parts(places, rows)).await?;
        compare.single(&by_id).await?;
        let months = months
            .into_iter()
            .map(|((tenant, month), tick)| AlertMonthRow {
                tenant,
                month,
                tick,
            });
        let plain = tenants.iter().map(of_tenant).collect();
        compare
            .ranges::<AlertMonthRow>(parts(plain, months))
            .await?;
        Ok(())
    }
}

fn of_tenant(tenant: &TenantId) -> KeyBuf {
    KeyBuf::new().text(tenant.as_str())
}

/// The months in which the store says that a tenant has cleared alerts.
async fn stored_months(tenant: &TenantId, compare: &Comparer<'_>) -> Result<Vec<i32>, VerifyError> {
    let place = of_tenant(tenant).into_bytes();
    let range = Range::partition(AlertMonthRow::TABLE, place.clone());
    let rows = compare.store().range(&range).await?;
    // One that does not decode differs, which is told where it is compared.
    let decoded = rows
        .iter()
        .filter_map(|row| AlertMonthRow::decode(&place, &row.clustering, &row.value).ok());
    Ok(decoded.map(|row| row.month).collect())
}

fn by_id(row: &AlertRow) -> AlertByIdRow {
    AlertByIdRow {
        tenant: row.tenant.clone(),
        alert_id: row.alert_id.clone(),
        state: row.state.clone(),
        month: row.month,
        start_ts: row.start_ts,
        tick: row.tick,
    }
}

/// Puts rows into their partitions, which are the given ones.
fn parts<R: Row>(places: Vec<KeyBuf>, rows: impl IntoIterator<Item = R>) -> Vec<Expected> {
    let mut parts: BTreeMap<Vec<u8>, Expected> = places
        .into_iter()
        .map(|place| (place.clone().into_bytes(), Expected::partition::<R>(place)))
        .collect();
    for row in rows {
        let place = row.key().partition().to_vec();
        parts
            .entry(place.clone())
            .or_insert_with(|| Expected::new(Range::partition(R::TABLE, place)))
            .push(&row);
    }
    parts.into_values().collect()
}
