//! The connection to the cluster.

use std::{sync::Arc, time::Duration};

use openinfra_store::Table;
use scylla::{
    client::{
        execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder,
    },
    policies::{load_balancing::DefaultPolicy, retry::DefaultRetryPolicy},
    statement::{Consistency, SerialConsistency},
};

use crate::{
    config::Config,
    error::{OpenError, not_connected},
    schema, tls,
};

/// How long the first connection may take, with what the driver asks about nodes and tables.
const CONNECT: Duration = Duration::from_secs(30);

/// A session, and the keyspace that all statements name.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) session: Arc<Session>,
    pub(crate) config: Config,
}

impl Cluster {
    /// Connects; the keyspace need not be there.
    pub async fn connect(config: &Config) -> Result<Self, OpenError> {
        config.check().map_err(OpenError::Config)?;
        let mut nearest = DefaultPolicy::builder().token_aware(true);
        if let Some(datacenter) = &config.datacenter {
            nearest = nearest
                .prefer_datacenter(datacenter.clone())
                .permit_dc_failover(true);
        }
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::Quorum)
            .serial_consistency(Some(SerialConsistency::Serial))
            .request_timeout(Some(config.request_timeout()))
            .load_balancing_policy(nearest.build())
            .retry_policy(Arc::new(DefaultRetryPolicy::new()))
            .build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&config.contact_points)
            .default_execution_profile_handle(profile.into_handle())
            .keyspaces_to_fetch([config.keyspace.clone()])
            .connection_timeout(Duration::from_secs(5))
            .schema_agreement_timeout(Duration::from_secs(30));
        if let (Some(user), Some(password)) = (&config.user, &config.password) {
            builder = builder.user(user, password.reveal());
        }
        if let Some(tls) = &config.tls {
            builder = builder.tls_context(Some(tls::client(tls)?));
        }
        let nodes = config.contact_points.join(",");
        // What is no cluster may take what it is asked and never answer.
        let session = tokio::time::timeout(CONNECT, builder.build()).await;
        let session = session
            .map_err(|_| {
                let cause = format!("none of {nodes} answered within {} s", CONNECT.as_secs());
                OpenError::Connect(cause)
            })?
            .map_err(|error| not_connected(&nodes, &error))?;
        Ok(Self {
            session: Arc::new(session),
            config: config.clone(),
        })
    }

    pub fn keyspace(&self) -> &str {
        &self.config.keyspace
    }

    /// Makes a table from its declaration if there is none: for tables that no migration makes.
    pub async fn create_table(
        &self,
        table: &'static Table,
        options: Option<&str>,
    ) -> Result<(), OpenError> {
        let text = schema::create_table(self.keyspace(), table, options);
        Ok(crate::migrate::execute(self, &text).await?)
    }
}
