//! Every shape of a payload, and everything that can be wrong with one.

use proptest::prelude::*;

use super::*;

const T: Millis = 1_656_633_600_000;

type Read<'a> = Vec<(usize, Result<Item<'a>, ItemError>)>;

fn sensor(payload: &[u8]) -> Read<'_> {
    let mut all = Vec::new();
    read_sensor_message(payload, &mut |index, item| all.push((index, item)));
    all
}

fn batch(payload: &[u8]) -> Read<'_> {
    let mut all = Vec::new();
    read_batch(payload, &mut |index, item| all.push((index, item)));
    all
}

fn ndjson(payload: &[u8]) -> Read<'_> {
    let mut all = Vec::new();
    read_ndjson(payload, &mut |index, item| all.push((index, item)));
    all
}

/// The only reading of a message.
#[track_caller]
fn one(payload: &str) -> Item<'_> {
    let mut all = sensor(payload.as_bytes());
    assert_eq!(all.len(), 1, "{all:?}");
    all.pop().unwrap().1.unwrap()
}

/// The message is refused whole, with this reason, and the detail says this.
#[track_caller]
fn refused(read: Read<'_>, reason: Reason, says: &str) {
    let [(0, Err(error))] = read.as_slice() else {
        panic!("{read:?}");
    };
    assert_eq!(error.reason, reason, "{error}");
    assert!(error.detail.contains(says), "{error}");
}

#[track_caller]
fn invalid(payload: &str, says: &str) {
    refused(sensor(payload.as_bytes()), Reason::Invalid, says);
}

#[track_caller]
fn undecodable(payload: &[u8], says: &str) {
    refused(sensor(payload), Reason::Undecodable, says);
}

#[test]
fn a_value_and_a_time() {
    let item = one(r#"{"value": 21.5, "timestamp": 1656633600000}"#);
    let expected = Item {
        index: 0,
        sensor_id: None,
        quantity: None,
        value: Some(21.5),
        quality: Quality::Good,
        timestamp: Some(T),
        recv_ts: None,
        event_id: None,
        sequence: None,
        unit: None,
        battery: None,
        signal: None,
    };
    assert_eq!(item, expected);
}

#[test]
fn everything_that_a_device_may_say() {
    let item = one(
        r#"{"value":-0.0,"timestamp":"2022-07-01T02:00:00+02:00","quality":"UNCERTAIN","event_id":"e-1",
            "sequence":-9223372036854775808,"unit":"bar","battery":87,"rssi":-71.5,"recv_ts":1656633601,
            "metadata":{"firmware":[1,{"a":"b"}]},"sensor_id":7,"more":null}"#,
    );
    assert_eq!(item.value.map(f64::to_bits), Some((-0.0_f64).to_bits()));
    assert_eq!(item.timestamp, Some(T));
    assert_eq!(item.quality, Quality::Uncertain);
    assert_eq!(item.event_id.as_deref(), Some("e-1"));
    assert_eq!(item.sequence, Some(i64::MIN));
    assert_eq!(item.unit.as_deref(), Some("bar"));
    assert_eq!((item.battery, item.signal), (Some(87.0), Some(-71.5)));
    assert_eq!(item.recv_ts, Some(T + 1000));
    assert_eq!(item.sensor_id, None);
}

