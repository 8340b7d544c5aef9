//! How fast a log passes into the views: readings are appended to an empty folder, then the job is started
//! over it and timed until the views have all of them.
//!
//! `cargo bench -p openinfra-load-tests --bench backlog -- [READINGS] [SENSORS] [OUT_OF_ORDER_PERCENT] [WORKERS]`

use std::{sync::Arc, time::Instant};

use openinfra_embedded::{Embedded, Options};
use openinfra_log::{AppendBatch, Log};
use openinfra_schemas::{
    Codec, Quality, Reading, SensorId, TenantId, Topic, TsSource,
    key::{partition_of, reading_key},
    time::Millis,
};
use openinfra_store::{Freshness, Row, get_row, tables::views::ProgressRow};
use openinfra_views::{Config, Job};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The harness is called with flags of its own, as `--bench`.
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.parse::<u64>().ok());
    let readings = numbers.next().unwrap_or(2_000_000);
    let sensors = numbers.next().unwrap_or(1_000);
    let out_of_order = numbers.next().unwrap_or(40);
    let workers = numbers.next().unwrap_or(2) as usize;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(run(readings, sensors, out_of_order, workers))
}

async fn run(
    readings: u64,
    sensors: u64,
    out_of_order: u64,
    workers: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let embedded = Embedded::open(folder.path(), Options::default())?;
    let codec = Arc::new(Codec::open(embedded.registry()).await?);
    let began = Instant::now();
    append(&*embedded.log(), &codec, readings, sensors, out_of_order).await?;
    let appended = began.elapsed().as_secs_f64();

    let config = Config {
        workers,
        ..Config::default()
    };
    let metrics = prometheus::Registry::new();
    let began = Instant::now();
    let job = Job::start(
        config,
        embedded.log(),
        embedded.store(),
        Arc::clone(&codec),
        &metrics,
    )
    .await?;
    let ends = embedded.log().end_offsets(Topic::Readings).await?;
    while !reached(&embedded, &ends).await? {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let caught_up = began.elapsed().as_secs_f64();
    job.stop().await?;
    println!(
        "{readings} readings of {sensors} sensors, {out_of_order} % out of order, {workers} workers: \
         appended {:.0}/s, into the views {:.0}/s",
        readings as f64 / appended,
        readings as f64 / caught_up,
    );
    Ok(())
}

/// Readings a minute apart for each sensor; of each hundred some are of an hour before.
async fn append(
    log: &dyn Log,
    codec: &Codec,
    readings: u64,
    sensors: u64,
    out_of_order: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let tenant = TenantId::trusted("default");
    let start: Millis = 1_700_000_000_000;
    let mut batch = AppendBatch::default();
    for number in 0..readings {
        let sensor_id = SensorId::trusted(&format!("bench/{}", number % sensors));
        let at = start + (number / sensors) as Millis * 60_000;
        let late = number.wrapping_mul(0x9e37_79b9) % 100 < out_of_order;
        let event_ts = if late { at - 3_600_000 + 30_000 } else { at };
        let reading = Reading {
            tenant: tenant.clone(),
            event_ts,
            recv_ts: at,
            ts_source: TsSource::Device,
            value: (number % 977) as f64 / 7.0,
            unit: Some("bar".to_owned()),
            quality: Quality::Good,
            event_id: None,
            sequence: None,
            battery_pct: None,
            signal_dbm: None,
            source: "bench".to_owned(),
            readmits: None,
            sensor_id,
        };
        let key = reading_key(&tenant, &reading.sensor_id);
        let partition = partition_of(&key, log.partitions(Topic::Readings));
        batch.push_with(Topic::Readings, partition, &key, |out| {
            codec.encode(&reading, out)
        });
        if batch.len() == 10_000 || number + 1 == readings {
            log.append(std::mem::take(&mut batch)).await?;
        }
    }
    Ok(())
}

/// Whether the views have everything below `ends`.
async fn reached(embedded: &Embedded, ends: &[i64]) -> Result<bool, Box<dyn std::error::Error>> {
    let key = ProgressRow {
        generation: openinfra_store::tables::views::GENERATION,
        as_of: 0,
        attempt: 0,
        ends: String::new(),
        rows: String::new(),
        log_id: String::new(),
        tick_offset: 0,
        marks: None,
        hourly_as_of: None,
    }
    .key();
    let row = get_row::<ProgressRow>(&*embedded.store(), &key, Freshness::Acknowledged).await?;
    let Some(row) = row else { return Ok(false) };
    let covered: serde_json::Value = serde_json::from_str(&row.ends)?;
    let covered = covered["readings"].as_array().cloned().unwrap_or_default();
    Ok(covered
        .iter()
        .zip(ends)
        .all(|(have, want)| have.as_i64() >= Some(*want)))
}
