//! The listening sockets: accepts on both ports, bounds how many are connected, drains at the end.
//!
//! What a newcomer would get wrong: [`Listener::bind`] takes no client yet; connections queue in the
//! operating system until [`Listener::run`] is polled.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use openinfra_intake::Intake;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use crate::config::{Config, TlsConfig};
pub use crate::error::ListenError;
use crate::{
    complaints::Complaints,
    connection::{Connection, Shared},
    flight::Flight,
    handshake,
    metrics::Metrics,
    sessions::Sessions,
    tls,
};

/// After a failed accept, commonly for want of file descriptors, which closing connections give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What connections may take at the end beyond the drain itself: the last words and their linger.
const DRAIN_SLACK: Duration = Duration::from_secs(4);

/// An MQTT listener with its ports bound.
pub struct Listener {
    plain: TcpListener,
    tls: Option<(TcpListener, TlsAcceptor)>,
    server: Arc<Server>,
}

/// What the tasks of the connections share.
struct Server {
    config: Config,
    intake: Arc<dyn Intake>,
    metrics: Arc<Metrics>,
    complaints: Complaints,
    sessions: Arc<Sessions>,
    places: Arc<Semaphore>,
}

impl Listener {
    /// Binds the ports and registers the metrics.
    ///
    /// # Errors
    /// A port that is taken, certificates that cannot be used, a bound of zero, or metrics that
    /// `registry` already has.
    pub async fn bind(
        config: Config,
        intake: Arc<dyn Intake>,
        registry: &prometheus::Registry,
    ) -> Result<Self, ListenError> {
        check_bounds(&config)?;
        let plain = listen(config.bind).await?;
        let tls = match &config.tls {
            Some(tls) => {
                let acceptor = TlsAcceptor::from(tls::server(tls)?);
                Some((listen(tls.bind).await?, acceptor))
            }
            None => None,
        };
        let server = Server {
            metrics: Arc::new(Metrics::new(registry)?),
            complaints: Complaints::default(),
            sessions: Arc::default(),
            places: Arc::new(Semaphore::new(
                config.max_connections.min(Semaphore::MAX_PERMITS),
            )),
            config,
            intake,
        };
        Ok(Self {
            plain,
            tls,
            server: Arc::new(server),
        })
    }

    /// Where the plain port listens; tells the port when the configuration left it open.
    ///
    /// # Errors
    /// As the operating system has them.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.plain.local_addr()
    }

    /// Where the TLS port listens, if there is one.
    ///
    /// # Errors
    /// As the operating system has them.
    pub fn tls_addr(&self) -> io::Result<Option<SocketAddr>> {
        self.tls.as_ref().map(|(l, _)| l.local_addr()).transpose()
    }

    /// Serves clients until `cancel`; then stops reading, waits (bounded) for the commits in flight,
    /// acknowledges them, and tells the clients that the server stops.
    pub async fn run(self, cancel: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                accepted = self.plain.accept() => {
                    self.accepted(accepted, None, &mut connections, &cancel).await;
                }
                accepted = accept_tls(self.tls.as_ref()) => {
                    let acceptor = self.tls.as_ref().map(|(_, acceptor)| acceptor.clone());
                    self.accepted(accepted, acceptor, &mut connections, &cancel).await;
                }
                Some(ended) = connections.join_next() => log_panic(ended),
            }
        }
        let bound = self.server.config.drain_timeout() + DRAIN_SLACK;
        // Closed ports refuse at once; devices try elsewhere or later.
        drop((self.plain, self.tls));
        let drained = timeout(bound, async {
            while let Some(ended) = connections.join_next().await {
                log_panic(ended);
            }
        });
        if drained.await.is_err() {
            tracing::warn!(
                left = connections.len(),
                "MQTT connections did not end in time"
            );
        }
    }

    async fn accepted(
        &self,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        acceptor: Option<TlsAcceptor>,
        connections: &mut JoinSet<()>,
        cancel: &CancellationToken,
    ) {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an MQTT connection");
                sleep(ACCEPT_PAUSE).await;
                return;
            }
        };
        let Ok(place) = Arc::clone(&self.server.places).try_acquire_owned() else {
            self.server.metrics.connect("too_many");
            let server = &self.server;
            server
                .complaints
                .closed(address, "", &"all places are taken");
            return;
        };
        let server = Arc::clone(&self.server);
        let stop = cancel.clone();
        connections
            .spawn(async move { server.serve(stream, address, acceptor, place, stop).await });
    }
}

