//! How the registry says no: a status, and a code that clients branch on.

use std::collections::BTreeMap;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use openinfra_schemas::registry::RegistryError;
use serde::Serialize;
use utoipa::{
    IntoResponses, PartialSchema,
    openapi::{self, ContentBuilder, RefOr, ResponseBuilder},
};

use crate::wire::negotiate::REGISTRY_JSON;

/// Why a handler of the registry did not do as it was asked.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    code: u32,
    message: String,
}

/// The body of a refusal.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RefusedBody {
    /// The status, or the status and two digits.
    pub(super) error_code: u32,
    pub(super) message: String,
}

impl Refused {
    fn coded(status: StatusCode, code: u32, message: String) -> Self {
        Self {
            status,
            code,
            message,
        }
    }

    pub(super) fn no_subject(subject: &str) -> Self {
        let message = format!("subject {subject:?} not found");
        Self::coded(StatusCode::NOT_FOUND, 40_401, message)
    }

    pub(super) fn no_version(version: &str) -> Self {
        let message = format!("version {version} not found");
        Self::coded(StatusCode::NOT_FOUND, 40_402, message)
    }

    /// `which` names it: an id, or what it was looked for in.
    pub(super) fn no_schema(which: &str) -> Self {
        let message = format!("schema {which} not found");
        Self::coded(StatusCode::NOT_FOUND, 40_403, message)
    }

    pub(super) fn invalid_schema(reason: &str) -> Self {
        let message = format!("invalid schema: {reason}");
        Self::coded(StatusCode::UNPROCESSABLE_ENTITY, 42_201, message)
    }

    pub(super) fn invalid_version(version: &str) -> Self {
        let message = format!("{version:?} is no version: a number from 1 on, or \"latest\"");
        Self::coded(StatusCode::UNPROCESSABLE_ENTITY, 42_202, message)
    }

    pub(super) fn invalid_level(level: &str) -> Self {
        let message = format!("the level of compatibility is BACKWARD and cannot be {level:?}");
        Self::coded(StatusCode::UNPROCESSABLE_ENTITY, 42_203, message)
    }

    pub(super) fn invalid_subject(reason: &str) -> Self {
        let message = format!("invalid subject: {reason}");
        Self::coded(StatusCode::UNPROCESSABLE_ENTITY, 42_208, message)
    }
}

impl From<RegistryError> for Refused {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::UnknownId(id) => Self::no_schema(&id.to_string()),
            RegistryError::Incompatible { .. } => {
                Self::coded(StatusCode::CONFLICT, 409, error.to_string())
            }
            RegistryError::Unparsable { reason, .. } => Self::invalid_schema(&reason),
            RegistryError::NotAvro { .. } | RegistryError::Unavailable(_) => {
                tracing::warn!(%error, "the schemas are unavailable");
                Self::coded(
                    StatusCode::SERVICE_UNAVAILABLE,
                    50_001,
                    "the store of schemas does not answer".to_owned(),
                )
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = RefusedBody {
            error_code: self.code,
            message: self.message,
        };
        (self.status, Json(body)).into_response()
    }
}

/// What any route of the registry may answer instead.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        let refusal = |description: &str| {
            let content = ContentBuilder::new()
                .schema(Some(RefusedBody::schema()))
                .build();
            let response = ResponseBuilder::new()
                .description(description)
                .content(REGISTRY_JSON, content)
                .build();
            RefOr::T(response)
        };
        BTreeMap::from([
            (
                "4XX".to_owned(),
                refusal("The request is refused; its code says why"),
            ),
            ("5XX".to_owned(), refusal("Schemas cannot be had now")),
        ])
    }
}
