//! A gateway: publishes the readings of its devices over one connection.
//!
//! What a newcomer would get wrong: devices do not send all at once on the second. Each has its phase, and
//! a gateway looks fifty times an interval which of them are due.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use openinfra_mqtt::publisher::{Acked, PublishError, Publisher, PublisherConfig};
use openinfra_schemas::time::Millis;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Counts,
    plan::{Device, Habit},
};
use crate::{clock::now, replay::Prober};

/// Into how many steps an interval is cut.
const STEPS: u32 = 50;
/// One reading in so many is read back.
const PROBE_EVERY: u64 = 53;
/// How many messages a late device sends at once.
const LATE_BURST: usize = 20;
const SILENT_EVERY_MS: u128 = 180_000;
const SILENT_FROM_MS: u128 = 15_000;
const SILENT_TO_MS: u128 = 105_000;
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// One gateway with its devices.
pub struct Gateway {
    pub name: String,
    pub address: String,
    pub devices: Vec<Device>,
    pub interval: Duration,
    pub counts: Arc<Counts>,
    pub prober: Arc<Prober>,
    pub stop: CancellationToken,
}

/// What goes on while a gateway runs.
struct Run {
    started: Instant,
    sent: u64,
    /// What late devices keep back, by device.
    kept: Vec<Vec<Reading>>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    ts: Millis,
    value: f64,
}

impl Gateway {
    /// Publishes until stopped; connects again when the connection is lost.
    pub async fn run(self) {
        let mut run = Run {
            started: Instant::now(),
            sent: 0,
            kept: vec![Vec::new(); self.devices.len()],
        };
        while !self.stop.is_cancelled() {
            let config = PublisherConfig::new(&self.address, &self.name);
            let ended = match Publisher::connect(config).await {
                Ok((publisher, acks)) => self.serve(&mut run, publisher, acks).await,
                Err(error) => Err(anyhow::Error::new(error)),
            };
            if let Err(error) = ended {
                tracing::warn!("{}: {error:#}; connecting again", self.name);
                sleep(RECONNECT_AFTER).await;
            }
        }
    }

    async fn serve(
        &self,
        run: &mut Run,
        mut publisher: Publisher,
        mut acks: UnboundedReceiver<Acked>,
    ) -> Result<(), anyhow::Error> {
        let mut steps = interval(self.interval / STEPS);
        // Steps that were slept through are gone; nobody sends them in a burst.
        steps.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut step = 0;
        loop {
            tokio::select! {
                _ = steps.tick() => {
                    self.step(run, &mut publisher, step).await?;
                    step = (step + 1) % STEPS;
                }
                ack = acks.recv() => match ack {
                    Some(ack) => self.count(ack),
                    None => anyhow::bail!("the connection ended"),
                },
                () = self.stop.cancelled() => break,
            }
        }
        publisher.drained().await?;
        while let Ok(ack) = acks.try_recv() {
            self.count(ack);
        }
        Ok(())
    }

    fn count(&self, ack: Acked) {
        let counter = if ack.accepted() {
            &self.counts.acknowledged
        } else {
            &self.counts.refused
        };
        counter.fetch_add(1, Relaxed);
    }

    async fn step(
        &self,
        run: &mut Run,
        publisher: &mut Publisher,
        step: u32,
    ) -> Result<(), PublishError> {
        for (index, device) in self.devices.iter().enumerate() {
            if (device.phase * f64::from(STEPS)) as u32 == step {
                self.measure(run, publisher, index).await?;
            }
        }
        Ok(())
    }

    async fn measure(
        &self,
        run: &mut Run,
        publisher: &mut Publisher,
        index: usize,
    ) -> Result<(), PublishError> {
        let device = &self.devices[index];
        let ts = now();
        let reading = Reading {
            ts,
            value: device.curve.at(ts),
        };
        match device.habit {
            Habit::Silent if is_silent(run.started.elapsed()) => Ok(()),
            Habit::Late => {
                run.kept[index].push(reading);
                if run.kept[index].len() < LATE_BURST {
                    return Ok(());
                }
                for reading in std::mem::take(&mut run.kept[index]) {
                    self.send(run, publisher, device, reading).await?;
                }
                Ok(())
            }
            Habit::Repeating => {
                self.send(run, publisher, device, reading).await?;
                self.send(run, publisher, device, reading).await
            }
            Habit::Silent | Habit::Steady | Habit::Restless => {
                if run.sent.is_multiple_of(PROBE_EVERY) {
                    self.prober
                        .published(&device.sensor_id, ts, Some(reading.value));
                }
                self.send(run, publisher, device, reading).await
            }
        }
    }

    async fn send(
        &self,
        run: &mut Run,
        publisher: &mut Publisher,
        device: &Device,
        Reading { ts, value }: Reading,
    ) -> Result<(), PublishError> {
        run.sent += 1;
        let topic = format!("sensors/{}/data", device.sensor_id);
        let unit = device.unit;
        let payload = format!("{{\"value\":{value},\"timestamp\":{ts},\"unit\":\"{unit}\"}}");
        publisher
            .publish(&topic, payload.as_bytes(), run.sent)
            .await
    }
}

fn is_silent(since_start: Duration) -> bool {
    (SILENT_FROM_MS..SILENT_TO_MS).contains(&(since_start.as_millis() % SILENT_EVERY_MS))
}
