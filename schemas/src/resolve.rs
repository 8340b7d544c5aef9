//! How a datum of one schema becomes the same datum of another, by Avro's rules of schema resolution.
//!
//! Avro's own library resolves over a value tree. We do not use that: its tree forgets the names of
//! records, so that a branch of a union is guessed by its fields; it does not look at field aliases; and
//! it takes the end of the input for null. A [`Plan`] is made once from both schemas and rewrites bytes.

mod default;
mod transcode;

pub(crate) use transcode::transcode;

use apache_avro::{
    Schema,
    schema::{
        DecimalSchema, EnumSchema, FixedSchema, InnerDecimalSchema, NamesRef, RecordField,
        RecordSchema, ResolvedSchema, UnionSchema, UuidSchema,
    },
};

/// A schema nested deeper, or recursive, is refused.
const MAX_DEPTH: usize = 32;
/// A plan with more steps is refused: references can make a short schema expand without bound.
const MAX_STEPS: usize = 10_000;

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
        let mut builder = Builder {
            writers: writers.get_names(),
            readers: readers.get_names(),
            steps: 0,
        };
        builder.plan(writer, reader, 0)
    }
}

/// A schema without logical types and references.
enum Shape<'s> {
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

fn shape(schema: &Schema) -> Shape<'_> {
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

struct Builder<'s, 'n> {
    writers: &'n NamesRef<'s>,
    readers: &'n NamesRef<'s>,
    steps: usize,
}

impl<'s> Builder<'s, '_> {
    fn plan(
        &mut self,
        writer: &'s Schema,
        reader: &'s Schema,
        depth: usize,
    ) -> Result<Plan, String> {
        self.steps += 1;
        if depth > MAX_DEPTH || self.steps > MAX_STEPS {
            return Err("the schema is recursive, nested too deep or too large".to_owned());
        }
        let writer = follow(writer, self.writers)?;
        let reader = follow(reader, self.readers)?;
        same_unit(writer, reader)?;
        let depth = depth + 1;
        Ok(match (shape(writer), shape(reader)) {
            (Shape::Union(union), _) => self.writers_union(union, reader, depth)?,
            (_, Shape::Union(union)) => self.readers_union(writer, union, depth)?,
            (Shape::Null, Shape::Null) => Plan::Null,
            (Shape::Boolean, Shape::Boolean) => Plan::Boolean,
            (Shape::Int, Shape::Int | Shape::Long) => Plan::Int,
            (Shape::Long, Shape::Long) => Plan::Long,
            (Shape::Int | Shape::Long, Shape::Float) => Plan::IntegerToFloat,
            (Shape::Int | Shape::Long, Shape::Double) => Plan::IntegerToDouble,
            (Shape::Float, Shape::Float) => Plan::Float,
            (Shape::Float, Shape::Double) => Plan::FloatToDouble,
            (Shape::Double, Shape::Double) => Plan::Double,
            (Shape::Bytes, Shape::Bytes) => Plan::Bytes,
            (Shape::Text | Shape::Bytes, Shape::Text | Shape::Bytes) => Plan::Text,
            (Shape::Fixed(w), Shape::Fixed(r)) if w.size == r.size => Plan::Fixed(w.size),
            (Shape::Enum(w), Shape::Enum(r)) => plan_enum(w, r)?,
            (Shape::Array(w), Shape::Array(r)) => Plan::Array(Box::new(self.plan(w, r, depth)?)),
            (Shape::Map(w), Shape::Map(r)) => Plan::Map(Box::new(self.plan(w, r, depth)?)),
            (Shape::Record(w), Shape::Record(r)) => self.record(w, r, depth)?,
            _ => {
                return Err(format!(
                    "{} cannot be read as {}",
                    title(writer),
                    title(reader)
                ));
            }
        })
    }

    /// Every branch must be readable: what could fail for some values is not compatible.
    fn writers_union(
        &mut self,
        writer: &'s UnionSchema,
        reader: &'s Schema,
        depth: usize,
    ) -> Result<Plan, String> {
        let branches = writer.variants().iter();
        branches
            .map(|branch| self.plan(branch, reader, depth))
            .collect::<Result<_, _>>()
            .map(Plan::OutOfUnion)
    }

    /// The branch of the same type and name, else the first that can take the value.
    fn readers_union(
        &mut self,
        writer: &'s Schema,
        reader: &'s UnionSchema,
        depth: usize,
    ) -> Result<Plan, String> {
        let mut promoted = None;
        for (index, branch) in reader.variants().iter().enumerate() {
            let branch = follow(branch, self.readers)?;
            let same = std::mem::discriminant(writer) == std::mem::discriminant(branch)
                && writer.name().map(|n| n.name()) == branch.name().map(|n| n.name());
            if !same && promoted.is_some() {
                continue;
            }
            let plan = self.plan(writer, branch, depth);
            if let Ok(plan) = plan {
                let plan = Plan::IntoUnion(index as i64, Box::new(plan));
                if same {
                    return Ok(plan);
                }
                promoted = Some(plan);
            } else if same {
                // A branch of this name is meant, and it does not fit: another must not stand in for it.
                return plan;
            }
        }
        promoted.ok_or_else(|| format!("no branch of the union takes {}", title(writer)))
    }

    fn record(
        &mut self,
        writer: &'s RecordSchema,
        reader: &'s RecordSchema,
        depth: usize,
    ) -> Result<Plan, String> {
        let named = reader.name.name() == writer.name.name()
            || reader
                .aliases
                .iter()
                .flatten()
                .any(|a| a.name() == writer.name.name());
        if !named {
            return Err(format!(
                "record {} cannot be read as {}",
                writer.name, reader.name
            ));
        }
        let mut read: Vec<Option<Plan>> = writer.fields.iter().map(|_| None).collect();
        let mut write = Vec::with_capacity(reader.fields.len());
        for field in &reader.fields {
            let at = |e: String| format!("{}.{}: {e}", reader.name.name(), field.name);
            let Some(index) = find_field(&writer.fields, field) else {
                let default = field
                    .default
                    .as_ref()
                    .ok_or_else(|| at("the writer lacks it, and it has no default".to_owned()))?;
                let mut bytes = Vec::new();
                default::encode(default, &field.schema, self.readers, &mut bytes).map_err(at)?;
                write.push(Origin::Default(bytes));
                continue;
            };
            let plan = self
                .plan(&writer.fields[index].schema, &field.schema, depth)
                .map_err(at)?;
            if read[index].replace(plan).is_some() {
                return Err(at(
                    "another field takes the same field of the writer".to_owned()
                ));
            }
            write.push(Origin::Field(index));
        }
        let read = read
            .into_iter()
            .zip(&writer.fields)
            .map(|(plan, field)| plan.map_or_else(|| self.skip(&field.schema, depth), Ok))
            .collect::<Result<_, _>>()?;
        Ok(Plan::Record { read, write })
    }

    /// A field that only the writer has is read as it is, to find where it ends.
    fn skip(&mut self, schema: &'s Schema, depth: usize) -> Result<Plan, String> {
        let mut own = Builder {
            writers: self.writers,
            readers: self.writers,
            steps: self.steps,
        };
        let plan = own.plan(schema, schema, depth);
        self.steps = own.steps;
        plan
    }
}

