//! Users, groups, roles and access lists.

use super::tokens::user_tokens;
use crate::error::{ApiResult, fail};
use crate::invocation::Invocation;
use crate::model::accounts::{AclEntry, GROUPS, Group, ROLES, Role};
use crate::permissions::privileges_on;
use crate::state::ClusterState;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Returns an object that has a 1 for each privilege.
fn privilege_object<'a>(privileges: impl IntoIterator<Item = &'a &'static str>) -> Map<String, Value> {
    privileges.into_iter().map(|privilege| ((*privilege).into(), 1.into())).collect()
}

/// GET /access/permissions
pub(crate) fn list_permissions(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let subject = call.optional_text("userid").unwrap_or(&call.caller.id);
    if subject != call.caller.id {
        call.require(state, "/access", "Sys.Audit")?;
    }
    let top = ["/", "/access", "/access/groups", "/mapping", "/nodes", "/pool", "/sdn", "/storage", "/vms"];
    let paths: BTreeSet<&str> = match call.optional_text("path") {
        Some(path) => [path].into(),
        None => top.into_iter().chain(state.accounts.acl.iter().map(|entry| entry.path.as_str())).collect(),
    };
    let mut permissions = Map::new();
    for path in paths {
        let privileges = privilege_object(&privileges_on(state, subject, path));
        if !privileges.is_empty() {
            permissions.insert(path.into(), privileges.into());
        }
    }
    Ok(permissions.into())
}

/// GET /access/roles
pub(crate) fn list_roles(_: &mut ClusterState, _: &Invocation<'_>) -> ApiResult {
    let row =
        |role: &Role| json!({"roleid": role.id, "privs": role.privileges.join(","), "special": u8::from(role.special)});
    Ok(ROLES.iter().map(row).collect())
}

fn find_role(id: &str) -> ApiResult<&'static Role> {
    Role::find(id).map_or_else(|| fail(format!("role '{id}' does not exist")), Ok)
}

/// GET /access/roles/{roleid}
pub(crate) fn read_role(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    Ok(privilege_object(find_role(call.text("roleid"))?.privileges).into())
}

/// GET /access/groups
pub(crate) fn list_groups(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let sees_groups =
        ["Sys.Audit", "Group.Allocate", "User.Modify"].iter().any(|p| call.allows(state, "/access/groups", p));
    let groups = if sees_groups { GROUPS } else { &[] };
    let row = |group: &Group| json!({"groupid": group.id, "comment": group.comment, "users": group.members.join(",")});
    Ok(groups.iter().map(row).collect())
}

fn find_group(id: &str) -> ApiResult<&'static Group> {
    Group::find(id).map_or_else(|| fail(format!("group '{id}' does not exist")), Ok)
}

/// GET /access/groups/{groupid}
pub(crate) fn read_group(_: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let group = find_group(call.text("groupid"))?;
    Ok(json!({"comment": group.comment, "members": group.members}))
}

/// GET /access/acl
pub(crate) fn list_acl(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let is_visible = |entry: &&AclEntry| {
        call.allows(state, &entry.path, "Permissions.Modify") || call.allows(state, "/access", "Sys.Audit")
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

/// PUT /access/acl
pub(crate) fn update_acl(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let path = call.text("path");
    call.require(state, path, "Permissions.Modify")?;
    let mut subjects: Vec<String> = call.list("users").chain(call.list("tokens")).map(String::from).collect();
    for group in call.list("groups") {
        subjects.push(format!("@{}", find_group(group)?.id));
    }
    for role in call.list("roles") {
        find_role(role)?;
    }
    for subject in subjects {
        let is_known = match subject.split_once('!') {
            _ if subject.starts_with('@') => true,
            Some(_) => state.accounts.tokens.contains_key(&subject),
            None => state.accounts.users.contains_key(subject.as_str()),
        };
        if !is_known {
            return fail(format!("user '{subject}' does not exist"));
        }
        for role in call.list("roles") {
            state.accounts.acl.retain(|e| (e.path.as_str(), &e.subject, e.role.as_str()) != (path, &subject, role));
            if !call.flag("delete") {
                let propagate = call.integer("propagate") != Some(0);
                let (path, subject, role) = (path.into(), subject.clone(), role.into());
                state.accounts.acl.push(AclEntry { path, subject, role, propagate });
            }
        }
    }
    Ok(Value::Null)
}

/// GET /access/users
pub(crate) fn list_users(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let sees_all = ["Sys.Audit", "User.Modify"].iter().any(|p| call.allows(state, "/access/groups", p));
    let enabled = call.integer("enabled");
    let users = state
        .accounts
        .users
        .iter()
        .filter(|(id, _)| sees_all || **id == call.caller.user())
        .filter(|(_, user)| enabled.is_none() || user["enable"].as_i64() == enabled);
    let row = |(id, user): (&&str, &Value)| {
        let (_, realm) = id.rsplit_once('@').expect("a user id is user@realm");
        let mut row = user.clone();
        row["userid"] = (*id).into();
        row["realm-type"] = realm.into();
        if call.flag("full") {
            row["groups"] = Group::ids_of(id).join(",").into();
            row["tokens"] = user_tokens(state, id).into();
        }
        row
    };
    Ok(users.map(row).collect())
}

/// GET /access/users/{userid}
pub(crate) fn read_user(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let id = call.text("userid");
    let Some(user) = state.accounts.users.get(id) else { return fail(format!("no such user ('{id}')")) };
    let mut row = user.clone();
    row["groups"] = Group::ids_of(id).into();
    let by_name = |token: Value| (token["tokenid"].as_str().expect("the name of a token").into(), token);
    row["tokens"] = Value::Object(user_tokens(state, id).into_iter().map(by_name).collect());
    Ok(row)
}

/// GET /access/domains: the realms, which need no token.
pub(crate) fn list_realms(_: &mut ClusterState, _: &Invocation<'_>) -> ApiResult {
    Ok(json!([
        {"realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication"},
        {"realm": "pve", "type": "pve", "comment": "Proxmox VE authentication server", "default": 1},
    ]))
}
