//! The check of calls against what is known of their objects: a call that certainly fails is an error before a question
//! is asked or anything is sent.

use super::earlier_calls::{EarlierCalls, Existence, FuturePower};
use super::failure::explain_absent_entry;
use super::planned_call::PlannedCall;
use super::present_state::{AbsentPart, PresentState};
use crate::base::hint::{Hint, render_error};
use crate::base::list_text::list_items;
use crate::pve::Method;
use crate::pve::knowledge::effects::Fact;
use crate::pve::knowledge::messages::find_next_step;
use crate::pve::knowledge::preconditions::{Excluded, Precondition, find_lock_refusal, find_preconditions};
use crate::pve::property_string::{find_part, parse_disk_size};
use crate::pve::rows::is_true;
use crate::render::labels::{group_reasons, join_reasons};
use crate::render::object_state::{
    AffectedText, GuestState, MAX_ITEMS, ObjectState, find_ha_state, is_own_disk, quote_word, snapshot_name, text_of,
    to_text,
};
use crate::render::quoted::quote;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::time::Instant;

/// The most characters of a name.
const MAX_NAME_CHARS: usize = 60;

/// The reason why a call would certainly fail.
#[derive(Debug, thiserror::Error)]
pub enum CertainFailure {
    /// The guest is in a state in which the node refuses the call.
    #[error("{operation} would {}: {guest} {}{}", outcome(.message), .state.describe(), cause(.message, *.is_later))]
    GuestState {
        operation: String,
        guest: String,
        state: Excluded,
        message: String,
        /// The earlier calls of the list bring the guest into this state.
        is_later: bool,
        /// The node accepts the call, and does nothing.
        is_accepted: bool,
    },
    #[error("{operation} would fail: it does not exist{}", sentence(.entries))]
    AbsentObject { operation: String, entries: Option<String> },
    #[error("{operation} would fail: there is no such guest on that node")]
    AbsentGuest { operation: String },
    #[error("{operation} would fail: {guest} has {}", others("snapshot", .names))]
    AbsentSnapshot { operation: String, guest: String, names: Vec<String> },
    #[error("{operation} would fail: {disk} is not set, and {guest} has {}", others("disk", .disks))]
    AbsentDisk { operation: String, guest: String, disk: String, disks: Vec<String> },
    #[error("{operation} would fail: {disk} of {guest} has {now}, and a disk can't be made smaller (size {size})")]
    SmallerDisk { operation: String, guest: String, disk: String, now: String, size: String },
    #[error("{operation} would fail: boot names {device}, and {guest} has no such device")]
    AbsentBootDevice { operation: String, guest: String, device: String },
    #[error("{operation} would fail: {guest} is on that node already")]
    SameNode { operation: String, guest: String },
    #[error("{operation} would fail: call {number} removes it")]
    RemovedBefore { operation: String, number: usize },
    #[error("{operation} would fail: call {number} of the list takes that name or number")]
    MadeBefore { operation: String, number: usize },
    #[error("{operation} would fail: the number is in use by {guest}")]
    UsedNumber { operation: String, guest: String },
    #[error("{operation} would fail: sid names another kind of guest than {guest}")]
    OtherKind { operation: String, guest: String, sid: String },
    #[error("{operation} would fail: {object} exists already")]
    UsedName { operation: String, object: String },
    #[error("{operation} would fail: {what}")]
    AbsentTarget { operation: String, what: String, list: &'static str },
    #[error("{operation} would fail: storage {storage} accepts no backups ({content})")]
    NoBackupStorage { operation: String, storage: String, content: String },
    #[error("{operation} would fail: {disk} is on a storage that {target} does not share")]
    LocalDisk { operation: String, disk: String, target: String },
    #[error("{operation} would fail: {guest} is in pool {pool} already")]
    PoolMember {
        operation: String,
        guest: String,
        pool: String,
        /// It is the pool of the call.
        is_target: bool,
    },
    #[error("{operation} would fail: the pool is not empty (members: {count})")]
    PoolWithMembers { operation: String, count: usize },
}

/// Calls that would certainly fail, with their numbers in their list.
#[derive(Debug, thiserror::Error)]
#[error("{}", if *.is_list { self.describe_list() } else { self.describe_only() })]
pub struct CertainFailures {
    failures: Vec<(usize, CertainFailure)>,
    is_list: bool,
}

impl CertainFailures {
    /// Collects the failures of calls in their order. `is_list` tells that the caller sent a list.
    pub(super) fn collect(failures: Vec<(usize, CertainFailure)>, is_list: bool) -> Result<(), Self> {
        if failures.is_empty() { Ok(()) } else { Err(Self { failures, is_list }) }
    }

