//! The state of a cluster in sections.

use super::briefing::{Limit, Section, Topic};
use super::cluster_errors::ErrorText;
use super::labels::{
    count, format_bytes, format_cpu, format_duration, format_local_time, format_percent, format_time, guest_label,
    guest_name,
};
use super::object_state::is_start_state;
use crate::pve::backups::{BackupFile, BackupJob};
use crate::pve::guests::Guest;
use crate::pve::inventory::{Inventory, NodeSummary, StorageSummary};
use crate::pve::rows::ApiRow;
use crate::pve::task_list::TaskEntry;
use crate::pve::token_privileges::TokenPrivileges;
use std::collections::BTreeMap;

/// The used fraction from which a storage is reported.
const FULL_STORAGE: f64 = 0.85;

/// The used fraction of processors, memory or the root file system from which a node is reported.
const BUSY_NODE: f64 = 0.9;

/// The seconds from which the clock of a node counts as wrong, beside the other nodes. It is more than all reads take. (PVE:
/// a login with a second factor tolerates 30 s.)
const CLOCK_SKEW: i64 = 30;

/// The seconds from which the clocks of all nodes count as wrong, beside the one of this server.
const ALL_CLOCKS_SKEW: i64 = 60;

/// The most tasks of one list.
pub const MAX_TASKS: usize = 50;

/// The time before its end from which a certificate or a subscription is reported.
const EXPIRY_SECONDS: u64 = 30 * 86_400;

/// The states of a subscription that was entered and is of no use.
const SUBSCRIPTION_TROUBLE: [&str; 3] = ["invalid", "expired", "suspended"];

const NODES: Topic = Topic { noun: "nodes", path: "/cluster/status" };
const HA: Topic = Topic { noun: "HA and replication", path: "/cluster/ha/status/current" };
const CEPH: Topic = Topic { noun: "Ceph", path: "/cluster/ceph/status" };
const CLOCKS: Topic = Topic { noun: "clocks", path: "/nodes/{node}/time" };
const STORAGES: Topic = Topic { noun: "storages", path: "/cluster/resources?type=storage" };
const FAILED_TASKS: Topic = Topic { noun: "failed tasks", path: "/nodes/{node}/tasks?errors=1" };
const BACKUPS: Topic = Topic { noun: "backups", path: "/cluster/backup-info/not-backed-up" };
const CERTIFICATES: Topic = Topic { noun: "certificates", path: "/nodes/{node}/certificates/info" };
const UPDATES: Topic = Topic { noun: "pending updates", path: "/nodes/{node}/apt/update" };
const SUBSCRIPTIONS: Topic = Topic { noun: "subscriptions", path: "/nodes/{node}/subscription" };
const GUESTS: Topic = Topic { noun: "guest states", path: "/cluster/resources?type=vm" };

/// The kinds of tasks whose failures come first: backups, replication, migrations and HA.
const URGENT_TASKS: [&str; 10] = [
    "vzdump",
    "replicate",
    "qmigrate",
    "vzmigrate",
    "migrateall",
    "hastart",
    "hastop",
    "hashutdown",
    "hamigrate",
    "harelocate",
];

/// The states of an HA resource that need attention.
const HA_TROUBLE: [&str; 6] = ["error", "fence", "recovery", "freeze", "unknown", "queued"];

/// The answer of one node or storage.
pub struct PartAnswer<T> {
    /// Name of the node or storage.
    pub part: String,
    pub answer: Result<T, ErrorText>,
}

/// A task with the line of its log that says why it failed.
pub struct ExplainedTask {
    pub task: TaskEntry,
    pub cause: Option<String>,
}

/// The membership of a cluster, from GET /cluster/status.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    /// `None` for a node without a cluster.
    pub quorate: Option<bool>,
    pub nodes: usize,
    pub online: usize,
}

/// A certificate of a node.
pub struct Certificate {
    pub file: String,
    /// End of its validity in seconds since 1970.
    pub not_after: u64,
}

/// The subscription of a node.
pub struct Subscription {
    /// `active`, `notfound` or a state that needs attention.
    pub status: String,
    /// `2027-01-31`, if it is known.
    pub due_date: String,
}

