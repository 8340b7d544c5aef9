//! The job in another process, held over a connection.
//!
//! The connection is the hold: its far end lets the ticks go on when it closes. What a newcomer would get
//! wrong: this process may be stopped for a minute, or cut off, and then go on as if nothing had been. So
//! every beat of the far end is answered by a proof that we live, and the hold counts as lost when the
//! last proof that was taken is too old, by our own clock, whether or not anybody told us.

use std::time::Duration;

use async_trait::async_trait;
use openinfra_api::{
    HOLD_BEAT, HOLD_LEASE, HOLD_NAME, HOLD_PATH, Hold, JobControl, JobUnavailable, Verification,
};
use openinfra_verify::Options;
use reqwest::{Method, Response};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{client::Client, deployment::Parts, verification};

/// How long a hold may take: the job finishes its ticks in flight first.
const LONGEST: Duration = Duration::from_secs(3_600);
/// How long the first beat may take to come.
const FIRST: Duration = Duration::from_secs(60);
/// A hold whose beats stay out so long is lost.
const SILENT: Duration = HOLD_LEASE;
/// How long a proof is good for: a little less than at the far end, whose clock may be faster.
const PROVED: Duration = HOLD_LEASE.saturating_sub(HOLD_BEAT);

/// The job of the process behind a client, and what its views are made of.
pub struct OverHttp {
    pub client: Client,
    pub parts: Parts,
    pub options: Options,
}

/// A hold on a job of another process.
struct Away {
    /// Until when it stands for sure. Its sender is gone once nobody proves any more that we live.
    stands_until: watch::Receiver<Instant>,
    _proving: AbortOnDropHandle<()>,
}

impl Away {
    /// Returns as soon as it is lost.
    async fn lost(&self) {
        let mut stands_until = self.stands_until.clone();
        while !self.is_lost() {
            let until = *stands_until.borrow_and_update();
            // Each proof moves it on.
            let _ = timeout_at(until, stands_until.changed()).await;
        }
    }
}

impl Hold for Away {
    fn is_lost(&self) -> bool {
        let unproved = self.stands_until.has_changed().is_err();
        unproved || Instant::now() >= *self.stands_until.borrow()
    }
}

/// What proves to the far end that we live.
struct Prover {
    client: Client,
    path: String,
}

impl Prover {
    /// Until when the hold stands for sure.
    async fn prove(&self) -> Result<Instant, JobUnavailable> {
        // From before it is sent: the far end counts from when it comes.
        let until = Instant::now() + PROVED;
        let request = self.client.request(Method::POST, &self.path);
        let proof = self
            .client
            .expect("proving to hold the job", request.timeout(PROVED));
        proof.await.map_err(unavailable)?;
        Ok(until)
    }

    /// Answers each beat by a proof, until they stay out.
    async fn answer(self, mut beats: Response, stands_until: watch::Sender<Instant>) {
        while beat(&mut beats, SILENT).await {
            match self.prove().await {
                Ok(until) => {
                    stands_until.send_replace(until);
                }
                Err(error) => tracing::warn!(%error, "a hold on the job is about to be lost"),
            }
        }
    }
}

impl OverHttp {
    async fn held(&self) -> Result<Away, JobUnavailable> {
        let request = self
            .client
            .request(Method::POST, HOLD_PATH)
            .timeout(LONGEST);
        let asked = self.client.expect("holding the job", request);
        let answer = tokio::time::timeout(FIRST, asked).await;
        let mut beats = answer.map_err(unavailable)?.map_err(unavailable)?;
        let name = beats.headers().get(HOLD_NAME);
        let name = name.and_then(|name| name.to_str().ok());
        let prover = Prover {
            client: self.client.clone(),
            path: format!("{HOLD_PATH}/{}", name.unwrap_or_default()),
        };
        if !beat(&mut beats, FIRST).await {
            return Err(JobUnavailable(
                "it did not confirm that it holds".to_owned(),
            ));
        }
        let (proved, stands_until) = watch::channel(prover.prove().await?);
        let proving = tokio::spawn(prover.answer(beats, proved));
        Ok(Away {
            stands_until,
            _proving: AbortOnDropHandle::new(proving),
        })
    }
}

/// Whether the next beat came in time.
async fn beat(answer: &mut Response, within: Duration) -> bool {
    matches!(
        tokio::time::timeout(within, answer.chunk()).await,
        Ok(Ok(Some(_)))
    )
}

fn unavailable(error: impl std::fmt::Display) -> JobUnavailable {
    JobUnavailable(error.to_string())
}

#[async_trait]
impl JobControl for OverHttp {
    async fn hold(&self) -> Result<Box<dyn Hold>, JobUnavailable> {
        Ok(Box::new(self.held().await?))
    }

    async fn verify(&self) -> Result<Verification, JobUnavailable> {
        let held = self.held().await?;
        let found = tokio::select! {
            // What was found without a hold says nothing, and takes as long as what was found with one.
            () = held.lost() => None,
            found = verification::run(self.parts.clone(), self.options.clone()) => Some(found),
        };
        let found = found.filter(|_| !held.is_lost());
        let lost = || JobUnavailable("the hold was lost while views were compared".to_owned());
        found.ok_or_else(lost)?.map_err(unavailable_chain)
    }
}

fn unavailable_chain(error: anyhow::Error) -> JobUnavailable {
    JobUnavailable(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_for(time: Duration) -> (watch::Sender<Instant>, Away) {
        let (proved, stands_until) = watch::channel(Instant::now() + time);
        let away = Away {
            stands_until,
            _proving: AbortOnDropHandle::new(tokio::spawn(async {})),
        };
        (proved, away)
    }

    #[tokio::test]
    async fn a_hold_is_lost_when_proofs_stay_out() {
        let (proved, away) = held_for(Duration::from_secs(3_600));
        let lost = away.lost();
        tokio::pin!(lost);
        assert!(futures::poll!(&mut lost).is_pending());
        // As if the last proof had been long ago.
        let until = Instant::now() + Duration::from_millis(50);
        proved.send_replace(until);
        lost.await;
        assert!(Instant::now() >= until);
        assert!(away.is_lost());
    }

    #[tokio::test]
    async fn a_hold_is_lost_at_once_when_nobody_proves_it() {
        let (proved, away) = held_for(Duration::from_secs(3_600));
        assert!(!away.is_lost());
        drop(proved);
        away.lost().await;
    }
}
