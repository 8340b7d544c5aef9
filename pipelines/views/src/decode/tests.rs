//! Which records are fed, and which are rejected with which reason.

use std::sync::Arc;

use bytes::Bytes;
use openinfra_embedded::{Embedded, Options};
use openinfra_schemas::{TsSource, codec::unframe, key::reading_key, reading::NO_VALUE};

use super::*;

const PARTITIONS: i32 = 4;

struct Fixture {
    codec: Arc<Codec>,
    _embedded: Embedded,
    _dir: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), Options::default()).unwrap();
    Fixture {
        codec: Arc::new(Codec::open(embedded.registry()).await.unwrap()),
        _embedded: embedded,
        _dir: dir,
    }
}

fn good() -> Reading {
    Reading {
        tenant: TenantId::parse("city").unwrap(),
        sensor_id: SensorId::parse("a/b").unwrap(),
        event_ts: 1,
        recv_ts: 2,
        ts_source: TsSource::Device,
        value: 1.5,
        unit: None,
        quality: Quality::Good,
        event_id: None,
        sequence: None,
        battery_pct: None,
        signal_dbm: None,
        source: "mqtt".to_owned(),
        readmits: None,
    }
}

fn chunk(topic: Topic, partition: i32, key: &[u8], value: Vec<u8>) -> Chunk {
    Chunk {
        topic,
        partition,
        records: vec![LogRecord {
            offset: 7,
            append_ts: 0,
            key: Bytes::copy_from_slice(key),
            value: value.into(),
        }],
    }
}

impl Fixture {
    fn decode(&self, chunk: Chunk) -> RecordBody {
        let mut writers = Writers::default();
        if let Ok((id, _)) = unframe(&chunk.records[0].value) {
            let own = self.codec.own_schema(id);
            let writer = own.map(|(_, text)| self.codec.writer(text));
            writers.put(id, writer.unwrap_or_else(|| self.codec.nobody()));
        }
        let decoder = Decoder::new(&self.codec, PARTITIONS, &writers);
        let mut records = decoder.decode(&[chunk]);
        let record = records.pop().unwrap();
        assert!(records.is_empty());
        assert_eq!(record.offset, 7);
        record.body
    }

    fn decode_reading(&self, reading: &Reading) -> RecordBody {
        let key = reading_key(&reading.tenant, &reading.sensor_id);
        let partition = partition_of(&key, PARTITIONS);
        let value = self.codec.encode_to_vec(reading);
        self.decode(chunk(Topic::Readings, partition, &key, value))
    }

    fn check_rejected(&self, body: RecordBody, tenant: &str, reason: Reason) {
        match body {
            RecordBody::Rejected {
                tenant: t,
                reason: r,
                detail,
            } => {
                assert_eq!((t.as_str(), r), (tenant, reason), "{detail}");
                assert!(!detail.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_reading_comes_with_its_bucket() {
    let fixture = fixture().await;
    match fixture.decode_reading(&good()) {
        RecordBody::Reading { reading, bucket } => {
            assert_eq!(reading, good());
            assert_eq!(bucket, sensor_bucket(b"city/a/b", PARTITIONS));
        }
        other => panic!("{other:?}"),
    }
    let silent = Reading {
        value: NO_VALUE,
        quality: Quality::Bad,
        ..good()
    };
    assert!(matches!(
        fixture.decode_reading(&silent),
        RecordBody::Reading { .. }
    ));
}

#[tokio::test]
async fn fields_that_break_their_rules_are_invalid() {
    let fixture = fixture().await;
    type Spoil = fn(&mut Reading);
    let spoilt: [(&str, Spoil); 7] = [
        ("city", |r| r.value = f64::NAN),
        ("city", |r| r.value = f64::INFINITY),
        ("city", |r| r.event_ts = i64::MAX),
        ("city", |r| r.recv_ts = i64::MIN),
        ("city", |r| {
            r.sensor_id = SensorId::trusted(&"x".repeat(300))
        }),
        ("city", |r| r.sensor_id = SensorId::trusted("a\u{7}")),
        ("", |r| r.tenant = TenantId::trusted("City")),
    ];
    for (tenant, spoil) in spoilt {
        let mut reading = good();
        spoil(&mut reading);
        let body = fixture.decode_reading(&reading);
        fixture.check_rejected(body, tenant, Reason::Invalid);
    }
}

#[tokio::test]
async fn ids_outside_ascii_are_fine() {
    let fixture = fixture().await;
    for id in ["Straße 7", "温度", "a b", &"x".repeat(256)] {
        let mut reading = good();
        reading.sensor_id = SensorId::parse(id).unwrap();
        let body = fixture.decode_reading(&reading);
        assert!(matches!(body, RecordBody::Reading { .. }), "{id}: {body:?}");
    }
}

#[tokio::test]
async fn a_reading_stands_under_its_own_key() {
    let fixture = fixture().await;
    let value = fixture.codec.encode_to_vec(&good());
    for key in [
        &b"city/other"[..],
        b"town/a/b",
        b"city",
        b"city/a/b/c",
        b"\xff",
    ] {
        let partition = partition_of(key, PARTITIONS);
        let tenant = tenant_of(key);
        let body = fixture.decode(chunk(Topic::Readings, partition, key, value.clone()));
        fixture.check_rejected(body, tenant.as_str(), Reason::Invalid);
    }
    let elsewhere = (partition_of(b"city/a/b", PARTITIONS) + 1) % PARTITIONS;
    for topic in [Topic::Readings, Topic::Ledger] {
        let body = fixture.decode(chunk(topic, elsewhere, b"city/a/b", value.clone()));
        fixture.check_rejected(body, "city", Reason::Invalid);
    }
}

#[tokio::test]
async fn bytes_that_are_no_record_are_undecodable() {
    let fixture = fixture().await;
    let key = b"city/a/b";
    let partition = partition_of(key, PARTITIONS);
    let whole = fixture.codec.encode_to_vec(&good());
    let mut longer = whole.clone();
    longer.push(0);
    let mut values = vec![vec![], b"{}".to_vec(), longer];
    values.extend((0..whole.len()).map(|cut| whole[..cut].to_vec()));
    for topic in [Topic::Readings, Topic::Ledger] {
        for value in &values {
            let body = fixture.decode(chunk(topic, partition, key, value.clone()));
            match topic {
                Topic::Readings => fixture.check_rejected(body, "city", Reason::Undecodable),
                // A reading's schema is no ledger entry's, once the frame is whole.
                _ => assert!(matches!(body, RecordBody::Rejected { .. }), "{body:?}"),
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_schema_is_rejected_for_good() {
    let fixture = fixture().await;
    let key = b"city/a/b";
    let partition = partition_of(key, PARTITIONS);
    let value = vec![0, 0, 1, 0, 0, 5, 5];
    let body = fixture.decode(chunk(Topic::Readings, partition, key, value));
    fixture.check_rejected(body, "city", Reason::SchemaRejected);
}

#[test]
fn a_tenant_is_read_from_a_key_where_it_can_be() {
    for (key, tenant) in [
        (&b"city/a"[..], "city"),
        (b"city", "city"),
        (b"/mqtt", ""),
        (b"City/a", ""),
        (b"\xff/a", ""),
        (b"", ""),
    ] {
        assert_eq!(tenant_of(key).as_str(), tenant);
    }
}
