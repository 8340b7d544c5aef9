//! What another process of the product asks of the one that runs the job: to hold its ticks.
//!
//! A hold lives as long as the answer to the request for it: the first line tells that no tick is being
//! written, and a line follows every second. Whoever asked closes the connection to let the job go on;
//! a process that is killed has closed it too. What a newcomer would get wrong: a process that is stopped,
//! or that the network cut off, closes nothing. So whoever holds proves every second that it lives, by a
//! request of its own; one that is silent for [`HOLD_LEASE`] holds no more, and what it found then does not
//! count.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
    routing::post,
};
use openinfra_http::problem::{Problem, Slug};
use tokio::{sync::mpsc, time::Instant};
use uuid::Uuid;

use crate::{
    app::{AppState, Hold},
    error::ApiError,
    extract::{Allowed, permission::ManagePlatform},
};

/// Where a process that runs the job takes requests to hold it.
pub const HOLD_PATH: &str = "/control/hold";
/// How often a hold says that it stands.
pub const HOLD_BEAT: Duration = Duration::from_secs(1);
/// How long a hold stands after the last proof that whoever holds lives.
pub const HOLD_LEASE: Duration = Duration::from_secs(5);
/// The header of the answer with the hold's name: a POST to [`HOLD_PATH`]`/NAME` proves that its holder
/// lives, and is answered 204 while it stands.
pub const HOLD_NAME: HeaderName = HeaderName::from_static("openinfra-hold");

const STANDS: Bytes = Bytes::from_static(b"held\n");

/// Routes for the product's own processes; no part of the public API.
pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route(HOLD_PATH, post(hold))
        .route(&format!("{HOLD_PATH}/{{name}}"), post(prove))
}

/// When the holder of each hold, by its name, was last known to live.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holds(Arc<Mutex<HashMap<String, Instant>>>);

/// A hold's name; nobody finds it once this is dropped.
#[derive(Debug)]
struct Named {
    holds: Holds,
    name: String,
}

impl Holds {
    fn begin(&self) -> Named {
        let name = Uuid::new_v4().to_string();
        self.lock().insert(name.clone(), Instant::now());
        Named {
            holds: self.clone(),
            name,
        }
    }

    /// Whether it stands, from now on for a whole lease.
    fn prove(&self, name: &str) -> bool {
        match self.lock().get_mut(name) {
            Some(proved) => {
                *proved = Instant::now();
                true
            }
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        // No holder leaves the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Named {
    /// Ends it, unless its holder is known to live.
    fn ends_silent(&self) -> bool {
        let mut holds = self.holds.lock();
        let silent = holds
            .get(&self.name)
            .is_none_or(|proved| proved.elapsed() > HOLD_LEASE);
        if silent {
            // In one step with the look, so that no proof is answered that comes too late.
            holds.remove(&self.name);
        }
        silent
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.holds.lock().remove(&self.name);
    }
}

async fn prove(
    State(app): State<AppState>,
    _caller: Allowed<ManagePlatform>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    match app.holds.prove(&name) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(Slug::NotFound)
            .detail("the hold does not stand")
            .into()),
    }
}

async fn hold(
    State(app): State<AppState>,
    _caller: Allowed<ManagePlatform>,
) -> Result<Response, ApiError> {
    let held = app.ops.hold().await?;
    let named = app.holds.begin();
    let name = HeaderValue::try_from(&named.name).expect("a UUID is visible ASCII");
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(beat(held, named, app, sender));
    let beats = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|beat| (beat, receiver))
    });
    let mut response = Response::new(Body::from_stream(beats));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response.headers_mut().insert(HOLD_NAME, name);
    Ok(response)
}

/// Holds until nobody reads the answer any more, whoever holds is silent, or its time is over.
async fn beat(
    held: Box<dyn Hold>,
    named: Named,
    app: AppState,
    sender: mpsc::Sender<io::Result<Bytes>>,
) {
    let until = Instant::now() + app.config.long_timeout;
    loop {
        // A beat that does not go out is left out: its reader is silent, or will be.
        if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(Ok(STANDS)) {
            return;
        }
        let over = tokio::select! {
            () = sender.closed() => return,
            () = app.draining.cancelled() => "the process is stopping",
            () = tokio::time::sleep_until(until) => "the time for it is over",
            () = tokio::time::sleep(HOLD_BEAT) => match (held.is_lost(), named.ends_silent()) {
                (true, _) => "the job runs no more",
                (_, true) => "whoever asked for it is silent",
                (false, false) => continue,
            },
        };
        tracing::warn!("a hold from another process ends: {over}");
        // Its proofs are refused before the job goes on, so that whoever holds cannot take it for held.
        drop(named);
        drop(held);
        let told = sender.send(Err(io::Error::other(over)));
        let _ = tokio::time::timeout(HOLD_LEASE, told).await;
        return;
    }
}