/// The backups on one storage.
pub struct StorageBackups {
    pub storage: StorageSummary,
    pub answer: Result<Vec<BackupFile>, ErrorText>,
}

/// The backups of a cluster.
pub struct BackupFacts {
    pub jobs: Result<Vec<BackupJob>, ErrorText>,
    /// The answer of each storage for backups.
    pub files: Vec<StorageBackups>,
}

impl BackupFacts {
    /// Returns the backups that could be read.
    pub(super) fn iter_files(&self) -> impl Iterator<Item = &BackupFile> {
        self.files.iter().filter_map(|storage| storage.answer.as_ref().ok()).flatten()
    }
}

/// The state of a cluster, as far as it could be read.
pub struct HealthFacts {
    pub now: u64,
    /// The zone of the nodes, in seconds east of UTC.
    pub utc_offset: i32,
    pub inventory: Inventory,
    pub privileges: Result<TokenPrivileges, ErrorText>,
    pub membership: Result<Membership, ErrorText>,
    pub ha_problems: Result<Vec<String>, ErrorText>,
    /// The problems of Ceph. `None` for a cluster without Ceph.
    pub ceph_problems: Option<Result<Vec<String>, ErrorText>>,
}

/// The parts of a cluster's state that need a read of each node.
pub struct NodeFacts {
    /// Failed tasks of the last day, by node.
    pub failed_tasks: Vec<PartAnswer<Vec<ExplainedTask>>>,
    pub certificates: Vec<PartAnswer<Vec<Certificate>>>,
    /// The number of packages with a pending update.
    pub updates: Vec<PartAnswer<usize>>,
    pub subscriptions: Vec<PartAnswer<Subscription>>,
    pub replication_problems: Vec<PartAnswer<Vec<String>>>,
    /// The seconds by which the clock of each node is ahead of the one of this server.
    pub clocks: Vec<PartAnswer<i64>>,
}

impl Membership {
    /// Reads the rows of GET /cluster/status.
    pub fn from_rows(rows: &[ApiRow]) -> Self {
        let mut membership = Self::default();
        for row in rows {
            match row.text("type").as_str() {
                "cluster" => membership.quorate = Some(row.flag("quorate")),
                "node" => {
                    membership.nodes += 1;
                    membership.online += usize::from(row.flag("online"));
                }
                _ => {}
            }
        }
        membership
    }
}

/// Returns the problem that a row of GET /cluster/ha/status/current reports.
pub fn find_ha_problem(row: &ApiRow) -> Option<String> {
    let status = row.text("status");
    let has_problem = match row.text("type").as_str() {
        "service" => HA_TROUBLE.contains(&row.text("state").as_str()),
        "quorum" => !row.flag("quorate"),
        // (PVE: a manager that does not write its status is reported as `old timestamp - dead?`.)
        _ => status.contains("old timestamp") || status.contains("dead"),
    };
    has_problem.then(|| format!("{}: {status}", row.text("id")))
}

/// Returns the problem of a guest that HA wants to run, by a row of GET /cluster/ha/status/current, if it is stopped.
pub fn find_stopped_service<'g>(row: &ApiRow, mut guests: impl Iterator<Item = &'g Guest>) -> Option<String> {
    let sid = row.text("sid");
    let (_, vmid) = sid.split_once(':')?;
    let guest = guests.find(|guest| guest.vmid.to_string() == vmid)?;
    let is_wanted = row.text("type") == "service" && is_start_state(&row.text("request_state"));
    (is_wanted && guest.status == "stopped").then(|| format!("{sid}: HA wants it started, and it is stopped"))
}

/// Returns the problem that a row of GET /nodes/{node}/replication reports.
pub fn find_replication_problem(row: &ApiRow, inventory: &Inventory) -> Option<String> {
    let (failures, error) = (row.count("fail_count").unwrap_or(0), row.text("error"));
    (failures > 0 || !error.is_empty()).then(|| {
        let (id, guest, target) = (row.text("id"), row.text("guest"), row.text("target"));
        let is_known = inventory.nodes.iter().any(|node| node.name == target);
        let absent = if is_known || target.is_empty() { "" } else { ", which is not in the cluster," };
        format!("job {id} of guest {guest} to {target}{absent} failed {}: {error}", count(failures as usize, "time"))
    })
}

