//! Users.

use super::tokens::user_tokens;
use crate::error::{ApiError, ApiResult, fail};
use crate::invocation::Invocation;
use crate::model::accounts::User;
use crate::state::ClusterState;
use serde_json::{Value, json};

/// The properties of a user that a caller can set.
const PROPERTIES: [&str; 7] = ["comment", "email", "enable", "expire", "firstname", "keys", "lastname"];

/// Fails unless the user of the call exists.
pub(super) fn require_user(state: &ClusterState, call: &Invocation<'_>) -> ApiResult<()> {
    let id = call.text("userid");
    if state.accounts.users.contains_key(id) { Ok(()) } else { fail(format!("no such user ('{id}')")) }
}

/// Fails unless the user exists, and the caller has one of the privileges on all users or on a group of the user
/// (PVE: userid-group).
pub(super) fn require_on_user(state: &ClusterState, call: &Invocation<'_>, privileges: &[&str]) -> ApiResult<()> {
    require_user(state, call)?;
    let groups = state.accounts.groups_of(call.text("userid"));
    let on_group = |group: &&str| call.allows_any(state, &format!("/access/groups/{group}"), privileges);
    if call.allows_any(state, "/access/groups", privileges) || groups.iter().any(on_group) {
        Ok(())
    } else {
        Err(ApiError::Forbidden(String::new()))
    }
}

/// Fails unless the caller is the user of the call, by a ticket, or may modify the user.
pub(super) fn require_self_or_modify(state: &ClusterState, call: &Invocation<'_>) -> ApiResult<()> {
    require_user(state, call)?;
    if call.caller.id == call.text("userid") { Ok(()) } else { require_on_user(state, call, &["User.Modify"]) }
}

/// Fails unless the caller may create and remove users of the realm.
fn require_realm(state: &ClusterState, call: &Invocation<'_>) -> ApiResult<()> {
    let (_, realm) = call.text("userid").rsplit_once('@').expect("a validated user id is user@realm");
    call.require(state, &format!("/access/realm/{realm}"), "Realm.AllocateUser")
}

/// Returns the type of the user's realm, if the realm exists.
fn realm_type(id: &str) -> Option<&str> {
    id.rsplit_once('@').map(|(_, realm)| realm).filter(|realm| matches!(*realm, "pam" | "pve"))
}

/// GET /access/users
pub(crate) fn list_users(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let sees_all = call.allows_any(state, "/access/groups", &["Sys.Audit", "User.Modify"]);
    let enabled = call.integer("enabled");
    let users = state
        .accounts
        .users
        .iter()
        .filter(|(id, _)| sees_all || **id == call.caller.id)
        .filter(|(_, user)| enabled.is_none() || user.properties.get("enable").and_then(Value::as_i64) == enabled);
    let row = |(id, user): (&String, &User)| {
        let mut row = json!(user.properties);
        row["userid"] = id.as_str().into();
        if let Some(kind) = realm_type(id) {
            row["realm-type"] = kind.into();
        }
        if call.flag("full") {
            row["groups"] = state.accounts.groups_of(id).join(",").into();
            row["tokens"] = user_tokens(state, id).into();
        }
        row
    };
    Ok(users.map(row).collect())
}

/// GET /access/users/{userid}
pub(crate) fn read_user(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_on_user(state, call, &["User.Modify", "Sys.Audit"])?;
    let id = call.text("userid");
    let mut row = json!(state.accounts.users[id].properties);
    row["groups"] = state.accounts.groups_of(id).into();
    let by_name = |mut token: Value| {
        let name = token["tokenid"].as_str().expect("the name of a token").to_string();
        token.as_object_mut().expect("a token is an object").remove("tokenid");
        (name, token)
    };
    row["tokens"] = Value::Object(user_tokens(state, id).into_iter().map(by_name).collect());
    Ok(row)
}

/// Puts the user into the groups of the call.
fn join_groups(state: &mut ClusterState, call: &Invocation<'_>, change: &str) -> ApiResult<()> {
    let id = call.text("userid");
    if let Some(unknown) = call.list("groups").find(|group| !state.accounts.groups.contains_key(*group)) {
        return fail(format!("{change} user failed: no such group '{unknown}'"));
    }
    if call.optional_text("groups").is_some() && !call.flag("append") {
        for group in state.accounts.groups.values_mut() {
            group.members.remove(id);
        }
    }
    for group in call.list("groups") {
        state.accounts.groups.get_mut(group).expect("a group that was found").members.insert(id.into());
    }
    Ok(())
}

/// POST /access/users
pub(crate) fn create_user(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_realm(state, call)?;
    let may_modify = call.allows(state, "/access/groups", "User.Modify");
    let on_group = |group: &str| call.allows(state, &format!("/access/groups/{group}"), "User.Modify");
    if !may_modify && (call.list("groups").next().is_none() || !call.list("groups").all(on_group)) {
        return Err(ApiError::Forbidden("/access/groups, User.Modify".into()));
    }
    let id = call.text("userid");
    if state.accounts.users.contains_key(id) {
        return fail(format!("create user failed: user '{id}' already exists"));
    }
    join_groups(state, call, "create")?;
    let mut user = User { password: call.optional_text("password").map(String::from), ..User::default() };
    user.properties.insert("enable".into(), 1.into());
    user.properties.insert("expire".into(), 0.into());
    set_properties(&mut user, call);
    state.accounts.users.insert(id.into(), user);
    Ok(Value::Null)
}

fn set_properties(user: &mut User, call: &Invocation<'_>) {
    let properties = call.params.iter().filter(|(key, _)| PROPERTIES.contains(&key.as_str()));
    user.properties.extend(properties.map(|(key, value)| (key.clone(), value.clone())));
}

/// PUT /access/users/{userid}
pub(crate) fn update_user(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_on_user(state, call, &["User.Modify"])?;
    join_groups(state, call, "update")?;
    set_properties(state.accounts.users.get_mut(call.text("userid")).expect("a user that was found"), call);
    Ok(Value::Null)
}

/// DELETE /access/users/{userid}: also removes the user's tokens, memberships and access entries.
pub(crate) fn delete_user(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_realm(state, call)?;
    require_on_user(state, call, &["User.Modify"])?;
    let id = call.text("userid");
    if id == "root@pam" {
        return fail("delete user failed: user 'root@pam' is reserved");
    }
    let is_users = |subject: &str| subject == id || subject.split_once('!').is_some_and(|(owner, _)| owner == id);
    state.accounts.users.remove(id);
    state.accounts.tokens.retain(|token, _| !is_users(token));
    state.accounts.acl.retain(|entry| !is_users(&entry.subject));
    for group in state.accounts.groups.values_mut() {
        group.members.remove(id);
    }
    Ok(Value::Null)
}
