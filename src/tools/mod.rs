//! The tools a model can call, one file a topic. A tool is data and the function that runs it ([`Tool`]); [`all`] is the
//! list.

mod api;
mod clusters;
mod describe;
mod guests;
mod lists;
mod place;
mod request;
mod search;
pub mod shape;
mod tasks;
mod teach;
pub mod view;

use crate::mcp::catalog::{Catalog, Tool};
use crate::pve::manager::ClusterManager;
use std::sync::Arc;

/// What a model is told about the server as a whole.
const INSTRUCTIONS: &str = "Proxmox VE clusters. Where one cluster is configured, leave `cluster` out. Lists are tables: \
    a header line, then tab-separated rows. For whatever the other tools don't cover: search_api finds an operation by \
    plain words, describe_api shows what it takes, proxmox_api_get reads, proxmox_api_call changes. A guest's name works \
    where its number does. An answer that starts with UPID: is a task that goes on; wait_for_task sees it to its end.";

/// Every tool of the product, in the order of tools/list. The text of an answer is cut at `max_result_bytes` (0: never).
pub fn all(manager: Arc<ClusterManager>, max_result_bytes: usize) -> Vec<Tool> {
    vec![
        clusters::list_clusters(manager.clone()),
        lists::list_nodes(manager.clone()),
        lists::get_cluster_resources(manager.clone()),
        guests::find_guest(manager.clone()),
        search::search_api(manager.clone()),
        describe::describe_api(manager.clone()),
        api::proxmox_api_get(manager.clone(), max_result_bytes),
        api::proxmox_api_call(manager.clone(), max_result_bytes),
        tasks::wait_for_task(manager),
    ]
}

/// What the product offers.
pub fn catalog(manager: Arc<ClusterManager>, max_result_bytes: usize) -> Catalog {
    Catalog { instructions: INSTRUCTIONS, tools: all(manager, max_result_bytes), ..Catalog::default() }
}
