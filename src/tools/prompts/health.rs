//! `health`: the state of clusters.

use super::{CLUSTER_OR_ALL, MAX_CONCURRENT_CLUSTERS, PromptCall, PromptDefinition, new_briefing};
use crate::call::fan_out;
use crate::mcp::catalog::ToolError;
use crate::render::briefing::{Briefing, Section};
use crate::render::health::describe_health;
use crate::tools::facts::FactReader;

/// `health(cluster?)`.
pub(super) const HEALTH: PromptDefinition = PromptDefinition {
    name: "health",
    audit_name: "prompt health",
    title: "Cluster health",
    description: "What is wrong with the cluster: nodes, failed tasks, storages, certificates, HA, backups",
    arguments: &[CLUSTER_OR_ALL],
    handler: health,
};

const REQUEST: &str = "Tell me in a few lines how this is: the problems first, the worst on top, each with what it leads to \
    and the next step. Name what could not be seen. If nothing is wrong, say so in one line. Change nothing.";

fn health(call: &PromptCall<'_>) -> Result<Briefing, ToolError> {
    describe_clusters(call, "Health of the Proxmox VE clusters", REQUEST, |reader| {
        let facts = reader.read_health();
        facts.map_or_else(cluster_not_read, |facts| {
            let (nodes, backups) = (reader.read_nodes(&facts), reader.read_backups(&facts));
            describe_health(&facts, &nodes, &backups)
        })
    })
}

/// Describes each cluster of the call in parallel, and ends with a request to the model.
pub(super) fn describe_clusters(
    call: &PromptCall<'_>,
    title: &str,
    request: &str,
    describe: impl Fn(&FactReader<'_>) -> Vec<Section> + Sync,
) -> Result<Briefing, ToolError> {
    let (clusters, rest) = call.select_clusters()?;
    let groups = fan_out(&clusters, MAX_CONCURRENT_CLUSTERS, |cluster| {
        describe(&FactReader { cluster, deadline: call.deadline })
    });
    let mut briefing = new_briefing(title, &clusters);
    for (cluster, sections) in clusters.iter().zip(groups) {
        briefing.push_cluster(cluster.name(), sections);
    }
    if !rest.is_empty() {
        let mut section = Section::new("Clusters that were not looked at");
        section.push(&format!("{} (name one as cluster)", rest.join(", ")));
        briefing.push(vec![section]);
    }
    Ok(briefing.with_request(request))
}

/// Describes a cluster of which nothing could be read.
pub(super) fn cluster_not_read(error: impl std::fmt::Display) -> Vec<Section> {
    let mut section = Section::new("Nothing could be read");
    section.limit(&error.to_string());
    vec![section]
}
