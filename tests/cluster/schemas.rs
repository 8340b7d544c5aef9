//! Schemas that change while everything runs: what may follow, what may not, and records by neither.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, assert_counted_once},
    lossy::Lossy,
    outside::{Producer, reading, register, with_field},
    refusals::refused,
    support::platform::Platform,
};

const SENSORS: u32 = 50;
const ROUNDS: u32 = 60;

#[derive(Debug, Deserialize)]
struct Row {
    sensor_id: String,
    value: f64,
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_millis() as i64
}

fn subject(cluster: &Cluster) -> String {
    format!("{}.readings-value", cluster.name)
}

/// By a schema with a firmware: so many readings of each of `new-0`, `new-1` and so on, with values that no
/// other has.
fn readings(from: u32, to: u32) -> Vec<Vec<Value>> {
    let first = now() - 1_000 * i64::from(ROUNDS);
    let of = |round: u32, sensor: u32| {
        let ts = first + 1_000 * i64::from(round);
        let mut reading = reading(&format!("new-{sensor}"), ts, value_of(round, sensor));
        reading["firmware"] = json!(format!("v{round}"));
        reading
    };
    let round = |round: u32| (0..SENSORS).map(|sensor| of(round, sensor)).collect();
    (from..to).map(round).collect()
}

fn value_of(round: u32, sensor: u32) -> f64 {
    f64::from(round * SENSORS + sensor) + 0.5
}

#[tokio::test]
async fn a_field_more_while_an_old_producer_goes_on() {
    let Some(cluster) = Cluster::new("evolved").await else {
        return;
    };
    let each = u64::from(SENSORS * ROUNDS);
    let views = cluster.views().await;
    let (ingest, serve) = tokio::join!(cluster.ingest(), cluster.serve(&views));
    let before = cluster.readings("before", SENSORS, ROUNDS);
    ingest.replay(&before, &[]).await;

    let schema = with_field(json!({"name": "firmware", "type": "string", "default": "unknown"}));
    let (status, answer) = register(&cluster.servers.registry, &subject(&cluster), &schema).await;
    assert_eq!(status, 200, "{answer}");
    let id = u32::try_from(answer["id"].as_u64().unwrap()).unwrap();
    let producer = Producer::new(&cluster, &schema, id).await;
    // Both at once, the old one through its process, the new one past it.
    let old = cluster.readings("beside", SENSORS, ROUNDS);
    let new = async {
        for round in readings(0, ROUNDS) {
            producer.append(&round).await;
        }
    };
    tokio::join!(ingest.replay(&old, &[]), new);
    assert_counted_once(&serve.ledger().await, 3 * each);
    serve.verify().await;
    assert_values(&serve).await;

    // Processes that start behind the newer version go on with their own.
    for platform in [serve, ingest, views] {
        platform.stop().await;
    }
    let views = cluster.views().await;
    let (ingest, serve) = tokio::join!(cluster.ingest(), cluster.serve(&views));
    let after = cluster.readings("after", SENSORS, ROUNDS);
    ingest.replay(&after, &[]).await;
    producer.append(&readings(0, ROUNDS).concat()).await;
    let ledger = serve.ledger().await;
    assert_eq!(
        ledger.accepted + ledger.duplicates + ledger.corrections,
        ledger.log_records
    );
    assert_eq!(ledger.log_records, 5 * each, "{ledger:?}");
    serve.verify().await;
    for platform in [serve, ingest, views] {
        platform.stop().await;
    }
    cluster.end().await;
}

/// Every reading of the new producer has its value.
async fn assert_values(serve: &Platform) {
    let rows = serve.dump::<Row>("readings").await;
    for sensor in 0..SENSORS {
        let name = format!("new-{sensor}");
        let of = rows.iter().filter(|row| row.sensor_id == name);
        let mut found: Vec<_> = of.map(|row| row.value).collect();
        found.sort_by(f64::total_cmp);
        let expected: Vec<_> = (0..ROUNDS).map(|round| value_of(round, sensor)).collect();
        assert_eq!(found, expected, "{name}");
    }
}

/// What old records do not say, and nothing says in their place.
fn incompatible() -> String {
    with_field(json!({"name": "zone", "type": "string"}))
}

