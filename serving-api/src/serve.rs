//! Serves the router until it is told to stop, then lets what is under way come to its end.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{app::AppState, router::router};

/// Takes requests from `listener` until `cancel` is cancelled; returns when the last one is answered. How
/// long that may take is for the caller to bound.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    cancel: CancellationToken,
) -> io::Result<()> {
    let draining = state.draining.clone();
    let service = router(state).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(async move {
            cancel.cancelled().await;
            draining.cancel();
        })
        .await
}
