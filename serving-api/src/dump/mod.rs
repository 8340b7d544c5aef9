//! Every row of a view in key order, one JSON object a line: what `views dump` prints.
//!
//! By content, two dumps are the same byte for byte when the views hold the same, whatever the order, the
//! batches and the times in which the records came; so what tells of those is left out, and the order is
//! that of keys, never of ticks. Memory stays bounded whatever a view holds.

mod aggregates;
mod alerts;
mod ledger;
mod line;
mod place;
mod readings;
mod sensors;
mod tenant;

use std::io;

use async_trait::async_trait;
use openinfra_schemas::{TenantId, time::Millis};
use openinfra_store::{
    KeyBuf, Range, Row, Store, range_rows,
    tables::views::{ALL_TENANTS, TenantRow},
};

use crate::{error::ApiError, lists::MAX_PAGE_BYTES};
pub use line::Page;
use line::Rows;
pub use place::Place;

/// A view that can be dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    Alert,
    AssetHealth,
    HourlyAggregate,
    Indicators,
    LatestReading,
    Ledger,
    OfflineEpisode,
    Readings,
    SensorSeen,
    SensorStatus,
}

impl View {
    pub const ALL: [Self; 10] = [
        Self::Alert,
        Self::AssetHealth,
        Self::HourlyAggregate,
        Self::Indicators,
        Self::LatestReading,
        Self::Ledger,
        Self::OfflineEpisode,
        Self::Readings,
        Self::SensorSeen,
        Self::SensorStatus,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::AssetHealth => "asset_health",
            Self::HourlyAggregate => "hourly_aggregate",
            Self::Indicators => "indicators",
            Self::LatestReading => "latest_reading",
            Self::Ledger => "ledger",
            Self::OfflineEpisode => "offline_episode",
            Self::Readings => "readings",
            Self::SensorSeen => "sensor_seen",
            Self::SensorStatus => "sensor_status",
        }
    }

    /// The view of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|view| view.name() == name)
    }
}

/// What is to be dumped.
#[derive(Debug, Clone)]
pub struct Dump {
    pub view: View,
    /// Leave out what depends on when and where a record came.
    pub by_content: bool,
    /// None: all tenants, one after the other.
    pub tenant: Option<TenantId>,
    /// Partitions of the topic `readings`.
    pub partitions: i32,
    /// The tick that the store is as of, by which windows are final.
    pub as_of: Millis,
}

/// Where lines go. A closure over whole lines, newlines included, is one.
#[async_trait]
pub trait Emit: Send {
    /// Takes some lines, each with its newline.
    async fn lines(&mut self, lines: Vec<u8>) -> io::Result<()>;
}

#[async_trait]
impl<F: FnMut(Vec<u8>) -> io::Result<()> + Send> Emit for F {
    async fn lines(&mut self, lines: Vec<u8>) -> io::Result<()> {
        self(lines)
    }
}

/// Why a dump broke off.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error(transparent)]
    Read(#[from] ApiError),
    #[error("the rows cannot be written: {0}")]
    Write(#[from] io::Error),
}

impl From<openinfra_store::StoreError> for DumpError {
    fn from(error: openinfra_store::StoreError) -> Self {
        Self::Read(error.into())
    }
}

/// Writes every row of a view in key order. Whoever calls sees to it that no tick is written meanwhile.
pub async fn dump_view(
    store: &dyn Store,
    dump: &Dump,
    emit: &mut dyn Emit,
) -> Result<(), DumpError> {
    let tenants = match &dump.tenant {
        Some(tenant) => vec![tenant.clone()],
        None => tenants(store).await?,
    };
    let mut rows = Rows::lines(emit);
    for tenant in &tenants {
        let source = Source {
            store,
            dump,
            tenant,
            after: None,
            limit: usize::MAX,
        };
        source.dump(&mut rows).await?;
    }
    rows.finish().await?;
    Ok(())
}

/// Some of a tenant's rows of a view, in key order, from behind a place on: `limit` of them, or fewer when
/// they are large. Whoever calls sees to it that no tick is written meanwhile.
pub async fn page_of(
    store: &dyn Store,
    dump: &Dump,
    tenant: &TenantId,
    after: Option<&Place>,
    limit: usize,
) -> Result<Page, DumpError> {
    let mut rows = Rows::page(limit, MAX_PAGE_BYTES);
    let source = Source {
        store,
        dump,
        tenant,
        after,
        limit,
    };
    source.dump(&mut rows).await?;
    Ok(rows.finish().await?)
}

/// One tenant's part of a dump.
#[derive(Clone, Copy)]
struct Source<'a> {
    store: &'a dyn Store,
    dump: &'a Dump,
    tenant: &'a TenantId,
    /// Behind which row to begin.
    after: Option<&'a Place>,
    /// How many rows are wanted.
    limit: usize,
}

