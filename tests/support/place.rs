//! Where the servers of tests keep what they keep: in a data folder, or on real servers.
//!
//! `OPENINFRA_TEST_DEPLOYMENT=cluster` runs the same tests on the Kafka, registry and CQL that the variables
//! of `tests/services/services env` name. What a newcomer would get wrong: a test still names a folder; on
//! servers, topics and keyspace are named after it, so that a server started again on the same folder finds
//! what the one before it left.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use openinfra_testing::Servers;

use super::command;

/// Whether tests run on real servers.
pub fn is_cluster() -> bool {
    Servers::wanted().is_some()
}

fn servers() -> Servers {
    Servers::wanted().expect("tests run on servers")
}

/// The flags that name what stands for this folder.
pub fn flags(data: &Path) -> Vec<String> {
    if is_cluster() {
        return flags_on(data, data);
    }
    vec!["--data".to_owned(), data.to_str().unwrap().to_owned()]
}

/// The flags that name the log of one folder and the store of another.
pub fn flags_on(log: &Path, store: &Path) -> Vec<String> {
    let servers = servers();
    let (name, keyspace) = (name(log), name(store));
    [
        "--log".to_owned(),
        format!("kafka://{}", servers.kafka),
        "--registry".to_owned(),
        servers.registry,
        "--store".to_owned(),
        format!("cql://{}/{keyspace}", servers.cql),
        "--topic-prefix".to_owned(),
        format!("{name}."),
    ]
    .into()
}

/// Makes what a server does not make by itself.
pub async fn prepare(data: &Path) {
    if is_cluster() {
        let flags = flags(data);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let migrate = ["admin", "migrate", "--replication", "1"];
        command::run(&[&migrate[..], &flags].concat())
            .await
            .expect_code(0);
    }
}

/// `HOST:PORT` of the database, and the keyspace that stands for this folder.
pub fn keyspace(data: &Path) -> (String, String) {
    (servers().cql, name(data))
}

/// The same for the same folder, and for no other.
fn name(data: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    format!("test_{:016x}", hasher.finish())
}
