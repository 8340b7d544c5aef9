//! Cursors: where a list goes on, as a text that only its own list takes back.
//!
//! A cursor holds a position (the key of the last row answered), so that no row which did not change is
//! repeated or skipped, and is signed together with the route, tenant, filters and sort that it belongs
//! to. A newcomer would keep an offset.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use openinfra_http::problem::{Problem, Slug};
use openinfra_schemas::time::{HOUR_MS, Millis};
use openinfra_store::{
    Condition, ConditionalBatch, Freshness, Row, Store, StoreError, get_row,
    tables::entities::SecretRow,
};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;

use crate::app::now;

/// How long a cursor is good.
const LIFETIME_MS: Millis = 24 * HOUR_MS;
const TAG_BYTES: usize = 16;
/// Of the secret in the store.
const NAME: &str = "cursors";

/// The secret that cursors are signed with.
#[derive(Clone)]
pub struct CursorKey([u8; 32]);

impl CursorKey {
    /// Cursors end with the process.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The key that a store keeps, made where there is none: cursors outlive the process, and one given by
    /// a process is taken by every other over the same store.
    pub async fn kept_in(store: &dyn Store) -> Result<Self, StoreError> {
        let made = SecretRow {
            name: NAME.to_owned(),
            secret: rand::random::<[u8; 32]>().to_vec(),
            created_at: now(),
        };
        loop {
            let found = get_row::<SecretRow>(store, &made.key(), Freshness::Linearizable).await?;
            if let Some(found) = found {
                return Self::of(&found);
            }
            let mut batch = ConditionalBatch::new(vec![Condition::Absent(made.key())]);
            batch.put(&made);
            // Whoever wins, the next look finds its key.
            store.write_if(batch).await?;
        }
    }

    fn of(row: &SecretRow) -> Result<Self, StoreError> {
        let secret = row.secret.as_slice().try_into();
        secret.map(Self).map_err(|_| {
            StoreError::Damaged(format!("the key of cursors has {} bytes", row.secret.len()))
        })
    }
}

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey(..)")
    }
}

/// The list that a cursor belongs to.
pub struct Binding<'a> {
    pub key: &'a CursorKey,
    pub route: &'static str,
    pub tenant: &'a str,
    pub generation: i32,
    /// Filters and sort, in one form for equal ones.
    pub filters: String,
}

impl Binding<'_> {
    /// Signs a position.
    pub fn seal<P: Serialize>(&self, position: &P, now: Millis) -> String {
        let mut bytes = now.to_be_bytes().to_vec();
        serde_json::to_writer(&mut bytes, position).expect("positions are plain data");
        let tag = self.tag(&bytes);
        bytes.extend_from_slice(&tag.finalize().into_bytes()[..TAG_BYTES]);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position that a cursor holds.
    pub fn open<P: DeserializeOwned>(&self, cursor: &str, now: Millis) -> Result<P, Problem> {
        let (issued, position) = self.unseal(cursor).ok_or_else(invalid)?;
        if now.saturating_sub(issued) > LIFETIME_MS {
            return Err(
                Problem::new(Slug::Gone).detail("the cursor is older than 24 hours; begin again")
            );
        }
        Ok(position)
    }

    fn unseal<P: DeserializeOwned>(&self, cursor: &str) -> Option<(Millis, P)> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (content, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
        self.tag(content).verify_truncated_left(tag).ok()?;
        let (issued, position) = content.split_first_chunk::<8>()?;
        let position = serde_json::from_slice(position).ok()?;
        Some((Millis::from_be_bytes(*issued), position))
    }

    fn tag(&self, content: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key.0).expect("a key of any length is taken");
        let generation = self.generation.to_string();
        for part in [self.route, self.tenant, &generation, &self.filters] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.update(content);
        mac
    }
}

fn invalid() -> Problem {
    Problem::new(Slug::InvalidCursor)
        .detail("the cursor is not one that this list, with these filters and this sort, gave")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding<'a>(key: &'a CursorKey, tenant: &'a str, filters: &str) -> Binding<'a> {
        Binding {
            key,
            route: "/sensors",
            tenant,
            generation: 1,
            filters: filters.to_owned(),
        }
    }

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let key = CursorKey([7; 32]);
        let cursor = binding(&key, "a", "q=1").seal(&("s1", 5), 1_000);
        let open = |tenant, filters, key: &CursorKey, text: &str, now| {
            binding(key, tenant, filters).open::<(String, i64)>(text, now)
        };
        assert_eq!(
            open("a", "q=1", &key, &cursor, 2_000).unwrap(),
            ("s1".to_owned(), 5)
        );
        let other_key = CursorKey([8; 32]);
        let slug = |answer: Result<_, Problem>| answer.unwrap_err().slug();
        assert_eq!(
            slug(open("b", "q=1", &key, &cursor, 2_000)),
            Slug::InvalidCursor
        );
        assert_eq!(
            slug(open("a", "q=2", &key, &cursor, 2_000)),
            Slug::InvalidCursor
        );
        assert_eq!(
            slug(open("a", "q=1", &other_key, &cursor, 2_000)),
            Slug::InvalidCursor
        );
        for text in ["", "x", "!!", &cursor[1..], &cursor[..cursor.len() - 1]] {
            assert_eq!(
                slug(open("a", "q=1", &key, text, 2_000)),
                Slug::InvalidCursor
            );
        }
        let late = 1_000 + LIFETIME_MS + 1;
        assert_eq!(slug(open("a", "q=1", &key, &cursor, late)), Slug::Gone);
    }
}
