//! Where log, schemas and store are, as flags say it.
//!
//! What a newcomer would get wrong: flags are read by everybody on the machine, so that no place takes a password; and
//! who puts one there all the same is told so without it, as errors end in logs.

use std::str::FromStr;

/// `--log`: `embedded`, or `kafka://HOST:PORT[,HOST:PORT…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    Embedded,
    Kafka { brokers: Vec<String> },
}

/// `--registry`: `embedded`, or the URL of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryPlace {
    Embedded,
    Url(String),
}

/// `--store`: `embedded`, or `cql://HOST:PORT[,HOST:PORT…]/KEYSPACE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    Embedded,
    Cql {
        nodes: Vec<String>,
        keyspace: String,
    },
}

/// Why a place is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no place of a {}: {} expected{advice}", .kind.what, .kind.expected)]
pub struct PlaceError {
    /// Without what may be a password.
    given: String,
    kind: &'static Kind,
    advice: String,
}

/// What a place is of.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    what: &'static str,
    expected: &'static str,
    /// Where its user and its password belong: keys of the configuration.
    user: &'static str,
    password: &'static str,
    /// The variable of the password.
    variable: &'static str,
}

const EMBEDDED: &str = "embedded";

const LOG: Kind = Kind {
    what: "log",
    expected: "embedded or kafka://HOST:PORT[,HOST:PORT…]",
    user: "kafka.sasl.user",
    password: "kafka.sasl.password",
    variable: "OPENINFRA_KAFKA__SASL__PASSWORD",
};
const REGISTRY: Kind = Kind {
    what: "registry",
    expected: "embedded or http://HOST:PORT/PATH",
    user: "registry.user",
    password: "registry.password",
    variable: "OPENINFRA_REGISTRY__PASSWORD",
};
const STORE: Kind = Kind {
    what: "store",
    expected: "embedded or cql://HOST:PORT[,HOST:PORT…]/KEYSPACE (a keyspace has a small letter and up to 47 small letters, digits and underscores)",
    user: "cql.user",
    password: "cql.password",
    variable: "OPENINFRA_CQL__PASSWORD",
};

impl Kind {
    fn refuse(&'static self, text: &str) -> PlaceError {
        let given = without_credentials(text);
        let advice = match given == text {
            true => String::new(),
            false => format!(
                "; set what stands before the @ as {} and {} in the file of --config, or the password as {}",
                self.user, self.password, self.variable
            ),
        };
        PlaceError {
            given,
            kind: self,
            advice,
        }
    }
}

/// An address in which `***` stands for whatever is before the last `@`, from the scheme on.
pub fn without_credentials(text: &str) -> String {
    let Some((before, address)) = text.rsplit_once('@') else {
        return text.to_owned();
    };
    let scheme = before.find("://").map_or("", |at| &before[..at + 3]);
    format!("{scheme}***@{address}")
}

impl FromStr for LogPlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if text == EMBEDDED {
            return Ok(Self::Embedded);
        }
        let brokers = text.strip_prefix("kafka://").and_then(hosts);
        brokers
            .map(|brokers| Self::Kafka { brokers })
            .ok_or_else(|| LOG.refuse(text))
    }
}

impl FromStr for RegistryPlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if text == EMBEDDED {
            return Ok(Self::Embedded);
        }
        match reqwest::Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                Ok(Self::Url(text.trim_end_matches('/').to_owned()))
            }
            _ => Err(REGISTRY.refuse(text)),
        }
    }
}

impl FromStr for StorePlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if text == EMBEDDED {
            return Ok(Self::Embedded);
        }
        let parts = text
            .strip_prefix("cql://")
            .and_then(|rest| rest.split_once('/'));
        let place = parts.and_then(|(nodes, keyspace)| {
            let nodes = hosts(nodes)?;
            is_keyspace(keyspace).then(|| Self::Cql {
                nodes,
                keyspace: keyspace.to_owned(),
            })
        });
        place.ok_or_else(|| STORE.refuse(text))
    }
}

