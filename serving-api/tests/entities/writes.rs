//! Writes without trouble: answers, versions, what stands where.

use std::time::Duration;

use futures::future::join_all;
use openinfra_api::entities::{Pass, SensorFields, SettingsFields, WriteError};
use openinfra_log::WriteToken;
use openinfra_schemas::{AfterImage, Topic};
use serde_json::json;
use tempfile::tempdir;
use tokio_util::sync::CancellationToken;

use crate::harness::{NOW, World, fields, id, sensor, tenant};

#[tokio::test]
async fn a_registration_stands_in_store_and_log_when_it_is_answered() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let entities = world.entities();
    let written = entities
        .create_sensor("ada", tenant(), sensor("s1", "°C"))
        .await
        .unwrap();
    assert_eq!(written.version, 1);
    assert_eq!(written.entity.unit.as_deref(), Some("°C"));
    assert_eq!(
        (written.entity.created_at, &*written.entity.created_by),
        (NOW, "ada")
    );
    world.assert_consistent("s1", 1).await;

    let logged = world.versions("s1").await.remove(0);
    assert_eq!(logged.after, AfterImage::Sensor(written.entity.clone()));
    let ends = world.log.end_offsets(Topic::Entities).await.unwrap();
    let covered = |token: &WriteToken, behind: i64| {
        token.is_covered_by(|_, partition| ends[partition as usize] - behind)
    };
    assert!(covered(&written.token, 0));
    assert!(!covered(&written.token, 1));

    let found = entities.find_sensor(tenant(), &id("s1")).await.unwrap();
    let found = found.unwrap();
    assert_eq!((found.version, found.entity), (1, written.entity));
    assert_eq!((found.change_id, found.at), (logged.change_id, NOW));
}

#[tokio::test]
async fn a_taken_id_is_a_conflict_that_shows_what_stands() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let entities = world.entities();
    let first = entities.create_sensor("ada", tenant(), sensor("s1", "C"));
    let first = first.await.unwrap();
    let second = entities.create_sensor("bob", tenant(), sensor("s1", "F"));
    match second.await {
        Err(WriteError::Conflict { existing, .. }) => {
            assert_eq!(existing.version, 1);
            assert_eq!(existing.entity, AfterImage::Sensor(first.entity));
        }
        other => panic!("{other:?}"),
    }
    world.assert_consistent("s1", 1).await;
    // Tenants do not see each other.
    let other = openinfra_schemas::TenantId::trusted("other");
    assert_eq!(entities.find_sensor(&other, &id("s1")).await.unwrap(), None);
}

#[tokio::test]
async fn an_update_needs_the_version_that_stands() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let entities = world.entities();
    let s1 = id("s1");
    let absent = entities.update_sensor("bob", tenant(), &s1, 1, fields("F"));
    assert!(matches!(absent.await, Err(WriteError::NotFound { .. })));
    entities
        .create_sensor("ada", tenant(), sensor("s1", "C"))
        .await
        .unwrap();
    let updated = entities
        .update_sensor("bob", tenant(), &s1, 1, fields("F"))
        .await
        .unwrap();
    assert_eq!(
        (updated.version, updated.entity.unit.as_deref()),
        (2, Some("F"))
    );
    assert_eq!(&*updated.entity.created_by, "ada");
    assert_eq!(&*updated.entity.updated_by, "bob");
    for stale in [1, 3, 0, -1] {
        let answer = entities.update_sensor("bob", tenant(), &s1, stale, fields("K"));
        match answer.await {
            Err(WriteError::Stale {
                current, expected, ..
            }) => {
                assert_eq!((current.version, expected), (2, stale));
            }
            other => panic!("{other:?}"),
        }
    }
    world.assert_consistent("s1", 2).await;
}

#[tokio::test]
async fn of_two_updates_of_one_version_one_wins() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let entities = world.entities();
    entities
        .create_sensor("ada", tenant(), sensor("s1", "C"))
        .await
        .unwrap();
    let updates = (0..8).map(|n| {
        let entities = entities.clone();
        tokio::spawn(async move {
            let fields = fields(&format!("u{n}"));
            entities
                .update_sensor("bob", tenant(), &id("s1"), 1, fields)
                .await
        })
    });
    let answers: Vec<_> = join_all(updates)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 7));
    for answer in lost {
        assert!(
            matches!(&answer, Err(WriteError::Stale { current, .. }) if current.version == 2),
            "{answer:?}"
        );
    }
    world.assert_consistent("s1", 2).await;
}

#[tokio::test]
async fn of_many_registrations_of_one_id_one_wins() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let entities = world.entities();
    let registrations = (0..8).map(|_| entities.create_sensor("ada", tenant(), sensor("s1", "C")));
    let answers = join_all(registrations).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.iter().filter(|answer| answer.is_err()) {
        assert!(
            matches!(answer, Err(WriteError::Conflict { .. })),
            "{answer:?}"
        );
    }
    world.assert_consistent("s1", 1).await;
}

