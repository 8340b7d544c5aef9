//! How a plan is made: type by type, by what Avro lets one be read as another.

use apache_avro::{
    Schema,
    schema::{EnumSchema, NamesRef, RecordField, RecordSchema, UnionSchema},
};

use super::{
    Origin, Plan, default,
    shape::{Shape, follow, shape, title},
};

/// A schema nested deeper, or recursive, is refused.
const MAX_DEPTH: usize = 32;
/// A plan with more steps is refused: references can make a short schema expand without bound.
const MAX_STEPS: usize = 10_000;

/// Makes a plan from two schemas.
pub(super) struct Builder<'s, 'n> {
    writers: &'n NamesRef<'s>,
    readers: &'n NamesRef<'s>,
    steps: usize,
}

impl<'s, 'n> Builder<'s, 'n> {
    pub(super) fn new(writers: &'n NamesRef<'s>, readers: &'n NamesRef<'s>) -> Self {
        Self {
            writers,
            readers,
            steps: 0,
        }
    }

    pub(super) fn plan(
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