#[test]
fn plain_texts_are_borrowed_and_escaped_ones_read() {
    let item = one(r#"{"value":1,"event_id":"plain","unit":"\u00b0C"}"#);
    assert!(matches!(item.event_id, Some(Cow::Borrowed("plain"))));
    assert_eq!(item.unit.as_deref(), Some("°C"));
    assert_eq!(one(r#"{"v\u0061lue":1}"#).value, Some(1.0));
}

#[test]
fn integers_are_doubles() {
    assert_eq!(
        one(r#"{"value":9007199254740993}"#).value,
        Some(9_007_199_254_740_992.0)
    );
    assert_eq!(
        one(r#"{"value":18446744073709551615}"#).value,
        Some(18_446_744_073_709_551_615.0)
    );
    assert_eq!(
        one(r#"{"value":123456789012345678901234567890}"#).value,
        Some(1.234_567_890_123_456_8e29)
    );
    assert_eq!(one(r#"{"value":1e-999}"#).value, Some(0.0));
}

#[test]
fn no_time_is_none() {
    assert_eq!(one(r#"{"value":1}"#).timestamp, None);
    assert_eq!(one(r#"{"value":1,"timestamp":null}"#).timestamp, None);
}

#[test]
fn a_far_future_is_for_others_to_judge() {
    let item = one(r#"{"value":1,"timestamp":"2099-01-01T00:00:00Z"}"#);
    assert_eq!(item.timestamp, Some(4_070_908_800_000));
}

#[test]
fn null_is_bad_whatever_the_quality_says() {
    for payload in [
        r#"{"value":null}"#,
        r#"{"value":null,"quality":"GOOD"}"#,
        r#"{"value":null,"quality":"BAD"}"#,
        r#"{"value":3,"quality":"BAD"}"#,
    ] {
        let item = one(payload);
        assert_eq!(
            (item.value, item.quality),
            (None, Quality::Bad),
            "{payload}"
        );
    }
}

#[test]
fn several_quantities_are_several_readings() {
    let all = sensor(
        br#"{"timestamp":1656633600.5,"readings":{"t":21,"h":null,"a/b":"x"},"battery":50,"rssi":-80,"event_id":"e"}"#,
    );
    assert_eq!(all.len(), 3);
    let t = all[0].1.as_ref().unwrap();
    assert_eq!(t.quantity.as_deref(), Some("t"));
    assert_eq!((t.value, t.quality), (Some(21.0), Quality::Good));
    assert_eq!(
        (t.timestamp, t.battery, t.signal),
        (Some(T + 500), Some(50.0), Some(-80.0))
    );
    assert_eq!(t.sensor(Some("dev")).unwrap().as_str(), "dev:t");
    let h = all[1].1.as_ref().unwrap();
    assert_eq!((h.value, h.quality), (None, Quality::Bad));
    assert_eq!(h.event_id.as_deref(), Some("e"));
    let error = all[2].1.as_ref().unwrap_err();
    assert_eq!(
        (error.reason, error.pointer.as_str()),
        (Reason::Invalid, "/readings/a~1b")
    );
}

#[test]
fn quantities_are_checked() {
    invalid(r#"{"readings":{}}"#, "empty");
    invalid(r#"{"readings":[1]}"#, "an array");
    invalid(r#"{"readings":null}"#, "null");
    invalid(r#"{"readings":{"a":1},"value":2}"#, "both");
    invalid(r#"{"readings":{"a":1,"b":2,"a":1}}"#, "twice");
    invalid(r#"{"readings":{"a":1},"readings":{"b":1}}"#, "twice");
    invalid(r#"{"readings":{"":1}}"#, "empty");
    invalid(r#"{"readings":{"a+":1}}"#, "wildcard");
}

#[test]
fn a_quantity_counts_into_the_length_of_the_id() {
    let payload = format!(r#"{{"readings":{{"{}":1}}}}"#, "q".repeat(200));
    let item = one(&payload);
    assert!(item.sensor(Some(&"d".repeat(55))).is_ok());
    let error = item.sensor(Some(&"d".repeat(56))).unwrap_err();
    assert_eq!(error.reason, Reason::Invalid);
    assert!(
        item.sensor(None)
            .is_ok_and(|id| id.as_str().starts_with(':'))
    );
}

#[test]
fn arrays_of_either() {
    let all = sensor(br#"[{"value":1},{"readings":{"a":2,"b":3}},{"value":"4"},[{"value":5}],6]"#);
    let indexes: Vec<_> = all.iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, [0, 1, 1, 2, 3, 4]);
    let good: Vec<_> = all
        .iter()
        .filter_map(|(_, item)| item.as_ref().ok()?.value)
        .collect();
    assert_eq!(good, [1.0, 2.0, 3.0]);
    for (_, error) in &all[3..] {
        assert_eq!(error.as_ref().unwrap_err().reason, Reason::Invalid);
    }
    assert!(
        all.iter()
            .all(|(i, item)| item.as_ref().map_or(true, |item| item.index == *i))
    );
}

#[test]
fn what_is_no_message_is_invalid() {
    for payload in [
        "[]",
        "{}",
        "1",
        "\"1\"",
        "null",
        "true",
        "[[]]",
        r#"{"timestamp":1}"#,
    ] {
        let all = sensor(payload.as_bytes());
        assert_eq!(all.len(), 1, "{payload}");
        assert_eq!(
            all[0].1.as_ref().unwrap_err().reason,
            Reason::Invalid,
            "{payload}"
        );
    }
}

#[test]
fn fields_break_their_rules() {
    invalid(r#"{"value":"21.5"}"#, "value is a text, expected a number");
    invalid(r#"{"value":true}"#, "true or false");
    invalid(r#"{"value":[1]}"#, "an array");
    invalid(r#"{"value":1,"value":2}"#, "value stands twice");
    invalid(r#"{"value":1,"timestamp":"yesterday"}"#, "RFC 3339");
    invalid(r#"{"value":1,"timestamp":1e300}"#, "beyond epoch");
    invalid(r#"{"value":1,"recv_ts":[]}"#, "recv_ts");
    invalid(
        r#"{"value":1,"quality":"good"}"#,
        "expected GOOD, UNCERTAIN or BAD",
    );
    invalid(r#"{"value":1,"quality":1}"#, "quality is a number");
    invalid(r#"{"value":1,"event_id":7}"#, "event_id is a number");
    invalid(r#"{"value":1,"event_id":"a\nb"}"#, "control character");
    invalid(
        &format!(r#"{{"value":1,"event_id":"{}"}}"#, "x".repeat(257)),
        "257 bytes",
    );
    invalid(
        &format!(r#"{{"value":1,"unit":"{}"}}"#, "x".repeat(65)),
        "65 bytes",
    );
    invalid(r#"{"value":1,"sequence":1.5}"#, "integer");
    invalid(r#"{"value":1,"battery":"87%"}"#, "battery is a text");
    invalid(r#"{"value":1,"rssi":{}}"#, "rssi is an object");
}

#[test]
fn what_is_no_json_is_undecodable() {
    undecodable(b"", "EOF");
    undecodable(br#"{"value":"#, "EOF");
    undecodable(br#"{"value":NaN}"#, "no JSON");
    undecodable(br#"{"value":Infinity}"#, "no JSON");
    undecodable(br#"{"value":1e999}"#, "out of range");
    undecodable(br#"{"value":01}"#, "no JSON");
    undecodable(br#"{"value":1}x"#, "trailing");
    undecodable(br#"{"value":1}{"value":2}"#, "trailing");
    undecodable(b"{\"value\":1,\"unit\":\"\xff\"}", "UTF-8");
    undecodable(b"{\"value\":1,\"skipped\":\"\xff\"}", "UTF-8");
    undecodable(b"\xef\xbb\xbf{\"value\":1}", "no JSON");
    undecodable(br#"{value:1}"#, "no JSON");
}

#[test]
fn a_broken_end_refuses_the_whole_array() {
    undecodable(br#"[{"value":1},{"value":2}"#, "EOF");
    undecodable(br#"[{"value":1},{"value":NaN}]"#, "no JSON");
}

#[test]
fn deep_nesting_ends_nothing() {
    let deep = |depth| {
        format!(
            r#"{{"value":1,"x":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert_eq!(one(&deep(100_000)).value, Some(1.0));
    let arrays = "[".repeat(100_000);
    undecodable(arrays.as_bytes(), "");
}

#[test]
fn a_batch_names_its_sensors() {
    let all = batch(
        br#"{"source":"gw","readings":[{"sensor_id":"a/1","value":1,"timestamp":1656633600},
            {"sensor_id":"b","readings":{"t":2}},{"value":3},{"sensor_id":"c+","value":4}]}"#,
    );
    assert_eq!(all.len(), 4);
    let a = all[0].1.as_ref().unwrap();
    assert_eq!(a.sensor(Some("topic")).unwrap().as_str(), "a/1");
    assert_eq!(a.timestamp, Some(T));
    assert_eq!(
        all[1].1.as_ref().unwrap().sensor(None).unwrap().as_str(),
        "b:t"
    );
    for (index, says) in [(2, "sensor_id is missing"), (3, "wildcard")] {
        let error = all[index].1.as_ref().unwrap_err();
        assert_eq!(
            (error.reason, error.pointer.as_str()),
            (Reason::Invalid, "/sensor_id")
        );
        assert!(error.detail.contains(says), "{error}");
    }
}

#[test]
fn ids_are_checked() {
    for id in ["", &"x".repeat(300), "a\\u0000", "#"] {
        let payload = format!(r#"{{"readings":[{{"sensor_id":"{id}","value":1}}]}}"#);
        refused(batch(payload.as_bytes()), Reason::Invalid, "sensor id");
    }
    refused(
        batch(br#"{"readings":[{"sensor_id":7,"value":1}]}"#),
        Reason::Invalid,
        "a number",
    );
}

#[test]
fn what_is_no_batch_is_refused_whole() {
    refused(batch(br#"{}"#), Reason::Invalid, "readings is missing");
    refused(
        batch(br#"{"readings":{"a":1}}"#),
        Reason::Invalid,
        "no array",
    );
    refused(batch(br#"{"readings":[]}"#), Reason::Invalid, "no readings");
    refused(
        batch(br#"{"readings":[],"readings":[]}"#),
        Reason::Invalid,
        "twice",
    );
    refused(
        batch(br#"[{"sensor_id":"a","value":1}]"#),
        Reason::Invalid,
        "readings",
    );
    refused(batch(b"{"), Reason::Undecodable, "EOF");
    refused(batch(b"\xff"), Reason::Undecodable, "UTF-8");
}

#[test]
fn lines_stand_for_themselves() {
    let all = ndjson(
        b"{\"sensor_id\":\"a\",\"value\":1}\r\n\n{broken\n{\"sensor_id\":\"b\xff\",\"value\":2}\n  \n{\"sensor_id\":\"c\",\"value\":3}",
    );
    let indexes: Vec<_> = all.iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, [0, 1, 2, 3]);
    assert_eq!(all[0].1.as_ref().unwrap().value, Some(1.0));
    assert_eq!(all[1].1.as_ref().unwrap_err().reason, Reason::Undecodable);
    assert_eq!(all[2].1.as_ref().unwrap_err().reason, Reason::Undecodable);
    assert_eq!(
        all[3].1.as_ref().unwrap().sensor(None).unwrap().as_str(),
        "c"
    );
    refused(ndjson(b""), Reason::Invalid, "no readings");
    refused(ndjson(b"\n \r\n"), Reason::Invalid, "no readings");
}

#[test]
fn more_readings_than_a_payload_may_hold() {
    let array = |count| format!("[{}]", vec![r#"{"value":1}"#; count].join(","));
    assert_eq!(sensor(array(MAX_READINGS).as_bytes()).len(), MAX_READINGS);
    invalid(&array(MAX_READINGS + 1), "more than 10000");
    let lines = |count| vec![r#"{"sensor_id":"a","value":1}"#; count].join("\n");
    assert_eq!(ndjson(lines(MAX_READINGS).as_bytes()).len(), MAX_READINGS);
    refused(
        ndjson(lines(MAX_READINGS + 1).as_bytes()),
        Reason::Invalid,
        "more than",
    );
    let quantities = |count: usize| {
        let all: Vec<_> = (0..count).map(|i| format!(r#""q{i}":1"#)).collect();
        format!(r#"{{"readings":{{{}}}}}"#, all.join(","))
    };
    assert_eq!(
        sensor(quantities(MAX_READINGS).as_bytes()).len(),
        MAX_READINGS
    );
    invalid(&quantities(MAX_READINGS + 1), "more than");
}

/// Texts near to JSON of ours, so that more than the first byte is tried.
fn nearly() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1e308".to_owned()),
        any::<i64>().prop_map(|i| i.to_string()),
        any::<f64>().prop_map(|f| f.to_string()),
        "\"[a-z+\\\\]{0,4}\"",
        Just("\"GOOD\"".to_owned()),
        Just("\"2022-07-01T00:00:00Z\"".to_owned()),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let key = prop_oneof![
            Just("value"),
            Just("timestamp"),
            Just("readings"),
            Just("sensor_id"),
            Just("quality"),
            Just("other"),
        ];
        let entry = (key, inner.clone()).prop_map(|(key, value)| format!("\"{key}\":{value}"));
        prop_oneof![
            proptest::collection::vec(entry, 0..5).prop_map(|all| format!("{{{}}}", all.join(","))),
            proptest::collection::vec(inner, 0..5).prop_map(|all| format!("[{}]", all.join(","))),
        ]
    })
}

/// Nothing vanishes: whatever comes gives a reading or says why not, and no reading breaks its promises.
fn nothing_vanishes(payload: &[u8]) {
    for read in [sensor, batch, ndjson] {
        let all = read(payload);
        assert!(!all.is_empty());
        for (index, item) in all {
            match item {
                Ok(item) => {
                    assert_eq!(item.index, index);
                    assert_eq!(item.value.is_none(), item.quality == Quality::Bad);
                    assert!(item.value.is_none_or(f64::is_finite));
                }
                Err(error) => {
                    assert!(matches!(
                        error.reason,
                        Reason::Undecodable | Reason::Invalid
                    ));
                    assert!(!error.detail.is_empty());
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_or_vanish(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        nothing_vanishes(&payload);
    }

    #[test]
    fn no_json_panics_or_vanishes(payload in nearly(), cut in 0_usize..400) {
        nothing_vanishes(payload.as_bytes());
        nothing_vanishes(&payload.as_bytes()[..cut.min(payload.len())]);
    }

    #[test]
    fn every_finite_double_is_read_to_the_bit(value in any::<f64>()) {
        prop_assume!(value.is_finite());
        let payload = format!(r#"{{"value":{}}}"#, serde_json::to_string(&value).unwrap());
        prop_assert_eq!(one(&payload).value.map(f64::to_bits), Some(value.to_bits()));
    }
}
