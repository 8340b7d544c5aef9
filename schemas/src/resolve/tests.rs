//! Plans against Avro's own library, which knows nothing of them.

use apache_avro::{
    reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter,
};
use serde_json::{Value as Json, json};

use super::*;

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

fn plan(writer: &str, reader: &str) -> Result<Plan, String> {
    let [writer, reader] = [writer, reader].map(|text| Schema::parse_str(text).unwrap());
    Plan::new(&writer, &reader)
}

/// Writes and reads with Avro's own library, which knows nothing of plans.
fn check(writer: &str, reader: &str, written: Json, expected: Json) {
    let plan = plan(writer, reader).unwrap();
    let [writer, reader] = [writer, reader].map(|text| Schema::parse_str(text).unwrap());
    let value = Value::try_from(written).unwrap().resolve(&writer).unwrap();
    let datum = GenericDatumWriter::builder(&writer).build().unwrap();
    let datum = datum.write_value_to_vec(value).unwrap();
    let resolved = transcode(&plan, &datum).unwrap();
    let mut rest = resolved.as_slice();
    let read = GenericDatumReader::builder(&reader).build().unwrap();
    let read = read.read_value(&mut rest).unwrap();
    assert_eq!(Json::try_from(read).unwrap(), expected);
    assert!(rest.is_empty());
}

#[test]
fn defaults_of_every_type_are_written_out() {
    let defaults = [
        (r#""null""#, json!(null)),
        (r#""boolean""#, json!(true)),
        (r#""int""#, json!(-3)),
        (r#""long""#, json!(1_i64 << 40)),
        (r#""float""#, json!(0.5)),
        (r#""double""#, json!(0.1)),
        (r#""string""#, json!("é")),
        (r#"["long","null"]"#, json!(7)),
        (
            r#"{"type":"enum","name":"E","symbols":["A","B"]}"#,
            json!("B"),
        ),
        (r#"{"type":"array","items":"int"}"#, json!([1, 2])),
        (r#"{"type":"map","values":"int"}"#, json!({"a": 1})),
        (
            r#"{"type":"record","name":"P","fields":[{"name":"x","type":"int"},{"name":"y","type":"int","default":9}]}"#,
            json!({"x": 1}),
        ),
    ];
    for (schema, default) in defaults {
        let field = format!(r#"{{"name":"a","type":{schema},"default":{default}}}"#);
        let mut expected = default;
        if schema.contains("\"P\"") {
            expected["y"] = json!(9);
        }
        check(
            &record(""),
            &record(&field),
            json!({}),
            json!({"a": expected}),
        );
    }
}

#[test]
fn a_default_of_another_type_is_refused() {
    for (schema, default) in [("int", "3000000000"), ("string", "1"), ("boolean", "null")] {
        let field = format!(r#"{{"name":"a","type":"{schema}","default":{default}}}"#);
        // The library's parser may find it first.
        if let Ok(reader) = Schema::parse_str(&record(&field)) {
            let writer = Schema::parse_str(&record("")).unwrap();
            assert!(Plan::new(&writer, &reader).is_err(), "{field}");
        }
    }
}

#[test]
fn aliases_are_followed() {
    check(
        &record(r#"{"name":"old","type":"int"},{"name":"other","type":"string"}"#),
        &record(r#"{"name":"new","type":"long","aliases":["gone","old"]}"#),
        json!({"old": 5, "other": "x"}),
        json!({"new": 5}),
    );
    let renamed = r#"{"type":"record","name":"S","aliases":["R"],"fields":[]}"#;
    check(&record(""), renamed, json!({}), json!({}));
}

#[test]
fn collections_and_promotions() {
    check(
        &record(
            r#"{"name":"a","type":{"type":"array","items":"int"}},{"name":"m","type":{"type":"map","values":"float"}}"#,
        ),
        &record(
            r#"{"name":"m","type":{"type":"map","values":"double"}},{"name":"a","type":{"type":"array","items":["null","long"]}}"#,
        ),
        json!({"a": [1, -2, 3], "m": {"k": 0.5}}),
        json!({"m": {"k": 0.5}, "a": [1, -2, 3]}),
    );
}

/// The same type wins over one that stands earlier and could take the value too.
#[test]
fn a_union_takes_the_same_type_first() {
    let plan = plan(r#""long""#, r#"["double","long"]"#).unwrap();
    assert_eq!(transcode(&plan, &[14]).unwrap(), [2, 14]);
}

#[test]
fn a_type_that_is_named_again_is_followed() {
    let twice = record(
        r#"{"name":"p","type":{"type":"record","name":"P","fields":[{"name":"x","type":"int"}]}},{"name":"q","type":"P"}"#,
    );
    check(
        &twice,
        &record(
            r#"{"name":"q","type":{"type":"record","name":"P","fields":[{"name":"x","type":"double"}]}}"#,
        ),
        json!({"p": {"x": 1}, "q": {"x": 2}}),
        json!({"q": {"x": 2.0}}),
    );
}

#[test]
fn a_schema_that_expands_without_bound_is_refused() {
    let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
    assert!(plan(list, list).is_err());
    let mut fields = r#"{"name":"f0","type":{"type":"record","name":"T0","fields":[{"name":"x","type":"int"}]}}"#.to_owned();
    for i in 1..30 {
        let below = i - 1;
        fields += &format!(
            r#",{{"name":"f{i}","type":{{"type":"record","name":"T{i}","fields":[{{"name":"a","type":"T{below}"}},{{"name":"b","type":"T{below}"}}]}}}}"#
        );
    }
    assert!(plan(&record(&fields), &record("")).is_err());
}
