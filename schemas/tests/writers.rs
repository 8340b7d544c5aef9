//! Records by other schemas than ours: what is read, what is refused, and that nothing is made up.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use common::{bare_reading, change, codec, codec_with, datum, now, reading, sensor, settings};
use openinfra_schemas::{
    AfterImage, Begin, Codec, DecodeError, EntityChange, LedgerEntry, LogId, PartitionEnd, Quality,
    Reading, Tick, TickRecord, Verdicts,
    codec::Record,
    registry::{RegistryError, SchemaId},
};
use serde_json::{Value, json};

/// Our schema of readings, changed.
fn readings(change: impl FnOnce(&mut Vec<Value>)) -> String {
    let mut schema: Value = serde_json::from_str(Reading::SCHEMA).unwrap();
    change(schema["fields"].as_array_mut().unwrap());
    schema.to_string()
}

fn field<'a>(fields: &'a mut [Value], name: &str) -> &'a mut Value {
    fields.iter_mut().find(|f| f["name"] == name).unwrap()
}

/// A reading as JSON; what a schema does not have is left out by the writer.
fn fields() -> Value {
    json!({
        "tenant": "default", "sensor_id": "pump-7:pressure",
        "event_ts": 1_656_633_600_000_i64, "recv_ts": 1_656_633_600_250_i64,
        "ts_source": "DEVICE", "value": 35.5, "unit": null, "quality": "GOOD", "event_id": null,
        "sequence": null, "battery_pct": null, "signal_dbm": null, "source": "mqtt", "readmits": null,
    })
}

/// Writes with `schema`, reads as ours; every truncation and every left-over byte must be refused.
fn read<T: Record + std::fmt::Debug>(schema: &str, json: &Value) -> Result<T, DecodeError> {
    let (codec, head) = codec_with(schema);
    let bytes = [head, datum(schema, json)].concat();
    let read = codec.decode::<T>(&bytes);
    if read.is_ok() {
        only_the_whole::<T>(&codec, &bytes);
    }
    read
}

fn only_the_whole<T: Record + std::fmt::Debug>(codec: &Codec, bytes: &[u8]) {
    for end in 0..bytes.len() {
        let error = codec.decode::<T>(&bytes[..end]).expect_err("cut");
        assert!(
            matches!(error, DecodeError::Datum { .. } | DecodeError::Frame(_)),
            "{end}: {error}"
        );
    }
    let longer = [bytes, &[0]].concat();
    assert!(matches!(
        codec.decode::<T>(&longer),
        Err(DecodeError::Datum { .. })
    ));
}

#[track_caller]
fn assert_rejected<T: std::fmt::Debug>(read: Result<T, DecodeError>, says: &str) {
    match read {
        Err(DecodeError::SchemaRejected { reason, .. }) => {
            assert!(reason.contains(says), "{reason}");
        }
        other => panic!("{other:?} is not rejected for its schema"),
    }
}

#[test]
fn our_own_schema_and_only_whole_records() {
    let (codec, _) = codec();
    only_the_whole::<Reading>(&codec, &codec.encode_to_vec(&reading()));
}

#[test]
fn a_float_becomes_a_double() {
    let schema = readings(|f| field(f, "value")["type"] = json!("float"));
    let read: Reading = read(&schema, &fields()).unwrap();
    assert_eq!(read, bare_reading());
}

#[test]
fn a_float_keeps_its_own_value() {
    let schema = readings(|f| field(f, "value")["type"] = json!("float"));
    let mut json = fields();
    json["value"] = json!(0.1);
    let read: Reading = read(&schema, &json).unwrap();
    assert_eq!(read.value, f64::from(0.1_f32));
}

#[test]
fn an_int_becomes_a_long_and_a_double() {
    let schema = readings(|f| {
        field(f, "recv_ts")["type"] = json!("int");
        field(f, "value")["type"] = json!("int");
        field(f, "battery_pct")["type"] = json!(["null", "long"]);
    });
    let mut json = fields();
    json["recv_ts"] = json!(-2_000_000_000);
    json["value"] = json!(-7);
    json["battery_pct"] = json!(87);
    let read: Reading = read(&schema, &json).unwrap();
    assert_eq!(read.recv_ts, -2_000_000_000);
    assert_eq!(read.value, -7.0);
    assert_eq!(read.battery_pct, Some(87.0));
}

#[test]
fn a_string_becomes_a_string_or_null() {
    let schema = readings(|f| field(f, "unit")["type"] = json!("string"));
    let schema = drop_default(&schema, "unit");
    let mut json = fields();
    json["unit"] = json!("bar");
    let read: Reading = read(&schema, &json).unwrap();
    assert_eq!(read.unit.as_deref(), Some("bar"));
}

fn drop_default(schema: &str, name: &str) -> String {
    let mut schema: Value = serde_json::from_str(schema).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    field(fields, name)
        .as_object_mut()
        .unwrap()
        .remove("default");
    schema.to_string()
}

