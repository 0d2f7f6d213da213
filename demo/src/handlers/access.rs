//! Privileges, groups, roles and access lists.

use crate::error::{ApiError, ApiResult, fail, parameter_error};
use crate::invocation::Invocation;
use crate::model::accounts::{AclEntry, Group, Role, all_privileges, is_privilege_of};
use crate::options::Release;
use crate::permissions::{Privileges, privileges_on};
use crate::state::ClusterState;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Returns an object that has a 1 for each privilege, and a 0 for one that does not hold below the path.
fn privilege_object(release: Release, privileges: Privileges) -> Map<String, Value> {
    let privileges = privileges.into_iter().filter(|(privilege, _)| is_privilege_of(release, privilege));
    privileges.map(|(privilege, propagates)| (privilege.into(), u8::from(propagates).into())).collect()
}

/// GET /access/permissions
pub(crate) fn list_permissions(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let subject = call.optional_text("userid").unwrap_or(&call.caller.id);
    if subject != call.caller.id {
        call.require(state, "/access", "Sys.Audit")?;
    }
    let top = ["/", "/access", "/access/groups", "/mapping", "/nodes", "/pool", "/sdn", "/storage", "/vms"];
    let members = state.guests.values().filter(|guest| guest.pool.is_some());
    let paths: BTreeSet<String> = match call.optional_text("path") {
        Some(path) => [path.into()].into(),
        None => top
            .into_iter()
            .chain(state.accounts.acl.iter().map(|entry| entry.path.as_str()))
            .map(String::from)
            .chain(members.map(|guest| format!("/vms/{}", guest.vmid)))
            .collect(),
    };
    let rows = paths.into_iter().map(|path| {
        let privileges = privilege_object(call.release, privileges_on(state, subject, &path));
        (path, privileges)
    });
    let granted = rows.filter(|(_, privileges)| !privileges.is_empty());
    Ok(Value::Object(granted.map(|(path, privileges)| (path, privileges.into())).collect()))
}

/// GET /access/roles
pub(crate) fn list_roles(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let row = |(id, role): (&String, &Role)| {
        let is_known = |privilege: &&str| is_privilege_of(call.release, privilege);
        let privileges: Vec<&str> = role.privileges.iter().copied().filter(is_known).collect();
        json!({"roleid": id, "privs": privileges.join(","), "special": u8::from(role.special)})
    };
    Ok(state.accounts.roles.iter().map(row).collect())
}

/// GET /access/roles/{roleid}
pub(crate) fn read_role(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let id = call.text("roleid");
    let Some(role) = state.accounts.roles.get(id) else { return fail(format!("role '{id}' does not exist")) };
    Ok(privilege_object(call.release, role.privileges.iter().map(|privilege| (*privilege, true)).collect()).into())
}

