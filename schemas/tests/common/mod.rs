//! What the tests share: a registry in memory, a record of each type, bytes by any writer's schema.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use apache_avro::{Schema, types::Value, writer::datum::GenericDatumWriter};
use openinfra_schemas::{
    AfterImage, Codec, EntityChange, LedgerEntry, Point, Position, Quality, Reading, Sensor,
    SensorId, TenantId, TenantSettings, Thresholds, TsSource,
    registry::{Registry, RegistryError, SchemaId},
};

/// Ids from 1, in order of arrival; takes everything, and can be out of reach.
#[derive(Default)]
pub struct Plain(Mutex<Vec<String>>, AtomicBool);

impl Plain {
    pub fn away(&self, away: bool) {
        self.1.store(away, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl Registry for Plain {
    async fn register(&self, _: &str, schema: &str) -> Result<SchemaId, RegistryError> {
        let mut all = self.0.lock().unwrap();
        let known = all.iter().position(|text| text == schema);
        let at = known.unwrap_or_else(|| {
            all.push(schema.to_owned());
            all.len() - 1
        });
        Ok(at as SchemaId + 1)
    }

    async fn schema(&self, id: SchemaId) -> Result<String, RegistryError> {
        if self.1.load(Ordering::SeqCst) {
            return Err(RegistryError::Unavailable("as the test wants it".into()));
        }
        let all = self.0.lock().unwrap();
        let at = (id as usize).checked_sub(1);
        let text = at.and_then(|at| all.get(at)).cloned();
        text.ok_or(RegistryError::UnknownId(id))
    }
}

/// Runs a future that never waits, as those of [`Plain`] do not.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

pub fn codec() -> (Codec, Arc<Plain>) {
    let registry = Arc::new(Plain::default());
    (now(Codec::open(registry.clone())).unwrap(), registry)
}

/// A codec that has learnt `writer`, and the frame's head for it.
pub fn codec_with(writer: &str) -> (Codec, Vec<u8>) {
    let (codec, registry) = codec();
    let id = now(registry.register("writer", writer)).unwrap();
    now(codec.learn(id)).unwrap();
    let mut head = vec![0];
    head.extend_from_slice(&id.to_be_bytes());
    (codec, head)
}

/// The datum of `json` by `schema`, as Avro's own library writes it.
pub fn datum(schema: &str, json: &serde_json::Value) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    let value = Value::try_from(json.clone())
        .unwrap()
        .resolve(&schema)
        .unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    writer.write_value_to_vec(value).unwrap()
}

pub fn reading() -> Reading {
    Reading {
        tenant: TenantId::trusted("default"),
        sensor_id: SensorId::trusted("pump-7:pressure"),
        event_ts: 1_656_633_600_000,
        recv_ts: 1_656_633_600_250,
        ts_source: TsSource::Device,
        value: 35.5,
        unit: Some("bar".to_owned()),
        quality: Quality::Good,
        event_id: Some("e-1".to_owned()),
        sequence: Some(-3),
        battery_pct: Some(87.5),
        signal_dbm: Some(-71.0),
        source: "mqtt".to_owned(),
        readmits: Some(Position {
            topic: "readings".to_owned(),
            partition: 3,
            offset: 41,
        }),
    }
}

pub fn bare_reading() -> Reading {
    Reading {
        unit: None,
        event_id: None,
        sequence: None,
        battery_pct: None,
        signal_dbm: None,
        readmits: None,
        ..reading()
    }
}

pub fn sensor() -> Sensor {
    Sensor {
        sensor_id: SensorId::trusted("pump-7:pressure"),
        sensor_type: Some("pressure".to_owned()),
        unit: Some("bar".to_owned()),
        asset_id: Some("pump-7".to_owned()),
        location: Some(Point {
            longitude: -77.0365,
            latitude: 38.8977,
            height: None,
        }),
        thresholds: Some(Thresholds {
            warning_min: Some(0.0),
            critical_max: Some(150.5),
            ..Thresholds::default()
        }),
        offline_timeout_ms: Some(21_600_000),
        max_age_ms: None,
        reporting_interval_ms: Some(3_600_000),
        created_at: 1,
        created_by: "u-1".to_owned(),
        updated_at: 2,
        updated_by: "u-2".to_owned(),
    }
}

pub fn change(after: AfterImage) -> EntityChange {
    EntityChange {
        tenant: TenantId::trusted("default"),
        kind: "sensor".to_owned(),
        id: "pump-7:pressure".to_owned(),
        version: 4,
        change_id: "0190163d-8694-739b-aea5-966c26f8ad91".to_owned(),
        actor: "u-1".to_owned(),
        at: 1_656_633_600_000,
        after,
    }
}

pub fn settings() -> TenantSettings {
    TenantSettings {
        horizon_ms: TenantSettings::DEFAULT_HORIZON_MS,
        future_guard_ms: TenantSettings::DEFAULT_FUTURE_GUARD_MS,
        auto_register: true,
        created_at: 1,
        created_by: "u-1".to_owned(),
        updated_at: 2,
        updated_by: "u-2".to_owned(),
    }
}

pub fn ledger_entry() -> LedgerEntry {
    LedgerEntry {
        tenant: TenantId::trusted("default"),
        source: "mqtt".to_owned(),
        reason: "undecodable".to_owned(),
        detail: "no JSON".to_owned(),
        origin: "sensors/pump-7/data".to_owned(),
        sensor_id: Some("pump-7".to_owned()),
        event_ts: None,
        recv_ts: 1_656_633_600_250,
        payload: vec![0x00, 0xff, b'{'],
    }
}