#[tokio::test]
async fn a_deleted_sensor_is_gone_and_may_come_back_with_its_versions_going_on() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let entities = world.entities();
    let s1 = id("s1");
    let created = entities.create_sensor("ada", tenant(), sensor("s1", "C"));
    created.await.unwrap();
    let deleted = entities
        .delete_sensor("bob", tenant(), &s1, 1)
        .await
        .unwrap();
    assert_eq!(
        (deleted.version, deleted.entity.unit.as_deref()),
        (2, Some("C"))
    );
    assert_eq!(entities.find_sensor(tenant(), &s1).await.unwrap(), None);
    for expected in [1, 2] {
        let again = entities.delete_sensor("bob", tenant(), &s1, expected).await;
        assert!(matches!(again, Err(WriteError::NotFound { .. })));
    }
    let back = entities.create_sensor("eve", tenant(), sensor("s1", "F"));
    assert_eq!(back.await.unwrap().version, 3);
    world.assert_consistent("s1", 3).await;

    let history = world.versions("s1").await;
    let told: Vec<_> = history
        .iter()
        .map(|v| (v.version, &*v.actor, v.after == AfterImage::Deleted))
        .collect();
    assert_eq!(
        told,
        [(1, "ada", false), (2, "bob", true), (3, "eve", false)]
    );
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let entities = world.entities();
    let s1 = id("s1");
    let body =
        json!({"unit": "C", "asset_id": "a1", "thresholds": {"warning_max": 0, "deadband": 1}});
    let fields = SensorFields::from_json(&body, &s1).unwrap();
    entities
        .create_sensor(
            "ada",
            tenant(),
            openinfra_api::entities::NewSensor {
                sensor_id: s1.clone(),
                fields,
            },
        )
        .await
        .unwrap();
    let patch = json!({"asset_id": null, "thresholds": {"deadband": null, "critical_max": 5}});
    let patched = entities
        .patch_sensor("bob", tenant(), &s1, 1, &patch)
        .await
        .unwrap();
    let wanted = json!({"unit": "C", "thresholds": {"warning_max": 0.0, "critical_max": 5.0}});
    assert_eq!(SensorFields::from(&patched.entity).to_json(), wanted);
    let broken = json!({"thresholds": {"critical_max": -1}});
    let refused = entities
        .patch_sensor("bob", tenant(), &s1, 2, &broken)
        .await;
    assert!(
        matches!(refused, Err(WriteError::Validation(_))),
        "{refused:?}"
    );
    world.assert_consistent("s1", 2).await;
}

#[tokio::test]
async fn settings_are_there_before_anybody_writes_them() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let entities = world.entities();
    let unwritten = entities.settings(tenant()).await.unwrap();
    assert_eq!(unwritten.version, 0);
    assert_eq!(unwritten.entity.horizon_ms, 93_600_000);
    assert!(unwritten.entity.auto_register);

    let early = entities.update_settings("ada", tenant(), 3, SettingsFields::default());
    assert!(matches!(early.await, Err(WriteError::Stale { current, .. }) if current.version == 0));
    let patch = json!({"horizon_ms": 0});
    let written = entities
        .patch_settings("ada", tenant(), 0, &patch)
        .await
        .unwrap();
    assert_eq!((written.version, written.entity.horizon_ms), (1, 0));
    assert_eq!(written.entity.future_guard_ms, 300_000);
    let again = entities.patch_settings("ada", tenant(), 0, &patch).await;
    assert!(matches!(again, Err(WriteError::Stale { current, .. }) if current.version == 1));
    let fields = SettingsFields {
        auto_register: false,
        ..SettingsFields::default()
    };
    let replaced = entities
        .update_settings("bob", tenant(), 1, fields)
        .await
        .unwrap();
    assert_eq!(replaced.version, 2);
    assert_eq!(
        entities.settings(tenant()).await.unwrap().entity,
        replaced.entity
    );
    assert_eq!(world.changes().await.len(), 2);
}

#[tokio::test]
async fn the_relay_runs_beside_writes_and_stops_when_told() {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let entities = world.entities();
    let cancel = CancellationToken::new();
    let relay = tokio::spawn(entities.clone().run_relay(true, cancel.clone()));
    for n in 0..20 {
        let name = format!("s{n}");
        let created = entities.create_sensor("ada", tenant(), sensor(&name, "C"));
        created.await.unwrap();
        world.assert_consistent(&name, 1).await;
    }
    assert_eq!(entities.relay_pass(0).await.unwrap(), Pass::default());
    cancel.cancel();
    tokio::time::timeout(Duration::from_secs(10), relay)
        .await
        .unwrap()
        .unwrap();
}
