//! A crash at every fault point, and a second one while the relay recovers from the first.
//!
//! Each crash is a real one: the test starts its own binary as a child that aborts at the point, then
//! opens the folder that the child left.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output},
};

use openinfra_api::entities::{Pass, fault};
use tempfile::tempdir;

use crate::harness::{World, fields, id, sensor, tenant};

const ROLE: &str = "OPENINFRA_TEST_ROLE";
const FOLDER: &str = "OPENINFRA_TEST_FOLDER";
const ANSWERED: &str = "answered";

/// Points that a write passes, and whether it stands after a crash there.
const LIVE: [(&str, bool); 5] = [
    (fault::BEFORE_INTENT, false),
    (fault::AFTER_INTENT, true),
    (fault::AFTER_BATCH, true),
    (fault::AFTER_APPEND, true),
    (fault::AFTER_INTENT_REMOVED, true),
];

const RELAY: [&str; 3] = [
    fault::RELAY_AFTER_BATCH,
    fault::RELAY_AFTER_APPEND,
    fault::RELAY_AFTER_INTENT_REMOVED,
];

#[test]
fn every_point_is_crashed_at() {
    let crashed: Vec<&str> = LIVE.iter().map(|(point, _)| *point).chain(RELAY).collect();
    assert_eq!(crashed, fault::ALL);
}

#[tokio::test]
async fn an_undisturbed_write_is_answered() {
    for role in ["create", "update", "delete"] {
        let folder = prepared(role).await;
        let output = run(role, folder.path(), None);
        assert!(output.status.success(), "{output:?}");
        assert!(answered(&output));
        recover_and_check(folder.path(), role, true).await;
    }
}

#[tokio::test]
async fn a_write_is_wholly_in_or_wholly_out_after_a_crash_at_any_point() {
    for role in ["create", "update", "delete"] {
        for (point, stands) in LIVE {
            let folder = prepared(role).await;
            crash(role, folder.path(), point);
            recover_and_check(folder.path(), role, stands).await;
        }
    }
}

#[tokio::test]
async fn a_crash_while_recovering_from_a_crash_loses_nothing() {
    for (first, _) in &LIVE[1..4] {
        for second in RELAY {
            let folder = prepared("create").await;
            crash("create", folder.path(), first);
            crash("relay", folder.path(), second);
            recover_and_check(folder.path(), "create", true).await;
        }
    }
}

#[tokio::test]
async fn crashes_at_every_step_of_recovery_in_a_row_lose_nothing() {
    let folder = prepared("update").await;
    crash("update", folder.path(), fault::AFTER_INTENT);
    for second in RELAY {
        crash("relay", folder.path(), second);
    }
    recover_and_check(folder.path(), "update", true).await;
}

#[tokio::test]
async fn whoever_writes_before_the_relay_ran_wins_or_loses_cleanly() {
    for (point, version) in [(fault::AFTER_INTENT, 2), (fault::AFTER_BATCH, 3)] {
        let folder = prepared("update").await;
        crash("update", folder.path(), point);
        let world = World::open(folder.path()).await;
        let entities = world.entities();
        // The crashed update made version 2 or is overtaken now; the relay comes last.
        let s1 = id("s1");
        let written = entities
            .update_sensor("eve", tenant(), &s1, version - 1, fields("K"))
            .await
            .unwrap();
        assert_eq!(written.version, version);
        let pass = entities.relay_pass(0).await.unwrap();
        assert_eq!(pass.finished + pass.lost, 1);
        world.assert_consistent("s1", version).await;
        let found = entities.find_sensor(tenant(), &s1).await.unwrap().unwrap();
        assert_eq!((found.version, found.entity), (version, written.entity));
    }
}

/// What the child does, in the folder that its environment names; nothing in the parent.
#[tokio::test]
async fn child() {
    let (Ok(role), Ok(folder)) = (std::env::var(ROLE), std::env::var(FOLDER)) else {
        return;
    };
    let world = World::open(Path::new(&folder)).await;
    let entities = world.entities();
    let _scenario = fail::FailScenario::setup();
    let s1 = id("s1");
    match role.as_str() {
        "create" => {
            let created = entities.create_sensor("ada", tenant(), sensor("s1", "F"));
            created.await.unwrap();
        }
        "update" => {
            let updated = entities.update_sensor("ada", tenant(), &s1, 1, fields("F"));
            updated.await.unwrap();
        }
        "delete" => {
            entities
                .delete_sensor("ada", tenant(), &s1, 1)
                .await
                .unwrap();
        }
        "relay" => {
            entities.relay_pass(0).await.unwrap();
        }
        other => panic!("no role {other}"),
    }
    println!("{ANSWERED}");
    std::io::stdout().flush().unwrap();
}

/// A folder in which the role can begin: with a sensor at version 1, unless the role creates it.
async fn prepared(role: &str) -> tempfile::TempDir {
    let folder = tempdir().unwrap();
    if role != "create" {
        let world = World::open(folder.path()).await;
        let entities = world.entities();
        let created = entities.create_sensor("ada", tenant(), sensor("s1", "C"));
        created.await.unwrap();
    }
    folder
}

fn run(role: &str, folder: &Path, point: Option<&str>) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["crash::child", "--exact", "--nocapture"])
        .env(ROLE, role)
        .env(FOLDER, folder)
        .env_remove("FAILPOINTS");
    if let Some(point) = point {
        child.env("FAILPOINTS", format!("{point}=return"));
    }
    child.output().unwrap()
}

fn answered(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stdout).contains(ANSWERED)
}

/// Runs the role up to the point, where it must abort without an answer.
fn crash(role: &str, folder: &Path, point: &str) {
    let output = run(role, folder, Some(point));
    assert!(!output.status.success(), "{role} at {point}: {output:?}");
    assert!(!answered(&output), "{role} was answered at {point}");
    // An abort, not a panic of the test's own.
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{role} at {point}: {errors}");
}

/// Opens the folder, lets the relay run, and checks that the role's write is wholly in or wholly out.
async fn recover_and_check(folder: &Path, role: &str, stands: bool) {
    let world = World::open(folder).await;
    let entities = world.entities();
    entities.relay_pass(0).await.unwrap();
    let before = i64::from(role != "create");
    let newest = before + i64::from(stands);
    world.assert_consistent("s1", newest).await;
    assert_eq!(entities.relay_pass(0).await.unwrap(), Pass::default());
    let found = entities.find_sensor(tenant(), &id("s1")).await.unwrap();
    let unit = found.and_then(|found| found.entity.unit);
    let wanted = match (role, stands) {
        ("delete", true) | ("create", false) => None,
        (_, true) => Some("F"),
        (_, false) => Some("C"),
    };
    assert_eq!(unit.as_deref(), wanted, "{role}, stands: {stands}");
    let current = world.row("s1", 0).await;
    assert_eq!(current.map_or(0, |row| row.holds), newest);
}
