//! Records as connectors and the API would write them.

use openinfra_schemas::{
    AfterImage, EntityChange, EntityKind, Quality, Reading, Sensor, SensorId, TenantId,
    TenantSettings, TsSource, reading::NO_VALUE, time::Millis,
};

/// The wall clock.
pub fn now() -> Millis {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    since.as_millis() as Millis
}

/// A GOOD reading, received when it was taken.
pub fn reading(tenant: &str, sensor: &str, event_ts: Millis, value: f64) -> Reading {
    Reading {
        tenant: TenantId::parse(tenant).unwrap(),
        sensor_id: SensorId::parse(sensor).unwrap(),
        event_ts,
        recv_ts: event_ts,
        ts_source: TsSource::Device,
        value,
        unit: Some("m".to_owned()),
        quality: Quality::Good,
        event_id: None,
        sequence: None,
        battery_pct: None,
        signal_dbm: None,
        source: "mqtt".to_owned(),
        readmits: None,
    }
}

/// The same, BAD.
pub fn bad(reading: Reading) -> Reading {
    Reading {
        value: NO_VALUE,
        quality: Quality::Bad,
        ..reading
    }
}

/// A sensor with every default.
pub fn sensor(id: &str) -> Sensor {
    Sensor {
        sensor_id: SensorId::parse(id).unwrap(),
        sensor_type: Some("level".to_owned()),
        unit: None,
        asset_id: None,
        location: None,
        thresholds: None,
        offline_timeout_ms: None,
        max_age_ms: None,
        reporting_interval_ms: None,
        created_at: 1,
        created_by: "tester".to_owned(),
        updated_at: 1,
        updated_by: "tester".to_owned(),
    }
}

/// A version of a sensor.
pub fn sensor_change(tenant: &str, id: &str, version: i64, after: AfterImage) -> EntityChange {
    EntityChange {
        tenant: TenantId::parse(tenant).unwrap(),
        kind: EntityKind::Sensor.as_str().to_owned(),
        id: id.to_owned(),
        version,
        change_id: format!("change-{version}"),
        actor: "tester".to_owned(),
        at: 0,
        after,
    }
}

/// A version of a tenant's settings.
pub fn settings_change(
    tenant: &str,
    version: i64,
    horizon_ms: i64,
    auto_register: bool,
) -> EntityChange {
    EntityChange {
        tenant: TenantId::parse(tenant).unwrap(),
        kind: EntityKind::TenantSettings.as_str().to_owned(),
        id: tenant.to_owned(),
        version,
        change_id: format!("settings-{version}"),
        actor: "tester".to_owned(),
        at: 0,
        after: AfterImage::TenantSettings(TenantSettings {
            horizon_ms,
            future_guard_ms: TenantSettings::DEFAULT_FUTURE_GUARD_MS,
            auto_register,
            created_at: 0,
            created_by: "tester".to_owned(),
            updated_at: 0,
            updated_by: "tester".to_owned(),
        }),
    }
}
