//! Why a write of an entity failed, a variant for each thing that its caller can do differently.
//!
//! What a newcomer would get wrong: "unavailable" and "unresolved" are two things. After the first nothing
//! was taken; after the second the write may stand, or take effect later, wholly and never in part.

use openinfra_log::LogError;
use openinfra_schemas::{AfterImage, EntityKind};
use openinfra_store::StoreError;

use super::Stored;

/// One rule that a field of a body breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer into the body.
    pub pointer: String,
    /// A stable word: `type`, `required`, `unknown_field`, `read_only`, `immutable`, `duplicate_field`,
    /// `control_character`, `length`, `out_of_range`, `order`, `format`; of a geometry also `swapped` and
    /// `projected`.
    pub code: &'static str,
    /// What is wrong, and what would be right.
    pub detail: String,
    /// Whether it is the geometry's coordinates that are wrong, which has a kind of problem of its own.
    pub geometry: bool,
}

impl Violation {
    pub(super) fn new(
        pointer: impl Into<String>,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            pointer: pointer.into(),
            code,
            detail: detail.into(),
            geometry: false,
        }
    }

    pub(super) fn geometry(
        pointer: impl Into<String>,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            geometry: true,
            ..Self::new(pointer, code, detail)
        }
    }
}

/// Which part did not do its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Store,
    Log,
}

impl Part {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Log => "log",
        }
    }
}

/// Why a write did not succeed, or a read found no answer.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The id is taken: 409.
    #[error("the {} exists already, at version {}", kind.as_str(), existing.version)]
    Conflict {
        kind: EntityKind,
        existing: Box<Stored<AfterImage>>,
    },
    /// The entity is at another version than the caller has seen: 412.
    #[error("the {} is at version {}, not {expected}", kind.as_str(), current.version)]
    Stale {
        kind: EntityKind,
        expected: i64,
        current: Box<Stored<AfterImage>>,
    },
    /// No such entity, or it is deleted: 404.
    #[error("the {} does not exist", kind.as_str())]
    NotFound { kind: EntityKind },
    /// Fields break their rules: 422.
    #[error("{} fields break their rules", .0.len())]
    Validation(Vec<Violation>),
    /// Nothing is wrong but coordinates: 422 `geometry-invalid`, its reason being the code.
    #[error("the geometry at {} is not valid: {}", .0.pointer, .0.detail)]
    Geometry(Violation),
    /// Nothing was taken, and nothing will take effect: 503.
    #[error("the {} did not do its part of the write; nothing was taken", part.as_str())]
    Unavailable {
        part: Part,
        /// Its storage is full; otherwise trying later may help.
        storage_full: bool,
        /// None: others wrote the same entity each time that this was tried, or took it back.
        #[source]
        cause: Option<Cause>,
    },
    /// It is not known whether the write stands: 408. It is wholly out, or wholly takes effect by itself;
    /// the same change tried again finds out, and so does whoever reads.
    #[error(
        "the {} did not confirm the write in time; it may still take effect",
        part.as_str()
    )]
    Unresolved {
        part: Part,
        #[source]
        cause: Option<Cause>,
    },
    /// What is stored cannot be read: 500. Logged in full; an operator has to look.
    #[error("what is stored of the {kind} {id:?} cannot be read: {reason}")]
    Unreadable {
        kind: String,
        id: String,
        reason: String,
    },
}

/// What the store or the log said.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl WriteError {
    /// Of what a body breaks; the geometry's own kind when nothing else is wrong.
    pub(super) fn invalid(mut violations: Vec<Violation>) -> Self {
        match violations.as_slice() {
            [only] if only.geometry => Self::Geometry(violations.remove(0)),
            _ => Self::Validation(violations),
        }
    }

    /// The same trouble, met where something may have been taken.
    #[must_use]
    pub fn unresolved(self) -> Self {
        match self {
            Self::Unavailable { part, cause, .. } => Self::Unresolved { part, cause },
            other => other,
        }
    }

    /// Whether it failed because a disk is full.
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::Unavailable { storage_full, .. } => *storage_full,
            Self::Unresolved { cause, .. } => matches!(
                cause,
                Some(Cause::Store(StoreError::StorageFull) | Cause::Log(LogError::StorageFull))
            ),
            _ => false,
        }
    }

    /// What whoever expects that nothing is there is told of what is.
    #[must_use]
    pub fn taken_is_stale(self) -> Self {
        match self {
            Self::Conflict { kind, existing } => Self::Stale {
                kind,
                expected: 0,
                current: existing,
            },
            other => other,
        }
    }

    /// Others won every time, or another try of the same change took it back.
    pub(super) fn contended() -> Self {
        Self::Unavailable {
            part: Part::Store,
            storage_full: false,
            cause: None,
        }
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable {
            part: Part::Store,
            storage_full: matches!(error, StoreError::StorageFull),
            cause: Some(error.into()),
        }
    }
}

impl From<LogError> for WriteError {
    fn from(error: LogError) -> Self {
        Self::Unavailable {
            part: Part::Log,
            storage_full: matches!(error, LogError::StorageFull),
            cause: Some(error.into()),
        }
    }
}
