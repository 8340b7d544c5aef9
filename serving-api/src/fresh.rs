//! How far the views are: read before any of their rows, told in every answer.
//!
//! Rows may be newer than the tick that is told, never older, because it is read first; that is why
//! [`Fresh`] is an argument of every handler that reads a view and not something it looks up.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, request::Parts},
    response::{IntoResponse, Response},
};
use openinfra_http::problem::{Problem, Slug};
use openinfra_log::{Appended, WriteToken};
use openinfra_schemas::{
    Topic,
    time::{Millis, format_ts},
};
use openinfra_store::{Freshness, KeyBuf, Row, RowKey, Store, get_row, tables::views::ProgressRow};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    app::{App, AppState},
    error::ApiError,
    extract::malformed,
};

/// The header that tells the tick of the view that answered.
pub const AS_OF: HeaderName = HeaderName::from_static("openinfra-as-of");
/// The header with the token of a write to wait for.
pub const AFTER: HeaderName = HeaderName::from_static("openinfra-after");

/// How much longer than other rows those of `hourly_aggregate` may take: as the job's
/// `hourly_interval_ms` is on servers, and a commit.
const HOURS_WAIT: Duration = Duration::from_secs(6);

const POLL: Duration = Duration::from_millis(10);

/// What the views have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The tick that all views are as of, but for `hourly_aggregate`.
    pub as_of: Millis,
    /// The tick that all rows of `hourly_aggregate` are at least as of.
    pub hourly_as_of: Millis,
    /// End (exclusive) of what is in the views, by topic and partition.
    ends: BTreeMap<String, Vec<i64>>,
    /// Rows of each view.
    pub rows: BTreeMap<String, i64>,
}

impl Progress {
    /// None before the first tick.
    pub async fn read(store: &dyn Store, generation: i32) -> Result<Option<Self>, ApiError> {
        let partition = KeyBuf::new().int(generation);
        let key = RowKey::new(ProgressRow::TABLE, &partition, &KeyBuf::new());
        let row = get_row::<ProgressRow>(store, &key, Freshness::Acknowledged).await?;
        row.map(Self::from_row).transpose()
    }

    fn from_row(row: ProgressRow) -> Result<Self, ApiError> {
        let unreadable = |source| ApiError::Stored {
            what: "the progress of the views",
            source,
        };
        Ok(Self {
            as_of: row.as_of,
            hourly_as_of: row.hourly_as_of.unwrap_or(row.as_of),
            ends: serde_json::from_str(&row.ends).map_err(unreadable)?,
            rows: serde_json::from_str(&row.rows).map_err(unreadable)?,
        })
    }

    /// End (exclusive) of what the views have of a partition.
    pub fn end(&self, topic: Topic, partition: i32) -> i64 {
        let ends = self.ends.get(topic.name());
        usize::try_from(partition)
            .ok()
            .and_then(|partition| ends?.get(partition).copied())
            .unwrap_or(0)
    }

    fn has(&self, token: &WriteToken) -> bool {
        token.is_covered_by(|topic, partition| self.end(topic, partition))
    }

    /// How far the views are in the partitions that a token names.
    fn reached(&self, wanted: &WriteToken) -> WriteToken {
        let places: Vec<_> = wanted
            .positions()
            .iter()
            .map(|(t, p, _)| (*t, *p))
            .collect();
        let offsets = places.iter().map(|(t, p)| self.end(*t, *p) - 1).collect();
        WriteToken::from_places(&places, &Appended { offsets })
    }
}

/// How far the views were when the handler began, having the write that the request asked for.
#[derive(Debug, Clone)]
pub struct Fresh {
    progress: Option<Progress>,
    /// Whether the request named a write.
    waited: bool,
}

impl Fresh {
    /// How far they are now.
    pub async fn now(app: &App) -> Result<Self, ApiError> {
        let progress = Progress::read(&*app.store, app.config.generation).await?;
        Ok(Self {
            progress,
            waited: false,
        })
    }

    /// None before the first tick.
    pub fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    /// The tick of the views; before the first there is nothing to answer from.
    pub fn as_of(&self) -> Result<Millis, ApiError> {
        match &self.progress {
            Some(progress) => Ok(progress.as_of),
            None => Err(Problem::new(Slug::Unavailable)
                .detail("the views have not reached their first tick")
                .with("part", "job")
                .retry_after(1)
                .into()),
        }
    }

    /// The same for answers from `hourly_aggregate`, whose rows may be written later than others. Has the
    /// write that the request asked for, too.
    pub async fn of_hours(self, app: &App) -> Result<Self, ApiError> {
        let Some(mut progress) = self.progress else {
            return Ok(self);
        };
        let wanted = if self.waited {
            progress.as_of
        } else {
            Millis::MIN
        };
        let deadline = Instant::now() + app.config.after_timeout + HOURS_WAIT;
        while progress.hourly_as_of < wanted {
            if Instant::now() >= deadline {
                return Err(hours_not_caught_up(wanted, progress.hourly_as_of).into());
            }
            sleep(POLL).await;
            let now = Progress::read(&*app.store, app.config.generation).await?;
            progress = now.unwrap_or(progress);
        }
        progress.as_of = progress.hourly_as_of;
        Ok(Self {
            progress: Some(progress),
            waited: self.waited,
        })
    }

    /// A 200 with the tick in its header.
    pub fn json(&self, body: impl Serialize) -> Response {
        self.stamp(Json(body).into_response())
    }

    /// Adds the tick to an answer's headers.
    pub fn stamp(&self, response: Response) -> Response {
        match &self.progress {
            Some(progress) => stamp(response, progress.as_of),
            None => response,
        }
    }
}

/// Adds a tick to an answer's headers.
pub fn stamp(mut response: Response, as_of: Millis) -> Response {
    let value = HeaderValue::try_from(format_ts(as_of)).expect("a time is visible ASCII");
    response.headers_mut().insert(AS_OF, value);
    response
}

impl FromRequestParts<AppState> for Fresh {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(AFTER) else {
            return Self::now(app).await;
        };
        let token = value.to_str().ok().and_then(|text| text.parse().ok());
        match token {
            Some(token) => wait_for(app, &token).await,
            None => Err(malformed("OpenInfra-After", "is no token that a write answered").into()),
        }
    }
}

async fn wait_for(app: &App, wanted: &WriteToken) -> Result<Fresh, ApiError> {
    let deadline = Instant::now() + app.config.after_timeout;
    loop {
        let progress = Progress::read(&*app.store, app.config.generation).await?;
        if progress.as_ref().is_some_and(|p| p.has(wanted)) {
            return Ok(Fresh {
                progress,
                waited: true,
            });
        }
        if Instant::now() >= deadline {
            return Err(not_caught_up(wanted, progress.as_ref()).into());
        }
        sleep(POLL).await;
    }
}

fn hours_not_caught_up(wanted: Millis, reached: Millis) -> Problem {
    Problem::new(Slug::NotCaughtUp)
        .detail("the hourly aggregates did not reach the write in time; it is not lost")
        .with("wanted", format_ts(wanted))
        .with("reached", format_ts(reached))
        .retry_after(1)
}

fn not_caught_up(wanted: &WriteToken, progress: Option<&Progress>) -> Problem {
    let reached = progress.map(|progress| progress.reached(wanted));
    Problem::new(Slug::NotCaughtUp)
        .detail("the views did not reach the write in time; it is not lost")
        .with("wanted", wanted.to_string())
        .with("reached", reached.unwrap_or_default().to_string())
        .retry_after(1)
}
