//! The object of a call as it is now, in sentences. Texts of the cluster are quoted, and secrets in them are hidden.

use super::labels::{count, format_local_time, name_calls};
use super::quoted::{push_quoted, push_value, quote};
use super::units::push_byte_size;
use crate::policy::DISK_PARAMETERS;
use crate::pve::guests::{Guest, GuestKind};
use crate::pve::property_string::find_volume;
use crate::pve::rows::{is_true, read_count};
use crate::sanitize;
use serde_json::{Map, Value};
use std::fmt::Write;

/// The options by which a backup job selects its guests.
const SELECTION: [&str; 4] = ["vmid", "pool", "all", "exclude"];
/// The options of objects that have a time.
const TIME_OPTIONS: [&str; 4] = ["ctime", "expire", "next-run", "snaptime"];
/// The most characters of a text of the cluster.
const MAX_TEXT_CHARS: usize = 120;
/// The most guests that a headline names.
const MAX_HEADLINE_GUESTS: usize = 4;
/// The most characters of the selection of a backup job, which a person needs whole.
const MAX_SELECTION_CHARS: usize = 1 << 10;
/// The most options of an object.
const MAX_OPTIONS: usize = 24;
/// The most disks, snapshots, backups, guests or lines that are shown.
pub const MAX_ITEMS: usize = 12;

/// A fact that was looked up, or the reason why it is not known.
pub type Looked<T> = Result<T, NotKnown>;

/// The source of a state that the guest itself did not say.
const BY_LIST: &str = ", by the list of guests, which may be some seconds old";

/// The reason why a fact is not known.
#[derive(Clone, Debug)]
pub struct NotKnown {
    pub reason: String,
    /// The cluster says that the object does not exist.
    pub is_absent: bool,
}

/// The backups of a guest that a call deletes.
#[derive(Clone, Copy, Debug)]
pub struct GuestBackups {
    pub found: usize,
    /// Every storage of the list was read.
    pub is_complete: bool,
}

/// The jobs that name a guest which a call deletes.
pub struct GuestJobs {
    /// The ids of the backup jobs that list the guest.
    pub backups: Vec<String>,
    pub replications: Vec<String>,
}

/// The use of a storage that a call changes or removes.
pub struct StorageUse {
    /// Guests with drives on it: kind, number, name and drives.
    pub guests: Vec<String>,
    /// The configuration of every guest was read.
    pub is_complete: bool,
    /// The ids of the backup jobs to it.
    pub jobs: Vec<String>,
}

/// Space that calls need on a storage, and that is not free there.
pub struct MissingSpace {
    pub storage: String,
    /// `None` if nodes share the storage.
    pub node: Option<String>,
    pub needed: f64,
    pub free: f64,
    pub certainty: SpaceCertainty,
    /// Earlier calls of the list need a part of it.
    pub with_earlier: bool,
    /// A part of the free space is used until the calls free it.
    pub is_freed: bool,
}

/// The certainty of a need of space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceCertainty {
    Exact,
    /// The storage takes the space as it is written.
    AtMost,
    AtLeast,
    Estimated,
    /// A part of the need is estimated, and the others are the most.
    EstimatedAtMost,
}

impl SpaceCertainty {
    /// Returns the certainty of a sum of two needs.
    pub fn combine(self, other: Self) -> Self {
        use SpaceCertainty::*;
        match (self, other) {
            (one, other) if one == other => one,
            (Exact, one) | (one, Exact) => one,
            (AtLeast, _) | (_, AtLeast) => Estimated,
            (AtMost | Estimated | EstimatedAtMost, _) => EstimatedAtMost,
        }
    }
}

impl MissingSpace {
    /// Returns the sentence without its end: `it needs 80GiB on local-lvm of pve3, which has 46.5GiB free`.
    pub fn describe(&self) -> String {
        let verb = match self.certainty {
            SpaceCertainty::Exact => "needs",
            SpaceCertainty::AtMost => "may need up to",
            SpaceCertainty::AtLeast => "needs at least",
            SpaceCertainty::Estimated => "may need about",
            SpaceCertainty::EstimatedAtMost => "may need up to about",
        };
        let start = if self.with_earlier { "with the calls before it, it" } else { "it" };
        let node = self.node.as_ref().map(|node| format!(" of {}", quote_word(node))).unwrap_or_default();
        let (needed, free) = (show_bytes(self.needed), show_bytes(self.free));
        let has = if self.is_freed { "then has up to" } else { "has" };
        format!("{start} {verb} {needed} on {}{node}, which {has} {free} free", quote_word(&self.storage))
    }
}

fn show_bytes(bytes: f64) -> String {
    let mut text = String::new();
    push_byte_size(&mut text, bytes);
    text
}

