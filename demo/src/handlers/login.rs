//! Logins: tickets, passwords and second factors.

use super::users::{require_self_or_modify, require_user};
use crate::error::{ApiError, ApiResult, fail, parameter_error};
use crate::http::{decode_form_component, split_pairs};
use crate::invocation::Invocation;
use crate::model::accounts::{SecondFactor, User, random_key};
use crate::permissions::{is_enabled, privileges_on};
use crate::state::ClusterState;
use crate::tickets::{decode_base32, is_one_time_password, new_csrf_token, new_ticket, ticket_subject};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

/// POST /access/ticket: a login, which takes two calls for a user with a second factor.
pub(crate) fn create_ticket(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let (name, password) = (call.text("username"), call.text("password"));
    let user_id = match call.optional_text("realm") {
        Some(realm) if !name.contains('@') => format!("{name}@{realm}"),
        _ => name.into(),
    };
    let now = state.seconds();
    let key = &state.accounts.ticket_key;
    let user = state.accounts.users.get(&user_id).filter(|_| is_enabled(state, &user_id));
    let user: &User = user.ok_or(ApiError::LoginFailed)?;
    let mut needs_factor = false;
    if let Some(challenge) = call.optional_text("tfa-challenge") {
        let is_challenge = ticket_subject(key, challenge, &user_id, now).is_some_and(|t| t.starts_with("!tfa!"));
        let code = password.strip_prefix("totp:").ok_or(ApiError::LoginFailed)?;
        if !is_challenge || !user.factors.iter().any(|factor| is_one_time_password(&factor.secret, code, now)) {
            return Err(ApiError::LoginFailed);
        }
    } else if ticket_subject(key, password, "", now) != Some(user_id.as_str()) {
        // A valid ticket is also a password, and renews itself.
        if user.password.as_deref() != Some(password) {
            return Err(ApiError::LoginFailed);
        }
        needs_factor = !user.factors.is_empty();
    }
    let mut answer = json!({"username": user_id, "clustername": "demo",
        "CSRFPreventionToken": new_csrf_token(key, &user_id, now)});
    if needs_factor {
        let challenge = json!({"totp": true, "recovery": "unavailable"}).to_string();
        let subject = format!("!tfa!{}", utf8_percent_encode(&challenge, NON_ALPHANUMERIC));
        answer["ticket"] = new_ticket(key, &subject, &user_id, now).into();
        answer["NeedTFA"] = 1.into();
    } else {
        answer["ticket"] = new_ticket(key, &user_id, "", now).into();
        let node = state.local_node().to_owned();
        state.log_event(state.now, &node, &user_id, format!("successful auth for user '{user_id}'"));
        answer["cap"] = capabilities(state, &user_id);
    }
    Ok(answer)
}

/// Returns the privileges of a user in each area, as the web interface needs them.
fn capabilities(state: &ClusterState, user: &str) -> Value {
    let area = |(area, path): (&str, &str)| {
        let privileges: Map<String, Value> =
            privileges_on(state, user, path).into_keys().map(|privilege| (privilege.into(), 1.into())).collect();
        (area.into(), privileges.into())
    };
    let areas = [
        ("access", "/access"),
        ("dc", "/"),
        ("mapping", "/mapping"),
        ("nodes", "/nodes"),
        ("sdn", "/sdn"),
        ("storage", "/storage"),
        ("vms", "/vms"),
    ];
    Value::Object(areas.into_iter().map(area).collect())
}

/// Fails unless the caller knows the own password. A change of another user needs none.
fn check_own_password(state: &ClusterState, call: &Invocation<'_>, parameter: &str) -> ApiResult<()> {
    let Some(user) = state.accounts.users.get(&call.caller.id) else { return Ok(()) };
    if user.password.is_some() && user.password.as_deref() != call.optional_text(parameter) {
        return Err(ApiError::LoginFailed);
    }
    Ok(())
}

/// PUT /access/password
pub(crate) fn change_password(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_self_or_modify(state, call)?;
    check_own_password(state, call, "confirmation-password")?;
    let user = state.accounts.users.get_mut(call.text("userid")).expect("a user that was found");
    user.password = Some(call.text("password").into());
    Ok(Value::Null)
}

