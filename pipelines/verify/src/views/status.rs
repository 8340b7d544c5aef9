//! `sensor_status`: whether a sensor speaks, and whether what it said last is fresh.

use openinfra_schemas::time::Millis;

use crate::walk::Known;

/// The columns of a row, but for its tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) status: &'static str,
    pub(crate) since: Millis,
    pub(crate) offline_since: Option<Millis>,
    pub(crate) timeout_ms: Millis,
    pub(crate) reason: Option<&'static str>,
    pub(crate) stale_since: Option<Millis>,
    /// When it spoke last, as long as nothing that it said was accepted.
    pub(crate) last_recv: Option<Millis>,
}

/// The status as of a tick; none when no list shows the sensor.
pub(crate) fn at(known: &Known<'_>, tick: Millis) -> Option<Status> {
    if !known.is_listed() {
        return None;
    }
    let has_spoken = known.last_recv.is_some();
    let offline_since = known.offline_from().filter(|from| tick >= *from);
    let (status, since) = match (offline_since, has_spoken) {
        (Some(from), _) => ("offline", from),
        (None, true) => ("online", known.speaks_since),
        (None, false) => ("never_seen", known.registered_at?),
    };
    let why = if has_spoken {
        "silent"
    } else {
        "never_reported"
    };
    Some(Status {
        status,
        since,
        offline_since,
        timeout_ms: known.timeout_ms(),
        reason: offline_since.map(|_| why),
        stale_since: known.stale_from().filter(|from| tick > *from),
        last_recv: match known.newest_event {
            Some(_) => None,
            None => known.last_recv,
        },
    })
}

/// Since when an outage that no message ended lasts, as of a tick. A sensor that never spoke has none, and
/// one that nobody registers any more still does.
pub(crate) fn silent_since(known: &Known<'_>, tick: Millis) -> Option<Millis> {
    let last = known.last_recv?;
    let deadline = last.saturating_add(known.timeout_ms());
    (tick >= deadline).then_some(deadline)
}
