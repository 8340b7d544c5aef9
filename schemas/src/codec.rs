//! Records to bytes and back: `0x00`, the schema id in four bytes, the Avro datum.
//!
//! A record is written with our newest schema and read with its writer's. A newcomer would expect the
//! reader to guess: nothing is ever filled in that the schema has no default for.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use apache_avro::{Schema, reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    entity::EntityChange,
    ledger::LedgerEntry,
    reading::Reading,
    registry::{Registry, RegistryError, SchemaId},
    resolve::transcode,
    tick::TickRecord,
    writer::{Way, Writer, brief, reader},
};

/// A type whose values stand in the log.
pub trait Record: Serialize + DeserializeOwned + Send {
    /// The registry's subject: the topic's name and `-value`.
    const SUBJECT: &'static str;
    /// Our newest schema.
    const SCHEMA: &'static str;
    /// A number of its own for each type.
    const SLOT: usize;
}

macro_rules! records {
    ($($slot:literal $type:ty, $subject:literal, $file:literal;)*) => {
        $(impl Record for $type {
            const SUBJECT: &'static str = $subject;
            const SCHEMA: &'static str = include_str!(concat!("../avro/", $file));
            const SLOT: usize = $slot;
        })*
        const OURS: &[(&str, &str)] = &[$((<$type>::SUBJECT, <$type>::SCHEMA)),*];
    };
}

records! {
    0 Reading, "readings-value", "reading.avsc";
    1 EntityChange, "entities-value", "entity_change.avsc";
    2 TickRecord, "ticks-value", "tick_record.avsc";
    3 LedgerEntry, "ledger-value", "ledger_entry.avsc";
}

/// Why bytes of the log are no record of the expected type.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the frame is wrong: {0}")]
    Frame(String),
    /// Ask [`Codec::learn`], then decode again.
    #[error("schema id {0} is not known yet")]
    UnknownSchema(SchemaId),
    /// `schema_rejected`.
    #[error("schema id {id} cannot be resolved to {subject}: {reason}")]
    SchemaRejected {
        id: SchemaId,
        subject: &'static str,
        reason: String,
    },
    /// `undecodable`.
    #[error("the datum does not follow schema id {id}: {reason}")]
    Datum { id: SchemaId, reason: String },
}

/// The longest string or byte field that is read: a length beyond it is an error before any allocation.
const MAX_FIELD_BYTES: usize = 64 << 20;

/// Ids that are remembered to have no schema. Whoever writes garbage may write any of four billion.
const MAX_UNKNOWN: usize = 65_536;

/// Our own schema of one type, registered.
struct Ours {
    id: SchemaId,
    schema: &'static Schema,
    writer: GenericDatumWriter<'static>,
    reader: GenericDatumReader<'static>,
}

impl Ours {
    fn new(id: SchemaId, text: &str) -> Result<Self, apache_avro::Error> {
        // It lives as long as the process: there are as many as types of records.
        let schema: &'static Schema = Box::leak(Box::new(Schema::parse_str(text)?));
        Ok(Self {
            id,
            schema,
            writer: GenericDatumWriter::builder(schema)
                .validate(false)
                .human_readable(false)
                .build()?,
            reader: reader(schema)?,
        })
    }
}

/// Encodes with our schemas, decodes with any other. Cheap to share.
///
/// Who reads the log by what the log says of schema ids uses [`schema`](Self::schema),
/// [`writer`](Self::writer) and [`decode_by`](Self::decode_by). Who has no log to go by asks the registry, by
/// [`decode`](Self::decode) and [`learn`](Self::learn).
pub struct Codec {
    registry: Arc<dyn Registry>,
    /// By [`Record::SLOT`].
    ours: Vec<Ours>,
    /// Off the usual path: a record with our own id never asks here, so that no lock is shared.
    theirs: RwLock<HashMap<SchemaId, Writer>>,
    /// By the schema's text.
    writers: RwLock<HashMap<String, Writer>>,
    /// Of every id that has no schema.
    nobody: Writer,
}

impl Codec {
    /// Registers our schemas, which fails when one is not compatible with what is there.
    pub async fn open(registry: Arc<dyn Registry>) -> Result<Self, RegistryError> {
        apache_avro::util::max_allocation_bytes(MAX_FIELD_BYTES);
        let mut ours = Vec::with_capacity(OURS.len());
        for (subject, text) in OURS {
            let id = registry.register(subject, text).await?;
            ours.push(Ours::new(id, text).map_err(|e| RegistryError::Unparsable {
                subject: (*subject).to_owned(),
                reason: e.to_string(),
            })?);
        }
        Ok(Self {
            registry,
            nobody: Writer::rejected("no schema is registered under it", ours.len()),
            ours,
            theirs: RwLock::default(),
            writers: RwLock::default(),
        })
    }

    /// Appends the framed bytes of a record to `out`.
    pub fn encode<T: Record>(&self, record: &T, out: &mut Vec<u8>) {
        let ours = &self.ours[T::SLOT];
        out.push(0);
        out.extend_from_slice(&ours.id.to_be_bytes());
        ours.writer
            .write_ser(out, record)
            .expect("our types follow our schemas, and a vector takes all bytes");
    }

