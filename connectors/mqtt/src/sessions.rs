//! Who is connected under which client id, so that a newer connection ends the older one.
//!
//! Client ids are taken over only within one principal: another key, or another tenant, that happens to
//! use the same id is another client.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use openinfra_intake::Principal;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: String,
    principal: String,
    client_id: String,
}

#[derive(Default)]
pub(crate) struct Sessions {
    next: AtomicU64,
    open: Mutex<HashMap<Key, (u64, CancellationToken)>>,
}

/// One client's claim on its id, given up when dropped.
pub(crate) struct Session {
    sessions: Arc<Sessions>,
    key: Key,
    number: u64,
    /// Cancelled when a newer connection takes the client id.
    pub taken_over: CancellationToken,
}

impl Sessions {
    /// Claims `client_id` for a new connection of `who`; an older one with the same id is told to end.
    pub fn open(self: &Arc<Self>, who: &Principal, client_id: &str) -> Session {
        let key = Key {
            tenant: who.tenant.to_string(),
            principal: who.name.clone(),
            client_id: client_id.to_owned(),
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let taken_over = CancellationToken::new();
        let older = self
            .lock()
            .insert(key.clone(), (number, taken_over.clone()));
        if let Some((_, older)) = older {
            older.cancel();
        }
        Session {
            sessions: Arc::clone(self),
            key,
            number,
            taken_over,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, (u64, CancellationToken)>> {
        self.open
            .lock()
            .expect("nothing panics while it holds the sessions")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut open = self.sessions.lock();
        // A newer connection may have the entry by now.
        if open
            .get(&self.key)
            .is_some_and(|(number, _)| *number == self.number)
        {
            open.remove(&self.key);
        }
    }
}
