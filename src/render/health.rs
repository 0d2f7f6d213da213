//! The state of a cluster in sections.

use super::briefing::Section;
use super::cluster_errors::ErrorText;
use super::labels::{count, format_bytes, format_cpu, format_duration, format_percent, format_time, guest_label};
use crate::pve::backups::{BackupFile, BackupJob};
use crate::pve::guests::Guest;
use crate::pve::inventory::{Inventory, StorageSummary};
use crate::pve::rows::ApiRow;
use crate::pve::task_list::TaskEntry;
use crate::pve::token_privileges::TokenPrivileges;
use std::collections::BTreeMap;

/// The used fraction from which a storage is reported.
const FULL_STORAGE: f64 = 0.85;

/// The most tasks of one list.
pub const MAX_TASKS: usize = 50;

/// The time before its end from which a certificate is reported.
const CERTIFICATE_SECONDS: u64 = 30 * 86_400;

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
    pub inventory: Inventory,
    pub privileges: Result<TokenPrivileges, ErrorText>,
    pub membership: Result<Membership, ErrorText>,
    pub ha_problems: Result<Vec<String>, ErrorText>,
}

/// The parts of a cluster's state that need a read of each node.
pub struct NodeFacts {
    /// Failed tasks of the last day, by node.
    pub failed_tasks: Vec<PartAnswer<Vec<ExplainedTask>>>,
    pub certificates: Vec<PartAnswer<Vec<Certificate>>>,
    pub replication_problems: Vec<PartAnswer<Vec<String>>>,
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

/// Returns the problem that a row of GET /nodes/{node}/replication reports.
pub fn find_replication_problem(row: &ApiRow) -> Option<String> {
    let (failures, error) = (row.count("fail_count").unwrap_or(0), row.text("error"));
    (failures > 0 || !error.is_empty()).then(|| {
        let (id, guest, target) = (row.text("id"), row.text("guest"), row.text("target"));
        format!("job {id} of guest {guest} to {target} failed {}: {error}", count(failures as usize, "time"))
    })
}

/// Describes the whole state.
pub fn describe_health(facts: &HealthFacts, nodes: &NodeFacts, backups: &BackupFacts) -> Vec<Section> {
    vec![
        describe_nodes(facts),
        describe_failed_tasks("Failed tasks of the last 24 hours", &nodes.failed_tasks, facts),
        describe_full_storages(facts),
        describe_certificates(&nodes.certificates, facts),
        describe_ha(facts, &nodes.replication_problems),
        describe_guests(facts),
        describe_guests_without_backup(facts, backups),
    ]
}

/// Describes the state in short, without the reads of each node.
pub fn describe_summary(facts: &HealthFacts) -> Vec<Section> {
    let mut storages = Section::new("Storages");
    limit_storages(&mut storages, facts);
    for storage in &facts.inventory.storages {
        storages.push(&describe_storage(storage));
    }
    let mut problems = Section::new("HA problems");
    push_or_limit(&mut problems, "HA", &facts.ha_problems);
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
        Ok(_) => section.limit(&format!("{effect}: the API token lacks {privilege} on {acl_path}")),
        Err(error) => limit_by_unknown_privileges(section, error),
    }
}

fn limit_by_unknown_privileges(section: &mut Section, error: &ErrorText) {
    section.limit(&format!("the API token's privileges, so rows may be missing: {error}"));
}

fn push_or_limit(section: &mut Section, part: &str, answer: &Result<Vec<String>, ErrorText>) {
    match answer {
        Ok(rows) => rows.iter().for_each(|row| section.push(row)),
        Err(error) => section.limit(&format!("{part}: {error}")),
    }
}

