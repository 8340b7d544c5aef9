//! The keyspace: made where it is missing, and otherwise only looked at.
//!
//! What a newcomer would get wrong: a keyspace with more copies than nodes is made without a word, and then nobody
//! can read or write in it. So nodes are counted before, and who answers after.

use std::collections::BTreeMap;

use super::{
    MigrateError, ROW_TIMEOUT, SchemaOptions, execute,
    replication::{Nodes, Replication, alter_keyspace},
    select, statement,
};
use crate::cluster::Cluster;

/// A keyspace's replication, as the cluster has it.
pub(super) struct Standing(BTreeMap<String, String>);

/// Makes the keyspace if it is missing.
///
/// # Errors
/// When it has, or would have, another replication than was asked for, or one that the cluster has no nodes for.
pub(super) async fn make(
    cluster: &Cluster,
    options: &SchemaOptions,
) -> Result<Standing, MigrateError> {
    let asked = options.replication.as_ref();
    if Standing::of(cluster).await?.is_none() {
        let replication = asked.unwrap_or(&Replication::DEFAULT);
        has_room(replication, &nodes(cluster))?;
        let more = options.keyspace_options.as_deref();
        execute(cluster, &create(cluster.keyspace(), replication, more)).await?;
    }
    // Another process may have made it meanwhile.
    let standing = Standing::of(cluster).await?.ok_or_else(|| {
        MigrateError::Unreadable("a node does not know the keyspace yet".to_owned())
    })?;
    match (asked, standing.replication()) {
        (Some(asked), Some(found)) if !asked.is_met_by(&found) => Err(MigrateError::Otherwise {
            found: standing.text(),
            change: alter_keyspace(cluster.keyspace(), asked),
        }),
        _ => Ok(standing),
    }
}

fn create(keyspace: &str, replication: &Replication, more: Option<&str>) -> String {
    let replication = replication.cql();
    let more = more.map_or(String::new(), |more| format!(" AND {more}"));
    format!("CREATE KEYSPACE IF NOT EXISTS \"{keyspace}\" WITH replication = {replication}{more}")
}

/// Errs when there are too few nodes for a quorum, whoever of them is alive.
fn has_room(replication: &Replication, nodes: &Nodes) -> Result<(), MigrateError> {
    let within = replication.within(nodes).copies();
    if within >= replication.quorum() {
        return Ok(());
    }
    Err(MigrateError::NoRoom {
        copies: replication.copies(),
        nodes: within,
    })
}

/// All that the cluster has, alive or not.
fn nodes(cluster: &Cluster) -> Nodes {
    let mut nodes = Nodes::new();
    for node in cluster.session.get_cluster_state().get_nodes_info() {
        let datacenter = node.datacenter.clone().unwrap_or_default();
        *nodes.entry(datacenter).or_default() += 1;
    }
    nodes
}

impl Standing {
    /// None when there is no such keyspace.
    async fn of(cluster: &Cluster) -> Result<Option<Self>, MigrateError> {
        let mut text =
            statement("SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?");
        text.set_request_timeout(Some(ROW_TIMEOUT));
        let rows: Vec<(BTreeMap<String, String>,)> =
            select(&cluster.session, text, (cluster.keyspace(),)).await?;
        Ok(rows.into_iter().next().map(|(options,)| Self(options)))
    }

    fn replication(&self) -> Option<Replication> {
        Replication::of(&self.0)
    }

    /// As CQL has it, in the cluster's own words.
    fn text(&self) -> String {
        let options = self.0.iter();
        let options: Vec<_> = options.map(|(k, v)| format!("'{k}': '{v}'")).collect();
        format!("{{{}}}", options.join(", "))
    }

    /// The cluster said that too few of the nodes that have a copy are alive.
    pub(super) fn too_few(&self, cluster: &Cluster, required: i32, alive: i32) -> MigrateError {
        const START: &str = "start the other nodes, and run it again";
        let found = self.replication();
        let within = found.as_ref().map(|found| found.within(&nodes(cluster)));
        let remedy = match within {
            Some(within) if found.as_ref() != Some(&within) && within.copies() > 0 => format!(
                "{START}; or, as the cluster has fewer nodes than copies, first {}",
                alter_keyspace(cluster.keyspace(), &within)
            ),
            _ => START.to_owned(),
        };
        MigrateError::TooFew {
            found: self.text(),
            required,
            alive,
            remedy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_as_told() {
        assert_eq!(
            create("k", &Replication::Simple(3), None),
            "CREATE KEYSPACE IF NOT EXISTS \"k\" WITH replication = \
             {'class': 'SimpleStrategy', 'replication_factor': 3}"
        );
        let network = Replication::Network([("a".to_owned(), 3)].into());
        assert_eq!(
            create("k", &network, Some("tablets = {'enabled': false}")),
            "CREATE KEYSPACE IF NOT EXISTS \"k\" WITH replication = \
             {'class': 'NetworkTopologyStrategy', 'a': 3} AND tablets = {'enabled': false}"
        );
    }

    #[test]
    fn a_quorum_needs_its_nodes() {
        let nodes = |count| Nodes::from([("a".to_owned(), count)]);
        let three = Replication::Simple(3);
        for (count, fits) in [(1, false), (2, true), (3, true)] {
            assert_eq!(has_room(&three, &nodes(count)).is_ok(), fits, "{count}");
        }
        let elsewhere = Replication::Network([("b".to_owned(), 1)].into());
        let error = has_room(&elsewhere, &nodes(3)).unwrap_err();
        assert!(matches!(
            error,
            MigrateError::NoRoom {
                copies: 1,
                nodes: 0
            }
        ));
    }
}
