//! The server, composed: log, schemas and store, the way into the log, the job, the API, the MQTT listener;
//! all of it in one process, or a part.
//!
//! What a newcomer would get wrong is the order. Ports are bound before the job begins, so that a port
//! that is taken costs no attempt; and at the end input stops first, so that what was taken is
//! acknowledged and reaches the views before the folder closes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use openinfra_api::{App, CursorKey, JobControl, Needs, Parts, Surface, entities::Entities};
use openinfra_intake::Intake;
use openinfra_mqtt::{broker::BrokerClient, listener::Listener};
use openinfra_schemas::{Secret, TenantId};
use openinfra_views::{Job, JobHandle};
use serde::Serialize;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    client::Client,
    config::Config,
    deployment::Deployment,
    exit::{self, Failure, Outcome},
    job_control::{Nowhere, OverHandle, OverHttp},
};

/// The tenant of a server that asks for no credentials.
pub const DEV_TENANT: &str = "default";

/// How long a process that was superseded waits before it ends: two of them that are restarted whatever
/// happens would else take over from each other all the time.
const SUPERSEDED_PAUSE: Duration = Duration::from_secs(30);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    All,
    /// Takes readings into the log.
    Ingest,
    /// Answers the API, and finishes writes that a crash cut off.
    Serve,
    /// Keeps the views.
    Views,
}

impl Role {
    /// The command that does it, as a person types it.
    pub fn command(self) -> &'static str {
        match self {
            Self::All => "openinfra up",
            Self::Ingest => "openinfra ingest",
            Self::Serve => "openinfra serve",
            Self::Views => "openinfra views run",
        }
    }

    fn surface(self) -> Surface {
        match self {
            Self::All | Self::Serve => Surface::Api,
            Self::Ingest => Surface::Ingest,
            Self::Views => Surface::Job,
        }
    }

    pub fn answers_the_api(self) -> bool {
        self.surface() == Surface::Api
    }

    fn listens_to_devices(self) -> bool {
        matches!(self, Self::All | Self::Ingest)
    }

    fn keeps_views(self) -> bool {
        matches!(self, Self::All | Self::Views)
    }

    /// Readings go on without the store, reads without the log.
    fn needs(self) -> Needs {
        Needs {
            log: self != Self::Serve,
            store: self != Self::Ingest,
        }
    }

    fn relays(self) -> bool {
        matches!(self, Self::All | Self::Serve)
    }
}

