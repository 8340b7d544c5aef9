//! The user of the brokers of `tests/services/services` that want a password, and what is told to others.

use std::time::{Duration, Instant};

use openinfra_kafka::{
    Config, KafkaLog, OpenError,
    config::{Mechanism, Sasl},
};
use openinfra_schemas::Secret;
use prometheus::Registry;

pub const PASSWORD: &str = "correct horse";
pub const WRONG: &str = "swordfish";

/// What is said to the brokers, with the right name.
pub fn sasl(mechanism: Mechanism, password: &str) -> Option<Sasl> {
    Some(Sasl {
        mechanism,
        user: "openinfra".to_owned(),
        password: Secret::new(password),
    })
}

/// What who is refused is told, and in time.
pub async fn refused(config: &Config) -> (OpenError, String) {
    let begun = Instant::now();
    let error = match KafkaLog::open(config.clone(), &Registry::new()).await {
        Ok(_) => panic!("opened with {config:?}"),
        Err(error) => error,
    };
    let text = error.to_string();
    eprintln!("{text}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{text}");
    assert!(!format!("{text} {error:?}").contains(WRONG), "{text}");
    (error, text)
}
