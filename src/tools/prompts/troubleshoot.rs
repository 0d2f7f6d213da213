//! `troubleshoot`: one guest and what may be wrong with it.

use super::guest::{find_prompt_guest, read_guest};
use super::{CLUSTER_OF_GUEST, GUEST, PromptCall, PromptDefinition, new_briefing};
use crate::call::ApiResponse;
use crate::mcp::catalog::ToolError;
use crate::pve::guests::{Guest, GuestKind};
use crate::pve::rows::ApiRow;
use crate::pve::task_list::TaskEntry;
use crate::render::briefing::Briefing;
use crate::render::cluster_errors::ErrorText;
use crate::render::guest_report::{GuestFacts, GuestHistory, describe_troubled_guest, has_agent};
use crate::render::health::ExplainedTask;
use crate::tools::facts::{FactReader, Lookup, rows};

/// The tasks of the guest that are shown.
const MAX_TASKS: usize = 10;

/// The failed tasks whose logs are read.
const MAX_LOGS: usize = 3;

/// The lines of the newest failed log that are shown.
const LOG_LINES: usize = 12;

/// `troubleshoot(guest, cluster?)`.
pub(super) const TROUBLESHOOT: PromptDefinition = PromptDefinition {
    name: "troubleshoot",
    audit_name: "prompt troubleshoot",
    title: "Troubleshoot a guest",
    description: "What is wrong with a VM or container: state, last tasks and their errors, configuration, storage",
    arguments: &[GUEST, CLUSTER_OF_GUEST],
    handler: troubleshoot,
};

const REQUEST: &str = "Find out what is wrong with this guest. Say the most likely cause first, with the line that shows it, \
    and the next step. Read more with proxmox_api_get where that decides between causes. Change nothing before I agree.";

fn troubleshoot(call: &PromptCall<'_>) -> Result<Briefing, ToolError> {
    let found = find_prompt_guest(call)?;
    let reader = FactReader { cluster: &found.cluster, deadline: call.deadline };
    let facts = read_guest(&reader, &found);
    let history = read_history(&reader, &facts);
    let mut briefing = new_briefing("A guest that may have a problem", std::slice::from_ref(&found.cluster));
    briefing.push_cluster(found.cluster.name(), describe_troubled_guest(&facts, &history));
    Ok(briefing.with_request(REQUEST))
}

fn read_history(reader: &FactReader<'_>, facts: &GuestFacts) -> GuestHistory {
    let guest = &facts.guest;
    let vmid = guest.vmid.to_string();
    let of_node = Lookup::new(&["nodes", &guest.node, "tasks"]).with("vmid", &vmid).with("source", "all");
    let [of_node, of_cluster] =
        reader.read_all([of_node.with("limit", &MAX_TASKS.to_string()), Lookup::new(&["cluster", "tasks"])]);
    // A guest that moved has tasks on other nodes.
    let on_other_node =
        |row: &ApiRow| TaskEntry::from_row(row).filter(|task| task.upid.id == vmid && task.upid.node != guest.node);
    let tasks = rows(&of_node, TaskEntry::from_row).map(|mut tasks| {
        tasks.extend(rows(&of_cluster, on_other_node).unwrap_or_default());
        tasks.sort_by_key(|task| std::cmp::Reverse(task.upid.started_at));
        tasks.truncate(MAX_TASKS);
        tasks
    });
    let failed: Vec<TaskEntry> = tasks.iter().flatten().filter(|task| task.failure().is_some()).cloned().collect();
    let log = failed
        .first()
        .map(|task| reader.read_log_end(task).map(|lines| lines[lines.len().saturating_sub(LOG_LINES)..].to_vec()));
    let explained = &failed[..failed.len().min(MAX_LOGS)];
    let is_explained = |task: &TaskEntry| explained.iter().any(|wanted| wanted.upid == task.upid);
    GuestHistory {
        failed_backups: read_failed_backups(reader, guest, &of_cluster),
        tasks: tasks.map(|tasks| reader.explain_tasks(tasks, is_explained)),
        log,
        agent: needs_agent(guest, facts).then(|| {
            let lookup = Lookup::guest(&guest.node, "qemu", guest.vmid, &["agent", "info"]);
            reader.read(&lookup).map(|_| ())
        }),
    }
}

/// Finds the guest in the logs of the last failed backups of many guests, which name no guest in their UPIDs.
fn read_failed_backups(
    reader: &FactReader<'_>,
    guest: &Guest,
    of_cluster: &Result<ApiResponse, ErrorText>,
) -> Vec<ExplainedTask> {
    let failed_backup = |row: &ApiRow| {
        let is_bulk = |task: &TaskEntry| task.upid.kind == "vzdump" && task.upid.id.is_empty();
        TaskEntry::from_row(row).filter(|task| is_bulk(task) && task.failure().is_some())
    };
    let mut tasks = rows(of_cluster, failed_backup).unwrap_or_default();
    tasks.truncate(MAX_LOGS);
    let names = ["VM", "CT"].map(|kind| format!("{kind} {} ", guest.vmid));
    let is_about_guest =
        |line: &String| line.starts_with("ERROR:") && names.iter().any(|name| line.contains(name.as_str()));
    let find = |task: TaskEntry| {
        let log = reader.read_log_end(&task).ok()?;
        let cause = log.into_iter().rev().find(is_about_guest)?;
        Some(ExplainedTask { task, cause: Some(cause) })
    };
    tasks.into_iter().filter_map(find).collect()
}

/// Returns whether the guest's agent should answer now.
fn needs_agent(guest: &Guest, facts: &GuestFacts) -> bool {
    let is_running = facts.status.as_ref().is_ok_and(|status| status.text("status") == "running");
    guest.kind == GuestKind::Qemu && is_running && facts.config.as_ref().is_ok_and(has_agent)
}