    /// Returns whether the text of the error already says that nothing was sent.
    pub(super) fn says_nothing_was_sent(&self) -> bool {
        self.is_list
    }

    fn describe_only(&self) -> String {
        self.failures.first().map(|(_, failure)| failure.to_string()).unwrap_or_default()
    }

    fn describe_list(&self) -> String {
        let texts = self.failures.iter().map(|(number, failure)| (*number, render_error(failure)));
        let lines = join_reasons(&group_reasons(texts, |known, other| known == other), String::clone);
        format!("no call of the list was sent: one that certainly fails ends all\n{lines}")
    }
}

impl Hint for CertainFailures {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self.failures.as_slice() {
            [(_, only)] if !self.is_list => only.hint(),
            _ => None,
        }
    }
}

impl Hint for CertainFailure {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::GuestState { message, .. } if message.is_empty() => Some("leave the call out".into()),
            Self::GuestState { message, .. } => find_next_step(message).map(Cow::from),
            Self::AbsentGuest { .. } => Some("find_guest finds guests by number or name".into()),
            Self::AbsentSnapshot { .. } => Some("GET …/snapshot lists the snapshots of the guest".into()),
            Self::AbsentDisk { .. } => Some("GET …/config shows the disks of the guest".into()),
            Self::SmallerDisk { .. } => find_next_step("shrinking disks is not supported").map(Cow::from),
            Self::AbsentBootDevice { .. } => find_next_step("invalid bootorder: device").map(Cow::from),
            Self::SameNode { .. } => find_next_step("target is local node").map(Cow::from),
            Self::RemovedBefore { .. } => Some("change the order of the calls, or leave this one out".into()),
            Self::UsedNumber { .. } => find_next_step("config file already exists").map(Cow::from),
            Self::OtherKind { sid, .. } => Some(format!("sid {sid} is the guest").into()),
            Self::UsedName { .. } => find_next_step("already exists").map(Cow::from),
            Self::MadeBefore { .. } => Some("choose another name or number, or leave one of the calls out".into()),
            Self::AbsentTarget { list, .. } => Some(format!("GET {list} lists what the cluster has").into()),
            Self::PoolWithMembers { .. } => find_next_step("pool is not empty (contains").map(Cow::from),
            Self::NoBackupStorage { .. } => Some("GET /storage shows the content of each storage".into()),
            Self::LocalDisk { .. } => find_next_step("uses local storage").map(Cow::from),
            Self::PoolMember { is_target: true, .. } => Some("leave it out".into()),
            Self::PoolMember { .. } => find_next_step("belongs already to pool").map(Cow::from),
            Self::AbsentObject { .. } => None,
        }
    }
}

/// Describes what there is instead.
fn others(kind: &str, names: &[String]) -> String {
    if names.is_empty() { format!("no {kind}s") } else { format!("no such {kind}, only {}", names.join(", ")) }
}

/// Checks the calls of a list against each other.
///
/// # Errors
/// An earlier call makes some of the others fail.
pub(super) fn check_conflicts(calls: &[&PlannedCall<'_>]) -> Result<(), CertainFailures> {
    let find = |at: usize| Some((at + 1, calls[at].find_conflict(EarlierCalls::new(&calls[..at]))?));
    CertainFailures::collect((0..calls.len()).filter_map(find).collect(), true)
}

fn outcome(message: &str) -> &'static str {
    if message.is_empty() { "change nothing" } else { "fail" }
}

fn cause(message: &str, is_later: bool) -> String {
    let then = if is_later { " by then" } else { "" };
    if message.is_empty() { format!(" already{then}") } else { format!("{then} (Proxmox: \"{message}\")") }
}

fn sentence(text: &Option<String>) -> String {
    text.as_ref().map(|text| format!(". {text}")).unwrap_or_default()
}

/// A guest as a call finds it. `None` is not known.
struct KnownGuest<'s> {
    status: Option<&'s Map<String, Value>>,
    is_running: Option<bool>,
    config: Option<&'s Map<String, Value>>,
    snapshots: Option<&'s [Value]>,
}

