//! The rules by which a registry takes a schema: what is the same one, and what may follow another.
//!
//! A newcomer would take Avro's *parsing canonical form* for sameness; it drops defaults and aliases, which
//! decide how a reader resolves, so that two schemas that read differently would share an id.

use apache_avro::{
    Schema,
    schema_compatibility::{Compatibility, SchemaCompatibility},
};
use serde_json::Value;

/// Checks BACKWARD compatibility: `new` reads every record that was written with `old`.
///
/// What Avro can resolve only for some of the values (an enum that lost a symbol, a union that lost a
/// branch) is incompatible. The error says what stands in the way.
pub fn check_backward(new: &str, old: &str) -> Result<(), String> {
    let new = Schema::parse_str(new).map_err(|e| format!("the new schema does not parse: {e}"))?;
    let old = Schema::parse_str(old).map_err(|e| format!("the old schema does not parse: {e}"))?;
    match SchemaCompatibility::can_read(&old, &new) {
        Ok(Compatibility::Full) => Ok(()),
        Ok(Compatibility::Partial) => {
            Err("it can read only some of the values that the old schema allows".to_owned())
        }
        Err(e) => Err(e.to_string()),
    }
}

/// Whether two schemas write every value as the same bytes under the same names, so that records of one may
/// carry the id of the other. Docs, defaults and aliases do not count: they matter to readers only.
///
/// The error says which of them does not parse.
pub fn write_alike(one: &str, other: &str) -> Result<bool, String> {
    let form = |text| Schema::parse_str(text).map(|schema| schema.canonical_form());
    let one = form(one).map_err(|e| format!("one schema does not parse: {e}"))?;
    let other = form(other).map_err(|e| format!("the other schema does not parse: {e}"))?;
    Ok(one == other)
}

/// The text that two schemas share exactly when a registry gives them one id.
///
/// White space and the order of keys in an object do not count; names, docs, defaults, aliases and the
/// order of fields, symbols and branches do. The error says why the text is no schema.
pub fn canonical(schema: &str) -> Result<String, String> {
    Schema::parse_str(schema).map_err(|e| e.to_string())?;
    let json: Value = serde_json::from_str(schema).map_err(|e| e.to_string())?;
    let mut out = String::with_capacity(schema.len());
    write_sorted(&json, &mut out);
    Ok(out)
}

/// Sorts by itself: whether serde_json keeps the order of keys depends on features others switch on.
fn write_sorted(json: &Value, out: &mut String) {
    match json {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_sorted(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_sorted(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &str) -> String {
        format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
    }

    const A: &str = r#"{"name":"a","type":"int"}"#;

    #[test]
    fn what_reads_all_old_values_may_follow() {
        let old = record(A);
        for new in [
            record(A),
            record(""),
            record(r#"{"name":"a","type":"long"}"#),
            record(r#"{"name":"a","type":"double"}"#),
            record(r#"{"name":"a","type":["null","int"]}"#),
            record(r#"{"name":"b","type":"int","aliases":["a"]}"#),
            record(&format!(
                r#"{A},{{"name":"b","type":["null","string"],"default":null}}"#
            )),
        ] {
            assert_eq!(check_backward(&new, &old), Ok(()), "{new}");
        }
    }

    #[test]
    fn what_reads_some_or_none_may_not() {
        let old = record(A);
        for new in [
            record(r#"{"name":"a","type":"string"}"#),
            record(&format!(r#"{A},{{"name":"b","type":"string"}}"#)),
            record(r#"{"name":"b","type":"int"}"#),
            r#"{"type":"record","name":"Other","fields":[]}"#.to_owned(),
            "no json".to_owned(),
        ] {
            assert!(check_backward(&new, &old).is_err(), "{new}");
        }
    }

    #[test]
    fn partly_compatible_is_incompatible() {
        let wide = record(r#"{"name":"a","type":["int","string"]}"#);
        assert!(check_backward(&record(A), &wide).is_err());
        let symbols = |s: &str| format!(r#"{{"type":"enum","name":"E","symbols":{s}}}"#);
        assert!(check_backward(&symbols(r#"["A"]"#), &symbols(r#"["A","B"]"#)).is_err());
        assert!(check_backward(&symbols(r#"["A","B"]"#), &symbols(r#"["A"]"#)).is_ok());
    }

    #[test]
    fn one_id_whatever_the_layout_but_not_whatever_the_default() {
        let same = r#"{ "name": "R", "fields": [ {"type":"int","name":"a"} ], "type": "record" }"#;
        assert_eq!(canonical(&record(A)).unwrap(), canonical(same).unwrap());
        let zero = record(r#"{"name":"a","type":"int","default":0}"#);
        let one = record(r#"{"name":"a","type":"int","default":1}"#);
        assert_ne!(canonical(&zero).unwrap(), canonical(&one).unwrap());
        assert!(canonical(r#"{"type":"record"}"#).is_err());
    }

    #[test]
    fn canonical_text_is_the_same_schema() {
        let text = record(&format!(r#"{A},{{"name":"b","type":"long","default":7}}"#));
        let once = canonical(&text).unwrap();
        assert_eq!(canonical(&once).unwrap(), once);
        assert_eq!(check_backward(&once, &text), Ok(()));
    }
}
