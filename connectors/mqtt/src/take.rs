//! One message into an append batch: as a reading, or as what the ledger keeps of it.
//!
//! Shared by both ways in, the listener and the client of a broker, so that a message means the same
//! whichever way it came. What a newcomer would get wrong: nothing is in the log yet.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openinfra_intake::{Delivery, Format, Intake, Principal, Rejection, Verdict};
use openinfra_log::AppendBatch;
use openinfra_schemas::{Reason, time::Millis};

use crate::topic::{self, Route};

/// A message as it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub recv_ts: Millis,
    /// Take the receive time from the payload.
    pub trust_recv: bool,
}

/// What became of a message, once its batch is committed.
pub(crate) enum Taken {
    /// The intake judged it.
    Judged(Verdict),
    /// The topic names no sensor.
    NoSensor(Verdict),
}

impl Taken {
    pub fn verdict(&self) -> &Verdict {
        match self {
            Self::Judged(verdict) | Self::NoSensor(verdict) => verdict,
        }
    }
}

/// Adds what has to be appended for `message` to `batch`.
pub(crate) fn take(
    intake: &dyn Intake,
    who: &Principal,
    message: Message<'_>,
    batch: &mut AppendBatch,
) -> Taken {
    let route = Route::of(message.topic);
    let delivery = Delivery {
        source: "mqtt",
        origin: message.topic,
        format: Format::SensorJson,
        sensor: route.map(|r| r.sensor),
        tenant: route.and_then(|r| r.tenant),
        payload: message.payload,
        recv_ts: message.recv_ts,
        trust_recv: message.trust_recv,
    };
    if route.is_some() {
        return Taken::Judged(intake.take(who, &delivery, batch));
    }
    let detail = topic::refusal(message.topic);
    intake.refuse(who, &delivery, Reason::Invalid, &detail, batch);
    let rejection = Rejection {
        index: 0,
        reason: Reason::Invalid,
        detail,
    };
    Taken::NoSensor(Verdict {
        accepted: 0,
        rejected: vec![rejection],
        forbidden: 0,
    })
}

/// Our clock.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
