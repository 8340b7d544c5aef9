//! What becomes of a session at a broker when the settings name other filters.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::sync::Arc;

use openinfra_mqtt::broker::Config;
use openinfra_store::{Freshness, Row, Store, get_row, tables::entities::BrokerSessionRow};
use support::{
    Client, FakeIntake, PATIENCE,
    broker::{FakeBroker, Folder, Running, subscribed, unsubscribed},
    until, until_enough,
};
use tokio::time::timeout;

const REFUSED: u8 = 0x87;
const NO_SUBSCRIPTION: u8 = 0x11;

fn config(broker: &FakeBroker, share: &str, topics: &[&str]) -> Config {
    Config {
        client_id: "ingest-0".to_owned(),
        share: share.to_owned(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        ..broker.config()
    }
}

async fn stop(running: Running, session: Client) {
    running.cancel.cancel();
    drop(session);
    timeout(PATIENCE, running.task).await.unwrap().unwrap();
}

/// Waits until the store says that the session has these filters alone.
async fn remembered(store: &Arc<dyn Store>, filters: &[&str]) {
    let wanted = serde_json::to_string(filters).unwrap();
    let key = BrokerSessionRow {
        client_id: "ingest-0".to_owned(),
        broker: "broker".to_owned(),
        version: 0,
        filters: String::new(),
    }
    .key();
    until_enough("it is remembered", async || {
        let row = get_row::<BrokerSessionRow>(&**store, &key, Freshness::Linearizable).await;
        row.unwrap().is_some_and(|row| row.filters == wanted)
    })
    .await;
}

#[tokio::test]
async fn a_filter_that_is_named_no_more_is_left_once_its_place_is_taken() {
    let (broker, folder) = (FakeBroker::start().await, Folder::new());
    let start = |config| Running::beside(folder.store(), config, FakeIntake::default());
    let running = start(config(&broker, "", &["a/#"]));
    let session = broker.serve(false).await;
    stop(running, session).await;

    let running = start(config(&broker, "g", &["a/+", "b"]));
    let (mut session, _) = broker.accept(true).await;
    subscribed(&mut session, &[REFUSED, 1]).await;
    // What fits `a/+` comes by the old one only.
    session.quiet().await;
    let asked = subscribed(&mut session, &[1]).await;
    assert_eq!(asked[0].0, "$share/g/a/+");
    // A broker that does not let it go is asked again, at the next connection as well.
    assert_eq!(unsubscribed(&mut session, REFUSED).await, "a/#");
    assert_eq!(unsubscribed(&mut session, REFUSED).await, "a/#");
    drop(session);
    let (mut session, _) = broker.accept(true).await;
    subscribed(&mut session, &[1, 1]).await;
    assert_eq!(unsubscribed(&mut session, 0).await, "a/#");
    until("it counts", || {
        running.metric("openinfra_broker_unsubscribed_total", None) == 1.0
    })
    .await;
    remembered(&folder.store(), &["$share/g/a/+", "$share/g/b"]).await;
    session.quiet().await;
    stop(running, session).await;
}

#[tokio::test]
async fn what_was_not_left_before_the_end_is_left_after_the_next_start() {
    let (broker, folder) = (FakeBroker::start().await, Folder::new());
    let start = |config| Running::beside(folder.store(), config, FakeIntake::default());
    for topic in ["a", "b"] {
        let running = start(config(&broker, "", &[topic]));
        let (session, _) = broker.accept(true).await;
        remembered(
            &folder.store(),
            &["a", "b"][..usize::from(topic == "b") + 1],
        )
        .await;
        stop(running, session).await;
    }
    let running = start(config(&broker, "", &["c"]));
    let mut session = broker.serve(true).await;
    assert_eq!(unsubscribed(&mut session, 0).await, "a");
    assert_eq!(unsubscribed(&mut session, NO_SUBSCRIPTION).await, "b");
    remembered(&folder.store(), &["c"]).await;
    stop(running, session).await;
    // Nothing is left to be left.
    let running = start(config(&broker, "", &["c"]));
    let mut session = broker.serve(true).await;
    session.quiet().await;
    stop(running, session).await;
}
