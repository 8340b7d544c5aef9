//! Which write a write is, so that it can be told when it is tried once more.

use uuid::Uuid;

/// The identity of a write: the change id that its version will carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    id: String,
    repeated: bool,
}

impl Change {
    /// A write that nobody tried before.
    pub fn new() -> Self {
        Self::first(Uuid::now_v7().to_string())
    }

    /// A write that nobody tried before, of an id that was made for it.
    pub fn first(id: String) -> Self {
        Self {
            id,
            repeated: false,
        }
    }

    /// A write that was tried under this id and whose outcome is not known: it may stand already.
    pub fn repeated(id: String) -> Self {
        Self { id, repeated: true }
    }

    /// The same write, tried once more.
    #[must_use]
    pub fn again(self) -> Self {
        Self::repeated(self.id)
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether an earlier try may have succeeded.
    pub(super) fn may_stand(&self) -> bool {
        self.repeated
    }
}

impl Default for Change {
    fn default() -> Self {
        Self::new()
    }
}
