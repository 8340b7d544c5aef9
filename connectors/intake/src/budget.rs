//! Bytes in flight: one bound for all that the connectors of a process hold at once.
//!
//! Room is taken before bytes are read and given back when the log confirmed the records made of them.
//! What a newcomer would get wrong: many who each hold some and wait for more would wait for ever. So a
//! part of the budget is set aside as the *lane*: it belongs to one holder at a time, is as large as the
//! greatest delivery, and who has it waits for nothing. Every waiter stands in line for it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What the greatest delivery may take: 10 MiB as they came, and twice 10 MiB that they inflate to, once
/// as bytes and once as records. No room counts for more.
pub const LARGEST_BYTES: usize = 32 << 20;

const OPEN: &str = "a budget's semaphores are never closed";

/// The bytes that may be in flight. Shared by all connectors.
#[derive(Debug)]
pub struct Budget {
    largest: usize,
    pool_bytes: usize,
    pool: Arc<Semaphore>,
    lane: Arc<Semaphore>,
    in_use: AtomicUsize,
    most_used: AtomicUsize,
}

/// A part of a budget; dropping it gives it back.
#[derive(Debug)]
pub struct Room {
    budget: Arc<Budget>,
    bytes: usize,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// As many permits as bytes; none for no bytes.
    Pool(Option<OwnedSemaphorePermit>),
    Lane {
        _permit: OwnedSemaphorePermit,
    },
}

impl Budget {
    /// A budget of `total` bytes, at least [`LARGEST_BYTES`].
    pub fn new(total: usize) -> Arc<Self> {
        Self::with_largest(total, LARGEST_BYTES)
    }

    /// A budget whose greatest delivery takes `largest` bytes; `total` is at least that.
    pub fn with_largest(total: usize, largest: usize) -> Arc<Self> {
        let largest = largest.min(u32::MAX as usize);
        let pool_bytes = total
            .saturating_sub(largest)
            .min(u32::MAX as usize)
            .min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            largest,
            pool_bytes,
            pool: Arc::new(Semaphore::new(pool_bytes)),
            lane: Arc::new(Semaphore::new(1)),
            in_use: AtomicUsize::new(0),
            most_used: AtomicUsize::new(0),
        })
    }

    /// Room for nothing yet; see [`Room::resize`].
    pub fn room(self: &Arc<Self>) -> Room {
        Room {
            budget: Arc::clone(self),
            bytes: 0,
            place: Place::Pool(None),
        }
    }

    /// Bytes that are taken now.
    pub fn in_use(&self) -> usize {
        self.in_use.load(Relaxed)
    }

    /// The most that were taken at once.
    pub fn most_used(&self) -> usize {
        self.most_used.load(Relaxed)
    }

    /// The greatest room there is, in bytes.
    pub fn largest(&self) -> usize {
        self.largest
    }

    fn take_pooled(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.pool).try_acquire_many_owned(bytes).ok()
    }

    fn counted(&self, before: usize, after: usize) {
        if after >= before {
            let now = self.in_use.fetch_add(after - before, Relaxed) + (after - before);
            self.most_used.fetch_max(now, Relaxed);
        } else {
            self.in_use.fetch_sub(before - after, Relaxed);
        }
    }
}

impl Room {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it has the lane: others wait until it is done.
    pub fn has_lane(&self) -> bool {
        matches!(self.place, Place::Lane { .. })
    }

    /// Makes it `bytes` large, at most the largest there is; waits while there is no room for more.
    /// Cancel-safe: what it has, it keeps.
    ///
    /// Whoever waits here will be served as long as those who have room give it back at some time without
    /// waiting for more outside of this.
    pub async fn resize(&mut self, bytes: usize) {
        let bytes = bytes.min(self.budget.largest);
        if self.try_resize(bytes) {
            return;
        }
        let more = bytes - self.bytes;
        let budget = Arc::clone(&self.budget);
        let lane = Arc::clone(&budget.lane).acquire_owned();
        // What the pool can never hold would only keep smaller ones from it.
        let pool = async {
            match more <= budget.pool_bytes {
                true => {
                    Arc::clone(&budget.pool)
                        .acquire_many_owned(more as u32)
                        .await
                }
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            permit = pool => self.add(permit.expect(OPEN)),
            permit = lane => {
                let _permit = permit.expect(OPEN);
                self.place = Place::Lane { _permit };
            }
        }
        self.count(bytes);
    }

    /// As [`resize`](Self::resize), but says false instead of waiting, and changes nothing then.
    pub fn try_resize(&mut self, bytes: usize) -> bool {
        let bytes = bytes.min(self.budget.largest);
        if let Place::Lane { .. } = self.place {
            self.count(bytes);
            self.leave_lane();
            return true;
        }
        if bytes == self.bytes {
            return true;
        }
        if bytes < self.bytes {
            drop(self.split(self.bytes - bytes));
            return true;
        }
        let more = bytes - self.bytes;
        if let Some(permit) = self.budget.take_pooled(more) {
            self.add(permit);
        } else if let Ok(permit) = Arc::clone(&self.budget.lane).try_acquire_owned() {
            self.place = Place::Lane { _permit: permit };
        } else {
            return false;
        }
        self.count(bytes);
        true
    }

    /// Splits off `bytes`, at most all, to be given back by themselves. The lane goes with them, and what
    /// stays is then in the pool; if that has no room, nothing stays, and this has to be resized again.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let mut part = self.budget.room();
        part.bytes = bytes.min(self.bytes);
        if part.bytes == 0 {
            return part;
        }
        self.bytes -= part.bytes;
        match &mut self.place {
            Place::Pool(permit) => {
                part.place =
                    Place::Pool(permit.as_mut().and_then(|permit| permit.split(part.bytes)));
            }
            Place::Lane { .. } => {
                part.place = std::mem::replace(&mut self.place, Place::Pool(None));
                let stays = std::mem::take(&mut self.bytes);
                self.budget.counted(stays, 0);
                if let Some(permit) = self.budget.take_pooled(stays) {
                    self.add(permit);
                    self.count(stays);
                }
            }
        }
        part
    }

    fn add(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.place {
            Place::Pool(Some(own)) => own.merge(permit),
            place => *place = Place::Pool(Some(permit)),
        }
    }

    /// Gives the lane to who waits for it as soon as the pool has room for what is left.
    fn leave_lane(&mut self) {
        if self.bytes == 0 {
            self.place = Place::Pool(None);
        } else if let Some(permit) = self.budget.take_pooled(self.bytes) {
            self.place = Place::Pool(Some(permit));
        }
    }

    fn count(&mut self, bytes: usize) {
        self.budget.counted(self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.counted(self.bytes, 0);
    }
}

#[cfg(test)]
mod tests;
