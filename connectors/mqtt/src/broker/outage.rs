//! What operators hear of a broker that is away: a line when it goes, one for each new reason, one when it is
//! back; the attempts between them at level debug.

use std::time::Duration;

use tokio::time::Instant;

/// A connection that held so long is no sign that the next will be lost at once.
pub(crate) const STABLE: Duration = Duration::from_secs(10);
/// So many in a row that held for less are told.
const BRIEF_IN_A_ROW: u32 = 3;

/// The time without a connection, if there is none.
#[derive(Debug)]
pub(crate) struct Outage {
    broker: String,
    /// As `host:port`.
    address: String,
    client_id: String,
    since: Option<Instant>,
    attempts: u64,
    said: Option<String>,
    /// Connections in a row that were lost soon after they stood.
    brief: u32,
}

impl Outage {
    pub fn new(broker: &str, address: String, client_id: &str) -> Self {
        Self {
            broker: broker.to_owned(),
            address,
            client_id: client_id.to_owned(),
            since: None,
            attempts: 0,
            said: None,
            brief: 0,
        }
    }

    /// There is no connection, for this reason; `stood`: how long there was one, if this ended it.
    pub fn failed(&mut self, stood: Option<Duration>, reason: &str) {
        self.since.get_or_insert_with(Instant::now);
        self.attempts += u64::from(stood.is_none());
        let is_thrown_out = self.is_thrown_out(stood);
        let (broker, address) = (&self.broker, &self.address);
        if self.said.as_deref() == Some(reason) {
            tracing::debug!(broker, reason, "still no connection to the MQTT broker");
        } else if stood.is_some() {
            tracing::warn!(
                broker,
                address,
                reason,
                "lost the MQTT broker; connecting again"
            );
        } else {
            tracing::warn!(
                broker,
                address,
                reason,
                "cannot connect to the MQTT broker; going on trying"
            );
        }
        if is_thrown_out {
            // A broker need not say why; Mosquitto closes without a word.
            tracing::warn!(
                broker,
                client_id = self.client_id,
                "the broker closes each connection within seconds, as it does when another client comes with \
                 the same id; each process needs its own: --instance, or {{instance}} in client_id"
            );
        }
        self.said = Some(reason.to_owned());
    }

    /// Whether this is the loss by which one sees that connections do not last.
    fn is_thrown_out(&mut self, stood: Option<Duration>) -> bool {
        let Some(stood) = stood else {
            return false;
        };
        self.brief = if stood < STABLE { self.brief + 1 } else { 0 };
        self.brief == BRIEF_IN_A_ROW
    }

    /// There is a connection.
    pub fn over(&mut self, session_present: bool) {
        let (broker, client_id) = (&self.broker, &self.client_id);
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
        (self.since, self.attempts, self.said) = (None, 0, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_thrown_out_again_and_again_is_told_once() {
        let mut outage = Outage::new("city", "b:1883".to_owned(), "a");
        let [brief, long] = [1, 600].map(|s| Some(Duration::from_secs(s)));
        let losses = [brief, brief, long, brief, None, brief, brief, brief, brief];
        let told = losses.map(|stood| outage.is_thrown_out(stood));
        assert_eq!(told.iter().position(|told| *told), Some(6));
        assert_eq!(told.iter().filter(|told| **told).count(), 1);
    }
}