impl PlannedCall<'_> {
    /// Returns the reason why the call would certainly fail, after the earlier calls of its list.
    pub(super) fn find_certain_failure(
        &self,
        present: &PresentState<'_>,
        deadline: Instant,
        earlier: EarlierCalls<'_, '_>,
    ) -> Option<CertainFailure> {
        let template = self.operation.template.as_deref().filter(|_| self.operation.is_known && self.is_change())?;
        let operation = || self.operation_line();
        if let Some(conflict) = self.find_conflict(earlier) {
            return Some(conflict);
        }
        match present.absent {
            Some(AbsentPart::Guest) => return Some(CertainFailure::AbsentGuest { operation: operation() }),
            Some(AbsentPart::Object) => {
                let entries = explain_absent_entry(self.cluster, self);
                return Some(CertainFailure::AbsentObject { operation: operation(), entries });
            }
            None => {}
        }
        let forecast = self.path_guest().and_then(|guest| Some(earlier.forecast_guest(guest.vmid.parse().ok()?)));
        let is_changed = forecast.is_some_and(|forecast| forecast.is_changed);
        self.check_guest_state(template, present, earlier)
            .or_else(|| self.check_ha_stop(template, present).filter(|_| earlier.is_empty()))
            .or_else(|| self.check_snapshot(present))
            .or_else(|| self.check_disk(template, present).filter(|_| !is_changed))
            .or_else(|| self.check_boot_order(template, present).filter(|_| !is_changed))
            .or_else(|| self.check_names(template, present, deadline, earlier))
    }

    /// Returns whether the node refuses the call while the guest of its path has the lock that it has now.
    pub(super) fn fails_while_locked(&self, state: &ObjectState<'_>) -> bool {
        let Some(template) = self.operation.template.as_deref().filter(|_| self.operation.is_known) else {
            return false;
        };
        let Some(guest) = state.guest.as_ref().filter(|_| self.path_guest().is_some()) else { return false };
        let status = guest.status.as_ref().and_then(|status| status.as_ref().ok());
        let lock = status.map_or("", |status| text_of(status, "lock"));
        // (PVE: a VM that is saved to a disk has this lock, and nothing works on it.)
        !matches!(lock, "" | "suspended")
            && find_lock_refusal(self.method, template, &self.params)
                .is_some_and(|row| !(row.yields_to_ha && guest.is_in_ha()))
    }

    /// Returns the reason why the call would fail because of what the earlier calls of its list make or remove. Nothing is
    /// read.
    fn find_conflict(&self, earlier: EarlierCalls<'_, '_>) -> Option<CertainFailure> {
        let template = self.operation.template.as_deref().filter(|_| self.operation.is_known && self.is_change())?;
        let of_guest = self.path_guest().and_then(|guest| Some(earlier.forecast_guest(guest.vmid.parse().ok()?)));
        let of_object = self.facts().contains(&Fact::Object).then(|| earlier.forecast_object_of(self));
        for existence in of_guest.map(|guest| guest.existence).into_iter().chain(of_object) {
            if let Existence::Removed(number) = existence {
                return Some(CertainFailure::RemovedBefore { operation: self.operation_line(), number });
            }
        }
        let of_new_guest = self.created_guest().map(|guest| earlier.forecast_guest(guest.vmid).existence);
        let new_object = self.find_new_snapshot(template).or_else(|| self.find_new_object(template));
        let of_new_object = new_object.map(|path| earlier.forecast_object(&path));
        of_new_guest.into_iter().chain(of_new_object).find_map(|existence| match existence {
            Existence::Made(number) => Some(CertainFailure::MadeBefore { operation: self.operation_line(), number }),
            _ => None,
        })
    }

    /// Checks the state of the guest of the path, or of the one that is overwritten.
    fn check_guest_state(
        &self,
        template: &str,
        present: &PresentState<'_>,
        earlier: EarlierCalls<'_, '_>,
    ) -> Option<CertainFailure> {
        let vmid = match self.path_guest() {
            Some(guest) => guest.vmid,
            None => self.param("vmid")?.to_owned(),
        };
        let forecast = earlier.forecast_guest(vmid.parse().ok()?);
        let (status, label) = find_status(present, &vmid)?;
        let is_now = |status: &Map<String, Value>, word| text_of(status, "status") == word;
        let config = present.state.options.as_ref().and_then(|options| options.as_ref().ok());
        let is_config = self.path.as_str().ends_with("/config")
            || self.facts().iter().any(|fact| matches!(fact, Fact::Disks | Fact::OptionNamedBy(_)));
        let own_config = self.read_planned_config();
        let snapshots = present.state.snapshots.as_ref().and_then(|rows| Some(rows.as_ref().ok()?.as_slice()));
        let facts = KnownGuest {
            status: status.filter(|_| !forecast.is_changed && forecast.power == FuturePower::AsNow),
            is_running: match forecast.power {
                FuturePower::Running => Some(true),
                FuturePower::Stopped => Some(false),
                FuturePower::Open => None,
                FuturePower::AsNow => status.and_then(|status| match status {
                    status if is_now(status, "running") => Some(true),
                    status if is_now(status, "stopped") => Some(false),
                    _ => None,
                }),
            },
            config: config.filter(|_| is_config).or(own_config.as_ref()).filter(|_| !forecast.is_changed),
            snapshots: snapshots.filter(|_| !forecast.is_changed),
        };
        let ha_state = status.and_then(find_ha_state).map(|ha| text_of(ha, "state"));
        // (PVE: the HA manager ignores a stop of a resource that it has stopped.)
        let is_ha = |row: &Precondition| {
            ha_state.is_some_and(|state| !(row.excluded == Excluded::Stopped && state == "stopped"))
        };
        let is_locked = status.is_some_and(|status| !text_of(status, "lock").is_empty());
        let found = find_preconditions(self.method, template, &self.params)
            .filter(|row| !(row.yields_to_ha && is_ha(row) || row.yields_to_lock && is_locked))
            .find(|row| facts.is_in(row));
        if let Some(row) = found {
            return Some(CertainFailure::GuestState {
                operation: self.operation_line(),
                guest: label,
                state: row.excluded,
                message: row.message.replace("{vmid}", &vmid),
                is_later: forecast.power != FuturePower::AsNow,
                is_accepted: row.is_accepted,
            });
        }
        let moves = self.method == Method::Post && template.ends_with("/{vmid}/migrate");
        let is_there = self.path_guest().is_some_and(|guest| self.param("target") == Some(guest.node.as_str()));
        (moves && is_there && !forecast.is_changed)
            .then(|| CertainFailure::SameNode { operation: self.operation_line(), guest: label })
    }

    /// Checks whether the HA manager has the guest stopped already, as the call asks, and the call sets nothing else.
    fn check_ha_stop(&self, template: &str, present: &PresentState<'_>) -> Option<CertainFailure> {
        let is_meant = self.method == Method::Put && template == "/cluster/ha/resources/{sid}";
        let state = self.param("state").filter(|state| is_meant && matches!(*state, "stopped" | "disabled"))?;
        let is_alone = self.params.names().all(|name| matches!(name, "state" | "digest"));
        let options = present.state.options.as_ref()?.as_ref().ok()?;
        let guest = present.state.guest.as_ref().filter(|guest| guest.is_stopped_by_ha())?;
        (is_alone && text_of(options, "state") == state).then(|| CertainFailure::GuestState {
            operation: self.operation_line(),
            guest: guest.label(),
            state: Excluded::Stopped,
            message: String::new(),
            is_later: false,
            is_accepted: true,
        })
    }

    /// Returns the configuration of the guest of the path that the plan has read.
    fn read_planned_config(&self) -> Option<Map<String, Value>> {
        let guest = self.path_guest()?;
        let config = self.cluster.guest_config.get().filter(|config| config.path == guest.path(&["config"]))?;
        serde_json::from_str(&config.data).ok()
    }

    fn check_snapshot(&self, present: &PresentState<'_>) -> Option<CertainFailure> {
        let rows =
            present.state.snapshots.as_ref()?.as_ref().ok().filter(|_| self.facts().contains(&Fact::Snapshot))?;
        let wanted = self.operation.path_value("snapname")?;
        let names: Vec<&str> = rows.iter().filter_map(snapshot_name).collect();
        // (PVE: every list has the row `current`. Another answer is no list of snapshots.)
        let is_list = rows.iter().any(|row| row.get("name").is_some_and(|name| *name == "current"));
        (is_list && !names.contains(&wanted)).then(|| CertainFailure::AbsentSnapshot {
            operation: self.operation_line(),
            guest: self.guest_label(present),
            names: names.iter().take(MAX_ITEMS).map(|name| quote(name, MAX_NAME_CHARS)).collect(),
        })
    }

    /// Checks the disk that the call grows or moves.
    fn check_disk(&self, template: &str, present: &PresentState<'_>) -> Option<CertainFailure> {
        let parameter = self.facts().iter().find_map(|fact| match fact {
            Fact::OptionNamedBy(parameter) => Some(*parameter),
            _ => None,
        })?;
        let disk = self.param(parameter)?;
        let config = present.state.options.as_ref()?.as_ref().ok().filter(|config| config.contains_key("digest"))?;
        let Some(value) = config.get(disk).map(to_text) else {
            let disks = config.iter().filter(|(name, value)| is_own_disk(name, &to_text(value)));
            return Some(CertainFailure::AbsentDisk {
                operation: self.operation_line(),
                guest: self.guest_label(present),
                disk: quote_word(disk),
                disks: disks.map(|(name, _)| quote_word(name)).take(MAX_ITEMS).collect(),
            });
        };
        let size = self.param("size").filter(|size| template.ends_with("/resize") && !size.starts_with('+'))?;
        let now = find_part(&value, "size")?;
        (parse_disk_size(size)? < parse_disk_size(now)?).then(|| CertainFailure::SmallerDisk {
            operation: self.operation_line(),
            guest: self.guest_label(present),
            disk: quote_word(disk),
            now: quote_word(now),
            size: quote_word(size),
        })
    }

    /// Checks that the guest has each device of the new boot order, after the call.
    fn check_boot_order(&self, template: &str, present: &PresentState<'_>) -> Option<CertainFailure> {
        let is_given = |wanted: &str| self.params.names().any(|name| name == wanted);
        let changes_vm = self.method != Method::Delete && template.ends_with("/qemu/{vmid}/config");
        let config = present.state.options.as_ref()?.as_ref().ok().filter(|config| config.contains_key("digest"))?;
        let deletes = |device: &str| {
            let lists = self.params.iter().filter(|(name, _)| *name == "delete");
            lists.flat_map(|(_, names)| list_items(names)).any(|name| name == device)
        };
        let boot = self.param("boot").filter(|_| changes_vm)?;
        // (PVE: `cdrom` is another name of a drive, and a reverted option may be a device.)
        let order = find_part(boot, "order").filter(|_| !is_given("revert") && !is_given("cdrom"))?;
        let is_absent = |device: &&str| !is_given(device) && (!config.contains_key(*device) || deletes(device));
        let absent = list_items(order).find(is_absent)?;
        Some(CertainFailure::AbsentBootDevice {
            operation: self.operation_line(),
            guest: self.guest_label(present),
            device: quote_word(absent),
        })
    }

    fn guest_label(&self, present: &PresentState<'_>) -> String {
        present.state.guest.as_ref().map(GuestState::label).unwrap_or_default()
    }
}

