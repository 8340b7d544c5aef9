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
    layers, metrics, openapi, routes,
    wire::negotiate::{Offers, negotiate},
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
        .layer(middleware::from_fn(layers::envelope))
}

/// The OpenAPI document of what [`router`] serves.
pub fn document(state: &AppState) -> OpenApi {
    collect(state).1
}

fn collect(state: &AppState) -> (Router<AppState>, OpenApi) {
    let usual = routes::usual().layer(middleware::from_fn_with_state(
        state.clone(),
        layers::timeout,
    ));
    let long = routes::long().layer(middleware::from_fn_with_state(
        state.clone(),
        layers::long_timeout,
    ));
    let intake = HttpIngest::new(Arc::clone(&state.intake));
    let ingest = ingest::router(intake).layer(middleware::from_fn_with_state(
        state.clone(),
        layers::timeout,
    ));
    let ingest: OpenApiRouter<AppState> = ingest.with_state(());
    OpenApiRouter::with_openapi(openapi::base())
        .merge(usual)
        .merge(long)
        .merge(ingest)
        .merge(openapi::router())
        .split_for_parts()
}
