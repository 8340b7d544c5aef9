//! The disk fills up: writes are refused with a reason, reads go on, and with space nothing is missing.
//!
//! Needs the right to mount a small tmpfs in a namespace of its own; says so when it has it not.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;
#[path = "../../../tests/support/skip.rs"]
mod skip;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use common::*;
use openinfra_embedded::{Embedded, Options};
use openinfra_log::LogError;
use openinfra_store::StoreError;

const CHILD: &str = "OPENINFRA_TEST_DISK_FULL_MEMTABLE";

fn options(memtable_bytes: u64) -> Options {
    Options {
        partitions: 2,
        memtable_bytes,
        ..Options::default()
    }
}

fn mount(folder: &Path, how: &str) {
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", how, "tmpfs"])
        .arg(folder)
        .status()
        .unwrap();
    assert!(mounted.success());
}

/// Runs in a process of its own, whose mounts end with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_fills_its_disk() {
    let Ok(memtable_bytes) = std::env::var(CHILD) else {
        return;
    };
    let options = options(memtable_bytes.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    mount(folder.path(), "size=12m");
    let embedded = Embedded::open(folder.path(), options.clone()).unwrap();
    let log = embedded.log();

    let mut appended = 0;
    let refused = loop {
        let first =
            tokio::time::timeout(Duration::from_secs(60), append(log.as_ref(), 0, appended));
        match first.await.expect("an answer, if only a refusal") {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
        if appended % 10 == 0
            && let Err(error) = write_durable(&embedded, 0, appended).await
        {
            break match error {
                StoreError::StorageFull => LogError::StorageFull,
                other => panic!("{other}"),
            };
        }
    };
    println!("{appended} batches, then: {refused}");
    assert!(appended > 50, "{appended} batches");
    for _ in 0..3 {
        let later = append(log.as_ref(), 0, appended).await;
        assert_told(&refused, &later.unwrap_err());
        let later = write_durable(&embedded, 0, appended).await;
        let later = match later.unwrap_err() {
            StoreError::StorageFull => LogError::StorageFull,
            StoreError::Unavailable(why) => LogError::Unavailable(why),
            other => panic!("{other}"),
        };
        assert_told(&refused, &later);
    }
    everything_is_there(&embedded, appended).await;
    drop(log);
    drop(embedded);

    mount(folder.path(), "remount,size=200m");
    let embedded = Embedded::open(folder.path(), options).unwrap();
    everything_is_there(&embedded, appended).await;
    append(embedded.log().as_ref(), 0, appended).await.unwrap();
    println!("all there");
}

/// Whoever comes later hears the same cause, or at least that it needs a restart.
fn assert_told(first: &LogError, later: &LogError) {
    match (first, later) {
        (LogError::StorageFull, LogError::StorageFull) => {}
        (LogError::Unavailable(_), LogError::Unavailable(why)) if why.contains("restart") => {}
        _ => panic!("first {first:?}, then {later:?}"),
    }
}

async fn everything_is_there(embedded: &Embedded, appended: i64) {
    for partition in 0..2 {
        let values = read_all(embedded.log().as_ref(), partition).await.unwrap();
        let expected = (0..appended)
            .flat_map(|number| [0, 2].map(|i| value(0, number, i + i64::from(partition))));
        // What was refused may stand behind it.
        let acknowledged = values.into_iter().take(2 * appended as usize);
        assert!(acknowledged.eq(expected), "partition {partition}");
    }
    for number in (10..appended).step_by(10) {
        let found = find_durable(embedded, 0, number).await.unwrap();
        assert_eq!(found, Some(durable_row(0, number)));
    }
}

fn run(memtable_bytes: u64) {
    let able = Command::new("unshare")
        .args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .stderr(Stdio::null())
        .status();
    if !able.is_ok_and(|status| status.success()) {
        skip::tell("this process may not mount a tmpfs");
        return;
    }
    let done = Command::new("unshare")
        .arg("--mount")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_fills_its_disk", "--nocapture"])
        .env(CHILD, memtable_bytes.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    println!("{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.contains("all there"));
}

/// The journal is what does not fit.
#[test]
fn a_full_journal_refuses_and_loses_nothing() {
    run(64 << 20);
}

/// Tables are what does not fit, which the database notices on a thread of its own.
#[test]
fn a_full_table_refuses_and_loses_nothing() {
    run(64 << 10);
}
