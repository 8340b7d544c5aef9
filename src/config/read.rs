//! The file, and the variables over it, to settings.
//!
//! What a newcomer would get wrong: which of the two brought an error has to be found out, as the parser sees them
//! merged; and what it says may hold a password ([`culprit()`]).

use std::path::Path;

use config::{Config as Sources, ConfigBuilder, File, FileFormat, builder::DefaultState};

use super::{Config, ConfigError, culprit};

/// Variables with our prefix that are no keys of the file.
const NO_KEYS: [&str; 3] = ["OPENINFRA_LOG", "OPENINFRA_API_KEY", "OPENINFRA_CONFIG"];
/// Sections of the file; `OPENINFRA_MQTT_BIND` is read as `OPENINFRA_MQTT__BIND`.
const SECTIONS: [&str; 9] = [
    "http", "mqtt", "ingest", "job", "log", "kafka", "registry", "cql", "views",
];

impl Config {
    /// What file and variables say, over the defaults.
    pub(super) fn read(
        file: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let text = match file {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
                    path: path.into(),
                    source,
                })?
            }
            None => String::new(),
        };
        let base = Sources::builder().add_source(File::from_str(&text, FileFormat::Toml));
        let keys = keys_of(variables)?;
        let mut sources = base.clone();
        for (_, key, value) in &keys {
            sources = with(sources, key, value)?;
        }
        read(sources).map_err(|error| culprit(&text, file, &base, &keys, error))
    }
}

/// The sources, and over them one key as a variable has it; texts are read as what the key is.
fn with(
    sources: ConfigBuilder<DefaultState>,
    key: &str,
    value: &str,
) -> Result<ConfigBuilder<DefaultState>, ConfigError> {
    let set = sources.set_override(key, value);
    set.map_err(|e| ConfigError::Wrong(e.to_string()))
}

fn read(sources: ConfigBuilder<DefaultState>) -> Result<Config, config::ConfigError> {
    sources.build()?.try_deserialize()
}

/// The error in the words of whatever brought it: the variable that fails in the same way by itself, else
/// the file, whose own parser knows the line, else the two of them together.
fn culprit(
    text: &str,
    file: Option<&Path>,
    base: &ConfigBuilder<DefaultState>,
    keys: &[(String, String, String)],
    error: config::ConfigError,
) -> ConfigError {
    let reason = error.to_string();
    let brings_it = |(_, key, value): &&(String, String, String)| {
        let alone = with(base.clone(), key, value).map_or_else(|_| read(base.clone()), read);
        read(base.clone()).is_ok() && alone.is_err_and(|alone| alone.to_string() == reason)
    };
    let told = culprit::without_value(&reason);
    if let Some((name, ..)) = keys.iter().find(brings_it) {
        let (name, reason) = (name.clone(), told);
        return ConfigError::Variable { name, reason };
    }
    match (file, toml::from_str::<Config>(text)) {
        (Some(path), Err(error)) => {
            let reason = culprit::in_file(text, &error);
            ConfigError::Wrong(format!("file {}: {reason}", path.display()))
        }
        _ => ConfigError::Wrong(told),
    }
}

/// (variable, key with dots between section and key, value) of each variable of ours.
fn keys_of(
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Vec<(String, String, String)>, ConfigError> {
    let mut keys = Vec::new();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix("OPENINFRA_") else {
            continue;
        };
        if NO_KEYS.contains(&name.as_str()) || rest.starts_with("TEST_") {
            continue;
        }
        let rest = rest.strip_prefix('_').unwrap_or(rest).to_ascii_lowercase();
        if rest.is_empty() {
            return Err(ConfigError::Variable {
                name,
                reason: "the key is missing".to_owned(),
            });
        }
        let key = match rest.split_once('_') {
            Some((section, key)) if SECTIONS.contains(&section) && !key.starts_with('_') => {
                format!("{section}.{}", key.replace("__", "."))
            }
            _ => rest.replace("__", "."),
        };
        keys.push((name, key, value));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::testing::{from_env, from_file};
    use super::*;

    #[test]
    fn nothing_set_is_the_default() {
        let config = from_env(&[("PATH", "/bin"), ("OPENINFRA_LOG", "debug")]).unwrap();
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn variables_are_keys_with_one_or_two_underscores() {
        for name in [
            "OPENINFRA_JOB__WORKERS",
            "OPENINFRA__JOB__WORKERS",
            "OPENINFRA_JOB_WORKERS",
        ] {
            assert_eq!(from_env(&[(name, "5")]).unwrap().job.workers, 5, "{name}");
        }
        let tls = [
            ("OPENINFRA_MQTT__TLS__BIND", "127.0.0.1:8883"),
            ("OPENINFRA_MQTT__TLS__CERT", "c"),
            ("OPENINFRA_MQTT__TLS__KEY", "k"),
        ];
        assert!(from_env(&tls).unwrap().mqtt.tls.is_some());
        assert_eq!(
            from_env(&[("OPENINFRA_DATA", "d")]).unwrap().data,
            PathBuf::from("d")
        );
    }

    #[test]
    fn limits_are_set_and_never_lifted() {
        let set = from_env(&[("OPENINFRA_HTTP__LIMITS__BURST", "7")]).unwrap();
        assert_eq!(set.http.limits.burst.get(), 7);
        let set = from_file("[http.limits]\nrequests_per_s = 9\n").unwrap();
        assert_eq!(set.http.limits.requests_per_s.get(), 9);
        let error = from_file("[http.limits]\nburst = 0\n").unwrap_err();
        assert!(error.to_string().contains("burst"), "{error}");
        let set = from_file("[ingest]\nreadings_per_s = 5\n").unwrap();
        assert_eq!(set.ingest.readings_per_s, 5);
    }

    #[test]
    fn an_unknown_key_is_named() {
        for (name, key) in [
            ("OPENINFRA_JOB__WORKES", "workes"),
            ("OPENINFRA_NONSENSE", "nonsense"),
            ("OPENINFRA__NO__SENSE", "no"),
        ] {
            let error = from_env(&[(name, "5")]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(key), "{error}");
        }
        let error = from_file("[job]\nworkes = 3\n").unwrap_err().to_string();
        assert!(error.contains("workes"), "{error}");
        let error = from_file("[jobs]\nworkers = 3\n").unwrap_err().to_string();
        assert!(error.contains("jobs"), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named() {
        let error = from_file("[job]\nworkers = \"many\"\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("workers"), "{error}");
        let error = from_env(&[("OPENINFRA_JOB__WORKERS", "many")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("OPENINFRA_JOB__WORKERS"), "{error}");
    }

    #[test]
    fn a_value_is_never_shown() {
        let kafka = "[kafka.sasl]\nmechanism = \"PLAIN\"\nuser = \"city\"\n";
        for (line, named) in [
            ("passwrod = \"hunter2\"\n", "passwrod"),
            ("password = [\"hunter2\"]\n", "password"),
            ("password \"hunter2\"\n", "line 4"),
            ("password = hunter2\n", "line 4"),
            ("password = \"hunter2\n", "line 4"),
        ] {
            let error = from_file(&format!("{kafka}{line}")).unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(told.contains(named), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
        // As a variable would be that holds digits alone.
        let digits = from_file(&format!("{kafka}password = 49872\n")).unwrap();
        assert!(!format!("{digits:?}").contains("49872"));
        let error = from_env(&[
            ("OPENINFRA_CQL__CONTACT_POINTS", "hunter2"),
            ("OPENINFRA_CQL__KEYSPACE", "k"),
        ]);
        let told = error.unwrap_err().to_string();
        assert!(!told.contains("hunter2"), "{told}");
    }
}
