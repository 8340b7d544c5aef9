//! What all lists have in common: the page's size, its cursor, its answer.

mod features;
mod select;
pub mod walk;

use axum::response::Response;
use openinfra_http::problem::{Problem, Slug};
use openinfra_schemas::time::Millis;
use serde::{Serialize, de::DeserializeOwned};

use crate::{app::App, cursor::Binding, error::ApiError, fresh::Fresh, wire::Ts};

pub use features::{FeatureCollection, GEO_JSON};
pub use select::Fields;
use walk::Found;

/// How many rows a page that finds little may look at; its cursor goes on from there.
pub const MAX_SCANNED: usize = 50_000;
/// `count=true` stops counting here.
pub const MAX_COUNTED: usize = 100_000;
/// A page of large rows ends here, short of its limit.
pub const MAX_PAGE_BYTES: usize = 8 << 20;

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

    /// The same page of other items.
    pub fn with<U>(self, items: Vec<U>) -> Page<U> {
        Page {
            items,
            next_cursor: self.next_cursor,
            as_of: self.as_of,
            total: self.total,
            total_capped: self.total_capped,
        }
    }
}

impl<T: Serialize> Page<T> {
    /// Answers the page, or the wanted fields of its items.
    pub fn answer(
        mut self,
        fresh: &Fresh,
        fields: &Fields,
        wanted: Option<&[String]>,
    ) -> Result<Response, ApiError> {
        match wanted {
            None => Ok(fresh.json(self)),
            Some(wanted) => {
                let items = fields.select(std::mem::take(&mut self.items), wanted)?;
                Ok(fresh.json(self.with(items)))
            }
        }
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

/// Whether a value is among those asked for; without any, every value is.
pub fn is_any<T: PartialEq<V>, V: ?Sized>(wanted: Option<&[T]>, value: Option<&V>) -> bool {
    wanted.is_none_or(|wanted| value.is_some_and(|value| wanted.iter().any(|one| one == value)))
}

/// Whether a flag is as it was asked for.
pub fn is_as(wanted: Option<bool>, value: bool) -> bool {
    wanted.is_none_or(|wanted| wanted == value)
}

/// Whether a time lies in `from <= at < to`.
pub fn is_within(from: Option<Ts>, to: Option<Ts>, at: Option<Millis>) -> bool {
    from.is_none_or(|from| at.is_some_and(|at| at >= from.0))
        && to.is_none_or(|to| at.is_some_and(|at| at < to.0))
}

/// Whether each word of `q` begins a word of the text, or `q` the text as it stands.
pub fn has_words(text: &str, q: &str) -> bool {
    let text = text.to_lowercase();
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let have = words(&text);
    let wanted = q.to_lowercase();
    text.starts_with(&wanted)
        || words(&wanted)
            .iter()
            .all(|word| have.iter().any(|part| part.starts_with(word)))
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

    /// A page's rows, and the cursor to the next.
    pub fn sealed<R, P: Serialize>(&self, found: Found<R, P>) -> (Vec<R>, Option<String>) {
        let next = found.next.map(|position| self.cursor(&position));
        (found.rows, next)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_bounds() {
        assert_eq!(limit(None, 50, 1_000).unwrap(), 50);
        assert_eq!(limit(Some(1_000), 50, 1_000).unwrap(), 1_000);
        assert!(limit(Some(0), 50, 1_000).is_err());
        assert!(limit(Some(1_001), 50, 1_000).is_err());
    }

    #[test]
    fn words_are_found_by_their_beginnings() {
        assert!(has_words("pump-North/1", "north PU"));
        assert!(has_words("pump-1", "pump-"));
        assert!(!has_words("pump-1", "ump"));
    }
}
