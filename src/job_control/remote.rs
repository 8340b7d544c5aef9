//! The job in another process, held over a connection.
//!
//! The connection is the hold: its far end lets the ticks go on when it closes. What a newcomer would get
//! wrong: it may break unnoticed while nothing is read from it, so a task reads on, and beats that stay
//! out count as a break.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use openinfra_api::{HOLD_BEAT, HOLD_PATH, Hold, JobControl, JobUnavailable, Verification};
use openinfra_verify::Options;
use reqwest::{Method, Response};
use tokio_util::task::AbortOnDropHandle;

use crate::{client::Client, deployment::Parts, verification};

/// How long a hold may take: the job finishes its ticks in flight first.
const LONGEST: Duration = Duration::from_secs(3_600);
/// How long the first beat may take to come.
const FIRST: Duration = Duration::from_secs(60);
/// A hold whose beats stay out so long is lost.
const SILENT: Duration = HOLD_BEAT.saturating_mul(5);

/// The job of the process behind a client, and what its views are made of.
pub struct OverHttp {
    pub client: Client,
    pub parts: Parts,
    pub options: Options,
}

/// A hold on a job of another process.
struct Away {
    lost: Arc<AtomicBool>,
    _reading: AbortOnDropHandle<()>,
}

impl Hold for Away {
    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }
}

impl OverHttp {
    async fn held(&self) -> Result<Away, JobUnavailable> {
        let unavailable = |error: &dyn std::fmt::Display| JobUnavailable(error.to_string());
        let request = self
            .client
            .request(Method::POST, HOLD_PATH)
            .timeout(LONGEST);
        let asked = self.client.expect("holding the job", request);
        let mut answer = tokio::time::timeout(FIRST, asked)
            .await
            .map_err(|late| unavailable(&late))?
            .map_err(|error| unavailable(&error))?;
        if !beats(&mut answer, FIRST).await {
            return Err(JobUnavailable(
                "it did not confirm that it holds".to_owned(),
            ));
        }
        let lost = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&lost);
        let reading = tokio::spawn(async move {
            while beats(&mut answer, SILENT).await {}
            told.store(true, Ordering::SeqCst);
        });
        Ok(Away {
            lost,
            _reading: AbortOnDropHandle::new(reading),
        })
    }
}

/// Whether the next beat came in time.
async fn beats(answer: &mut Response, within: Duration) -> bool {
    matches!(
        tokio::time::timeout(within, answer.chunk()).await,
        Ok(Ok(Some(_)))
    )
}

#[async_trait]
impl JobControl for OverHttp {
    async fn hold(&self) -> Result<Box<dyn Hold>, JobUnavailable> {
        Ok(Box::new(self.held().await?))
    }

    async fn verify(&self) -> Result<Verification, JobUnavailable> {
        let held = self.held().await?;
        let found = verification::run(self.parts.clone(), self.options.clone()).await;
        if held.is_lost() {
            return Err(JobUnavailable(
                "the hold was lost while views were compared".to_owned(),
            ));
        }
        found.map_err(|error| JobUnavailable(format!("{error:#}")))
    }
}
