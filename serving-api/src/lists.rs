//! What all lists have in common: the page's size, its cursor, its answer.

use openinfra_http::problem::{Problem, Slug};
use openinfra_schemas::time::Millis;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{app::App, cursor::Binding, error::ApiError, wire::Ts};

/// How many rows a page that finds little may look at; its cursor goes on from there.
pub const MAX_SCANNED: usize = 50_000;
/// `count=true` stops counting here.
pub const MAX_COUNTED: usize = 100_000;

/// A page of a list.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it back as `cursor` for the next page; null: this was the last. A page may be short of its
    /// limit, even empty, and still have a next one.
    pub next_cursor: Option<String>,
    /// The tick that the list is as of.
    pub as_of: Ts,
    /// With `count=true`: how many rows pass the filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<usize>,
    /// Whether counting stopped at 100,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_capped: Option<bool>,
}

impl<T> Page<T> {
    pub fn new(items: Vec<T>, next_cursor: Option<String>, as_of: Millis) -> Self {
        Self {
            items,
            next_cursor,
            as_of: Ts(as_of),
            total: None,
            total_capped: None,
        }
    }

    /// Says how many rows there are in all.
    #[must_use]
    pub fn counted(mut self, total: Option<usize>) -> Self {
        self.total = total.map(|total| total.min(MAX_COUNTED));
        self.total_capped = total.filter(|total| *total >= MAX_COUNTED).map(|_| true);
        self
    }
}

/// The size of a page: `1..=max`.
pub fn limit(given: Option<u32>, default: usize, max: usize) -> Result<usize, Problem> {
    match given.map(|limit| limit as usize) {
        None => Ok(default),
        Some(limit) if (1..=max).contains(&limit) => Ok(limit),
        Some(limit) => Err(out_of_range(
            "limit",
            &format!("is 1 to {max}, not {limit}"),
        )),
    }
}

/// A query parameter whose value the route does not bear.
pub fn out_of_range(parameter: &str, detail: &str) -> Problem {
    Problem::new(Slug::MalformedRequest)
        .detail(format!("the query parameter {parameter} {detail}"))
        .error(parameter, "out_of_range", detail)
}

/// A list and how it is asked for: what its cursors are bound to.
pub struct List<'a> {
    pub app: &'a App,
    pub route: &'static str,
    pub tenant: &'a str,
    /// Filters and sort, as they were understood.
    pub filters: String,
}

impl List<'_> {
    /// Where to go on, if a cursor says so.
    pub fn position<P: DeserializeOwned>(
        &self,
        cursor: Option<&str>,
    ) -> Result<Option<P>, ApiError> {
        let Some(cursor) = cursor else {
            return Ok(None);
        };
        let position = self.binding().open(cursor, self.app.now())?;
        Ok(Some(position))
    }

    /// The cursor that goes on behind a position.
    pub fn cursor<P: Serialize>(&self, position: &P) -> String {
        self.binding().seal(position, self.app.now())
    }

    fn binding(&self) -> Binding<'_> {
        Binding {
            key: &self.app.config.cursor_key,
            route: self.route,
            tenant: self.tenant,
            generation: self.app.config.generation,
            filters: self.filters.clone(),
        }
    }
}

/// Keeps the named fields of each item: top-level or dotted, or `@compact` for `compact`.
///
/// Errs with a field that no item could have, `known` being those at the top.
pub fn select<T: Serialize>(
    items: Vec<T>,
    fields: &[String],
    known: &[&str],
    compact: &[&str],
) -> Result<Vec<Value>, Problem> {
    let mut paths: Vec<Vec<&str>> = Vec::new();
    for field in fields {
        if field == "@compact" {
            paths.extend(compact.iter().map(|name| vec![*name]));
            continue;
        }
        let path: Vec<&str> = field.split('.').collect();
        if !known.contains(&path[0]) {
            let detail = format!("has no field {field:?}; there are {}", known.join(", "));
            return Err(out_of_range("fields", &detail));
        }
        paths.push(path);
    }
    let project = |item| {
        let whole = serde_json::to_value(item).expect("wire types are plain data");
        let mut kept = Map::new();
        for path in &paths {
            keep(&whole, &mut kept, path);
        }
        Value::Object(kept)
    };
    Ok(items.into_iter().map(project).collect())
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
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_kept_by_path() {
        let item = json!({"a": {"b": 1, "c": 2}, "d": 3, "e": null});
        let keep = |fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(|f| (*f).to_owned()).collect();
            select(vec![item.clone()], &fields, &["a", "d", "e"], &["d", "e"])
        };
        assert_eq!(
            keep(&["a.c", "e"]).unwrap()[0],
            json!({"a": {"c": 2}, "e": null})
        );
        assert_eq!(keep(&["@compact"]).unwrap()[0], json!({"d": 3, "e": null}));
        assert_eq!(keep(&["x"]).unwrap_err().slug(), Slug::MalformedRequest);
    }

    #[test]
    fn limits_have_bounds() {
        assert_eq!(limit(None, 50, 1_000).unwrap(), 50);
        assert_eq!(limit(Some(1_000), 50, 1_000).unwrap(), 1_000);
        assert!(limit(Some(0), 50, 1_000).is_err());
        assert!(limit(Some(1_001), 50, 1_000).is_err());
    }
}
