//! Objects as they are after a change, each in a line. Texts of the cluster are quoted, and secrets in them are hidden.

use super::labels::{count, format_local_time};
use super::object_state::{
    describe_power, find_ha_state, has_disk_name, is_start_state, kind_name, push_name, quote_word, show_cluster_value,
    show_option, snapshot_name, text_of, to_text,
};
use super::quoted::quote;
use super::units::push_byte_size;
use crate::pve::guests::GuestKind;
use crate::pve::rows::{is_true, read_count};
use serde_json::{Map, Value};
use std::fmt::Write;

/// The most options, snapshots or members that a line names.
const MAX_ITEMS: usize = 12;

/// The most other grants on a path that a line names.
const MAX_OTHER_GRANTS: usize = 2;

/// The most characters of a name.
const MAX_NAME_CHARS: usize = 120;

/// A guest by kind, number and node.
#[derive(Clone, Copy)]
pub struct GuestPlace<'g> {
    pub kind: GuestKind,
    pub vmid: &'g str,
    pub node: &'g str,
}

/// The options that a call set and unset.
#[derive(Clone, Copy)]
pub struct ChangedOptions<'o> {
    pub set: &'o [String],
    pub unset: &'o [String],
}

impl ChangedOptions<'_> {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.set.iter().chain(self.unset).map(String::as_str)
    }
}

