//! Brokers that fail, on librdkafka's imitation of them.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use openinfra_log::{AppendBatch, Log, LogError};
use openinfra_schemas::Topic;
use prometheus::Registry;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Resp};
use support::{Mock, all, metric, one, open, read_all, until};

const DOWN: i32 = -1;

/// What one appender has done so far.
#[derive(Default)]
struct Done {
    appended: AtomicUsize,
    failed: AtomicUsize,
    stop: AtomicBool,
}

/// Appends numbers to a partition until it is told to stop, each again until it is taken; returns the
/// offsets at which they were acknowledged.
async fn append_numbers(log: Arc<dyn Log>, partition: i32, done: Arc<Done>) -> Vec<i64> {
    let mut offsets = Vec::new();
    while !done.stop.load(Relaxed) {
        let number = offsets.len().to_string();
        match log.append(one(partition, &number)).await {
            Ok(appended) => {
                offsets.push(appended.offsets[0]);
                done.appended.fetch_add(1, Relaxed);
            }
            Err(LogError::Unavailable(_)) => {
                done.failed.fetch_add(1, Relaxed);
            }
            Err(error) => panic!("{error}"),
        }
    }
    offsets
}

/// Every number is where it was acknowledged, none is missing, and the first of each stand in order. Some may stand
/// more often, see `check_each_once`. Returns what there is.
async fn check_numbers(log: &dyn Log, partition: i32, offsets: &[i64]) -> Vec<usize> {
    let records = read_all(log, partition).await;
    let numbers: Vec<usize> = records
        .iter()
        .map(|record| std::str::from_utf8(&record.value).unwrap().parse().unwrap())
        .collect();
    for (number, offset) in offsets.iter().enumerate() {
        assert_eq!(numbers[*offset as usize], number, "at {offset}");
    }
    assert!(numbers.is_sorted(), "reordered: {numbers:?}");
    numbers
}

/// Nor does any stand more often. Only where no connection ended that owed an answer for what was stored: it is sent
/// again then, and the imitation, which looks at sequence numbers in transactions only, stores it again. `cuts` shows
/// on a real broker that it stands once.
async fn check_each_once(log: &dyn Log, partition: i32, offsets: &[i64]) {
    let numbers = check_numbers(log, partition, offsets).await;
    assert_eq!(numbers.len(), offsets.len(), "some twice: {numbers:?}");
}

