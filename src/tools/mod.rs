//! The tools a model can call, one file a topic. A tool is data and the function that runs it ([`Tool`]); [`all`] is the
//! list.

mod api;
mod clusters;
mod guests;
mod lists;
pub mod shape;
mod tasks;
pub mod view;

use crate::mcp::catalog::{Catalog, Tool};
use crate::pve::manager::ClusterManager;
use std::sync::Arc;

/// What a model is told about the server as a whole.
const INSTRUCTIONS: &str = "Proxmox VE clusters. Lists are tables: a header line, then tab-separated rows. \
    Where one cluster is configured, leave `cluster` out. proxmox_api_call reaches every endpoint of the Proxmox VE API; \
    an answer that starts with UPID: names a task that goes on: \
    wait_for_task sees it to its end.";

/// Every tool of the product, in the order of tools/list.
pub fn all(manager: Arc<ClusterManager>) -> Vec<Tool> {
    vec![
        clusters::list_clusters(manager.clone()),
        lists::list_nodes(manager.clone()),
        lists::get_cluster_resources(manager.clone()),
        guests::find_guest(manager.clone()),
        api::proxmox_api_call(manager.clone()),
        tasks::wait_for_task(manager),
    ]
}

/// What the product offers.
pub fn catalog(manager: Arc<ClusterManager>) -> Catalog {
    Catalog { instructions: INSTRUCTIONS, tools: all(manager), ..Catalog::default() }
}
