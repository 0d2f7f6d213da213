//! The addresses of a cluster, each asked by itself: whether it answers, and which cluster its node belongs to. The
//! addresses of one entry must belong to one cluster: each cluster has a guest 100.

use crate::pve::error::PveError;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// One address of a cluster, as it answers.
pub struct AddressCheck {
    /// `host:port`
    pub address: String,
    pub state: AddressState,
}

/// The answer of one address.
pub enum AddressState {
    /// A node of the cluster answers. `None`: it does not name its cluster.
    Answers(Option<ClusterIdentity>),
    /// A node of another cluster than that of an address before it answers.
    OtherCluster(ClusterIdentity),
    Fails(PveError),
}

/// Compares the answers of the addresses of one entry. The first that names its cluster counts.
pub(in crate::pve) fn compare_addresses(
    answers: Vec<(String, Result<Option<ClusterIdentity>, PveError>)>,
) -> Vec<AddressCheck> {
    let first = answers.iter().position(|(_, answer)| matches!(answer, Ok(Some(_))));
    let is_other = |identity: &ClusterIdentity| {
        let first = first.and_then(|place| answers[place].1.as_ref().ok()?.as_ref());
        first.is_some_and(|first| identity.is_other(first))
    };
    let others: Vec<bool> =
        answers.iter().map(|(_, answer)| matches!(answer, Ok(Some(identity)) if is_other(identity))).collect();
    let states = answers.into_iter().zip(others).map(|((address, answer), is_other)| {
        let state = match answer {
            Ok(Some(identity)) if is_other => AddressState::OtherCluster(identity),
            Ok(identity) => AddressState::Answers(identity),
            Err(error) => AddressState::Fails(error),
        };
        AddressCheck { address, state }
    });
    states.collect()
}

/// The cluster of a node, as the node names it.
pub struct ClusterIdentity {
    /// `None` for a node that is in no cluster, or where the token may not know it.
    name: Option<String>,
    /// The names of its nodes, each with its address as far as the node says.
    nodes: BTreeMap<String, Option<String>>,
}

impl ClusterIdentity {
    /// Reads `/cluster/status`, or `/nodes` where the token may see that alone. Returns `None` for an answer without
    /// nodes.
    pub(in crate::pve) fn parse(rows: &str) -> Option<Self> {
        let rows: Vec<Value> = serde_json::from_str(rows).unwrap_or_default();
        let mut identity = Self { name: None, nodes: BTreeMap::new() };
        for row in rows {
            let text =
                |key: &str| row.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
            match text("type").as_deref() {
                Some("cluster") => identity.name = text("name"),
                Some("node") | None => {
                    identity.nodes.extend(text("name").or(text("node")).map(|name| (name, text("ip"))));
                }
                _ => {}
            }
        }
        (!identity.nodes.is_empty()).then_some(identity)
    }

    /// Returns whether this is a node of another cluster. Lists of nodes differ for a while after a node joined.
    pub fn is_other(&self, other: &Self) -> bool {
        let names_differ = matches!((&self.name, &other.name), (Some(one), Some(other)) if one != other);
        let is_common = |(node, address): (&String, &Option<String>)| match (address, other.nodes.get(node)) {
            // Nodes of two clusters may have the same name.
            (Some(address), Some(Some(other))) => address == other,
            (_, known) => known.is_some(),
        };
        names_differ || !self.nodes.iter().any(is_common)
    }
}

impl fmt::Display for ClusterIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<&str> = self.nodes.keys().map(String::as_str).collect();
        match &self.name {
            Some(name) => write!(f, "cluster {name} of {}", nodes.join(", ")),
            None => write!(f, "node {}", nodes.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: Option<&str>, nodes: &[(&str, Option<&str>)]) -> ClusterIdentity {
        let nodes = nodes.iter().map(|(node, address)| ((*node).to_owned(), address.map(str::to_owned)));
        ClusterIdentity { name: name.map(str::to_owned), nodes: nodes.collect() }
    }

    #[test]
    fn clusters_differ_by_name_or_by_all_nodes() {
        let prod = identity(Some("prod"), &[("pve1", Some("10.0.0.1")), ("pve2", Some("10.0.0.2"))]);
        for (other, is_other) in [
            (identity(Some("prod"), &[("pve1", Some("10.0.0.1"))]), false),
            (identity(Some("prod"), &[("pve2", None), ("pve3", Some("10.0.0.3"))]), false),
            (identity(None, &[("pve2", None)]), false),
            (identity(Some("lab"), &[("pve1", Some("10.0.0.1"))]), true),
            (identity(Some("prod"), &[("lab1", Some("10.1.0.1"))]), true),
            (identity(None, &[("pve1", Some("10.1.0.1"))]), true),
        ] {
            assert_eq!(other.is_other(&prod), is_other, "{other}");
            assert_eq!(prod.is_other(&other), is_other, "{other}");
        }
    }
}
