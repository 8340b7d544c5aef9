//! Concurrent writers over a few sensors against a simple model.
//!
//! The model is a map from sensor to (version, unit, deleted). The order of concurrent writes is not
//! known beforehand, so it is taken from the versions that were answered: sorted by them, the writes must
//! replay on the model with the answers that they got.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use openinfra_api::entities::{Entities, SensorFields, WriteError};
use openinfra_schemas::AfterImage;
use proptest::prelude::*;
use tempfile::tempdir;
use tokio::sync::Barrier;

use crate::harness::{World, fields, id, sensor, tenant};

const WRITERS: usize = 4;
const SENSORS: usize = 3;

/// What a writer does next, after a look at what stands.
#[derive(Debug, Clone, Copy)]
enum Step {
    Create,
    Update,
    /// With a version that need not be the one that stands.
    UpdateAt(i64),
    Delete,
    /// One pass of the relay, over everything.
    Relay,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        3 => Just(Step::Create),
        4 => Just(Step::Update),
        1 => (0..6i64).prop_map(Step::UpdateAt),
        2 => Just(Step::Delete),
        1 => Just(Step::Relay),
    ];
    (0..SENSORS, step)
}

/// A write that was answered: the version it made, of which content; none: deleted.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    sensor: usize,
    version: i64,
    unit: Option<String>,
}

async fn writer(
    number: usize,
    entities: Entities,
    steps: Vec<(usize, Step)>,
    start: Arc<Barrier>,
) -> Vec<Answer> {
    start.wait().await;
    let mut answers = Vec::new();
    for (n, (sensor, step)) in steps.into_iter().enumerate() {
        let unit = format!("w{number}.{n}");
        if let Some(version) = take(&entities, sensor, step, &unit).await {
            let unit = (!matches!(step, Step::Delete)).then_some(unit);
            answers.push(Answer {
                sensor,
                version,
                unit,
            });
        }
    }
    answers
}

/// Takes a step; the version that it made, none when it was refused for a reason that it may have.
async fn take(entities: &Entities, number: usize, step: Step, unit: &str) -> Option<i64> {
    let name = format!("s{number}");
    let id = id(&name);
    let current = entities.find_sensor(tenant(), &id).await.unwrap();
    let seen = current.map_or(0, |current| current.version);
    let answer = match step {
        Step::Create => {
            entities
                .create_sensor(unit, tenant(), sensor(&name, unit))
                .await
        }
        Step::Update => {
            let fields: SensorFields = fields(unit);
            entities
                .update_sensor(unit, tenant(), &id, seen, fields)
                .await
        }
        Step::UpdateAt(version) => {
            let fields = fields(unit);
            entities
                .update_sensor(unit, tenant(), &id, version, fields)
                .await
        }
        Step::Delete => entities.delete_sensor(unit, tenant(), &id, seen).await,
        Step::Relay => {
            // Over live writes of the other writers as well, as another process would.
            entities.relay_pass(0).await.unwrap();
            return None;
        }
    };
    match (step, answer) {
        (_, Ok(written)) => Some(written.version),
        (Step::Create, Err(WriteError::Conflict { existing, .. })) => {
            assert!(existing.version >= seen);
            None
        }
        (Step::Update | Step::Delete, Err(WriteError::Stale { current, .. })) => {
            assert!(current.version > seen);
            None
        }
        (Step::UpdateAt(version), Err(WriteError::Stale { current, .. })) => {
            assert_ne!(current.version, version);
            None
        }
        (_, Err(WriteError::NotFound { .. })) => None,
        (step, Err(error)) => panic!("{step:?}: {error}"),
    }
}

/// Replays the answered writes of one sensor; their versions leave no hole, and none is there twice.
fn replay(answers: &[Answer]) -> Option<String> {
    let mut standing = None;
    for (version, answer) in (1..).zip(answers) {
        assert_eq!(answer.version, version, "{answers:?}");
        if answer.unit.is_none() {
            assert!(
                standing.is_some(),
                "what does not stand was deleted: {answers:?}"
            );
        }
        standing.clone_from(&answer.unit);
    }
    standing
}

async fn check(schedule: Vec<Vec<(usize, Step)>>) {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let start = Arc::new(Barrier::new(schedule.len()));
    let writers = schedule.into_iter().enumerate().map(|(n, steps)| {
        // Each writer is a process of its own: it does not know of the others' flights.
        tokio::spawn(writer(n, world.entities(), steps, start.clone()))
    });
    let mut by_sensor: BTreeMap<usize, Vec<Answer>> = BTreeMap::new();
    for answers in join_all(writers).await {
        for answer in answers.unwrap() {
            by_sensor.entry(answer.sensor).or_default().push(answer);
        }
    }
    let entities = world.entities();
    for (number, mut answers) in by_sensor {
        answers.sort_by_key(|answer| answer.version);
        let standing = replay(&answers);
        let name = format!("s{number}");
        let newest = answers.len() as i64;
        world.assert_consistent(&name, newest).await;
        let found = entities.find_sensor(tenant(), &id(&name)).await.unwrap();
        assert_eq!(found.and_then(|found| found.entity.unit), standing);
        for (change, answer) in world.versions(&name).await.iter().zip(&answers) {
            let unit = match &change.after {
                AfterImage::Sensor(sensor) => sensor.unit.clone(),
                _ => None,
            };
            assert_eq!((change.version, &unit), (answer.version, &answer.unit));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn concurrent_writers_agree_with_a_model(
        schedule in prop::collection::vec(prop::collection::vec(step(), 1..12), WRITERS)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(check(schedule));
    }
}
