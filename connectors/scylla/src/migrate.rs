//! The product's tables in the cluster: made and changed by numbered files, each applied once.
//!
//! Whoever migrates holds a lease, so that two at once do not make the same table twice: a cluster can
//! agree on neither. A file that was applied must stay as it was: its checksum is kept with its number.

mod files;
mod keyspace;
mod lease;
mod replication;

use std::{collections::BTreeMap, time::Duration};

use futures::TryStreamExt;
use scylla::{
    client::session::Session,
    errors::ExecutionError,
    statement::{Consistency, Statement, unprepared},
};
use serde::Deserialize;

use crate::cluster::Cluster;
use files::{MIGRATIONS, Migration};
use keyspace::Standing;
use lease::{Lease, NotTaken};

pub use replication::Replication;

/// How long one change of the schema may take: all nodes have to agree.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long what is said of a change may take to be read or written.
const ROW_TIMEOUT: Duration = Duration::from_secs(10);

/// What the cluster is told beyond the tables themselves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemaOptions {
    /// What the keyspace is made with, or has to have where it is there: it is never altered. Default: three copies,
    /// or whatever it has.
    #[serde(default)]
    pub replication: Option<Replication>,
    /// CQL behind the replication, as `tablets = {'enabled': false}`, which only ScyllaDB knows.
    #[serde(default)]
    pub keyspace_options: Option<String>,
    /// CQL behind the options of each table that is made.
    #[serde(default)]
    pub table_options: Option<String>,
}

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The files applied now.
    pub applied: Vec<i32>,
    /// The number of the last one that the cluster has.
    pub have: i32,
}

/// Why the cluster's tables cannot be used, or made.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "the keyspace's tables are of version {have} and this program needs {need}: run openinfra admin migrate"
    )]
    Behind { have: i32, need: i32 },
    #[error(
        "keyspace {keyspace} is not there, or has no tables of this program: is it the right one? Then run openinfra \
         admin migrate"
    )]
    Empty { keyspace: String },
    #[error("migration {version} was applied with another content than this program has")]
    Tampered { version: i32 },
    #[error(
        "another process migrates the keyspace and has not finished, or one change took longer than it may: run it again"
    )]
    Busy,
    #[error(
        "{copies} copies of each row are to be kept, and the cluster has nodes for {nodes}, with which nothing could \
         be read or written; no keyspace was made. Ask for fewer (one node: --replication 1), or add nodes first"
    )]
    NoRoom { copies: u32, nodes: u32 },
    /// `found` is what the keyspace has, `change` the statement that gives it what was asked for.
    #[error(
        "the keyspace has replication = {found}, which is not what --replication asks for, and a keyspace that is \
         there is left as it is. Leave --replication out, or change it: {change}; copies that are added so are made \
         by nodetool repair --full on each node"
    )]
    Otherwise { found: String, change: String },
    /// No file was applied.
    #[error(
        "the keyspace has replication = {found}, of which {required} copies have to answer, and {alive} can: \
         {remedy}"
    )]
    TooFew {
        found: String,
        required: i32,
        alive: i32,
        remedy: String,
    },
    #[error("the schema cannot be changed by {statement:?}")]
    Change {
        statement: String,
        #[source]
        source: Box<ExecutionError>,
    },
    #[error("what was applied cannot be read: {0}")]
    Unreadable(String),
}

/// Makes the keyspace and brings its tables to what this program knows; nothing when they are.
pub async fn migrate(cluster: &Cluster, options: &SchemaOptions) -> Result<Migrated, MigrateError> {
    let standing = keyspace::make(cluster, options).await?;
    execute(cluster, &lease::create_table(cluster.keyspace())).await?;
    execute(cluster, &create_versions(cluster.keyspace())).await?;
    let lease = Lease::take(&cluster.session, cluster.keyspace()).await;
    let lease = lease.map_err(|error| not_taken(cluster, &standing, error))?;
    let migrated = apply_missing(cluster, options, &lease).await;
    lease.release(&cluster.session).await;
    migrated
}

fn not_taken(cluster: &Cluster, standing: &Standing, error: NotTaken) -> MigrateError {
    match error {
        NotTaken::TooFew { required, alive } => standing.too_few(cluster, required, alive),
        NotTaken::Error(error) => error,
    }
}

