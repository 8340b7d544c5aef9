//! Points at which a test kills the process, one after each step of a write.
//!
//! Without the feature `failpoints` they compile to nothing; tests always have it. With it,
//! `FAILPOINTS=entities::after_batch=return` aborts there (`1*off->return` at the second pass), once the
//! process has called `fail::FailScenario::setup()`.

/// Nothing is written yet.
pub const BEFORE_INTENT: &str = "entities::before_intent";
/// The intent stands; nothing else does.
pub const AFTER_INTENT: &str = "entities::after_intent";
/// The store has the new version, the log does not.
pub const AFTER_BATCH: &str = "entities::after_batch";
/// Store and log have the new version, and the intent still stands.
pub const AFTER_APPEND: &str = "entities::after_append";
/// All is done but for the answer.
pub const AFTER_INTENT_REMOVED: &str = "entities::after_intent_removed";
/// The relay has put an intent's version into the store, or found it there.
pub const RELAY_AFTER_BATCH: &str = "entities::relay_after_batch";
/// The relay has put an intent's change into the log.
pub const RELAY_AFTER_APPEND: &str = "entities::relay_after_append";
/// The relay has removed an intent.
pub const RELAY_AFTER_INTENT_REMOVED: &str = "entities::relay_after_intent_removed";

/// Every point, in the order in which a write and then the relay pass them.
pub const ALL: [&str; 8] = [
    BEFORE_INTENT,
    AFTER_INTENT,
    AFTER_BATCH,
    AFTER_APPEND,
    AFTER_INTENT_REMOVED,
    RELAY_AFTER_BATCH,
    RELAY_AFTER_APPEND,
    RELAY_AFTER_INTENT_REMOVED,
];

/// The points after the steps that a live write and the relay have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Points {
    pub after_batch: &'static str,
    pub after_append: &'static str,
    pub after_intent_removed: &'static str,
}

pub(super) const LIVE: Points = Points {
    after_batch: AFTER_BATCH,
    after_append: AFTER_APPEND,
    after_intent_removed: AFTER_INTENT_REMOVED,
};

pub(super) const RELAY: Points = Points {
    after_batch: RELAY_AFTER_BATCH,
    after_append: RELAY_AFTER_APPEND,
    after_intent_removed: RELAY_AFTER_INTENT_REMOVED,
};

/// Aborts here when a test asked for it: no destructor runs and no buffer is flushed, as when killed.
#[inline]
pub(super) fn pass(_point: &'static str) {
    fail::fail_point!(_point, |_| std::process::abort());
}