impl GuestPlace<'_> {
    /// Returns kind, number and name: `VM 310 "eval"`.
    fn label(&self, name: &str) -> String {
        let mut text = format!("{} {}", kind_name(self.kind), self.vmid);
        if !name.is_empty() {
            push_name(&mut text, name);
        }
        text
    }

    /// Describes the state of the guest: `VM 310 "eval" is running on pve1`.
    pub fn describe_state(&self, status: &Map<String, Value>) -> String {
        let mut text = self.label(text_of(status, "name"));
        let _ = write!(text, " is {} on {}", describe_power(status), quote_word(self.node));
        let lock = text_of(status, "lock");
        if !lock.is_empty() {
            let _ = write!(text, ", locked ({})", quote_word(lock));
        }
        let ha = status.get("ha").and_then(Value::as_object).filter(|ha| ha.get("managed").is_some_and(is_true));
        if let Some(ha) = ha.filter(|ha| !text_of(ha, "state").is_empty()) {
            let _ = write!(text, "; HA state {}", quote_word(text_of(ha, "state")));
        }
        text
    }

    /// Describes a guest that was deleted.
    pub fn describe_removal(&self, name: &str, is_gone: bool) -> String {
        let end = if is_gone { "is gone" } else { "is still there" };
        format!("{} {end}", self.label(name))
    }

    /// Describes the changed options by the rows of `pending`: those that are active, and those that wait.
    pub fn describe_options(&self, rows: &[Value], changed: ChangedOptions<'_>) -> String {
        let find = |name: &str| rows.iter().find(|row| row.get("key").is_some_and(|key| *key == name));
        let name_key = if self.kind == GuestKind::Qemu { "name" } else { "hostname" };
        let name = find(name_key).and_then(|row| row.get("pending").or(row.get("value"))).and_then(Value::as_str);
        let (mut active, mut waiting) = (Vec::new(), Vec::new());
        for option in changed.names() {
            let row = find(option);
            let member = |key: &str| row.and_then(|row| row.get(key)).filter(|value| !value.is_null());
            let show =
                |value: Option<&Value>| value.map_or("not set".into(), |value| show_cluster_value(option, value));
            let option = quote_word(option);
            match (member("pending"), member("delete").is_some_and(is_true)) {
                (None, false) => active.push(format!("{option} {}", show(member("value")))),
                (next, _) => waiting.push(format!("{option} {} (until then {})", show(next), show(member("value")))),
            }
        }
        let mut text = format!("{} on {}", self.label(name.unwrap_or_default()), quote_word(self.node));
        if !active.is_empty() {
            let _ = write!(text, " now has {}", join(&active));
        }
        let is_other = |row: &&Value| {
            let waits = row.get("pending").is_some() || row.get("delete").is_some_and(is_true);
            waits && row.get("key").and_then(Value::as_str).is_some_and(|key| changed.names().all(|name| name != key))
        };
        let others: Vec<String> =
            rows.iter().filter(is_other).filter_map(|row| Some(quote_word(row.get("key")?.as_str()?))).collect();
        match waiting.as_slice() {
            [] if others.is_empty() => text.push_str("; nothing waits for a restart"),
            [] => drop(write!(text, "; still waiting for its next start: {}", join(&others))),
            waiting => {
                let separator = if active.is_empty() { "" } else { ";" };
                let _ = write!(text, "{separator} waits for its next start with {}", join(waiting));
            }
        }
        if changed.names().any(has_disk_name) {
            let unused = rows.iter().filter_map(|row| Some((row.get("key")?.as_str()?, row.get("value")?)));
            push_unused(&mut text, unused);
        }
        text
    }

    /// Describes the disks that a change left.
    pub fn describe_disks(&self, config: &Map<String, Value>, disk: &str) -> String {
        let name = if self.kind == GuestKind::Qemu { "name" } else { "hostname" };
        let mut text = self.label(text_of(config, name));
        let _ = match config.get(disk) {
            Some(value) => write!(text, ": {} is now {}", quote_word(disk), show_cluster_value(disk, value)),
            None => write!(text, " has no {} now", quote_word(disk)),
        };
        push_unused(&mut text, config.iter().map(|(key, value)| (key.as_str(), value)));
        text
    }

    /// Describes the snapshots of the guest, and the one that a change made or deleted.
    pub fn describe_snapshots(&self, guest_name: &str, rows: &[Value], snapshot: &str, utc_offset: i32) -> String {
        let mut text = self.label(guest_name);
        let names: Vec<String> =
            rows.iter().filter_map(snapshot_name).map(|name| quote(name, MAX_NAME_CHARS)).collect();
        match rows.iter().find(|row| snapshot_name(row) == Some(snapshot)) {
            Some(row) => {
                let _ = write!(text, " has snapshot {}", quote(snapshot, MAX_NAME_CHARS));
                if let Some(time) = row.get("snaptime").and_then(read_count) {
                    let _ = write!(text, " of {}", format_local_time(time, utc_offset));
                }
                text.push_str(if row.get("vmstate").is_some_and(is_true) {
                    ", with the memory"
                } else {
                    ", disks only"
                });
                if names.len() > 1 {
                    let _ = write!(text, "; {} snapshots: {}", names.len(), join(&names));
                }
            }
            None if names.is_empty() => drop(write!(text, " has no snapshot now")),
            None => {
                let _ = write!(text, " has no snapshot {} now, but {}", quote(snapshot, MAX_NAME_CHARS), join(&names));
            }
        }
        text
    }
}

/// Names the unused disks among the options of a guest.
fn push_unused<'o>(text: &mut String, options: impl Iterator<Item = (&'o str, &'o Value)>) {
    let unused = options.filter(|(key, _)| key.starts_with("unused") && has_disk_name(key));
    let unused: Vec<String> =
        unused.map(|(key, value)| format!("{} {}", quote_word(key), show_cluster_value(key, value))).collect();
    if !unused.is_empty() {
        let _ = write!(text, "; unused and kept: {}", join(&unused));
    }
}

/// Returns the reason for the state of a guest after a rollback to this snapshot, if the snapshot explains it.
pub fn explain_rollback(rows: &[Value], snapshot: &str, status: &Map<String, Value>) -> Option<&'static str> {
    let row = rows.iter().find(|row| snapshot_name(row) == Some(snapshot))?;
    let ha = find_ha_state(status);
    let is_wanted = ha.is_some_and(|ha| is_start_state(text_of(ha, "state")));
    match (row.get("vmstate").is_some_and(is_true), text_of(status, "status"), ha) {
        (true, "running", None) => Some(", because the snapshot has the memory"),
        (true, "running", Some(_)) => Some("; the snapshot has the memory"),
        (false, "stopped", None) => Some(", because the snapshot has no memory"),
        (false, "stopped", Some(_)) if is_wanted => Some("; the snapshot has no memory, and HA starts the guest again"),
        (false, "stopped", Some(_)) => Some("; the snapshot has no memory"),
        _ => None,
    }
}

