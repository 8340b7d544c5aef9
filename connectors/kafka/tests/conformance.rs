//! The log on Kafka passes what every log must pass: on a real broker, and on librdkafka's imitation.

mod support;

use prometheus::Registry;
use support::{Mock, Real, broker, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_conforms_on_a_broker() {
    let Some(broker) = broker() else { return };
    let real = Real::new(&broker);
    // The second time over what the first left.
    for _ in 0..2 {
        openinfra_log::conformance::run(&open(&real.config, &Registry::new()).await).await;
    }
    real.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_conforms_on_imitated_brokers() {
    for brokers in [1, 3] {
        let mock = Mock::new(brokers);
        openinfra_log::conformance::run(&open(&mock.config, &Registry::new()).await).await;
    }
}
