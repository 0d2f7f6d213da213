//! `backup-report`: jobs, backups and gaps.

use super::health::{cluster_not_read, describe_clusters};
use super::{CLUSTER_OR_ALL, PromptCall, PromptDefinition};
use crate::mcp::catalog::ToolError;
use crate::render::backup_report::describe_backups;
use crate::render::briefing::Briefing;
use crate::tools::facts::online_nodes;

/// The time for which failed backups are reported.
const PERIOD_SECONDS: u64 = 7 * 86_400;

/// `backup-report(cluster?)`.
pub(super) const BACKUP_REPORT: PromptDefinition = PromptDefinition {
    name: "backup-report",
    audit_name: "prompt backup-report",
    title: "Backup report",
    description: "Which guests have a recent backup and which have none: jobs, last backups, failures, storages",
    arguments: &[CLUSTER_OR_ALL],
    handler: backup_report,
};

const REQUEST: &str = "Report on these backups: the guests without a backup or without an enabled job first, then failed and \
    old backups with the reason, then storages that run full. Name what could not be seen: a backup that is not seen may \
    exist. Propose what to do, and change nothing.";

fn backup_report(call: &PromptCall<'_>) -> Result<Briefing, ToolError> {
    describe_clusters(call, "Backups of the Proxmox VE clusters", REQUEST, |reader| {
        let facts = reader.read_health();
        facts.map_or_else(cluster_not_read, |facts| {
            let since = facts.now.saturating_sub(PERIOD_SECONDS);
            let backups = reader.read_backups(&facts);
            let failed = reader.read_failed_tasks(&online_nodes(&facts), since, Some("vzdump"));
            describe_backups(&facts, &backups, &failed)
        })
    })
}
