//! What an operator sets: one TOML file, `OPENINFRA_…` variables over it, flags over both.
//!
//! A newcomer would expect a misspelt key to do nothing. It is an error that names the key, from the
//! file and from the environment alike, before any port opens.

mod culprit;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use config::{Config as Sources, ConfigBuilder, File, FileFormat, builder::DefaultState};
use openinfra_intake::budget::LARGEST_BYTES;
use openinfra_mqtt::broker::BrokerClient;
use openinfra_schemas::Secret;
use serde::Deserialize;

use crate::{
    cli::{DeploymentArgs, ServerArgs},
    client::Client,
    deployment::{LogPlace, RegistryPlace, StorePlace},
};

/// Variables with our prefix that are no keys of the file.
const NO_KEYS: [&str; 3] = ["OPENINFRA_LOG", "OPENINFRA_API_KEY", "OPENINFRA_CONFIG"];
/// So that a packet and its records fit into the greatest room there is.
const MOST_PACKET_BYTES: u32 = 10 << 20;
/// So that an append ends, its own spare time of 5 s included, before a request does after 30 s.
const MOST_DELIVERY_MS: u32 = 24_000;
/// Sections of the file; `OPENINFRA_MQTT_BIND` is read as `OPENINFRA_MQTT__BIND`.
const SECTIONS: [&str; 9] = [
    "http", "mqtt", "ingest", "job", "log", "kafka", "registry", "cql", "views",
];

/// The whole configuration of every process of the product. Each part keeps its own settings and their defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of log and views; made when it is not there. Default: `.openinfra/data`.
    pub data: PathBuf,
    /// `[kafka]`: where the log is; none: in the folder.
    pub kafka: Option<openinfra_kafka::Config>,
    /// `[registry]`: where schemas are; none: in the folder.
    pub registry: Option<openinfra_registry::Config>,
    /// `[cql]`: where views and entities are; none: in the folder.
    pub cql: Option<openinfra_scylla::Config>,
    /// `[views]`: where `serve` finds the process that runs the job.
    pub views: Views,
    /// `[http]`: the API, and ingest over HTTP.
    pub http: Http,
    /// `[mqtt]`: the listener that devices connect to; `[mqtt.tls]`: its TLS port.
    pub mqtt: openinfra_mqtt::config::Config,
    /// `[[broker]]`: brokers of others whose messages are taken.
    pub broker: Vec<openinfra_mqtt::broker::Config>,
    /// Which of several processes that share this file this one is: `{instance}` in the client ids of
    /// `[[broker]]`. Default: the host's name.
    pub instance: Option<String>,
    /// `[ingest]`: how much is taken from whom.
    pub ingest: openinfra_ingest::Config,
    /// `[job]`: what keeps the views.
    pub job: openinfra_views::Config,
    pub log: Log,
    /// How long to finish what was taken once the process is asked to stop, in milliseconds. Default
    /// 20,000.
    pub drain_timeout_ms: u64,
}

/// `[http]`: the API and ingest over HTTP.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Default: `127.0.0.1:8080`. Put a proxy that speaks TLS before anything but loopback.
    pub bind: SocketAddr,
    /// `[http.limits]`: how many requests are taken from whom. Readings are limited by `[ingest]`.
    pub limits: openinfra_api::Limits,
}

/// `[views]`: the process that runs the job, for whoever does not.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Views {
    /// As `http://HOST:PORT`, the address of `openinfra views run`; none: what holds ticks is refused.
    pub url: Option<String>,
    /// A key with `manage_platform`.
    pub api_key: Option<Secret>,
}

/// `[log]`: what this process tells about itself, on standard error.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// As `OPENINFRA_LOG`, which wins. Default: `info`.
    pub filter: Option<String>,
    /// One JSON object a line.
    pub json: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from(".openinfra/data"),
            kafka: None,
            registry: None,
            cql: None,
            views: Views::default(),
            http: Http::default(),
            mqtt: openinfra_mqtt::config::Config::default(),
            broker: Vec::new(),
            instance: None,
            ingest: openinfra_ingest::Config::default(),
            job: openinfra_views::Config::default(),
            log: Log::default(),
            drain_timeout_ms: 20_000,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            limits: openinfra_api::Limits::default(),
        }
    }
}

