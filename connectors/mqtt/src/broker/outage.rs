//! What operators hear of a broker that is away: a line when it goes, one for each new reason, one when it is
//! back; the attempts between them at level debug.

use tokio::time::Instant;

/// A time without a connection.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    since: Option<Instant>,
    attempts: u64,
    said: Option<String>,
}

impl Outage {
    /// There is no connection, for this reason.
    pub fn failed(&mut self, broker: &str, was_connected: bool, reason: &str) {
        self.since.get_or_insert_with(Instant::now);
        self.attempts += u64::from(!was_connected);
        if self.said.as_deref() == Some(reason) {
            tracing::debug!(broker, reason, "still no connection to the MQTT broker");
            return;
        }
        if was_connected {
            tracing::warn!(broker, reason, "lost the MQTT broker; connecting again");
        } else {
            tracing::warn!(
                broker,
                reason,
                "cannot connect to the MQTT broker; going on trying"
            );
        }
        self.said = Some(reason.to_owned());
    }

    /// There is a connection.
    pub fn over(&mut self, broker: &str, client_id: &str, session_present: bool) {
        let attempts = self.attempts + 1;
        let after = self.since.map(|since| since.elapsed());
        tracing::info!(
            broker,
            client_id,
            session_present,
            attempts,
            ?after,
            "connected to the MQTT broker"
        );
        *self = Self::default();
    }
}
