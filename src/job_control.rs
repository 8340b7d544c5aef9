//! What the API may ask of the job in this process.
//!
//! What a newcomer would get wrong: this does not keep the job alive. Only whoever started it does, so
//! that a request that is still under way cannot keep it from being stopped.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use openinfra_api::{JobControl, JobUnavailable, Verification};
use openinfra_verify::Options;
use openinfra_views::{Held, JobHandle};

use crate::{folder::Parts, verification};

/// The job behind a handle that another owns, and what its views are made of.
pub struct OverHandle {
    job: Weak<JobHandle>,
    parts: Parts,
    options: Options,
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
    async fn hold(&self) -> Result<Box<dyn Send>, JobUnavailable> {
        Ok(Box::new(self.held().await?))
    }

    async fn verify(&self) -> Result<Verification, JobUnavailable> {
        let held = self.held().await?;
        let found = verification::run(self.parts.clone(), self.options.clone()).await;
        drop(held);
        found.map_err(|error| JobUnavailable(format!("{error:#}")))
    }
}
