//! Who asks, and whether it may: an argument of every handler that is not public.
//!
//! The permission is part of the argument's type, so that a handler cannot take the caller and forget to
//! ask. A request sees the tenant of its credentials and nothing else.

use std::{
    marker::PhantomData,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{Extensions, HeaderMap, header, request::Parts},
};
use openinfra_http::problem::{Problem, Slug};
use openinfra_intake::{AuthError, Credentials, Principal};
use openinfra_schemas::TenantId;

use super::preconditions::malformed;
use crate::app::{App, AppState};

/// A permission that a route asks for.
pub trait Permission: Send + Sync + 'static {
    /// None: whoever is signed in.
    const NAME: Option<&'static str>;
}

/// The permissions of the routes there are.
pub mod permission {
    macro_rules! permissions {
        ($($type:ident $name:literal;)*) => {
            $(
                #[doc = concat!("`", $name, "`.")]
                #[derive(Debug, Clone, Copy)]
                pub struct $type;

                impl super::Permission for $type {
                    const NAME: Option<&'static str> = Some($name);
                }
            )*

            /// What the API's routes ask for.
            pub const NAMES: &[&str] = &[$($name),*];
        };
    }

    permissions! {
        ViewTelemetry "view_telemetry";
        ManageIot "manage_iot";
        ViewAlerts "view_alerts";
        ViewAllAssets "view_all_assets";
        ViewDataQuality "view_data_quality";
        ViewOperations "view_operations";
        ManageSettings "manage_settings";
        ManagePlatform "manage_platform";
    }
}

/// Whoever is signed in.
#[derive(Debug, Clone, Copy)]
pub struct AnyOne;

impl Permission for AnyOne {
    const NAME: Option<&'static str> = None;
}

/// The caller, who holds the permission `P`.
#[derive(Debug, Clone)]
pub struct Allowed<P> {
    principal: Arc<Principal>,
    held: PhantomData<P>,
}

impl<P> Allowed<P> {
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    pub fn tenant(&self) -> &TenantId {
        &self.principal.tenant
    }

    /// Who it is, as it stands in the log: an opaque id.
    pub fn actor(&self) -> &str {
        &self.principal.name
    }
}

impl<P: Permission> FromRequestParts<AppState> for Allowed<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Problem> {
        let identity = match parts.extensions.get::<Identity>() {
            Some(identity) => identity.clone(),
            None => Identity::of(app, &parts.headers, &parts.extensions).await,
        };
        let principal = identity.0?;
        match P::NAME {
            Some(permission) if !principal.may(permission) => Err(forbidden(permission)),
            _ => Ok(Self {
                principal,
                held: PhantomData,
            }),
        }
    }
}

/// Whose credentials a request shows, or why they are nobody's; found once for each request.
#[derive(Debug, Clone)]
pub(crate) struct Identity(Result<Arc<Principal>, Problem>);

impl Identity {
    pub(crate) async fn of(app: &App, headers: &HeaderMap, extensions: &Extensions) -> Self {
        let secret = match secret(headers) {
            Ok(secret) => secret,
            Err(problem) => return Self(Err(problem)),
        };
        let credentials = Credentials {
            username: None,
            secret,
            address: address(extensions),
        };
        let verified = app.keys.verify(&credentials).await;
        if let (Err(error), Some(_)) = (&verified, &credentials.secret) {
            // Who shows nothing has not tried a key out.
            app.intake.count_refused(error, credentials.address);
        }
        Self(verified.map_err(refused))
    }

    /// None: nobody's.
    pub(crate) fn principal(&self) -> Option<&Principal> {
        self.0.as_deref().ok()
    }
}

/// Where the request comes from, as far as the server knows.
pub(crate) fn address(extensions: &Extensions) -> Option<IpAddr> {
    let info = extensions.get::<ConnectInfo<SocketAddr>>();
    info.map(|info| info.0.ip())
}

fn secret(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    if let Some(key) = headers.get("x-api-key") {
        let key = key.to_str().map_err(|_| unreadable("X-API-Key"))?;
        return Ok(Some(key.trim().to_owned()));
    }
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| unreadable("Authorization"))?;
    match text.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(Some(key.trim().to_owned()))
        }
        _ => Err(Problem::new(Slug::Unauthenticated)
            .detail("Authorization is not of the form \"Bearer <key>\"")),
    }
}

fn unreadable(header: &str) -> Problem {
    malformed(header, "holds what is not visible ASCII")
}

fn refused(error: AuthError) -> Problem {
    match error {
        AuthError::Missing => Problem::new(Slug::Unauthenticated)
            .detail("send X-API-Key, or Authorization: Bearer, with a key"),
        AuthError::Wrong => Problem::new(Slug::InvalidCredentials).detail("the key is wrong"),
        AuthError::Forbidden(permission) => forbidden(permission),
        AuthError::Unavailable(_) => Problem::new(Slug::Unavailable)
            .detail("keys cannot be checked now")
            .with("part", "store")
            .retry_after(1),
    }
}

fn forbidden(permission: &'static str) -> Problem {
    Problem::new(Slug::Forbidden)
        .detail(format!("the key lacks the permission {permission}"))
        .with("required_permission", permission)
}