/// By the field's own name first, then by its aliases.
fn find_field(writer: &[RecordField], field: &RecordField) -> Option<usize> {
    std::iter::once(&field.name)
        .chain(&field.aliases)
        .find_map(|name| writer.iter().position(|theirs| &theirs.name == name))
}

fn plan_enum(writer: &EnumSchema, reader: &EnumSchema) -> Result<Plan, String> {
    if writer.name.name() != reader.name.name() {
        return Err(format!(
            "enum {} cannot be read as {}",
            writer.name, reader.name
        ));
    }
    let index = |symbol: &String| reader.symbols.iter().position(|ours| ours == symbol);
    writer
        .symbols
        .iter()
        .map(|symbol| {
            index(symbol)
                .or_else(|| reader.default.as_ref().and_then(index))
                .map(|at| at as i64)
                .ok_or_else(|| format!("enum {} has no symbol {symbol}", reader.name))
        })
        .collect::<Result<_, _>>()
        .map(Plan::Enum)
}

/// Avro reads a count of microseconds as any long. Our plain longs are milliseconds, so that a thousandfold
/// error would go unseen; what declares another unit is refused. Decimals must agree likewise.
fn same_unit(writer: &Schema, reader: &Schema) -> Result<(), String> {
    let finer = matches!(
        writer,
        Schema::TimeMicros
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos
    );
    let same = std::mem::discriminant(writer) == std::mem::discriminant(reader);
    let to_union = matches!(reader, Schema::Union(_));
    let fits = match (writer, reader) {
        (Schema::Decimal(w), Schema::Decimal(r)) => {
            (w.precision, w.scale) == (r.precision, r.scale)
        }
        _ => !finer || same || to_union,
    };
    fits.then_some(()).ok_or_else(|| {
        format!(
            "{} cannot be read as {}: the unit differs",
            title(writer),
            title(reader)
        )
    })
}

