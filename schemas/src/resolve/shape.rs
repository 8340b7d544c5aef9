//! What a schema is, looked at without its logical type and its name.

use apache_avro::{
    Schema,
    schema::{
        DecimalSchema, EnumSchema, FixedSchema, InnerDecimalSchema, NamesRef, RecordSchema,
        UnionSchema, UuidSchema,
    },
};

/// A schema without logical types and references.
pub(super) enum Shape<'s> {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(&'s FixedSchema),
    Enum(&'s EnumSchema),
    Array(&'s Schema),
    Map(&'s Schema),
    Union(&'s UnionSchema),
    Record(&'s RecordSchema),
}

pub(super) fn shape(schema: &Schema) -> Shape<'_> {
    match schema {
        Schema::Null => Shape::Null,
        Schema::Boolean => Shape::Boolean,
        Schema::Int | Schema::Date | Schema::TimeMillis => Shape::Int,
        Schema::Long
        | Schema::TimeMicros
        | Schema::TimestampMillis
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos => Shape::Long,
        Schema::Float => Shape::Float,
        Schema::Double => Shape::Double,
        Schema::Bytes
        | Schema::BigDecimal
        | Schema::Uuid(UuidSchema::Bytes)
        | Schema::Decimal(DecimalSchema {
            inner: InnerDecimalSchema::Bytes,
            ..
        }) => Shape::Bytes,
        Schema::String | Schema::Uuid(UuidSchema::String) => Shape::Text,
        Schema::Fixed(fixed)
        | Schema::Duration(fixed)
        | Schema::Uuid(UuidSchema::Fixed(fixed))
        | Schema::Decimal(DecimalSchema {
            inner: InnerDecimalSchema::Fixed(fixed),
            ..
        }) => Shape::Fixed(fixed),
        Schema::Enum(symbols) => Shape::Enum(symbols),
        Schema::Array(array) => Shape::Array(&array.items),
        Schema::Map(map) => Shape::Map(&map.types),
        Schema::Union(union) => Shape::Union(union),
        Schema::Record(record) => Shape::Record(record),
        Schema::Ref { .. } => unreachable!("callers follow references first"),
    }
}

/// Follows a reference to the type it names.
pub(crate) fn follow<'s>(schema: &'s Schema, names: &NamesRef<'s>) -> Result<&'s Schema, String> {
    match schema {
        Schema::Ref { name } => names
            .get(name)
            .copied()
            .ok_or_else(|| format!("type {name} is not defined")),
        schema => Ok(schema),
    }
}

/// A short name of a schema for messages.
pub(super) fn title(schema: &Schema) -> String {
    match schema.name() {
        Some(name) => name.to_string(),
        None => format!("{schema}").to_lowercase(),
    }
}
