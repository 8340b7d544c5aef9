//! Migrations: applied once, by one at a time, and checked on start.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::{collections::BTreeMap, time::Duration};

use futures::TryStreamExt;
use openinfra_scylla::{
    Cluster, Config, MigrateError, Migrated, OpenError, Replication, SchemaOptions, ScyllaStore,
    migrate,
};
use openinfra_store::{ColumnType, Table, tables};
use prometheus::Registry;
use tokio::time::{sleep, timeout};

use common::{
    Keyspace, address, options,
    proxy::{Mode, Proxy},
};

/// Of a table's columns: name to kind, place in it, order and type, as the cluster says.
type Columns = BTreeMap<String, (String, i32, String, String)>;

fn declared(table: &Table) -> Columns {
    let sections = [
        (table.partition, "partition_key", "none"),
        (table.clustering, "clustering", "asc"),
        (table.values, "regular", "none"),
    ];
    let mut columns = Columns::new();
    for (section, kind, order) in sections {
        for (at, column) in section.iter().enumerate() {
            let at = if kind == "regular" { -1 } else { at as i32 };
            let name = match column.kind {
                ColumnType::Text => "text",
                ColumnType::BigInt => "bigint",
                ColumnType::Int => "int",
                ColumnType::Double => "double",
                ColumnType::Boolean => "boolean",
                ColumnType::Blob => "blob",
            };
            let column_is = (kind.to_owned(), at, order.to_owned(), name.to_owned());
            columns.insert(column.name.to_owned(), column_is);
        }
    }
    columns
}

async fn made(keyspace: &Keyspace) -> BTreeMap<String, Columns> {
    let text = "SELECT table_name, column_name, kind, position, clustering_order, type \
        FROM system_schema.columns WHERE keyspace_name = ?";
    let rows = keyspace
        .session
        .query_iter(text, (&keyspace.config.keyspace,))
        .await
        .unwrap();
    let rows = rows.rows_stream::<(String, String, String, i32, String, String)>();
    let rows: Vec<_> = rows.unwrap().try_collect().await.unwrap();
    let mut tables: BTreeMap<String, Columns> = BTreeMap::new();
    for (table, column, kind, at, order, name) in rows {
        let columns = tables.entry(table).or_default();
        columns.insert(column, (kind, at, order, name));
    }
    tables
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_has_what_the_tables_declare() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::named(&address).await;
    let first = migrate::migrate(&keyspace.cluster().await, &options())
        .await
        .unwrap();
    assert_eq!(first.applied, (1..=first.have).collect::<Vec<_>>());
    let second = migrate::migrate(&keyspace.cluster().await, &options())
        .await
        .unwrap();
    assert_eq!(second.applied, [0; 0]);
    assert_eq!(second.have, first.have);

    let mut made = made(&keyspace).await;
    for table in tables::ALL {
        assert_eq!(
            made.remove(table.name),
            Some(declared(table)),
            "{}",
            table.name
        );
    }
    let others: Vec<_> = made.into_keys().collect();
    assert_eq!(others, ["schema_lease", "schema_version"]);

    let store = ScyllaStore::open(&keyspace.config, tables::ALL, &Registry::new()).await;
    assert!(
        store.is_ok(),
        "all statements of all tables can be prepared"
    );
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_that_migrate_at_once_do_it_once() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::named(&address).await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let cluster = keyspace.cluster().await;
        tasks.push(tokio::spawn(async move {
            migrate::migrate(&cluster, &options()).await.unwrap()
        }));
    }
    let mut applied = Vec::new();
    for task in tasks {
        applied.extend(task.await.unwrap().applied);
    }
    applied.sort_unstable();
    assert_eq!(applied, (1..=applied.len() as i32).collect::<Vec<_>>());
    assert!(!applied.is_empty());
    keyspace.remove().await;
}

/// A cluster that is slow for a while is no other process that migrates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_come_late_do_not_end_it() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::named(&address).await;
    let proxy = Proxy::before(&address).await;
    let config = Config {
        contact_points: vec![proxy.address.to_string()],
        request_timeout_ms: 100,
        ..keyspace.config.clone()
    };
    let cluster = Cluster::connect(&config).await.unwrap();
    let late = async {
        loop {
            // So short a while between, that what is asked upon an answer is answered late.
            for (mode, ms) in [(Mode::Hold, 130), (Mode::Pass, 12)] {
                proxy.set(mode);
                sleep(Duration::from_millis(ms)).await;
            }
        }
    };
    let options = options();
    let migrated = tokio::select! {
        migrated = migrate::migrate(&cluster, &options) => migrated,
        () = late => unreachable!("it goes on for ever"),
    };
    assert!(!migrated.unwrap().applied.is_empty());
    keyspace.remove().await;
}

