//! How many bytes of records one worker may have at work: read ahead, fed, or rendered and not yet written.
//!
//! A newcomer would count records. One reading has a hundred bytes, one refused delivery ten million, and a
//! tick may cover thousands of those.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all workers together may have at work, in bytes.
const AT_WORK: usize = 64 << 20;

/// However many workers there are, each must have room for some of the largest records.
const LEAST: usize = 26 << 20;

/// Bytes that are at work until this is dropped.
#[derive(Debug)]
pub(crate) struct AtWork(Option<OwnedSemaphorePermit>);

/// The room of one worker. What is taken out of it comes back when its [`AtWork`] is dropped.
#[derive(Debug)]
pub(crate) struct Purse {
    room: Arc<Semaphore>,
    most: usize,
    /// Taken, and handed to nobody.
    own: AtWork,
}

impl Purse {
    pub(crate) fn new(workers: usize) -> Self {
        Self::of((AT_WORK / workers).max(LEAST))
    }

    fn of(most: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(most)),
            most,
            own: AtWork(None),
        }
    }

    /// Takes so many bytes, or everything there ever is if that is less. False when they are not there now.
    pub(crate) fn try_take(&mut self, bytes: usize) -> bool {
        let taken = Arc::clone(&self.room).try_acquire_many_owned(self.permits(bytes));
        taken.map(|permit| self.own.add(permit)).is_ok()
    }

    /// As [`try_take`](Self::try_take), waiting until others give back.
    pub(crate) async fn take(&mut self, bytes: usize) {
        let taken = Arc::clone(&self.room).acquire_many_owned(self.permits(bytes));
        self.own
            .add(taken.await.expect("the semaphore is never closed"));
    }

    /// Whether so many bytes are there once all that was handed out has come back.
    pub(crate) fn comes_back(&self, bytes: usize) -> bool {
        let own = self.own.0.as_ref().map_or(0, |own| own.num_permits());
        self.most - own >= bytes
    }

    pub(crate) fn give_back(&mut self, bytes: usize) {
        drop(self.hand_out(bytes));
    }

    /// Gives so many of the bytes that were taken to somebody else; all of them, if they are fewer.
    pub(crate) fn hand_out(&mut self, bytes: usize) -> AtWork {
        let Some(own) = &mut self.own.0 else {
            return AtWork(None);
        };
        let bytes = bytes.min(own.num_permits());
        AtWork(own.split(bytes))
    }

    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.most)).unwrap_or(u32::MAX)
    }
}

impl AtWork {
    fn add(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.0 {
            Some(own) => own.merge(permit),
            none => *none = Some(permit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_out_is_missing_until_it_is_dropped() {
        let mut purse = Purse::of(100);
        assert!(purse.try_take(70));
        let out = purse.hand_out(60);
        purse.give_back(10);
        assert!(!purse.try_take(50));
        assert!(purse.comes_back(100) && !purse.comes_back(101));
        assert!(purse.try_take(40));
        purse.give_back(40);
        drop(out);
        assert!(purse.try_take(100));
        // More was handed out than taken: a record was larger than expected.
        let out = purse.hand_out(1_000);
        assert!(!purse.try_take(1));
        drop(out);
        // More than there is: all of it.
        purse.take(1_000).await;
        assert!(!purse.try_take(1));
    }
}
