//! Growing pauses between attempts, each a little different, so that many clients do not come at once.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Pauses that double from the first to the longest, each shortened by up to half at random.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first: first.min(longest),
            longest,
            next: first.min(longest),
        }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.longest);
        let half = whole / 2;
        half + half.mul_f64(random())
    }

    /// Begins with the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// From 0 to 1. The standard library seeds its hashers at random, which is all that is wanted here.
fn random() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(350));
        for whole in [100, 200, 350, 350] {
            let pause = backoff.pause();
            assert!(pause >= ms(whole) / 2 && pause <= ms(whole), "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= ms(100));
    }

    #[test]
    fn pauses_differ() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10 {
            seen.insert(Backoff::new(Duration::from_secs(1), Duration::MAX).pause());
        }
        assert!(seen.len() > 5, "{seen:?}");
    }
}