/// A process may end, or lose its answer, between a change and the row that says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_and_not_written_down_is_gone_over() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::migrated(&address).await;
    let name = keyspace.config.keyspace.clone();
    keyspace
        .execute(&format!("TRUNCATE \"{name}\".schema_version"))
        .await;
    let again = migrate::migrate(&keyspace.cluster().await, &options()).await;
    let again = again.unwrap();
    assert_eq!(again.applied, (1..=again.have).collect::<Vec<_>>());
    keyspace.remove().await;
}

/// With so many copies of each row; none: nothing is said of that.
async fn migrate_to(keyspace: &Keyspace, copies: Option<u32>) -> Result<Migrated, MigrateError> {
    let options = SchemaOptions {
        replication: copies.map(Replication::Simple),
        ..options()
    };
    // What ends only when somebody's patience does takes minutes.
    let cluster = keyspace.cluster().await;
    let migrated = migrate::migrate(&cluster, &options);
    timeout(Duration::from_secs(120), migrated).await.unwrap()
}

/// Three copies are the default, and the tests' cluster is one node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_keyspace_is_made_that_has_no_nodes() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::named(&address).await;
    for copies in [None, Some(3)] {
        let error = migrate_to(&keyspace, copies).await.unwrap_err();
        assert!(
            matches!(
                error,
                MigrateError::NoRoom {
                    copies: 3,
                    nodes: 1
                }
            ),
            "{error}"
        );
        assert!(error.to_string().contains("--replication 1"), "{error}");
    }
    // Nothing stands in the way of what is asked for then.
    let made = migrate_to(&keyspace, Some(1)).await.unwrap();
    assert!(!made.applied.is_empty());
    let again = migrate_to(&keyspace, None).await.unwrap();
    assert!(again.applied.is_empty());
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyspace_keeps_its_replication_and_who_asks_for_another_is_told() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::migrated(&address).await;
    let name = &keyspace.config.keyspace;
    let asked = migrate_to(&keyspace, Some(2)).await;
    let Err(MigrateError::Otherwise { found, change }) = asked else {
        panic!("{asked:?}");
    };
    assert!(found.contains("'replication_factor': '1'"), "{found}");
    assert_eq!(
        change,
        format!(
            "ALTER KEYSPACE \"{name}\" WITH replication = \
             {{'class': 'SimpleStrategy', 'replication_factor': 2}}"
        )
    );
    // What it names is what it asks for.
    keyspace.execute(&change).await;
    let asked = migrate_to(&keyspace, Some(2)).await;
    assert!(
        !matches!(asked, Err(MigrateError::Otherwise { .. })),
        "{asked:?}"
    );
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyspace_without_enough_nodes_is_told_at_once() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::named(&address).await;
    keyspace.create(3).await;
    for copies in [None, Some(3)] {
        let error = migrate_to(&keyspace, copies).await.unwrap_err();
        let MigrateError::TooFew {
            required: 2,
            alive: 1,
            found,
            remedy,
        } = &error
        else {
            panic!("{error}");
        };
        assert!(found.contains("'replication_factor': '3'"), "{error}");
        // It is the last thing said, as it stands.
        let (_, change) = remedy.split_once("first ").unwrap();
        assert!(change.ends_with("'replication_factor': 1}"), "{error}");
        if copies.is_some() {
            keyspace.execute(change).await;
        }
    }
    let made = migrate_to(&keyspace, Some(1)).await.unwrap();
    assert!(!made.applied.is_empty());
    keyspace.remove().await;
}

async fn refusal(keyspace: &Keyspace) -> MigrateError {
    let opened = ScyllaStore::open(&keyspace.config, tables::ALL, &Registry::new()).await;
    match opened.map(drop) {
        Err(OpenError::Schema(error)) => error,
        other => panic!("opened, or not for its schema: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_behind_is_refused() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::named(&address).await;
    let error = refusal(&keyspace).await;
    assert!(matches!(error, MigrateError::Empty { .. }), "{error}");

    migrate::migrate(&keyspace.cluster().await, &options())
        .await
        .unwrap();
    let name = keyspace.config.keyspace.clone();
    keyspace
        .execute(&format!("TRUNCATE \"{name}\".schema_version"))
        .await;
    let error = refusal(&keyspace).await;
    assert!(matches!(error, MigrateError::Behind { have: 0, .. }));
    assert!(
        error.to_string().contains("run openinfra admin migrate"),
        "{error}"
    );
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changed_behind_its_back_is_refused() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::migrated(&address).await;
    let name = keyspace.config.keyspace.clone();
    keyspace
        .execute(&format!(
            "UPDATE \"{name}\".schema_version SET checksum = 'another' \
             WHERE scope = 'openinfra' AND version = 1"
        ))
        .await;
    let error = refusal(&keyspace).await;
    assert!(
        matches!(error, MigrateError::Tampered { version: 1 }),
        "{error}"
    );
    let error = migrate::migrate(&keyspace.cluster().await, &options())
        .await
        .unwrap_err();
    assert!(
        matches!(error, MigrateError::Tampered { version: 1 }),
        "{error}"
    );
    keyspace.remove().await;
}