/// The object of a call as it is now, as far as it was looked up.
#[derive(Default)]
pub struct ObjectState<'a> {
    /// The guest of the path, or the only other guest that the call affects.
    pub guest: Option<GuestState<'a>>,
    /// The options of the object, or of the guest.
    pub options: Option<Looked<Map<String, Value>>>,
    pub snapshots: Option<Looked<Vec<Value>>>,
    /// The configuration of the guest, and that of the snapshot to which a rollback returns.
    pub restored: Option<[Map<String, Value>; 2]>,
    /// The rows of the options of the guest, with the changes that wait.
    pub pending: Vec<Value>,
    /// The option of the guest that names the volume.
    pub volume_use: Option<String>,
    /// The drives of guests that have the ISO image of the path.
    pub drives: Vec<String>,
    /// The backups of the guest.
    pub guest_backups: Option<GuestBackups>,
    /// The jobs that name the guest.
    pub guest_jobs: Option<Looked<GuestJobs>>,
    /// The local disks of a VM that migrates while it runs, unless the call moves them too.
    pub local_disks: Vec<String>,
    /// The guests that the backup job of the path backs up, with kind, number and name.
    pub job_guests: Option<Vec<String>>,
    /// Sentences about the rules of HA for the place of the guest, without their ends.
    pub placement: Vec<String>,
    /// A sentence about the storage of a backup job, without its end.
    pub job_storage: Option<String>,
    /// The guests and backup jobs that use the storage of the path.
    pub storage_use: Option<StorageUse>,
    /// The zone of the node, in seconds east of UTC.
    pub utc_offset: i32,
    /// The backups of a storage, each with a mark: keep or remove.
    pub backups: Option<Looked<Vec<Value>>>,
    /// The guests whose backups are removed, in words, each with the number of them.
    pub pruned_owners: Vec<(String, usize)>,
    /// The changes of the network that are not applied yet, as the lines of a diff.
    pub network_changes: Option<Looked<String>>,
    pub affected: AffectedText<'a>,
    /// Sentences about the storages that the call needs, without their ends.
    pub storage_notes: Vec<String>,
    /// Sentences about what the node lacks for the guest, without their ends.
    pub node_limits: Vec<String>,
    /// Sentences about why the change has no effect yet, without their ends.
    pub missing_effect: Vec<String>,
    /// The guests that leave a pool, each with the pool.
    pub left_pools: Vec<(&'a Guest, String)>,
    /// The number of the call of the same list that makes the object.
    pub made_by: Option<usize>,
    /// The numbers of the calls of the same list that change the pending network before.
    pub changed_by: Vec<usize>,
}

/// A guest as it is now.
pub struct GuestState<'a> {
    pub kind: GuestKind,
    pub vmid: String,
    pub node: String,
    /// `None` if it was not looked up.
    pub status: Option<Looked<Map<String, Value>>>,
    /// The row of the cluster's list, which lags.
    pub listed: Option<&'a Guest>,
    /// The number of the call of the same list that makes the guest.
    pub made_by: Option<usize>,
}

/// The guests that a call affects, beside the guest of its path.
#[derive(Default)]
pub enum AffectedText<'a> {
    #[default]
    None,
    Guests {
        heading: &'static str,
        guests: Vec<AffectedGuest<'a>>,
        /// The numbers that the call names, and that the list of guests does not have.
        unlisted: Vec<u32>,
        /// The number of guests that the call leaves as they are: templates, and guests that have the state already.
        unchanged: usize,
    },
    Unknown(NotKnown),
}

/// One of several guests that a call affects.
pub struct AffectedGuest<'a> {
    /// The row of the cluster's list, which lags.
    pub listed: &'a Guest,
    /// The state that the guest itself says. `None` if it was not looked up.
    pub status: Option<Looked<Map<String, Value>>>,
}

impl AffectedGuest<'_> {
    fn present(&self) -> Option<&Map<String, Value>> {
        self.status.as_ref()?.as_ref().ok()
    }

    /// Returns `running` or `stopped`, as the guest itself says, or else the list. It is empty if neither does.
    pub fn power(&self) -> &str {
        self.present().map_or(&self.listed.status, |status| text_of(status, "status"))
    }

    fn name(&self) -> &str {
        match self.present().map_or("", |status| text_of(status, "name")) {
            "" => &self.listed.name,
            name => name,
        }
    }

    /// Returns kind, number and name.
    pub fn label(&self) -> String {
        let mut text = format!("{} {}", kind_name(self.listed.kind), self.listed.vmid);
        push_name(&mut text, self.name());
        text
    }

    /// Returns the guest as [`GuestState::describe`] does.
    fn describe(&self) -> String {
        let Some(status) = self.present() else { return describe_listed(self.listed) };
        let mut text = self.label();
        let _ = write!(text, " ({}, {})", describe_power(status), quote_word(&self.listed.node));
        text
    }

    fn push_line(&self, text: &mut String) {
        let _ = write!(text, "  {}", self.describe());
        if let Some(status) = self.present() {
            let lock = text_of(status, "lock");
            if !lock.is_empty() {
                let _ = write!(text, ", locked: {}", quote_word(lock));
            }
            if find_ha_state(status).is_some() {
                text.push_str(", managed by HA");
            }
        }
        text.push('\n');
    }
}

/// Returns the HA state of a guest that HA manages.
pub fn find_ha_state(status: &Map<String, Value>) -> Option<&Map<String, Value>> {
    status.get("ha").and_then(Value::as_object).filter(|ha| ha.get("managed").is_some_and(is_true))
}

