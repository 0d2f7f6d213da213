//! The cluster at the start: three nodes, thirteen guests, and a backup that failed last night.

pub(crate) mod accounts;
mod guests;
mod history;

use crate::model::node::Node;
use crate::model::pool::Pool;
use crate::model::storage::Storage;
use crate::options::{Options, Release};
use crate::state::ClusterState;
use crate::units::{DAY, GIB};
use accounts::Secrets;
use serde_json::json;
use std::io;

/// Creates the cluster as of now. Fails if the system has no randomness for the secrets of its tokens.
pub(crate) fn new_cluster(options: &Options, secrets: &Secrets) -> io::Result<ClusterState> {
    let mut state = ClusterState::new(options);
    state.nodes = nodes(state.now);
    state.storages = storages();
    let pool = |comment: &str| Pool { comment: Some(comment.into()), ..Pool::default() };
    state.pools.insert("prod".into(), pool("production guests"));
    state.pools.insert("stage".into(), pool("staging, may be wiped"));
    state.aliases.insert("office".into(), ("192.0.2.0/24".into(), Some("office network".into())));
    guests::add_guests(&mut state);
    if options.release == Release::Pve8 {
        state.ha_rules.clear();
        let group = json!({"nodes": "pve2", "comment": "its data are near", "nofailback": 0, "restricted": 0});
        state.ha_groups.insert("near-data".into(), group.as_object().expect("an object").clone());
        state.ha_resources.get_mut("vm:104").expect("the resource of HA")["group"] = "near-data".into();
    }
    history::add_history(&mut state);
    state.accounts = accounts::new_accounts(secrets, state.seconds())?;
    Ok(state)
}

fn nodes(now: f64) -> Vec<Node> {
    let booted = |days: f64| now - days * DAY as f64;
    vec![
        Node {
            name: "pve1",
            ip: "192.0.2.11",
            cpus: 32,
            cpu_model: "AMD EPYC 7302P 16-Core Processor",
            memory: 128 * GIB,
            booted: booted(41.3),
        },
        Node {
            name: "pve2",
            ip: "192.0.2.12",
            cpus: 32,
            cpu_model: "AMD EPYC 7302P 16-Core Processor",
            memory: 128 * GIB,
            booted: booted(41.2),
        },
        Node {
            name: "pve3",
            ip: "192.0.2.13",
            cpus: 16,
            cpu_model: "Intel(R) Xeon(R) E-2288G CPU @ 3.70GHz",
            memory: 64 * GIB,
            booted: booted(12.7),
        },
    ]
}

fn storages() -> Vec<Storage> {
    vec![
        Storage {
            name: "local".into(),
            plugin: "dir".into(),
            content: "backup,import,iso,snippets,vztmpl".into(),
            shared: false,
            total: 94 * GIB,
            other: 11 * GIB,
            properties: json!({"path": "/var/lib/vz"}),
        },
        Storage {
            name: "local-lvm".into(),
            plugin: "lvmthin".into(),
            content: "images,rootdir".into(),
            shared: false,
            total: 1680 * GIB,
            other: 0,
            properties: json!({"vgname": "pve", "thinpool": "data"}),
        },
        Storage {
            name: "nas".into(),
            plugin: "nfs".into(),
            content: "backup,images,iso,vztmpl".into(),
            shared: true,
            total: 4096 * GIB,
            other: 2997 * GIB,
            properties: json!({"server": "192.0.2.20", "export": "/volume1/pve", "path": "/mnt/pve/nas",
                "prune-backups": "keep-daily=3"}),
        },
    ]
}