/// HOST:PORT, separated by commas; none where one is not.
fn hosts(text: &str) -> Option<Vec<String>> {
    let hosts: Vec<_> = text.trim_end_matches('/').split(',').collect();
    let fits = |host: &&str| {
        let parts = host.rsplit_once(':');
        parts.is_some_and(|(name, port)| {
            let plain = !name.contains(['/', '@', '?', '#', ' ']);
            !name.is_empty() && plain && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    let all = hosts.iter().all(fits);
    all.then(|| hosts.into_iter().map(str::to_owned).collect())
}

/// As Cassandra takes one without quotes, at most 48 characters.
fn is_keyspace(name: &str) -> bool {
    name.len() <= 48
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn places_are_read() {
        assert_eq!("embedded".parse(), Ok(LogPlace::Embedded));
        assert_eq!(
            "kafka://a:9092,b:9093".parse(),
            Ok(LogPlace::Kafka {
                brokers: texts(&["a:9092", "b:9093"])
            })
        );
        assert_eq!(
            "cql://[::1]:9042,b:1/city_1".parse(),
            Ok(StorePlace::Cql {
                nodes: texts(&["[::1]:9042", "b:1"]),
                keyspace: "city_1".to_owned()
            })
        );
        assert_eq!(
            "http://r:8081/apis/ccompat/v7/".parse(),
            Ok(RegistryPlace::Url(
                "http://r:8081/apis/ccompat/v7".to_owned()
            ))
        );
    }

    #[test]
    fn what_is_no_place_is_told_with_what_would_be() {
        for text in [
            "kafka://",
            "kafka://a",
            "kafka://a:0",
            "kafka://a:1,,b:2",
            "a:9092",
        ] {
            let error = text.parse::<LogPlace>().unwrap_err().to_string();
            assert!(
                error.contains(text) && error.contains("kafka://HOST"),
                "{error}"
            );
        }
        for text in [
            "cql://a:1",
            "cql://a:1/",
            "cql://a:1/City",
            "cql://a:1/1c",
            "cql:///k",
            "a:1/k",
        ] {
            let error = text.parse::<StorePlace>().unwrap_err().to_string();
            assert!(
                error.contains(text) && error.contains("cql://HOST"),
                "{error}"
            );
        }
        for text in ["ftp://r", "r:8081", ""] {
            let error = text.parse::<RegistryPlace>().unwrap_err().to_string();
            assert!(error.contains("http://HOST"), "{error}");
        }
    }

    #[test]
    fn a_password_is_not_repeated_and_its_place_is_named() {
        let log = |text: &str| text.parse::<LogPlace>().unwrap_err();
        let registry = |text: &str| text.parse::<RegistryPlace>().unwrap_err();
        let store = |text: &str| text.parse::<StorePlace>().unwrap_err();
        for (error, shown, place) in [
            (
                log("kafka://u:swordfish@a:1"),
                "\"kafka://***@a:1\"",
                "OPENINFRA_KAFKA__SASL__PASSWORD",
            ),
            (
                log("kafka://a:1,u:swordfish@b:1,u:sword/fish@c:1"),
                "\"kafka://***@c:1\"",
                "kafka.sasl.user",
            ),
            (log("u:swordfish@a:1"), "\"***@a:1\"", "kafka.sasl.password"),
            (
                registry("htp://u:sword@fish@r:8081/x"),
                "\"htp://***@r:8081/x\"",
                "OPENINFRA_REGISTRY__PASSWORD",
            ),
            (
                store("cql://u:swordfish@c:9042/city"),
                "\"cql://***@c:9042/city\"",
                "OPENINFRA_CQL__PASSWORD",
            ),
        ] {
            let text = error.to_string();
            assert!(text.contains(shown) && text.contains(place), "{text}");
            let said = format!("{text}{error:?}");
            assert!(!said.contains("fish") && !said.contains("u:"), "{said}");
        }
        assert_eq!(without_credentials("kafka://a:1"), "kafka://a:1");
    }
}
