//! PUBACK to a broker stands for "in the log": not before, in order, and for its own connection only.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::sync::{Arc, atomic::Ordering::SeqCst};

use openinfra_intake::Budget;
use openinfra_mqtt::broker::Config;
use support::{
    FakeIntake, QUIET,
    broker::{FakeBroker, Running, again},
    publish, until,
};

const TOPIC: &str = "sensors/a/b/data";

#[tokio::test]
async fn nothing_is_acknowledged_before_its_commit() {
    let broker = FakeBroker::start().await;
    let running = Running::over(broker.config(), FakeIntake::default());
    running.intake.hold.send_replace(true);
    let mut session = broker.serve(false).await;
    for id in 1..=3 {
        session.send(&publish(true, Some(id), TOPIC, b"1")).await;
    }
    until("received", || running.messages("received") == 3.0).await;
    session.quiet().await;
    assert_eq!(running.messages("acknowledged"), 0.0);
    running.intake.hold.send_replace(false);
    for id in 1..=3 {
        assert_eq!(session.packet().await.puback(), (id, 0));
    }
    let seen = running.intake.seen();
    assert_eq!(seen[0].sensor.as_deref(), Some("a/b"));
    assert_eq!(seen[0].payload, b"1");
    assert!(!seen[0].trust_recv);
    assert_eq!(running.messages("acknowledged"), 3.0);
}

#[tokio::test]
async fn a_log_that_fails_is_offered_the_same_records_until_it_takes_them() {
    let broker = FakeBroker::start().await;
    let running = Running::over(broker.config(), FakeIntake::default());
    let mut session = broker.serve(false).await;
    running.intake.fail.store(true, SeqCst);
    for id in 1..=2 {
        session.send(&publish(true, Some(id), TOPIC, b"1")).await;
    }
    until("tried again and again", || {
        running.intake.commits.load(SeqCst) >= 4
    })
    .await;
    session.quiet().await;
    running.intake.fail.store(false, SeqCst);
    for id in 1..=2 {
        assert_eq!(session.packet().await.puback(), (id, 0));
    }
    // Each was taken once and is in the log once: it was the batch that was offered again.
    assert_eq!(running.intake.seen_len(), 2);
    assert_eq!(running.intake.committed.load(SeqCst), 2);
    assert!(running.metric("openinfra_broker_commit_retries_total", None) >= 3.0);
}

#[tokio::test]
async fn a_packet_id_of_an_earlier_connection_is_not_acknowledged() {
    for session_present in [true, false] {
        let broker = FakeBroker::start().await;
        let running = Running::over(broker.config(), FakeIntake::default());
        let mut session = broker.serve(false).await;
        running.intake.hold.send_replace(true);
        for id in 1..=2 {
            session.send(&publish(true, Some(id), TOPIC, b"1")).await;
        }
        until("received", || running.messages("received") == 2.0).await;
        drop(session);
        let mut session = broker.serve(session_present).await;
        running.intake.hold.send_replace(false);
        until("in the log", || running.intake.committed.load(SeqCst) == 2).await;
        session.quiet().await;
        assert_eq!(running.messages("unacknowledged"), 2.0);
        // The broker uses the ids again, for the same messages or for others.
        for id in [2, 1] {
            session.send(&again(id, TOPIC, b"1")).await;
            assert_eq!(session.packet().await.puback(), (id, 0));
        }
        assert_eq!(running.messages("redelivered"), 2.0);
        let lost = running.metric("openinfra_broker_sessions_lost_total", None);
        assert_eq!(lost, f64::from(u8::from(!session_present)));
    }
}

#[tokio::test]
async fn what_is_refused_stands_in_the_ledger_and_is_acknowledged() {
    let broker = FakeBroker::start().await;
    let running = Running::over(broker.config(), FakeIntake::default());
    let mut session = broker.serve(false).await;
    let cases: [(&str, &[u8]); 3] = [("weather", b"1"), (TOPIC, b"bad"), (TOPIC, b"mixed")];
    for (id, (topic, payload)) in (1..).zip(cases) {
        session.send(&publish(true, Some(id), topic, payload)).await;
        assert_eq!(session.packet().await.puback(), (id, 0));
    }
    assert_eq!(running.messages("refused"), 3.0);
    let seen = running.intake.seen();
    assert!(seen[0].refused.as_deref().unwrap().contains("sensors/"));
    // A topic that is no text.
    let mut bytes = publish(true, Some(9), "sensors/x/data", b"1");
    bytes[4 + 8] = 0xFF;
    session.send(&bytes).await;
    assert_eq!(session.packet().await.puback(), (9, 0));
}

