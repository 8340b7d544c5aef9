//! How many requests a second are taken from whom, and what each answer says about it.
//!
//! Who shows a good key has a bucket of its own; who shows none, or a wrong one, shares that of its
//! address, so that trying keys out is slow. What a newcomer would get wrong: readings are not limited
//! here but by the intake, which counts readings, and probes are not limited at all, as an orchestrator
//! would take a 429 for a dead process.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DefaultKeyedStateStore,
};
use openinfra_http::{
    problem::{Problem, Slug},
    rate_limit::RateLimit,
};
use openinfra_intake::{Principal, PrincipalKind};
use serde::Deserialize;

use crate::{
    app::AppState,
    extract::{Identity, address},
};

/// How many requests are taken from whom; there is always a limit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests a second of a key, but for ingest. 50 by default.
    pub requests_per_s: NonZeroU32,
    /// Requests that a key may send at once after a pause. 200 by default.
    pub burst: NonZeroU32,
    /// Requests a second of an address that shows no good key. 5 by default.
    pub anonymous_per_s: NonZeroU32,
    /// Requests that such an address may send at once after a pause. 30 by default.
    pub anonymous_burst: NonZeroU32,
    /// Whether the dev principal is held to a key's limit, too. It is not by default: it is told what a
    /// key would have left, and never refused.
    pub limit_dev: bool,
}

impl Default for Limits {
    fn default() -> Self {
        let some = |n| NonZeroU32::new(n).expect("it is not 0");
        Self {
            requests_per_s: some(50),
            burst: some(200),
            anonymous_per_s: some(5),
            anonymous_burst: some(30),
            limit_dev: false,
        }
    }
}

/// The buckets of all who sent requests lately.
pub(crate) struct Limiter {
    keys: Buckets<String>,
    addresses: Buckets<Option<IpAddr>>,
    limit_dev: bool,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            keys: Buckets::new(limits.requests_per_s, limits.burst),
            addresses: Buckets::new(limits.anonymous_per_s, limits.anonymous_burst),
            limit_dev: limits.limit_dev,
        }
    }

    fn of_key(&self, who: &Principal) -> Visit {
        let visit = self.keys.take(&who.name);
        let free = who.kind == PrincipalKind::Dev && !self.limit_dev;
        Visit {
            scope: "key",
            retry_after_s: visit.retry_after_s.filter(|_| !free),
            ..visit
        }
    }

    fn of_address(&self, address: Option<IpAddr>) -> Visit {
        self.addresses.take(&address.map(network))
    }
}

/// Who has one address of version 6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 => v4,
    }
}

/// Counts the request; answers 429 when there are too many.
pub(crate) async fn limit(
    State(app): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let identity = Identity::of(&app, request.headers(), request.extensions()).await;
    let visit = match identity.principal() {
        Some(who) => app.limiter.of_key(who),
        None => app.limiter.of_address(address(request.extensions())),
    };
    request.extensions_mut().insert(identity);
    let mut response = match visit.retry_after_s {
        Some(seconds) => refused(visit.scope, seconds).into_response(),
        None => next.run(request).await,
    };
    response.headers_mut().extend(visit.told.headers());
    response
}

fn refused(scope: &str, seconds: u64) -> Problem {
    Problem::new(Slug::RateLimited)
        .detail("there were too many requests; this one was not looked at")
        .with("retry_after_s", seconds)
        .with("scope", scope)
        .retry_after(seconds)
}

/// One request, counted.
struct Visit {
    scope: &'static str,
    told: RateLimit,
    /// One too many: when the next may come.
    retry_after_s: Option<u64>,
}

/// A bucket for each of those who sent lately.
struct Buckets<K: std::hash::Hash + Eq + Clone> {
    limiter: RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock, StateInformationMiddleware>,
    clock: DefaultClock,
    per_s: NonZeroU32,
    burst: NonZeroU32,
    since_tidied: AtomicU32,
}

/// After so many requests the full buckets are thrown away: addresses are without number.
const TIDY_EVERY: u32 = 4_096;

/// More counts as this: buckets are refilled by whole nanoseconds.
const MOST_PER_S: NonZeroU32 = NonZeroU32::new(1_000_000).unwrap();

impl<K: std::hash::Hash + Eq + Clone> Buckets<K> {
    fn new(per_s: NonZeroU32, burst: NonZeroU32) -> Self {
        let per_s = per_s.min(MOST_PER_S);
        let quota = Quota::per_second(per_s).allow_burst(burst);
        Self {
            limiter: RateLimiter::keyed(quota).with_middleware(),
            clock: DefaultClock::default(),
            per_s,
            burst,
            since_tidied: AtomicU32::new(0),
        }
    }

    fn take(&self, key: &K) -> Visit {
        if self.since_tidied.fetch_add(1, Ordering::Relaxed) == TIDY_EVERY {
            self.since_tidied.store(0, Ordering::Relaxed);
            self.limiter.retain_recent();
        }
        let (remaining, retry_after_s) = match self.limiter.check_key(key) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now());
                (0, Some(wait.as_secs_f64().ceil().max(1.0) as u64))
            }
        };
        let missing = self.burst.get().saturating_sub(remaining);
        Visit {
            scope: "address",
            told: RateLimit {
                limit: u64::from(self.burst.get()),
                remaining: u64::from(remaining),
                reset_s: u64::from(missing.div_ceil(self.per_s.get())),
            },
            retry_after_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_version_6_has_one_bucket() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
    }

    #[test]
    fn a_bucket_says_what_is_left() {
        let some = |n| NonZeroU32::new(n).unwrap();
        let buckets = Buckets::new(some(1), some(3));
        let left: Vec<u64> = (0..3).map(|_| buckets.take(&1).told.remaining).collect();
        assert_eq!(left, [2, 1, 0]);
        assert!(buckets.take(&2).retry_after_s.is_none());
    }

    #[test]
    fn there_is_no_limit_of_none() {
        let limits = serde_json::from_str::<Limits>(r#"{"requests_per_s": 0}"#);
        assert!(limits.is_err());
        let limits = serde_json::from_str::<Limits>(r#"{"requests_pers": 1}"#);
        assert!(limits.is_err());
    }
}
