//! `/views`.

use openinfra_log::AppendBatch;
use openinfra_schemas::Topic;
use serde_json::json;

use crate::app::{NOON, TestApp};

#[tokio::test]
async fn views_are_caught_up_when_they_have_the_whole_log() {
    let app = TestApp::new().await;
    let views = app.ok("/api/v1/views").await;
    assert_eq!(views["as_of"], NOON);
    assert_eq!(views["caught_up"], true);
    assert_eq!(views["log_records"], 0);
    assert_eq!(views["final_through"], "2022-06-30T09:00:00.000Z");
    assert_eq!(
        views["views"]["readings"],
        json!({"rows": 3, "as_of": NOON})
    );
    assert_eq!(views["views"]["alert"]["rows"], 0);

    let mut batch = AppendBatch::default();
    for partition in [0, 3, 3] {
        batch.push(Topic::Readings, partition, b"default/x", b"value");
    }
    app.log().append(batch).await.unwrap();
    let views = app.ok("/api/v1/views").await;
    assert_eq!(views["caught_up"], false);
    assert_eq!(views["log_records"], 3);
    assert_eq!(views["lag_records"], 3);

    app.progress("2022-07-01T12:00:01.000Z").await;
    let views = app.ok("/api/v1/views").await;
    assert_eq!(views["caught_up"], true);
    assert_eq!(views["as_of"], "2022-07-01T12:00:01.000Z");
}
