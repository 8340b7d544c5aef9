//! The server, composed: one data folder, the way into its log, the job, the API, the MQTT listener.
//!
//! What a newcomer would get wrong is the order. Ports are bound before the job begins, so that a port
//! that is taken costs no attempt; and at the end input stops first, so that what was taken is
//! acknowledged and reaches the views before the folder closes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use openinfra_api::{App, CursorKey, Parts, Schemas, entities::Entities};
use openinfra_intake::Intake;
use openinfra_mqtt::listener::Listener;
use openinfra_schemas::TenantId;
use openinfra_views::{Job, JobHandle};
use serde::Serialize;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    exit::{self, Failure, Outcome},
    folder::OpenFolder,
    job_control::OverHandle,
};

/// The tenant of a server that asks for no credentials.
pub const DEV_TENANT: &str = "default";

/// A running server.
pub struct Platform {
    pub addresses: Addresses,
    folder: OpenFolder,
    job: Arc<JobHandle>,
    parts: Vec<Part>,
    /// Cancelled: no more input is taken.
    stop: CancellationToken,
    relay_stop: CancellationToken,
    drain_timeout: Duration,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Addresses {
    pub http: SocketAddr,
    pub mqtt: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtts: Option<SocketAddr>,
}

struct Part {
    name: &'static str,
    running: JoinHandle<Result<(), std::io::Error>>,
}

impl Platform {
    /// Opens the folder, binds the ports, starts everything.
    pub async fn start(config: Config, dev: bool) -> Result<Self, Failure> {
        let folder = OpenFolder::open(&config.data)
            .await
            .map_err(Failure::failed)?;
        let metrics = metrics()?;
        let mut keys = folder.keys();
        if dev {
            keys = keys.dev(TenantId::parse(DEV_TENANT).expect("it is a slug"));
        }
        let intake: Arc<dyn Intake> = folder.ingest(keys.clone(), config.ingest.clone(), &metrics);
        let http = TcpListener::bind(config.http.bind)
            .await
            .with_context(|| format!("the HTTP address {} cannot be taken", config.http.bind))?;
        let mqtt = Listener::bind(config.mqtt.clone(), Arc::clone(&intake), &metrics)
            .await
            .context("the MQTT listener does not start")?;
        let addresses = Addresses {
            http: http.local_addr().context("the HTTP address")?,
            mqtt: mqtt.local_addr().context("the MQTT address")?,
            mqtts: mqtt.tls_addr().context("the MQTT TLS address")?,
        };
        let job = Arc::new(start_job(&config, &folder, &metrics).await?);
        let options = openinfra_verify::Options::default();
        let entities = folder.entities();
        let cursor_key = CursorKey::kept_in(&*folder.store)
            .await
            .context("the key of cursors")?;
        let app = App::new(Parts {
            log: Arc::clone(&folder.log),
            store: Arc::clone(&folder.store),
            codec: Arc::clone(&folder.codec),
            schemas: Schemas::Own(folder.registry()),
            keys,
            intake,
            entities: entities.clone(),
            ops: Arc::new(OverHandle::new(&job, folder.parts(), options)),
            registry: metrics,
            config: openinfra_api::Config {
                limits: config.http.limits.clone(),
                cursor_key,
                // The folder is locked.
                sole_process: true,
                ..openinfra_api::Config::default()
            },
        })
        .context("the API's metrics")?;
        let (stop, relay_stop) = (CancellationToken::new(), CancellationToken::new());
        let parts = vec![
            Part::spawn("API", openinfra_api::serve(http, app, stop.clone())),
            Part::spawn("MQTT listener", run_listener(mqtt, stop.clone())),
            Part::spawn("relay", run_relay(entities, relay_stop.clone())),
        ];
        let drain_timeout = Duration::from_millis(config.drain_timeout_ms);
        Ok(Self {
            addresses,
            folder,
            job,
            parts,
            stop,
            relay_stop,
            drain_timeout,
        })
    }