/// Returns the problems that GET /cluster/ceph/status reports: a line for each check that warns.
pub fn find_ceph_problems(status: &ApiRow) -> Vec<String> {
    let health = status.object("health");
    let state = health.as_ref().map(|health| health.text("status")).unwrap_or_default();
    if state == "HEALTH_OK" {
        return Vec::new();
    }
    let checks = health.and_then(|health| health.object("checks"));
    let checks: Vec<ApiRow> =
        checks.map(|all| all.members().filter_map(|(name, _)| all.object(name)).collect()).unwrap_or_default();
    let summaries = checks.iter().filter_map(|check| check.object("summary"));
    let messages: Vec<String> = summaries.map(|summary| summary.text("message")).collect();
    let state = if state.is_empty() { "health unknown".to_owned() } else { state };
    match messages.is_empty() {
        true => vec![state],
        false => messages.into_iter().map(|message| format!("{state}: {message}")).collect(),
    }
}

/// Describes the whole state.
pub fn describe_health(facts: &HealthFacts, nodes: &NodeFacts, backups: &BackupFacts) -> Vec<Section> {
    let mut sections = vec![describe_nodes(facts), describe_ha(facts, &nodes.replication_problems)];
    sections.extend(describe_ceph(facts));
    sections.extend([
        describe_full_storages(facts),
        describe_failed_tasks("Failed tasks of the last 24 hours", &nodes.failed_tasks, facts),
        describe_guests_without_backup(facts, backups),
        describe_clocks(&nodes.clocks, facts),
        describe_certificates(&nodes.certificates, facts),
        describe_updates(&nodes.updates, facts),
        describe_subscriptions(&nodes.subscriptions, facts),
        describe_guests(facts),
    ]);
    sections
}

/// Describes the state in short, without the reads of each node.
pub fn describe_summary(facts: &HealthFacts) -> Vec<Section> {
    let mut storages = Section::new("Storages");
    limit_storages(&mut storages, facts);
    for storage in &facts.inventory.storages {
        storages.push(&describe_storage(storage));
    }
    let mut problems = Section::new("HA problems");
    push_or_limit(&mut problems, "HA", "", HA.path, &facts.ha_problems);
    vec![describe_nodes(facts), describe_guests(facts), storages, problems]
}

/// Adds the privileges that a section depends on, where the token lacks them.
pub(super) fn limit_by_privilege(
    section: &mut Section,
    privileges: &Result<TokenPrivileges, ErrorText>,
    acl_path: &str,
    privilege: &str,
    effect: &str,
) {
    match privileges {
        Ok(token) if token.holds(acl_path, privilege) => {}
        Ok(_) => section.limit(lacks_privilege(acl_path, privilege, effect)),
        Err(error) => limit_by_unknown_privileges(section, error),
    }
}

/// Returns the limit that a privilege would lift.
fn lacks_privilege(acl_path: &str, privilege: &str, effect: &str) -> Limit {
    let place = acl_path.strip_prefix("/nodes/").or(acl_path.strip_prefix("/storage/")).unwrap_or_default();
    let cause = format!("the API token lacks {privilege} on {acl_path}");
    Limit::new(effect, place, cause).because(format!("the API token lacks {privilege}"))
}

fn limit_by_unknown_privileges(section: &mut Section, error: &ErrorText) {
    section.limit(Limit::doubt("the API token's privileges (/access/permissions), so rows may be missing", error));
}

/// Adds problems of a node, or of the cluster where `place` is empty.
fn push_or_limit(section: &mut Section, part: &str, place: &str, path: &str, answer: &Result<Vec<String>, ErrorText>) {
    match answer {
        Ok(rows) => rows.iter().for_each(|row| section.push_problem(row, path)),
        Err(error) => section.limit(Limit::new(part, place, error)),
    }
}