    /// The framed bytes of a record.
    pub fn encode_to_vec<T: Record>(&self, record: &T) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        self.encode(record, &mut out);
        out
    }

    /// Reads a framed record: the whole of `bytes`, by the schema that it was written with.
    pub fn decode<T: Record>(&self, bytes: &[u8]) -> Result<T, DecodeError> {
        let (id, _) = unframe(bytes)?;
        if id == self.ours[T::SLOT].id {
            return self.decode_own(bytes);
        }
        self.decode_by(&self.theirs(id)?, bytes)
    }

    /// Reads a framed record by our own schema, whatever id stands in the frame.
    pub fn decode_own<T: Record>(&self, bytes: &[u8]) -> Result<T, DecodeError> {
        let (id, datum) = unframe(bytes)?;
        read_whole(&self.ours[T::SLOT].reader, datum)
            .map_err(|reason| DecodeError::Datum { id, reason })
    }

    /// Reads a framed record by the schema of `writer`, whatever id stands in the frame.
    pub fn decode_by<T: Record>(&self, writer: &Writer, bytes: &[u8]) -> Result<T, DecodeError> {
        let (id, datum) = unframe(bytes)?;
        let read = match writer.way(T::SLOT) {
            Way::Direct(reader) => read_whole(reader, datum),
            Way::Resolved(plan) => transcode(plan, datum)
                .and_then(|resolved| read_whole(&self.ours[T::SLOT].reader, &resolved)),
            Way::Rejected(reason) => {
                return Err(DecodeError::SchemaRejected {
                    id,
                    subject: T::SUBJECT,
                    reason: reason.clone(),
                });
            }
        };
        read.map_err(|reason| DecodeError::Datum { id, reason })
    }

    /// How records by a schema are read; of text that is no schema, that they are rejected.
    pub fn writer(&self, schema: &str) -> Writer {
        let known = self.writers.read().expect("no holder of the lock panics");
        if let Some(writer) = known.get(schema) {
            return writer.clone();
        }
        drop(known);
        let ours: Vec<&Schema> = self.ours.iter().map(|ours| ours.schema).collect();
        let mut known = self.writers.write().expect("no holder of the lock panics");
        let writer = known
            .entry(schema.to_owned())
            .or_insert_with_key(|text| Writer::new(text, &ours));
        writer.clone()
    }

    /// How records are read whose id has no schema: they are rejected.
    pub fn nobody(&self) -> Writer {
        self.nobody.clone()
    }

    /// Our own schema under an id that the registry gave us: its subject and its text.
    pub fn own_schema(&self, id: SchemaId) -> Option<(&'static str, &'static str)> {
        let slot = self.ours.iter().position(|ours| ours.id == id)?;
        Some(OURS[slot])
    }

    /// The Avro schema of an id, as of now; none when the registry says for sure that there is none. Our own
    /// ones are not asked for.
    ///
    /// # Errors
    /// When nothing is known of the id, so that nothing may be said of its records; ask again.
    pub async fn schema(&self, id: SchemaId) -> Result<Option<String>, RegistryError> {
        if let Some((_, text)) = self.own_schema(id) {
            return Ok(Some(text.to_owned()));
        }
        match self.registry.schema(id).await {
            Ok(text) => Ok(Some(text)),
            Err(RegistryError::UnknownId(_) | RegistryError::NotAvro { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn theirs(&self, id: SchemaId) -> Result<Writer, DecodeError> {
        let theirs = self.theirs.read().expect("no holder of the lock panics");
        theirs
            .get(&id)
            .cloned()
            .ok_or(DecodeError::UnknownSchema(id))
    }

    /// Fetches and classifies a writer's schema, after [`DecodeError::UnknownSchema`].
    ///
    /// A schema that none of our types can be read from is learnt too, and so is that there is none: an id
    /// that the registry does not know is judged once, at first sight. Its records are
    /// [`DecodeError::SchemaRejected`] from then on, as far as this codec reads them.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`]: nothing is known of the schema, so that nothing may be said of the
    /// record; ask again. [`RegistryError::UnknownId`] only when tens of thousands of such ids are remembered.
    pub async fn learn(&self, id: SchemaId) -> Result<(), RegistryError> {
        if self.theirs(id).is_ok() {
            return Ok(());
        }
        let schema = self.schema(id).await?;
        let is_unknown = schema.is_none();
        let writer = schema.map_or_else(|| self.nobody(), |text| self.writer(&text));
        let mut known = self.theirs.write().expect("no holder of the lock panics");
        if is_unknown && known.len() >= MAX_UNKNOWN {
            return Err(RegistryError::UnknownId(id));
        }
        known.entry(id).or_insert(writer);
        Ok(())
    }
}

fn read_whole<T: Record>(reader: &GenericDatumReader<'_>, mut datum: &[u8]) -> Result<T, String> {
    let record = reader.read_deser(&mut datum).map_err(|e| brief(&e))?;
    if datum.is_empty() {
        Ok(record)
    } else {
        Err(format!("{} bytes are left over", datum.len()))
    }
}

/// The schema id and the datum of a framed record.
pub fn unframe(bytes: &[u8]) -> Result<(SchemaId, &[u8]), DecodeError> {
    match bytes {
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        [0, ..] => Err(DecodeError::Frame(format!(
            "{} bytes, at least 5 expected",
            bytes.len()
        ))),
        [magic, ..] => Err(DecodeError::Frame(format!(
            "first byte {magic:#04x}, expected 0x00"
        ))),
        [] => Err(DecodeError::Frame("no bytes".to_owned())),
    }
}
