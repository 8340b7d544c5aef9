//! Settings as they were checked, and what the MQTT library is told of them.

use std::{sync::Arc, time::Duration};

use openinfra_intake::{INGEST_READINGS, Principal, PrincipalKind};
use openinfra_schemas::TenantId;
use rumqttc::{
    NetworkOptions, TlsConfiguration, Transport,
    v5::{MqttOptions, mqttbytes::v5::ConnectProperties},
};

use super::{BrokerError, Config, client_id, filter::overlap};
use crate::tls;

/// The least keep-alive that the library takes.
const KEEP_ALIVE_MIN_S: u16 = 5;

/// Settings that can be used.
pub(crate) struct Settings {
    pub config: Config,
    pub client_id: String,
    pub who: Arc<Principal>,
    host: String,
    port: u16,
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Settings {
    pub fn new(config: Config) -> Result<Self, BrokerError> {
        let wrong = |field, reason: &str| BrokerError::Setting {
            name: config.name.clone(),
            field,
            reason: reason.to_owned(),
        };
        let (host, port, secure) = address(&config.url).map_err(|why| wrong("url", why))?;
        let tls = match (&config.tls, secure) {
            (Some(tls), true) => {
                let own = match (&tls.cert, &tls.key) {
                    (Some(cert), Some(key)) => Some((cert.as_path(), key.as_path())),
                    (None, None) => None,
                    _ => return Err(wrong("tls", "cert and key need each other")),
                };
                let client = tls::client_with(&tls.ca, own);
                Some(client.map_err(|source| BrokerError::Tls {
                    name: config.name.clone(),
                    source,
                })?)
            }
            (None, false) => None,
            (Some(_), false) => return Err(wrong("tls", "needs a url that begins with mqtts://")),
            (None, true) => return Err(wrong("url", "mqtts:// needs tls.ca")),
        };
        let client_id = client_id::of(&config).map_err(|why| wrong("client_id", &why))?;
        for (field, is_zero) in [
            ("receive_maximum", config.receive_maximum == 0),
            ("max_packet_bytes", config.max_packet_bytes == 0),
            ("in_flight_bytes", config.in_flight_bytes == 0),
            ("connect_timeout_s", config.connect_timeout_s == 0),
            ("reconnect_max_ms", config.reconnect_max_ms == 0),
            ("readings_per_s", config.readings_per_s == Some(0)),
        ] {
            if is_zero {
                return Err(wrong(field, "has to be at least 1"));
            }
        }
        if config.keep_alive_s < KEEP_ALIVE_MIN_S {
            return Err(wrong("keep_alive_s", "has to be at least 5"));
        }
        if config.share.contains(['/', '+', '#']) {
            return Err(wrong("share", "is a name without /, + and #"));
        }
        if config.password.is_some() && config.user.is_none() {
            return Err(wrong("password", "needs user"));
        }
        for (at, filter) in config.topics.iter().enumerate() {
            if filter.starts_with('$') || !rumqttc::v5::mqttbytes::valid_filter(filter) {
                return Err(wrong("topics", &format!("{filter:?} is no topic filter")));
            }
            if let Some(other) = config.topics[..at].iter().find(|o| overlap(o, filter)) {
                let why = format!(
                    "{other:?} and {filter:?} fit the same messages, which would come twice; name topics once"
                );
                return Err(wrong("topics", &why));
            }
        }
        let tenant = TenantId::parse(&config.tenant).map_err(|source| BrokerError::Tenant {
            name: config.name.clone(),
            source,
        })?;
        let who = Arc::new(Principal {
            tenant,
            name: format!("broker:{}", config.name),
            kind: PrincipalKind::Service,
            permissions: [INGEST_READINGS.to_owned()].into(),
            sensors: None,
            may_trust_recv: config.trust_recv,
            readings_per_s: config.readings_per_s,
        });
        Ok(Self {
            config,
            client_id,
            who,
            host,
            port,
            tls,
        })
    }

    /// Where the broker is, as `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub fn mqtt(&self) -> MqttOptions {
        let config = &self.config;
        let mut options = MqttOptions::new(&self.client_id, &self.host, self.port);
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(config.session_expiry_s);
        properties.receive_maximum = Some(config.receive_maximum);
        properties.max_packet_size = Some(config.max_packet_bytes);
        options
            .set_connect_properties(properties)
            .set_clean_start(false)
            .set_manual_acks(true)
            .set_keep_alive(Duration::from_secs(config.keep_alive_s.into()))
            .set_connection_timeout(config.connect_timeout_s);
        // Or PUBACKs, of four bytes each, wait for one another.
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        if let Some(user) = &config.user {
            let password = config.password.as_ref().map_or("", |p| p.reveal());
            options.set_credentials(user, password);
        }
        if let Some(tls) = &self.tls {
            let tls = TlsConfiguration::Rustls(Arc::clone(tls));
            options.set_transport(Transport::tls_with_config(tls));
        }
        options
    }
}

