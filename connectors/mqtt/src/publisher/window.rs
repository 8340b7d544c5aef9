//! Which packet identifiers are in flight, and for what.
//!
//! A packet identifier may be used again as soon as its PUBACK came, in whatever order PUBACKs come; so
//! the order of publishing is kept beside it, for what has to be sent again.

use std::time::Instant;

/// Identifiers 1 to the window's size, free or in flight.
pub(super) struct Window {
    free: Vec<u16>,
    slots: Vec<Option<Slot>>,
    sequence: u64,
}

/// A message in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub tag: u64,
    pub published_at: Instant,
    sequence: u64,
}

impl Window {
    pub fn new(size: u16) -> Self {
        Self {
            free: (1..=size).rev().collect(),
            slots: vec![None; usize::from(size)],
            sequence: 0,
        }
    }

    /// An identifier for one more message; none when the window is full.
    pub fn claim(&mut self, tag: u64, published_at: Instant) -> Option<u16> {
        let id = self.free.pop()?;
        self.sequence += 1;
        self.slots[usize::from(id) - 1] = Some(Slot {
            tag,
            published_at,
            sequence: self.sequence,
        });
        Some(id)
    }

    /// Frees an identifier; none when it is not in flight.
    pub fn release(&mut self, id: u16) -> Option<Slot> {
        let index = usize::from(id).checked_sub(1)?;
        let slot = self.slots.get_mut(index)?.take()?;
        self.free.push(id);
        Some(slot)
    }

    pub fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The tags in flight in the order they were claimed.
    pub fn tags(&self) -> Vec<u64> {
        let mut slots: Vec<Slot> = self.slots.iter().flatten().copied().collect();
        slots.sort_unstable_by_key(|slot| slot.sequence);
        slots.into_iter().map(|slot| slot.tag).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_come_back_and_tags_keep_their_order() {
        let now = Instant::now();
        let mut window = Window::new(3);
        let ids: Vec<u16> = (10..13)
            .map(|tag| window.claim(tag, now).unwrap())
            .collect();
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(window.claim(13, now), None);
        assert_eq!(window.release(2).unwrap().tag, 11);
        assert_eq!(window.release(2), None);
        assert_eq!(window.release(0), None);
        assert_eq!(window.release(4), None);
        assert_eq!(window.claim(13, now), Some(2));
        assert_eq!(window.tags(), [10, 12, 13]);
        assert_eq!(window.in_flight(), 3);
    }
}
