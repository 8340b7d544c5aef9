//! How the records of one writer's schema are read: straight into our struct, rewritten first, or not at all.
//!
//! Most schemas that we meet are our own or an older one that lacks fields; they take the direct way. A
//! newcomer would send all that Avro calls compatible that way: it reads unions by index, takes no
//! promotion and knows no default, so that anything else must be resolved before.

use apache_avro::{
    Schema,
    schema::{NamesRef, RecordField, RecordSchema, ResolvedSchema, UnionSchema},
};
use serde_json::Value;

use crate::resolve::{Plan, follow};

/// What a writer's schema asks for.
#[derive(Debug)]
pub(crate) enum Class {
    /// Identical to ours, or lacking only fields that are null by default.
    Direct,
    /// The datum is rewritten into one of ours.
    Resolved(Plan),
    /// Some record that follows it is none of ours: why, and where in the schema.
    Rejected(String),
}

/// Classifies `writer` against `ours`.
pub(crate) fn classify(writer: &Schema, ours: &Schema) -> Class {
    if is_direct(writer, ours) {
        return Class::Direct;
    }
    match Plan::new(writer, ours) {
        Ok(plan) => Class::Resolved(plan),
        Err(reason) => Class::Rejected(reason),
    }
}

fn is_direct(writer: &Schema, ours: &Schema) -> bool {
    let (Ok(writers), Ok(readers)) = (ResolvedSchema::new(writer), ResolvedSchema::new(ours))
    else {
        return false;
    };
    let direct = Direct {
        writers: writers.get_names(),
        ours: readers.get_names(),
    };
    direct.schema(writer, ours)
}

struct Direct<'s, 'n> {
    writers: &'n NamesRef<'s>,
    ours: &'n NamesRef<'s>,
}

impl<'s> Direct<'s, '_> {
    /// Ends, as ours is not recursive and the writer's is followed only along ours.
    fn schema(&self, writer: &'s Schema, ours: &'s Schema) -> bool {
        let (Ok(writer), Ok(ours)) = (follow(writer, self.writers), follow(ours, self.ours)) else {
            return false;
        };
        match (writer, ours) {
            (Schema::Record(writer), Schema::Record(ours)) => self.record(writer, ours),
            (Schema::Union(writer), Schema::Union(ours)) => self.union(writer, ours),
            (Schema::Array(writer), Schema::Array(ours)) => self.schema(&writer.items, &ours.items),
            (Schema::Map(writer), Schema::Map(ours)) => self.schema(&writer.types, &ours.types),
            // Symbols are met by name.
            (Schema::Enum(writer), Schema::Enum(ours)) => {
                writer.name.name() == ours.name.name()
                    && writer.symbols.iter().all(|s| ours.symbols.contains(s))
            }
            (Schema::Fixed(writer), Schema::Fixed(ours)) => writer.size == ours.size,
            (Schema::Decimal(_) | Schema::Uuid(_) | Schema::Duration(_), _) => false,
            (writer, ours) => std::mem::discriminant(writer) == std::mem::discriminant(ours),
        }
    }

    /// Branches are met by index. A union of three or more is an enum of ours, which takes a union that has
    /// fewer branches at the end; a shorter one is an `Option`, which does not.
    fn union(&self, writer: &'s UnionSchema, ours: &'s UnionSchema) -> bool {
        let (writer, ours) = (writer.variants(), ours.variants());
        let prefix = ours.len() > 2 && writer.len() < ours.len();
        (writer.len() == ours.len() || prefix)
            && writer
                .iter()
                .zip(ours)
                .all(|(writer, ours)| self.schema(writer, ours))
    }

    fn record(&self, writer: &'s RecordSchema, ours: &'s RecordSchema) -> bool {
        // The library gives attributes of its own a meaning that ours do not use.
        let plain = !writer
            .attributes
            .keys()
            .any(|key| key.starts_with("org.apache.avro.rust"));
        if !plain || writer.name.name() != ours.name.name() {
            return false;
        }
        let mut theirs = writer.fields.iter().peekable();
        let all = ours.fields.iter().all(|field| match theirs.peek() {
            Some(their) if their.name == field.name => {
                let fits = self.schema(&their.schema, &field.schema);
                theirs.next();
                fits
            }
            _ => is_null_by_default(field),
        });
        all && theirs.next().is_none()
    }
}

/// A struct has `None` for a field that it does not meet; any other default must be written out.
fn is_null_by_default(field: &RecordField) -> bool {
    field.default == Some(Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{EntityChange, LedgerEntry, Reading, TickRecord, codec::Record};

    fn class(writer: &Value, ours: &str) -> &'static str {
        let writer = Schema::parse(writer).unwrap();
        match classify(&writer, &Schema::parse_str(ours).unwrap()) {
            Class::Direct => "direct",
            Class::Resolved(_) => "resolved",
            Class::Rejected(_) => "rejected",
        }
    }

    /// Our reading's schema, its fields changed.
    fn reading(change: impl FnOnce(&mut Vec<Value>)) -> &'static str {
        let mut schema: Value = serde_json::from_str(Reading::SCHEMA).unwrap();
        change(schema["fields"].as_array_mut().unwrap());
        class(&schema, Reading::SCHEMA)
    }

    #[test]
    fn our_own_schemas_go_straight() {
        for ours in [
            Reading::SCHEMA,
            EntityChange::SCHEMA,
            TickRecord::SCHEMA,
            LedgerEntry::SCHEMA,
        ] {
            assert_eq!(class(&serde_json::from_str(ours).unwrap(), ours), "direct");
        }
    }

    #[test]
    fn lacking_fields_that_are_null_by_default_goes_straight() {
        assert_eq!(
            reading(|f| f.retain(|f| f.get("default").is_none())),
            "direct"
        );
        assert_eq!(reading(|f| f.truncate(13)), "direct");
        assert_eq!(reading(|f| drop(f.remove(5))), "rejected");
    }

    #[test]
    fn a_default_that_is_not_null_is_written_out() {
        let ours =
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":7}]}"#;
        let without = json!({"type": "record", "name": "R", "fields": []});
        assert_eq!(class(&without, ours), "resolved");
    }

    #[test]
    fn anything_else_is_resolved() {
        assert_eq!(reading(|f| f.swap(0, 1)), "resolved");
        assert_eq!(
            reading(|f| f.push(json!({"name": "x", "type": "int"}))),
            "resolved"
        );
        assert_eq!(reading(|f| f[5]["type"] = json!("float")), "resolved");
        assert_eq!(reading(|f| f[2]["type"] = json!("int")), "resolved");
        assert_eq!(reading(|f| f[12]["type"] = json!("bytes")), "resolved");
    }

    #[test]
    fn unions_go_straight_only_where_indexes_agree() {
        let mut schema: Value = serde_json::from_str(EntityChange::SCHEMA).unwrap();
        let kinds = schema["fields"][7]["type"].as_array().unwrap().clone();
        schema["fields"][7]["type"] = json!(kinds[..2]);
        assert_eq!(class(&schema, EntityChange::SCHEMA), "direct");
        schema["fields"][7]["type"] = json!([kinds[0], kinds[2], kinds[1]]);
        assert_eq!(class(&schema, EntityChange::SCHEMA), "resolved");
        schema["fields"][7]["type"] = json!(kinds[1..]);
        assert_eq!(class(&schema, EntityChange::SCHEMA), "resolved");
    }
}