/// Returns whether a requested state of the HA manager is that of a guest which runs. (PVE: `enabled` is its old name.)
pub fn is_start_state(state: &str) -> bool {
    matches!(state, "started" | "enabled")
}

impl GuestState<'_> {
    /// Returns kind, number and the name, if it was looked up.
    pub fn label(&self) -> String {
        let mut text = format!("{} {}", kind_name(self.kind), self.vmid);
        match (&self.status, self.listed) {
            (Some(Ok(status)), _) => push_name(&mut text, text_of(status, "name")),
            (Some(Err(_)), Some(listed)) => push_name(&mut text, &listed.name),
            _ => {}
        }
        text
    }

    /// Returns kind, number, name, state and node: `VM 106 "staging01" (stopped, pve2)`.
    pub fn describe(&self) -> String {
        if let (Some(Err(_)), Some(listed)) = (&self.status, self.listed) {
            return describe_listed(listed);
        }
        let mut text = self.label();
        let state = match &self.status {
            None => None,
            Some(Err(_)) => Some("name and state not known".to_owned()),
            Some(Ok(status)) => Some(describe_power(status)),
        };
        let state = state.or_else(|| self.made_by.map(|number| format!("made by call {number}")));
        let node = quote_word(&self.node);
        let _ = match state {
            Some(state) => write!(text, " ({state}, {node})"),
            None => write!(text, " ({node})"),
        };
        text
    }

    /// Returns whether the guest runs, as far as known.
    pub fn is_running(&self) -> bool {
        let status = self.status.as_ref().and_then(|status| status.as_ref().ok());
        status.is_some_and(|status| text_of(status, "status") == "running")
    }

    /// Returns whether the guest itself has said its state.
    pub fn is_read(&self) -> bool {
        matches!(self.status, Some(Ok(_)))
    }

    /// Returns whether the HA manager wants the guest to run, if it manages the power of the guest.
    pub fn wanted_by_ha(&self) -> Option<bool> {
        let status = self.status.as_ref().and_then(|status| status.as_ref().ok());
        match text_of(status.and_then(find_ha_state)?, "state") {
            state if is_start_state(state) => Some(true),
            "stopped" | "disabled" => Some(false),
            _ => None,
        }
    }

    /// Returns whether the guest is off, and the HA manager has stopped it.
    pub fn is_stopped_by_ha(&self) -> bool {
        let status = self.status.as_ref().and_then(|status| status.as_ref().ok());
        status.is_some_and(|status| {
            let is_off = text_of(status, "status") == "stopped" && text_of(status, "lock").is_empty();
            is_off && find_ha_state(status).is_some_and(|ha| text_of(ha, "state") == "stopped")
        })
    }

    /// Returns whether the HA manager manages the guest, as far as known.
    pub fn is_in_ha(&self) -> bool {
        let status = self.status.as_ref().and_then(|status| status.as_ref().ok());
        status.is_some_and(|status| find_ha_state(status).is_some())
    }

    /// Returns the reason why the guest itself has not said its state, and what is not known therefore.
    pub fn find_unknown(&self) -> Option<(&NotKnown, &'static str)> {
        let reason = self.status.as_ref()?.as_ref().err()?;
        Some((
            reason,
            match self.listed {
                Some(_) => "its name and state are those of the list of guests, which may be some seconds old",
                None => "its name, its state and whether HA manages it are not known",
            },
        ))
    }

    /// Appends lines about what else works on the guest.
    pub fn push_details(&self, text: &mut String, fails_while_locked: bool) {
        match &self.status {
            Some(Err(_)) => {
                if let Some(state) = self.listed.map(|listed| &listed.ha_state).filter(|state| !state.is_empty()) {
                    let _ = writeln!(text, "HA manages it, by the list of guests: {}.", quote_word(state));
                }
            }
            Some(Ok(status)) => {
                let lock = text_of(status, "lock");
                if !lock.is_empty() {
                    let effect = if fails_while_locked { ". The call fails until the lock ends" } else { "" };
                    let _ = writeln!(text, "It is locked: {}{effect}.", quote_word(lock));
                }
                if let Some(ha) = find_ha_state(status) {
                    // (PVE: it is the state that the HA manager has it in, such as `error` or `request_stop`.)
                    let _ = match (text_of(ha, "state"), self.wanted_by_ha()) {
                        ("ignored", _) => writeln!(text, "It is an HA resource that HA ignores."),
                        (state, Some(_)) => writeln!(text, "HA manages it, and wants it {}.", quote_word(state)),
                        ("", None) => writeln!(text, "HA manages it."),
                        (state, None) => writeln!(text, "HA manages it: its state there is {}.", quote_word(state)),
                    };
                }
            }
            None => {}
        }
    }
}

