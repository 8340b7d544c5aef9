//! Whether views stood still while they were read without a server.
//!
//! A data folder is one process's, so nobody writes into it meanwhile. What a newcomer would get wrong: a
//! store of its own may have a job at work; what was read then is of no one tick and says nothing.

use anyhow::{Context as _, anyhow};
use openinfra_api::Progress;
use openinfra_store::{Store, tables::views::GENERATION};

use crate::exit::{self, Failure};

/// How far the views were when reading began.
pub struct Still {
    pub progress: Progress,
}

impl Still {
    /// # Errors
    /// With [`exit::UNKNOWN`] where there are no views yet.
    pub async fn at(store: &dyn Store) -> Result<Self, Failure> {
        let progress = Progress::read(store, GENERATION)
            .await
            .context("reading how far the views are")
            .and_then(|progress| {
                progress
                    .ok_or_else(|| anyhow!("no job has made views of it yet; start a server on it"))
            })
            .and_then(|progress| {
                let waits = progress.hourly_as_of < progress.as_of;
                (!waits).then_some(progress).ok_or_else(|| {
                    anyhow!(
                        "rows of hourly_aggregate are older than the other views: a job is at work (ask its \
                         server, which holds it: --url), or was killed (start it, and let it stop by itself)"
                    )
                })
            })
            .map_err(|error| Failure::new(exit::UNKNOWN, error))?;
        Ok(Self { progress })
    }

    /// # Errors
    /// With [`exit::UNKNOWN`] where the views have moved.
    pub async fn check(&self, store: &dyn Store) -> Result<(), Failure> {
        let now = Self::at(store).await?;
        if now.progress.as_of == self.progress.as_of {
            return Ok(());
        }
        let error = anyhow!(
            "a job moved the views meanwhile, so nothing is known; ask its server, which holds it (--url), \
             or stop it first"
        );
        Err(Failure::new(exit::UNKNOWN, error))
    }
}
