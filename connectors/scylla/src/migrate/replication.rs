//! How many copies of each row: what is asked for, and what a keyspace has.
//!
//! What a newcomer would get wrong: a keyspace that is there is never altered. Copies that are added have yet to be
//! made, by a repair, and reads may miss rows meanwhile: that is for whoever runs the cluster.

use std::collections::BTreeMap;

use serde::Deserialize;

/// How many copies the keyspace keeps of each row.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Replication {
    /// So many, wherever: for one data centre.
    Simple(u32),
    /// So many in each data centre.
    Network(BTreeMap<String, u32>),
}

/// How many nodes a cluster has, by data centre.
pub(super) type Nodes = BTreeMap<String, u32>;

impl Replication {
    /// What a keyspace has that is made where nothing is asked for.
    pub(super) const DEFAULT: Self = Self::Simple(3);

    /// As a keyspace's row in the cluster's own tables has it; none when it is of a kind that we do not make.
    pub(super) fn of(options: &BTreeMap<String, String>) -> Option<Self> {
        let class = options.get("class")?.rsplit('.').next()?;
        let mut factors = options.iter().filter(|(name, _)| *name != "class");
        match class {
            "SimpleStrategy" => {
                let factor = options.get("replication_factor")?;
                Some(Self::Simple(factor.parse().ok()?))
            }
            "NetworkTopologyStrategy" => factors
                .try_fold(BTreeMap::new(), |mut all, (datacenter, factor)| {
                    all.insert(datacenter.clone(), factor.parse().ok()?);
                    Some(all)
                })
                .map(Self::Network),
            _ => None,
        }
    }

    /// As CQL has it.
    pub(super) fn cql(&self) -> String {
        match self {
            Self::Simple(factor) => {
                format!("{{'class': 'SimpleStrategy', 'replication_factor': {factor}}}")
            }
            Self::Network(factors) => {
                let class = "'class': 'NetworkTopologyStrategy'".to_owned();
                let all = factors.iter().fold(class, |text, (datacenter, factor)| {
                    format!("{text}, '{}': {factor}", datacenter.replace('\'', "''"))
                });
                format!("{{{all}}}")
            }
        }
    }

    /// Whether a keyspace with `found` is what this asks for: so many wherever are so many in an only data centre.
    pub(super) fn is_met_by(&self, found: &Self) -> bool {
        match (self, found) {
            (Self::Simple(asked), Self::Network(found)) => found.values().eq([asked]),
            (asked, found) => asked == found,
        }
    }

    /// Of all data centres together.
    pub(super) fn copies(&self) -> u32 {
        match self {
            Self::Simple(factor) => *factor,
            Self::Network(factors) => factors.values().copied().fold(0, u32::saturating_add),
        }
    }

    /// How many of the copies each read and write needs.
    pub(super) fn quorum(&self) -> u32 {
        self.copies() / 2 + 1
    }

    /// The same, with no more copies than there are nodes.
    pub(super) fn within(&self, nodes: &Nodes) -> Self {
        match self {
            Self::Simple(factor) => {
                let all = nodes.values().copied().fold(0, u32::saturating_add);
                Self::Simple(all.min(*factor))
            }
            Self::Network(factors) => {
                let fewer = factors.iter().filter_map(|(datacenter, factor)| {
                    let there = nodes.get(datacenter)?;
                    Some((datacenter.clone(), *there.min(factor)))
                });
                Self::Network(fewer.collect())
            }
        }
    }
}

/// The statement that gives a keyspace a replication.
pub(super) fn alter_keyspace(keyspace: &str, replication: &Replication) -> String {
    let replication = replication.cql();
    format!("ALTER KEYSPACE \"{keyspace}\" WITH replication = {replication}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(factors: &[(&str, u32)]) -> Replication {
        Replication::Network(named(factors))
    }

    fn named<T: Clone>(of: &[(&str, T)]) -> BTreeMap<String, T> {
        let of = of.iter();
        of.map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }

    fn read(options: &[(&str, &str)]) -> Option<Replication> {
        let options = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Replication::of(&options.collect())
    }

    #[test]
    fn a_keyspace_has_what_its_row_says() {
        let simple = "org.apache.cassandra.locator.SimpleStrategy";
        let topology = "org.apache.cassandra.locator.NetworkTopologyStrategy";
        assert_eq!(
            read(&[("class", simple), ("replication_factor", "3")]),
            Some(Replication::Simple(3))
        );
        assert_eq!(
            read(&[("class", topology), ("a", "3"), ("b", "1")]),
            Some(network(&[("a", 3), ("b", 1)]))
        );
        // Racks by name, transient copies, a strategy of somebody's own.
        for unknown in [
            &[("class", topology), ("a", "['r1', 'r2']")][..],
            &[("class", simple), ("replication_factor", "3/1")],
            &[("class", "EverywhereStrategy")],
            &[],
        ] {
            assert_eq!(read(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn what_was_asked_for_is_told_from_what_was_not() {
        let three = Replication::Simple(3);
        assert!(three.is_met_by(&three) && three.is_met_by(&network(&[("a", 3)])));
        for other in [
            Replication::Simple(1),
            network(&[("a", 1)]),
            network(&[("a", 3), ("b", 3)]),
        ] {
            assert!(!three.is_met_by(&other), "{other:?}");
        }
        assert!(!network(&[("a", 3)]).is_met_by(&three));
    }

    #[test]
    fn copies_have_a_node_each() {
        let nodes = |of: &[(&str, u32)]| named(of);
        let three = Replication::Simple(3);
        assert_eq!(three.within(&nodes(&[("a", 1)])), Replication::Simple(1));
        assert_eq!(three.within(&nodes(&[("a", 2), ("b", 2)])), three);
        let asked = network(&[("a", 3), ("b", 3), ("nowhere", 3)]);
        let within = asked.within(&nodes(&[("a", 5), ("b", 1)]));
        assert_eq!(within, network(&[("a", 3), ("b", 1)]));
        assert_eq!((asked.copies(), asked.quorum()), (9, 5));
        assert_eq!(Replication::Simple(2).quorum(), 2);
        assert_eq!(Replication::Simple(1).quorum(), 1);
    }

    #[test]
    fn it_is_written_as_cql() {
        assert_eq!(
            alter_keyspace("k", &Replication::Simple(1)),
            "ALTER KEYSPACE \"k\" WITH replication = \
             {'class': 'SimpleStrategy', 'replication_factor': 1}"
        );
        assert_eq!(
            network(&[("a", 3), ("b'c", 1)]).cql(),
            "{'class': 'NetworkTopologyStrategy', 'a': 3, 'b''c': 1}"
        );
    }
}
