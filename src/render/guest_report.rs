//! One guest in sections.

use super::briefing::Section;
use super::cluster_errors::ErrorText;
use super::health::{ExplainedTask, HealthFacts, describe_storage, describe_task_row, limit_by_privilege};
use super::labels::{format_bytes, format_cpu, format_duration, format_local_time, guest_label, single_line};
use crate::pve::guests::{Guest, GuestKind};
use crate::pve::rows::ApiRow;
use crate::sanitize;
use serde_json::Value;

/// The options of a guest that matter first, in this order. A name that ends in `*` stands for a numbered family.
const OPTIONS: [&str; 38] = [
    "name",
    "hostname",
    "ostype",
    "cores",
    "sockets",
    "cpu",
    "cpulimit",
    "memory",
    "balloon",
    "swap",
    "bios",
    "machine",
    "boot",
    "onboot",
    "startup",
    "agent",
    "protection",
    "template",
    "lock",
    "hookscript",
    "unprivileged",
    "features",
    "scsihw",
    "rootfs",
    "scsi*",
    "virtio*",
    "sata*",
    "ide*",
    "efidisk*",
    "tpmstate*",
    "mp*",
    "unused*",
    "net*",
    "hostpci*",
    "usb*",
    "nameserver",
    "tags",
    "description",
];

/// The options with the volumes of a guest.
const VOLUME_OPTIONS: [&str; 9] =
    ["rootfs", "scsi*", "virtio*", "sata*", "ide*", "efidisk*", "tpmstate*", "mp*", "unused*"];

/// A change that waits for a restart.
pub struct PendingChange {
    pub option: String,
    pub current: String,
    /// `None` if the option is to be unset.
    pub new: Option<String>,
}

/// A guest, as far as it could be read.
pub struct GuestFacts {
    pub guest: Guest,
    pub cluster: HealthFacts,
    pub status: Result<ApiRow, ErrorText>,
    pub config: Result<ApiRow, ErrorText>,
    pub pending: Result<Vec<PendingChange>, ErrorText>,
    pub snapshots: Result<Vec<ApiRow>, ErrorText>,
    /// The operator protects the guest from changes.
    pub is_protected: bool,
    /// Clusters that could not be searched for another guest of the same name.
    pub unsearched: Vec<String>,
}

/// Tasks of a guest, and what its agent said.
pub struct GuestHistory {
    pub tasks: Result<Vec<ExplainedTask>, ErrorText>,
    /// Failed backups of many guests whose logs have an error of this one.
    pub failed_backups: Vec<ExplainedTask>,
    /// The last lines of the newest failed task, if there is one.
    pub log: Option<Result<Vec<String>, ErrorText>>,
    /// `None` if the guest has no agent that could answer.
    pub agent: Option<Result<(), ErrorText>>,
}

impl PendingChange {
    /// Reads a row of GET …/pending. Returns `None` for an option that does not change.
    pub fn from_row(row: &ApiRow) -> Option<Self> {
        let (new, is_deleted) = (row.text("pending"), row.flag("delete"));
        (is_deleted || !new.is_empty()).then(|| Self {
            option: row.text("key"),
            current: row.text("value"),
            new: Some(new).filter(|new| !new.is_empty()),
        })
    }
}

/// Returns whether the configuration has the QEMU guest agent.
pub fn has_agent(config: &ApiRow) -> bool {
    config.text("agent").split(',').any(|part| matches!(part.trim(), "1" | "enabled=1"))
}

/// Describes a guest and what may be wrong with it.
pub fn describe_troubled_guest(facts: &GuestFacts, history: &GuestHistory) -> Vec<Section> {
    vec![
        describe_guest(facts),
        describe_agent(facts, history),
        describe_tasks(facts, history),
        describe_log(history),
        describe_config(facts),
        describe_pending(facts),
        describe_storages(facts),
        describe_node(facts),
    ]
}

