//! Query parameters: each known, each once, each read by its type.
//!
//! A parameter that a route does not have is an error, as a filter that is ignored gives a wrong answer
//! that looks right. The known ones are told by serde: parameter types deny unknown fields.

use std::{collections::BTreeMap, fmt};

use axum::{extract::FromRequestParts, http::request::Parts};
use openinfra_http::problem::{Problem, Slug};
use percent_encoding::percent_decode_str;
use serde::{
    de::{
        self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor,
        value::{MapDeserializer, SeqDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};

/// The query as `T`, which derives `Deserialize` with `deny_unknown_fields`.
#[derive(Debug, Clone)]
pub struct ApiQuery<T>(pub T);

/// For routes that have no query parameters.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        read(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn read<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let mut values = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        if values.contains_key(&name) {
            let detail = "is given twice; several values are joined by commas";
            return Err(malformed(&name, "duplicate", detail));
        }
        values.insert(name, value);
    }
    let pairs = values.into_iter().map(|(name, value)| {
        let param = Param {
            name: name.clone(),
            value,
        };
        (name, param)
    });
    T::deserialize(MapDeserializer::new(pairs)).map_err(Problem::from)
}

fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(malformed(text, "encoding", "is not UTF-8")),
    }
}

/// A query parameter that cannot be read.
pub(crate) fn malformed(name: &str, code: &str, detail: &str) -> Problem {
    Problem::new(Slug::MalformedRequest)
        .detail(format!("the query parameter {name} {detail}"))
        .error(name, code, detail)
}

/// Why a query is none of the route's.
#[derive(Debug)]
enum QueryError {
    Unknown {
        parameter: String,
        known: &'static [&'static str],
    },
    Missing(&'static str),
    /// What a value should be; the parameter is not known yet.
    Expected(String),
    Wrong {
        parameter: String,
        detail: String,
    },
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Unknown { parameter, known } => Self::new(Slug::UnknownParameter)
                .detail(format!("this route has no query parameter {parameter:?}"))
                .with("parameter", parameter)
                .with("known", known.to_vec()),
            QueryError::Missing(name) => malformed(name, "required", "is missing"),
            QueryError::Expected(detail) => Self::new(Slug::MalformedRequest).detail(detail),
            QueryError::Wrong { parameter, detail } => malformed(&parameter, "invalid", &detail),
        }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for QueryError {}

impl de::Error for QueryError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::Expected(text.to_string())
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::Unknown {
            parameter: field.to_owned(),
            known,
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::Expected(format!("is one of {}, not {variant:?}", known.join(", ")))
    }
}

/// One value, read as whatever type its field has.
#[derive(Debug, Clone)]
struct Param {
    name: String,
    value: String,
}

impl Param {
    fn parse<T: std::str::FromStr>(&self, what: &str) -> Result<T, QueryError> {
        let wrong = |_| QueryError::Expected(format!("is {what}, not {:?}", self.value));
        self.value.parse().map_err(wrong).map_err(|e| self.blame(e))
    }

    /// Adds the parameter's name to an error that came from its value.
    fn blame(&self, error: QueryError) -> QueryError {
        match error {
            QueryError::Expected(detail) => QueryError::Wrong {
                parameter: self.name.clone(),
                detail,
            },
            other => other,
        }
    }
}

impl<'de> IntoDeserializer<'de, QueryError> for Param {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty, $what:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
            let value = self.parse::<$type>($what)?;
            visitor.$visit(value).map_err(|e| self.blame(e))
        })*
    };
}

impl<'de> Deserializer<'de> for Param {
    type Error = QueryError;

    parsed! {
        deserialize_bool visit_bool bool, "true or false";
        deserialize_i32 visit_i32 i32, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_u16 visit_u16 u16, "a whole number from 0";
        deserialize_u32 visit_u32 u32, "a whole number from 0";
        deserialize_u64 visit_u64 u64, "a whole number from 0";
        deserialize_f64 visit_f64 f64, "a number";
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        visitor.visit_str(&self.value).map_err(|e| self.blame(e))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        // A type of ours may refuse a text that it was given whole.
        let own = self.clone();
        visitor.visit_some(self).map_err(|e| own.blame(e))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, QueryError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, QueryError> {
        let value: StrDeserializer<'_, QueryError> = self.value.as_str().into_deserializer();
        visitor.visit_enum(value).map_err(|e| self.blame(e))
    }

    /// Several values, joined by commas.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        let items = self.value.split(',').map(|value| Self {
            name: self.name.clone(),
            value: value.to_owned(),
        });
        let items: Vec<_> = items.collect();
        visitor.visit_seq(SeqDeserializer::new(items.into_iter()))
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u128 f32 char str string bytes byte_buf unit unit_struct tuple tuple_struct map
        struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::wire::Ts;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Colour {
        Red,
        Green,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Query {
        to: Option<Ts>,
        limit: Option<u32>,
        colour: Option<Vec<Colour>>,
        #[serde(default)]
        deep: bool,
        q: Option<String>,
    }

    fn refused(query: &str) -> Problem {
        read::<Query>(query).unwrap_err()
    }

    #[test]
    fn values_are_read_by_type() {
        let query: Query = read("limit=5&colour=red,green&deep=true&q=a%2Fb+c").unwrap();
        let wanted = Query {
            to: None,
            limit: Some(5),
            colour: Some(vec![Colour::Red, Colour::Green]),
            deep: true,
            q: Some("a/b c".to_owned()),
        };
        assert_eq!(query, wanted);
        let none: Query = read("").unwrap();
        assert_eq!(none.limit, None);
    }

    #[test]
    fn what_is_not_known_is_named_with_what_is() {
        let problem = refused("size=5");
        assert_eq!(problem.slug(), Slug::UnknownParameter);
        let text = format!("{problem:?}");
        assert!(text.contains("size") && text.contains("colour"), "{text}");
    }

    #[test]
    fn wrong_values_are_told_by_parameter() {
        for (query, parameter, word) in [
            ("limit=many", "limit", "whole number"),
            ("limit=-1", "limit", "whole number"),
            ("colour=red,blue", "colour", "red, green"),
            ("deep=yes", "deep", "true or false"),
            ("limit=1&limit=2", "limit", "twice"),
            ("q=%ff", "%ff", "UTF-8"),
            ("to=yesterday", "to", "a time such as"),
            ("to=9999-12-31T23:59:59Z", "to", "at most 9999-12-30T22"),
            ("to=12345-01-01T00:00:00Z", "to", "at most 9999-12-30T22"),
        ] {
            let problem = refused(query);
            assert_eq!(problem.slug(), Slug::MalformedRequest, "{query}");
            let error = &problem.errors()[0];
            assert_eq!(error.pointer, parameter, "{query}");
            assert!(error.detail.contains(word), "{query}: {}", error.detail);
        }
    }
}