impl Source<'_> {
    async fn dump(self, rows: &mut Rows<'_>) -> Result<(), DumpError> {
        match self.dump.view {
            View::Alert => alerts::dump(self, rows).await,
            View::AssetHealth => tenant::asset_health(self, rows).await,
            View::HourlyAggregate => aggregates::dump(self, rows).await,
            View::Indicators => tenant::indicators(self, rows).await,
            View::LatestReading => sensors::latest(self, rows).await,
            View::Ledger => ledger::dump(self, rows).await,
            View::OfflineEpisode => sensors::episodes(self, rows).await,
            View::Readings => readings::dump(self, rows).await,
            View::SensorSeen => sensors::seen(self, rows).await,
            View::SensorStatus => sensors::status(self, rows).await,
        }
    }

    /// How many rows of each of many partitions to read at once, where a whole dump reads `whole`.
    fn chunk(&self, whole: usize) -> usize {
        whole.min(self.limit / 16 + 4)
    }

    /// The rows of every bucket of a table.
    fn buckets<R: Row>(&self) -> Vec<Range> {
        let buckets = self.dump.partitions * openinfra_schemas::key::BUCKETS_PER_PARTITION;
        self.shards::<R>(buckets)
    }

    /// The rows of the first `shards` partitions of a table that is spread by number.
    fn shards<R: Row>(&self, shards: i32) -> Vec<Range> {
        let partition = |shard| KeyBuf::new().text(self.tenant.as_str()).int(shard);
        (0..shards)
            .map(|shard| Range::partition(R::TABLE, partition(shard).into_bytes()))
            .map(|range| self.rest_of(range))
            .collect()
    }

    /// What of a range is to be dumped.
    fn rest_of(&self, range: Range) -> Range {
        match self.after {
            Some(after) => after.rest_of_merged(range),
            None => range,
        }
    }

    /// Of partitions that come one after the other those that are to be dumped.
    fn rest_of_sequence(&self, mut ranges: Vec<Range>) -> Vec<Range> {
        let Some(after) = self.after else {
            return ranges;
        };
        let done = ranges.iter().take_while(|range| after.is_outside(range));
        let mut rest = ranges.split_off(done.count());
        if let Some(first) = rest.first_mut() {
            *first = after.rest_of_merged(first.clone());
        }
        rest
    }

    /// What is kept only when the dump is not by content.
    fn unless_by_content<T>(&self, value: T) -> Option<T> {
        (!self.dump.by_content).then_some(value)
    }
}

/// All tenants of the log, in order.
pub async fn tenants(store: &dyn Store) -> Result<Vec<TenantId>, DumpError> {
    let scope = KeyBuf::new().text(ALL_TENANTS).into_bytes();
    let range = Range::partition(TenantRow::TABLE, scope);
    let rows = range_rows::<TenantRow>(store, &range).await?;
    Ok(rows.into_iter().map(|row| row.tenant).collect())
}