/// Describes a guest as it is before a change.
pub fn describe_guest_now(facts: &GuestFacts) -> Vec<Section> {
    vec![describe_guest(facts), describe_config(facts), describe_pending(facts), describe_snapshots(facts)]
}

fn describe_guest(facts: &GuestFacts) -> Section {
    let GuestFacts { guest, status, .. } = facts;
    let mut section = Section::new("The guest");
    section.push(&guest_label(guest));
    if let Some(path) = guest.path() {
        section.push(&format!("its path in the API is {path}"));
    }
    if facts.is_protected {
        section.push("the operator of this server protects it: changes of it are refused");
    }
    for (name, text) in [("pool", &guest.pool), ("tags", &guest.tags)] {
        if !text.trim().is_empty() {
            section.push(&format!("{name} {text}"));
        }
    }
    match status {
        Ok(status) => push_status(&mut section, status),
        Err(error) => section.limit(&format!("its state now: {error}")),
    }
    for cluster in &facts.unsearched {
        section.limit(&format!("another guest of that name on cluster {cluster}"));
    }
    section
}

fn push_status(section: &mut Section, status: &ApiRow) {
    let mut row = format!("now {}", status.text("status"));
    let qmp = status.text("qmpstatus");
    if !qmp.is_empty() && qmp != status.text("status") {
        row += &format!(" ({qmp})");
    }
    if let Some(uptime) = status.count("uptime").filter(|uptime| *uptime > 0) {
        row += &format!(" for {}", format_duration(uptime));
    }
    if let (Some(cpu), Some(cores)) = (status.number("cpu"), status.number("cpus")) {
        row += &format!(", CPU {}", format_cpu(cpu, cores));
    }
    if let (Some(used), Some(total)) = (status.count("mem"), status.count("maxmem")) {
        row += &format!(", memory {} of {}", format_bytes(used), format_bytes(total));
    }
    section.push(&row);
    let lock = status.text("lock");
    if !lock.is_empty() {
        section.push(&format!("locked by {lock}: changes wait until that operation has ended"));
    }
    if let Some(ha) = status.object("ha").filter(|ha| ha.flag("managed")) {
        section.push(&format!("managed by HA, state {}: HA starts and stops it by itself", ha.text("state")));
    }
}

fn describe_agent(facts: &GuestFacts, history: &GuestHistory) -> Section {
    let mut section = Section::new("Guest agent");
    match (&history.agent, &facts.config) {
        (Some(Ok(())), _) => section.push("it answers"),
        (Some(Err(error)), _) => section.push(&format!("it is enabled and does not answer: {error}")),
        (None, _) if facts.guest.kind == GuestKind::Lxc => section.push("a container has none"),
        (None, Ok(config)) if has_agent(config) => section.push("it is enabled, and the guest does not run"),
        (None, Ok(_)) => section.push("it is not enabled (option agent)"),
        (None, Err(error)) => section.limit(&format!("its configuration: {error}")),
    }
    section
}

fn describe_tasks(facts: &GuestFacts, history: &GuestHistory) -> Section {
    let mut section = Section::new("Its last tasks, the newest first");
    let node = &facts.guest.node;
    limit_by_privilege(
        &mut section,
        &facts.cluster.privileges,
        &format!("/nodes/{node}"),
        "Sys.Audit",
        "tasks of other users",
    );
    match &history.tasks {
        Ok(tasks) => tasks.iter().for_each(|found| section.push(&describe_task_row(found, facts.cluster.utc_offset))),
        Err(error) => section.limit(&format!("its tasks: {error}")),
    }
    for found in &history.failed_backups {
        section.push(&format!(
            "failed in a backup of several guests: {}",
            describe_task_row(found, facts.cluster.utc_offset)
        ));
    }
    section
}

fn describe_log(history: &GuestHistory) -> Section {
    let mut section = Section::new("The end of the log of its newest failed task");
    match &history.log {
        None => return section.or("no failed task seen"),
        Some(Ok(lines)) => lines.iter().for_each(|line| section.push(line)),
        Some(Err(error)) => section.limit(&format!("the log: {error}")),
    }
    section.or("the log is empty")
}

