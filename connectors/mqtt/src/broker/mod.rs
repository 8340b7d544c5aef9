//! The client of somebody else's broker: subscribes with MQTT 5, and acknowledges what the log has.
//!
//! PUBACK means here what it means at our own listener: in the log, fsynced, refusals included. What a
//! newcomer would get wrong: while the log does not take messages the broker is not told so, it just
//! gets no PUBACKs. It keeps what it has, sends no more than the receive maximum, and the batch that could
//! not be appended is appended again from here: a broker sends again only after a reconnect.
//!
//! `link` is the loop over the connection and the commits, `hold` what has been read and not yet got into
//! the log, `subscription` what was asked for and granted, `leaving` what the session has from earlier settings
//! and `memory` where that is kept, `backoff` the pauses between attempts.

mod backoff;
mod client_id;
pub mod config;
mod error;
mod filter;
mod hold;
mod leaving;
mod link;
mod memory;
mod metrics;
mod options;
mod outage;
mod reason;
mod subscription;

use std::sync::Arc;

use openinfra_intake::Intake;
use openinfra_store::Store;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

pub use config::{Config, Tls};
pub use error::BrokerError;

use link::Link;
use memory::Memory;
use metrics::Metrics;
use options::Settings;

/// One subscription at one broker, with its settings checked and its certificates read.
pub struct BrokerClient {
    settings: Settings,
    intake: Arc<dyn Intake>,
    memory: Memory,
    metrics: Arc<Metrics>,
}

impl BrokerClient {
    /// Checks the settings and reads certificates, as [`BrokerClient::new`] does.
    ///
    /// # Errors
    /// Settings that cannot be used.
    pub fn check(config: &Config) -> Result<(), BrokerError> {
        Settings::new(config.clone()).map(drop)
    }

    /// Checks the settings, reads certificates, registers the metrics; connects to nothing yet. In `store` stands
    /// what the session at the broker is subscribed to.
    ///
    /// # Errors
    /// Settings that cannot be used, and a second client of the same name on one `registry`.
    pub fn new(
        config: Config,
        intake: Arc<dyn Intake>,
        store: Arc<dyn Store>,
        registry: &Registry,
    ) -> Result<Self, BrokerError> {
        let settings = Settings::new(config)?;
        let metrics = Arc::new(Metrics::new(registry, &settings.config.name)?);
        let memory = Memory::new(store, &settings.config.name, &settings.client_id);
        Ok(Self {
            settings,
            intake,
            memory,
            metrics,
        })
    }

    /// The id that the broker knows this process by.
    pub fn client_id(&self) -> &str {
        &self.settings.client_id
    }

    /// Takes messages until `cancel`, through every loss of the broker or the log; then reads no more, waits
    /// (bounded) for the commits in flight, acknowledges them and disconnects. The session stays at the
    /// broker, which keeps what comes meanwhile.
    pub async fn run(self, cancel: CancellationToken) {
        let (link, events) = Link::new(self.settings, self.intake, self.memory, self.metrics);
        link.run(events, &cancel).await;
    }
}

/// Makes a [`BrokerClient`] and runs it until `cancel`.
///
/// # Errors
/// As [`BrokerClient::new`]; nothing that happens later ends it.
pub async fn run(
    config: Config,
    intake: Arc<dyn Intake>,
    store: Arc<dyn Store>,
    registry: &Registry,
    cancel: CancellationToken,
) -> Result<(), BrokerError> {
    BrokerClient::new(config, intake, store, registry)?
        .run(cancel)
        .await;
    Ok(())
}
