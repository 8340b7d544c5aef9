//! Every route there is, and what stands around them.
//!
//! Routes are collected together with their description, so that none is served that the OpenAPI document
//! does not have, nor the reverse.

use std::sync::Arc;

use axum::{Extension, Router, middleware};
use openinfra_http::ingest::HttpIngest;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    app::AppState,
    control, layers, limits, metrics, openapi, routes,
    wire::{
        encoding,
        negotiate::{Offers, negotiate},
    },
};

/// Which routes a process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// The API.
    Api,
    /// The way in for readings alone.
    Ingest,
    /// What the other processes ask of the one that runs the job.
    Job,
}

/// The router with all its layers.
pub fn router(state: AppState, surface: Surface) -> Router {
    let (routes, document) = match surface {
        Surface::Api => collect(&state),
        Surface::Ingest => ingest(&state).merge(operations(&state)).split_for_parts(),
        Surface::Job => operations(&state).split_for_parts(),
    };
    let routes = match surface {
        Surface::Job => routes.merge(control::router()),
        Surface::Api | Surface::Ingest => routes,
    };
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

/// The OpenAPI document of the API.
pub fn document(state: &AppState) -> OpenApi {
    collect(state).1
}

fn collect(state: &AppState) -> (Router<AppState>, OpenApi) {
    let app = || state.clone();
    let limited = || middleware::from_fn_with_state(app(), limits::limit);
    let timed = || middleware::from_fn_with_state(app(), layers::timeout);
    let registry_face = middleware::from_fn_with_state(app(), routes::face);
    let timed_long = || middleware::from_fn_with_state(app(), layers::long_timeout);
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
        .merge(operations(state))
        .merge(ingest(state))
        .split_for_parts()
}

/// It limits readings where the others limit requests.
fn ingest(state: &AppState) -> OpenApiRouter<AppState> {
    let intake = HttpIngest::new(Arc::clone(&state.intake)).bounded(state.config.ingest_body_limit);
    let timed = middleware::from_fn_with_state(state.clone(), layers::timeout);
    openinfra_http::ingest::router(intake)
        .layer(timed)
        .with_state(())
}

/// Without a limit: who asks is the one who runs it.
fn operations(state: &AppState) -> OpenApiRouter<AppState> {
    routes::operations().layer(middleware::from_fn_with_state(
        state.clone(),
        layers::timeout,
    ))
}