#[tokio::test]
async fn an_incompatible_schema_is_refused_by_the_registry() {
    let Some(cluster) = Cluster::new("refused").await else {
        return;
    };
    let views = cluster.views().await;
    let (registry, subject) = (&cluster.servers.registry, subject(&cluster));
    let (status, answer) = register(registry, &subject, &incompatible()).await;
    assert_eq!(status, 409, "{answer}");
    assert_eq!(answer["error_code"], 409, "{answer}");
    let reason = answer["message"].as_str().unwrap();
    assert!(
        reason.contains("zone") || reason.contains("ncompatib"),
        "{answer}"
    );
    views.stop().await;
    cluster.end().await;
}

#[tokio::test]
async fn an_incompatible_schema_is_refused_by_the_embedded_registry() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let flags = [
        "up",
        "--mqtt",
        "127.0.0.1:0",
        "--data",
        data.to_str().unwrap(),
    ];
    let platform = Platform::run(&flags, &folder.path().join("log")).await;
    let registry = format!("{}/registry", platform.url());
    let (status, answer) = register(&registry, "readings-value", &incompatible()).await;
    assert_eq!(status, 409, "{answer}");
    assert_eq!(answer["error_code"], 409, "{answer}");
    let reason = answer["message"].as_str().unwrap();
    assert!(
        reason.contains("zone") && reason.contains("default"),
        "{answer}"
    );
    let schema = with_field(json!({"name": "zone", "type": "string", "default": ""}));
    let (status, answer) = register(&registry, "readings-value", &schema).await;
    assert_eq!(status, 200, "{answer}");
    platform.stop().await;
}