fn describe_nodes(facts: &HealthFacts) -> Section {
    let mut section = Section::new("Nodes").about(NODES);
    match &facts.membership {
        Ok(membership) if membership.quorate == Some(false) => {
            section.push_problem(&describe_membership(membership), NODES.path);
        }
        Ok(membership) => section.push(&describe_membership(membership)),
        Err(error) => section.limit(Limit::new("quorum", "", error)),
    }
    let mut nodes: Vec<_> = facts.inventory.nodes.iter().collect();
    nodes.sort_by_key(|node| node.is_online());
    for node in nodes {
        let row = describe_node(node);
        let path = format!("/nodes/{}", node.name);
        let figures = [node.cpu, node.memory_fraction(), node.disk_fraction()];
        if !node.is_online() {
            section.push_shared_problem(&node.name, &node.name, describe_status(&node.status), NODES.path);
        } else if figures.into_iter().flatten().any(|fraction| fraction >= BUSY_NODE) {
            section.push_problem(&row, format!("{path}/status"));
        } else {
            section.push(&row);
        }
        if node.is_online() && node.mem.is_none() {
            limit_by_privilege(&mut section, &facts.privileges, &path, "Sys.Audit", "its figures");
        }
    }
    section
}

/// Describes the nodes that are online, and the quorum.
pub(super) fn describe_membership(membership: &Membership) -> String {
    let Membership { quorate, nodes, online } = membership;
    match quorate {
        Some(true) => format!("{online} of {nodes} nodes online, quorate"),
        Some(false) => format!("{online} of {nodes} nodes online, NOT QUORATE: nothing can be changed or started"),
        None => "a single node without a cluster".to_owned(),
    }
}

fn describe_node(node: &NodeSummary) -> String {
    let mut row = format!("{} {}", node.name, describe_status(&node.status));
    // Figures of a node that is offline are old.
    if !node.is_online() {
        return row;
    }
    if let (Some(cpu), Some(cores)) = (node.cpu, node.maxcpu) {
        row += &format!(", CPU {}", format_cpu(cpu, cores as f64));
    }
    if let (Some(used), Some(total), Some(fraction)) = (node.mem, node.maxmem, node.memory_fraction()) {
        row += &format!(", memory {} of {} ({})", format_bytes(used), format_bytes(total), format_percent(fraction));
    }
    if let Some(fraction) = node.disk_fraction().filter(|fraction| *fraction >= BUSY_NODE) {
        row += &format!(", root file system {} full", format_percent(fraction));
    }
    if let Some(uptime) = node.uptime.filter(|uptime| *uptime > 0) {
        row += &format!(", up {}", format_duration(uptime));
    }
    row
}

/// Describes failed tasks: the urgent ones first, and those that did not fit the state of a guest last, on one line. The
/// newest are first among each.
pub(super) fn describe_failed_tasks(
    heading: &str,
    answers: &[PartAnswer<Vec<ExplainedTask>>],
    facts: &HealthFacts,
) -> Section {
    let mut section = Section::new(heading).about(FAILED_TASKS);
    limit_unasked_nodes(&mut section, facts, answers);
    let mut tasks = Vec::new();
    for PartAnswer { part, answer } in answers {
        match answer {
            Ok(found) => {
                tasks.extend(found);
                if found.len() >= MAX_TASKS {
                    let text = format!("tasks of {part} before its newest {MAX_TASKS} failed ones");
                    let cause = format!("only the newest {MAX_TASKS}");
                    section.limit(Limit { text, place: part.clone(), cause, is_doubt: false });
                }
            }
            Err(error) => section.limit(Limit::new(&format!("tasks of {part}"), part, error)),
        }
        let effect = format!("tasks of other users on {part}");
        limit_by_privilege(&mut section, &facts.privileges, &format!("/nodes/{part}"), "Sys.Audit", &effect);
    }
    tasks.sort_by_key(|found| std::cmp::Reverse(found.task.upid.started_at));
    // Equal failures are one line, that of the newest.
    let mut equal: Vec<(&ExplainedTask, usize)> = Vec::new();
    for found in tasks {
        match equal.iter_mut().find(|(newest, _)| is_same_failure(newest, found)) {
            Some((_, times)) => *times += 1,
            None => equal.push((found, 1)),
        }
    }
    let is_urgent = |found: &ExplainedTask| URGENT_TASKS.contains(&found.task.upid.kind.as_str());
    let (unfit, mut others): (Vec<_>, Vec<_>) =
        equal.into_iter().partition(|(found, _)| !is_urgent(found) && found.task.did_not_fit_state());
    others.sort_by_key(|(found, _)| !is_urgent(found));
    let (alone, together) = if unfit.len() > 1 { (Vec::new(), unfit) } else { (unfit, Vec::new()) };
    for (found, times) in others.into_iter().chain(alone) {
        let row = describe_failure(found, facts.utc_offset);
        section.push_problems(&row, found.task.upid.path_to("log").as_str(), times);
    }
    if !together.is_empty() {
        let total = together.iter().map(|(_, times)| times).sum();
        section.push_counted_problems(&describe_unfit_tasks(&together, total), FAILED_TASKS.path, total);
    }
    section
}