/// Returns the status of a guest that was looked up, with the words for the guest.
fn find_status<'s>(present: &'s PresentState<'_>, vmid: &str) -> Option<(Option<&'s Map<String, Value>>, String)> {
    if let Some(guest) = present.state.guest.as_ref().filter(|guest| guest.vmid == vmid) {
        return Some((guest.status.as_ref().and_then(|status| status.as_ref().ok()), guest.label()));
    }
    let AffectedText::Guests { guests, .. } = &present.state.affected else { return None };
    let guest = guests.iter().find(|guest| guest.listed.vmid.to_string() == vmid)?;
    Some((guest.status.as_ref()?.as_ref().ok(), guest.label()))
}

impl KnownGuest<'_> {
    /// Returns whether the guest is known to be in the state of a row.
    fn is_in(&self, row: &Precondition) -> bool {
        let is_set = |object: Option<&Map<String, Value>>, name: &str| {
            object.is_some_and(|object| object.get(name).is_some_and(is_true))
        };
        match row.excluded {
            Excluded::Running => self.is_running == Some(true),
            Excluded::Stopped => self.is_running == Some(false),
            Excluded::Paused => self.status.is_some_and(|status| text_of(status, "qmpstatus") == "paused"),
            Excluded::Template => is_set(self.status, "template") || is_set(self.config, "template"),
            Excluded::Protected => is_set(self.config, "protection"),
            Excluded::InHa => self.status.is_some_and(|status| find_ha_state(status).is_some()),
            Excluded::HasSnapshots => {
                self.snapshots.is_some_and(|rows| rows.iter().any(|row| snapshot_name(row).is_some()))
            }
        }
    }
}
