//! What a process must not start on, and what it says then.

use super::{
    cluster::{Cluster, assert_counted_once},
    kafka::{delete_records, delete_topic},
    support::{command, platform::Platform},
};

/// What a process says that does not start.
pub async fn refused(cluster: &Cluster, args: &[&str]) -> String {
    let log = cluster.file("refused");
    let _ = std::fs::remove_file(&log);
    match Platform::spawn(args, &log, &[]).await {
        Ok(platform) => panic!("it started: {}", platform.logged()),
        Err(_) => std::fs::read_to_string(log).unwrap(),
    }
}

/// The job must not start, and say all of `parts`.
async fn assert_job_refused(cluster: &Cluster, flags: &[String], parts: &[&str]) {
    assert_refused(cluster, &["views", "run"], flags, parts).await;
}

/// A process must not start, and say all of `parts`.
async fn assert_refused(cluster: &Cluster, command: &[&str], flags: &[String], parts: &[&str]) {
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let said = refused(cluster, &[command, flags.as_slice()].concat()).await;
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing: {said}");
    }
}

/// Readings in the log, from processes that have stopped.
async fn take_in(cluster: &Cluster, name: &str, rounds: u32) {
    let ingest = cluster.ingest().await;
    let file = cluster.readings(name, 10, rounds);
    ingest.replay(&file, &[]).await;
    ingest.stop().await;
}

/// A hundred readings in log and views of processes that have stopped.
async fn filled(test: &str) -> Option<Cluster> {
    let cluster = Cluster::new(test).await?;
    let views = cluster.views().await;
    take_in(&cluster, "s", 10).await;
    let serve = cluster.serve(&views).await;
    assert_counted_once(&serve.ledger().await, 100);
    for platform in [serve, views] {
        platform.stop().await;
    }
    Some(cluster)
}

/// The topic's name at the brokers.
fn topic(cluster: &Cluster, name: &str) -> String {
    format!("{}.{name}", cluster.name)
}

#[tokio::test]
async fn a_keyspace_of_another_log() {
    let Some(cluster) = filled("mixed").await else {
        return;
    };
    // The same keyspace behind topics of another name.
    let mut flags = cluster.flags();
    *flags.last_mut().unwrap() = format!("{}.again.", cluster.name);
    for command in [&["views", "run"][..], &["ingest"], &["serve"]] {
        assert_refused(&cluster, command, &flags, &["log", "empty store"]).await;
    }
    cluster.end().await;
}

#[tokio::test]
async fn topics_made_anew_behind_a_keyspace() {
    let Some(cluster) = filled("anew").await else {
        return;
    };
    let flags = cluster.flags();
    let new_log = ["readings/", "empty store"];
    delete_topic(&cluster.servers.kafka, &topic(&cluster, "readings")).await;
    // Starting makes what is missing: it is there, and empty, from the second time on.
    for _ in 0..2 {
        assert_job_refused(&cluster, &flags, &new_log).await;
    }
    // It does not help to forget what the views had: ticks say what was there.
    let emptied = format!("{}_emptied", cluster.name);
    cluster.migrate(&emptied).await;
    let other_store = cluster.flags_with(&cluster.servers, &emptied);
    assert_job_refused(&cluster, &other_store, &new_log).await;
    cluster.drop_keyspace(&emptied).await;
    // Nor that it has more than before.
    take_in(&cluster, "s", 20).await;
    assert_job_refused(&cluster, &flags, &new_log).await;

    delete_topic(&cluster.servers.kafka, &topic(&cluster, "ticks")).await;
    for _ in 0..2 {
        assert_job_refused(&cluster, &flags, &["empty store"]).await;
    }
    cluster.end().await;
}

#[tokio::test]
async fn records_deleted_that_the_views_have() {
    let Some(cluster) = filled("deleted").await else {
        return;
    };
    let ticks = topic(&cluster, "ticks");
    delete_records(&cluster.servers.kafka, &ticks, 0, 1).await;
    assert_trimmed(&cluster, "ticks/0 only from offset 1").await;
    delete_all(&cluster, "readings").await;
    assert_trimmed(&cluster, "readings/").await;
    cluster.end().await;
}

#[tokio::test]
async fn records_deleted_that_no_job_has_read() {
    let Some(cluster) = Cluster::new("unread").await else {
        return;
    };
    take_in(&cluster, "s", 10).await;
    delete_all(&cluster, "readings").await;
    assert_trimmed(&cluster, "readings/").await;
    cluster.end().await;
}

async fn assert_trimmed(cluster: &Cluster, what: &str) {
    let parts = [what, "deleted", "retention.ms=-1"];
    assert_job_refused(cluster, &cluster.flags(), &parts).await;
}

/// Deletes the records of all partitions; the first that is looked at may have none.
async fn delete_all(cluster: &Cluster, name: &str) {
    for partition in 0..32 {
        let topic = topic(cluster, name);
        delete_records(&cluster.servers.kafka, &topic, partition, -1).await;
    }
}

#[tokio::test]
async fn a_keyspace_without_tables() {
    let Some(cluster) = Cluster::new("bare").await else {
        return;
    };
    cluster.drop_keyspace(&cluster.name).await;
    let parts = ["openinfra admin migrate"];
    assert_job_refused(&cluster, &cluster.flags(), &parts).await;
}

#[tokio::test]
async fn processes_that_share_no_store() {
    for command in [&["ingest"][..], &["serve"], &["views", "run"]] {
        let args = [command, &["--log", "kafka://127.0.0.1:1"]].concat();
        let ended = command::run(&args).await.expect_code(64);
        assert!(ended.stderr.contains("openinfra up"), "{ended:?}");
    }
}
