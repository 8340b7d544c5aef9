//! Requests to the registry: sent again where that may help, answered in three ways.
//!
//! The registry did as it was asked; it said no ([`Refusal`]); or anything else, which is
//! [`RegistryError::Unavailable`] with its cause. A newcomer would not repeat a POST: all of ours may be.

use std::{error::Error, time::Duration};

use openinfra_schemas::{Secret, registry::RegistryError};
use reqwest::{Client, Method, Response, Url, header, redirect};
use serde::de::DeserializeOwned;

use crate::{
    config::{Config, ConfigError},
    refusal::{Failure, Refusal, begin},
    reports::{Ended, Reports},
    wire::CONTENT_TYPE,
};

/// How long to wait before each repetition. Every request of ours is the same asked twice: registering a
/// schema that is there gives its id.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(900),
];

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest body that is read.
const MAX_BODY_BYTES: usize = 4 << 20;

/// One registry, and our credentials there.
pub(crate) struct Http {
    client: Client,
    base: Url,
    user: Option<(String, Option<Secret>)>,
    pub(crate) reports: Reports,
}

/// A request.
pub(crate) struct Call<'a> {
    method: Method,
    /// Segments of the path, not encoded.
    path: &'a [&'a str],
    query: Option<&'a str>,
    body: Option<Vec<u8>>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self {
            method,
            path,
            query: None,
            body: None,
        }
    }

    pub(crate) fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn query(self, query: &'a str) -> Self {
        Self {
            query: Some(query),
            ..self
        }
    }

    pub(crate) fn body(self, body: &impl serde::Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("bodies are strings in a struct");
        Self {
            body: Some(body),
            ..self
        }
    }
}

impl Http {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let base = Url::parse(&config.url).map_err(|e| ConfigError::Url(e.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(ConfigError::Url("http or https, and a host".to_owned()));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(ConfigError::Url("it has a query or a fragment".to_owned()));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(ConfigError::Credentials);
        }
        if config.timeout_ms == 0 {
            return Err(ConfigError::Timeout);
        }
        let user = match (&config.user, &config.password) {
            (None, Some(_)) => return Err(ConfigError::User),
            (user, password) => user.clone().map(|user| (user, password.clone())),
        };
        // Followed, a redirection would carry a POST on as a GET, and credentials to another host.
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT.min(config.timeout()))
            .timeout(config.timeout())
            .build()
            .map_err(|e| ConfigError::Client(chain(&e)))?;
        let reports = Reports::new();
        Ok(Self {
            client,
            base,
            user,
            reports,
        })
    }

    /// Where the registry is; holds no credentials.
    pub(crate) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The answer's body, or the registry's refusal.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`]: neither was had, with the cause of the last try.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
    ) -> Result<Result<T, Refusal>, RegistryError> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let answer = self.once(call).await;
            self.reports.tell(match &answer {
                Ok(Ok(_)) => Ended::Answered,
                Ok(Err(_)) => Ended::Refused,
                Err(failure) => Ended::Failed(&failure.cause),
            });
            let failure = match answer {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match pauses.next().filter(|_| failure.again) {
                Some(pause) => {
                    tracing::debug!(cause = %failure.cause, "the schema registry is asked again");
                    tokio::time::sleep(pause).await;
                }
                None => return Err(RegistryError::Unavailable(failure.cause)),
            }
        }
    }

    async fn once<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
    ) -> Result<Result<T, Refusal>, Failure> {
        let url = self.url(call);
        let what = format!("{} {url}", call.method);
        let failed = |error: reqwest::Error| Failure {
            cause: format!("{what}: {}", chain(&error.without_url())),
            again: true,
        };
        let mut request = self
            .client
            .request(call.method.clone(), url.clone())
            .header(header::ACCEPT, ACCEPT);
        if let Some((user, password)) = &self.user {
            request = request.basic_auth(user, password.as_ref().map(Secret::reveal));
        }
        if let Some(body) = &call.body {
            request = request
                .header(header::CONTENT_TYPE, CONTENT_TYPE)
                .body(body.clone());
        }
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let Some(body) = read(response).await.map_err(failed)? else {
            return Err(Failure {
                cause: format!("{what}: the answer has more than {MAX_BODY_BYTES} bytes"),
                again: false,
            });
        };
        if status.is_success() {
            return serde_json::from_slice(&body).map(Ok).map_err(|e| Failure {
                cause: format!(
                    "{what}: the answer is not the registry's ({e}): {}",
                    begin(&body)
                ),
                again: false,
            });
        }
        Refusal::read(what, status, &body).map(Err)
    }

    fn url(&self, call: &Call<'_>) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("http and https have paths")
            .pop_if_empty()
            .extend(call.path);
        url.set_query(call.query);
        url
    }
}

/// The second is what a registry that knows no first would still give.
const ACCEPT: &str = "application/vnd.schemaregistry.v1+json, application/json;q=0.9";

/// The whole body; none when it is too long.
async fn read(mut response: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// An error with all its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(base: &str, path: &[&str]) -> String {
        let http = Http::new(&Config::new(base)).unwrap();
        http.url(&Call::get(path)).to_string()
    }

    #[test]
    fn a_subject_is_one_segment() {
        assert_eq!(
            url("http://r:1/apis/ccompat/v7/", &["subjects", "a/b %2F?ß"]),
            "http://r:1/apis/ccompat/v7/subjects/a%2Fb%20%252F%3F%C3%9F"
        );
        assert_eq!(url("http://r", &["config"]), "http://r/config");
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for bad in ["", "registry:8081", "ftp://r", "http://", "http://r?a=b"] {
            let error = Http::new(&Config::new(bad)).map(drop).unwrap_err();
            assert!(matches!(error, ConfigError::Url(_)), "{bad}: {error}");
        }
        let error = Http::new(&Config::new("http://u:swordfish@r")).map(drop);
        let error = error.unwrap_err();
        assert!(matches!(error, ConfigError::Credentials));
        assert!(!format!("{error}{error:?}").contains("swordfish"));
    }

    #[test]
    fn passwords_are_not_printed() {
        let config = Config {
            user: Some("u".to_owned()),
            password: Some(Secret::new("swordfish")),
            ..Config::new("http://r")
        };
        assert!(!format!("{config:?}").contains("swordfish"));
    }
}
