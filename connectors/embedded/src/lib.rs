//! Log, store and schema registry on one fjall database in one folder.
//!
//! One committer thread writes; reads go to the database directly. What a newcomer would get wrong: fjall
//! syncs nothing by itself and forgets the rest of a damaged journal in silence. The first is the
//! committer's to do (`committer.rs`); against the second a file beside the database says what must be there
//! (`side_file.rs`), and the journals and tables are looked at before fjall opens them (`journal.rs`,
//! `archive.rs`).

mod archive;
mod chunk;
mod committer;
mod condition;
mod database;
mod ends;
mod error;
mod folder;
mod group;
mod handle;
mod journal;
mod log;
mod meta;
mod options;
mod recover;
mod registry;
mod schemas;
mod side_file;
mod store;

use std::{path::Path, sync::Arc};

use openinfra_log::{Log, LogError};
use openinfra_schemas::registry::RegistryCatalog;
use openinfra_store::Store;

pub use error::OpenError;
pub use options::Options;

use crate::{database::Database, ends::PublishedEnds, handle::Handle};

/// An open data folder.
///
/// The folder stays locked until this and all that came from it is dropped.
pub struct Embedded {
    handle: Arc<Handle>,
}

impl Embedded {
    /// Opens a data folder, or makes it where there is none. Blocks while journals are read.
    ///
    /// Errs with [`OpenError::Damaged`] when less is there than was acknowledged.
    pub fn open(folder: &Path, options: Options) -> Result<Self, OpenError> {
        let lock = folder::lock(folder)?;
        folder::check_format(folder, options.partitions)?;
        let found = recover::inspect(folder, options.partitions)?;
        let database = Arc::new(Database::open(folder, &options, lock)?);
        let (standing, side) = recover::recover(folder, &database, options.partitions, found)?;
        let published = Arc::new(PublishedEnds::new(&standing.ends));
        let (requests, thread) = committer::start(
            database.clone(),
            published.clone(),
            standing,
            side,
            &options,
        )
        .map_err(folder::io_error(folder))?;
        Ok(Self {
            handle: Arc::new(Handle::new(database, published, requests, thread)),
        })
    }

    /// The log of this folder.
    pub fn log(&self) -> Arc<dyn Log> {
        Arc::new(log::EmbeddedLog {
            handle: self.handle.clone(),
        })
    }

    /// The store of this folder. The rows of one tick must be written as one batch.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(store::EmbeddedStore {
            handle: self.handle.clone(),
        })
    }

    /// The schema registry of this folder.
    pub fn registry(&self) -> Arc<dyn RegistryCatalog> {
        Arc::new(registry::EmbeddedRegistry {
            handle: self.handle.clone(),
        })
    }

    /// Commits and syncs what was asked for before; what is asked for later is refused. Dropping the last
    /// user of a folder does the same, without telling whether it went well. Blocks while it does so.
    pub fn close(self) -> Result<(), LogError> {
        Ok(self.handle.close()?)
    }
}
