//! Why the folder does not open, and why a write failed, before either is told in a trait's words.

use std::path::PathBuf;

use openinfra_log::LogError;
use openinfra_store::StoreError;

/// Why a data folder was not opened. Nothing in the folder was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it open.
    #[error("the data folder {0} is in use by another process")]
    Locked(PathBuf),
    /// What lies in it is less than, or other than, what was acknowledged.
    #[error(
        "the data folder {folder} is damaged: {what}; restore it from a backup, or set it aside and begin a new one from what devices and captures still hold"
    )]
    Damaged { folder: PathBuf, what: String },
    /// It was written by another version or with other settings.
    #[error("the data folder {folder} cannot be used: {what}")]
    Format { folder: PathBuf, what: String },
    #[error("the data folder {folder} cannot be read or written")]
    Io {
        folder: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Why a request of the committer, or a read, did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    StorageFull,
    Unavailable(String),
    Damaged(String),
}

impl Failure {
    /// The committer is gone: the folder is being closed.
    pub(crate) fn closed() -> Self {
        Self::Unavailable("the data folder is closed".into())
    }
}

impl From<fjall::Error> for Failure {
    fn from(error: fjall::Error) -> Self {
        use fjall::Error as E;
        match error {
            E::Io(io) => io.into(),
            E::Storage(fjall::LsmError::Io(io)) => io.into(),
            E::Poisoned => Self::Unavailable(
                "an earlier write failed; free or repair the disk, then restart".into(),
            ),
            E::Storage(_) | E::Decompress(_) | E::InvalidTag(_) | E::InvalidTrailer => {
                Self::Damaged(error.to_string())
            }
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::StorageFull
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<Failure> for LogError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::StorageFull => Self::StorageFull,
            Failure::Unavailable(why) => Self::Unavailable(why),
            Failure::Damaged(what) => Self::Damaged(what),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::StorageFull => Self::StorageFull,
            Failure::Unavailable(why) => Self::Unavailable(why),
            Failure::Damaged(what) => Self::Damaged(what),
        }
    }
}