/// Describes a firewall rule with its place: `rule 0 of …: in ACCEPT proto tcp dport 22, on`.
pub fn describe_rule(list: Option<&str>, rule: &Map<String, Value>) -> String {
    let shown = |name: &str| rule.get(name).map(to_text).filter(|value| !value.is_empty());
    let list = list.map(|list| format!(" of {list}")).unwrap_or_default();
    let mut text = format!("rule {}{list}:", shown("pos").unwrap_or_default());
    for name in ["type", "action"] {
        let _ = write!(text, " {}", quote_word(&shown(name).unwrap_or_default()));
    }
    for name in ["macro", "iface", "source", "dest", "proto", "sport", "dport", "icmp-type"] {
        if let Some(value) = shown(name) {
            let _ = write!(text, " {name} {}", quote_word(&value));
        }
    }
    text.push_str(if rule.get("enable").is_some_and(is_true) { ", on" } else { ", off" });
    text
}

/// Describes an object by its changed options, or by all: `/access/users/bob@pve now has comment x`.
pub fn describe_object(
    path: &str,
    object: &Map<String, Value>,
    changed: Option<ChangedOptions<'_>>,
    utc_offset: i32,
) -> String {
    let show = |name: &str| match object.get(name).filter(|value| !value.is_null()) {
        // Only API tokens have it.
        Some(value) if name == "privsep" && !is_true(value) => "privsep 0: every privilege of its user".to_owned(),
        Some(value) => format!("{} {}", quote_word(name), show_option(name, value, utc_offset)),
        None => format!("{} not set", quote_word(name)),
    };
    let is_shown = |name: &&String| {
        !matches!(name.as_str(), "digest" | "type") && !matches!(to_text(&object[*name]).as_str(), "" | "null")
    };
    let (verb, list): (&str, Vec<String>) = match changed {
        Some(changed) => (" now has ", changed.names().map(show).collect()),
        None => (" is there: ", object.keys().filter(is_shown).map(|name| show(name)).collect()),
    };
    if list.is_empty() { format!("{path} is there") } else { format!("{path}{verb}{}", join(&list)) }
}

/// Describes an object that was deleted.
pub fn describe_removal(path: &str, is_gone: bool) -> String {
    let end = if is_gone { "is gone" } else { "is still there" };
    format!("{path} {end}")
}

/// Describes a resource of the HA manager by its row of `status/current`, or that it has none.
pub fn describe_ha(sid: &str, row: Option<&Map<String, Value>>) -> String {
    let Some(row) = row else { return format!("HA does not manage {} now", quote_word(sid)) };
    let word = |key: &str| quote_word(text_of(row, key));
    let mut text = format!("HA manages {}, state {}", quote_word(sid), word("state"));
    let wanted = text_of(row, "request_state");
    if !wanted.is_empty() && wanted != text_of(row, "state") {
        let _ = write!(text, ", and wanted {}", quote_word(wanted));
    }
    text
}

/// Describes the grants on one path of the access control list to these users, groups and tokens. Other grants on it are
/// described if they are few, and counted otherwise.
pub fn describe_grants(path: &str, rows: &[Value], grantees: &[&str]) -> String {
    let text = |row: &Value, name: &str| row.get(name).map(to_text).unwrap_or_default();
    let describe = |row: &&Value| {
        let below = if row.get("propagate").is_some_and(is_true) { "and below" } else { "only here" };
        format!("{} has {} ({below})", quote_word(&text(row, "ugid")), quote_word(&text(row, "roleid")))
    };
    let on_path = rows.iter().filter(|row| text(row, "path") == path);
    let (own, others): (Vec<&Value>, Vec<&Value>) =
        on_path.partition(|row| grantees.contains(&text(row, "ugid").as_str()));
    let has_none = |grantee: &&&str| own.iter().all(|row| text(row, "ugid") != **grantee);
    let without = grantees.iter().filter(has_none).map(|grantee| format!("{} has no role", quote_word(grantee)));
    let mut grants: Vec<String> = own.iter().map(describe).chain(without).collect();
    match others.len() {
        0..=MAX_OTHER_GRANTS => grants.extend(others.iter().map(describe)),
        more => grants.push(format!("{more} more entries")),
    }
    match grants.as_slice() {
        [] => format!("On {} no role is granted now", quote_word(path)),
        grants => format!("On {} now: {}", quote_word(path), join(grants)),
    }
}

