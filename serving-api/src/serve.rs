//! Serves the router until it is told to stop, then lets what is under way come to its end.
//!
//! What a newcomer would get wrong: `axum::serve` waits for the rest of a header for ever. Nobody has to
//! show a key for that, so connections would run out; here a client has so long for each header.

use std::{io, net::SocketAddr, pin::pin};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request, serve::Listener};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    app::AppState,
    router::{Surface, router},
};

/// Takes requests from `listener` until `cancel` is cancelled; returns when the last one is answered. How
/// long that may take is for the caller to bound.
pub async fn serve(
    mut listener: TcpListener,
    state: AppState,
    surface: Surface,
    cancel: CancellationToken,
) -> io::Result<()> {
    let draining = state.draining.clone();
    let builder = builder(&state);
    let router = router(state, surface);
    let (open, _) = watch::channel(());
    loop {
        let (stream, client) = tokio::select! {
            () = cancel.cancelled() => break,
            // Waits out errors that pass, as when descriptors run out.
            accepted = Listener::accept(&mut listener) => accepted,
        };
        let connection = Connection {
            builder: builder.clone(),
            router: router.clone(),
            client,
            stop: cancel.clone(),
            open: open.subscribe(),
        };
        tokio::spawn(connection.run(stream));
    }
    draining.cancel();
    drop(listener);
    open.closed().await;
    Ok(())
}

fn builder(state: &AppState) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(state.config.header_timeout);
    builder.http2().timer(TokioTimer::new());
    builder
}

/// One client's connection.
struct Connection {
    builder: Builder<TokioExecutor>,
    router: Router,
    client: SocketAddr,
    stop: CancellationToken,
    /// Dropped at its end, which is what the server waits for.
    open: watch::Receiver<()>,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let client = self.client;
        let service = self.router.map_request(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(client));
            request
        });
        let served = self
            .builder
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let mut served = pin!(served);
        let mut stopping = false;
        let result = loop {
            tokio::select! {
                result = served.as_mut() => break result,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    served.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%client, error, "a connection ended early");
        }
        drop(self.open);
    }
}
