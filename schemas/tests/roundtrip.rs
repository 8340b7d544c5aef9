//! Whatever our types can hold comes back from the log as it was.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use common::{change, codec, reading, sensor, settings};
use openinfra_schemas::{
    AfterImage, EntityChange, LedgerEntry, Point, Position, Quality, Reading, Sensor, SensorId,
    TenantId, TenantSettings, Thresholds, TsSource,
};
use proptest::{collection::vec, option::of, prelude::*};

prop_compose! {
    fn readings()(
        tenant in ".{0,8}", sensor_id in ".{0,20}", event_ts in any::<i64>(), recv_ts in any::<i64>(),
        server in any::<bool>(), value in any::<u64>(), unit in of(".{0,4}"),
        quality in prop_oneof![Just(Quality::Good), Just(Quality::Uncertain), Just(Quality::Bad)],
        event_id in of(".{0,9}"), sequence in of(any::<i64>()), battery_pct in of(-1e9..1e9),
        position in of((".{0,9}", any::<i32>(), any::<i64>())),
    ) -> Reading {
        Reading {
            tenant: TenantId::trusted(&tenant),
            sensor_id: SensorId::trusted(&sensor_id),
            event_ts,
            recv_ts,
            ts_source: if server { TsSource::Server } else { TsSource::Device },
            value: f64::from_bits(value),
            unit,
            quality,
            event_id,
            sequence,
            battery_pct,
            signal_dbm: battery_pct.map(|pct| -pct),
            source: "mqtt".to_owned(),
            readmits: position.map(|(topic, partition, offset)| Position { topic, partition, offset }),
        }
    }
}

prop_compose! {
    fn sensors()(
        text in of(".{0,9}"), number in of(any::<i64>()), limit in of(-1e300..1e300),
        point in of((-180.0..180.0, -90.0..90.0, of(-1e4..1e4))),
        limited in any::<bool>(), at in any::<i64>(),
    ) -> Sensor {
        Sensor {
            sensor_type: text.clone(),
            unit: text,
            location: point.map(|(longitude, latitude, height)| Point { longitude, latitude, height }),
            thresholds: limited.then_some(Thresholds {
                warning_max: limit,
                critical_min: limit.map(|limit| -limit),
                ..Thresholds::default()
            }),
            offline_timeout_ms: number,
            created_at: at,
            ..sensor()
        }
    }
}

fn after_images() -> impl Strategy<Value = AfterImage> {
    let settings =
        (any::<i64>(), any::<bool>()).prop_map(|(horizon_ms, auto_register)| TenantSettings {
            horizon_ms,
            auto_register,
            ..settings()
        });
    prop_oneof![
        Just(AfterImage::Deleted),
        sensors().prop_map(AfterImage::Sensor),
        settings.prop_map(AfterImage::TenantSettings),
    ]
}

proptest! {
    #[test]
    fn readings_come_back_to_the_bit(before in readings()) {
        let (codec, _) = codec();
        let bytes = codec.encode_to_vec(&before);
        let after: Reading = codec.decode(&bytes).unwrap();
        prop_assert_eq!(after.value.to_bits(), before.value.to_bits());
        let number = |reading: Reading| Reading { value: 0.0, ..reading };
        prop_assert_eq!(number(after), number(before));
    }

    #[test]
    fn entity_changes_come_back(after in after_images(), version in any::<i64>(), id in ".{0,20}") {
        let (codec, _) = codec();
        let before = EntityChange { version, id, ..change(after) };
        let read: EntityChange = codec.decode(&codec.encode_to_vec(&before)).unwrap();
        prop_assert_eq!(read, before);
    }

    #[test]
    fn payloads_come_back(payload in vec(any::<u8>(), 0..300)) {
        let (codec, _) = codec();
        let before = LedgerEntry { payload, ..common::ledger_entry() };
        let read: LedgerEntry = codec.decode(&codec.encode_to_vec(&before)).unwrap();
        prop_assert_eq!(read, before);
    }

    /// A flipped byte gives another reading or an error, never a panic.
    #[test]
    fn no_damage_panics(at in 0_usize..200, byte in any::<u8>()) {
        let (codec, _) = codec();
        let mut bytes = codec.encode_to_vec(&reading());
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = codec.decode::<Reading>(&bytes);
    }
}