#[test]
fn the_branches_of_a_union_may_stand_in_another_order() {
    let schema = readings(|f| field(f, "unit")["type"] = json!(["string", "null"]));
    let schema = drop_default(&schema, "unit");
    let mut json = fields();
    let none: Reading = read(&schema, &json).unwrap();
    assert_eq!(none.unit, None);
    json["unit"] = json!("bar");
    let some: Reading = read(&schema, &json).unwrap();
    assert_eq!(some.unit.as_deref(), Some("bar"));
}

#[test]
fn a_missing_field_takes_its_default() {
    let schema = readings(|f| f.retain(|f| f["name"] != "unit" && f["name"] != "readmits"));
    let read: Reading = read(&schema, &fields()).unwrap();
    assert_eq!(read, bare_reading());
}

#[test]
fn a_missing_field_without_default_is_never_made_up() {
    let schema = readings(|f| f.retain(|f| f["name"] != "quality"));
    assert_rejected(read::<Reading>(&schema, &fields()), "quality");
}

#[test]
fn fields_may_stand_in_another_order_and_more_may_stand_between() {
    let schema = readings(|f| {
        f.reverse();
        f.insert(
            3,
            json!({"name": "tags", "type": {"type": "map", "values": "bytes"}}),
        );
        f.push(json!({"name": "site", "type": ["null", "string"], "default": null}));
    });
    let mut json = fields();
    json["tags"] = json!({});
    let read: Reading = read(&schema, &json).unwrap();
    assert_eq!(read, bare_reading());
}

#[test]
fn fewer_symbols_are_read_and_unknown_ones_rejected() {
    let symbols = |symbols: Value| readings(|f| field(f, "quality")["type"]["symbols"] = symbols);
    let read_back: Reading = read(&symbols(json!(["BAD", "GOOD"])), &fields()).unwrap();
    assert_eq!(read_back.quality, Quality::Good);
    assert_rejected(
        read::<Reading>(&symbols(json!(["GOOD", "GREAT"])), &fields()),
        "GREAT",
    );
}

#[test]
fn finer_times_are_not_taken_for_milliseconds() {
    let micros = json!({"type": "long", "logicalType": "timestamp-micros"});
    let schema = readings(|f| field(f, "event_ts")["type"] = micros);
    let (codec, head) = codec_with(&schema);
    assert_rejected(codec.decode::<Reading>(&head), "unit");
    let millis = json!({"type": "long", "logicalType": "timestamp-millis"});
    let schema = readings(|f| field(f, "event_ts")["type"] = millis);
    let (codec, head) = codec_with(&schema);
    let plain = datum(Reading::SCHEMA, &fields());
    assert_eq!(
        codec.decode::<Reading>(&[head, plain].concat()).unwrap(),
        bare_reading()
    );
}

#[test]
fn narrower_and_other_types_are_rejected() {
    for other in ["string", "boolean", "bytes"] {
        let schema = readings(|f| field(f, "value")["type"] = json!(other));
        let (codec, head) = codec_with(&schema);
        assert_rejected(codec.decode::<Reading>(&head), "value");
    }
}

#[test]
fn a_record_of_another_type_is_rejected() {
    let (codec, _) = codec();
    let bytes = codec.encode_to_vec(&change(AfterImage::Deleted));
    let Err(DecodeError::UnknownSchema(id)) = codec.decode::<Reading>(&bytes) else {
        panic!("the id of another subject is not known at first");
    };
    now(codec.learn(id)).unwrap();
    assert_rejected(codec.decode::<Reading>(&bytes), "Reading");
}