/// Why a configuration cannot be used, in a sentence for whoever wrote it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("configuration file {path}: {source}")]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("configuration: {0}")]
    Wrong(String),
    #[error("configuration: variable {name}: {reason}")]
    Variable { name: String, reason: String },
    #[error(
        "--dev switches authentication off and binds loopback addresses only, and {what} {address} \
         is none; use 127.0.0.1, or leave --dev out and make keys with `openinfra admin create-key`"
    )]
    NotLoopback {
        what: &'static str,
        address: SocketAddr,
    },
    #[error("configuration: job.{0}")]
    Job(String),
    #[error("configuration: [{section}]: {reason}")]
    Section {
        section: &'static str,
        reason: String,
    },
    #[error("configuration: two of [[broker]] are called {0:?}")]
    Brokers(String),
    #[error("configuration: job.workers is {0}; 1 to 64 expected")]
    Workers(usize),
    #[error("configuration: ingest.in_flight_bytes is {0}; at least {LARGEST_BYTES} expected")]
    InFlight(usize),
    #[error(
        "{what} is one of several processes, which share no data folder: --log kafka://…, --registry \
         URL and --store cql://… are needed, and {missing} is embedded; `openinfra up` runs everything \
         in one process"
    )]
    OneProcess {
        what: &'static str,
        missing: &'static str,
    },
    #[error(
        "--topic-prefix names topics and subjects on servers; log and registry are embedded here"
    )]
    Prefix,
    #[error(
        "configuration: kafka.delivery_timeout_ms is {0}; at most {MOST_DELIVERY_MS} expected, so that \
         an append ends before the request that waits for it"
    )]
    Delivery(u32),
    #[error("configuration: mqtt.max_packet_bytes is {0}; at most {MOST_PACKET_BYTES} expected")]
    Packet(u32),
}

impl Config {
    /// Merges file, environment and flags, and checks the result.
    pub fn load(args: &ServerArgs, dev: bool) -> Result<Self, ConfigError> {
        let mut config = Self::merged(&args.deployment)?;
        config.apply(args);
        config.check(dev)?;
        Ok(config)
    }

    /// As [`Config::load`], for a command that opens what a server works on and is none.
    pub fn load_deployment(args: &DeploymentArgs) -> Result<Self, ConfigError> {
        let config = Self::merged(args)?;
        config.check(false)?;
        Ok(config)
    }