impl AffectedText<'_> {
    /// Appends numbers and names for a headline, the first few of many: ` 100 "web01", 102 "db01" and 3 more`.
    pub fn push_names(&self, text: &mut String) {
        let Self::Guests { guests, unlisted, .. } = self else { return };
        let total = guests.len() + unlisted.len();
        for at in 0..total.min(MAX_HEADLINE_GUESTS) {
            text.push_str(if at == 0 { " " } else { ", " });
            match guests.get(at) {
                Some(guest) => {
                    let _ = write!(text, "{}", guest.listed.vmid);
                    push_name(text, guest.name());
                }
                None => drop(write!(text, "{} (not in the list of guests)", unlisted[at - guests.len()])),
            }
        }
        if let Some(more @ 1..) = total.checked_sub(MAX_HEADLINE_GUESTS) {
            let _ = write!(text, " and {more} more");
        }
    }

    /// Returns the description of the guest with this number, if it is one of them.
    pub fn find(&self, vmid: &str) -> Option<String> {
        let Self::Guests { guests, .. } = self else { return None };
        guests.iter().find(|guest| guest.listed.vmid.to_string() == vmid).map(AffectedGuest::describe)
    }

    /// Appends a line for each guest, up to a limit.
    pub fn push(&self, text: &mut String) {
        match self {
            Self::None => {}
            Self::Unknown(reason) => reason.push(text, "The affected guests are not known"),
            Self::Guests { heading, guests, unlisted, unchanged } if guests.is_empty() && unlisted.is_empty() => {
                let _ = writeln!(text, "{heading}: none that the API token sees.");
                push_unchanged(text, *unchanged);
            }
            Self::Guests { heading, guests, unlisted, unchanged } => {
                // Said once, of all or of some.
                let shown = || guests.iter().take(MAX_ITEMS);
                let by_list: Vec<String> = shown()
                    .filter(|guest| guest.present().is_none())
                    .map(|guest| guest.listed.vmid.to_string())
                    .collect();
                let are_all_listed = !by_list.is_empty() && by_list.len() == shown().count();
                let _ = writeln!(text, "{heading}{}:", if are_all_listed { BY_LIST } else { "" });
                shown().for_each(|guest| guest.push_line(text));
                push_more(text, guests.len(), "  and {} more\n");
                if !are_all_listed && !by_list.is_empty() {
                    let _ = writeln!(text, "  ({}{BY_LIST})", by_list.join(", "));
                }
                if !unlisted.is_empty() {
                    let numbers: Vec<String> = unlisted.iter().take(MAX_ITEMS).map(u32::to_string).collect();
                    let _ = write!(text, "  not in the list of guests that the API token sees: {}", numbers.join(", "));
                    push_more(text, unlisted.len(), " and {} more");
                    text.push('\n');
                }
                push_unchanged(text, *unchanged);
            }
        }
    }
}

/// Appends the number of guests that a call on many guests leaves as they are.
fn push_unchanged(text: &mut String, unchanged: usize) {
    if unchanged > 0 {
        let guests = count(unchanged, "other");
        let _ = writeln!(text, "Not concerned: {guests} (templates, on other nodes, or in another state).");
    }
}

impl NotKnown {
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_absent: false }
    }

    /// Appends a line with the reason.
    pub fn push(&self, text: &mut String, what: &str) {
        match self.describe() {
            Some(reason) => drop(writeln!(text, "{what}: {reason}.")),
            None => text.push_str("It does not exist now.\n"),
        }
    }

    /// Returns the reason in quotes, since a part of it may come from the cluster. An object that does not exist has none.
    pub fn describe(&self) -> Option<String> {
        (!self.is_absent).then(|| quote(&sanitize::redact_text(&self.reason), 2 * MAX_TEXT_CHARS))
    }
}

/// Returns kind, number and name of a listed guest.
pub fn label_listed(guest: &Guest) -> String {
    let mut text = format!("{} {}", kind_name(guest.kind), guest.vmid);
    push_name(&mut text, &guest.name);
    text
}

/// Returns a listed guest as [`GuestState::describe`] does.
pub fn describe_listed(guest: &Guest) -> String {
    let mut text = label_listed(guest);
    let state = if guest.status.is_empty() { "state not known" } else { &quote_word(&guest.status) };
    let node = if guest.node.is_empty() { "node not known" } else { &quote_word(&guest.node) };
    let _ = write!(text, " ({state}, {node})");
    text
}

/// Appends the disks of a guest that go with it. Disks are named by their keys.
pub fn push_disks(text: &mut String, options: &Looked<Map<String, Value>>) {
    let options = match options {
        Ok(options) => options,
        Err(reason) => return reason.push(text, "Its disks are not known"),
    };
    let disks: Vec<_> = options.iter().filter(|(name, value)| is_own_disk(name, &to_text(value))).collect();
    if disks.is_empty() {
        text.push_str("It has no disks.\n");
        return;
    }
    text.push_str("Its disks: ");
    for (at, (name, value)) in disks.iter().take(MAX_ITEMS).enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        let disk = describe_disk(&to_text(value));
        let _ = write!(text, "{separator}{} {}", quote_word(name), show_cluster_value(name, &disk.into()));
    }
    push_more(text, disks.len(), " and {} more");
    text.push_str(".\n");
    if options.get("protection").is_some_and(is_true) {
        text.push_str("Its protection is on, so Proxmox will refuse to delete it or its disks.\n");
    }
}