/// Returns the privileges that the call lists in `privs`.
fn listed_privileges(call: &Invocation<'_>) -> ApiResult<BTreeSet<&'static str>> {
    call.list("privs")
        .map(|name| match all_privileges().find(|known| *known == name && is_privilege_of(call.release, known)) {
            Some(privilege) => Ok(privilege),
            None => parameter_error("privs", format!("invalid format - invalid privilege '{name}'\n")),
        })
        .collect()
}

/// POST /access/roles
pub(crate) fn create_role(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let (id, privileges) = (call.text("roleid"), listed_privileges(call)?);
    if id.get(..3).is_some_and(|prefix| prefix.eq_ignore_ascii_case("PVE")) {
        return parameter_error("roleid", "cannot use role ID starting with the (case-insensitive) 'PVE' namespace");
    }
    if state.accounts.roles.contains_key(id) {
        return fail(format!("create role failed: role '{id}' already exists"));
    }
    state.accounts.roles.insert(id.into(), Role { special: false, privileges });
    Ok(Value::Null)
}

/// Fails unless the role of the call exists and is not predefined.
fn changeable_role<'s>(state: &'s mut ClusterState, call: &Invocation<'_>, change: &str) -> ApiResult<&'s mut Role> {
    let id = call.text("roleid");
    match state.accounts.roles.get_mut(id) {
        None => fail(format!("{change} role failed: role '{id}' does not exist")),
        Some(role) if role.special => {
            let participle = if change == "delete" { "deleted" } else { "modified" };
            fail(format!("auto-generated role '{id}' cannot be {participle}"))
        }
        Some(role) => Ok(role),
    }
}

/// PUT /access/roles/{roleid}: sets the privileges, or adds some with `append`.
pub(crate) fn update_role(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let privileges = listed_privileges(call)?;
    let role = changeable_role(state, call, "update")?;
    if !call.flag("append") {
        role.privileges.clear();
    }
    role.privileges.extend(privileges);
    Ok(Value::Null)
}

/// DELETE /access/roles/{roleid}: also removes the role from the access lists.
pub(crate) fn delete_role(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    changeable_role(state, call, "delete")?;
    let id = call.text("roleid");
    state.accounts.roles.remove(id);
    state.accounts.acl.retain(|entry| entry.role != id);
    Ok(Value::Null)
}

/// GET /access/groups
pub(crate) fn list_groups(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let privileges = ["Sys.Audit", "Group.Allocate", "User.Modify"];
    if !call.allows_any(state, "/access/groups", &privileges) {
        return Ok(json!([]));
    }
    let row = |(id, group): (&String, &Group)| {
        let members: Vec<&str> = group.members.iter().map(String::as_str).collect();
        let mut row = json!({"groupid": id, "users": members.join(",")});
        if let Some(comment) = &group.comment {
            row["comment"] = comment.as_str().into();
        }
        row
    };
    Ok(state.accounts.groups.iter().map(row).collect())
}

/// GET /access/groups/{groupid}
pub(crate) fn read_group(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let id = call.text("groupid");
    let Some(group) = state.accounts.groups.get(id) else { return fail(format!("group '{id}' does not exist")) };
    let mut row = json!({"members": group.members});
    if let Some(comment) = &group.comment {
        row["comment"] = comment.as_str().into();
    }
    Ok(row)
}

/// POST /access/groups
pub(crate) fn create_group(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let id = call.text("groupid");
    if state.accounts.groups.contains_key(id) {
        return fail(format!("create group failed: group '{id}' already exists"));
    }
    let comment = call.optional_text("comment").map(String::from);
    state.accounts.groups.insert(id.into(), Group { comment, ..Group::default() });
    Ok(Value::Null)
}

/// PUT /access/groups/{groupid}: changes the comment.
pub(crate) fn update_group(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let id = call.text("groupid");
    let Some(group) = state.accounts.groups.get_mut(id) else {
        return fail(format!("update group failed: group '{id}' does not exist"));
    };
    if let Some(comment) = call.optional_text("comment") {
        group.comment = Some(comment.into());
    }
    Ok(Value::Null)
}

/// DELETE /access/groups/{groupid}: also removes the group from the access lists.
pub(crate) fn delete_group(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let id = call.text("groupid");
    if state.accounts.groups.remove(id).is_none() {
        return fail(format!("delete group failed: group '{id}' does not exist"));
    }
    state.accounts.acl.retain(|entry| entry.subject.strip_prefix('@') != Some(id));
    Ok(Value::Null)
}

/// Returns the privileges of which one allows a change of the access lists of a path (PVE: check_perm_modify).
fn modify_privileges(path: &str) -> &'static [&'static str] {
    const BY_FOLDER: [(&str, &[&str]); 3] = [
        ("/storage/", &["Permissions.Modify", "Datastore.Allocate"]),
        ("/vms/", &["Permissions.Modify", "VM.Allocate"]),
        ("/pool/", &["Permissions.Modify", "Pool.Allocate"]),
    ];
    BY_FOLDER
        .iter()
        .find(|(folder, _)| path.starts_with(folder))
        .map_or(&["Permissions.Modify"], |(_, privileges)| privileges)
}

/// GET /access/acl
pub(crate) fn list_acl(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let is_visible = |entry: &&AclEntry| {
        call.allows(state, "/access", "Sys.Audit")
            || call.allows_any(state, &entry.path, modify_privileges(&entry.path))
    };
    let row = |entry: &AclEntry| {
        let (kind, id) = match entry.subject.strip_prefix('@') {
            Some(group) => ("group", group),
            None if entry.subject.contains('!') => ("token", entry.subject.as_str()),
            None => ("user", entry.subject.as_str()),
        };
        json!({"path": entry.path, "type": kind, "ugid": id, "roleid": entry.role,
            "propagate": u8::from(entry.propagate)})
    };
    Ok(state.accounts.acl.iter().filter(is_visible).map(row).collect())
}