/// A running server.
pub struct Platform {
    pub addresses: Addresses,
    deployment: Deployment,
    job: Option<Arc<JobHandle>>,
    parts: Vec<Part>,
    relay: Option<Part>,
    /// Cancelled: no more input is taken.
    stop: CancellationToken,
    relay_stop: CancellationToken,
    drain_timeout: Duration,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Addresses {
    pub http: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtts: Option<SocketAddr>,
}

struct Part {
    name: &'static str,
    running: JoinHandle<Result<(), std::io::Error>>,
}

impl Platform {
    /// Opens what the configuration names, binds the ports, starts what the role has.
    pub async fn start(config: Config, dev: bool, role: Role) -> Result<Self, Failure> {
        if role.listens_to_devices() {
            config.check_brokers()?;
        }
        let metrics = metrics()?;
        let deployment = Deployment::open(&config, &metrics)
            .await
            .map_err(Failure::failed)?;
        let mut keys = deployment.keys();
        if dev {
            keys = keys.dev(TenantId::parse(DEV_TENANT).expect("it is a slug"));
        }
        let intake: Arc<dyn Intake> =
            deployment.ingest(keys.clone(), config.ingest.clone(), &metrics);
        let http = TcpListener::bind(config.http.bind)
            .await
            .with_context(|| format!("the HTTP address {} cannot be taken", config.http.bind))?;
        let mqtt = match role.listens_to_devices() {
            true => Some(listener(&config, &intake, &metrics).await?),
            false => None,
        };
        let brokers = match role.listens_to_devices() {
            true => brokers(&config, &intake, &deployment, &metrics)?,
            false => Vec::new(),
        };
        let addresses = Addresses::of(&http, mqtt.as_ref())?;
        let job = match role.keeps_views() {
            true => {
                let job = start_job(&config, &deployment, &metrics).await;
                let job = job.map_err(|error| Failure::new(exit::code_of(&error), error))?;
                Some(Arc::new(job))
            }
            false => None,
        };
        // A folder has one process; servers may have any number.
        let sole_process = config.cql.is_none();
        let entities = deployment.entities();
        // The job says so itself, and more.
        if !role.keeps_views() {
            let (log, store) = (&*deployment.log, &*deployment.store);
            openinfra_views::check_same_log(log, store, &deployment.codec)
                .await
                .with_context(|| format!("{} does not start", role.command()))?;
        }
        let cursor_key = CursorKey::kept_in(&*deployment.store)
            .await
            .context("the key of cursors")?;
        let app = App::new(Parts {
            log: Arc::clone(&deployment.log),
            store: Arc::clone(&deployment.store),
            codec: Arc::clone(&deployment.codec),
            schemas: deployment.schemas.clone(),
            keys,
            intake,
            entities: entities.clone(),
            ops: job_control(&config, &deployment, job.as_ref())?,
            registry: metrics,
            config: openinfra_api::Config {
                limits: config.http.limits.clone(),
                ingest_body_limit: config.http.max_body_bytes,
                cursor_key,
                sole_process,
                needs: role.needs(),
                ..openinfra_api::Config::default()
            },
        })
        .context("the API's metrics")?;
        let (stop, relay_stop) = (CancellationToken::new(), CancellationToken::new());
        let served = openinfra_api::serve(http, app, role.surface(), stop.clone());
        let mut parts = vec![Part::spawn("HTTP server", served)];
        if let Some(mqtt) = mqtt {
            let running = run_listener(mqtt, stop.clone());
            parts.push(Part::spawn("MQTT listener", running));
        }
        for broker in brokers {
            let running = run_broker(broker, stop.clone());
            parts.push(Part::spawn("client of a broker", running));
        }
        let running = watch_registry(&deployment, stop.clone());
        parts.push(Part::spawn("watch on the registry", running));
        let relay = role.relays().then(|| {
            let running = run_relay(entities, sole_process, relay_stop.clone());
            Part::spawn("relay", running)
        });
        let drain_timeout = Duration::from_millis(config.drain_timeout_ms);
        Ok(Self {
            addresses,
            deployment,
            job,
            parts,
            relay,
            stop,
            relay_stop,
            drain_timeout,
        })
    }

