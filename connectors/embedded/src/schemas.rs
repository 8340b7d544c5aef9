//! The embedded registry's rules, on the meta keyspace.
//!
//! A schema's text is kept as it was first given; which texts are the same schema, `canonical` says. What
//! a newcomer would get wrong: ids count over all subjects, so a subject's ids have gaps.

use fjall::Readable;
use openinfra_schemas::{
    compatibility::{canonical, check_backward},
    registry::{RegistryError, SchemaId},
};

use crate::{database::Database, error::Failure, meta};

/// What registering a schema comes to.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) id: SchemaId,
    /// Rows of the meta keyspace to be written; none when the subject has the schema.
    pub(crate) rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Decides on what is committed, so nothing may be registered at the same time.
pub(crate) fn decide(
    database: &Database,
    subject: &str,
    schema: &str,
) -> Result<Registration, RegistryError> {
    let unparsable = |reason| RegistryError::Unparsable {
        subject: subject.to_owned(),
        reason,
    };
    let wanted = canonical(schema).map_err(unparsable)?;
    let known = all_schemas(database).map_err(unavailable)?;
    let same = known
        .iter()
        .find(|(_, text)| canonical(text).is_ok_and(|known| known == wanted))
        .map(|(id, _)| *id);
    let versions = versions(database, subject).map_err(unavailable)?;
    if let Some(id) = same.filter(|id| versions.contains(id)) {
        return Ok(Registration { id, rows: vec![] });
    }
    let newest = versions
        .last()
        .and_then(|newest| known.iter().find(|(id, _)| id == newest));
    if let Some((_, old)) = newest {
        check_backward(schema, old).map_err(|reason| RegistryError::Incompatible {
            subject: subject.to_owned(),
            reason,
        })?;
    }
    let mut rows = Vec::with_capacity(2);
    let id = same.unwrap_or_else(|| {
        let id = known.last().map_or(1, |(id, _)| id + 1);
        rows.push((schema_key(id), schema.as_bytes().to_vec()));
        id
    });
    let version = u32::try_from(versions.len() + 1).unwrap_or(u32::MAX);
    let mut key = subject_prefix(subject);
    key.extend_from_slice(&version.to_be_bytes());
    rows.push((key, id.to_be_bytes().to_vec()));
    Ok(Registration { id, rows })
}

/// The text of a schema.
pub(crate) fn find(database: &Database, id: SchemaId) -> Result<Option<String>, Failure> {
    let value = database.shown().get(database.meta(), schema_key(id))?;
    value.map(|value| text(&value)).transpose()
}

/// How a failure of the database is told in the registry's words.
pub(crate) fn unavailable(failure: Failure) -> RegistryError {
    RegistryError::Unavailable(match failure {
        Failure::StorageFull => "the storage is full; restart when it has space".into(),
        Failure::Unavailable(why) => why,
        Failure::Damaged(what) => format!("damaged: {what}"),
    })
}

/// All schemas, by id.
fn all_schemas(database: &Database) -> Result<Vec<(SchemaId, String)>, Failure> {
    database
        .shown()
        .prefix(database.meta(), meta::SCHEMA)
        .map(|entry| {
            let (key, value) = entry.into_inner()?;
            Ok((number(&key[meta::SCHEMA.len()..])?, text(&value)?))
        })
        .collect()
}

/// The names of all subjects, in order.
pub(crate) fn subjects(database: &Database) -> Result<Vec<String>, Failure> {
    let mut subjects: Vec<String> = Vec::new();
    for entry in database.shown().prefix(database.meta(), meta::SUBJECT) {
        let key = entry.key()?;
        let end = key.len().saturating_sub(1 + size_of::<u32>());
        let subject = key.get(meta::SUBJECT.len()..end).unwrap_or_default();
        if subjects
            .last()
            .is_none_or(|last| last.as_bytes() != subject)
        {
            subjects.push(text(subject)?);
        }
    }
    Ok(subjects)
}

/// The ids of a subject's versions, oldest first.
pub(crate) fn versions(database: &Database, subject: &str) -> Result<Vec<SchemaId>, Failure> {
    database
        .shown()
        .prefix(database.meta(), subject_prefix(subject))
        .map(|entry| number(&entry.value()?))
        .collect()
}

fn schema_key(id: SchemaId) -> Vec<u8> {
    [meta::SCHEMA, &id.to_be_bytes()].concat()
}

fn subject_prefix(subject: &str) -> Vec<u8> {
    [meta::SUBJECT, subject.as_bytes(), &[0]].concat()
}

fn number(bytes: &[u8]) -> Result<u32, Failure> {
    match bytes.try_into() {
        Ok(bytes) => Ok(u32::from_be_bytes(bytes)),
        Err(_) => Err(Failure::Damaged("a schema id is not 4 bytes".into())),
    }
}

fn text(bytes: &[u8]) -> Result<String, Failure> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Failure::Damaged("a schema or a subject is not UTF-8".into()))
}
