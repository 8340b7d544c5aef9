//! How the records of one writer's schema are read, as each of our types.
//!
//! A newcomer would look this up by the schema id of a record. What an id stands for is not known here: the
//! log says it, or a registry.

use std::{fmt, sync::Arc};

use apache_avro::{Schema, reader::datum::GenericDatumReader};

use crate::{
    classify::{Class, classify},
    resolve::Plan,
};

/// How records with one writer's schema are read as one of our types.
pub(crate) enum Way {
    Direct(Arc<GenericDatumReader<'static>>),
    Resolved(Plan),
    Rejected(String),
}

/// How the records of one writer's schema are read: a way for each of our types. Cheap to clone.
#[derive(Clone)]
pub struct Writer(Arc<[Way]>);

impl Writer {
    /// Classifies a schema against each of ours. What a direct way needs is never freed, so that a schema is
    /// to be asked for once in the life of a process.
    pub(crate) fn new(text: &str, ours: &[&Schema]) -> Self {
        let rejected = |reason: &str| Self::rejected(reason, ours.len());
        let writer = match Schema::parse_str(text) {
            Ok(schema) => schema,
            Err(e) => return rejected(&format!("it does not parse: {}", brief(&e))),
        };
        let classes: Vec<Class> = ours.iter().map(|ours| classify(&writer, ours)).collect();
        let mut direct = None;
        if classes.iter().any(|class| matches!(class, Class::Direct)) {
            // There are as many as schemas in the log, a handful.
            match reader(Box::leak(Box::new(writer))) {
                Ok(reader) => direct = Some(Arc::new(reader)),
                Err(e) => return rejected(&brief(&e)),
            }
        }
        let way = |class| match class {
            Class::Direct => Way::Direct(direct.clone().expect("made when any class is direct")),
            Class::Resolved(plan) => Way::Resolved(plan),
            Class::Rejected(reason) => Way::Rejected(reason),
        };
        Self(classes.into_iter().map(way).collect())
    }

    /// No way for any of so many types.
    pub(crate) fn rejected(reason: &str, types: usize) -> Self {
        let ways = (0..types).map(|_| Way::Rejected(reason.to_owned()));
        Self(ways.collect())
    }

    /// The way for one of our types.
    pub(crate) fn way(&self, slot: usize) -> &Way {
        &self.0[slot]
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

pub(crate) fn reader(
    schema: &'static Schema,
) -> Result<GenericDatumReader<'static>, apache_avro::Error> {
    GenericDatumReader::builder(schema)
        .human_readable(false)
        .build()
}

/// The library's messages may hold whole schemas; their beginning says what is wrong.
pub(crate) fn brief(error: &apache_avro::Error) -> String {
    error.to_string().chars().take(300).collect()
}