/// A short name of a schema for messages.
fn title(schema: &Schema) -> String {
    match schema.name() {
        Some(name) => name.to_string(),
        None => format!("{schema}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests

    use apache_avro::{
        reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter,
    };
    use serde_json::{Value as Json, json};

    use super::*;

    fn record(fields: &str) -> String {
        format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
    }

    fn plan(writer: &str, reader: &str) -> Result<Plan, String> {
        let [writer, reader] = [writer, reader].map(|text| Schema::parse_str(text).unwrap());
        Plan::new(&writer, &reader)
    }

    /// Writes and reads with Avro's own library, which knows nothing of plans.
    fn check(writer: &str, reader: &str, written: Json, expected: Json) {
        let plan = plan(writer, reader).unwrap();
        let [writer, reader] = [writer, reader].map(|text| Schema::parse_str(text).unwrap());
        let value = Value::try_from(written).unwrap().resolve(&writer).unwrap();
        let datum = GenericDatumWriter::builder(&writer).build().unwrap();
        let datum = datum.write_value_to_vec(value).unwrap();
        let resolved = transcode(&plan, &datum).unwrap();
        let mut rest = resolved.as_slice();
        let read = GenericDatumReader::builder(&reader).build().unwrap();
        let read = read.read_value(&mut rest).unwrap();
        assert_eq!(Json::try_from(read).unwrap(), expected);
        assert!(rest.is_empty());
    }

    #[test]
    fn defaults_of_every_type_are_written_out() {
        let defaults = [
            (r#""null""#, json!(null)),
            (r#""boolean""#, json!(true)),
            (r#""int""#, json!(-3)),
            (r#""long""#, json!(1_i64 << 40)),
            (r#""float""#, json!(0.5)),
            (r#""double""#, json!(0.1)),
            (r#""string""#, json!("é")),
            (r#"["long","null"]"#, json!(7)),
            (
                r#"{"type":"enum","name":"E","symbols":["A","B"]}"#,
                json!("B"),
            ),
            (r#"{"type":"array","items":"int"}"#, json!([1, 2])),
            (r#"{"type":"map","values":"int"}"#, json!({"a": 1})),
            (
                r#"{"type":"record","name":"P","fields":[{"name":"x","type":"int"},{"name":"y","type":"int","default":9}]}"#,
                json!({"x": 1}),
            ),
        ];
        for (schema, default) in defaults {
            let field = format!(r#"{{"name":"a","type":{schema},"default":{default}}}"#);
            let mut expected = default;
            if schema.contains("\"P\"") {
                expected["y"] = json!(9);
            }
            check(
                &record(""),
                &record(&field),
                json!({}),
                json!({"a": expected}),
            );
        }
    }

    #[test]
    fn a_default_of_another_type_is_refused() {
        for (schema, default) in [("int", "3000000000"), ("string", "1"), ("boolean", "null")] {
            let field = format!(r#"{{"name":"a","type":"{schema}","default":{default}}}"#);
            // The library's parser may find it first.
            if let Ok(reader) = Schema::parse_str(&record(&field)) {
                let writer = Schema::parse_str(&record("")).unwrap();
                assert!(Plan::new(&writer, &reader).is_err(), "{field}");
            }
        }
    }

    #[test]
    fn aliases_are_followed() {
        check(
            &record(r#"{"name":"old","type":"int"},{"name":"other","type":"string"}"#),
            &record(r#"{"name":"new","type":"long","aliases":["gone","old"]}"#),
            json!({"old": 5, "other": "x"}),
            json!({"new": 5}),
        );
        let renamed = r#"{"type":"record","name":"S","aliases":["R"],"fields":[]}"#;
        check(&record(""), renamed, json!({}), json!({}));
    }

    #[test]
    fn collections_and_promotions() {
        check(
            &record(
                r#"{"name":"a","type":{"type":"array","items":"int"}},{"name":"m","type":{"type":"map","values":"float"}}"#,
            ),
            &record(
                r#"{"name":"m","type":{"type":"map","values":"double"}},{"name":"a","type":{"type":"array","items":["null","long"]}}"#,
            ),
            json!({"a": [1, -2, 3], "m": {"k": 0.5}}),
            json!({"m": {"k": 0.5}, "a": [1, -2, 3]}),
        );
    }

    /// The same type wins over one that stands earlier and could take the value too.
    #[test]
    fn a_union_takes_the_same_type_first() {
        let plan = plan(r#""long""#, r#"["double","long"]"#).unwrap();
        assert_eq!(transcode(&plan, &[14]).unwrap(), [2, 14]);
    }

    #[test]
    fn a_type_that_is_named_again_is_followed() {
        let twice = record(
            r#"{"name":"p","type":{"type":"record","name":"P","fields":[{"name":"x","type":"int"}]}},{"name":"q","type":"P"}"#,
        );
        check(
            &twice,
            &record(
                r#"{"name":"q","type":{"type":"record","name":"P","fields":[{"name":"x","type":"double"}]}}"#,
            ),
            json!({"p": {"x": 1}, "q": {"x": 2}}),
            json!({"q": {"x": 2.0}}),
        );
    }

    #[test]
    fn a_schema_that_expands_without_bound_is_refused() {
        let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
        assert!(plan(list, list).is_err());
        let mut fields = r#"{"name":"f0","type":{"type":"record","name":"T0","fields":[{"name":"x","type":"int"}]}}"#.to_owned();
        for i in 1..30 {
            let below = i - 1;
            fields += &format!(
                r#",{{"name":"f{i}","type":{{"type":"record","name":"T{i}","fields":[{{"name":"a","type":"T{below}"}},{{"name":"b","type":"T{below}"}}]}}}}"#
            );
        }
        assert!(plan(&record(&fields), &record("")).is_err());
    }
}
