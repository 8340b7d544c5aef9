//! How many rows a second the store takes: `cargo run --release --example write_rate -- HOST:PORT
//! [SECONDS] [PARTITIONS] [ROWS A BATCH]`.
//!
//! Rows of `readings` in the batches that a tick makes: so many partitions, each with its share of rows.
//! The keyspace `openinfra_write_rate` is made for it and removed afterwards.
#![expect(clippy::print_stdout, reason = "it prints its result")]

use std::{
    error::Error,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use openinfra_schemas::{Quality, SensorId, TenantId};
use openinfra_scylla::{Cluster, Config, Replication, SchemaOptions, ScyllaStore, migrate};
use openinfra_store::{Batch, Row, Store, WriteClass, tables::views::ReadingRow};
use scylla::client::session_builder::SessionBuilder;

const KEYSPACE: &str = "openinfra_write_rate";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("the first argument is HOST:PORT")?;
    let mut number = |default: i64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (seconds, partitions, rows) = (number(10)?, number(256)?, number(20_000)?);

    let config = Config::new(vec![address.clone()], KEYSPACE);
    let cluster = Cluster::connect(&config).await?;
    let options = SchemaOptions {
        replication: Some(Replication::Simple(1)),
        keyspace_options: None,
        table_options: None,
    };
    migrate::migrate(&cluster, &options).await?;
    let store =
        ScyllaStore::open(&config, &[ReadingRow::TABLE], &prometheus::Registry::new()).await?;

    let first_tick = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let (mut written, mut slowest) = (0, Duration::ZERO);
    let began = Instant::now();
    let mut offset = 0;
    while began.elapsed() < Duration::from_secs(seconds as u64) {
        let mut batch = Batch::new(WriteClass::Tick(first_tick + offset));
        for row in 0..rows {
            batch.put(&reading(row % partitions, row / partitions, offset));
        }
        let write = Instant::now();
        store.write(batch).await?;
        slowest = slowest.max(write.elapsed());
        written += rows;
        offset += 1;
    }
    let rate = written as f64 / began.elapsed().as_secs_f64();
    println!(
        "{written} rows in {offset} batches over {partitions} partitions: {rate:.0} rows/s, slowest batch {slowest:?}"
    );

    let session = SessionBuilder::new().known_node(&address).build().await?;
    session
        .query_unpaged(format!("DROP KEYSPACE \"{KEYSPACE}\""), ())
        .await?;
    Ok(())
}

fn reading(bucket: i64, sensor: i64, offset: i64) -> ReadingRow {
    ReadingRow {
        tenant: TenantId::trusted("city"),
        bucket: bucket as i32,
        hour: 1_700_000_000_000,
        sensor_id: SensorId::trusted(&format!("sensor-{bucket:04}-{sensor:06}")),
        event_ts: 1_700_000_000_000 + offset,
        offset,
        value: Some(offset as f64 * 0.25),
        quality: Quality::Good,
        recv_ts: 1_700_000_000_100 + offset,
        device_ts: true,
        unit: Some("ug/m3".to_owned()),
        battery_pct: None,
        signal_dbm: None,
        tick: 1_700_000_000_200 + offset,
    }
}
