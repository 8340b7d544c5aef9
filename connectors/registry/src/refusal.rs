//! What an answer other than 2xx says: the registry's own no, or nothing.
//!
//! What a newcomer would get wrong: a status alone is nobody's word. Between us and the registry stand
//! proxies, which answer 404 for a registry that is being moved.

use std::borrow::Cow;

use openinfra_schemas::registry::RegistryError;
use reqwest::StatusCode;

use crate::wire::ErrorAnswer;

/// The registry's own no.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// None: the body was not the registry's, which says something only where the status alone does.
    pub(crate) code: Option<u32>,
    pub(crate) message: String,
    /// The request, for who cannot do with the refusal.
    what: String,
}

impl Refusal {
    /// What an answer other than 2xx says.
    pub(crate) fn read(what: String, status: StatusCode, body: &[u8]) -> Result<Self, Failure> {
        let own: Option<ErrorAnswer> = serde_json::from_slice(body).ok();
        let message = match &own {
            Some(own) => Cow::from(&own.message),
            None => begin(body),
        };
        let is_word = match status {
            // The registry's codes are the status and two digits; a web server's JSON repeats the status.
            StatusCode::NOT_FOUND => own.as_ref().is_some_and(|own| own.error_code > 40_400),
            StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => true,
            _ => false,
        };
        if is_word {
            return Ok(Self {
                status,
                code: own.as_ref().map(|own| own.error_code),
                message: message.into_owned(),
                what,
            });
        }
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; are user and password right?",
            StatusCode::NOT_FOUND => "; is the address that of a registry?",
            _ => "",
        };
        Err(Failure {
            cause: format!("{what} was answered {status}: {message}{hint}"),
            again: status.is_server_error()
                || status == StatusCode::TOO_MANY_REQUESTS
                || status == StatusCode::REQUEST_TIMEOUT,
        })
    }

    /// Whether the registry gave one of these codes.
    pub(crate) fn is(&self, codes: &[u32]) -> bool {
        self.code.is_some_and(|code| codes.contains(&code))
    }

    /// The refusal as the registry being of no use.
    pub(crate) fn unavailable(self) -> RegistryError {
        let code = self.code.map(|code| format!(" (error_code {code})"));
        RegistryError::Unavailable(format!(
            "{} was answered {}{}: {}",
            self.what,
            self.status,
            code.unwrap_or_default(),
            self.message
        ))
    }
}

/// A try that came to nothing.
pub(crate) struct Failure {
    pub(crate) cause: String,
    /// Whether another may do better.
    pub(crate) again: bool,
}

/// The beginning of a body, in one line, for a message.
pub(crate) fn begin(body: &[u8]) -> Cow<'static, str> {
    let text = String::from_utf8_lossy(&body[..body.len().min(400)]);
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect();
    line.truncate(line.trim_end().len());
    match line.is_empty() {
        true => "no body".into(),
        false => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The refusal's code; none: the answer is nobody's word.
    fn word(status: u16, body: &str) -> Option<Option<u32>> {
        let status = StatusCode::from_u16(status).unwrap();
        let refusal = Refusal::read("GET x".to_owned(), status, body.as_bytes());
        refusal.ok().map(|refusal| refusal.code)
    }

    #[test]
    fn only_the_registry_s_own_404_counts() {
        let own = r#"{"error_code":40403,"message":"Schema not found"}"#;
        assert_eq!(word(404, own), Some(Some(40_403)));
        for other in [
            "",
            "<html>404</html>",
            "{}",
            r#"{"status":404}"#,
            r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#,
            r#"{"error_code":"40403"}"#,
        ] {
            assert_eq!(word(404, other), None, "{other}");
        }
        assert_eq!(word(500, own), None);
        assert_eq!(word(401, r#"{"error_code":40101,"message":"no"}"#), None);
        assert_eq!(word(301, ""), None);
        assert_eq!(word(409, ""), Some(None));
    }
}
