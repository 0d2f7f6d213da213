//! The cluster that each address of an entry belongs to.
//!
//! Two addresses of one entry may lead to different clusters by mistake, and a guest's number exists in both. The names
//! of the nodes are learned from answers to callers. Before another address is used for the first time after that, it is
//! asked for its nodes.

use crate::base::json_scan::{find_string, walk};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Names of the nodes of the cluster in use, and the addresses that belong to it.
#[derive(Default)]
pub(in crate::pve) struct ClusterMembers {
    state: Mutex<MembersState>,
}

#[derive(Default)]
struct MembersState {
    /// Empty until an answer has told them.
    names: BTreeSet<String>,
    /// The addresses that belong to the cluster, by their index.
    members: BTreeSet<usize>,
}

impl ClusterMembers {
    fn lock(&self) -> MutexGuard<'_, MembersState> {
        // The state is consistent after every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns the names of the nodes from an answer of an address to `GET /nodes`.
    pub(in crate::pve) fn learn(&self, address: usize, data: &str) {
        let mut state = self.lock();
        if state.names.is_empty() || state.members.contains(&address) {
            let names = read_names(data);
            if !names.is_empty() {
                state.names = names;
                state.members.insert(address);
            }
        }
    }

    /// Returns whether an address has to be asked for its nodes before it is used.
    pub(in crate::pve) fn is_unchecked(&self, address: usize) -> bool {
        let state = self.lock();
        !state.names.is_empty() && !state.members.contains(&address)
    }

    /// Checks the answer of an address to `GET /nodes`. Returns false if it belongs to another cluster. `None`: it did not
    /// answer with its nodes, so the call itself shows what is wrong with it.
    pub(in crate::pve) fn check(&self, address: usize, data: Option<&str>) -> bool {
        let Some(names) = data.map(read_names).filter(|names| !names.is_empty()) else { return true };
        let mut state = self.lock();
        let is_member = !state.names.is_disjoint(&names);
        if is_member {
            state.members.insert(address);
        }
        is_member
    }
}

fn read_names(data: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if data.trim_start().starts_with('[') {
        walk(data, &mut |_, row| {
            names.extend(find_string(row, "node").map(|name| name.into_owned()).filter(|name| !name.is_empty()));
            true
        });
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_other_nodes_belongs_to_another_cluster() {
        let cluster = ClusterMembers::default();
        assert!(!cluster.is_unchecked(1), "nothing is known yet");
        cluster.learn(0, r#"[{"node":"pve1"},{"node":"pve2"}]"#);
        assert!(!cluster.is_unchecked(0) && cluster.is_unchecked(1));
        assert!(!cluster.check(1, Some(r#"[{"node":"lab1"}]"#)) && cluster.is_unchecked(1));
        assert!(cluster.check(2, Some(r#"[{"node":"pve2"},{"node":"pve3"}]"#)) && !cluster.is_unchecked(2));
        assert!(cluster.check(3, None) && cluster.check(3, Some("7")) && cluster.is_unchecked(3));
    }
}
