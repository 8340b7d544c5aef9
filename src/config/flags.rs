//! Flags over what the file and the environment say.
//!
//! What a newcomer would get wrong: a flag that names a server keeps the rest of its section, so that passwords stay
//! in the file; and `embedded` takes the whole section away.

use super::Config;
use crate::{
    cli::{DeploymentArgs, ServerArgs},
    deployment::{LogPlace, RegistryPlace, StorePlace},
};

impl Config {
    /// Where log, registry and store are.
    pub(super) fn place(&mut self, args: &DeploymentArgs) {
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

    /// What only servers have.
    pub(super) fn apply(&mut self, args: &ServerArgs) {
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
}

#[cfg(test)]
mod tests {
    use super::super::testing::{from_env, from_file};
    use super::*;

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
}
