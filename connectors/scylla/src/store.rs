//! The store: what it is made of, and the trait.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use openinfra_store::{
    Batch, ConditionalBatch, Freshness, Outcome, Range, RawRow, RowKey, Store, StoreError, Table,
    tables,
};
use prometheus::Registry;
use scylla::client::session::Session;

use crate::{
    cluster::Cluster, config::Config, error::OpenError, lwt::Turns, metrics::Metrics, migrate,
    prepared::Statements, request::Requests, write::Clock,
};

/// The store on a cluster.
pub struct ScyllaStore {
    pub(crate) session: Arc<Session>,
    pub(crate) statements: Statements,
    pub(crate) requests: Requests,
    pub(crate) clock: Clock,
    pub(crate) turns: Turns,
}

impl ScyllaStore {
    /// Connects and prepares the statements of `tables`. If any of them is one of the product's, the
    /// cluster must have all migrations that this program knows.
    pub async fn open(
        config: &Config,
        tables: &[&'static Table],
        registry: &Registry,
    ) -> Result<Self, OpenError> {
        let cluster = Cluster::connect(config).await?;
        if tables.iter().any(|table| tables::ALL.contains(table)) {
            migrate::check(&cluster).await?;
        }
        Self::new(&cluster, tables, registry).await
    }

    /// The store on tables that are there.
    pub async fn new(
        cluster: &Cluster,
        tables: &[&'static Table],
        registry: &Registry,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            session: Arc::clone(&cluster.session),
            statements: Statements::prepare(cluster, tables).await?,
            requests: Requests::new(
                cluster.config.max_in_flight,
                format!(
                    "{}/{}",
                    cluster.config.contact_points.join(","),
                    cluster.keyspace()
                ),
                Metrics::new(registry)?,
            ),
            clock: Clock::default(),
            turns: Turns::default(),
        })
    }
}

#[async_trait]
impl Store for ScyllaStore {
    async fn get(&self, key: &RowKey, freshness: Freshness) -> Result<Option<Bytes>, StoreError> {
        match freshness {
            Freshness::Acknowledged => self.read_row(key).await,
            Freshness::Linearizable => {
                let _turn = self.turns.take(key.table, key.partition()).await;
                self.read_row_linearizable(key).await
            }
        }
    }

    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.read_rows(keys).await
    }

    async fn range(&self, range: &Range) -> Result<Vec<RawRow>, StoreError> {
        self.read_range(range).await
    }

    async fn range_many(&self, ranges: &[Range]) -> Result<Vec<Vec<RawRow>>, StoreError> {
        self.read_ranges(ranges).await
    }

    async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.write_batch(&batch).await
    }

    async fn write_if(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        self.write_conditional(&batch).await
    }
}