/// Describes tasks that did not fit the state of their guests, each reason once.
fn describe_unfit_tasks(tasks: &[(&ExplainedTask, usize)], total: usize) -> String {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for (found, times) in tasks {
        let reason = found.task.failure().unwrap_or_default();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, number)) => *number += times,
            None => reasons.push((reason, *times)),
        }
    }
    let reasons: Vec<String> = reasons
        .iter()
        .map(|(reason, times)| if *times > 1 { format!("{reason} ({times} times)") } else { (*reason).to_owned() })
        .collect();
    format!("{total} that did not fit the state of the guest: {}", reasons.join(", "))
}

fn is_same_failure(a: &ExplainedTask, b: &ExplainedTask) -> bool {
    let key = |found: &ExplainedTask| {
        let upid = &found.task.upid;
        (upid.kind.clone(), upid.id.clone(), upid.node.clone(), found.task.state.exit_status())
    };
    key(a) == key(b) && a.cause == b.cause
}

/// Describes a task on one line, with its UPID.
pub(super) fn describe_task_row(found: &ExplainedTask, utc_offset: i32) -> String {
    format!("{} ({})", describe_failure(found, utc_offset), found.task.upid)
}

fn describe_failure(found: &ExplainedTask, utc_offset: i32) -> String {
    let ExplainedTask { task, cause } = found;
    let upid = &task.upid;
    let what = super::task::describe_task(upid);
    let state = task.state.exit_status().unwrap_or_else(|| "running".into());
    let cause = cause.as_ref().map(|line| format!("; log: {line}")).unwrap_or_default();
    format!("{} {what} by {}: {state}{cause}", format_local_time(upid.started_at, utc_offset), upid.user)
}

/// Adds the nodes without an answer: those that are not online, and those beyond the number that is asked.
fn limit_unasked_nodes<T>(section: &mut Section, facts: &HealthFacts, answers: &[PartAnswer<T>]) {
    let mut more = 0;
    for node in &facts.inventory.nodes {
        if !node.is_online() {
            let cause = describe_status(&node.status).to_owned();
            let text = format!("{}, which is {cause}", node.name);
            section.limit(Limit { text, place: node.name.clone(), cause, is_doubt: false });
        } else if answers.iter().all(|answer| answer.part != node.name) {
            more += 1;
        }
    }
    if more > 0 {
        let asked = facts.inventory.nodes.iter().filter(|node| node.is_online()).count() - more;
        let text = format!("{}, because only the first {asked} are asked", count(more, "more node"));
        section.limit(&text);
    }
}

fn describe_status(status: &str) -> &str {
    if status.is_empty() { "unknown" } else { status }
}

fn limit_storages(section: &mut Section, facts: &HealthFacts) {
    limit_by_privilege(section, &facts.privileges, "/storage", "Datastore.Audit", "some storages, or all");
}

/// Returns the node of a storage that each node has for itself.
fn describe_place(storage: &StorageSummary) -> String {
    if storage.shared { String::new() } else { format!(" on {}", storage.node) }
}

pub(super) fn describe_storage(storage: &StorageSummary) -> String {
    let shared = if storage.shared { " (shared)" } else { "" };
    let mut row = format!("{}{shared}{}", storage.name, describe_place(storage));
    if !storage.is_available() {
        row += &format!(" is {}", describe_status(&storage.status));
    }
    if let (Some(used), Some(total), Some(fraction)) = (storage.used, storage.total, storage.used_fraction()) {
        row += &format!(": {} of {} used ({})", format_bytes(used), format_bytes(total), format_percent(fraction));
    }
    row
}