/// Somebody else has the subject: our schema does not read what theirs wrote.
#[tokio::test]
async fn our_own_schema_is_refused_at_the_start() {
    let Some(cluster) = Cluster::new("occupied").await else {
        return;
    };
    let theirs = r#"{"type": "record", "name": "Reading", "namespace": "org.openinfra",
        "fields": [{"name": "tenant", "type": "string"}]}"#;
    let subject = subject(&cluster);
    let (status, answer) = register(&cluster.servers.registry, &subject, theirs).await;
    assert_eq!(status, 200, "{answer}");
    let flags = cluster.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    for command in [
        &["views", "run"][..],
        &["ingest", "--mqtt", "127.0.0.1:0"],
        &["serve"],
    ] {
        let said = refused(&cluster, &[command, &flags].concat()).await;
        // Which subject, why, and what to do.
        for part in [
            &subject,
            "not backward compatible",
            "sensor_id",
            "--topic-prefix",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    cluster.end().await;
}

#[tokio::test]
async fn ids_that_nobody_registered_stand_in_the_ledger() {
    let Some(cluster) = Cluster::new("unknown").await else {
        return;
    };
    let views = cluster.views().await;
    let (ingest, serve) = tokio::join!(cluster.ingest(), cluster.serve(&views));
    let schema = with_field(json!({"name": "firmware", "type": "string", "default": "unknown"}));
    // One that a registry might give out in some years, and one that none can.
    let ids = [2_000_000_000, 4_000_000_000];
    for id in ids {
        let producer = Producer::new(&cluster, &schema, id).await;
        producer.append(&readings(0, 2).concat()).await;
    }
    // What stands behind them is counted.
    let file = cluster.readings("new", SENSORS, ROUNDS);
    ingest.replay(&file, &[]).await;
    let ledger = serve.ledger().await;
    let rejected = u64::from(2 * 2 * SENSORS);
    assert_eq!(ledger.accepted, u64::from(SENSORS * ROUNDS), "{ledger:?}");
    assert_eq!(ledger.refused["schema_rejected"], rejected, "{ledger:?}");
    assert_eq!(ledger.refusals(), rejected, "{ledger:?}");
    let list = "/api/v1/ledger?reason=schema_rejected&limit=1000";
    let entries = serve.get(list).await;
    let entries = entries["items"].as_array().unwrap();
    assert_eq!(entries.len() as u64, rejected);
    for id in ids.map(|id| id.to_string()) {
        let says = |entry: &&Value| entry["detail"].as_str().unwrap().contains(&id);
        let found = entries.iter().filter(says).count() as u64;
        assert_eq!(found, rejected / 2, "{id}: {}", entries[0]);
    }
    assert_eq!(entries[0]["topic"], "readings");
    serve.verify().await;
    for platform in [serve, ingest, views] {
        platform.stop().await;
    }
    cluster.end().await;
}

/// By which readings are written alike for every `n`, each under an id of its own: one content has one id, whoever
/// registers it.
fn firmware(cluster: &Cluster, n: u32) -> String {
    let default = format!("{}-v{n}", cluster.name);
    with_field(json!({"name": "firmware", "type": "string", "default": default}))
}

async fn register_firmware(cluster: &Cluster, n: u32) -> u32 {
    let subject = format!("{}.later", cluster.name);
    let schema = firmware(cluster, n);
    let (status, answer) = register(&cluster.servers.registry, &subject, &schema).await;
    assert_eq!(status, 200, "{answer}");
    u32::try_from(answer["id"].as_u64().unwrap()).unwrap()
}

/// Every view that tells what became of a record, as its rows stand.
async fn records(serve: &Platform) -> [Vec<Value>; 2] {
    [serve.dump("readings").await, serve.dump("ledger").await]
}

/// Records that came before their schema stay refused, whoever reads them again when it is there.
#[tokio::test]
async fn an_id_that_is_given_out_later() {
    let Some(cluster) = Cluster::alone("later").await else {
        return;
    };
    let views = cluster.views().await;
    let serve = cluster.serve(&views).await;
    // Nobody else registers meanwhile: what comes next is known.
    let next = 1 + register_firmware(&cluster, 0).await;
    let ids = next..next + 2 * SENSORS;
    let mut producer = Producer::new(&cluster, &firmware(&cluster, 0), next).await;
    let readings = readings(0, 2).concat();
    for (id, reading) in ids.clone().zip(readings.clone()) {
        producer.schema_id = id;
        producer.append(&[reading]).await;
    }
    let rejected = u64::from(2 * SENSORS);
    let ledger = serve.ledger().await;
    assert_eq!(ledger.refused["schema_rejected"], rejected, "{ledger:?}");
    let mut n = 1;
    let id = loop {
        let id = register_firmware(&cluster, n).await;
        if ids.contains(&id) {
            break id;
        }
        assert!(n < 50, "no id of {ids:?} is given out");
        n += 1;
    };
    let before = records(&serve).await;
    serve.verify().await;
    for platform in [serve, views] {
        platform.stop().await;
    }

    let views = cluster.views().await;
    let serve = cluster.serve(&views).await;
    assert_eq!(serve.ledger().await, ledger);
    assert_eq!(records(&serve).await, before);
    // Had it taken the first, one of these were a duplicate.
    producer.schema_id = id;
    producer.append(&readings).await;
    let ledger = serve.ledger().await;
    let taken = (ledger.accepted, ledger.duplicates, ledger.refusals());
    assert_eq!(taken, (rejected, 0, rejected), "{ledger:?}");
    serve.verify().await;
    for platform in [serve, views] {
        platform.stop().await;
    }
    cluster.end().await;
}

/// Records that were read once are read by the same schema when the registry has lost it.
#[tokio::test]
async fn an_id_that_the_registry_loses() {
    let Some(mut cluster) = Cluster::new("lost").await else {
        return;
    };
    let views = cluster.views().await;
    let serve = cluster.serve(&views).await;
    let id = register_firmware(&cluster, 0).await;
    let producer = Producer::new(&cluster, &firmware(&cluster, 0), id).await;
    let readings = readings(0, 2).concat();
    producer.append(&readings).await;
    let ledger = serve.ledger().await;
    assert_counted_once(&ledger, u64::from(2 * SENSORS));
    let before = records(&serve).await;
    for platform in [serve, views] {
        platform.stop().await;
    }

    let lossy = Lossy::start(&cluster.servers.registry, id).await;
    cluster.servers.registry.clone_from(&lossy.url);
    let views = cluster.views().await;
    let serve = cluster.serve(&views).await;
    assert_eq!(serve.ledger().await, ledger);
    assert_eq!(records(&serve).await, before);
    serve.verify().await;
    // The engine has them too: the same again are duplicates.
    producer.append(&readings).await;
    let ledger = serve.ledger().await;
    assert_eq!(ledger.duplicates, u64::from(2 * SENSORS), "{ledger:?}");
    serve.verify().await;
    for platform in [serve, views] {
        platform.stop().await;
    }
    cluster.end().await;
}
