//! Keys over a real store: made, shown once, good, bound, revoked.
// Tests may panic.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

use std::collections::BTreeSet;

use openinfra_embedded::{Embedded, Options};
use openinfra_intake::{
    AuthError, Credentials, INGEST_READINGS, Keys, PrincipalKind, TRUST_RECEIVE_TIME,
    keys::{CreateKeyError, NewKey},
};
use openinfra_schemas::TenantId;
use openinfra_store::{Freshness, KeyBuf, Row, RowKey, tables::entities::ApiKeyRow};
use tempfile::TempDir;

struct Bench {
    keys: Keys,
    embedded: Embedded,
    _folder: TempDir,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path(), Options::default()).unwrap();
    Bench {
        keys: Keys::new(embedded.store()),
        embedded,
        _folder: folder,
    }
}

fn tenant() -> TenantId {
    TenantId::trusted("t")
}

fn device() -> NewKey {
    NewKey::device(tenant(), "pump house")
}

fn shown(username: Option<&str>, secret: Option<&str>) -> Credentials {
    Credentials {
        username: username.map(str::to_owned),
        secret: secret.map(str::to_owned),
        address: None,
    }
}

#[tokio::test]
async fn a_key_says_whose_it_is_and_what_it_may() {
    let bench = bench();
    let new = NewKey {
        kind: PrincipalKind::Gateway,
        permissions: BTreeSet::from([INGEST_READINGS, TRUST_RECEIVE_TIME].map(str::to_owned)),
        sensor_ids: Some(vec!["a/b".to_owned()]),
        readings_per_s: Some(7),
        ..device()
    };
    let key = bench.keys.create(new).await.unwrap();
    assert!(key.key.starts_with(&format!("{}.", key.prefix)));
    let who = bench
        .keys
        .verify(&shown(None, Some(&key.key)))
        .await
        .unwrap();
    assert_eq!((&who.tenant, &who.name), (&tenant(), &key.prefix));
    assert_eq!(who.kind, PrincipalKind::Gateway);
    assert!(who.may(INGEST_READINGS) && who.may_trust_recv);
    assert!(!who.may("manage_iot"));
    assert!(who.may_send_for("a/b") && !who.may_send_for("a"));
    assert_eq!(who.readings_per_s, Some(7));
}

#[tokio::test]
async fn mqtt_may_split_the_key_or_not() {
    let bench = bench();
    let key = bench.keys.create(device()).await.unwrap();
    let secret = key.key.split_once('.').unwrap().1;
    for good in [
        shown(Some(&key.prefix), Some(secret)),
        shown(Some(&key.prefix), Some(&key.key)),
        shown(Some("any name"), Some(&key.key)),
        shown(Some(""), Some(&key.key)),
    ] {
        assert!(bench.keys.verify(&good).await.is_ok());
    }
}

#[tokio::test]
async fn everything_else_is_wrong_in_dev_mode_too() {
    let bench = bench();
    let key = bench.keys.create(device()).await.unwrap();
    let (prefix, secret) = key.key.split_once('.').unwrap();
    let other = bench.keys.create(device()).await.unwrap();
    let mixed = format!("{}.{secret}", other.prefix);
    for keys in [bench.keys.clone(), bench.keys.clone().dev(tenant())] {
        for wrong in [
            shown(None, Some("")),
            shown(None, Some("no-such-key")),
            shown(None, Some(secret)),
            shown(Some(prefix), None),
            shown(Some(prefix), Some("")),
            shown(Some("unknown"), Some(secret)),
            shown(None, Some(&key.key[..key.key.len() - 1])),
            shown(None, Some(&format!("{}0", key.key))),
            shown(None, Some(&mixed)),
        ] {
            let answer = keys.verify(&wrong).await;
            assert!(matches!(answer, Err(AuthError::Wrong)), "{wrong:?}");
        }
    }
}

#[tokio::test]
async fn nothing_shown_is_missing_but_in_dev_mode() {
    let bench = bench();
    let none = shown(None, None);
    let answer = bench.keys.verify(&none).await;
    assert!(matches!(answer, Err(AuthError::Missing)));
    let dev = bench.keys.clone().dev(tenant());
    let who = dev.verify(&none).await.unwrap();
    assert_eq!((&who.tenant, who.kind), (&tenant(), PrincipalKind::Dev));
    assert!(who.may("anything") && who.may_trust_recv && who.may_send_for("any"));
    let key = dev.create(device()).await.unwrap();
    let who = dev.verify(&shown(None, Some(&key.key))).await.unwrap();
    assert_eq!(who.kind, PrincipalKind::Device);
}