/// Returns the path without a last slash if access lists can have it (PVE: check_path).
fn normalize_acl_path(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let is_known = match parts.as_slice() {
        [] | ["access" | "nodes" | "pool" | "sdn" | "storage" | "vms" | "mapping"] => true,
        ["access", "groups" | "realm"] | ["access", "groups" | "realm", _] => true,
        ["nodes" | "storage", _] | ["pool", _, ..] => parts.len() <= 4,
        ["vms", vmid] => vmid.parse::<u32>().is_ok_and(|vmid| vmid >= 100),
        ["sdn", "zones" | "controllers" | "dns" | "fabrics" | "ipams", ..] => parts.len() <= 5,
        ["mapping", "dir" | "pci" | "usb" | "notifications", ..] => parts.len() <= 3,
        _ => false,
    };
    is_known.then(|| format!("/{}", parts.join("/")))
}

/// PUT /access/acl
pub(crate) fn update_acl(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let path = call.text("path");
    let Some(path) = normalize_acl_path(path) else {
        return parameter_error("path", format!("invalid ACL path '{path}'"));
    };
    call.require_any(state, &path, modify_privileges(&path))?;
    let subjects = call
        .list("users")
        .chain(call.list("tokens"))
        .map(String::from)
        .chain(call.list("groups").map(|group| format!("@{group}")))
        .collect::<Vec<String>>();
    if subjects.is_empty() {
        let absent = "either 'users', 'groups' or 'tokens' is required.";
        return parameter_error("users", absent);
    }
    let refuse = |reason: String| fail(format!("ACL update failed: {reason}"));
    let may_grant_all = call.allows(state, &path, "Permissions.Modify");
    for role in call.list("roles") {
        let Some(role) = state.accounts.roles.get(role) else {
            return refuse(format!("role '{role}' does not exist"));
        };
        let lacking = role.privileges.iter().find(|privilege| !call.allows(state, &path, privilege));
        if let Some(lacking) = lacking.filter(|_| !may_grant_all && !call.flag("delete")) {
            return Err(ApiError::Forbidden(format!("{path}, {lacking}")));
        }
    }
    for subject in &subjects {
        match (subject.strip_prefix('@'), subject.split_once('!')) {
            (Some(group), _) if !state.accounts.groups.contains_key(group) => {
                return refuse(format!("group '{group}' does not exist"));
            }
            (None, Some((user, token))) if !state.accounts.tokens.contains_key(subject) => {
                return refuse(format!("no such token '{token}' for user '{user}'"));
            }
            (None, None) if !state.accounts.users.contains_key(subject) => {
                return refuse(format!("user '{subject}' does not exist"));
            }
            _ => {}
        }
    }
    for subject in subjects {
        for role in call.list("roles") {
            state.accounts.acl.retain(|e| (&e.path, &e.subject, e.role.as_str()) != (&path, &subject, role));
            if !call.flag("delete") {
                let propagate = call.integer("propagate") != Some(0);
                let (path, subject, role) = (path.clone(), subject.clone(), role.into());
                state.accounts.acl.push(AclEntry { path, subject, role, propagate });
            }
        }
    }
    Ok(Value::Null)
}

/// The realms: their type and comment.
const REALMS: [(&str, &str); 2] =
    [("pam", "Linux PAM standard authentication"), ("pve", "Proxmox VE authentication server")];

/// GET /access/domains: the realms, which need no token.
pub(crate) fn list_realms(_: &mut ClusterState, _: &Invocation<'_>) -> ApiResult {
    let row = |(realm, comment)| {
        let mut row = json!({"realm": realm, "type": realm, "comment": comment});
        if realm == "pve" {
            row["default"] = 1.into();
        }
        row
    };
    Ok(REALMS.into_iter().map(row).collect())
}

/// GET /access/domains/{realm}
pub(crate) fn read_realm(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let realm = call.text("realm");
    match REALMS.into_iter().find(|(name, _)| *name == realm) {
        Some((kind, comment)) => {
            Ok(json!({"type": kind, "comment": comment, "digest": "18e436b071507277e2b141f0d8470f3de55d1f71"}))
        }
        None => fail(format!("domain '{realm}' does not exist")),
    }
}