    /// The defaults, on another folder.
    pub fn of_folder(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            ..Self::default()
        }
    }

    /// Whether anything is kept in the data folder.
    pub fn needs_folder(&self) -> bool {
        self.kafka.is_none() || self.registry.is_none() || self.cql.is_none()
    }

    /// Errs when something that `what` shares with other processes is embedded.
    pub fn check_shared(&self, what: &'static str) -> Result<(), ConfigError> {
        let embedded = [
            ("the log", self.kafka.is_none()),
            ("the registry", self.registry.is_none()),
            ("the store", self.cql.is_none()),
        ];
        match embedded.into_iter().find(|(_, embedded)| *embedded) {
            Some((missing, _)) => Err(ConfigError::OneProcess { what, missing }),
            None => Ok(()),
        }
    }

    fn merged(args: &DeploymentArgs) -> Result<Self, ConfigError> {
        // Names and values that are no Unicode are none of ours.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let mut config = Self::read(args.config.as_deref(), variables)?;
        config.place(args);
        if args.topic_prefix.is_some() && config.kafka.is_none() && config.registry.is_none() {
            return Err(ConfigError::Prefix);
        }
        config.name_subjects();
        if config.kafka.is_some() || config.cql.is_some() {
            config.job.on_servers();
        }
        Ok(config)
    }

    /// A subject is called after its topic, where nothing else was set.
    fn name_subjects(&mut self) {
        if let (Some(kafka), Some(registry)) = (&self.kafka, &mut self.registry)
            && registry.subject_prefix.is_empty()
        {
            registry.subject_prefix.clone_from(&kafka.topic_prefix);
        }
    }

    fn read(
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

    fn place(&mut self, args: &DeploymentArgs) {
        if let Some(data) = &args.data {
            self.data.clone_from(data);
        }
        match &args.log {
            Some(LogPlace::Embedded) => self.kafka = None,
            Some(LogPlace::Kafka { brokers }) => {
                self.kafka
                    .get_or_insert_default()
                    .brokers
                    .clone_from(brokers);
            }
            None => {}
        }
        match &args.registry {
            Some(RegistryPlace::Embedded) => self.registry = None,
            Some(RegistryPlace::Url(url)) => match &mut self.registry {
                Some(registry) => registry.url.clone_from(url),
                None => self.registry = Some(openinfra_registry::Config::new(url)),
            },
            None => {}
        }
        match &args.store {
            Some(StorePlace::Embedded) => self.cql = None,
            Some(StorePlace::Cql { nodes, keyspace }) => match &mut self.cql {
                Some(cql) => {
                    cql.contact_points.clone_from(nodes);
                    cql.keyspace.clone_from(keyspace);
                }
                None => self.cql = Some(openinfra_scylla::Config::new(nodes.clone(), keyspace)),
            },
            None => {}
        }
        if let Some(prefix) = &args.topic_prefix {
            if let Some(kafka) = &mut self.kafka {
                kafka.topic_prefix.clone_from(prefix);
            }
            if let Some(registry) = &mut self.registry {
                registry.subject_prefix.clone_from(prefix);
            }
        }
    }

    fn apply(&mut self, args: &ServerArgs) {
        if let Some(address) = args.http {
            self.http.bind = address;
        }
        if let Some(address) = args.mqtt {
            self.mqtt.bind = address;
        }
        if let Some(workers) = args.workers {
            self.job.workers = workers;
        }
        if args.instance.is_some() {
            self.instance.clone_from(&args.instance);
        }
        for broker in &mut self.broker {
            broker.instance.clone_from(&self.instance);
        }
        self.log.json |= args.json;
    }

    fn check(&self, dev: bool) -> Result<(), ConfigError> {
        if !(1..=64).contains(&self.job.workers) {
            return Err(ConfigError::Workers(self.job.workers));
        }
        self.job.check().map_err(ConfigError::Job)?;
        self.check_servers()?;
        if self.ingest.in_flight_bytes < LARGEST_BYTES {
            return Err(ConfigError::InFlight(self.ingest.in_flight_bytes));
        }
        if self.mqtt.max_packet_bytes > MOST_PACKET_BYTES {
            return Err(ConfigError::Packet(self.mqtt.max_packet_bytes));
        }
        if let Some(kafka) = &self.kafka
            && kafka.delivery_timeout_ms > MOST_DELIVERY_MS
        {
            return Err(ConfigError::Delivery(kafka.delivery_timeout_ms));
        }
        if dev {
            loopback("--http", self.http.bind)?;
            loopback("--mqtt", self.mqtt.bind)?;
            if let Some(tls) = &self.mqtt.tls {
                loopback("mqtt.tls.bind", tls.bind)?;
            }
        }
        Ok(())
    }
}

impl Config {
    /// What the parts themselves find wrong with the settings of the servers they talk to.
    pub fn check_servers(&self) -> Result<(), ConfigError> {
        let of = |section| move |reason| ConfigError::Section { section, reason };
        if let Some(kafka) = &self.kafka {
            kafka.check().map_err(of("kafka"))?;
        }
        if let Some(registry) = &self.registry {
            let made = openinfra_registry::RegistryClient::new(registry);
            made.map_err(|error| of("registry")(error.to_string()))?;
        }
        if let Some(cql) = &self.cql {
            cql.check().map_err(of("cql"))?;
        }
        if let Some(url) = &self.views.url {
            let made = Client::new(url, self.views.api_key.as_ref().map(Secret::reveal));
            made.map_err(|error| of("views")(error.to_string()))?;
        }
        Ok(())
    }

