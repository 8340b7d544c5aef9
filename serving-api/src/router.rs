//! Every route there is, and what stands around them.
//!
//! Routes are collected together with their description, so that none is served that the OpenAPI document
//! does not have, nor the reverse.

use std::sync::Arc;

use axum::{Extension, Router, middleware};
use openinfra_http::ingest::{self, HttpIngest};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    app::AppState,
    layers, limits, metrics, openapi, routes,
    wire::{
        encoding,
        negotiate::{Offers, negotiate},
    },
};

/// The router with all its layers.
pub fn router(state: AppState) -> Router {
    let (routes, document) = collect(&state);
    let offers = Arc::new(Offers::of(&document));
    let inner = routes
        .layer(middleware::from_fn_with_state(offers, negotiate))
        .layer(Extension(Arc::new(document)))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            metrics::measure,
        ))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .with_state(state);
    // Around the router, not around its routes: only then the 405s and their `Allow` pass through.
    Router::new()
        .fallback_service(inner)
        .layer(encoding::compression())
        .layer(middleware::from_fn(encoding::choose))
        .layer(middleware::from_fn(layers::envelope))
}

/// The OpenAPI document of what [`router`] serves.
pub fn document(state: &AppState) -> OpenApi {
    collect(state).1
}

fn collect(state: &AppState) -> (Router<AppState>, OpenApi) {
    let app = || state.clone();
    let limited = || middleware::from_fn_with_state(app(), limits::limit);
    let timed = || middleware::from_fn_with_state(app(), layers::timeout);
    let registry_face = middleware::from_fn_with_state(app(), routes::face);
    let timed_long = || middleware::from_fn_with_state(app(), layers::long_timeout);
    let intake = HttpIngest::new(Arc::clone(&state.intake));
    // It limits readings where the others limit requests.
    let ingest: OpenApiRouter<AppState> = ingest::router(intake).layer(timed()).with_state(());
    let usual = routes::usual().merge(openapi::router());
    OpenApiRouter::with_openapi(openapi::base())
        .merge(usual.layer(limited()).layer(timed()))
        .merge(routes::long().layer(limited()).layer(timed_long()))
        .merge(
            routes::registry()
                .layer(limited())
                .layer(timed())
                .layer(registry_face),
        )
        .merge(routes::operations().layer(timed()))
        .merge(ingest)
        .split_for_parts()
}
