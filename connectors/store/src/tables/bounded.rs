//! How much of a refused record its row keeps.
//!
//! A newcomer would keep all of it. A delivery has up to 10 MiB, and a cluster takes a row only up to half of
//! a segment of its commit log, or the views would stand before it for ever. All of it is in the log.

use super::views::LedgerRow;

/// Bytes of the payload that a row of `ledger` keeps.
pub const LEDGER_PAYLOAD_BYTES: usize = 1 << 20;

/// Bytes of the detail that a row of `ledger` keeps; it may cite what was refused.
pub const LEDGER_DETAIL_BYTES: usize = 4 << 10;

/// Bytes of the sensor's id that a row of `ledger` keeps; one that is none may be any text.
const LEDGER_SENSOR_BYTES: usize = 1 << 10;

impl LedgerRow {
    /// The row as it is kept; the detail says how much of a longer payload that is.
    pub fn bounded(mut self) -> Self {
        self.detail = cut(self.detail, LEDGER_DETAIL_BYTES);
        self.sensor_id = self.sensor_id.map(|id| cut(id, LEDGER_SENSOR_BYTES));
        let bytes = self.payload.len();
        if bytes > LEDGER_PAYLOAD_BYTES {
            self.payload.truncate(LEDGER_PAYLOAD_BYTES);
            self.payload.shrink_to_fit();
            self.detail.push_str(&format!(
                " (of {bytes} bytes the first {LEDGER_PAYLOAD_BYTES} are kept here, and all of them in the log)"
            ));
        }
        self
    }
}

/// At most so many bytes of a text, and a sign that there was more.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use openinfra_schemas::TenantId;

    use super::*;

    fn row(detail: &str, bytes: usize) -> LedgerRow {
        LedgerRow {
            tenant: TenantId::trusted("city"),
            reason: "undecodable".to_owned(),
            topic: "ledger".to_owned(),
            log_partition: 0,
            offset: 1,
            detail: detail.to_owned(),
            source: "http".to_owned(),
            sensor_id: None,
            event_ts: None,
            recv_ts: None,
            payload: vec![7; bytes],
            tick: 1,
        }
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let fits = row(&"é".repeat(LEDGER_DETAIL_BYTES / 2), LEDGER_PAYLOAD_BYTES);
        assert_eq!(fits.clone().bounded(), fits);
    }

    #[test]
    fn what_is_longer_is_cut_and_says_so() {
        let cut = row("not JSON", LEDGER_PAYLOAD_BYTES + 1).bounded();
        assert_eq!(cut.payload, vec![7; LEDGER_PAYLOAD_BYTES]);
        assert!(
            cut.detail.starts_with("not JSON (of 1048577 bytes"),
            "{}",
            cut.detail
        );
        // Between two characters, not in the middle of one.
        let cut = row(&format!("x{}", "é".repeat(LEDGER_DETAIL_BYTES)), 1).bounded();
        assert_eq!(cut.detail.len(), LEDGER_DETAIL_BYTES - 1 + '…'.len_utf8());
    }
}