#[test]
fn an_id_without_a_schema_is_judged_at_first_sight_and_for_good() {
    let (codec, registry) = codec();
    let bytes = [0, 0, 0, 0, 99];
    assert!(matches!(
        codec.decode::<Reading>(&bytes),
        Err(DecodeError::UnknownSchema(99))
    ));
    now(codec.learn(99)).unwrap();
    assert_rejected(codec.decode::<Reading>(&bytes), "no schema");
    assert_rejected(codec.decode::<LedgerEntry>(&bytes), "no schema");
    for i in 0..99 {
        use openinfra_schemas::registry::Registry;
        now(registry.register(
            "s",
            &format!(r#"{{"type":"fixed","name":"F{i}","size":{i}}}"#),
        ))
        .unwrap();
    }
    // The id is given out by now; what was said of its records stands.
    now(codec.learn(99)).unwrap();
    assert_rejected(codec.decode::<Reading>(&bytes), "no schema");
}

#[test]
fn a_registry_that_is_away_says_nothing_of_a_record() {
    let (codec, registry) = codec();
    let bytes = [0, 0, 0, 0, 99];
    registry.away(true);
    assert!(matches!(
        now(codec.learn(99)),
        Err(RegistryError::Unavailable(_))
    ));
    assert!(matches!(
        codec.decode::<Reading>(&bytes),
        Err(DecodeError::UnknownSchema(99))
    ));
    registry.away(false);
    now(codec.learn(99)).unwrap();
    assert_rejected(codec.decode::<Reading>(&bytes), "no schema");
}

#[test]
fn a_schema_that_does_not_parse_rejects_its_records() {
    let (codec, head) = codec_with("{");
    assert_rejected(codec.decode::<Reading>(&head), "parse");
}

#[test]
fn a_recursive_schema_rejects_its_records() {
    let schema = readings(|f| {
        f.push(json!({"name": "next", "type": ["null", "org.openinfra.Reading"]}));
    });
    let (codec, head) = codec_with(&schema);
    assert_rejected(codec.decode::<Reading>(&head), "recursive");
}

#[test]
fn frames_are_checked() {
    let (codec, _) = codec();
    for bytes in [&[][..], &[0, 0, 0, 0], &[1, 0, 0, 0, 1, 2]] {
        assert!(
            matches!(codec.decode::<Reading>(bytes), Err(DecodeError::Frame(_))),
            "{bytes:?}"
        );
    }
}

/// A union that grew at its end, as after-images do with each kind of entity.
#[test]
fn after_images_of_fewer_kinds_are_read() {
    let mut schema: Value = serde_json::from_str(EntityChange::SCHEMA).unwrap();
    schema["fields"][7]["type"].as_array_mut().unwrap().pop();
    let (codec, head) = codec_with(&schema.to_string());
    for after in [AfterImage::Deleted, AfterImage::Sensor(sensor())] {
        let change = change(after);
        let ours = codec.encode_to_vec(&change);
        let bytes = [&head, &ours[5..]].concat();
        assert_eq!(codec.decode::<EntityChange>(&bytes).unwrap(), change);
        only_the_whole::<EntityChange>(&codec, &bytes);
    }
}

/// Branches that are records are told apart by name, whatever their order and however alike.
#[test]
fn after_images_in_another_order_are_read() {
    let mut schema: Value = serde_json::from_str(EntityChange::SCHEMA).unwrap();
    schema["fields"][7]["type"]
        .as_array_mut()
        .unwrap()
        .rotate_right(1);
    let (codec, head) = codec_with(&schema.to_string());
    for (after, index) in [
        (AfterImage::TenantSettings(settings()), 0),
        (AfterImage::Deleted, 1),
        (AfterImage::Sensor(sensor()), 2),
    ] {
        let change = change(after);
        let mut bytes = [&head, &codec.encode_to_vec(&change)[5..]].concat();
        let branch = 5 + change_head_bytes(&codec);
        bytes[branch] = index * 2;
        assert_eq!(codec.decode::<EntityChange>(&bytes).unwrap(), change);
        only_the_whole::<EntityChange>(&codec, &bytes);
    }
}

/// How many bytes stand before the branch of the after-image.
fn change_head_bytes(codec: &Codec) -> usize {
    codec.encode_to_vec(&change(AfterImage::Deleted)).len() - 5 - 1
}

#[test]
fn a_new_kind_of_entity_is_rejected_not_guessed() {
    let mut schema: Value = serde_json::from_str(EntityChange::SCHEMA).unwrap();
    let kinds = schema["fields"][7]["type"].as_array_mut().unwrap();
    kinds.push(json!({"type": "record", "name": "Vehicle", "fields": []}));
    let (codec, head) = codec_with(&schema.to_string());
    assert_rejected(codec.decode::<EntityChange>(&head), "Vehicle");
}

#[test]
fn every_variant_comes_back() {
    let (codec, _) = codec();
    for after in [
        AfterImage::Deleted,
        AfterImage::Sensor(sensor()),
        AfterImage::TenantSettings(settings()),
    ] {
        let change = change(after);
        let bytes = codec.encode_to_vec(&change);
        assert_eq!(codec.decode::<EntityChange>(&bytes).unwrap(), change);
        only_the_whole::<EntityChange>(&codec, &bytes);
    }
    let end = |partition| PartitionEnd {
        topic: "readings".to_owned(),
        partition,
        end: 1 << 40,
    };
    for record in [
        TickRecord::LogId(LogId {
            id: "0190".to_owned(),
        }),
        TickRecord::Begin(Begin {
            attempt: 2,
            processes: 1,
            generation: 1,
            tzdata: "2026a".to_owned(),
        }),
        TickRecord::Tick(Tick {
            attempt: 2,
            tick: 1_656_633_600_000,
            ends: vec![],
        }),
        TickRecord::Tick(Tick {
            attempt: 2,
            tick: 7,
            ends: vec![end(0), end(31)],
        }),
        TickRecord::Verdicts(Verdicts {
            attempt: 2,
            tick: 7,
            known: vec![],
            unknown: vec![SchemaId::MAX],
        }),
    ] {
        let bytes = codec.encode_to_vec(&record);
        assert_eq!(codec.decode::<TickRecord>(&bytes).unwrap(), record);
        only_the_whole::<TickRecord>(&codec, &bytes);
    }
}
