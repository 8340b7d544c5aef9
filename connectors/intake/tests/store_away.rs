//! Keys while the store does not answer: those that were read lately stay good, and not for ever.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use openinfra_embedded::{Embedded, Options};
use openinfra_intake::{
    AuthError, Credentials, Keys,
    keys::{Belief, NewKey},
};
use openinfra_schemas::TenantId;
use openinfra_store::{
    Batch, ConditionalBatch, Freshness, Outcome, Range, RawRow, RowKey, Store, StoreError,
};

const ANSWERS: usize = 0;
const FAILS: usize = 1;
const HANGS: usize = 2;

/// A store whose reads fail or hang when they are told to.
struct Away {
    inner: Arc<dyn Store>,
    mode: AtomicUsize,
    asked: AtomicUsize,
}

#[async_trait]
impl Store for Away {
    async fn get(&self, key: &RowKey, freshness: Freshness) -> Result<Option<Bytes>, StoreError> {
        self.asked.fetch_add(1, SeqCst);
        match self.mode.load(SeqCst) {
            ANSWERS => self.inner.get(key, freshness).await,
            FAILS => Err(StoreError::Unavailable("for the test".to_owned())),
            _ => std::future::pending().await,
        }
    }

    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.inner.get_many(keys).await
    }

    async fn range(&self, range: &Range) -> Result<Vec<RawRow>, StoreError> {
        self.inner.range(range).await
    }

    async fn range_many(&self, ranges: &[Range]) -> Result<Vec<Vec<RawRow>>, StoreError> {
        self.inner.range_many(ranges).await
    }

    async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.inner.write(batch).await
    }

    async fn write_if(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        self.inner.write_if(batch).await
    }
}

struct Bench {
    store: Arc<Away>,
    keys: Keys,
    prefix: String,
    shown: Credentials,
    _embedded: Embedded,
    _folder: tempfile::TempDir,
}

/// Longer than the tests take.
const LONG: Duration = Duration::from_secs(3_600);

/// The store is asked each time, and what was read is believed for ever when it does not answer.
const ASKING: Belief = Belief {
    fresh: Duration::ZERO,
    at_most: LONG,
    away: Duration::ZERO,
};

/// A key that was used once.
async fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path(), Options::default()).unwrap();
    let store = Arc::new(Away {
        inner: embedded.store(),
        mode: AtomicUsize::new(ANSWERS),
        asked: AtomicUsize::new(0),
    });
    let keys = Keys::new(store.clone()).believed(ASKING);
    let new = NewKey::device(TenantId::trusted("t"), "pump house");
    let made = keys.create(new).await.unwrap();
    let shown = Credentials {
        username: None,
        secret: Some(made.key),
        address: None,
    };
    keys.verify(&shown).await.unwrap();
    Bench {
        store,
        keys,
        prefix: made.prefix,
        shown,
        _embedded: embedded,
        _folder: folder,
    }
}

#[tokio::test]
async fn a_key_that_was_read_stays_good_while_the_store_is_away_and_not_for_ever() {
    for mode in [FAILS, HANGS] {
        let bench = bench().await;
        bench.store.mode.store(mode, SeqCst);
        let away = Belief {
            away: LONG,
            ..ASKING
        };
        let keys = bench.keys.clone().believed(away);
        keys.verify(&bench.shown).await.unwrap();
        let asked = bench.store.asked.load(SeqCst);
        for _ in 0..100 {
            keys.verify(&bench.shown).await.unwrap();
        }
        let again = bench.store.asked.load(SeqCst);
        assert_eq!(again, asked, "it was asked again at once");
        let wrong = Credentials {
            secret: Some(format!("{}.guess", bench.prefix)),
            ..bench.shown.clone()
        };
        let refused = bench.keys.verify(&wrong).await;
        assert!(matches!(refused, Err(AuthError::Wrong)), "{refused:?}");
        bench.store.mode.store(FAILS, SeqCst);
        let over = Belief {
            at_most: Duration::ZERO,
            ..away
        };
        let unknown = bench.keys.clone().believed(over).verify(&bench.shown).await;
        assert!(
            matches!(unknown, Err(AuthError::Unavailable(_))),
            "{unknown:?}"
        );
    }
}

#[tokio::test]
async fn a_key_that_was_revoked_elsewhere_is_refused_once_the_store_answers() {
    let bench = bench().await;
    let elsewhere = Keys::new(bench.store.inner.clone());
    assert!(elsewhere.revoke(&bench.prefix).await.unwrap());
    bench.store.mode.store(FAILS, SeqCst);
    bench.keys.verify(&bench.shown).await.unwrap();
    bench.store.mode.store(ANSWERS, SeqCst);
    for _ in 0..2 {
        let refused = bench.keys.verify(&bench.shown).await;
        assert!(matches!(refused, Err(AuthError::Wrong)), "{refused:?}");
    }
    // Nor does it come back when the store goes once more.
    bench.store.mode.store(FAILS, SeqCst);
    let unknown = bench.keys.verify(&bench.shown).await;
    assert!(
        matches!(unknown, Err(AuthError::Unavailable(_))),
        "{unknown:?}"
    );
}