/// Describes the members of a pool.
pub fn describe_pool(pool: &str, members: &[Value]) -> String {
    let names: Vec<String> =
        members.iter().map(|member| quote_word(&member.get("id").map(to_text).unwrap_or_default())).collect();
    match names.as_slice() {
        [] => format!("pool {} has no members", quote_word(pool)),
        names => format!("pool {} has {}: {}", quote_word(pool), count(names.len(), "member"), join(names)),
    }
}

/// Describes a backup file.
pub fn describe_backup(row: &Map<String, Value>, utc_offset: i32) -> String {
    let mut text = format!("backup {}", quote_word(text_of(row, "volid")));
    if let Some(size) = row.get("size").and_then(read_count) {
        text.push_str(" has ");
        push_byte_size(&mut text, size as f64);
    }
    if let Some(time) = row.get("ctime").and_then(read_count) {
        let _ = write!(text, ", of {}", format_local_time(time, utc_offset));
    }
    text
}

/// Says that a call made no backup of a guest. `elsewhere` is another node that the guest is on.
pub fn describe_missing_backup(vmid: &str, storage: &str, node: &str, elsewhere: Option<&str>) -> String {
    let reason = elsewhere.map(|other| {
        let (node, other) = (quote_word(node), quote_word(other));
        format!(": it is on {other}, and a backup on {node} skips guests of other nodes")
    });
    format!("no new backup of {} is on {}{}", quote_word(vmid), quote_word(storage), reason.unwrap_or_default())
}

/// Joins the first items with commas.
fn join(items: &[String]) -> String {
    let mut text = items.iter().take(MAX_ITEMS).map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(more @ 1..) = items.len().checked_sub(MAX_ITEMS) {
        let _ = write!(text, " and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_state_after_a_rollback_is_explained_by_the_snapshot_only_if_it_is_the_reason() {
        let rows = [json!({"name": "full", "vmstate": 1}), json!({"name": "disks"}), json!({"name": "current"})];
        let of_ha = |status, state| json!({"status": status, "ha": {"managed": 1, "state": state}});
        for (snapshot, status, expected) in [
            ("full", json!({"status": "running"}), Some(", because the snapshot has the memory")),
            ("full", json!({"status": "stopped"}), None),
            ("disks", json!({"status": "stopped"}), Some(", because the snapshot has no memory")),
            ("disks", json!({"status": "running"}), None),
            ("disks", of_ha("running", "started"), None),
            ("disks", of_ha("stopped", "stopped"), Some("; the snapshot has no memory")),
            ("disks", of_ha("stopped", "started"), Some("; the snapshot has no memory, and HA starts the guest again")),
            ("gone", json!({"status": "stopped"}), None),
        ] {
            let Value::Object(status) = status else { unreachable!() };
            assert_eq!(explain_rollback(&rows, snapshot, &status), expected, "{snapshot} {status:?}");
        }
    }

    #[test]
    fn a_token_with_the_privileges_of_its_user_is_named_as_such() {
        for (value, expected) in [
            (json!(0), "privsep 0: every privilege of its user"),
            (json!("0"), "privsep 0: every"),
            (json!(1), "privsep 1"),
        ] {
            let Value::Object(object) = json!({"privsep": value}) else { unreachable!() };
            let text = describe_object("/access/users/a@pve/token/t", &object, None, 0);
            assert!(text.contains(expected) && (expected.contains("every") || !text.contains("every")), "{text}");
        }
    }
}
