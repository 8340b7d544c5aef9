//! The data folder of whatever is embedded: opened, told from one that is none, closed.

use std::path::Path;

use anyhow::Context as _;
use openinfra_embedded::{Embedded, OpenError, Options};

use crate::{
    config::Config,
    exit::{self, Failure},
};

/// Opens a data folder, or makes it where there is none.
pub(super) async fn open(dir: &Path) -> Result<Embedded, Failure> {
    let owned = dir.to_owned();
    // Opening reads journals, and blocks meanwhile.
    let opened = tokio::task::spawn_blocking(move || Embedded::open(&owned, Options::default()))
        .await
        .context("opening the data folder")?;
    opened.map_err(refused)
}

/// Errs where the configuration's folder would have to be made.
pub(super) fn expect(config: &Config) -> Result<(), Failure> {
    if config.data.join("format.json").is_file() {
        return Ok(());
    }
    let error = anyhow::anyhow!(
        "{} is no data folder: it holds no format.json",
        config.data.display()
    );
    Err(Failure::new(exit::UNKNOWN, error))
}

/// Commits and syncs what was asked for before, if a folder is open.
pub(super) async fn close(embedded: Option<Embedded>) -> Result<(), anyhow::Error> {
    let Some(embedded) = embedded else {
        return Ok(());
    };
    let closed = tokio::task::spawn_blocking(move || embedded.close()).await?;
    closed.context("closing the data folder")
}

fn refused(error: OpenError) -> Failure {
    let locked = matches!(error, OpenError::Locked(_));
    let error = anyhow::Error::new(error);
    let error = if locked {
        error.context(
            "a server has the folder open; talk to it (views: --url http://HOST:PORT, replay: --to \
             http://HOST:PORT), or stop it first",
        )
    } else {
        error
    };
    Failure::new(exit::UNKNOWN, error)
}
