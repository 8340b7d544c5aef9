//! `fields`: which parts of each item are answered.

use openinfra_http::problem::Problem;
use serde::Serialize;
use serde_json::{Map, Value};

use super::out_of_range;

/// The fields that a list's items have.
pub struct Fields {
    /// All at the top.
    pub known: &'static [&'static str],
    /// The small set that `@compact` stands for.
    pub compact: &'static [&'static str],
}

impl Fields {
    /// Keeps the named fields of each item: top-level or dotted, or `@compact`.
    ///
    /// Errs with a field that no item could have.
    pub fn select<T: Serialize>(
        &self,
        items: Vec<T>,
        wanted: &[String],
    ) -> Result<Vec<Value>, Problem> {
        let mut paths: Vec<Vec<&str>> = Vec::new();
        for field in wanted {
            if field == "@compact" {
                paths.extend(self.compact.iter().map(|name| vec![*name]));
                continue;
            }
            let path: Vec<&str> = field.split('.').collect();
            if !self.known.contains(&path[0]) {
                let known = self.known.join(", ");
                let detail = format!("has no field {field:?}; there are {known}");
                return Err(out_of_range("fields", &detail));
            }
            paths.push(path);
        }
        let project = |item| {
            let whole = to_value(item);
            let mut kept = Map::new();
            for path in &paths {
                keep(&whole, &mut kept, path);
            }
            Value::Object(kept)
        };
        Ok(items.into_iter().map(project).collect())
    }
}

/// An item as JSON.
pub fn to_value(item: impl Serialize) -> Value {
    serde_json::to_value(item).expect("wire types are plain data")
}

fn keep(from: &Value, to: &mut Map<String, Value>, path: &[&str]) {
    let [name, rest @ ..] = path else { return };
    let Some(value) = from.get(*name) else { return };
    if rest.is_empty() || !value.is_object() {
        to.insert((*name).to_owned(), value.clone());
        return;
    }
    let inner = to.entry(*name).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        keep(value, inner, rest);
    }
}

#[cfg(test)]
mod tests {
    use openinfra_http::problem::Slug;
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_kept_by_path() {
        let item = json!({"a": {"b": 1, "c": 2}, "d": 3, "e": null});
        let fields = Fields {
            known: &["a", "d", "e"],
            compact: &["d", "e"],
        };
        let keep = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|f| (*f).to_owned()).collect();
            fields.select(vec![item.clone()], &wanted)
        };
        assert_eq!(
            keep(&["a.c", "e"]).unwrap()[0],
            json!({"a": {"c": 2}, "e": null})
        );
        assert_eq!(keep(&["@compact"]).unwrap()[0], json!({"d": 3, "e": null}));
        assert_eq!(keep(&["x"]).unwrap_err().slug(), Slug::MalformedRequest);
    }
}
