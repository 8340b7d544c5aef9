//! What every implementation of [`Registry`] must pass.
//!
//! The checks register under subjects of their own, so they run against a registry that others use. They
//! panic with what was wrong. What a newcomer would get wrong: ids may have gaps and begin anywhere, and
//! whether texts that differ in a doc only are one schema is the registry's affair.

use std::sync::Arc;

use super::{Registry, RegistryError, SchemaId};
use crate::{Codec, DecodeError, Reading, codec::unframe};

/// An id that no registry has given: they count up from small numbers.
const UNKNOWN: SchemaId = i32::MAX as SchemaId - 7;

/// Runs every check. `name` begins the subjects, and no run before may have had it.
pub async fn run(registry: &Arc<dyn Registry>, name: &str) {
    assert!(!name.is_empty(), "subjects need a name of their own");
    a_schema_keeps_its_id(&**registry, &format!("{name}-keeps")).await;
    a_subject_grows_backward(&**registry, &format!("{name}-grows")).await;
    what_cannot_read_its_predecessor_is_refused(&**registry, &format!("{name}-breaks")).await;
    an_old_schema_is_found_again(&**registry, &format!("{name}-old")).await;
    what_is_no_schema_is_refused(&**registry, &format!("{name}-garbage")).await;
    any_name_is_a_subject(&**registry, name).await;
    an_unknown_id_is_said_to_be(&**registry).await;
    a_record_of_an_unknown_id_is_rejected(registry).await;
}

/// A record with `fields`. The name is the suite's own: a registry knows schemas by their text.
fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"Conformance","fields":[{fields}]}}"#)
}

const A: &str = r#"{"name":"a","type":"int"}"#;
const B: &str = r#"{"name":"b","type":"int","default":7}"#;

async fn register(registry: &dyn Registry, subject: &str, schema: &str) -> SchemaId {
    let id = registry.register(subject, schema).await;
    id.unwrap_or_else(|e| panic!("registering {schema} under {subject}: {e}"))
}

/// White space makes no other schema, nor does asking again.
pub async fn a_schema_keeps_its_id(registry: &dyn Registry, subject: &str) {
    let id = register(registry, subject, &record(A)).await;
    let spaced = record(A).replace(',', " , ");
    for text in [&record(A), &spaced, &record(A)] {
        assert_eq!(register(registry, subject, text).await, id, "{text}");
    }
    for _ in 0..2 {
        let text = registry.schema(id).await.expect("it was registered");
        assert_same(&text, &record(A));
    }
}

fn assert_same(one: &str, other: &str) {
    let read = |text: &str| -> serde_json::Value {
        serde_json::from_str(text).unwrap_or_else(|e| panic!("{text} is no JSON: {e}"))
    };
    assert_eq!(read(one), read(other));
}

/// A new version has an id of its own, and the old id keeps its text.
pub async fn a_subject_grows_backward(registry: &dyn Registry, subject: &str) {
    let versions = [
        record(A),
        record(&format!("{A},{B}")),
        record(B),
        r#"{"type":"record","name":"Conformance","fields":[]}"#.to_owned(),
    ];
    let mut ids = Vec::new();
    for version in &versions {
        ids.push(register(registry, subject, version).await);
    }
    for (i, id) in ids.iter().enumerate() {
        assert!(!ids[..i].contains(id), "{ids:?} has {id} twice");
        assert_same(
            &registry.schema(*id).await.expect("it was registered"),
            &versions[i],
        );
    }
}

/// The error names the subject and says why; nothing is registered.
pub async fn what_cannot_read_its_predecessor_is_refused(registry: &dyn Registry, subject: &str) {
    let id = register(registry, subject, &record(A)).await;
    let gone = r#"{"type":"record","name":"Conformance","fields":[{"name":"c","type":"int"}]}"#;
    let narrower = record(r#"{"name":"a","type":"boolean"}"#);
    for bad in [gone, &narrower] {
        for _ in 0..2 {
            match registry.register(subject, bad).await {
                Err(RegistryError::Incompatible { subject: s, reason }) => {
                    assert!(s.ends_with(subject), "{s}");
                    assert!(reason.len() > 10, "{reason:?} is no reason");
                }
                other => panic!("{bad} was answered {other:?}"),
            }
        }
    }
    assert_eq!(register(registry, subject, &record(A)).await, id);
    // It still grows from there.
    register(registry, subject, &record(&format!("{A},{B}"))).await;
}

/// Who comes back with a version that is no longer the newest gets the id that it had, even where it could
/// not follow the newest.
pub async fn an_old_schema_is_found_again(registry: &dyn Registry, subject: &str) {
    let first = register(registry, subject, &record(A)).await;
    // Without `a` the first could not read it.
    let second = register(registry, subject, &record(B)).await;
    assert_ne!(first, second);
    assert_eq!(register(registry, subject, &record(A)).await, first);
    assert_eq!(register(registry, subject, &record(B)).await, second);
}

/// Neither half a schema nor JSON that is none.
pub async fn what_is_no_schema_is_refused(registry: &dyn Registry, subject: &str) {
    for bad in [r#"{"type":"rec"#, r#"{"type":"nothing"}"#, "", "[]]"] {
        match registry.register(subject, bad).await {
            Err(RegistryError::Unparsable { subject: s, .. }) => {
                assert!(s.ends_with(subject), "{s}");
            }
            other => panic!("{bad:?} was answered {other:?}"),
        }
    }
}

/// A subject's name is no path.
pub async fn any_name_is_a_subject(registry: &dyn Registry, name: &str) {
    for odd in ["a/b", "a b", "a%2Fb", "Straße", "a?b#c", "a..b"] {
        let subject = format!("{name}-{odd}");
        let id = register(registry, &subject, &record(A)).await;
        let grown = register(registry, &subject, &record(&format!("{A},{B}"))).await;
        assert_ne!(id, grown, "{subject}");
    }
}

/// And not that the registry is away.
pub async fn an_unknown_id_is_said_to_be(registry: &dyn Registry) {
    for id in [UNKNOWN, SchemaId::MAX, 0] {
        match registry.schema(id).await {
            Err(RegistryError::UnknownId(unknown)) => assert_eq!(unknown, id),
            other => panic!("id {id} was answered {other:?}"),
        }
    }
}

/// Our own schemas have their place; a record under an id that there is not is rejected, with the id.
pub async fn a_record_of_an_unknown_id_is_rejected(registry: &Arc<dyn Registry>) {
    let codec = Codec::open(Arc::clone(registry)).await;
    let codec = codec.unwrap_or_else(|e| panic!("our own schemas: {e}"));
    let mut frame = vec![0];
    frame.extend_from_slice(&UNKNOWN.to_be_bytes());
    frame.extend_from_slice(b"whatever");
    assert!(unframe(&frame).is_ok());
    match codec.decode::<Reading>(&frame) {
        Err(DecodeError::UnknownSchema(id)) => assert_eq!(id, UNKNOWN),
        other => panic!("{other:?}"),
    }
    codec.learn(UNKNOWN).await.expect("the registry answers");
    match codec.decode::<Reading>(&frame) {
        Err(error @ DecodeError::SchemaRejected { id, .. }) => {
            assert_eq!(id, UNKNOWN);
            assert!(error.to_string().contains(&UNKNOWN.to_string()), "{error}");
        }
        other => panic!("{other:?}"),
    }
}
