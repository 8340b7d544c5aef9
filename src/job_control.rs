//! What the API may ask of the job: in this process, or in another.
//!
//! What a newcomer would get wrong: neither keeps the job alive. Only whoever started it does, so that a
//! request that is still under way cannot keep it from being stopped.

mod remote;

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use openinfra_api::{Hold, JobControl, JobUnavailable, Verification};
use openinfra_verify::Options;
use openinfra_views::{Held, JobHandle};

use crate::{deployment::Parts, verification};

pub use remote::OverHttp;

/// The job behind a handle that another owns, and what its views are made of.
pub struct OverHandle {
    job: Weak<JobHandle>,
    parts: Parts,
    options: Options,
}

/// A hold on a job of this process, which cannot be lost but with the job.
struct Here {
    _held: Held,
    job: Weak<JobHandle>,
}

impl Hold for Here {
    fn is_lost(&self) -> bool {
        self.job.strong_count() == 0
    }
}

impl OverHandle {
    pub fn new(job: &Arc<JobHandle>, parts: Parts, options: Options) -> Self {
        Self {
            job: Arc::downgrade(job),
            parts,
            options,
        }
    }

    async fn held(&self) -> Result<Held, JobUnavailable> {
        let job = self.job.upgrade();
        let job = job.ok_or_else(|| JobUnavailable("it is being stopped".to_owned()))?;
        job.hold()
            .await
            .map_err(|error| JobUnavailable(error.to_string()))
    }
}

#[async_trait]
impl JobControl for OverHandle {
    async fn hold(&self) -> Result<Box<dyn Hold>, JobUnavailable> {
        Ok(Box::new(Here {
            _held: self.held().await?,
            job: self.job.clone(),
        }))
    }

    async fn verify(&self) -> Result<Verification, JobUnavailable> {
        let held = self.held().await?;
        let found = verification::run(self.parts.clone(), self.options.clone()).await;
        drop(held);
        found.map_err(|error| JobUnavailable(format!("{error:#}")))
    }
}

/// No job that this process knows of.
pub struct Nowhere;

#[async_trait]
impl JobControl for Nowhere {
    async fn hold(&self) -> Result<Box<dyn Hold>, JobUnavailable> {
        Err(unknown())
    }

    async fn verify(&self) -> Result<Verification, JobUnavailable> {
        Err(unknown())
    }
}

fn unknown() -> JobUnavailable {
    JobUnavailable("this process was not told where it runs (--views)".to_owned())
}