fn describe_config(facts: &GuestFacts) -> Section {
    let mut section = Section::new("Configuration");
    match &facts.config {
        Ok(config) => {
            for option in OPTIONS {
                let values = config.members().filter(|(key, _)| matches_option(option, key));
                for (key, value) in values.filter(|(key, _)| !sanitize::is_secret_field(key)) {
                    section.push(&format!("{key}: {}", single_line(&to_text(value))));
                }
            }
        }
        Err(error) => section.limit(&format!("its configuration: {error}")),
    }
    section
}

/// Returns whether a key is the option, or one of its numbered family.
fn matches_option(option: &str, key: &str) -> bool {
    match option.strip_suffix('*') {
        None => option == key,
        Some(family) => {
            let number = key.strip_prefix(family);
            number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        }
    }
}

fn to_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn describe_pending(facts: &GuestFacts) -> Section {
    let mut section = Section::new("Changes that wait for a restart");
    match &facts.pending {
        Ok(changes) => {
            for PendingChange { option, current, new } in changes {
                let new = new.as_ref().map_or_else(|| "not set".into(), |new| single_line(new));
                let current = if current.is_empty() { "not set".into() } else { single_line(current) };
                section.push(&format!("{option}: {current} → {new}"));
            }
        }
        Err(error) => section.limit(&format!("pending changes: {error}")),
    }
    section
}

fn describe_snapshots(facts: &GuestFacts) -> Section {
    let mut section = Section::new("Snapshots");
    match &facts.snapshots {
        // (PVE: the list ends with the state now, called `current`.)
        Ok(snapshots) => {
            for snapshot in snapshots.iter().filter(|snapshot| snapshot.text("name") != "current") {
                let time = snapshot
                    .count("snaptime")
                    .map(|time| format!(" of {}", format_local_time(time, facts.cluster.utc_offset)));
                let memory = if snapshot.flag("vmstate") { ", with memory" } else { "" };
                section.push(&format!("{}{}{memory}", snapshot.text("name"), time.unwrap_or_default()));
            }
        }
        Err(error) => section.limit(&format!("snapshots: {error}")),
    }
    section
}

/// Describes the storages that the configuration names.
fn describe_storages(facts: &GuestFacts) -> Section {
    let mut section = Section::new("Storages of its disks");
    let Ok(config) = &facts.config else {
        section.limit("its configuration, which names them");
        return section;
    };
    let mut names: Vec<String> = Vec::new();
    for (key, value) in config.members() {
        if !VOLUME_OPTIONS.iter().any(|option| matches_option(option, key)) {
            continue;
        }
        // (PVE: `storage:volume,option=value`; a path of the node has a slash first.)
        let volume = to_text(value);
        let first = volume.split(',').next().expect("a split has a first part");
        if let Some((storage, _)) = first.trim_start_matches("file=").split_once(':')
            && !names.iter().any(|name| name == storage)
        {
            names.push(storage.to_owned());
        }
    }
    for name in names {
        let mut entries = facts.cluster.inventory.storages_on(&facts.guest.node);
        match entries.find(|storage| storage.name == name) {
            Some(storage) => section.push(&describe_storage(storage)),
            None => section.push(&format!(
                "{name}: not in the list (it does not exist, or the API token lacks Datastore.Audit on /storage/{name})"
            )),
        }
    }
    section
}

fn describe_node(facts: &GuestFacts) -> Section {
    let mut section = Section::new("Its node");
    match facts.cluster.inventory.nodes.iter().find(|node| node.name == facts.guest.node) {
        None => section.limit("its node, which is not in the list"),
        Some(node) => {
            let mut row = format!("{} {}", node.name, node.status);
            if let (Some(used), Some(total)) = (node.mem, node.maxmem) {
                row += &format!(", memory {} of {}", format_bytes(used), format_bytes(total));
            }
            section.push(&row);
        }
    }
    section
}
