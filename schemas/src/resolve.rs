//! How a datum of one schema becomes the same datum of another, by Avro's rules of schema resolution.
//!
//! Avro's own library resolves over a value tree. We do not use that: its tree forgets the names of
//! records, so that a branch of a union is guessed by its fields; it does not look at field aliases; and
//! it takes the end of the input for null. A [`Plan`] is made once from both schemas and rewrites bytes.

mod build;
mod default;
mod shape;
mod transcode;

use apache_avro::{Schema, schema::ResolvedSchema};

use build::Builder;
pub(crate) use shape::follow;
pub(crate) use transcode::transcode;

/// Turns each datum of the writer's schema into one of the reader's.
#[derive(Debug)]
pub(crate) enum Plan {
    Null,
    Boolean,
    /// As int or as long: the bytes are the same.
    Int,
    Long,
    Float,
    Double,
    IntegerToFloat,
    IntegerToDouble,
    FloatToDouble,
    Bytes,
    /// Bytes that are UTF-8.
    Text,
    Fixed(usize),
    /// The writer's symbol to the reader's.
    Enum(Vec<i64>),
    Array(Box<Plan>),
    Map(Box<Plan>),
    /// The writer's is a union: one plan for each branch.
    OutOfUnion(Vec<Plan>),
    /// The reader's is a union: the branch, and how the value gets there.
    IntoUnion(i64, Box<Plan>),
    Record {
        /// One for each field of the writer's, in its order.
        read: Vec<Plan>,
        /// One for each field of the reader's, in its order.
        write: Vec<Origin>,
    },
}

/// Where a field of the reader's record comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// The writer's field at this place.
    Field(usize),
    /// The encoded default.
    Default(Vec<u8>),
}

impl Plan {
    /// Finds how every value of `writer` reads as `reader`; the error says what stands in the way and where.
    pub(crate) fn new(writer: &Schema, reader: &Schema) -> Result<Self, String> {
        let names = |schema| ResolvedSchema::new(schema).map_err(|e| e.to_string());
        let (writers, readers) = (names(writer)?, names(reader)?);
        Builder::new(writers.get_names(), readers.get_names()).plan(writer, reader, 0)
    }
}

#[cfg(test)]
mod tests;
