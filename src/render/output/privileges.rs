//! Privileges in short: those of one group with their group once, `VM.{Audit,Config.{CPU,Memory}}`.

use crate::base::json_scan::find_member;
use crate::render::cell::{MAX_CELL_CHARS, strip_quotes};
use crate::render::output::json_path::{parse_number, unquote, walk};
use crate::render::output::key_order::compare_keys;
use crate::render::output::options::{AnswerTopic, OutputOptions};
use crate::render::output::page_writer::RenderedResult;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;

/// The most members of an object, and the most names of a role. Proxmox has about 50 privileges.
const MAX_NAMES: usize = 500;

/// The levels of groups. (PVE: `VM.Config.Disk` has two.)
const MAX_LEVELS: usize = 2;

/// The privileges of Proxmox VE 9.
const PRIVILEGES: [&str; 47] = [
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "Group.Allocate",
    "Mapping.Audit",
    "Mapping.Modify",
    "Mapping.Use",
    "Permissions.Modify",
    "Pool.Allocate",
    "Pool.Audit",
    "Realm.Allocate",
    "Realm.AllocateUser",
    "SDN.Allocate",
    "SDN.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Console",
    "Sys.Incoming",
    "Sys.Modify",
    "Sys.PowerMgmt",
    "Sys.Syslog",
    "User.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Backup",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Console",
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileSystemMgmt",
    "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted",
    "VM.Migrate",
    "VM.PowerMgmt",
    "VM.Replicate",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
];

impl OutputOptions {
    /// Renders roles, a role or the rights on paths in short. Returns `None` for any other answer.
    pub(super) fn summarize_privileges(&self, raw: &str) -> Option<RenderedResult> {
        if raw.starts_with('[') { self.summarize_roles(raw) } else { summarize_rights(raw) }
    }

    /// Renders the list of roles. Those of Proxmox have the number of their privileges.
    fn summarize_roles(&self, list: &str) -> Option<RenderedResult> {
        let (mut rows, mut built_in, mut is_counted) = (Vec::new(), Vec::new(), false);
        let are_roles = walk(list, &mut |_, row| {
            let Ok(Value::Object(mut role)) = serde_json::from_str(row) else { return false };
            let privileges = role.get("privs").and_then(Value::as_str).unwrap_or_default();
            let names: Vec<&str> = privileges.split([',', ' ']).filter(|name| !name.is_empty()).collect();
            if names.len() > MAX_NAMES {
                return false;
            }
            let name = find_member(row, "roleid").map_or("", strip_quotes);
            if find_member(row, "special").and_then(parse_number) == Some(1.0) && !name.is_empty() {
                built_in.push(format!("{name} {}", names.len()));
                return true;
            }
            let folded = fold_names(&names);
            let is_long = folded.len() > MAX_CELL_CHARS;
            is_counted |= is_long;
            let short = if is_long { count_groups(&names) } else { folded };
            role.insert("privs".into(), short.into());
            role.remove("special");
            rows.push(Value::Object(role));
            true
        });
        let whole = Self { topic: AnswerTopic::Other, ..self.clone() };
        let rendered = whole.render_data(&Value::from(rows.clone()).to_string(), None, 0).ok().filter(|_| are_roles)?;
        let (mut text, mut notes) = (rendered.text, rendered.note.into_iter().collect::<Vec<_>>());
        if is_counted {
            notes.push("privileges of some are counted: GET /access/roles/{roleid} has them".to_owned());
        }
        if !built_in.is_empty() {
            text = if rows.is_empty() { String::new() } else { text + "\n" };
            // Writing into a String cannot fail.
            let _ = writeln!(text, "built-in, with the number of privileges: {}", built_in.join(", "));
            notes.push("GET /access/roles/{roleid} has the privileges of a built-in role".to_owned());
        }
        Some(RenderedResult { text, note: Some(notes.join("; ")).filter(|note| !note.is_empty()) })
    }
}

