//! The OpenAPI document, and the browser for it; nothing is loaded from elsewhere.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Extension, Json, Router, response::Redirect};
use openinfra_http::problem::{CONTENT_TYPE, FieldError, ProblemBody};
use utoipa::{
    IntoResponses, Modify, OpenApi as _,
    openapi::{
        self, Components, ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::app::AppState;

/// Where the document is.
pub const DOCUMENT: &str = "/api/v1/openapi.json";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "OpenInfra",
        description = "A live, exact picture of a city's infrastructure: sensors, their readings, and what follows from them. Every error is an RFC 9457 problem, but for requests that cannot be routed, whose answers have no body: 414 for a target of 65,535 bytes or more, 431 for a header that is too large, 400 for what is not HTTP.",
    ),
    components(schemas(ProblemBody<'static>, FieldError)),
    modifiers(&Security),
    tags(
        (name = "sensors", description = "Sensors, their readings and their health"),
        (name = "ingest", description = "Readings on their way into the log"),
        (name = "alerts", description = "Episodes in which a rule's condition held"),
        (name = "assets", description = "What sensors stand on"),
        (name = "ledger", description = "What became of every record"),
        (name = "views", description = "How far the views are, and their rows"),
        (name = "tenant", description = "What a tenant decides about all its sensors"),
        (name = "registry", description = "Schemas, by the protocol of Confluent's registry; errors have its form"),
        (name = "operations", description = "Health, metrics, and this document"),
    ),
)]
struct Base;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_with(Components::new);
        let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("api_key", key);
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// What any route may answer instead: a problem.
pub(crate) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        let problem = |description: &str| {
            let schema = Ref::from_schema_name("Problem");
            let content = ContentBuilder::new().schema(Some(schema)).build();
            let response = ResponseBuilder::new()
                .description(description)
                .content(CONTENT_TYPE, content)
                .build();
            RefOr::T(response)
        };
        BTreeMap::from([
            (
                "4XX".to_owned(),
                problem("The request is refused; its type says why"),
            ),
            (
                "5XX".to_owned(),
                problem("A part does not answer; of a write nothing was taken"),
            ),
        ])
    }
}

/// What the document says besides its routes.
pub(crate) fn base() -> OpenApi {
    Base::openapi()
}

/// The document and its browser; which is no part of the document, being files.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    let browser = SwaggerUi::new("/docs").config(Config::new([DOCUMENT]).validator_url("none"));
    OpenApiRouter::new()
        .routes(routes!(find_openapi))
        .routes(routes!(find_openapi_alias))
        .routes(routes!(redirect_to_docs))
        .merge(OpenApiRouter::from(Router::from(browser)))
}

/// This document: OpenAPI 3.1.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "operations",
    responses((status = 200, description = "The document", body = Value)),
    security(()),
)]
async fn find_openapi(Extension(document): Extension<Arc<OpenApi>>) -> Json<Arc<OpenApi>> {
    Json(document)
}

/// The same under the name that tools try first.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "operations",
    responses((status = 200, description = "The document", body = Value)),
    security(()),
)]
async fn find_openapi_alias(Extension(document): Extension<Arc<OpenApi>>) -> Json<Arc<OpenApi>> {
    Json(document)
}

/// The browser of this document is at `/docs`.
#[utoipa::path(
    get,
    path = "/redoc",
    tag = "operations",
    responses((status = 308, description = "To `/docs`")),
    security(()),
)]
async fn redirect_to_docs() -> Redirect {
    Redirect::permanent("/docs")
}