fn describe_full_storages(facts: &HealthFacts) -> Section {
    let mut section =
        Section::new(format!("Storages above {} or not available", format_percent(FULL_STORAGE))).about(STORAGES);
    limit_storages(&mut section, facts);
    // The storages of an offline node are not a problem of their own.
    let storages = facts.inventory.storages.iter();
    let mut storages: Vec<&StorageSummary> =
        storages.filter(|storage| storage.shared || facts.inventory.is_online(&storage.node)).collect();
    let fraction = |storage: &StorageSummary| storage.used_fraction().unwrap_or(0.0);
    storages.sort_by(|a, b| a.is_available().cmp(&b.is_available()).then(fraction(b).total_cmp(&fraction(a))));
    for storage in storages {
        if !storage.is_available() || fraction(storage) >= FULL_STORAGE {
            let path = format!("/nodes/{}/storage/{}/content", storage.node, storage.name);
            section.push_problem(&describe_storage(storage), path);
        }
    }
    section
}

fn describe_certificates(answers: &[PartAnswer<Vec<Certificate>>], facts: &HealthFacts) -> Section {
    let mut section = Section::new("Certificates that expire within 30 days").about(CERTIFICATES);
    limit_unasked_nodes(&mut section, facts, answers);
    for PartAnswer { part, answer } in answers {
        let certificates = match answer {
            Ok(certificates) => certificates,
            Err(error) => {
                section.limit(Limit::new(&format!("certificates of {part}"), part, error));
                continue;
            }
        };
        for Certificate { file, not_after } in certificates {
            let end = format_local_time(*not_after, facts.utc_offset);
            let row = match not_after.checked_sub(facts.now) {
                None => format!("{file} of {part} expired on {end}"),
                Some(left @ ..EXPIRY_SECONDS) => {
                    format!("{file} of {part} expires in {}, on {end}", format_duration(left))
                }
                Some(_) => continue,
            };
            section.push_problem(&row, format!("/nodes/{part}/certificates/info"));
        }
    }
    section
}

fn describe_ceph(facts: &HealthFacts) -> Option<Section> {
    let problems = facts.ceph_problems.as_ref()?;
    let mut section = Section::new("Ceph problems").about(CEPH);
    push_or_limit(&mut section, "Ceph", "", CEPH.path, problems);
    Some(section)
}

/// Describes clocks that are apart from those of the other nodes, or of this server.
fn describe_clocks(answers: &[PartAnswer<i64>], facts: &HealthFacts) -> Section {
    let mut section = Section::new("Clocks that are wrong").about(CLOCKS);
    limit_unasked_nodes(&mut section, facts, answers);
    let mut known: Vec<(&str, i64)> = Vec::new();
    for PartAnswer { part, answer } in answers {
        match answer {
            Ok(ahead) => known.push((part, *ahead)),
            Err(error) => section.limit(Limit::new(&format!("the clock of {part}"), part, error)),
        }
    }
    let mut sorted: Vec<i64> = known.iter().map(|(_, ahead)| *ahead).collect();
    sorted.sort_unstable();
    // Of two nodes, the one that agrees more with this server is right.
    let common = match sorted.as_slice() {
        [] => return section,
        [a, b] => {
            if a.abs() <= b.abs() {
                *a
            } else {
                *b
            }
        }
        all => all[all.len() / 2],
    };
    let direction = |ahead: i64| if ahead > 0 { "ahead of" } else { "behind" };
    for (node, ahead) in known {
        let apart = ahead - common;
        if apart.abs() >= CLOCK_SKEW {
            let row =
                format!("{node} is {} {} the other nodes", format_duration(apart.unsigned_abs()), direction(apart));
            section.push_problem(&row, format!("/nodes/{node}/time"));
        }
    }
    if common.abs() >= ALL_CLOCKS_SKEW {
        let (apart, direction) = (format_duration(common.unsigned_abs()), direction(common));
        section.push_problem(
            &format!("the nodes are {apart} {direction} the clock of the machine with this MCP server"),
            CLOCKS.path,
        );
    }
    section
}