/// Renders the privileges of a role, or those on each path.
fn summarize_rights(object: &str) -> Option<RenderedResult> {
    let mut members = Vec::new();
    let is_object = walk(object, &mut |key, raw| {
        members.push((strip_quotes(key), raw));
        members.len() <= MAX_NAMES
    });
    if !is_object || members.is_empty() {
        return None;
    }
    if members.iter().all(|(_, raw)| parse_number(raw) == Some(1.0)) {
        let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
        return Some(RenderedResult { text: format!("{}\n", fold_names(&names)), note: None });
    }
    members.sort_by(|(a, _), (b, _)| compare_keys(a, b));
    // The privileges, and the paths with exactly these.
    let mut rights: Vec<(String, Vec<&str>)> = Vec::new();
    for (path, raw) in &members {
        let text = fold_rights(raw).filter(|_| path.starts_with('/'))?;
        match rights.iter_mut().find(|(other, _)| *other == text) {
            Some((_, paths)) => paths.push(path),
            None => rights.push((text, vec![path])),
        }
    }
    let mut text = String::new();
    for (privileges, paths) in rights {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{}: {privileges}", paths[0]);
        if paths.len() > 1 {
            let _ = writeln!(text, "the same as {}: {}", paths[0], paths[1..].join(", "));
        }
    }
    let held: HashSet<Cow<'_, str>> = members.iter().flat_map(|(_, raw)| list_keys(raw)).collect();
    let missing: Vec<&str> = PRIVILEGES.iter().copied().filter(|name| !held.contains(*name)).collect();
    // (PVE 8 has neither the privileges of the guest agent nor VM.Replicate, and has VM.Monitor.)
    let is_older = held.contains("VM.Monitor");
    let is_known = |name: &&str| !is_older || !name.starts_with("VM.GuestAgent.") && *name != "VM.Replicate";
    let missing: Vec<&str> = missing.into_iter().filter(is_known).collect();
    let note = (!missing.is_empty()).then(|| format!("held on none of these paths: {}", fold_names(&missing)));
    Some(RenderedResult { text, note })
}

fn list_keys(object: &str) -> Vec<Cow<'_, str>> {
    let mut keys = Vec::new();
    walk(object, &mut |key, _| {
        keys.push(unquote(key));
        true
    });
    keys
}

/// Returns the privileges on a path: first those that hold below it too.
fn fold_rights(privileges: &str) -> Option<String> {
    let (mut below, mut here) = (Vec::new(), Vec::new());
    let is_object = privileges.starts_with('{')
        && walk(privileges, &mut |name, raw| {
            let names = if parse_number(raw) == Some(0.0) { &mut here } else { &mut below };
            names.push(strip_quotes(name));
            here.len() + below.len() <= MAX_NAMES
        });
    let text = match (below.is_empty(), here.is_empty()) {
        (true, true) => "-".to_owned(),
        (false, true) => fold_names(&below),
        (true, false) => format!("only here, not below: {}", fold_names(&here)),
        (false, false) => format!("{}; only here, not below: {}", fold_names(&below), fold_names(&here)),
    };
    is_object.then_some(text)
}

/// A group of names, or a name without one.
struct NameGroup<'a> {
    head: &'a str,
    /// The names within the group.
    rest: Vec<&'a str>,
}

fn group_names<'a>(names: &[&'a str]) -> Vec<NameGroup<'a>> {
    let mut groups: Vec<NameGroup<'a>> = Vec::new();
    for name in names {
        let (head, rest) = name.split_once('.').map_or((*name, None), |(head, rest)| (head, Some(rest)));
        match (groups.iter_mut().find(|group| group.head == head && !group.rest.is_empty()), rest) {
            (Some(group), Some(rest)) => group.rest.push(rest),
            (_, rest) => groups.push(NameGroup { head, rest: rest.into_iter().collect() }),
        }
    }
    groups
}

/// Returns names in their order. (PVE: a node sends them in any order.)
fn sort_names<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    sorted
}

/// Returns names in their order, with their groups once.
fn fold_names(names: &[&str]) -> String {
    fold_groups(&sort_names(names), MAX_LEVELS).join(", ")
}