fn describe_nodes(facts: &HealthFacts) -> Section {
    let mut section = Section::new("Nodes");
    match &facts.membership {
        Ok(Membership { quorate, nodes, online }) => section.push(&match quorate {
            Some(true) => format!("{online} of {nodes} nodes online, quorate"),
            Some(false) => format!("{online} of {nodes} nodes online, NOT QUORATE: nothing can be changed or started"),
            None => "a single node without a cluster".to_owned(),
        }),
        Err(error) => section.limit(&format!("quorum: {error}")),
    }
    let mut nodes: Vec<_> = facts.inventory.nodes.iter().collect();
    nodes.sort_by_key(|node| node.is_online());
    for node in nodes {
        let mut row = format!("{} {}", node.name, describe_status(&node.status));
        if let (Some(cpu), Some(cores)) = (node.cpu, node.maxcpu) {
            row += &format!(", CPU {}", format_cpu(cpu, cores as f64));
        }
        if let (Some(used), Some(total)) = (node.mem, node.maxmem.filter(|total| *total > 0)) {
            let fraction = format_percent(used as f64 / total as f64);
            row += &format!(", memory {} of {} ({fraction})", format_bytes(used), format_bytes(total));
        }
        if let Some(uptime) = node.uptime.filter(|uptime| *uptime > 0) {
            row += &format!(", up {}", format_duration(uptime));
        }
        section.push(&row);
        let path = format!("/nodes/{}", node.name);
        if node.is_online() && node.mem.is_none() {
            limit_by_privilege(&mut section, &facts.privileges, &path, "Sys.Audit", "its figures");
        }
    }
    section
}

/// Describes failed tasks, the newest first.
pub(super) fn describe_failed_tasks(
    heading: &str,
    answers: &[PartAnswer<Vec<ExplainedTask>>],
    facts: &HealthFacts,
) -> Section {
    let mut section = Section::new(heading);
    limit_unasked_nodes(&mut section, facts, answers);
    let mut tasks = Vec::new();
    for PartAnswer { part, answer } in answers {
        match answer {
            Ok(found) => {
                tasks.extend(found);
                if found.len() >= MAX_TASKS {
                    section.limit(&format!("tasks of {part} before its newest {MAX_TASKS} failed ones"));
                }
            }
            Err(error) => section.limit(&format!("tasks of {part}: {error}")),
        }
        let effect = format!("tasks of other users on {part}");
        limit_by_privilege(&mut section, &facts.privileges, &format!("/nodes/{part}"), "Sys.Audit", &effect);
    }
    tasks.sort_by_key(|found| std::cmp::Reverse(found.task.upid.started_at));
    tasks.iter().for_each(|found| section.push(&describe_task_row(found)));
    section
}

/// Describes a task on one line.
pub(super) fn describe_task_row(found: &ExplainedTask) -> String {
    let ExplainedTask { task, cause } = found;
    let upid = &task.upid;
    let what = super::task::describe_task(upid);
    let state = task.state.exit_status().unwrap_or_else(|| "running".into());
    let cause = cause.as_ref().map(|line| format!("; log: {line}")).unwrap_or_default();
    format!("{} {what} by {}: {state}{cause} ({upid})", format_time(upid.started_at), upid.user)
}