/// Host, port, and whether it is TLS.
fn address(url: &str) -> Result<(String, u16, bool), &'static str> {
    const SHAPE: &str = "has to be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]";
    let (scheme, rest) = url.split_once("://").ok_or(SHAPE)?;
    let (secure, usual) = match scheme {
        "mqtt" => (false, 1883),
        "mqtts" => (true, 8883),
        _ => return Err(SHAPE),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return Err("holds credentials; set user and password instead");
    }
    if rest.contains(['/', '?', '#']) {
        return Err(SHAPE);
    }
    // An IPv6 address stands in brackets, colons inside them.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| SHAPE)?),
        _ => (rest, usual),
    };
    if host.is_empty() || port == 0 {
        return Err(SHAPE);
    }
    Ok((host.to_owned(), port, secure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_urls() {
        for (url, expected) in [
            ("mqtt://b", ("b", 1883, false)),
            ("mqtt://b:1/", ("b", 1, false)),
            ("mqtts://b.example", ("b.example", 8883, true)),
            ("mqtt://[::1]", ("[::1]", 1883, false)),
            ("mqtt://[::1]:5", ("[::1]", 5, false)),
        ] {
            let (host, port, secure) = address(url).unwrap();
            assert_eq!((host.as_str(), port, secure), expected, "{url}");
        }
        for url in [
            "b",
            "b:1883",
            "http://b",
            "mqtt://",
            "mqtt://:1",
            "mqtt://b:x",
            "mqtt://b:0",
            "mqtt://u:p@b",
            "mqtt://b/x",
        ] {
            assert!(address(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let check = |field: &str, change: &dyn Fn(&mut Config)| {
            let mut config = Config::new("mqtt://b", "acme");
            change(&mut config);
            let error = Settings::new(config).err().expect(field).to_string();
            assert!(error.contains(field), "{error}");
        };
        check("url", &|c| c.url = "mqtts://b".into());
        check("tls", &|c| {
            c.tls = Some(super::super::Tls {
                ca: "x".into(),
                cert: None,
                key: None,
            });
        });
        check("tenant", &|c| c.tenant = "No Tenant".into());
        check("client_id", &|c| c.client_id = String::new());
        check("receive_maximum", &|c| c.receive_maximum = 0);
        check("keep_alive_s", &|c| c.keep_alive_s = 4);
        check("share", &|c| c.share = "a/b".into());
        check("password", &|c| {
            c.password = Some(openinfra_schemas::Secret::new("x"))
        });
        check("topics", &|c| c.topics = vec!["a/#/b".into()]);
        check("topics", &|c| c.topics = vec!["$share/g/a".into()]);
        check("topics", &|c| {
            c.topics = vec!["a/#".into(), "b".into(), "a/+/data".into()];
        });
        Settings::new(Config::new("mqtt://b", "acme")).unwrap();
    }
}
