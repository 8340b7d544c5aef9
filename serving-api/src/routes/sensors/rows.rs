//! The index's rows by id, and beside them what it does not hold: when each sensor was heard.

use std::collections::VecDeque;

use openinfra_schemas::{Sensor, TenantId};
use openinfra_store::{
    Edge, KeyBuf, Range, Row, RowKey, get_rows,
    tables::views::{LatestReadingRow, SENSOR_INDEX_SHARDS, SensorIndexRow, SensorStatusRow},
};

use crate::{app::App, error::ApiError, lists::walk::Rows, merge::Merge};

use super::{
    query::ListSensorsQuery,
    response::SensorResponse,
    sensor_key,
    views::{Heard, Views},
};

/// For how many sensors is looked up at once when they were heard.
const BATCH: usize = 256;

/// A sensor of the list.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) row: SensorIndexRow,
    /// None: not looked up.
    pub(super) heard: Option<Heard>,
}

/// The tenant's sensors by id.
pub(super) struct SensorRows<'a> {
    app: &'a App,
    tenant: &'a TenantId,
    query: &'a ListSensorsQuery,
    rows: Merge<'a, SensorIndexRow>,
    ready: VecDeque<Listed>,
}

impl<'a> SensorRows<'a> {
    /// Begins behind the id `after`; about `wanted` rows will be read.
    pub(super) async fn open(
        app: &'a App,
        tenant: &'a TenantId,
        query: &'a ListSensorsQuery,
        after: Option<&str>,
        wanted: usize,
    ) -> Result<Self, ApiError> {
        let after = after.map(|id| KeyBuf::new().text(id).into_bytes());
        let ranges = (0..SENSOR_INDEX_SHARDS).map(|shard| {
            let partition = KeyBuf::new().text(tenant.as_str()).int(shard).into_bytes();
            let all = Range::partition(SensorIndexRow::TABLE, partition);
            if query.sort.reads_descending() {
                Range {
                    to: after.clone().map_or(Edge::Open, Edge::Before),
                    ..all.descending()
                }
            } else {
                Range {
                    from: after.clone().map_or(Edge::Open, Edge::After),
                    ..all
                }
            }
        });
        Ok(Self {
            rows: Merge::new(&*app.store, ranges.collect(), wanted).await?,
            app,
            tenant,
            query,
            ready: VecDeque::new(),
        })
    }

    /// Reads the next batch, and looks up when those sensors were heard that pass what the index decides.
    async fn fill(&mut self) -> Result<(), ApiError> {
        while self.ready.len() < BATCH {
            let Some(row) = self.rows.next().await? else {
                break;
            };
            self.ready.push_back(Listed { row, heard: None });
        }
        let query = self.query;
        let batch = self.ready.make_contiguous();
        let mut wanted: Vec<&mut Listed> = batch.iter_mut().collect();
        wanted.retain(|listed| query.passes_index(&listed.row));
        hear(self.app, self.tenant, wanted).await
    }
}

impl Rows for SensorRows<'_> {
    type Row = Listed;
    /// The id.
    type Position = String;

    async fn next(&mut self) -> Result<Option<Listed>, ApiError> {
        if !self.query.asks_when_heard() {
            let row = self.rows.next().await?;
            return Ok(row.map(|row| Listed { row, heard: None }));
        }
        if self.ready.is_empty() {
            self.fill().await?;
        }
        Ok(self.ready.pop_front())
    }

    fn position(listed: &Listed) -> String {
        listed.row.sensor_id.to_string()
    }
}

/// Looks up when sensors were heard.
async fn hear(app: &App, tenant: &TenantId, sensors: Vec<&mut Listed>) -> Result<(), ApiError> {
    let key = |table, listed: &Listed| {
        sensor_key(table, tenant, listed.row.bucket, &listed.row.sensor_id)
    };
    let keys: Vec<RowKey> = sensors
        .iter()
        .map(|listed| key(LatestReadingRow::TABLE, listed))
        .collect();
    let latest = get_rows::<LatestReadingRow>(&*app.store, &keys).await?;
    let untaken: Vec<RowKey> = sensors
        .iter()
        .zip(&latest)
        .filter(|(_, latest)| latest.is_none())
        .map(|(listed, _)| key(SensorStatusRow::TABLE, listed))
        .collect();
    let statuses = get_rows::<SensorStatusRow>(&*app.store, &untaken).await?;
    let mut statuses = statuses.into_iter();
    for (listed, latest) in sensors.into_iter().zip(latest) {
        let status = match latest {
            Some(_) => None,
            None => statuses.next().flatten(),
        };
        listed.heard = Some(Heard::of(latest, status.as_ref()));
    }
    Ok(())
}

/// The sensors of a page as they are answered.
pub(super) async fn responses(
    app: &App,
    tenant: &TenantId,
    mut page: Vec<Listed>,
    include_latest: bool,
) -> Result<Vec<SensorResponse>, ApiError> {
    let unheard = page.iter_mut().filter(|listed| listed.heard.is_none());
    hear(app, tenant, unheard.collect()).await?;
    page.into_iter()
        .map(|Listed { row, heard }| {
            let entity = entity_of(&row)?;
            let views = Views {
                status: row.status,
                stale: row.stale,
                known: true,
                heard: heard.unwrap_or_default(),
            };
            Ok(match entity {
                Some(sensor) => views.of_entity(&sensor, row.version, include_latest),
                None => views.alone(&row.sensor_id, include_latest),
            })
        })
        .collect()
}

/// The entity that a row holds.
pub(super) fn entity_of(row: &SensorIndexRow) -> Result<Option<Sensor>, ApiError> {
    row.body
        .as_deref()
        .map(serde_json::from_str)
        .transpose()
        .map_err(|source| ApiError::Stored {
            what: "a sensor of the list",
            source,
        })
}
