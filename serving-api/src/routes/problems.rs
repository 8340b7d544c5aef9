//! A page for each kind of problem: where the `type` of an error leads.

use axum::response::{Html, IntoResponse, Response};
use openinfra_http::problem::Slug;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::AppState,
    error::ApiError,
    extract::{ApiPath, ApiQuery, NoQuery},
    openapi::Problems,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(find_problem))
}

/// Explains a kind of problem.
#[utoipa::path(
    get,
    path = "/problems/{slug}",
    tag = "operations",
    params(("slug" = String, Path, description = "The last segment of a problem's `type`")),
    responses(
        (status = 200, description = "A page for people", body = String, content_type = "text/html"),
        Problems,
    ),
    security(()),
)]
async fn find_problem(
    ApiPath(slug): ApiPath<String>,
    _: ApiQuery<NoQuery>,
) -> Result<Response, ApiError> {
    let slug = Slug::parse(&slug).ok_or_else(|| ApiError::not_found("kind of problem", &slug))?;
    Ok(Html(page(slug)).into_response())
}

/// Titles and texts are our own and hold nothing that HTML would read otherwise, but for `<` and `&`.
fn page(slug: Slug) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body>\n<h1>{title}</h1>\n<p><code>{slug}</code>, status {status}</p>\n<p>{about}</p>\n</body>\n</html>\n",
        title = escape(slug.title()),
        slug = slug.as_str(),
        status = slug.status().as_u16(),
        about = escape(slug.about()),
    )
}
