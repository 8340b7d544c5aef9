//! What librdkafka has to say besides answers: errors, log lines, statistics.
//!
//! It repeats itself: a broker that is down is reported at every attempt to reach it. Here the newest is
//! kept, to go along with the error of whoever waits, and the process's log gets one line.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use crate::{
    error::{Class, class},
    metrics::Metrics,
};

/// What a client says between two looks is taken up to so much.
const EVENTS_AT_ONCE: usize = 64;

/// What the client says of a broker that took a connection and then closed it: as it reads, or as it writes.
const HUNG_UP: [&str; 3] = [
    "Disconnected",
    "Send failed: Broken pipe",
    "failed: Connection reset by peer",
];

fn hung_up(text: &str) -> bool {
    HUNG_UP.iter().any(|words| text.contains(words))
}

/// What all clients of one log report to.
#[derive(Debug)]
pub(crate) struct Reports {
    pub(crate) metrics: Metrics,
    /// The newest complaint since something worked.
    last: Mutex<Option<(Code, String)>>,
    /// Whether there is one: looked at for every batch.
    is_ill: AtomicBool,
    /// The process's log was told.
    is_told: AtomicBool,
    /// Something has worked: the brokers want what we are set to.
    is_proven: AtomicBool,
}

impl Reports {
    pub(crate) fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            last: Mutex::new(None),
            is_ill: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            is_proven: AtomicBool::new(false),
        })
    }

    /// What the clients said last, if nothing has worked since.
    pub(crate) fn heard(&self) -> Option<(Code, String)> {
        self.last.lock().ok()?.clone()
    }

    pub(crate) fn heard_text(&self) -> Option<String> {
        self.heard().map(|(_, text)| text)
    }

    /// Something worked.
    pub(crate) fn well(&self) {
        if !self.is_proven.load(Relaxed) {
            self.is_proven.store(true, Relaxed);
        }
        if !self.is_ill.load(Relaxed) || !self.is_ill.swap(false, Relaxed) {
            return;
        }
        if let Ok(mut last) = self.last.lock() {
            *last = None;
        }
        if self.is_told.swap(false, Relaxed) {
            tracing::info!("Kafka answers again");
        }
    }

    /// A line of the client's own log. Whatever matters comes as an error, too, but for one thing: that a broker takes
    /// connections and hangs up, as one does that speaks TLS on who does not. One that is stopped looks the same,
    /// so it counts only as long as nothing has worked.
    pub(crate) fn line(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, message);
        if facility == "FAIL" && hung_up(message) && !self.is_proven.load(Relaxed) {
            // Without the name of the thread.
            let reason = message.split_once("]: ").map_or(message, |(_, said)| said);
            self.complain(&KafkaError::Global(Code::BrokerTransportFailure), reason);
        }
    }

    pub(crate) fn complain(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        let denied = class(code) == Class::Denied;
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        let was_denied = last
            .as_ref()
            .is_some_and(|(c, _)| class(*c) == Class::Denied);
        // That nobody can be reached follows from a refused password, not the other way round.
        let reason = &explained(code, reason, self.is_proven.load(Relaxed));
        // Nor is it a cause of its own that all are down.
        let follows = code == Code::AllBrokersDown && last.is_some();
        if denied || !(was_denied || follows) {
            *last = Some((code, reason.clone()));
        }
        drop(last);
        self.is_ill.store(true, Relaxed);
        // One broker of several that is down is told of by the statistics, once.
        let matters = denied || code == Code::AllBrokersDown;
        if !matters || self.is_told.swap(true, Relaxed) {
            tracing::debug!(%code, reason, "trouble with Kafka");
        } else if denied {
            tracing::error!(%code, reason, "Kafka refuses us");
        } else {
            tracing::warn!(%code, reason, "no Kafka broker answers");
        }
    }
}

/// The client's words, with the setting to look at; `is_proven` when something has worked with it.
fn explained(code: Code, reason: &str, is_proven: bool) -> String {
    let hint = match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => "are sasl.user, sasl.password and sasl.mechanism right?",
        Code::SSL if reason.contains("certificate verify failed") => {
            "is tls.ca_file what signed the brokers' certificates, and are those for the names in brokers?"
        }
        Code::SSL => "is it TLS at this port, as tls.enabled says?",
        _ if hung_up(reason) && !is_proven => {
            "are tls.enabled and sasl what the brokers want at this port?"
        }
        _ => return reason.to_owned(),
    };
    format!("{reason}; {hint}")
}

/// The context of consumers and of the client that asks.
#[derive(Debug, Clone)]
pub(crate) struct Events(pub(crate) Arc<Reports>);

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.complain(&error, reason);
    }

    fn stats_raw(&self, _: &[u8]) {}
}

impl ConsumerContext for Events {}

/// Gives some of what a client has to say to its context. None means no record: a log line is taken and answered so,
/// and what follows it would wait.
pub(crate) fn serve(client: &BaseConsumer<Events>) {
    for _ in 0..EVENTS_AT_ONCE {
        let _ = client.poll(Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    fn reports() -> Arc<Reports> {
        Reports::new(Metrics::new(&Registry::new()).unwrap())
    }

    #[test]
    fn a_refusal_is_kept_over_what_follows_from_it() {
        let reports = reports();
        let complain = |code, reason| reports.complain(&KafkaError::Global(code), reason);
        complain(Code::BrokerTransportFailure, "connection reset");
        complain(Code::Authentication, "wrong password");
        complain(Code::AllBrokersDown, "1/1 brokers are down");
        let (code, text) = reports.heard().unwrap();
        assert_eq!(code, Code::Authentication);
        assert!(text.starts_with("wrong password; are sasl.user"), "{text}");
        reports.well();
        assert_eq!(reports.heard(), None);
    }

    #[test]
    fn a_broker_that_hangs_up_is_told_of_until_something_works() {
        let reports = reports();
        let all_down = || {
            let error = KafkaError::Global(Code::AllBrokersDown);
            reports.complain(&error, "1/1 brokers are down");
        };
        let line = |facility, message| reports.line(RDKafkaLogLevel::Info, facility, message);
        let hung_up = "[thrd:a]: sasl_plaintext://a: Disconnected: connection closed by peer";
        all_down();
        line(
            "FAIL",
            "[thrd:a]: sasl_plaintext://a: Connect failed: Connection refused",
        );
        assert_eq!(reports.heard_text().unwrap(), "1/1 brokers are down");
        line("FAIL", hung_up);
        all_down();
        let text = reports.heard_text().unwrap();
        assert!(text.starts_with("sasl_plaintext://a: Disc"), "{text}");
        assert!(text.contains("are tls.enabled and sasl"), "{text}");
        for words in HUNG_UP {
            let explained = |is_proven| explained(Code::BrokerTransportFailure, words, is_proven);
            assert!(explained(false).contains("tls.enabled and sasl"));
            // A broker that was killed hangs up, too.
            assert_eq!(explained(true), words);
        }
        reports.well();
        line("FAIL", hung_up);
        assert_eq!(reports.heard(), None);
    }

    #[test]
    fn only_what_matters_is_told_and_once() {
        let reports = reports();
        let complain = |code| reports.complain(&KafkaError::Global(code), "down");
        complain(Code::BrokerTransportFailure);
        assert!(!reports.is_told.load(Relaxed));
        complain(Code::AllBrokersDown);
        assert!(reports.is_told.load(Relaxed));
        reports.well();
        assert!(!reports.is_told.load(Relaxed) && reports.heard().is_none());
    }
}
