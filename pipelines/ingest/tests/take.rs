//! What becomes of deliveries: readings as they were sent, refusals with their bytes, and nothing else.
// Tests may panic.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::collections::BTreeSet;

use common::{Bench, NOW, batch, delivery, tenant};
use openinfra_intake::{
    AuthError, Credentials, Delivery, Format, INGEST_READINGS, Intake, PrincipalKind,
    TRUST_RECEIVE_TIME,
};
use openinfra_log::AppendBatch;
use openinfra_schemas::{Quality, Reading, Reason, SensorId, TsSource};
use proptest::prelude::*;

#[tokio::test]
async fn a_reading_stands_in_the_log_as_it_was_sent() {
    let bench = Bench::new().await;
    let who = bench.principal(|_| {}).await;
    let payload = br#"{"value": 1.5, "timestamp": "2022-07-01T00:00:00.007Z", "unit": "bar",
        "quality": "UNCERTAIN", "event_id": "e-1", "sequence": 9, "battery": 80, "rssi": -70.5}"#;
    let verdict = bench.send(&who, delivery(payload)).await;
    assert_eq!((verdict.accepted, verdict.rejected.len()), (1, 0));
    let expected = Reading {
        tenant: tenant(),
        sensor_id: SensorId::trusted("pump"),
        event_ts: 1_656_633_600_007,
        recv_ts: NOW,
        ts_source: TsSource::Device,
        value: 1.5,
        unit: Some("bar".to_owned()),
        quality: Quality::Uncertain,
        event_id: Some("e-1".to_owned()),
        sequence: Some(9),
        battery_pct: Some(80.0),
        signal_dbm: Some(-70.5),
        source: "mqtt".to_owned(),
        readmits: None,
    };
    assert_eq!(bench.readings().await, [expected]);
}

#[tokio::test]
async fn what_one_item_says_does_not_reach_the_next() {
    let bench = Bench::new().await;
    let who = bench.principal(|_| {}).await;
    let payload = br#"[{"value": 1, "timestamp": 1656633600, "unit": "bar", "event_id": "e",
        "sequence": 9, "battery": 80, "rssi": -70, "quality": "UNCERTAIN"}, {"value": null}]"#;
    bench.send(&who, delivery(payload)).await;
    let readings = bench.readings().await;
    let second = &readings[1];
    assert_eq!((second.event_ts, second.ts_source), (NOW, TsSource::Server));
    assert_eq!(second.quality, Quality::Bad);
    assert_eq!(second.value.to_bits(), f64::NAN.to_bits());
    assert_eq!((&second.unit, &second.event_id), (&None, &None));
    assert_eq!(
        (second.sequence, second.battery_pct, second.signal_dbm),
        (None, None, None)
    );
}

#[tokio::test]
async fn quantities_are_sensors_of_their_own() {
    let bench = Bench::new().await;
    let who = bench.principal(|_| {}).await;
    let verdict = bench
        .send(&who, delivery(br#"{"readings": {"flow": 1, "level": 2}}"#))
        .await;
    assert_eq!(verdict.accepted, 2);
    let readings = bench.readings().await;
    let sensors: BTreeSet<_> = readings.iter().map(|r| r.sensor_id.as_str()).collect();
    assert_eq!(sensors, BTreeSet::from(["pump:flow", "pump:level"]));
}

#[tokio::test]
async fn what_is_refused_keeps_its_bytes_and_spares_its_neighbours() {
    let bench = Bench::new().await;
    let who = bench.principal(|_| {}).await;
    let payload = br#"{"readings": [{"sensor_id": "a", "value": 1},
        {"sensor_id": "b",  "value": "2"}, {"value": 3}, {"sensor_id": "d", "value": 4}]}"#;
    let verdict = bench.send(&who, batch(payload)).await;
    assert_eq!(verdict.accepted, 2);
    let indexes: Vec<_> = verdict
        .rejected
        .iter()
        .map(|r| (r.index, r.reason))
        .collect();
    assert_eq!(indexes, [(1, Reason::Invalid), (2, Reason::Invalid)]);
    let ledger = bench.ledger().await;
    let payloads: Vec<_> = ledger
        .iter()
        .map(|entry| entry.payload.as_slice())
        .collect();
    assert_eq!(
        payloads,
        [
            &br#"{"sensor_id": "b",  "value": "2"}"#[..],
            br#"{"value": 3}"#
        ]
    );
    assert!(ledger.iter().all(|entry| entry.tenant == tenant()
        && entry.source == "http"
        && entry.origin == "/batch"
        && entry.reason == "invalid"
        && entry.recv_ts == NOW));
    assert!(
        ledger[0].detail.contains("value is a text"),
        "{}",
        ledger[0].detail
    );
}

