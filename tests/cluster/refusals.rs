//! What a job must not start on, and what it says then.

use super::{
    cluster::{Cluster, assert_counted_once},
    support::{command, platform::Platform},
};

/// What a process says that does not start.
async fn refused(cluster: &Cluster, args: &[&str]) -> String {
    let log = cluster.file("refused");
    let _ = std::fs::remove_file(&log);
    match Platform::spawn(args, &log, &[]).await {
        Ok(platform) => panic!("it started: {}", platform.logged()),
        Err(_) => std::fs::read_to_string(log).unwrap(),
    }
}

#[tokio::test]
async fn a_keyspace_of_another_log() {
    let Some(cluster) = Cluster::new("mixed").await else {
        return;
    };
    let views = cluster.views().await;
    let ingest = cluster.ingest().await;
    let file = cluster.readings("s", 10, 10);
    ingest.replay(&file, &[]).await;
    let serve = cluster.serve(&views).await;
    assert_counted_once(&serve.ledger().await, 100);
    for platform in [serve, ingest, views] {
        platform.stop().await;
    }
    // The same keyspace behind topics that were made anew.
    let mut flags = cluster.flags();
    *flags.last_mut().unwrap() = format!("{}.again.", cluster.name);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let said = refused(&cluster, &[&["views", "run"], flags.as_slice()].concat()).await;
    assert!(said.contains("log"), "{said}");
    assert!(
        said.contains("keyspace") || said.contains("store"),
        "{said}"
    );
    cluster.end().await;
}

#[tokio::test]
async fn a_keyspace_without_tables() {
    let Some(cluster) = Cluster::new("bare").await else {
        return;
    };
    cluster.drop_keyspace(&cluster.name).await;
    let flags = cluster.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let said = refused(&cluster, &[&["views", "run"], flags.as_slice()].concat()).await;
    assert!(said.contains("openinfra admin migrate"), "{said}");
}

#[tokio::test]
async fn processes_that_share_no_store() {
    for command in [&["ingest"][..], &["serve"], &["views", "run"]] {
        let args = [command, &["--log", "kafka://127.0.0.1:1"]].concat();
        let ended = command::run(&args).await.expect_code(64);
        assert!(ended.stderr.contains("openinfra up"), "{ended:?}");
    }
}