/// Folds so many levels of groups.
fn fold_groups(names: &[&str], levels: usize) -> Vec<String> {
    if levels == 0 {
        return names.iter().map(|name| (*name).to_owned()).collect();
    }
    let folded = group_names(names).into_iter().map(|NameGroup { head, rest }| match rest.as_slice() {
        [] => head.to_owned(),
        [only] => format!("{head}.{only}"),
        all => format!("{head}.{{{}}}", fold_groups(all, levels - 1).join(",")),
    });
    folded.collect()
}

/// Returns the number of names, and that of each group.
fn count_groups(names: &[&str]) -> String {
    let groups = group_names(&sort_names(names)).into_iter();
    let groups = groups.map(|group| format!("{} of {}", group.rest.len().max(1), group.head));
    match groups.collect::<Vec<_>>().as_slice() {
        [only] => only.clone(),
        groups => format!("{}: {}", names.len(), groups.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(answer: &str) -> Option<(String, Option<String>)> {
        let options = OutputOptions {
            table: true,
            has_default_form: true,
            topic: AnswerTopic::Privileges,
            ..OutputOptions::default()
        };
        options.summarize_topic(answer).map(|rendered| (rendered.text, rendered.note))
    }

    #[test]
    fn names_have_their_group_once() {
        for (names, folded) in [
            ("VM.Audit", "VM.Audit"),
            ("VM.Audit VM.Console", "VM.{Audit,Console}"),
            (
                "Sys.Audit VM.Config.CPU VM.Config.Disk VM.Snapshot VM.Snapshot.Rollback",
                "Sys.Audit, VM.{Config.{CPU,Disk},Snapshot,Snapshot.Rollback}",
            ),
            ("VM.Audit Sys.Audit VM.Clone", "Sys.Audit, VM.{Audit,Clone}"),
            ("Custom Custom.A", "Custom, Custom.A"),
            ("A.B.C.D A.B.C.E", "A.{B.{C.D,C.E}}"),
            ("", ""),
        ] {
            assert_eq!(fold_names(&names.split_whitespace().collect::<Vec<_>>()), folded, "{names}");
        }
    }

    #[test]
    fn built_in_roles_are_counted_and_others_whole() {
        let many: Vec<String> = (0..13).map(|n| format!("VM.P{n}")).collect();
        let many = many.join(",");
        let list = format!(
            r#"[{{"roleid":"Admin","privs":"Sys.Audit,{many}","special":1}},{{"roleid":"Own","privs":"{many}","special":0}},
                {{"roleid":"None","privs":"","special":1}}]"#
        );
        let (text, note) = render(&list).expect("a table");
        let mut own: Vec<String> = (0..13).map(|n| format!("P{n}")).collect();
        own.sort();
        let own = own.join(",");
        assert_eq!(
            text,
            format!("roleid\tprivs\nOwn\tVM.{{{own}}}\n\nbuilt-in, with the number of privileges: Admin 14, None 0\n")
        );
        assert_eq!(note.expect("a note"), "GET /access/roles/{roleid} has the privileges of a built-in role");
    }

    #[test]
    fn rights_are_shown_by_path_and_those_of_a_role_on_one_line() {
        let rights = r#"{"/vms":{"VM.Audit":1,"VM.Clone":1},"/":{"VM.Clone":1,"Sys.Audit":0},"/pool":{"VM.Audit":1,"VM.Clone":1},"/x":{"Sys.Audit":0}}"#;
        let (text, _) = render(rights).expect("rights");
        assert_eq!(
            text,
            "/: VM.Clone; only here, not below: Sys.Audit\n/pool: VM.{Audit,Clone}\nthe same as /pool: /vms\n/x: only here, \
             not below: Sys.Audit\n"
        );
        assert_eq!(render(r#"{"VM.Audit":1,"VM.Clone":1}"#).expect("a role").0, "VM.{Audit,Clone}\n");
        for other in ["{}", "[]", r#"{"a":2}"#, "7", r#"[1]"#, r#"{"/":[1]}"#, r#"{"/":{"a":1},"x":2}"#] {
            let rendered = render(other);
            assert!(rendered.as_ref().is_none_or(|(text, _)| text == "no rows\n"), "{other}: {rendered:?}");
        }
    }
}