impl Server {
    async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        acceptor: Option<TlsAcceptor>,
        _place: OwnedSemaphorePermit,
        stop: CancellationToken,
    ) {
        // Without it the kernel holds PUBACKs back; that it fails on a closed socket, the next read says.
        let _ = stream.set_nodelay(true);
        let deadline = tokio::time::Instant::now() + self.config.connect_timeout();
        match acceptor {
            None => self.client(stream, address, deadline, stop).await,
            Some(acceptor) => {
                match tokio::time::timeout_at(deadline, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => self.client(stream, address, deadline, stop).await,
                    Ok(Err(error)) => {
                        let reason = format_args!("TLS handshake failed: {error}");
                        self.complaints.closed(address, "", &reason);
                        self.metrics.connect("tls_error");
                    }
                    Err(_) => self.metrics.connect("timeout"),
                }
            }
        }
    }

    async fn client<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        address: SocketAddr,
        deadline: tokio::time::Instant,
        stop: CancellationToken,
    ) {
        let handshake = handshake::accept(
            &mut stream,
            address,
            &*self.intake,
            &self.sessions,
            &self.config,
        );
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = tokio::time::timeout_at(deadline, handshake) => accepted,
        };
        let (accepted, session) = match accepted {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(refused)) => {
                match refused.is_for_cause() {
                    true => self
                        .complaints
                        .closed(address, refused.client_id(), &refused),
                    false => tracing::debug!(%address, reason = %refused, "MQTT client gone"),
                }
                self.metrics.connect(refused.outcome());
                return;
            }
            Err(_) => {
                self.metrics.connect("timeout");
                return;
            }
        };
        self.metrics.connect("accepted");
        self.metrics.connections.inc();
        let flight = Flight::new(
            Arc::clone(&self.intake),
            Arc::clone(&accepted.who),
            accepted.trust_recv,
            Arc::clone(&self.metrics),
        );
        let shared = Shared {
            config: self.config.clone(),
            metrics: Arc::clone(&self.metrics),
            stop,
        };
        let connection = Connection::new(Arc::new(shared), session, stream, &accepted, flight);
        let close = connection.run(&accepted.early).await;
        self.metrics.connections.dec();
        let client_id = accepted.client_id.as_str();
        match close.is_for_cause() {
            true => self.complaints.closed(address, client_id, &close),
            false => tracing::debug!(%address, ?client_id, reason = %close, "MQTT client gone"),
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError::Bind { address, source })
}

/// Never ready without a TLS port.
async fn accept_tls(
    tls: Option<&(TcpListener, TlsAcceptor)>,
) -> io::Result<(TcpStream, SocketAddr)> {
    match tls {
        Some((listener, _)) => listener.accept().await,
        None => std::future::pending().await,
    }
}

fn check_bounds(config: &Config) -> Result<(), ListenError> {
    let zero = [
        ("max_connections", config.max_connections == 0),
        ("max_packet_bytes", config.max_packet_bytes == 0),
        ("receive_maximum", config.receive_maximum == 0),
        ("in_flight_bytes", config.in_flight_bytes == 0),
        ("keep_alive_max_s", config.keep_alive_max_s == 0),
        ("connect_timeout_ms", config.connect_timeout_ms == 0),
        ("write_timeout_ms", config.write_timeout_ms == 0),
        ("packet_timeout_ms", config.packet_timeout_ms == 0),
    ];
    match zero.iter().find(|(_, zero)| *zero) {
        Some((field, _)) => Err(ListenError::Zero { field }),
        None => Ok(()),
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "an MQTT connection's task failed");
    }
}