fn describe_updates(answers: &[PartAnswer<usize>], facts: &HealthFacts) -> Section {
    let mut section = Section::new("Pending updates").about(UPDATES);
    limit_unasked_nodes(&mut section, facts, answers);
    for PartAnswer { part, answer } in answers {
        match answer {
            Ok(0) => {}
            Ok(packages) => section
                .push_problem(&format!("{part}: {}", count(*packages, "package")), format!("/nodes/{part}/apt/update")),
            // (PVE: the list of updates needs the privilege to change a node.)
            Err(_) if lacks(&facts.privileges, &format!("/nodes/{part}"), "Sys.Modify") => {
                section.limit(lacks_privilege(&format!("/nodes/{part}"), "Sys.Modify", &format!("updates of {part}")));
            }
            Err(error) => section.limit(Limit::new(&format!("updates of {part}"), part, error)),
        }
    }
    section
}

/// Returns whether the token is known to lack a privilege.
fn lacks(privileges: &Result<TokenPrivileges, ErrorText>, acl_path: &str, privilege: &str) -> bool {
    privileges.as_ref().is_ok_and(|token| !token.holds(acl_path, privilege))
}

fn describe_subscriptions(answers: &[PartAnswer<Subscription>], facts: &HealthFacts) -> Section {
    let mut section = Section::new("Subscriptions that end or are not valid").about(SUBSCRIPTIONS);
    limit_unasked_nodes(&mut section, facts, answers);
    let soon = format_time(facts.now + EXPIRY_SECONDS);
    let has_none = |answer: &&PartAnswer<Subscription>| answer.answer.as_ref().is_ok_and(|s| s.status == "notfound");
    if let without @ 1.. = answers.iter().filter(has_none).count() {
        section.set_remark(format!("{} without one", count(without, "node")));
    }
    for PartAnswer { part, answer } in answers {
        match answer {
            Ok(Subscription { status, due_date }) => {
                let path = format!("/nodes/{part}/subscription");
                if SUBSCRIPTION_TROUBLE.contains(&status.as_str()) {
                    section.push_problem(&format!("{part}: {status}"), path);
                } else if status == "active" && !due_date.is_empty() && due_date.as_str() < soon.as_str() {
                    section.push_problem(&format!("{part}: is due on {due_date}"), path);
                }
            }
            Err(error) => section.limit(Limit::new(&format!("the subscription of {part}"), part, error)),
        }
    }
    section
}

fn describe_ha(facts: &HealthFacts, replication: &[PartAnswer<Vec<String>>]) -> Section {
    let mut section = Section::new("HA and replication problems").about(HA);
    push_or_limit(&mut section, "HA", "", HA.path, &facts.ha_problems);
    for PartAnswer { part, answer } in replication {
        let path = format!("/nodes/{part}/replication");
        push_or_limit(&mut section, &format!("replication of {part}"), part, &path, answer);
    }
    limit_guests(&mut section, facts);
    section
}

fn limit_guests(section: &mut Section, facts: &HealthFacts) {
    limit_by_privilege(section, &facts.privileges, "/vms", "VM.Audit", "some guests, or all");
}

fn describe_guests(facts: &HealthFacts) -> Section {
    let mut section = Section::new("Guests").about(GUESTS);
    limit_guests(&mut section, facts);
    if !facts.inventory.guests.is_empty() {
        section.push(&describe_guest_states([facts]));
    }
    for guest in &facts.inventory.guests {
        let path = format!("/nodes/{}/{}/status/current", guest.node, guest.id());
        if !guest.lock.is_empty() {
            section.push_problem(&format!("{} is locked ({})", guest_label(guest), guest.lock), path);
        } else if guest.status == "paused" {
            section.push_problem(&format!("{} is paused", guest_name(guest)), path);
        }
    }
    section
}

/// Counts the guests of clusters by their state.
pub(super) fn describe_guest_states<'a>(clusters: impl IntoIterator<Item = &'a HealthFacts>) -> String {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for guest in clusters.into_iter().flat_map(|facts| &facts.inventory.guests) {
        let state = match guest.status.as_str() {
            _ if guest.template => "template",
            "" => "unknown",
            status => status,
        };
        *states.entry(state).or_default() += 1;
    }
    let all = count(states.values().sum(), "guest");
    let states: Vec<String> = states.iter().map(|(state, number)| format!("{number} {state}")).collect();
    if states.is_empty() { all } else { format!("{all}: {}", states.join(", ")) }
}