/// The whole delivery refused with one reason, its bytes in the ledger.
async fn refused(delivery: Delivery<'_>, reason: Reason) -> String {
    let bench = Bench::new().await;
    let who = bench.principal(|_| {}).await;
    let verdict = bench.send(&who, delivery).await;
    assert_eq!((verdict.accepted, verdict.rejected.len()), (0, 1));
    assert_eq!(verdict.rejected[0].reason, reason);
    let mut ledger = bench.ledger().await;
    let entry = ledger.pop().unwrap();
    assert_eq!(entry.payload, delivery.payload);
    assert_eq!(entry.reason, reason.as_str());
    assert_eq!(entry.detail, verdict.rejected[0].detail);
    assert_eq!(bench.readings().await.len(), 0);
    entry.detail
}

#[tokio::test]
async fn every_bad_payload_has_its_reason() {
    let sensor = |id| Delivery {
        sensor: Some(id),
        ..delivery(br#"{"value": 1}"#)
    };
    let long = "x".repeat(300);
    for (delivery, reason) in [
        (delivery(br#"{"value": 1"#), Reason::Undecodable),
        (delivery(br#"{"value": NaN}"#), Reason::Undecodable),
        (
            delivery(b"{\"value\": 1, \"unit\": \"\xff\"}"),
            Reason::Undecodable,
        ),
        (delivery(b""), Reason::Undecodable),
        (delivery(br#"{"value": "1"}"#), Reason::Invalid),
        (delivery(b"[]"), Reason::Invalid),
        (
            batch(br#"[{"sensor_id": "a", "value": 1}]"#),
            Reason::Invalid,
        ),
        (sensor(long.as_str()), Reason::Invalid),
        (sensor("a\nb"), Reason::Invalid),
        (sensor(""), Reason::Invalid),
    ] {
        refused(delivery, reason).await;
    }
}

#[tokio::test]
async fn a_year_far_ahead_is_the_views_to_judge() {
    let bench = Bench::new().await;
    let who = bench.principal(|_| {}).await;
    let payload = br#"{"value": 1, "timestamp": "2099-01-01T00:00:00Z"}"#;
    assert_eq!(bench.send(&who, delivery(payload)).await.accepted, 1);
}

#[tokio::test]
async fn another_tenants_topic_is_refused_under_the_senders_own() {
    let foreign = Delivery {
        tenant: Some("other"),
        ..delivery(br#"[{"value": 1}, {"value": 2}]"#)
    };
    // The entry's tenant is checked by its key as the ledger is read.
    refused(foreign, Reason::UnknownTenant).await;
    let own = Delivery {
        tenant: Some("t"),
        ..delivery(br#"{"value": 1}"#)
    };
    let bench = Bench::new().await;
    let who = bench.principal(|_| {}).await;
    assert_eq!(bench.send(&who, own).await.accepted, 1);
}

#[tokio::test]
async fn a_bound_key_sends_for_its_sensors_alone() {
    let bench = Bench::new().await;
    let who = bench
        .principal(|new| new.sensor_ids = Some(vec!["a".to_owned(), "b:flow".to_owned()]))
        .await;
    let payload = br#"{"readings": [{"sensor_id": "a", "value": 1}, {"sensor_id": "z", "value": 2},
        {"sensor_id": "b", "readings": {"flow": 3, "level": 4}}]}"#;
    let verdict = bench.send(&who, batch(payload)).await;
    assert_eq!((verdict.accepted, verdict.forbidden), (2, 2));
    let ledger = bench.ledger().await;
    let sensors: Vec<_> = ledger
        .iter()
        .map(|e| e.sensor_id.as_deref().unwrap())
        .collect();
    assert_eq!(sensors, ["z", "b:level"]);
    assert!(ledger.iter().all(|entry| entry.reason == "invalid"));
}

#[tokio::test]
async fn receive_times_come_from_who_may_set_them() {
    let bench = Bench::new().await;
    let plain = bench.principal(|_| {}).await;
    let trusted = bench
        .principal(|new| {
            new.permissions.insert(TRUST_RECEIVE_TIME.to_owned());
        })
        .await;
    let payload = br#"{"readings": [{"sensor_id": "a", "value": 1, "timestamp": 1500000000},
        {"sensor_id": "a", "value": 1, "timestamp": 1500000000, "recv_ts": 1500000007},
        {"sensor_id": "a", "value": 1, "recv_ts": 1500000009},
        {"sensor_id": "a", "value": 1}]}"#;
    let times = async |who, trust_recv| {
        let before = bench.readings().await.len();
        let delivery = Delivery {
            trust_recv,
            ..batch(payload)
        };
        bench.send(who, delivery).await;
        let readings = bench.readings().await;
        readings[before..]
            .iter()
            .map(|r| (r.event_ts, r.recv_ts))
            .collect::<Vec<_>>()
    };
    let sent = 1_500_000_000_000;
    let ours = [(sent, NOW), (sent, NOW), (NOW, NOW), (NOW, NOW)];
    assert_eq!(times(&plain, true).await, ours);
    assert_eq!(times(&trusted, false).await, ours);
    let theirs = [
        (sent, sent),
        (sent, sent + 7_000),
        (sent + 9_000, sent + 9_000),
        (NOW, NOW),
    ];
    assert_eq!(times(&trusted, true).await, theirs);
}

#[tokio::test]
async fn a_connectors_own_refusal_is_kept_too() {
    let bench = Bench::new().await;
    let who = bench.principal(|_| {}).await;
    let mut batch = AppendBatch::default();
    let delivery = Delivery {
        sensor: None,
        ..delivery(b"hello")
    };
    let reason = Reason::Invalid;
    bench
        .ingest
        .refuse(&who, &delivery, reason, "no such topic", &mut batch);
    bench
        .ingest
        .commit(batch, bench.ingest.budget().room())
        .await
        .unwrap();
    let ledger = bench.ledger().await;
    assert_eq!(ledger[0].payload, b"hello");
    assert_eq!(ledger[0].detail, "no such topic");
    assert_eq!(ledger[0].sensor_id, None);
}

#[tokio::test]
async fn a_message_of_many_wrong_quantities_is_kept_once() {
    let bench = Bench::new().await;
    let who = bench.principal(|_| {}).await;
    let payload = br#"{"readings": {"a": "1", "b": "2", "c": 3}}"#;
    let verdict = bench.send(&who, delivery(payload)).await;
    assert_eq!((verdict.accepted, verdict.rejected.len()), (1, 2));
    let kept: Vec<_> = bench
        .ledger()
        .await
        .iter()
        .map(|e| e.payload.len())
        .collect();
    assert_eq!(kept, [payload.len(), 0]);
}

#[tokio::test]
async fn a_key_without_the_permission_to_send_may_not() {
    let bench = Bench::new().await;
    let key = bench
        .key(|new| {
            new.kind = PrincipalKind::Service;
            new.permissions = BTreeSet::from(["view_telemetry".to_owned()]);
        })
        .await;
    let shown = Credentials {
        secret: Some(key.key),
        ..Credentials::default()
    };
    let refused = bench.ingest.authenticate(&shown).await;
    assert!(matches!(
        refused,
        Err(AuthError::Forbidden(INGEST_READINGS))
    ));
}

#[tokio::test]
async fn all_is_counted_once_the_log_has_it() {
    let bench = Bench::new().await;
    let who = bench.principal(|_| {}).await;
    let count = |name: &str, labels: &[(&str, &str)]| {
        bench.counted(&format!("openinfra_ingest_{name}_total"), labels)
    };
    let mut taken = AppendBatch::default();
    let items = br#"[{"value": 1}, {"value": "2"}, {"value": 3}]"#;
    bench.ingest.take(&who, &delivery(items), &mut taken);
    bench.ingest.take(&who, &batch(b"{"), &mut taken);
    assert_eq!(count("received", &[]), 0);
    bench
        .ingest
        .commit(taken, bench.ingest.budget().room())
        .await
        .unwrap();
    let mqtt = ("connector", "mqtt");
    let http = ("connector", "http");
    assert_eq!(count("received", &[mqtt]), 3);
    assert_eq!(count("accepted", &[mqtt]), 2);
    assert_eq!(count("rejected", &[mqtt, ("reason", "invalid")]), 1);
    assert_eq!(count("received", &[http]), 1);
    assert_eq!(count("rejected", &[http, ("reason", "undecodable")]), 1);
    assert_eq!(count("rejected", &[]), 2);

    let address = "127.0.0.1".parse().ok();
    let unknown = Credentials {
        secret: Some("x.y".to_owned()),
        address,
        ..Credentials::default()
    };
    assert!(bench.ingest.authenticate(&unknown).await.is_err());
    let class = [("address_class", "loopback")];
    assert_eq!(count("unauthenticated", &class), 1);
    let reason = [("reason", "wrong")];
    assert_eq!(bench.counted("openinfra_auth_failures_total", &reason), 1);
    // Tried at the API, whose requests the intake does not see.
    bench.ingest.count_refused(&AuthError::Wrong, address);
    assert_eq!(count("unauthenticated", &class), 2);
    assert_eq!(bench.counted("openinfra_auth_failures_total", &reason), 2);
}

#[tokio::test]
async fn what_the_log_does_not_take_counts_as_failed() {
    let mut bench = Bench::new().await;
    let who = bench.principal(|_| {}).await;
    let mut taken = AppendBatch::default();
    bench
        .ingest
        .take(&who, &delivery(br#"{"value": 1}"#), &mut taken);
    bench.embedded.take().unwrap().close().unwrap();
    assert!(
        bench
            .ingest
            .commit(taken, bench.ingest.budget().room())
            .await
            .is_err()
    );
    assert_eq!(bench.counted("openinfra_ingest_received_total", &[]), 1);
    assert_eq!(bench.counted("openinfra_ingest_failed_total", &[]), 1);
    assert_eq!(bench.counted("openinfra_ingest_accepted_total", &[]), 0);
}

/// An item of a batch, and whether it is a reading.
fn item() -> impl Strategy<Value = (String, bool)> {
    prop_oneof![
        4 => ("[a-z]{1,3}", any::<i32>(), 0..2_000_000_000i64).prop_map(|(id, value, ts)| {
            (format!(r#"{{"sensor_id": "{id}", "value": {value}, "timestamp": {ts}}}"#), true)
        }),
        1 => Just((r#"{"sensor_id": "a", "value": null}"#.to_owned(), true)),
        1 => Just((r#"{"sensor_id": "a", "value": "1"}"#.to_owned(), false)),
        1 => Just((r#"{"sensor_id": "a+", "value": 1}"#.to_owned(), false)),
        1 => Just((r#"{"sensor_id": "a"}"#.to_owned(), false)),
        1 => Just(("3".to_owned(), false)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_item_ends_as_one_record(items in prop::collection::vec(item(), 1..40), lines: bool) {
        let texts: Vec<&str> = items.iter().map(|(text, _)| text.as_str()).collect();
        let payload = if lines {
            texts.join("\n")
        } else {
            format!(r#"{{"readings": [{}]}}"#, texts.join(", "))
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (verdict, readings, ledger) = runtime.block_on(async {
            let bench = Bench::new().await;
            let who = bench.principal(|_| {}).await;
            let format = if lines { Format::Ndjson } else { Format::BatchJson };
            let delivery = Delivery { format, ..batch(payload.as_bytes()) };
            let verdict = bench.send(&who, delivery).await;
            (verdict, bench.readings().await, bench.ledger().await)
        });
        let good = items.iter().filter(|(_, good)| *good).count();
        prop_assert_eq!(verdict.accepted, good);
        prop_assert_eq!(readings.len(), good);
        let bad: Vec<(usize, &str)> = items
            .iter()
            .enumerate()
            .filter(|(_, (_, good))| !good)
            .map(|(index, (text, _))| (index, text.as_str()))
            .collect();
        let rejected: Vec<usize> = verdict.rejected.iter().map(|r| r.index).collect();
        prop_assert_eq!(rejected, bad.iter().map(|(index, _)| *index).collect::<Vec<_>>());
        let kept: Vec<&str> = ledger.iter().map(|e| std::str::from_utf8(&e.payload).unwrap()).collect();
        prop_assert_eq!(kept, bad.iter().map(|(_, text)| *text).collect::<Vec<_>>());
    }

    /// Whatever comes: an answer, and as many records as it says.
    #[test]
    fn no_bytes_at_all_vanish(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let bench = Bench::new().await;
            let who = bench.principal(|_| {}).await;
            let verdict = bench.send(&who, delivery(&payload)).await;
            assert_eq!(bench.readings().await.len(), verdict.accepted);
            assert_eq!(bench.ledger().await.len(), verdict.rejected.len());
            assert!(verdict.accepted + verdict.rejected.len() > 0);
        });
    }
}
