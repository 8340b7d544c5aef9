//! Which packet identifiers are in flight, and for what.
//!
//! A packet identifier may be used again as soon as its PUBACK came, in whatever order PUBACKs come. A
//! newcomer would count them up: the tag tells messages apart, the identifier only those in flight.

use std::time::Instant;

/// Identifiers 1 to the window's size, free or in flight.
pub(super) struct Window {
    free: Vec<u16>,
    slots: Vec<Option<Slot>>,
}

/// A message in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub tag: u64,
    pub published_at: Instant,
}

impl Window {
    pub fn new(size: u16) -> Self {
        Self {
            free: (1..=size).rev().collect(),
            slots: vec![None; usize::from(size)],
        }
    }

    /// An identifier for one more message; none when the window is full.
    pub fn claim(&mut self, tag: u64, published_at: Instant) -> Option<u16> {
        let id = self.free.pop()?;
        self.slots[usize::from(id) - 1] = Some(Slot { tag, published_at });
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_come_back() {
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
        assert_eq!(window.in_flight(), 3);
    }
}
