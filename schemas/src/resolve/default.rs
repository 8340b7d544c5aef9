//! The default of a field, as JSON in the schema, to the bytes that stand for it.

use apache_avro::{Schema, schema::NamesRef};
use serde_json::Value;

use super::{
    shape::{Shape, follow, shape},
    transcode::{write_bytes, write_long},
};

/// Appends `json` as a datum of `schema`; the error says what it should be.
pub(super) fn encode<'s>(
    json: &Value,
    schema: &'s Schema,
    names: &NamesRef<'s>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let schema = follow(schema, names)?;
    let wrong = || format!("the default {json} is not of its type");
    match shape(schema) {
        Shape::Null => json.as_null().ok_or_else(wrong)?,
        Shape::Boolean => out.push(json.as_bool().ok_or_else(wrong)?.into()),
        Shape::Int => {
            let int = json.as_i64().and_then(|i| i32::try_from(i).ok());
            write_long(int.ok_or_else(wrong)?.into(), out);
        }
        Shape::Long => write_long(json.as_i64().ok_or_else(wrong)?, out),
        Shape::Float => {
            let float = json.as_f64().ok_or_else(wrong)? as f32;
            out.extend_from_slice(&float.to_le_bytes());
        }
        Shape::Double => {
            out.extend_from_slice(&json.as_f64().ok_or_else(wrong)?.to_le_bytes());
        }
        Shape::Text => write_bytes(json.as_str().ok_or_else(wrong)?.as_bytes(), out),
        Shape::Bytes => write_bytes(&latin1(json).ok_or_else(wrong)?, out),
        Shape::Fixed(fixed) => {
            let bytes = latin1(json).filter(|bytes| bytes.len() == fixed.size);
            out.extend_from_slice(&bytes.ok_or_else(wrong)?);
        }
        Shape::Enum(symbols) => {
            let mut all = symbols.symbols.iter();
            let index = json.as_str().and_then(|text| all.position(|s| s == text));
            write_long(index.ok_or_else(wrong)? as i64, out);
        }
        Shape::Array(items) => {
            let values = json.as_array().ok_or_else(wrong)?;
            if !values.is_empty() {
                write_long(values.len() as i64, out);
                for value in values {
                    encode(value, items, names, out)?;
                }
            }
            write_long(0, out);
        }
        Shape::Map(types) => {
            let entries = json.as_object().ok_or_else(wrong)?;
            if !entries.is_empty() {
                write_long(entries.len() as i64, out);
                for (key, value) in entries {
                    write_bytes(key.as_bytes(), out);
                    encode(value, types, names, out)?;
                }
            }
            write_long(0, out);
        }
        // By the specification a default is a value of the first branch.
        Shape::Union(union) => {
            let first = union.variants().first().ok_or_else(wrong)?;
            write_long(0, out);
            encode(json, first, names, out)?;
        }
        Shape::Record(record) => {
            let entries = json.as_object().ok_or_else(wrong)?;
            for field in &record.fields {
                let value = entries.get(&field.name).or(field.default.as_ref());
                encode(value.ok_or_else(wrong)?, &field.schema, names, out)?;
            }
        }
    }
    Ok(())
}

/// Bytes in a schema's JSON are characters up to U+00FF.
fn latin1(json: &Value) -> Option<Vec<u8>> {
    let chars = json.as_str()?.chars();
    chars.map(|c| u8::try_from(u32::from(c)).ok()).collect()
}
