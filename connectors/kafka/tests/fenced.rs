//! Producers that a broker takes for older than another of their id, on librdkafka's imitation of one.

mod support;

use openinfra_log::LogError;
use prometheus::Registry;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Resp};
use support::{Mock, metric, one, open, read_all};

/// Its id is somebody else's by now, as brokers say that lost or repeated ids. Nobody takes over from a producer that
/// has no transactional id, so that it goes on under another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_producer_goes_on_under_another_id() {
    let mock = Mock::new(1);
    let registry = Registry::new();
    let log = open(&mock.config, &registry).await;
    log.append(one(0, "0")).await.unwrap();
    for (error, number) in [
        (Resp::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, "1"),
        (Resp::RD_KAFKA_RESP_ERR_PRODUCER_FENCED, "2"),
    ] {
        mock.cluster.request_errors(Api::Produce, &[error]);
        let fenced = log.append(one(0, number)).await;
        assert!(
            matches!(&fenced, Err(LogError::Unavailable(text)) if text.contains("newer producer")),
            "{fenced:?}"
        );
        log.append(one(0, number)).await.unwrap();
    }
    // The client has seen to that by itself.
    let restarts = "openinfra_kafka_producer_restarts_total";
    assert_eq!(metric(&registry, restarts), 0.0);
    let records = read_all(&*log, 0).await;
    let values: Vec<_> = records.iter().map(|record| &record.value[..]).collect();
    assert_eq!(values, [b"0", b"1", b"2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_is_given_no_id_is_replaced() {
    let mock = Mock::new(1);
    let registry = Registry::new();
    let fenced = [Resp::RD_KAFKA_RESP_ERR_PRODUCER_FENCED];
    mock.cluster.request_errors(Api::InitProducerId, &fenced);
    let log = open(&mock.config, &registry).await;
    let mut failed = 0;
    let taken = loop {
        match log.append(one(0, "0")).await {
            Ok(taken) => break taken,
            // That of the batch which the client had when it ended, and that of the next, which finds it ended.
            Err(LogError::Unavailable(_)) if failed < 2 => failed += 1,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(failed > 0);
    assert_eq!(taken.offsets, [0]);
    let restarts = "openinfra_kafka_producer_restarts_total";
    assert_eq!(metric(&registry, restarts), 1.0);
}