#[tokio::test]
async fn a_revoked_key_is_wrong_at_once() {
    let bench = bench();
    let key = bench.keys.create(device()).await.unwrap();
    let credentials = shown(None, Some(&key.key));
    bench.keys.verify(&credentials).await.unwrap();
    assert!(bench.keys.revoke(&key.prefix).await.unwrap());
    let answer = bench.keys.verify(&credentials).await;
    assert!(matches!(answer, Err(AuthError::Wrong)));
    assert!(bench.keys.revoke(&key.prefix).await.unwrap());
    assert!(!bench.keys.revoke("unknown").await.unwrap());
}

#[tokio::test]
async fn the_store_has_no_secret() {
    let bench = bench();
    let key = bench.keys.create(device()).await.unwrap();
    let secret = key.key.split_once('.').unwrap().1;
    let partition = KeyBuf::new().text(&key.prefix);
    let row = RowKey::new(ApiKeyRow::TABLE, &partition, &KeyBuf::new());
    let store = bench.embedded.store();
    let value = store
        .get(&row, Freshness::Acknowledged)
        .await
        .unwrap()
        .unwrap();
    let has = |needle: &[u8]| value.windows(needle.len()).any(|w| w == needle);
    assert!(has(b"pump house"));
    assert!(!has(secret.as_bytes()));
    assert!(!format!("{key:?}").contains(secret));
}

#[tokio::test]
async fn keys_that_would_be_of_no_use_are_not_made() {
    let bench = bench();
    let refused = async |change: fn(&mut NewKey)| {
        let mut new = device();
        change(&mut new);
        bench.keys.create(new).await.unwrap_err()
    };
    assert!(matches!(
        refused(|new| new.name.clear()).await,
        CreateKeyError::Name(0)
    ));
    assert!(matches!(
        refused(|new| new.kind = PrincipalKind::Dev).await,
        CreateKeyError::Kind
    ));
    let permission = refused(|new| _ = new.permissions.insert("manage_iot".to_owned())).await;
    assert!(
        matches!(permission, CreateKeyError::Permission { .. }),
        "{permission}"
    );
    let none = refused(|new| new.sensor_ids = Some(vec![])).await;
    assert!(matches!(none, CreateKeyError::SensorCount(0)));
    let wild = refused(|new| new.sensor_ids = Some(vec!["#".to_owned()])).await;
    assert!(matches!(wild, CreateKeyError::Sensor(_)));
    assert!(matches!(
        refused(|new| new.readings_per_s = Some(0)).await,
        CreateKeyError::Rate
    ));
}

#[tokio::test]
async fn a_tenants_keys_are_listed_revoked_ones_too() {
    let bench = bench();
    let first = bench.keys.create(device()).await.unwrap();
    let second = NewKey {
        name: "gateway".to_owned(),
        kind: PrincipalKind::Gateway,
        sensor_ids: Some(vec!["a".to_owned()]),
        ..device()
    };
    let second = bench.keys.create(second).await.unwrap();
    let others = NewKey::device(TenantId::trusted("u"), "not theirs");
    bench.keys.create(others).await.unwrap();
    assert!(bench.keys.revoke(&first.prefix).await.unwrap());
    assert!(!bench.keys.revoke("0123456789ab").await.unwrap());
    let mut listed = bench.keys.list(&tenant()).await.unwrap();
    listed.sort_by(|a, b| b.name.cmp(&a.name));
    let short: Vec<_> = listed
        .iter()
        .map(|key| (key.prefix.as_str(), key.kind.as_str(), key.revoked))
        .collect();
    assert_eq!(
        short,
        [
            (first.prefix.as_str(), "device", true),
            (second.prefix.as_str(), "gateway", false)
        ]
    );
    assert_eq!(listed[1].permissions, [INGEST_READINGS]);
    assert_eq!(listed[1].sensor_ids.as_deref(), Some("[\"a\"]"));
    assert!(
        bench
            .keys
            .list(&TenantId::trusted("v"))
            .await
            .unwrap()
            .is_empty()
    );
}
