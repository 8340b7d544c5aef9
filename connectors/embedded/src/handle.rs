//! What log, store and registry share: the database to read, and the way to the committer.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use crate::{
    committer::{Reply, Request, Thread},
    database::Database,
    ends::PublishedEnds,
    error::Failure,
};

/// Held by every user of an open folder; the last one to go closes it.
pub(crate) struct Handle {
    database: Arc<Database>,
    published: Arc<PublishedEnds>,
    /// None only while it is dropped.
    requests: Option<mpsc::Sender<Request>>,
    committer: Mutex<Option<Thread>>,
}

impl Handle {
    pub(crate) fn new(
        database: Arc<Database>,
        published: Arc<PublishedEnds>,
        requests: mpsc::Sender<Request>,
        committer: Thread,
    ) -> Self {
        Self {
            database,
            published,
            requests: Some(requests),
            committer: Mutex::new(Some(committer)),
        }
    }

    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    pub(crate) fn published(&self) -> &PublishedEnds {
        &self.published
    }

    /// Sends a request and waits for its answer. Dropping the future does not take the request back.
    pub(crate) async fn ask<T, E>(
        &self,
        request: impl FnOnce(Reply<T, E>) -> Request,
    ) -> Result<Result<T, E>, Failure> {
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(Failure::closed)?;
        requests
            .send(request(reply))
            .await
            .map_err(|_| Failure::closed())?;
        answer.await.map_err(|_| Failure::closed())
    }

    /// Commits what was asked for, syncs, and ends the committer. Reads go on.
    pub(crate) fn close(&self) -> Result<(), Failure> {
        let requests = self.requests.as_ref().ok_or_else(Failure::closed)?;
        while let Err(TrySendError::Full(_)) = requests.try_send(Request::Close) {
            thread::sleep(Duration::from_millis(1));
        }
        self.join()
    }

    fn join(&self) -> Result<(), Failure> {
        let thread = self
            .committer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match thread.map(Thread::join) {
            None => Ok(()),
            Some(Ok(finished)) => finished,
            Some(Err(_)) => Err(Failure::Unavailable("the committer panicked".into())),
        }
    }
}

impl Drop for Handle {
    /// Waits for the committer, so that the folder can be opened again as soon as this returns.
    fn drop(&mut self) {
        self.requests = None;
        if let Err(failure) = self.join() {
            tracing::error!(?failure, "the data folder was not closed cleanly");
        }
    }
}
