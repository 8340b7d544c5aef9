//! Prepared statements: those of each table made at the start, those of ranges and conditions when they
//! are first asked for. Their number is bounded by the shapes that the product's code can make.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{PoisonError, RwLock},
};

use futures::future::{try_join, try_join_all};
use openinfra_store::{Range, StoreError, Table};
use scylla::{
    client::session::Session,
    errors::PrepareError,
    statement::{Consistency, prepared::PreparedStatement},
};

use crate::{
    cluster::Cluster,
    error::OpenError,
    statement::{self, Shape},
};

/// How many rows an answer brings at once.
const PAGE_ROWS: i32 = 2_000;

/// The statements of one table.
pub(crate) struct TableStatements {
    pub(crate) place: String,
    pub(crate) insert: PreparedStatement,
    pub(crate) delete: PreparedStatement,
    pub(crate) get: PreparedStatement,
    /// As `get`, in one order with conditional batches.
    pub(crate) get_linearizable: PreparedStatement,
    /// Rows of a partition whose first clustering column is in a list; of tables that have one.
    pub(crate) get_in: Option<PreparedStatement>,
}

pub(crate) struct Statements {
    tables: HashMap<&'static str, TableStatements>,
    ranges: RwLock<HashMap<Shape, PreparedStatement>>,
    conditional: RwLock<HashMap<String, PreparedStatement>>,
}

impl Statements {
    pub(crate) async fn prepare(
        cluster: &Cluster,
        tables: &[&'static Table],
    ) -> Result<Self, OpenError> {
        let prepared = tables.iter().map(|table| async move {
            let statements = TableStatements::prepare(cluster, table).await;
            let statements = statements.map_err(|source| OpenError::Prepare {
                table: table.name,
                source: Box::new(source),
            })?;
            Ok::<_, OpenError>((table.name, statements))
        });
        Ok(Self {
            tables: try_join_all(prepared).await?.into_iter().collect(),
            ranges: RwLock::default(),
            conditional: RwLock::default(),
        })
    }

    pub(crate) fn of(&self, table: &Table) -> Result<&TableStatements, StoreError> {
        let statements = self.tables.get(table.name);
        statements.ok_or_else(|| {
            StoreError::Unavailable(format!("the table {} was not opened", table.name))
        })
    }

    /// The statement of a range that is not empty.
    pub(crate) async fn range(
        &self,
        session: &Session,
        range: &Range,
    ) -> Result<PreparedStatement, StoreError> {
        let shape = Shape::of(range).map_err(|source| StoreError::Row {
            table: range.table.name,
            source,
        })?;
        if let Some(found) = read(&self.ranges, &shape) {
            return Ok(found);
        }
        let text = shape.text(&self.of(range.table)?.place, range.table);
        let prepared = prepare(session, text).await.map_err(not_prepared)?;
        keep(&self.ranges, shape, &prepared);
        Ok(prepared)
    }

    /// A statement of a conditional batch; never repeated by itself.
    pub(crate) async fn conditional(
        &self,
        session: &Session,
        text: &str,
    ) -> Result<PreparedStatement, StoreError> {
        if let Some(found) = read(&self.conditional, text) {
            return Ok(found);
        }
        let prepared = session.prepare(text).await.map_err(not_prepared)?;
        keep(&self.conditional, text.to_owned(), &prepared);
        Ok(prepared)
    }
}

impl TableStatements {
    async fn prepare(cluster: &Cluster, table: &'static Table) -> Result<Self, PrepareError> {
        let session = &*cluster.session;
        let place = statement::place(cluster.keyspace(), table);
        let writes = try_join(
            prepare(session, statement::insert(&place, table)),
            prepare(session, statement::delete(&place, table)),
        );
        let (insert, delete) = writes.await?;
        let get = prepare(session, statement::get(&place, table)).await?;
        let mut get_linearizable = get.clone();
        get_linearizable.set_consistency(Consistency::Serial);
        let get_in = match table.clustering {
            [first, ..] => Some(prepare(session, statement::get_in(&place, table, first)).await?),
            [] => None,
        };
        Ok(Self {
            place,
            insert,
            delete,
            get,
            get_linearizable,
            get_in,
        })
    }
}

/// All of them have the same effect twice as once: writes carry their timestamp.
async fn prepare(session: &Session, text: String) -> Result<PreparedStatement, PrepareError> {
    let mut prepared = session.prepare(text).await?;
    prepared.set_is_idempotent(true);
    prepared.set_page_size(PAGE_ROWS);
    Ok(prepared)
}

fn not_prepared(error: PrepareError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

type Kept<K> = RwLock<HashMap<K, PreparedStatement>>;

fn read<K, Q>(kept: &Kept<K>, key: &Q) -> Option<PreparedStatement>
where
    K: std::borrow::Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
{
    let kept = kept.read().unwrap_or_else(PoisonError::into_inner);
    kept.get(key).cloned()
}

fn keep<K: Eq + Hash>(kept: &Kept<K>, key: K, prepared: &PreparedStatement) {
    let mut kept = kept.write().unwrap_or_else(PoisonError::into_inner);
    kept.insert(key, prepared.clone());
}
