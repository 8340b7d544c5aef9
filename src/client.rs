//! A small client of the REST API, for the commands that talk to a running server.
//!
//! What a newcomer would get wrong: an answer that is not 2xx is an error that carries the problem's own
//! words, except where a caller asks for the bare response to decide by its status.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::Value;

use crate::deployment::without_credentials;

/// How long a request may take when its caller says nothing else.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A server's API at a base URL. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

/// Why a server did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0:?} is no URL of a server: http://HOST:PORT expected")]
    Url(String),
    #[error("{what}: the server did not answer")]
    Unreachable {
        what: String,
        source: reqwest::Error,
    },
    #[error("{what}: {status}: {detail}")]
    Refused {
        what: String,
        status: StatusCode,
        detail: String,
    },
    #[error("{what}: the answer has another shape than expected: {detail}")]
    Shape { what: String, detail: String },
}

/// A JSON body with the version that it is of.
#[derive(Debug, Clone)]
pub struct Versioned {
    pub body: Value,
    /// As `If-Match` takes it.
    pub etag: Option<String>,
}

impl Client {
    /// A client of the server at `base`, as `http://127.0.0.1:8080`.
    pub fn new(base: &str, key: Option<&str>) -> Result<Self, ClientError> {
        let base = base.trim_end_matches('/');
        let fits =
            reqwest::Url::parse(base).is_ok_and(|url| url.scheme() == "http" && url.has_host());
        if !fits {
            return Err(ClientError::Url(without_credentials(base)));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .build()
            .map_err(|source| ClientError::Unreachable {
                what: base.to_owned(),
                source,
            })?;
        Ok(Self {
            http,
            base: base.to_owned(),
            key: key.map(str::to_owned),
        })
    }

    /// A request to `path`, which begins with a slash, with our credentials.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .timeout(TIMEOUT);
        match &self.key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        }
    }

    /// Sends a request, whatever the status of its answer.
    pub async fn send(&self, what: &str, request: RequestBuilder) -> Result<Response, ClientError> {
        let what = || format!("{what} at {}", without_credentials(&self.base));
        request
            .send()
            .await
            .map_err(|source| ClientError::Unreachable {
                what: what(),
                source,
            })
    }

    /// Sends a request and takes no answer but a 2xx.
    pub async fn expect(
        &self,
        what: &str,
        request: RequestBuilder,
    ) -> Result<Response, ClientError> {
        let response = self.send(what, request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        Err(ClientError::Refused {
            what: what.to_owned(),
            status,
            detail: problem(response).await,
        })
    }

    /// The JSON at `path`, with its version.
    pub async fn get(&self, what: &str, path: &str) -> Result<Versioned, ClientError> {
        let response = self.expect(what, self.request(Method::GET, path)).await?;
        versioned(what, response).await
    }

    /// Replaces what stands at `path`, if it still has the version `etag`.
    pub async fn put(
        &self,
        what: &str,
        path: &str,
        etag: &str,
        body: &Value,
    ) -> Result<Versioned, ClientError> {
        let request = self
            .request(Method::PUT, path)
            .header(header::IF_MATCH, etag)
            .json(body);
        let response = self.expect(what, request).await?;
        versioned(what, response).await
    }
}

async fn versioned(what: &str, response: Response) -> Result<Versioned, ClientError> {
    let etag = response.headers().get(header::ETAG);
    let etag = etag.and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    let body = response.json().await.map_err(|error| ClientError::Shape {
        what: what.to_owned(),
        detail: error.to_string(),
    })?;
    Ok(Versioned { body, etag })
}

/// What a problem document says, or the start of any other body.
pub async fn problem(response: Response) -> String {
    let text = response.text().await.unwrap_or_default();
    let json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    let said = ["detail", "title"]
        .into_iter()
        .find_map(|name| json[name].as_str());
    let mut detail = said.map_or_else(|| text.chars().take(200).collect(), str::to_owned);
    for error in json["errors"].as_array().into_iter().flatten().take(3) {
        let at = error["pointer"].as_str().unwrap_or_default();
        let why = error["detail"].as_str().unwrap_or_default();
        detail.push_str(&format!("; {at} {why}"));
    }
    detail
}

/// A sensor's id as one segment of a path.
pub fn segment(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string()
}
