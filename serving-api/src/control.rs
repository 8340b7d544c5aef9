//! What another process of the product asks of the one that runs the job: to hold its ticks.
//!
//! A hold lives as long as the answer to the request for it: the first line tells that no tick is being
//! written, and a line follows every second. Whoever asked closes the connection to let the job go on;
//! a process that is killed has closed it too. What a newcomer would get wrong: the connection may break
//! while the one who asked still works, so it has to read on, and what it found counts only if the answer
//! had not ended.

use std::{io, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, header},
    response::Response,
    routing::post,
};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    app::{AppState, Hold},
    error::ApiError,
    extract::{Allowed, permission::ManagePlatform},
};

/// Where a process that runs the job takes requests to hold it.
pub const HOLD_PATH: &str = "/control/hold";
/// How often a hold says that it stands.
pub const HOLD_BEAT: Duration = Duration::from_secs(1);

const STANDS: Bytes = Bytes::from_static(b"held\n");

/// Routes for the product's own processes; no part of the public API.
pub(crate) fn router() -> Router<AppState> {
    Router::new().route(HOLD_PATH, post(hold))
}

async fn hold(
    State(app): State<AppState>,
    _caller: Allowed<ManagePlatform>,
) -> Result<Response, ApiError> {
    let held = app.ops.hold().await?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(beat(held, app, sender));
    let beats = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|beat| (beat, receiver))
    });
    let mut response = Response::new(Body::from_stream(beats));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    Ok(response)
}

/// Holds until nobody reads the answer any more, or its time is over.
async fn beat(held: Box<dyn Hold>, app: AppState, sender: mpsc::Sender<io::Result<Bytes>>) {
    let until = Instant::now() + app.config.long_timeout;
    loop {
        if sender.send(Ok(STANDS)).await.is_err() {
            return;
        }
        let over = tokio::select! {
            () = sender.closed() => return,
            () = app.draining.cancelled() => "the process is stopping",
            () = tokio::time::sleep_until(until) => "the time for it is over",
            () = tokio::time::sleep(HOLD_BEAT) => match held.is_lost() {
                true => "the job runs no more",
                false => continue,
            },
        };
        tracing::warn!("a hold from another process ends: {over}");
        // The job goes on from here, so whoever reads must not take it for held.
        drop(held);
        let _ = sender.send(Err(io::Error::other(over))).await;
        return;
    }
}