    /// Runs until `cancel`, then drains; or until a part fails, and says why.
    pub async fn run(mut self, cancel: CancellationToken) -> Outcome {
        let failed = tokio::select! {
            () = cancel.cancelled() => None,
            error = job_failed(self.job.as_deref()) => Some(error),
            error = first_ended(self.parts.iter_mut().chain(&mut self.relay)) => Some(error),
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
        let error = match (failed, drained) {
            (Some(error), _) | (None, Err(error)) => error,
            (None, Ok(())) => return Ok(exit::DONE),
        };
        let code = exit::code_of(&error);
        if code == exit::SUPERSEDED {
            tracing::warn!(
                "another instance keeps the views; this process ends in {} s",
                SUPERSEDED_PAUSE.as_secs()
            );
            let _ = tokio::time::timeout(SUPERSEDED_PAUSE, cancel.cancelled()).await;
        }
        Err(Failure::new(code, error))
    }

    /// Takes no more input, acknowledges what was taken, brings it into the views, closes the folder.
    async fn drain(self) -> Result<(), anyhow::Error> {
        self.stop.cancel();
        for part in self.parts {
            part.ended().await?;
        }
        // A write under way may still need the relay; so it goes last.
        self.relay_stop.cancel();
        if let Some(relay) = self.relay {
            relay.ended().await?;
        }
        match self.job.map(Arc::into_inner) {
            // Why it failed, if it did, has been told.
            Some(Some(job)) => job.stop().await.or_else(|error| {
                tracing::debug!(%error, "the job had failed");
                Ok::<_, anyhow::Error>(())
            })?,
            Some(None) => tracing::warn!(
                "the job is still held; its ticks in flight are left to the next start"
            ),
            None => {}
        }
        self.deployment.close().await
    }
}

impl Addresses {
    fn of(http: &TcpListener, mqtt: Option<&Listener>) -> Result<Self, anyhow::Error> {
        let (plain, tls) = match mqtt {
            Some(mqtt) => (
                Some(mqtt.local_addr().context("the MQTT address")?),
                mqtt.tls_addr().context("the MQTT TLS address")?,
            ),
            None => (None, None),
        };
        Ok(Self {
            http: http.local_addr().context("the HTTP address")?,
            mqtt: plain,
            mqtts: tls,
        })
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
async fn first_ended(parts: impl Iterator<Item = &mut Part>) -> anyhow::Error {
    let endings = parts.map(|part| {
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

/// The error of a job that failed; never returns where none runs.
async fn job_failed(job: Option<&JobHandle>) -> anyhow::Error {
    match job {
        Some(job) => anyhow::Error::new(job.failed().await).context("the views job stopped"),
        None => std::future::pending().await,
    }
}

async fn start_job(
    config: &Config,
    deployment: &Deployment,
    metrics: &prometheus::Registry,
) -> Result<JobHandle, anyhow::Error> {
    let (log, store) = (Arc::clone(&deployment.log), Arc::clone(&deployment.store));
    let codec = Arc::clone(&deployment.codec);
    Job::start(config.job.clone(), log, store, codec, metrics)
        .await
        .context("the views job does not start")
}

/// How this process reaches the job.
fn job_control(
    config: &Config,
    deployment: &Deployment,
    job: Option<&Arc<JobHandle>>,
) -> Result<Arc<dyn JobControl>, Failure> {
    let options = openinfra_verify::Options::default();
    let parts = deployment.parts();
    let key = config.views.api_key.as_ref().map(Secret::reveal);
    Ok(match (job, &config.views.url) {
        (Some(job), _) => Arc::new(OverHandle::new(job, parts, options)),
        (None, Some(url)) => Arc::new(OverHttp {
            client: Client::new(url, key).map_err(Failure::usage)?,
            parts,
            options,
        }),
        (None, None) => Arc::new(Nowhere),
    })
}

async fn listener(
    config: &Config,
    intake: &Arc<dyn Intake>,
    metrics: &prometheus::Registry,
) -> Result<Listener, anyhow::Error> {
    Listener::bind(config.mqtt.clone(), Arc::clone(intake), metrics)
        .await
        .context("the MQTT listener does not start")
}

/// Clients of the brokers that are named, connected to none yet.
fn brokers(
    config: &Config,
    intake: &Arc<dyn Intake>,
    deployment: &Deployment,
    metrics: &prometheus::Registry,
) -> Result<Vec<BrokerClient>, Failure> {
    let client = |broker: &openinfra_mqtt::broker::Config| {
        let (intake, store) = (Arc::clone(intake), Arc::clone(&deployment.store));
        BrokerClient::new(broker.clone(), intake, store, metrics).map_err(|error| {
            let error = anyhow::Error::new(error);
            Failure::usage(format!("broker {:?}: {error:#}", broker.name))
        })
    };
    config.broker.iter().map(client).collect()
}

async fn run_broker(client: BrokerClient, stop: CancellationToken) -> Result<(), std::io::Error> {
    client.run(stop).await;
    Ok(())
}

async fn run_listener(listener: Listener, stop: CancellationToken) -> Result<(), std::io::Error> {
    listener.run(stop).await;
    Ok(())
}

fn watch_registry(
    deployment: &Deployment,
    stop: CancellationToken,
) -> impl Future<Output = Result<(), std::io::Error>> + 'static {
    let watch = deployment.watch_registry(stop);
    async move {
        watch.await;
        Ok(())
    }
}

async fn run_relay(
    entities: Entities,
    sole_process: bool,
    stop: CancellationToken,
) -> Result<(), std::io::Error> {
    entities.run_relay(sole_process, stop).await;
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
