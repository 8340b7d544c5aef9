//! Entries of the ledger that the log takes.
//!
//! A newcomer would keep the bytes whatever their number. A record that is too large for the log is refused
//! whenever it is offered, and whoever sent it would send it again for ever. So the end is left off, and
//! the detail says so. Readings need none of this: their texts are bounded where they are read.

use openinfra_schemas::LedgerEntry;

/// Bytes of a text that are kept in an entry that is too large; of the detail a row of the view keeps more.
const TEXT_BYTES: usize = 2 << 10;
/// What stands around texts and payload, at most: key, frame, lengths, times, and what the detail says here.
const AROUND_BYTES: usize = 1 << 10;

/// Cuts an entry so that its record, with its key, has at most `limit` bytes, which are at least 64 KiB.
pub fn fit(entry: &mut LedgerEntry, limit: usize) {
    let room = limit.saturating_sub(AROUND_BYTES);
    if texts(entry) + entry.payload.len() <= room {
        return;
    }
    cut(&mut entry.detail);
    cut(&mut entry.origin);
    if let Some(sensor) = &mut entry.sensor_id {
        cut(sensor);
    }
    let (bytes, kept) = (entry.payload.len(), room.saturating_sub(texts(entry)));
    if bytes > kept {
        entry.payload.truncate(kept);
        entry.payload.shrink_to_fit();
        entry.detail.push_str(&format!(
            " (of {bytes} bytes the first {kept} are kept: the log takes no record of more than {limit})"
        ));
    }
}

fn texts(entry: &LedgerEntry) -> usize {
    let sensor = entry.sensor_id.as_ref().map_or(0, String::len);
    // The tenant and the source stand in the key as well.
    2 * (entry.tenant.as_str().len() + entry.source.len())
        + entry.reason.len()
        + entry.detail.len()
        + entry.origin.len()
        + sensor
}

/// The beginning of a text that is longer, and a sign that there was more.
fn cut(text: &mut String) {
    if text.len() > TEXT_BYTES {
        let end = (0..=TEXT_BYTES)
            .rev()
            .find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use openinfra_schemas::TenantId;

    use super::*;

    const LIMIT: usize = 64 << 10;

    fn entry(text: &str, bytes: usize) -> LedgerEntry {
        LedgerEntry {
            tenant: TenantId::trusted("city"),
            source: "mqtt".to_owned(),
            reason: "undecodable".to_owned(),
            detail: text.to_owned(),
            origin: text.to_owned(),
            sensor_id: Some(text.to_owned()),
            event_ts: None,
            recv_ts: 1,
            payload: vec![7; bytes],
        }
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        for whole in [
            entry("sensors/a/data", 60_000),
            entry(&"é".repeat(9_000), 1),
        ] {
            let mut fitted = whole.clone();
            fit(&mut fitted, LIMIT);
            assert_eq!(fitted, whole);
        }
        let mut any = entry("x", 20 << 20);
        fit(&mut any, usize::MAX);
        assert_eq!(any.payload.len(), 20 << 20);
    }

    #[test]
    fn what_is_too_large_is_cut_and_says_so() {
        for (text, bytes) in [("x", LIMIT), (&"é".repeat(30_000), 9 << 20)] {
            let mut cut = entry(text, bytes);
            fit(&mut cut, LIMIT);
            let size = texts(&cut) + cut.payload.len();
            assert!(size <= LIMIT && size > LIMIT - 2 * AROUND_BYTES, "{size}");
            let said = format!("of {bytes} bytes the first {} are kept", cut.payload.len());
            assert!(cut.detail.contains(&said), "{}", cut.detail);
        }
    }

    #[test]
    fn texts_alone_can_be_too_large() {
        let mut cut = entry(&"x".repeat(LIMIT), 100);
        fit(&mut cut, LIMIT);
        assert_eq!(cut.payload.len(), 100);
        assert!(texts(&cut) < 4 * TEXT_BYTES);
    }
}
