//! What can go wrong with the cluster, told apart by what its caller can do.
//!
//! A newcomer would look for damage. What a replica reads from a bad disk is its own to repair; from here
//! all of it is a request that failed and may be made again.

use openinfra_store::StoreError;
use scylla::errors::{DbError, ExecutionError, NewSessionError, PrepareError, RequestAttemptError};

use crate::migrate::MigrateError;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store's configuration is wrong: {0}")]
    Config(String),
    #[error("the cluster does not answer: {0}")]
    Connect(String),
    /// The password, or a certificate.
    #[error("the cluster cannot be used: {cause}; {hint}")]
    Refused { cause: String, hint: &'static str },
    /// Most often a table that is missing.
    #[error("a statement on {table} cannot be prepared")]
    Prepare {
        table: &'static str,
        #[source]
        source: Box<PrepareError>,
    },
    #[error(transparent)]
    Schema(#[from] MigrateError),
    #[error("a metric is registered already")]
    Metrics(#[from] prometheus::Error),
}

/// What the driver says about a cluster of these nodes that it does not get into; its text has all causes in it. It goes through the
/// nodes and tells of the last one, so that only the text tells a refusal from a node that is down.
pub(crate) fn not_connected(nodes: &str, error: &NewSessionError) -> OpenError {
    let cause = format!("{nodes}: {error}");
    let hints = [
        ("uthenticat", "are user and password right?"),
        (
            "invalid peer certificate",
            "is tls.ca what signed the nodes' certificates, and are those for their addresses?",
        ),
        (
            "fatal alert",
            "does the cluster ask for a certificate of ours (tls.cert, tls.key), and trust it?",
        ),
    ];
    match hints.iter().find(|(word, _)| cause.contains(word)) {
        Some((_, hint)) => OpenError::Refused { cause, hint },
        None => OpenError::Connect(cause),
    }
}

/// Kinds of failed requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No answer in time, from the node or from replicas behind it. What was written is not known.
    Timeout,
    /// No node, or not enough replicas.
    NoNode,
    Overloaded,
    /// The connection broke. What was written is not known.
    Connection,
    /// A replica failed: a full or broken disk, too many tombstones, an error in the server.
    Server,
    /// The statement itself: a missing table or right, a key that is too long.
    Refused,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::Timeout,
        Self::NoNode,
        Self::Overloaded,
        Self::Connection,
        Self::Server,
        Self::Refused,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::NoNode => "no_node",
            Self::Overloaded => "overloaded",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Refused => "refused",
        }
    }

    pub(crate) fn of(error: &ExecutionError) -> Self {
        match error {
            ExecutionError::RequestTimeout(_) => Self::Timeout,
            ExecutionError::EmptyPlan | ExecutionError::ConnectionPoolError(_) => Self::NoNode,
            ExecutionError::LastAttemptError(attempt) => Self::of_attempt(attempt),
            ExecutionError::PrepareError(_) => Self::Connection,
            _ => Self::Refused,
        }
    }

    fn of_attempt(error: &RequestAttemptError) -> Self {
        match error {
            RequestAttemptError::UnableToAllocStreamId => Self::Overloaded,
            RequestAttemptError::BrokenConnectionError(_) => Self::Connection,
            RequestAttemptError::DbError(error, _) => match error {
                DbError::ReadTimeout { .. } | DbError::WriteTimeout { .. } => Self::Timeout,
                DbError::Unavailable { .. } | DbError::IsBootstrapping => Self::NoNode,
                DbError::Overloaded | DbError::RateLimitReached { .. } => Self::Overloaded,
                DbError::ReadFailure { .. }
                | DbError::WriteFailure { .. }
                | DbError::ServerError
                | DbError::TruncateError
                | DbError::Other(_) => Self::Server,
                _ => Self::Refused,
            },
            _ => Self::Refused,
        }
    }
}

/// With the driver's own words: they name the node, the consistency and who did not answer.
pub(crate) fn unavailable(error: &ExecutionError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// As [`unavailable`], for requests of which nothing is left open when the cluster refuses them.
pub(crate) fn failed(error: &ExecutionError) -> StoreError {
    match Kind::of(error) {
        Kind::Refused => StoreError::Refused(error.to_string()),
        _ => unavailable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_database(error: DbError) -> StoreError {
        let attempt = RequestAttemptError::DbError(error, "as the node says".to_owned());
        failed(&ExecutionError::LastAttemptError(attempt))
    }

    #[test]
    fn what_no_repetition_helps_is_told_apart() {
        for refused in [
            DbError::Invalid,
            DbError::Unauthorized,
            DbError::ConfigError,
        ] {
            let error = of_database(refused);
            assert!(matches!(error, StoreError::Refused(_)), "{error}");
            assert!(error.to_string().contains("as the node says"), "{error}");
        }
        for passing in [
            DbError::Overloaded,
            DbError::IsBootstrapping,
            DbError::ServerError,
        ] {
            let error = of_database(passing);
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        }
        let nobody = failed(&ExecutionError::EmptyPlan);
        assert!(matches!(nobody, StoreError::Unavailable(_)), "{nobody}");
    }
}