/// Errs unless the cluster has all migrations that this program has; it may have more.
pub async fn check(cluster: &Cluster) -> Result<(), MigrateError> {
    let need = MIGRATIONS.last().map_or(0, |last| last.version);
    let known = "SELECT table_name FROM system_schema.tables \
        WHERE keyspace_name = ? AND table_name = 'schema_version'";
    let known = statement(known);
    let tables: Vec<(String,)> = select(&cluster.session, known, (cluster.keyspace(),)).await?;
    if tables.is_empty() {
        return Err(MigrateError::Empty {
            keyspace: cluster.keyspace().to_owned(),
        });
    }
    let applied = applied(&cluster.session, cluster.keyspace(), None).await?;
    for migration in MIGRATIONS {
        is_unchanged(migration, &applied)?;
    }
    // Files are applied in their order, so that one that is missing is behind all that are there.
    let missing = MIGRATIONS
        .iter()
        .find(|migration| !applied.contains_key(&migration.version));
    match missing {
        Some(missing) => Err(MigrateError::Behind {
            have: missing.version - 1,
            need,
        }),
        None => Ok(()),
    }
}

fn create_versions(keyspace: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS \"{keyspace}\".schema_version (
        scope text, version int, name text, checksum text, applied_at bigint,
        PRIMARY KEY ((scope), version))"
    )
}

async fn apply_missing(
    cluster: &Cluster,
    options: &SchemaOptions,
    lease: &Lease,
) -> Result<Migrated, MigrateError> {
    let session = &*cluster.session;
    let before = applied(session, cluster.keyspace(), Some(ROW_TIMEOUT)).await?;
    let mut have = before.keys().next_back().copied().unwrap_or(0);
    let mut now = Vec::new();
    for migration in MIGRATIONS {
        is_unchanged(migration, &before)?;
        if before.contains_key(&migration.version) {
            continue;
        }
        tracing::info!(
            version = migration.version,
            name = migration.name,
            "a migration is applied"
        );
        for statement in migration.statements() {
            lease.renew(session).await?;
            if has_column(cluster, &statement).await? {
                continue;
            }
            let statement = in_keyspace(cluster.keyspace(), &statement);
            let statement = with_options(&statement, options.table_options.as_deref());
            execute(cluster, &statement).await?;
        }
        lease.renew(session).await?;
        record(cluster, migration).await?;
        now.push(migration.version);
        have = have.max(migration.version);
    }
    Ok(Migrated { applied: now, have })
}

fn is_unchanged(
    migration: &Migration,
    applied: &BTreeMap<i32, String>,
) -> Result<(), MigrateError> {
    match applied.get(&migration.version) {
        Some(checksum) if *checksum != migration.checksum() => Err(MigrateError::Tampered {
            version: migration.version,
        }),
        _ => Ok(()),
    }
}

/// Whether the column that a statement adds is there. A process that ended before it wrote down what it had
/// done leaves it so, and not every version of the databases knows `ADD IF NOT EXISTS`.
async fn has_column(cluster: &Cluster, text: &str) -> Result<bool, MigrateError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let ["ALTER", "TABLE", table, "ADD", column, ..] = words[..] else {
        return Ok(false);
    };
    let mut known = statement(
        "SELECT column_name FROM system_schema.columns \
         WHERE keyspace_name = ? AND table_name = ? AND column_name = ?",
    );
    known.set_request_timeout(Some(ROW_TIMEOUT));
    let values = (cluster.keyspace(), table, column);
    let found: Vec<(String,)> = select(&cluster.session, known, values).await?;
    Ok(!found.is_empty())
}

/// Checksums of what was applied, by version.
async fn applied(
    session: &Session,
    keyspace: &str,
    timeout: Option<Duration>,
) -> Result<BTreeMap<i32, String>, MigrateError> {
    let text = format!(
        "SELECT version, checksum FROM \"{keyspace}\".schema_version WHERE scope = 'openinfra'"
    );
    let mut text = statement(&text);
    text.set_request_timeout(timeout);
    let rows: Vec<(i32, String)> = select(session, text, ()).await?;
    Ok(rows.into_iter().collect())
}

