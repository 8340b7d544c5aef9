//! What an error of the client or of a broker means to who asked.
//!
//! What a newcomer would get wrong: most errors pass by themselves, and librdkafka has retried for long
//! when it reports one. What does not pass is said apart, so that somebody looks.

use openinfra_log::LogError;
use rdkafka::types::RDKafkaErrorCode as Code;

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting that cannot be right.
    #[error("{0}")]
    Config(String),
    /// The client library refuses its settings.
    #[error("the Kafka client cannot be made: {0}")]
    Client(String),
    #[error("no Kafka broker answers at {brokers}: {cause}")]
    Unreachable { brokers: String, cause: String },
    /// Credentials or permissions.
    #[error("Kafka refuses us: {0}")]
    Denied(String),
    /// Each is one sentence, with what puts it right.
    #[error("the topics are not as they must be:\n{}", .0.join("\n"))]
    Topics(Vec<String>),
    #[error("the topics do not answer")]
    Silent(#[from] LogError),
    #[error("the metrics of the log on Kafka are registered already")]
    Metrics(#[from] prometheus::Error),
}

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Passes by itself, or once the brokers are well again.
    Passing,
    /// The producer cannot go on; another one can.
    Fatal,
    /// Credentials or permissions.
    Denied,
    /// A topic or its settings are not what they were at start.
    Misconfigured,
    /// What came is not what was written.
    Damaged,
}

pub(crate) fn class(code: Code) -> Class {
    match code {
        Code::Fatal
        | Code::Fenced
        | Code::ProducerFenced
        | Code::InvalidProducerEpoch
        | Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerIdMapping => Class::Fatal,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::SSL
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SecurityDisabled => Class::Denied,
        Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::InvalidTopic
        | Code::InvalidConfig
        | Code::InvalidRequiredAcks
        | Code::PolicyViolation
        | Code::UnknownPartition
        | Code::UnsupportedVersion
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedCompressionType => Class::Misconfigured,
        Code::BadMessage | Code::BadCompression => Class::Damaged,
        _ => Class::Passing,
    }
}

/// Whether it is about one record among many that are taken.
pub(crate) fn is_about_size(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize
    )
}

/// What to look at when an append is refused, of errors that come without the client's own words.
fn remedy(code: Code) -> Option<&'static str> {
    match code {
        _ if is_about_size(code) => Some(
            "set max.message.bytes of the topic to kafka.max_record_bytes and 64 KiB at least, as a start asks for",
        ),
        Code::TopicAuthorizationFailed => Some("let the principal write to the topic"),
        Code::ClusterAuthorizationFailed => Some("let the principal write idempotently"),
        _ => None,
    }
}

/// [`log_error`] of an append.
pub(crate) fn append_error(code: Code, what: &str, heard: Option<String>) -> LogError {
    let said: Vec<String> = heard
        .into_iter()
        .chain(remedy(code).map(str::to_owned))
        .collect();
    log_error(code, what, (!said.is_empty()).then(|| said.join("; ")))
}

/// The error as the log's callers know it. `what` was tried; `heard` is what the client said last, which
/// tells more than a timeout does.
pub(crate) fn log_error(code: Code, what: &str, heard: Option<String>) -> LogError {
    let text = match heard {
        Some(heard) => format!("{what}: {code}; {heard}"),
        None => format!("{what}: {code}"),
    };
    match class(code) {
        Class::Passing | Class::Fatal => LogError::Unavailable(text),
        Class::Denied | Class::Misconfigured => LogError::Refused(text),
        Class::Damaged => LogError::Damaged(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        for (code, expected) in [
            (Code::MessageTimedOut, Class::Passing),
            (Code::BrokerTransportFailure, Class::Passing),
            (Code::NotEnoughReplicas, Class::Passing),
            (Code::NotEnoughReplicasAfterAppend, Class::Passing),
            (Code::KafkaStorageError, Class::Passing),
            (Code::NotLeaderForPartition, Class::Passing),
            (Code::PurgeInflight, Class::Passing),
            (Code::Fatal, Class::Fatal),
            (Code::Fenced, Class::Fatal),
            (Code::SaslAuthenticationFailed, Class::Denied),
            (Code::TopicAuthorizationFailed, Class::Denied),
            (Code::MessageSizeTooLarge, Class::Misconfigured),
            (Code::BadMessage, Class::Damaged),
        ] {
            assert_eq!(class(code), expected, "{code:?}");
        }
    }

    #[test]
    fn the_reason_goes_along() {
        let heard = Some("connection refused".to_owned());
        let error = log_error(Code::MessageTimedOut, "appending", heard);
        let text = error.to_string();
        assert!(matches!(error, LogError::Unavailable(_)));
        assert!(
            text.contains("appending") && text.contains("connection refused"),
            "{text}"
        );
    }
}