    /// Errs when a broker of `[[broker]]` cannot be connected to as it is described. Reads certificates, and
    /// so is for processes that connect.
    pub fn check_brokers(&self) -> Result<(), ConfigError> {
        for (at, broker) in self.broker.iter().enumerate() {
            BrokerClient::check(broker).map_err(|error| ConfigError::Section {
                section: "[broker]",
                reason: format!("{:?}: {error}", broker.name),
            })?;
            if self.broker[..at]
                .iter()
                .any(|other| other.name == broker.name)
            {
                return Err(ConfigError::Brokers(broker.name.clone()));
            }
        }
        Ok(())
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

fn loopback(what: &'static str, address: SocketAddr) -> Result<(), ConfigError> {
    if address.ip().is_loopback() {
        Ok(())
    } else {
        Err(ConfigError::NotLoopback { what, address })
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
    use super::*;

    fn from_env(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let owned = variables
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::read(None, owned)
    }

    fn from_file(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("openinfra.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(Some(&path), std::iter::empty())
    }

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
    fn processes_that_share_a_file_are_told_apart() {
        let text = "[[broker]]\nurl = \"mqtt://b\"\ntenant = \"acme\"\n";
        let mut config = from_file(&format!("instance = \"a\"\n{text}")).unwrap();
        let mut args = ServerArgs::default();
        config.apply(&args);
        assert_eq!(config.broker[0].instance.as_deref(), Some("a"));
        args.instance = Some("b".to_owned());
        config.apply(&args);
        assert_eq!(config.broker[0].instance.as_deref(), Some("b"));
        let set = from_env(&[("OPENINFRA_INSTANCE", "c")]).unwrap();
        assert_eq!(set.instance.as_deref(), Some("c"));
    }

    #[test]
    fn dev_is_for_loopback_only() {
        let mut config = Config::default();
        config.check(true).unwrap();
        config.http.bind = SocketAddr::from(([0, 0, 0, 0], 8080));
        assert!(config.check(true).is_err());
        config.check(false).unwrap();
    }

    #[test]
    fn subjects_are_called_after_their_topics() {
        let text = "[kafka]\ntopic_prefix = \"city.\"\n[registry]\nurl = \"http://r:8081\"\n";
        let mut config = from_file(text).unwrap();
        config.name_subjects();
        assert_eq!(config.registry.unwrap().subject_prefix, "city.");
        let own = format!("{text}subject_prefix = \"own.\"\n");
        let mut config = from_file(&own).unwrap();
        config.name_subjects();
        assert_eq!(config.registry.unwrap().subject_prefix, "own.");
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

    #[test]
    fn settings_of_servers_are_checked_with_all_others() {
        for (section, text) in [
            ("[kafka]", "[kafka]\npartitions = 0\n"),
            ("[registry]", "[registry]\nurl = \"registry:8081\"\n"),
            (
                "[cql]",
                "[cql]\ncontact_points = [\"c:9042\"]\nkeyspace = \"k\"\nmax_in_flight = 0\n",
            ),
            ("[views]", "[views]\nurl = \"views\"\n"),
        ] {
            let error = from_file(text).unwrap().check(false).unwrap_err();
            assert!(error.to_string().contains(section), "{error}");
        }
        let two = "[[broker]]\nname = \"a\"\nurl = \"mqtt://b:1883\"\ntenant = \"t\"\ntopics = [\"t/#\"]\n";
        let config = from_file(&two.repeat(2)).unwrap();
        config.check(false).unwrap();
        let error = config.check_brokers().unwrap_err().to_string();
        assert!(
            error.contains("[[broker]]") && error.contains("\"a\""),
            "{error}"
        );
    }

    #[test]
    fn an_append_ends_before_the_request_that_waits_for_it() {
        let mut kafka = openinfra_kafka::Config {
            delivery_timeout_ms: MOST_DELIVERY_MS,
            ..openinfra_kafka::Config::default()
        };
        let request = openinfra_api::Config::default().timeout;
        assert!(kafka.append_deadline() < request);
        kafka.delivery_timeout_ms += 1;
        let config = Config {
            kafka: Some(kafka),
            ..Config::default()
        };
        let error = config.check(false).unwrap_err().to_string();
        assert!(error.contains("kafka.delivery_timeout_ms"), "{error}");
    }

    #[test]
    fn the_greatest_delivery_fits_into_the_bytes_in_flight() {
        let mut config = Config::default();
        config.ingest.in_flight_bytes = LARGEST_BYTES;
        config.mqtt.max_packet_bytes = MOST_PACKET_BYTES;
        config.check(false).unwrap();
        config.ingest.in_flight_bytes -= 1;
        let error = config.check(false).unwrap_err().to_string();
        assert!(error.contains("ingest.in_flight_bytes"), "{error}");
        let mut config = Config::default();
        config.mqtt.max_packet_bytes = MOST_PACKET_BYTES + 1;
        let error = config.check(false).unwrap_err().to_string();
        assert!(error.contains("mqtt.max_packet_bytes"), "{error}");
    }
}
