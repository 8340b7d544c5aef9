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
    /// A broker knows a newer producer of the same id, under which ours is no longer taken. It goes on under another.
    ///
    /// Not the end of a process's authority, as it would be with transactions: ours have no transactional id, so that
    /// nobody takes over from one, and ids come back only from brokers that lost or repeated some. Whose ticks count
    /// is decided by the log's own records.
    Fenced,
    /// Credentials or permissions.
    Denied,
    /// A topic or its settings are not what they were at start.
    Misconfigured,
    /// What came is not what was written.
    Damaged,
}

impl Class {
    /// Whether the producer may have ended for good.
    pub(crate) fn may_end_producer(self) -> bool {
        matches!(self, Self::Fatal | Self::Fenced)
    }
}

pub(crate) fn class(code: Code) -> Class {
    match code {
        Code::Fatal
        | Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerIdMapping => Class::Fatal,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => Class::Fenced,
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
        _ if class(code) == Class::Fenced => Some(
            "a broker knows a newer producer of our id, as one does that lost or repeated ids; ours goes on under another",
        ),
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
        Class::Passing | Class::Fatal | Class::Fenced => LogError::Unavailable(text),
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
            (Code::OutOfOrderSequenceNumber, Class::Fatal),
            (Code::Fenced, Class::Fenced),
            (Code::ProducerFenced, Class::Fenced),
            (Code::InvalidProducerEpoch, Class::Fenced),
            (Code::SaslAuthenticationFailed, Class::Denied),
            (Code::TopicAuthorizationFailed, Class::Denied),
            (Code::MessageSizeTooLarge, Class::Misconfigured),
            (Code::BadMessage, Class::Damaged),
        ] {
            assert_eq!(class(code), expected, "{code:?}");
        }
    }

    /// Another try does it, whichever process makes it.
    #[test]
    fn a_fenced_producer_is_told_and_ends_nothing() {
        for code in [
            Code::Fenced,
            Code::ProducerFenced,
            Code::InvalidProducerEpoch,
        ] {
            let error = append_error(code, "appending", None);
            assert!(matches!(error, LogError::Unavailable(_)), "{error}");
            assert!(error.to_string().contains("newer producer"), "{error}");
        }
        let fatal = append_error(Code::OutOfOrderSequenceNumber, "appending", None);
        assert!(!fatal.to_string().contains("newer producer"), "{fatal}");
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