#[tokio::test]
async fn qos_0_is_taken_without_an_answer() {
    let broker = FakeBroker::start().await;
    let running = Running::over(broker.config(), FakeIntake::default());
    let mut session = broker.serve(false).await;
    session.send(&publish(true, None, TOPIC, b"1")).await;
    until("in the log", || running.intake.committed.load(SeqCst) == 1).await;
    session.quiet().await;
}

#[tokio::test]
async fn whole_windows_come_through_in_order_even_from_a_broker_that_ignores_them() {
    let broker = FakeBroker::start().await;
    let config = Config {
        receive_maximum: 500,
        ..broker.config()
    };
    let running = Running::over(config, FakeIntake::default());
    let mut session = broker.serve(false).await;
    running.intake.hold.send_replace(true);
    let mut bytes = Vec::new();
    for id in 1..=5_000 {
        bytes.extend(publish(true, Some(id), TOPIC, b"{\"value\": 1}"));
    }
    session.send(&bytes).await;
    until("reading stopped", || running.messages("received") > 500.0).await;
    tokio::time::sleep(QUIET).await;
    assert!(running.messages("received") < 600.0);
    running.intake.hold.send_replace(false);
    for id in 1..=5_000 {
        assert_eq!(session.packet().await.puback(), (id, 0));
    }
}

#[tokio::test]
async fn bytes_in_flight_are_bounded_by_the_settings_and_by_the_budget_of_all() {
    const MIB: usize = 1 << 20;
    let broker = FakeBroker::start().await;
    let config = |in_flight_bytes| Config {
        in_flight_bytes,
        ..broker.config()
    };
    for (own, all) in [(MIB, 1 << 30), (1 << 30, 4 * MIB)] {
        let intake = FakeIntake {
            bytes: Budget::with_largest(all, all / 2),
            ..FakeIntake::default()
        };
        intake.hold.send_replace(true);
        let budget = Arc::clone(&intake.bytes);
        let running = Running::over(config(own), intake);
        let mut session = broker.serve(false).await;
        let sender = tokio::spawn(async move {
            for id in 1..=1_000 {
                session
                    .send(&publish(true, Some(id), TOPIC, &[b'1'; 50_000]))
                    .await;
            }
            session
        });
        until("much is received", || running.messages("received") > 15.0).await;
        tokio::time::sleep(QUIET).await;
        let received = running.messages("received") * 50_000.0;
        assert!(received < 5.0 * MIB as f64, "{received} of {own} and {all}");
        running.intake.hold.send_replace(false);
        let mut session = sender.await.unwrap();
        for id in 1..=1_000 {
            assert_eq!(session.packet().await.puback(), (id, 0));
        }
        until("all given back", || budget.in_use() == 0).await;
        assert!(budget.most_used() <= all, "{}", budget.most_used());
        running.task.abort();
    }
}

#[tokio::test]
async fn a_rate_holds_the_broker_back_and_drops_nothing() {
    let broker = FakeBroker::start().await;
    let config = Config {
        readings_per_s: Some(10),
        ..broker.config()
    };
    let intake = FakeIntake {
        budget: std::sync::Mutex::new(Some(5)),
        ..FakeIntake::default()
    };
    let running = Running::over(config, intake);
    let mut session = broker.serve(false).await;
    for id in 1..=10 {
        session.send(&publish(true, Some(id), TOPIC, b"1")).await;
    }
    for id in 1..=5 {
        assert_eq!(session.packet().await.puback(), (id, 0));
    }
    session.quiet().await;
    *running.intake.budget.lock().unwrap() = Some(5);
    for id in 6..=10 {
        assert_eq!(session.packet().await.puback(), (id, 0));
    }
}

#[tokio::test]
async fn arrays_that_hold_more_than_is_admitted_at_once_wait_for_no_other_message() {
    let broker = FakeBroker::start().await;
    let config = Config {
        readings_per_s: Some(10),
        ..broker.config()
    };
    let intake = FakeIntake {
        budget: std::sync::Mutex::new(Some(1)),
        ..FakeIntake::default()
    };
    let running = Running::over(config, intake);
    let mut session = broker.serve(false).await;
    for id in 1..=2 {
        session
            .send(&publish(true, Some(id), TOPIC, b"many:100"))
            .await;
    }
    assert_eq!(session.packet().await.puback(), (1, 0));
    // Of the first message 99 readings are still to be admitted: these are gone before the second's turn.
    let give = |readings| *running.intake.budget.lock().unwrap() = Some(readings);
    give(50);
    until("half is admitted", || {
        *running.intake.budget.lock().unwrap() == Some(0)
    })
    .await;
    session.quiet().await;
    give(50);
    assert_eq!(session.packet().await.puback(), (2, 0));
}
