//! A list of located things as GeoJSON (RFC 7946): what has no location is there, with no geometry.

use axum::{
    http::{HeaderValue, header::CONTENT_TYPE},
    response::Response,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Fields, Page, select::to_value};
use crate::{error::ApiError, fresh::Fresh, wire::Ts};

/// The media type, by which a client asks for it.
pub const GEO_JSON: &str = "application/geo+json";

/// A page as a FeatureCollection; what a page says besides its items stands in foreign members.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct FeatureCollection {
    /// `FeatureCollection`.
    #[serde(rename = "type")]
    type_: &'static str,
    features: Vec<Feature>,
    /// Give it back as `cursor` for the next page; null: this was the last.
    next_cursor: Option<String>,
    /// The tick that the list is as of.
    as_of: Ts,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_capped: Option<bool>,
}

/// One item of the list.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Feature {
    /// `Feature`.
    #[serde(rename = "type")]
    type_: &'static str,
    id: Value,
    /// A geometry; null where the place is not known.
    #[schema(value_type = Option<Object>)]
    geometry: Value,
    /// All else that the list's items have.
    properties: Map<String, Value>,
}

impl FeatureCollection {
    pub fn answer(self, fresh: &Fresh) -> Response {
        let mut response = fresh.json(self);
        let geo_json = HeaderValue::from_static(GEO_JSON);
        response.headers_mut().insert(CONTENT_TYPE, geo_json);
        response
    }
}

impl<T: Serialize> Page<T> {
    /// The page as features: `id` names the field that is their id, `location` is their geometry.
    pub fn features(
        self,
        id: &str,
        fields: &Fields,
        wanted: Option<&[String]>,
    ) -> Result<FeatureCollection, ApiError> {
        let items: Vec<Value> = self.items.into_iter().map(to_value).collect();
        let kept = match wanted {
            Some(wanted) => fields.select(items.clone(), wanted)?,
            None => items.clone(),
        };
        let features = items.into_iter().zip(kept).map(|(mut item, kept)| Feature {
            type_: "Feature",
            id: item[id].take(),
            geometry: item.get_mut("location").map_or(Value::Null, Value::take),
            properties: properties(kept),
        });
        Ok(FeatureCollection {
            type_: "FeatureCollection",
            features: features.collect(),
            next_cursor: self.next_cursor,
            as_of: self.as_of,
            total: self.total,
            total_capped: self.total_capped,
        })
    }
}

fn properties(item: Value) -> Map<String, Value> {
    match item {
        Value::Object(mut fields) => {
            fields.remove("location");
            fields
        }
        _ => Map::new(),
    }
}