    /// Runs until `cancel`, then drains; or until a part fails, and says why.
    pub async fn run(mut self, cancel: CancellationToken) -> Outcome {
        let failed = tokio::select! {
            () = cancel.cancelled() => None,
            error = self.job.failed() => Some(anyhow::Error::new(error).context("the views job stopped")),
            error = first_ended(&mut self.parts) => Some(error),
        };
        if let Some(error) = &failed {
            tracing::error!("{error:#}; the server stops");
        }
        let limit = self.drain_timeout;
        let drained = match tokio::time::timeout(limit, self.drain()).await {
            Ok(drained) => drained,
            Err(_) => Err(anyhow::anyhow!(
                "not everything ended within {} s; what was acknowledged is safe",
                limit.as_secs_f64(),
            )),
        };
        match (failed, drained) {
            (Some(error), _) | (None, Err(error)) => Err(error.into()),
            (None, Ok(())) => Ok(exit::DONE),
        }
    }

    /// Takes no more input, acknowledges what was taken, brings it into the views, closes the folder.
    async fn drain(self) -> Result<(), anyhow::Error> {
        self.stop.cancel();
        let mut parts = self.parts;
        // A write under way may still need the relay's folder; the relay itself goes last.
        let relay = parts.pop();
        for part in parts {
            part.ended().await?;
        }
        self.relay_stop.cancel();
        if let Some(relay) = relay {
            relay.ended().await?;
        }
        match Arc::into_inner(self.job) {
            // Why it failed, if it did, has been told.
            Some(job) => job.stop().await.or_else(|error| {
                tracing::debug!(%error, "the job had failed");
                Ok::<_, anyhow::Error>(())
            })?,
            None => tracing::warn!(
                "the job is still held; its ticks in flight are left to the next start"
            ),
        }
        self.folder.close().await
    }
}

impl Part {
    fn spawn(
        name: &'static str,
        work: impl Future<Output = Result<(), std::io::Error>> + Send + 'static,
    ) -> Self {
        Self {
            name,
            running: tokio::spawn(work),
        }
    }

    async fn ended(self) -> Result<(), anyhow::Error> {
        let name = self.name;
        // Joining one that ended before, as the first to fail has, would panic.
        if self.running.is_finished() {
            return Ok(());
        }
        self.running
            .await
            .with_context(|| name)?
            .with_context(|| name)
    }
}

/// Parts run until they are stopped; the first that does not is a failure.
async fn first_ended(parts: &mut [Part]) -> anyhow::Error {
    let endings = parts.iter_mut().map(|part| {
        Box::pin(async {
            let ended = (&mut part.running).await;
            let name = part.name;
            match ended {
                Ok(Ok(())) => anyhow::anyhow!("the {name} ended by itself"),
                Ok(Err(error)) => anyhow::Error::new(error).context(format!("the {name} failed")),
                Err(panic) => anyhow::Error::new(panic).context(format!("the {name} panicked")),
            }
        })
    });
    futures::future::select_all(endings).await.0
}

async fn start_job(
    config: &Config,
    folder: &OpenFolder,
    metrics: &prometheus::Registry,
) -> Result<JobHandle, anyhow::Error> {
    let (log, store) = (Arc::clone(&folder.log), Arc::clone(&folder.store));
    Job::start(
        config.job.clone(),
        log,
        store,
        Arc::clone(&folder.codec),
        metrics,
    )
    .await
    .context("the views job does not start")
}

async fn run_listener(listener: Listener, stop: CancellationToken) -> Result<(), std::io::Error> {
    listener.run(stop).await;
    Ok(())
}

async fn run_relay(entities: Entities, stop: CancellationToken) -> Result<(), std::io::Error> {
    entities.run_relay(stop).await;
    Ok(())
}

fn metrics() -> Result<prometheus::Registry, anyhow::Error> {
    let registry = prometheus::Registry::new();
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry
        .register(Box::new(process))
        .context("the process's metrics")?;
    Ok(registry)
}