async fn fail_in_the_middle(down_for: Duration) -> (Vec<Vec<i64>>, Arc<Done>, Mock, Arc<dyn Log>) {
    let mock = Mock::new(3);
    let log = open(&mock.config, &Registry::new()).await;
    let done = Arc::new(Done::default());
    let appenders: Vec<_> = (0..3)
        .map(|partition| tokio::spawn(append_numbers(log.clone(), partition, done.clone())))
        .collect();
    until("appends before", || done.appended.load(Relaxed) >= 20).await;
    mock.cluster.broker_down(DOWN).unwrap();
    tokio::time::sleep(down_for).await;
    mock.cluster.broker_up(DOWN).unwrap();
    let before = done.appended.load(Relaxed);
    until("appends after", || {
        done.appended.load(Relaxed) >= before + 20
    })
    .await;
    done.stop.store(true, Relaxed);
    let mut offsets = Vec::new();
    for appender in appenders {
        offsets.push(appender.await.unwrap());
    }
    (offsets, done, mock, log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_fault_delays_appends_and_loses_none() {
    let (offsets, done, _mock, log) = fail_in_the_middle(Duration::from_millis(800)).await;
    assert_eq!(done.failed.load(Relaxed), 0);
    for (partition, offsets) in (0..).zip(offsets) {
        check_numbers(&*log, partition, &offsets).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_fault_fails_appends_and_loses_none() {
    let (offsets, done, _mock, log) = fail_in_the_middle(Duration::from_secs(7)).await;
    assert!(done.failed.load(Relaxed) > 0);
    for (partition, offsets) in (0..).zip(offsets) {
        check_numbers(&*log, partition, &offsets).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_no_broker_answers_everything_says_so_in_time() {
    let mock = Mock::new(1);
    let registry = Registry::new();
    let log = open(&mock.config, &registry).await;
    log.append(one(0, "before")).await.unwrap();
    log.append(AppendBatch::default()).await.unwrap();
    until("a broker is up", || {
        metric(&registry, "openinfra_kafka_brokers_up") > 0.0
    })
    .await;
    mock.cluster.broker_down(DOWN).unwrap();
    let begun = Instant::now();
    let unavailable = |outcome: Result<(), LogError>| {
        let Err(LogError::Unavailable(text)) = outcome else {
            panic!("{outcome:?}");
        };
        text
    };
    unavailable(log.append(AppendBatch::default()).await.map(drop));
    unavailable(log.end_offsets(Topic::Readings).await.map(drop));
    unavailable(log.read(all(0, 0)).await.map(drop));
    let text = unavailable(log.append(one(0, "lost")).await.map(drop));
    assert!(text.contains("appending"), "{text}");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    until("the broker is down", || {
        metric(&registry, "openinfra_kafka_brokers_down") > 0.0
    })
    .await;
    mock.cluster.broker_up(DOWN).unwrap();
    until("a broker is up again", || {
        metric(&registry, "openinfra_kafka_brokers_up") > 0.0
    })
    .await;
    assert_eq!(read_all(&*log, 0).await[0].value, "before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_that_pass_are_waited_out() {
    let mock = Mock::new(1);
    let log = open(&mock.config, &Registry::new()).await;
    // Nothing of a request that is answered so is stored; the last closes the connection instead of an answer.
    let passing = [
        Resp::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Resp::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Resp::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Resp::RD_KAFKA_RESP_ERR__TRANSPORT,
    ];
    mock.cluster.request_errors(Api::Produce, &passing);
    for number in 0..5 {
        log.append(one(0, &number.to_string())).await.unwrap();
    }
    mock.cluster.request_errors(Api::Fetch, &passing[..1]);
    mock.cluster.request_errors(Api::ListOffsets, &passing[..1]);
    check_each_once(&*log, 0, &[0, 1, 2, 3, 4]).await;
}

/// The client itself tries again twice. What it says after more is said of a moment, too: a broker that comes back
/// leads one partition after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_are_asked_for_until_it_is_settled_who_leads() {
    let mock = Mock::new(1);
    let log = open(&mock.config, &Registry::new()).await;
    log.append(one(0, "0")).await.unwrap();
    for moment in [
        Resp::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
        Resp::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
        Resp::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Resp::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        Resp::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
    ] {
        mock.cluster.request_errors(Api::ListOffsets, &[moment; 4]);
        let ends = log.end_offsets(Topic::Readings).await;
        assert_eq!(
            ends.map_err(|e| e.to_string()),
            Ok(vec![1, 0, 0]),
            "{moment:?}"
        );
    }
    // Not for ever.
    let lasting = [Resp::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH; 1_000];
    mock.cluster.request_errors(Api::ListOffsets, &lasting);
    let begun = Instant::now();
    let ends = log.end_offsets(Topic::Readings).await;
    assert!(matches!(ends, Err(LogError::Unavailable(_))), "{ends:?}");
    let limit = Duration::from_millis(3 * u64::from(mock.config.request_timeout_ms));
    assert!(begun.elapsed() < limit, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_that_somebody_has_to_look_at_are_told_apart() {
    let mock = Mock::new(1);
    let registry = Registry::new();
    let log = open(&mock.config, &registry).await;
    log.append(one(0, "0")).await.unwrap();
    let refused = |outcome: Result<_, LogError>| {
        let Err(LogError::Refused(text)) = outcome else {
            panic!("{outcome:?}");
        };
        text
    };
    for (error, remedy, number) in [
        (
            Resp::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            "let the principal write",
            "1",
        ),
        (
            Resp::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            "max.message.bytes",
            "2",
        ),
    ] {
        mock.cluster.request_errors(Api::Produce, &[error]);
        let text = refused(log.append(one(0, "refused")).await);
        assert!(text.contains(remedy), "{text}");
        assert!(text.contains("to readings"), "{text}");
        // Whether input is taken is asked so. One large record says nothing of others.
        let asked = log.append(AppendBatch::default()).await;
        match error {
            Resp::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE => drop(asked.unwrap()),
            _ => assert_eq!(refused(asked), text),
        }
        // The client refuses by itself until it has asked again what it may.
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = log.append(one(0, number)).await {
            assert!(Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        log.append(AppendBatch::default()).await.unwrap();
    }
    let name = "openinfra_kafka_appends_refused_total";
    assert!(metric(&registry, name) >= 2.0);
    let begun = Instant::now();
    let many = [Resp::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 50];
    mock.cluster.request_errors(Api::Fetch, &many);
    let unread = log.read(all(0, 0)).await;
    assert!(matches!(unread, Err(LogError::Refused(_))), "{unread:?}");
    mock.cluster.clear_request_errors(Api::Fetch);
    assert!(begun.elapsed() < Duration::from_secs(5));
    check_each_once(&*log, 0, &[0, 1, 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_ended_is_replaced() {
    let mock = Mock::new(1);
    let registry = Registry::new();
    let log = open(&mock.config, &registry).await;
    log.append(one(0, "0")).await.unwrap();
    let fatal = [Resp::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER];
    mock.cluster.request_errors(Api::Produce, &fatal);
    let unknown = log.append(one(0, "1")).await;
    assert!(
        matches!(unknown, Err(LogError::Unavailable(_))),
        "{unknown:?}"
    );
    let offset = log.append(one(0, "1")).await.unwrap().offsets[0];
    assert_eq!(
        metric(&registry, "openinfra_kafka_producer_restarts_total"),
        1.0
    );
    check_numbers(&*log, 0, &[0, offset]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_makes_appends_wait() {
    let mut mock = Mock::new(1);
    mock.config.max_record_bytes = 64 << 10;
    mock.config.queue_bytes = 128 << 10;
    let log = open(&mock.config, &Registry::new()).await;
    let appends = (0..3).map(|partition| {
        let log = log.clone();
        tokio::spawn(async move {
            let mut batch = AppendBatch::default();
            for number in 0..1_000 {
                batch.push(
                    Topic::Readings,
                    partition,
                    b"",
                    format!("{number:1000}").as_bytes(),
                );
            }
            log.append(batch).await.unwrap().offsets
        })
    });
    for append in futures::future::join_all(appends).await {
        assert_eq!(append.unwrap(), (0..1_000).collect::<Vec<i64>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_too_large_is_named_and_nothing_is_taken() {
    let mock = Mock::new(1);
    let log = open(&mock.config, &Registry::new()).await;
    let limit = mock.config.max_record_bytes;
    let mut batch = one(0, "small");
    batch.push(Topic::Readings, 0, b"", &vec![0; limit + 1]);
    let refused = log.append(batch).await;
    assert!(
        matches!(refused, Err(LogError::TooLarge { bytes, limit: l }) if bytes == l + 1 && l == limit),
        "{refused:?}"
    );
    assert_eq!(log.end_offsets(Topic::Readings).await.unwrap(), [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_harms_nobody() {
    let mock = Mock::new(1);
    let log = open(&mock.config, &Registry::new()).await;
    log.append(one(0, "0")).await.unwrap();
    mock.cluster
        .broker_round_trip_time(DOWN, Duration::from_millis(300))
        .unwrap();
    for _ in 0..3 {
        let left = tokio::time::timeout(Duration::from_millis(30), log.append(one(0, "1"))).await;
        assert!(left.is_err());
        let read = tokio::time::timeout(Duration::from_millis(30), log.read(all(0, 0))).await;
        assert!(read.is_err());
    }
    let begun = Instant::now();
    let offset = log.append(one(0, "2")).await.unwrap().offsets[0];
    assert!(begun.elapsed() >= Duration::from_millis(300));
    mock.cluster
        .broker_round_trip_time(DOWN, Duration::ZERO)
        .unwrap();
    let records = read_all(&*log, 0).await;
    assert_eq!(records[offset as usize].value, "2");
    assert!(records.is_sorted_by_key(|record| record.value.clone()));
}