fn factor_row(factor: &SecondFactor) -> Value {
    json!({"id": factor.id, "type": "totp", "description": factor.description, "created": factor.created, "enable": 1})
}

/// Returns true if the caller can see the second factors of the user.
fn sees_factors(state: &ClusterState, call: &Invocation<'_>, user: &str) -> bool {
    call.caller.id == user || call.allows_any(state, "/access/groups", &["User.Modify", "Sys.Audit"])
}

/// GET /access/tfa
pub(crate) fn list_factors(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let users =
        state.accounts.users.iter().filter(|(id, user)| !user.factors.is_empty() && sees_factors(state, call, id));
    let row = |(id, user): (&String, &User)| {
        let entries: Value = user.factors.iter().map(factor_row).collect();
        json!({"userid": id, "entries": entries})
    };
    Ok(users.map(row).collect())
}

/// Returns the second factors of the user in the path.
fn visible_factors<'s>(state: &'s ClusterState, call: &Invocation<'_>) -> ApiResult<&'s [SecondFactor]> {
    require_user(state, call)?;
    let user = call.text("userid");
    if sees_factors(state, call, user) {
        Ok(&state.accounts.users[user].factors)
    } else {
        Err(ApiError::Forbidden(String::new()))
    }
}

/// GET /access/tfa/{userid}
pub(crate) fn list_user_factors(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    Ok(visible_factors(state, call)?.iter().map(factor_row).collect())
}

/// GET /access/tfa/{userid}/{id}
pub(crate) fn read_factor(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let id = call.text("id");
    match visible_factors(state, call)?.iter().find(|factor| factor.id == id) {
        Some(factor) => Ok(factor_row(factor)),
        None => Err(ApiError::NotFound(format!("No such tfa entry '{id}'"))),
    }
}

/// GET /access/users/{userid}/tfa
pub(crate) fn read_factor_types(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let has_factors = !visible_factors(state, call)?.is_empty();
    Ok(if has_factors { json!({"realm": "none", "user": "totp", "types": ["totp"]}) } else { json!({}) })
}

/// POST /access/tfa/{userid}: adds one-time passwords by time. `value` is a code that proves that the user has them.
pub(crate) fn create_factor(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_self_or_modify(state, call)?;
    check_own_password(state, call, "password")?;
    if call.text("type") != "totp" {
        return Err(ApiError::Unsupported("second factors other than totp".into()));
    }
    let uri = call.optional_text("totp").unwrap_or("");
    let query =
        uri.strip_prefix("otpauth://totp/").and_then(|rest| rest.split_once('?')).map_or("", |(_, query)| query);
    let secret = split_pairs(query).find(|(key, _)| *key == "secret").map(|(_, value)| decode_form_component(value));
    let Some(secret) = secret.as_deref().and_then(decode_base32) else {
        return parameter_error("totp", "failed to parse otpauth uri");
    };
    if !is_one_time_password(&secret, call.optional_text("value").unwrap_or(""), state.seconds()) {
        return fail("failed to verify TOTP challenge");
    }
    let Ok(random) = random_key::<8>() else { return fail("cannot read random bytes") };
    let id = format!("{:016x}", u64::from_be_bytes(random));
    let factor = SecondFactor {
        id: id.clone(),
        description: call.optional_text("description").unwrap_or("").into(),
        created: state.seconds(),
        secret,
    };
    state.accounts.users.get_mut(call.text("userid")).expect("a user that was found").factors.push(factor);
    Ok(json!({"id": id}))
}

/// DELETE /access/tfa/{userid}/{id}
pub(crate) fn delete_factor(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_self_or_modify(state, call)?;
    check_own_password(state, call, "password")?;
    let id = call.text("id");
    let factors = &mut state.accounts.users.get_mut(call.text("userid")).expect("a user that was found").factors;
    let Some(index) = factors.iter().position(|factor| factor.id == id) else {
        return Err(ApiError::NotFound(format!("No such tfa entry '{id}'")));
    };
    factors.remove(index);
    Ok(Value::Null)
}
