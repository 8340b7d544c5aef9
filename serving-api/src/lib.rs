//! The HTTP API: views read, entities written.
//!
//! Views are what the job put into the store; this package never links it. What a newcomer would get
//! wrong: an answer of a view is as of a tick, and says so; only an entity read by its id is as of now.

mod app;
mod calendar;
mod control;
mod cursor;
pub mod dump;
pub mod entities;
mod error;
mod etag;
mod extract;
mod fresh;
mod history;
mod idempotency;
mod layers;
mod limits;
mod lists;
mod merge;
mod metrics;
mod openapi;
mod router;
mod routes;
mod serve;
mod settings;
mod verification;
mod wire;

pub use openinfra_http::{ingest::MAX_BODY_BYTES as MAX_INGEST_BODY_BYTES, problem};

pub use app::{App, AppState, Config, Hold, JobControl, JobUnavailable, Needs, Parts, Schemas};
pub use control::{HOLD_BEAT, HOLD_LEASE, HOLD_NAME, HOLD_PATH};
pub use cursor::CursorKey;
pub use error::ApiError;
pub use extract::permission::NAMES as PERMISSIONS;
pub use fresh::Progress;
pub use limits::Limits;
pub use router::{Surface, document, router};
pub use routes::VerifyResponse;
pub use serve::serve;
pub use verification::{Difference, LedgerCheck, Verification, ViewCheck};
