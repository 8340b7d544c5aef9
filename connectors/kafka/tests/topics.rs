//! Topics on a real broker: made as they must be, and refused when they are not.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::time::{Duration, Instant};

use openinfra_kafka::{Config, KafkaLog, OpenError, config::Topics};
use openinfra_log::{AppendBatch, LogError};
use openinfra_schemas::Topic;
use prometheus::Registry;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    producer::{BaseProducer, BaseRecord, Producer},
};
use support::{Mock, Real, all, broker, one, open, read_all, until};

async fn refused(config: &Config) -> String {
    match KafkaLog::open(config.clone(), &Registry::new()).await {
        Ok(_) => panic!("the log opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_make_is_taken_again() {
    let Some(broker) = broker() else { return };
    let mut real = Real::new(&broker);
    real.config.replication_factor = None;
    for topics in [Topics::Create, Topics::Check, Topics::Trust] {
        real.config.topics = topics;
        let log = open(&real.config, &Registry::new()).await;
        assert_eq!(log.partitions(Topic::Readings), 3);
    }
    real.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_topics_are_refused_where_they_are_not_to_be_made() {
    let Some(broker) = broker() else { return };
    let mut real = Real::new(&broker);
    real.config.topics = Topics::Check;
    let why = refused(&real.config).await;
    assert!(
        why.contains(&format!("{} is not there", real.name(Topic::Entities))),
        "{why}"
    );
    assert!(
        why.contains("--config message.timestamp.type=LogAppendTime"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_partitions_are_refused() {
    let Some(broker) = broker() else { return };
    let mut real = Real::new(&broker);
    drop(open(&real.config, &Registry::new()).await);
    real.config.partitions = 4;
    let why = refused(&real.config).await;
    assert!(
        why.contains("readings has 3 partitions and must have 4"),
        "{why}"
    );
    assert!(!why.contains("ticks has"), "{why}");
    real.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_refused_with_what_puts_them_right() {
    let Some(broker) = broker() else { return };
    let real = Real::new(&broker);
    drop(open(&real.config, &Registry::new()).await);
    let name = real.name(Topic::Entities);
    for (setting, value) in [
        ("cleanup.policy", "compact"),
        ("message.timestamp.type", "CreateTime"),
        ("retention.ms", "1000000000"),
        ("max.message.bytes", "1000000"),
        ("min.insync.replicas", "2"),
    ] {
        // The others go back to the broker's own, which are wrong as well.
        set(&real, &name, setting, value).await;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let why = refused(&real.config).await;
            let wrong = why.contains(&format!("{name} has {setting}={value}"));
            let command = why.contains(&format!("--entity-name {name} --add-config {setting}="));
            if wrong && command {
                break;
            }
            assert!(Instant::now() < deadline, "{why}");
        }
    }
    real.clean().await;
}

/// What is not named goes back to the broker's own setting.
async fn set(real: &Real, name: &str, setting: &str, value: &str) {
    let alter = AlterConfig::new(ResourceSpecifier::Topic(name)).set(setting, value);
    let options = AdminOptions::new();
    let altered = real.admin().alter_configs(&[alter], &options).await;
    altered.unwrap()[0].as_ref().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_size_that_is_lowered_while_we_run_is_told_until_it_is_put_right() {
    let Some(broker) = broker() else { return };
    let real = Real::new(&broker);
    let log = open(&real.config, &Registry::new()).await;
    let name = real.name(Topic::Readings);
    // No repetition that could be compressed.
    let mut state = 1_u64;
    let digits = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'a' + (state >> 60) as u8)
    });
    let large = one(0, &digits.take(300_000).collect::<String>());
    let taken_or_not = async |taken: bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let appended = log.append(large.clone()).await.map(drop);
            let asked = log.append(AppendBatch::default()).await.map(drop);
            match appended {
                Ok(()) if taken => return asked.unwrap(),
                Err(LogError::Refused(why)) if !taken => {
                    assert!(why.contains("max.message.bytes"), "{why}");
                    assert!(why.contains(&name), "{why}");
                    // What is smaller is taken: nobody is to send it elsewhere.
                    return asked.unwrap();
                }
                other => assert!(Instant::now() < deadline, "{other:?}"),
            }
        }
    };
    taken_or_not(true).await;
    set(&real, &name, "max.message.bytes", "100000").await;
    taken_or_not(false).await;
    set(&real, &name, "max.message.bytes", "20000000").await;
    taken_or_not(true).await;
    real.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_copies_are_refused_with_the_number_of_brokers() {
    let Some(broker) = broker() else { return };
    let mut real = Real::new(&broker);
    real.config.replication_factor = Some(50);
    let why = refused(&real.config).await;
    assert!(
        why.contains("with 50 copies") && why.contains("replication_factor"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_in_time() {
    let config = Config {
        brokers: vec!["127.0.0.1:1".to_owned()],
        request_timeout_ms: 1_000,
        ..Config::default()
    };
    let begun = Instant::now();
    let error = KafkaLog::open(config, &Registry::new())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn below_what_was_deleted_a_read_says_where_the_log_starts() {
    let Some(broker) = broker() else { return };
    let real = Real::new(&broker);
    let log = open(&real.config, &Registry::new()).await;
    for number in 0..10 {
        log.append(one(1, &number.to_string())).await.unwrap();
    }
    let mut below = TopicPartitionList::new();
    let name = real.name(Topic::Readings);
    below
        .add_partition_offset(&name, 1, Offset::Offset(7))
        .unwrap();
    real.admin()
        .delete_records(&below, &AdminOptions::new())
        .await
        .unwrap();
    // As this log and as one that knows nothing yet.
    for log in [log, open(&real.config, &Registry::new()).await] {
        let gone = log.read(all(1, 3)).await;
        assert!(
            matches!(
                gone,
                Err(LogError::Gone {
                    wanted: 3,
                    start: 7,
                    ..
                })
            ),
            "{gone:?}"
        );
        assert_eq!(log.start_offsets(Topic::Readings).await.unwrap(), [0, 7, 0]);
        assert_eq!(log.read(all(1, 7)).await.unwrap().len(), 3);
    }
    real.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_somebody_else_is_named_not_waited_for() {
    let Some(broker) = broker() else { return };
    let real = Real::new(&broker);
    let log = open(&real.config, &Registry::new()).await;
    log.append(one(0, "before")).await.unwrap();
    let name = real.name(Topic::Readings);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &broker)
        .set("transactional.id", &name)
        .create()
        .unwrap();
    let written = tokio::task::spawn_blocking(move || {
        producer.init_transactions(Duration::from_secs(30)).unwrap();
        producer.begin_transaction().unwrap();
        producer
            .send(BaseRecord::<str, str>::to(&name).partition(0).payload("x"))
            .ok()
            .unwrap();
        producer
            .commit_transaction(Duration::from_secs(30))
            .unwrap();
    });
    written.await.unwrap();
    // The mark that ends the transaction comes a moment later.
    let deadline = Instant::now() + Duration::from_secs(20);
    while log.end_offsets(Topic::Readings).await.unwrap()[0] < 3 {
        assert!(Instant::now() < deadline, "the transaction does not end");
    }
    log.append(one(0, "after")).await.unwrap();
    let damaged = log.read(all(0, 0)).await;
    let Err(LogError::Damaged(why)) = damaged else {
        panic!("{damaged:?}");
    };
    assert!(
        why.contains("has no record at 2..3") && why.contains("transactions"),
        "{why}"
    );
    real.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_is_noticed() {
    let Some(broker) = broker() else { return };
    let real = Real::new(&broker);
    let log = open(&real.config, &Registry::new()).await;
    log.append(one(2, "lost")).await.unwrap();
    let (admin, name) = (real.admin(), real.name(Topic::Readings));
    let options = AdminOptions::new();
    admin.delete_topics(&[&name], &options).await.unwrap();
    let again = NewTopic::new(&name, 3, TopicReplication::Fixed(1));
    let deadline = Instant::now() + Duration::from_secs(20);
    while admin.create_topics([&again], &options).await.unwrap()[0].is_err() {
        assert!(Instant::now() < deadline, "the topic is not made");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    loop {
        match log.end_offsets(Topic::Readings).await {
            Err(LogError::Damaged(why)) if why.contains("acknowledged records are missing") => {
                break;
            }
            // While the brokers do not agree yet.
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
    }
    real.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_was_done() {
    let mock = Mock::new(1);
    let registry = Registry::new();
    let log = open(&mock.config, &registry).await;
    log.append(one(0, "one")).await.unwrap();
    log.append(one(0, "two")).await.unwrap();
    assert_eq!(read_all(&*log, 0).await.len(), 2);
    assert_eq!(
        support::metric(&registry, "openinfra_kafka_produce_total"),
        2.0
    );
    assert_eq!(
        support::metric(&registry, "openinfra_kafka_read_records_total"),
        2.0
    );
    until("a broker is up", || {
        support::metric(&registry, "openinfra_kafka_brokers_up") >= 1.0
    })
    .await;
    let again = KafkaLog::open(mock.config.clone(), &registry).await;
    assert!(matches!(again.err(), Some(OpenError::Metrics(_))));
}

/// Deletes `readings` and makes it anew; another process would do it with the command line.
async fn make_readings_anew(real: &Real) {
    let name = real.name(Topic::Readings);
    let options = AdminOptions::new();
    real.admin()
        .delete_topics(&[&name], &options)
        .await
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let partitions = real.config.partitions;
    loop {
        // What is being deleted is there until it is gone.
        let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1))
            .set("message.timestamp.type", "LogAppendTime");
        let made = real.admin().create_topics([&new], &options).await.unwrap();
        if made[0].is_ok() {
            return;
        }
        assert!(Instant::now() < deadline, "{made:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_anew_takes_nothing_from_who_knew_it() {
    let Some(broker) = broker() else { return };
    let real = Real::new(&broker);
    let log = open(&real.config, &Registry::new()).await;
    for number in 0..20 {
        log.append(one(0, &number.to_string())).await.unwrap();
    }
    make_readings_anew(&real).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let said = loop {
        match log.append(one(0, "again")).await {
            Err(LogError::Unavailable(text)) => assert!(Instant::now() < deadline, "{text}"),
            Err(LogError::Damaged(text)) => break text,
            other => panic!("{other:?}"),
        }
    };
    assert!(said.contains("[0] took a record at"), "{said}");
    let again = log.append(one(1, "again")).await;
    assert!(matches!(again, Err(LogError::Damaged(_))), "{again:?}");
    // Who only reads finds the end fallen; who starts now sees the topic as it is.
    loop {
        match log.end_offsets(Topic::Readings).await {
            Err(LogError::Damaged(_)) => break,
            // The client has not heard yet who leads the new one.
            Err(LogError::Unavailable(text)) => assert!(Instant::now() < deadline, "{text}"),
            other => panic!("{other:?}"),
        }
    }
    let mut trusting = real.config.clone();
    trusting.topics = Topics::Trust;
    let other = open(&trusting, &Registry::new()).await;
    assert!(read_all(&*other, 0).await.len() < 20);
    other.append(one(0, "other")).await.unwrap();
    real.clean().await;
}
