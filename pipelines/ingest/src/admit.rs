//! Admission: a flood costs only its own sender.
//!
//! Each key has a bucket of its own, refilled at its own rate. What a newcomer would get wrong: more than
//! a bucket holds is refused for good, so that no bucket is smaller than the largest batch.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use openinfra_intake::{Principal, PrincipalKind, TooMany};

use crate::config::{Config, MAX_BATCH};

/// The buckets of all keys that sent since the process began: as many as there are keys at most.
pub struct Admission {
    config: Config,
    clock: DefaultClock,
    buckets: RwLock<HashMap<String, Arc<Bucket>>>,
}

struct Bucket {
    rate: u32,
    limiter: DefaultDirectRateLimiter,
}

impl Admission {
    pub fn new(config: Config) -> Self {
        Self {
            config,
            clock: DefaultClock::default(),
            buckets: RwLock::default(),
        }
    }

    /// Takes `readings` out of the sender's bucket, or none of them.
    pub fn admit(&self, who: &Principal, readings: u32) -> Result<(), TooMany> {
        let unlimited = who.kind == PrincipalKind::Dev && !self.config.limit_dev;
        let Some(readings) = NonZeroU32::new(readings).filter(|_| !unlimited) else {
            return Ok(());
        };
        let bucket = self.bucket(who);
        match bucket.limiter.check_n(readings) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(TooMany {
                retry_after: not_until.wait_time_from(self.clock.now()),
                readings_per_s: bucket.rate,
            }),
            // No connector asks for more than a batch at once, and each bucket holds that.
            Err(_) => Err(TooMany {
                retry_after: Duration::from_secs(60),
                readings_per_s: bucket.rate,
            }),
        }
    }

    fn bucket(&self, who: &Principal) -> Arc<Bucket> {
        let rate = who.readings_per_s.unwrap_or(self.config.readings_per_s);
        let known = self
            .buckets
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&who.name)
            .filter(|bucket| bucket.rate == rate)
            .cloned();
        known.unwrap_or_else(|| {
            let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
            let bucket = buckets
                .entry(who.name.clone())
                .and_modify(|bucket| {
                    if bucket.rate != rate {
                        *bucket = Arc::new(self.fill(who, rate));
                    }
                })
                .or_insert_with(|| Arc::new(self.fill(who, rate)));
            Arc::clone(bucket)
        })
    }

    fn fill(&self, who: &Principal, rate: u32) -> Bucket {
        let burst = match who.readings_per_s {
            Some(own) => own.saturating_mul(3),
            None => self.config.burst,
        };
        let some = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(some(rate)).allow_burst(some(burst.max(MAX_BATCH)));
        Bucket {
            rate,
            limiter: RateLimiter::direct(quota),
        }
    }
}

#[cfg(test)]
mod tests {
    use openinfra_schemas::TenantId;

    use super::*;

    fn key(name: &str, readings_per_s: Option<u32>) -> Principal {
        Principal {
            name: name.to_owned(),
            kind: PrincipalKind::Device,
            readings_per_s,
            ..Principal::dev(TenantId::trusted("a"))
        }
    }

    #[test]
    fn a_bucket_empties_and_says_when_it_is_full_enough() {
        let admission = Admission::new(Config::default());
        let key = key("k", Some(1));
        admission.admit(&key, MAX_BATCH).unwrap();
        let refused = admission.admit(&key, 5).unwrap_err();
        assert_eq!(refused.readings_per_s, 1);
        assert!(refused.retry_after > Duration::from_secs(3), "{refused}");
        assert!(refused.retry_after <= Duration::from_secs(5), "{refused}");
    }

    #[test]
    fn who_is_refused_is_told_the_rate_that_was_set() {
        let admission = Admission::new(Config {
            readings_per_s: 7,
            burst: MAX_BATCH,
            limit_dev: false,
            ..Config::default()
        });
        let key = key("k", None);
        admission.admit(&key, MAX_BATCH).unwrap();
        let refused = admission.admit(&key, MAX_BATCH).unwrap_err();
        assert_eq!(refused.readings_per_s, 7);
    }

    #[test]
    fn one_keys_flood_leaves_the_others_alone() {
        let admission = Admission::new(Config::default());
        let flood = key("flood", None);
        while admission.admit(&flood, MAX_BATCH).is_ok() {}
        admission.admit(&key("other", None), MAX_BATCH).unwrap();
    }

    #[test]
    fn a_changed_rate_counts_from_then_on() {
        let admission = Admission::new(Config::default());
        admission.admit(&key("k", Some(1)), MAX_BATCH).unwrap();
        admission.admit(&key("k", Some(2)), MAX_BATCH).unwrap();
        assert!(admission.admit(&key("k", Some(2)), 10).is_err());
    }

    #[test]
    fn dev_is_held_to_a_rate_only_when_asked_for() {
        let dev = Principal::dev(TenantId::trusted("a"));
        let free = Admission::new(Config::default());
        let held = Admission::new(Config {
            limit_dev: true,
            ..Config::default()
        });
        for _ in 0..6 {
            free.admit(&dev, MAX_BATCH).unwrap();
            held.admit(&dev, MAX_BATCH).unwrap();
        }
        free.admit(&dev, MAX_BATCH).unwrap();
        assert!(held.admit(&dev, MAX_BATCH).is_err());
    }
}
