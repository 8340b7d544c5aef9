//! Requests to Kafka as an operator's tools send them: topics and records deleted.
//!
//! What a newcomer would get wrong: a broker answers that a topic is deleted a moment before it stops
//! telling others of it.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::support::wait::eventually;

/// API keys, and the versions spoken here: before headers and bodies had tags.
const DELETE_TOPICS: [i16; 2] = [20, 1];
const DELETE_RECORDS: [i16; 2] = [21, 0];
/// How long the broker may take, in milliseconds.
const TIMEOUT_MS: i32 = 20_000;
const LIMIT: Duration = Duration::from_secs(30);

/// Error codes.
const NONE: i16 = 0;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

/// Deletes a topic, and waits until all brokers have forgotten it.
pub async fn delete_topic(brokers: &str, topic: &str) {
    assert_eq!(drop_topic(brokers, topic).await, NONE, "{topic}");
    for broker in brokers.split(',') {
        eventually("a broker forgot the topic", LIMIT, async || {
            let code = ask(broker, DELETE_RECORDS, &before(topic, 0, 0)).await;
            (code == UNKNOWN_TOPIC_OR_PARTITION).then_some(())
        })
        .await;
    }
}

/// Deletes a topic, if there is one; the error code.
pub async fn drop_topic(brokers: &str, topic: &str) -> i16 {
    let mut body = 1_i32.to_be_bytes().to_vec();
    body.extend(text(topic));
    body.extend(TIMEOUT_MS.to_be_bytes());
    let first = brokers.split(',').next().unwrap();
    ask(first, DELETE_TOPICS, &body).await
}

/// Deletes the records of a partition that stand before `offset`; -1: all.
pub async fn delete_records(brokers: &str, topic: &str, partition: i32, offset: i64) {
    let body = before(topic, partition, offset);
    let mut codes = Vec::new();
    for broker in brokers.split(',') {
        // The others say that they do not lead the partition.
        codes.push(ask(broker, DELETE_RECORDS, &body).await);
    }
    assert!(codes.contains(&NONE), "{topic} [{partition}]: {codes:?}");
}

fn before(topic: &str, partition: i32, offset: i64) -> Vec<u8> {
    let mut body = 1_i32.to_be_bytes().to_vec();
    body.extend(text(topic));
    body.extend(1_i32.to_be_bytes());
    body.extend(partition.to_be_bytes());
    body.extend(offset.to_be_bytes());
    body.extend(TIMEOUT_MS.to_be_bytes());
    body
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as i16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// The error code of the one thing that is asked for: with both requests the answer ends with it.
async fn ask(broker: &str, [key, version]: [i16; 2], body: &[u8]) -> i16 {
    let asked = async {
        let mut stream = TcpStream::connect(broker).await.unwrap();
        let mut request = key.to_be_bytes().to_vec();
        request.extend(version.to_be_bytes());
        request.extend(1_i32.to_be_bytes());
        request.extend(text("tests"));
        request.extend(body);
        stream.write_i32(request.len() as i32).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let mut answer = vec![0; stream.read_i32().await.unwrap() as usize];
        stream.read_exact(&mut answer).await.unwrap();
        let [.., high, low] = answer[..] else {
            panic!("an answer of {} bytes", answer.len());
        };
        i16::from_be_bytes([high, low])
    };
    tokio::time::timeout(LIMIT, asked).await.unwrap()
}