async fn record(cluster: &Cluster, migration: &Migration) -> Result<(), MigrateError> {
    let text = format!(
        "INSERT INTO \"{}\".schema_version (scope, version, name, checksum, applied_at) \
         VALUES ('openinfra', ?, ?, ?, ?)",
        cluster.keyspace()
    );
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    let values = (migration.version, migration.name, migration.checksum(), now);
    let mut insert = statement(&text);
    insert.set_request_timeout(Some(ROW_TIMEOUT));
    let written = cluster.session.query_unpaged(insert, values);
    let written = written.await;
    written.map(drop).map_err(|source| change(&text, source))
}

/// A statement of a file, with the table that it makes or changes in a keyspace. Names in files are without one,
/// and `USE` is no way out: it changes what later names of the whole session mean, and Cassandra warns of that.
fn in_keyspace(keyspace: &str, statement: &str) -> String {
    const BEFORE_NAMES: [&str; 2] = ["CREATE TABLE IF NOT EXISTS ", "ALTER TABLE "];
    for before in BEFORE_NAMES {
        if let Some(rest) = statement.strip_prefix(before) {
            return format!("{before}\"{keyspace}\".{rest}");
        }
    }
    statement.to_owned()
}

/// A statement that makes a table, with further options.
fn with_options(statement: &str, options: Option<&str>) -> String {
    match options {
        Some(options) if statement.starts_with("CREATE TABLE") => {
            let word = if statement.contains(") WITH ") {
                "AND"
            } else {
                "WITH"
            };
            format!("{statement} {word} {options}")
        }
        _ => statement.to_owned(),
    }
}

/// Changes the schema, and waits until all nodes agree.
pub(crate) async fn execute(cluster: &Cluster, text: &str) -> Result<(), MigrateError> {
    let mut statement = statement(text);
    statement.set_request_timeout(Some(CHANGE_TIMEOUT));
    let done = cluster.session.query_unpaged(statement, ()).await;
    done.map(drop).map_err(|source| change(text, source))
}

async fn select<R, V>(
    session: &Session,
    statement: unprepared::Statement,
    values: V,
) -> Result<Vec<R>, MigrateError>
where
    R: for<'f, 'm> scylla::deserialize::row::DeserializeRow<'f, 'm> + 'static,
    V: scylla::serialize::row::SerializeRow,
{
    let unreadable = |error: &dyn std::error::Error| MigrateError::Unreadable(error.to_string());
    let rows = session.query_iter(statement, values).await;
    let rows = rows.map_err(|error| unreadable(&error))?;
    let rows = rows
        .rows_stream::<R>()
        .map_err(|error| unreadable(&error))?;
    rows.try_collect().await.map_err(|error| unreadable(&error))
}

fn statement(text: &str) -> unprepared::Statement {
    let mut statement = Statement::new(text);
    statement.set_consistency(Consistency::Quorum);
    statement
}

fn change(statement: &str, source: ExecutionError) -> MigrateError {
    MigrateError::Change {
        statement: statement.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_of_the_files_names_the_keyspace() {
        for statement in MIGRATIONS.iter().flat_map(Migration::statements) {
            let placed = in_keyspace("city", &statement);
            assert_eq!(placed.replacen("\"city\".", "", 1), statement);
            assert_ne!(placed, statement);
        }
        assert_eq!(
            in_keyspace("city", "ALTER TABLE t ADD a int"),
            "ALTER TABLE \"city\".t ADD a int"
        );
    }

    #[test]
    fn tables_take_further_options() {
        let more = Some("gc_grace_seconds = 1");
        assert_eq!(
            with_options("CREATE TABLE t (a int)", more),
            "CREATE TABLE t (a int) WITH gc_grace_seconds = 1"
        );
        assert_eq!(
            with_options("CREATE TABLE t (a int) WITH comment = ''", more),
            "CREATE TABLE t (a int) WITH comment = '' AND gc_grace_seconds = 1"
        );
        assert_eq!(
            with_options("ALTER TABLE t ADD a int", more),
            "ALTER TABLE t ADD a int"
        );
    }
}
