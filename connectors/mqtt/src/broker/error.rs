//! Why a client of a broker cannot start. What happens later it survives.

use openinfra_schemas::ids::IdError;

use crate::error::TlsError;

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("broker {name}: {field}: {reason}")]
    Setting {
        name: String,
        field: &'static str,
        reason: String,
    },
    #[error("broker {name}: tenant")]
    Tenant {
        name: String,
        #[source]
        source: IdError,
    },
    #[error("broker {name}: tls")]
    Tls {
        name: String,
        #[source]
        source: TlsError,
    },
    /// Two clients of one name.
    #[error("cannot register the metrics of the broker client")]
    Metrics(#[from] prometheus::Error),
}
