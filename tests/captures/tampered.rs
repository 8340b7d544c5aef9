//! A row that is not what the log says is found and named, and nothing is claimed that was not looked at.

use std::path::Path;

use openinfra_embedded::{Embedded, Options};
use openinfra_schemas::{SensorId, TenantId, Topic, key, topic::DEFAULT_PARTITIONS};
use openinfra_scylla::ScyllaStore;
use openinfra_store::{
    Batch, Freshness, KeyBuf, Row, RowKey, Store, WriteClass, get_row,
    tables::{self, views::HourlyAggregateRow},
};

use super::{
    capture::Capture,
    rows::HourRow,
    support::{command, place, platform::Platform},
};

const DAY_MS: i64 = 86_400_000;

#[tokio::test]
async fn verify_names_a_changed_row() {
    let Some(capture) = Capture::normalize("nab", &["--limit", "5000"]) else {
        return;
    };
    let data = capture.beside("data");
    let place = place::flags(&data);
    let place: Vec<_> = place.iter().map(String::as_str).collect();
    let verify =
        async |more: &[&str]| command::run(&[&["views", "verify"], more, &place].concat()).await;
    let platform = Platform::start(&data).await;
    platform
        .replay(&capture.file, &["--horizon-from-file"])
        .await;
    platform.caught_up().await;
    let hours = platform.dump::<HourRow>("hourly_aggregate").await;

    // A store of its own may be read beside a server.
    if !place::is_cluster() {
        let busy = verify(&[]).await.expect_code(2);
        assert!(busy.stderr.contains("--url"), "{busy:?}");
    }
    platform.stop().await;
    verify(&[]).await.expect_code(0);

    let victim = &hours[hours.len() / 2];
    change_sum(&data, victim).await;
    let told = verify(&[]).await.expect_code(1);
    assert!(told.stdout.contains("hourly_aggregate"), "{told:?}");
    assert!(told.stdout.contains(&victim.sensor_id), "{told:?}");
    let json = verify(&["--json"]).await.expect_code(1);
    let report = json.json();
    assert_eq!(report["equal"], false, "{report}");
    assert_eq!(report["differing"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(
        report["differing"][0]["view"], "hourly_aggregate",
        "{report}"
    );

    let platform = Platform::start(&data).await;
    let url = platform.url();
    let json = command::run(&["views", "verify", "--json", "--url", &url])
        .await
        .expect_code(1);
    let from_server = json.json();
    for same in [
        "/differing",
        "/views/hourly_aggregate",
        "/views/readings",
        "/ledger",
    ] {
        let (here, there) = (report.pointer(same), from_server.pointer(same));
        assert!(here.is_some(), "{same}: {report}");
        assert_eq!(there, here, "{same}");
    }
    platform.stop().await;
}

#[tokio::test]
async fn verify_says_when_there_is_nothing_to_look_at() {
    let scratch = tempfile::tempdir().unwrap();
    let missing = scratch.path().join("missing");
    let data = missing.to_str().unwrap();
    command::run(&["views", "verify", "--data", data])
        .await
        .expect_code(2);
    assert!(
        !missing.exists(),
        "a folder that was only looked at was made"
    );
    command::run(&["views", "verify", "--url", "http://127.0.0.1:1"])
        .await
        .expect_code(2);
}

/// Adds one to the sum of an hour, as no program of ours would.
async fn change_sum(data: &Path, victim: &HourRow) {
    if place::is_cluster() {
        let (node, keyspace) = place::keyspace(data);
        let config = openinfra_scylla::Config::new(vec![node], keyspace);
        let metrics = prometheus::Registry::new();
        let store = ScyllaStore::open(&config, tables::ALL, &metrics)
            .await
            .unwrap();
        return add_one(&store, victim, DEFAULT_PARTITIONS).await;
    }
    let embedded = Embedded::open(data, Options::default()).unwrap();
    let partitions = embedded.log().partitions(Topic::Readings);
    add_one(&*embedded.store(), victim, partitions).await;
    embedded.close().unwrap();
}

async fn add_one(store: &dyn Store, victim: &HourRow, partitions: i32) {
    let key = key_of(victim, partitions);
    let found = get_row::<HourlyAggregateRow>(store, &key, Freshness::Acknowledged).await;
    let mut row = found.unwrap().expect("the hour is in the store");
    row.sum = row.sum.map(|sum| sum + 1.0);
    // Not of a tick: rows of ticks that were written before are left as they are.
    let mut batch = Batch::new(WriteClass::Durable);
    batch.put(&row);
    store.write(batch).await.unwrap();
}

fn key_of(hour: &HourRow, partitions: i32) -> RowKey {
    let tenant = TenantId::parse("default").unwrap();
    let sensor = SensorId::parse(&hour.sensor_id).unwrap();
    let bucket = key::sensor_bucket(&key::reading_key(&tenant, &sensor), partitions);
    let day = hour.hour - hour.hour.rem_euclid(DAY_MS);
    let partition = KeyBuf::new().text(tenant.as_str()).int(bucket).bigint(day);
    let clustering = KeyBuf::new().text(sensor.as_str()).bigint(hour.hour);
    RowKey::new(HourlyAggregateRow::TABLE, &partition, &clustering)
}
