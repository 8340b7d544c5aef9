//! A simulated city: assets with sensors, registered over the API, publishing over MQTT.
//!
//! What a newcomer would get wrong: the city is a client like any other. It opens no folder and calls no
//! function of the server, so that what works for it works for real devices.

mod curve;
mod plan;
mod publish;
mod register;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{client::Client, replay::Prober};

pub use plan::Plan;

/// Connections to the listener, as from as many gateways.
const GATEWAYS: usize = 4;

/// How a city is made.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub assets: u32,
    /// Between two readings of a sensor.
    pub interval: Duration,
    pub seed: u64,
}

/// What the city counts of itself.
#[derive(Debug, Default)]
pub struct Counts {
    /// Readings that the listener acknowledged.
    pub acknowledged: AtomicU64,
    /// Readings that it refused.
    pub refused: AtomicU64,
}

/// A city that publishes.
pub struct City {
    pub counts: Arc<Counts>,
    gateways: JoinSet<()>,
    stop: CancellationToken,
}

/// Registers the sensors; those that a former run registered are left as they are.
///
/// # Errors
/// When the API refuses one, or does not answer.
pub async fn register(plan: &Plan, client: &Client) -> Result<(), anyhow::Error> {
    register::all(plan, client).await
}

impl City {
    /// Begins to publish to the listener at `mqtt`; `prober` reads some of the readings back.
    pub fn start(plan: &Plan, mqtt: SocketAddr, prober: &Arc<Prober>) -> Self {
        let counts = Arc::new(Counts::default());
        let stop = CancellationToken::new();
        let mut gateways = JoinSet::new();
        for number in 0..GATEWAYS {
            let devices = plan.devices_of(number, GATEWAYS);
            let gateway = publish::Gateway {
                name: format!("city-gateway-{number}"),
                address: mqtt.to_string(),
                devices,
                interval: plan.interval,
                counts: Arc::clone(&counts),
                prober: Arc::clone(prober),
                stop: stop.clone(),
            };
            gateways.spawn(gateway.run());
        }
        Self {
            counts,
            gateways,
            stop,
        }
    }

    /// Readings acknowledged since the start.
    pub fn acknowledged(&self) -> u64 {
        self.counts.acknowledged.load(Relaxed)
    }

    /// Stops publishing, and waits until what is under way is acknowledged.
    pub async fn stop(self) {
        self.stop.cancel();
        self.gateways.join_all().await;
    }
}