/// Returns the volume, the place and the size of a disk, without the options of its use.
fn describe_disk(value: &str) -> String {
    let is_kept = |(at, part): &(usize, &str)| {
        let key = part.split_once('=').map_or("", |(key, _)| key.trim());
        *at == 0 || matches!(key, "" | "file" | "volume" | "size" | "mp")
    };
    let parts = value.split(',').enumerate().filter(is_kept).map(|(_, part)| part);
    parts.collect::<Vec<_>>().join(",")
}

/// Appends the value of one option.
pub fn push_option(text: &mut String, name: &str, options: &Looked<Map<String, Value>>) {
    match options {
        Ok(options) => match options.get(name) {
            Some(value) => text.push_str(&format!("It is now {}.\n", show_cluster_value(name, value))),
            None => text.push_str("It is not set now.\n"),
        },
        Err(reason) => reason.push(text, "Its present value is not known"),
    }
}

/// Appends the options of an object in one line, without those that are empty or that Proxmox computes. Those that
/// select guests come first.
pub fn push_options(text: &mut String, options: &Looked<Map<String, Value>>, utc_offset: i32) {
    let options = match options {
        Ok(options) => options,
        Err(reason) => return reason.push(text, "Its present state is not known"),
    };
    let is_shown = |name: &str, value: &Value| {
        !matches!(name, "digest" | "next-run") && !value.is_null() && !to_text(value).is_empty()
    };
    let mut shown: Vec<_> = options.iter().filter(|(name, value)| is_shown(name, value)).collect();
    shown.sort_by_key(|(name, _)| !SELECTION.contains(&name.as_str()));
    if shown.is_empty() {
        return;
    }
    text.push_str("It is now: ");
    for (at, (name, value)) in shown.iter().take(MAX_OPTIONS).enumerate() {
        text.push_str(if at == 0 { "" } else { ", " });
        let _ = write!(text, "{} {}", quote_word(name), show_option(name, value, utc_offset));
    }
    if let Some(more @ 1..) = shown.len().checked_sub(MAX_OPTIONS) {
        let _ = write!(text, " and {more} more");
    }
    text.push_str(".\n");
}

/// Appends lines about the guests and backup jobs that use a storage.
pub fn push_storage_use(text: &mut String, StorageUse { guests, is_complete, jobs }: &StorageUse) {
    let shown = |items: &[String]| items[..items.len().min(MAX_ITEMS)].join(", ");
    match (guests.is_empty(), is_complete) {
        (true, true) => text.push_str("No guest that the API token sees has a drive on it.\n"),
        (true, false) => text.push_str("It may affect any guest.\n"),
        (false, _) => {
            let _ = write!(text, "Guests with drives on it: {}", shown(guests));
            push_more(text, guests.len(), " and {} more");
            text.push_str(if *is_complete { ".\n" } else { ". It may affect any other guest too.\n" });
        }
    }
    if !jobs.is_empty() {
        let _ = write!(text, "Backup jobs to it: {}", shown(jobs));
        push_more(text, jobs.len(), " and {} more");
        text.push_str(".\n");
    }
}

/// Appends a line with the guests of a backup job.
pub fn push_job_guests(text: &mut String, guests: &[String]) {
    if guests.is_empty() {
        return text.push_str("It backs up no guest that the API token sees.\n");
    }
    let shown = &guests[..guests.len().min(MAX_ITEMS)];
    let _ = write!(text, "It backs up {}", shown.join(", "));
    push_more(text, guests.len(), " and {} more");
    text.push_str(".\n");
}

/// Appends the snapshots of a guest that go with it.
pub fn push_snapshots(text: &mut String, snapshots: &Looked<Vec<Value>>) {
    let rows = match snapshots {
        Ok(rows) => rows,
        Err(reason) => return reason.push(text, "Its snapshots are not known"),
    };
    let names: Vec<&str> = rows.iter().filter_map(snapshot_name).collect();
    match names.as_slice() {
        [] => text.push_str("It has no snapshots.\n"),
        names => {
            let list: Vec<String> = names.iter().take(MAX_ITEMS).map(|name| quote(name, MAX_TEXT_CHARS)).collect();
            let _ = write!(text, "Its snapshots: {}", list.join(", "));
            push_more(text, names.len(), " and {} more");
            text.push_str(".\n");
        }
    }
}

/// The power of a guest after a rollback, beside what its snapshot has.
#[derive(Clone, Copy)]
pub struct RollbackPower {
    /// The call asks for the start of the guest.
    pub starts: bool,
    /// The HA manager wants the guest to run, or to be off.
    pub wanted_by_ha: Option<bool>,
}

impl RollbackPower {
    fn describe(self, has_memory: bool) -> &'static str {
        match (has_memory, self.starts, self.wanted_by_ha) {
            (true, _, Some(false)) => " has the memory, so the guest runs afterwards, and HA shuts it down",
            (true, ..) => " has the memory, so the guest runs afterwards",
            (false, true, Some(false)) => " has no memory, start=1 starts the guest afterwards, and HA shuts it down",
            (false, true, _) => " has no memory, and start=1 starts the guest afterwards",
            (false, false, Some(true)) => {
                " has no memory, so the rollback leaves the guest off, and HA starts it again"
            }
            (false, false, Some(false)) => " has no memory, so the guest is off afterwards",
            (false, false, None) => " has no memory, so the guest is off afterwards (start=1 starts it)",
        }
    }
}

