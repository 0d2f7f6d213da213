//! The prompts, one file for each. A prompt is a `PromptDefinition` with its handler under it.
//!
//! A client shows them as slash commands. Each answers with one message, because some clients show only the first.

mod backup_report;
mod definition;
mod guest;
mod health;
mod plan_change;
mod troubleshoot;

use crate::call::ClusterHandle;
use crate::mcp::catalog::PromptArgument;
use crate::render::briefing::Briefing;
use crate::render::labels::{format_local_time, now_seconds};
use definition::{PromptCall, PromptDefinition, invalid_argument};

/// The most clusters that are read at once.
const MAX_CONCURRENT_CLUSTERS: usize = 4;

/// The prompts, in the order of prompts/list.
pub(super) const PROMPTS: [PromptDefinition; 4] =
    [health::HEALTH, troubleshoot::TROUBLESHOOT, backup_report::BACKUP_REPORT, plan_change::PLAN_CHANGE];

/// The cluster of a prompt about whole clusters.
const CLUSTER_OR_ALL: PromptArgument =
    PromptArgument { name: "cluster", description: "cluster (default: all)", required: false };

/// The cluster of a prompt about one guest.
const CLUSTER_OF_GUEST: PromptArgument = PromptArgument {
    name: "cluster",
    description: "cluster of the guest (default: the one that has it)",
    required: false,
};

const GUEST: PromptArgument =
    PromptArgument { name: "guest", description: "VM or container: number or name", required: true };

/// Creates a text whose title ends with the time of the reads, in the zone of the only cluster.
fn new_briefing(title: &str, clusters: &[ClusterHandle<'_>]) -> Briefing {
    let utc_offset = if let [only] = clusters { only.recent_utc_offset() } else { 0 };
    Briefing::new(format!("{title}, as of {}.", format_local_time(now_seconds(), utc_offset)))
}