/// Adds the reasons for which backups may exist that the section does not show.
pub(super) fn limit_backups(section: &mut Section, facts: &HealthFacts, backups: &BackupFacts) {
    limit_guests(section, facts);
    if let Err(error) = &backups.jobs {
        section.limit(Limit::new("backup jobs", "", error));
    }
    for StorageBackups { storage, answer } in &backups.files {
        let part = &storage.name;
        if let Err(error) = answer {
            section.limit(Limit::new(&format!("backups on {part}{}", describe_place(storage)), part, error));
            continue;
        }
        let token = match &facts.privileges {
            Ok(token) => token,
            Err(error) => {
                limit_by_unknown_privileges(section, error);
                continue;
            }
        };
        let acl_path = format!("/storage/{part}");
        if facts.inventory.guests.iter().any(|guest| !may_see_backups(token, part, guest.vmid)) {
            let privilege = "Datastore.Allocate";
            let cause = format!(
                "the API token lacks {privilege} on {acl_path}, or Datastore.AllocateSpace there and VM.Backup on the guests"
            );
            let limit = Limit::new(&format!("backups on {part} of some guests, or of all"), part, cause);
            section.limit(limit.because(format!("the API token lacks {privilege}")));
        }
    }
}

/// Returns whether the token sees the backups of a guest on a storage (PVE: check_volume_access).
fn may_see_backups(token: &TokenPrivileges, storage: &str, vmid: u32) -> bool {
    let acl_path = format!("/storage/{storage}");
    token.holds(&acl_path, "Datastore.Allocate")
        || (token.holds(&acl_path, "Datastore.AllocateSpace") && token.holds(&format!("/vms/{vmid}"), "VM.Backup"))
}

/// Returns whether the token sees the backups of a guest on every storage that was read.
pub(super) fn sees_all_backups(facts: &HealthFacts, backups: &BackupFacts, vmid: u32) -> bool {
    let is_visible =
        |token: &TokenPrivileges| backups.files.iter().all(|entry| may_see_backups(token, &entry.storage.name, vmid));
    facts.privileges.as_ref().is_ok_and(is_visible)
}

/// Returns whether all backups that could be read show none of this guest.
fn has_no_backup(guest: &Guest, backups: &BackupFacts) -> bool {
    backups.iter_files().all(|file| file.vmid != guest.vmid)
}

fn describe_guests_without_backup(facts: &HealthFacts, backups: &BackupFacts) -> Section {
    let mut section = Section::new("Guests without a backup, or in no enabled backup job").about(BACKUPS);
    limit_backups(&mut section, facts, backups);
    for guest in facts.inventory.guests.iter().filter(|guest| !guest.template) {
        // A backup that the token can't see is a limit of the section, and no problem of the guest.
        let is_missing = has_no_backup(guest, backups) && sees_all_backups(facts, backups, guest.vmid);
        let no_job = match &backups.jobs {
            Ok(jobs) => {
                let of_guest: Vec<&BackupJob> = jobs.iter().filter(|job| job.selects(guest)).collect();
                match of_guest.iter().any(|job| job.enabled) {
                    true => None,
                    false if of_guest.is_empty() => Some("in no backup job".to_owned()),
                    false => {
                        let names: Vec<&str> = of_guest.iter().map(|job| job.id.as_str()).collect();
                        Some(format!("in no enabled backup job (disabled: {})", names.join(", ")))
                    }
                }
            }
            Err(_) => None,
        };
        let no_file = match (is_missing, &no_job, &backups.jobs) {
            (false, ..) => None,
            (true, None, Ok(jobs)) => {
                let next =
                    jobs.iter().filter(|job| job.enabled && job.selects(guest)).filter_map(|job| job.next_run).min();
                let next =
                    next.map(|time| format!(", which runs next at {}", format_local_time(time, facts.utc_offset)));
                Some(format!("no backup seen, though in an enabled job{}", next.unwrap_or_default()))
            }
            (true, ..) => Some("no backup seen".to_owned()),
        };
        let problems: Vec<&str> = no_file.as_deref().into_iter().chain(no_job.as_deref()).collect();
        if !problems.is_empty() {
            let (label, subject) = (guest_label(guest), guest_name(guest));
            section.push_shared_problem(&label, &subject, &problems.join(", "), BACKUPS.path);
        }
    }
    section
}