/// Appends a line about one snapshot. `rollback` is given if the guest will be as it was then.
pub fn push_snapshot(
    text: &mut String,
    name: &str,
    snapshots: &Looked<Vec<Value>>,
    rollback: Option<RollbackPower>,
    utc_offset: i32,
) {
    let rows = match snapshots {
        Ok(rows) => rows,
        Err(reason) => return reason.push(text, "The snapshot is not known"),
    };
    let Some(snapshot) = rows.iter().find(|row| snapshot_name(row) == Some(name)) else {
        let names: Vec<_> =
            rows.iter().filter_map(snapshot_name).take(MAX_ITEMS).map(|name| quote(name, MAX_TEXT_CHARS)).collect();
        let others = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        let _ = writeln!(text, "The guest has no such snapshot: {others}.");
        return;
    };
    text.push_str("The snapshot");
    if let Some(seconds) = snapshot.get("snaptime").and_then(read_count) {
        let _ = write!(text, " of {}", format_local_time(seconds, utc_offset));
    }
    let has_memory = snapshot.get("vmstate").is_some_and(is_true);
    text.push_str(match (has_memory, rollback) {
        (_, Some(power)) => power.describe(has_memory),
        (true, None) => " has the memory too",
        (false, None) => " has the disks only",
    });
    if let Some(description) = snapshot.get("description").and_then(Value::as_str).filter(|text| !text.is_empty()) {
        let _ = write!(text, ". Its description: {}", quote(&sanitize::redact_text(description), MAX_TEXT_CHARS));
    }
    text.push_str(".\n");
}

/// Appends the options that a rollback sets back, each with its value now and then.
pub fn push_restored_options(text: &mut String, [now, then]: &[Map<String, Value>; 2]) {
    /// Options that belong to the snapshot, or change by themselves.
    const OF_THE_SNAPSHOT: [&str; 10] = [
        "digest",
        "parent",
        "snaptime",
        "vmstate",
        "runningmachine",
        "runningcpu",
        "running-nets-host-mtu",
        "description",
        "snapstate",
        "lock",
    ];
    let mut names: Vec<&String> =
        now.keys().chain(then.keys()).filter(|name| now.get(*name) != then.get(*name)).collect();
    // (PVE: a rollback keeps the list of unused disks.)
    let is_unused = |name: &str| name.strip_prefix("unused").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    names.retain(|name| !OF_THE_SNAPSHOT.contains(&name.as_str()) && !is_unused(name));
    names.sort();
    names.dedup();
    let show = |name: &str, config: &Map<String, Value>| {
        config.get(name).map_or_else(|| "not set".to_owned(), |value| show_cluster_value(name, value))
    };
    for (at, name) in names.iter().take(MAX_ITEMS).enumerate() {
        text.push_str(if at == 0 { "Its configuration goes back too: " } else { ", " });
        let _ = write!(text, "{} {} → {}", quote_word(name), show(name, now), show(name, then));
    }
    if names.is_empty() {
        return text.push_str("Its configuration stays as it is.\n");
    }
    push_more(text, names.len(), " and {} more");
    text.push_str(".\n");
    // (PVE: a volume of the guest that its configuration of then does not name becomes an unused disk.)
    let volumes = |config: &Map<String, Value>| -> Vec<(String, String)> {
        let disks = config.iter().map(|(name, value)| (name, to_text(value)));
        let disks = disks.filter(|(name, value)| !is_unused(name) && is_own_disk(name, value));
        let volumes = disks.filter_map(|(name, value)| Some((name.clone(), find_volume(&value)?.to_owned())));
        volumes.filter(|(_, volume)| volume.contains(':')).collect()
    };
    let kept = volumes(then);
    let left = volumes(now).into_iter().filter(|(_, volume)| !kept.iter().any(|(_, other)| other == volume));
    let left: Vec<String> = left.map(|(name, _)| quote_word(&name)).collect();
    if !left.is_empty() {
        let shown = &left[..left.len().min(MAX_ITEMS)];
        let _ = write!(
            text,
            "A disk that the snapshot does not have stays as an unused one, with its data: {}",
            shown.join(", ")
        );
        push_more(text, left.len(), " and {} more");
        text.push_str(".\n");
    }
}

/// Appends the changes that wait for the next start of a guest, which a rollback removes.
pub fn push_lost_changes(text: &mut String, rows: &[Value]) {
    let describe = |row: &Value| {
        let name = row.get("key")?.as_str()?;
        let waits_for_removal = row.get("delete").is_some_and(is_true);
        match row.get("pending").filter(|value| !value.is_null()) {
            Some(value) => Some(format!("{} {}", quote_word(name), show_cluster_value(name, value))),
            None => waits_for_removal.then(|| format!("the removal of {}", quote_word(name))),
        }
    };
    let changes: Vec<String> = rows.iter().filter_map(describe).collect();
    if !changes.is_empty() {
        let shown = &changes[..changes.len().min(MAX_ITEMS)];
        let _ = write!(text, "Changes that wait for its next start are lost: {}", shown.join(", "));
        push_more(text, changes.len(), " and {} more");
        text.push_str(".\n");
    }
}