/// Adds the nodes without an answer: those that are not online, and those beyond the number that is asked.
fn limit_unasked_nodes<T>(section: &mut Section, facts: &HealthFacts, answers: &[PartAnswer<T>]) {
    let mut more = 0;
    for node in &facts.inventory.nodes {
        if !node.is_online() {
            section.limit(&format!("{}, which is {}", node.name, describe_status(&node.status)));
        } else if answers.iter().all(|answer| answer.part != node.name) {
            more += 1;
        }
    }
    if more > 0 {
        section.limit(&format!("{}, because only the first {} are asked", count(more, "more node"), answers.len()));
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
    let mut section = Section::new(format!("Storages above {} or not available", format_percent(FULL_STORAGE)));
    limit_storages(&mut section, facts);
    // The storages of an offline node are not a problem of their own.
    let storages = facts.inventory.storages.iter();
    for storage in storages.filter(|storage| storage.shared || facts.inventory.is_online(&storage.node)) {
        if !storage.is_available() || storage.used_fraction().is_some_and(|fraction| fraction >= FULL_STORAGE) {
            section.push(&describe_storage(storage));
        }
    }
    section
}

fn describe_certificates(answers: &[PartAnswer<Vec<Certificate>>], facts: &HealthFacts) -> Section {
    let mut section = Section::new("Certificates that expire within 30 days");
    limit_unasked_nodes(&mut section, facts, answers);
    for PartAnswer { part, answer } in answers {
        match answer {
            Ok(certificates) => {
                for Certificate { file, not_after } in certificates {
                    match not_after.checked_sub(facts.now) {
                        None => section.push(&format!("{file} of {part} expired on {}", format_time(*not_after))),
                        Some(left @ ..CERTIFICATE_SECONDS) => section.push(&format!(
                            "{file} of {part} expires in {}, on {}",
                            format_duration(left),
                            format_time(*not_after)
                        )),
                        Some(_) => {}
                    }
                }
            }
            Err(error) => section.limit(&format!("certificates of {part}: {error}")),
        }
    }
    section
}

fn describe_ha(facts: &HealthFacts, replication: &[PartAnswer<Vec<String>>]) -> Section {
    let mut section = Section::new("HA and replication problems");
    push_or_limit(&mut section, "HA", &facts.ha_problems);
    for PartAnswer { part, answer } in replication {
        push_or_limit(&mut section, &format!("replication of {part}"), answer);
    }
    limit_guests(&mut section, facts);
    section
}

fn limit_guests(section: &mut Section, facts: &HealthFacts) {
    limit_by_privilege(section, &facts.privileges, "/vms", "VM.Audit", "some guests, or all");
}

fn describe_guests(facts: &HealthFacts) -> Section {
    let mut section = Section::new("Guests");
    limit_guests(&mut section, facts);
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for guest in &facts.inventory.guests {
        let state = match guest.status.as_str() {
            _ if guest.template => "template",
            "" => "unknown",
            status => status,
        };
        *states.entry(state).or_default() += 1;
    }
    if !states.is_empty() {
        let states: Vec<String> = states.iter().map(|(state, number)| format!("{number} {state}")).collect();
        section.push(&format!("{}: {}", count(facts.inventory.guests.len(), "guest"), states.join(", ")));
    }
    for guest in facts.inventory.guests.iter().filter(|guest| !guest.lock.is_empty()) {
        section.push(&format!("{} is locked ({})", guest_label(guest), guest.lock));
    }
    section
}

/// Adds the reasons for which backups may exist that the section does not show.
pub(super) fn limit_backups(section: &mut Section, facts: &HealthFacts, backups: &BackupFacts) {
    limit_guests(section, facts);
    if let Err(error) = &backups.jobs {
        section.limit(&format!("backup jobs: {error}"));
    }
    for StorageBackups { storage, answer } in &backups.files {
        let part = &storage.name;
        if let Err(error) = answer {
            section.limit(&format!("backups on {part}{}: {error}", describe_place(storage)));
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
            section.limit(&format!(
                "backups on {part} of some guests, or of all: the API token lacks Datastore.Allocate on {acl_path}, or \
                 Datastore.AllocateSpace there and VM.Backup on the guests"
            ));
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
    let mut section = Section::new("Guests without a backup, or in no enabled backup job");
    limit_backups(&mut section, facts, backups);
    for guest in facts.inventory.guests.iter().filter(|guest| !guest.template) {
        // A backup that the token can't see is a limit of the section, and no problem of the guest.
        let is_missing = has_no_backup(guest, backups) && sees_all_backups(facts, backups, guest.vmid);
        let no_file = is_missing.then_some("no backup seen");
        let no_job = match &backups.jobs {
            Ok(jobs) => match jobs.iter().find(|job| job.selects(guest)) {
                None => Some("in no backup job".to_owned()),
                Some(_) if jobs.iter().any(|job| job.enabled && job.selects(guest)) => None,
                Some(disabled) => Some(format!("only in the disabled job {}", disabled.id)),
            },
            Err(_) => None,
        };
        let problems: Vec<&str> = no_file.into_iter().chain(no_job.as_deref()).collect();
        if !problems.is_empty() {
            section.push(&format!("{}: {}", guest_label(guest), problems.join(", ")));
        }
    }
    section
}