/// Returns whether Proxmox would remove a backup.
pub fn is_pruned(row: &Value) -> bool {
    row.get("mark").and_then(Value::as_str) == Some("remove")
}

/// Appends the backups that Proxmox would remove with their owners, and the number of those that it would keep. `lead` is
/// the beginning of the sentence.
pub fn push_pruned_backups(text: &mut String, lead: &str, backups: &Looked<Vec<Value>>, owners: &[(String, usize)]) {
    let rows = match backups {
        Ok(rows) => rows,
        Err(reason) => return reason.push(text, "The backups are not known"),
    };
    let removed: Vec<&Value> = rows.iter().filter(|row| is_pruned(row)).collect();
    let _ = write!(text, "{lead} {}", count(removed.len(), "backup"));
    for (at, (owner, number)) in owners.iter().take(MAX_ITEMS).enumerate() {
        let _ = write!(text, "{}{number} of {owner}", if at == 0 { " (" } else { ", " });
    }
    push_more(text, owners.len(), " and those of {} more guests");
    text.push_str(if owners.is_empty() { "" } else { ")" });
    let _ = write!(text, " and keeps {}", rows.len() - removed.len());
    for (at, row) in removed.iter().take(MAX_ITEMS).enumerate() {
        text.push_str(if at == 0 { ". Removed: " } else { ", " });
        push_quoted(text, row.get("volid").and_then(Value::as_str).unwrap_or_default(), MAX_TEXT_CHARS);
    }
    push_more(text, removed.len(), " and {} more");
    text.push_str(".\n");
}

/// Appends the added and removed lines of a network configuration. `changed_by` are the earlier calls of the same list
/// that add changes.
pub fn push_network_changes(text: &mut String, changes: &Looked<String>, changed_by: &[usize]) {
    if !changed_by.is_empty() {
        let _ = writeln!(text, "The changes of {} are pending then.", name_calls(changed_by));
    }
    let changes = match changes {
        Ok(changes) => changes,
        Err(reason) => return reason.push(text, "The pending changes are not known"),
    };
    let is_change = |line: &&str| line.starts_with(['+', '-']) && !line.starts_with("+++") && !line.starts_with("---");
    let lines: Vec<&str> = changes.lines().filter(is_change).collect();
    if lines.is_empty() {
        if changed_by.is_empty() {
            text.push_str("No change is pending.\n");
        }
        return;
    }
    text.push_str(if changed_by.is_empty() { "The pending changes:\n" } else { "Pending already:\n" });
    for line in lines.iter().take(2 * MAX_ITEMS) {
        let _ = writeln!(text, "  {}", quote(&sanitize::redact_text(line), MAX_TEXT_CHARS));
    }
    if let Some(more @ 1..) = lines.len().checked_sub(2 * MAX_ITEMS) {
        let _ = writeln!(text, "  and {more} lines more");
    }
}

/// Returns a value of the cluster as text, without secrets: a plain word bare, anything else in quotes.
pub fn show_cluster_value(name: &str, value: &Value) -> String {
    let plain = to_text(value);
    let shown = sanitize::redact_parameter(name, &plain);
    let mut text = String::new();
    let limit = if SELECTION.contains(&name) { MAX_SELECTION_CHARS } else { MAX_TEXT_CHARS };
    match (shown.chars().nth(limit), read_count(value).filter(|number| *number > 0)) {
        (None, Some(bytes)) if matches!(name, "size" | "used" | "avail" | "total") => {
            push_byte_size(&mut text, bytes as f64);
        }
        (None, _) => push_value(&mut text, &shown),
        (Some(_), _) => push_quoted(&mut text, &shown, limit),
    }
    text
}

/// Returns the value of an object's option as [`show_cluster_value`] does, and a time in the zone of the node.
pub fn show_option(name: &str, value: &Value, utc_offset: i32) -> String {
    match find_time(name, value) {
        Some(seconds) => format_local_time(seconds, utc_offset),
        None => show_cluster_value(name, value),
    }
}

/// Returns the time that an option has, in seconds since 1970. (PVE: 0 is never.)
pub(crate) fn find_time(name: &str, value: &Value) -> Option<u64> {
    TIME_OPTIONS.contains(&name).then(|| read_count(value)).flatten().filter(|seconds| *seconds > 0)
}

/// Returns whether an option of an object has a time.
pub fn has_time(object: &Map<String, Value>) -> bool {
    object.iter().any(|(name, value)| find_time(name, value).is_some())
}

/// Returns a value as Proxmox takes it from a form: a list with commas, an object as `key=value` with commas. Of a member
/// that is an object itself, the key or its `id` is left.
pub fn to_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(on) => u8::from(*on).to_string(),
        Value::Array(items) => items.iter().map(to_item).collect::<Vec<_>>().join(","),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| match value {
                Value::Object(_) | Value::Array(_) => key.clone(),
                value => format!("{key}={}", to_text(value)),
            };
            members.iter().map(member).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

fn to_item(item: &Value) -> String {
    // (PVE: the raw keys of a container's config are pairs.)
    if let Some([name @ Value::String(_), value]) = item.as_array().map(Vec::as_slice) {
        return format!("{} = {}", to_text(name), to_text(value));
    }
    item.get("id").or(item.get("name")).filter(|id| id.is_string()).map_or_else(|| to_text(item), to_text)
}

/// Appends the number of the backups that a deleted guest leaves.
pub fn push_guest_backups(text: &mut String, backups: Option<GuestBackups>) {
    match backups {
        Some(GuestBackups { found: 0, is_complete: true }) => {
            text.push_str("The API token sees no backup of it.\n");
        }
        Some(GuestBackups { found: found @ 1.., is_complete }) => {
            let least = if is_complete { "" } else { "at least " };
            let _ = writeln!(text, "Its backups are kept ({least}{found}).");
        }
        _ => text.push_str("Backups of it are kept, if there are any.\n"),
    }
}

/// Appends lines about the jobs that name a deleted guest. `purges` tells that the call takes the guest out of them.
pub fn push_guest_jobs(text: &mut String, jobs: &Looked<GuestJobs>, purges: bool, is_in_ha: bool) {
    let GuestJobs { backups, replications } = match jobs {
        Ok(jobs) => jobs,
        Err(reason) if purges => return reason.push(text, "It is also removed from its jobs, which are not known"),
        Err(_) => return,
    };
    let name = |noun: &str, ids: &[String]| {
        let plural = if ids.len() == 1 { "" } else { "s" };
        let mut text = format!("{noun}{plural} {}", ids[..ids.len().min(MAX_ITEMS)].join(", "));
        push_more(&mut text, ids.len(), " and {} more");
        text
    };
    let mut places = Vec::new();
    if !backups.is_empty() {
        places.push(name("backup job", backups));
    }
    if !purges {
        if let [places] = places.as_slice() {
            let _ = writeln!(text, "Without purge, it stays in {places}.");
        }
        if !replications.is_empty() {
            let jobs = name("replication job", replications);
            let _ = writeln!(text, "Without purge, Proxmox refuses to delete it because of {jobs}.");
        }
        return;
    }
    if !replications.is_empty() {
        places.push(name("replication job", replications));
    }
    if is_in_ha {
        places.push("high availability".to_owned());
    }
    match places.as_slice() {
        [] => {}
        places => drop(writeln!(text, "It is also removed from {}.", places.join(", "))),
    }
}

/// Appends `and N more` where a list was cut. `{}` is the number.
pub fn push_more(text: &mut String, total: usize, phrase: &str) {
    if let Some(more @ 1..) = total.checked_sub(MAX_ITEMS) {
        text.push_str(&phrase.replace("{}", &more.to_string()));
    }
}

pub(crate) fn kind_name(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Qemu => "VM",
        GuestKind::Lxc => "container",
    }
}

pub(crate) fn push_name(text: &mut String, name: &str) {
    match name {
        "" => text.push_str(" without a name"),
        name => drop(write!(text, " {}", quote(&sanitize::redact_text(name), MAX_TEXT_CHARS))),
    }
}

/// Returns a word of the cluster bare, and anything else in quotes.
pub(crate) fn quote_word(word: &str) -> String {
    let mut text = String::new();
    push_value(&mut text, &sanitize::redact_text(word).chars().take(MAX_TEXT_CHARS).collect::<String>());
    text
}

/// Returns `running`, `stopped`, `paused`, …, and whether the guest is a template.
pub(crate) fn describe_power(status: &Map<String, Value>) -> String {
    if status.get("template").is_some_and(is_true) {
        return "a template".into();
    }
    // (PVE: `status` is running while QEMU has paused the VM.)
    let (status, precise) = (text_of(status, "status"), text_of(status, "qmpstatus"));
    match if status == "running" && !precise.is_empty() { precise } else { status } {
        "" => "state not known".into(),
        state => quote_word(state),
    }
}

pub(crate) fn text_of<'v>(object: &'v Map<String, Value>, name: &str) -> &'v str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the name of a snapshot. (PVE: the row `current` is the guest itself.)
pub(crate) fn snapshot_name(row: &Value) -> Option<&str> {
    row.get("name").and_then(Value::as_str).filter(|name| *name != "current")
}

/// Returns whether an option of a guest is that of a disk, a CD or a folder.
pub(crate) fn has_disk_name(name: &str) -> bool {
    DISK_PARAMETERS.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit()))
}

/// Returns whether an option is a disk of the guest itself. A CD and a folder of the node are not.
pub(crate) fn is_own_disk(name: &str, value: &str) -> bool {
    has_disk_name(name)
        && !value.starts_with('/')
        && !value.starts_with("none")
        && !value.split(',').any(|part| part == "media=cdrom")
}
