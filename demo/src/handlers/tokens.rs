//! API tokens.

use super::users::require_self_or_modify;
use crate::error::{ApiError, ApiResult, fail, parameter_error};
use crate::invocation::Invocation;
use crate::model::accounts::{Token, new_secret};
use crate::parameters::value_text;
use crate::state::ClusterState;
use serde_json::{Value, json};

/// Returns the tokens of a user as rows.
pub(crate) fn user_tokens(state: &ClusterState, user: &str) -> Vec<Value> {
    let row = |(id, token): (&String, &Token)| {
        let (owner, name) = id.split_once('!').expect("a token id is user!name");
        (owner == user).then(|| {
            let mut row = token_info(token);
            row["tokenid"] = name.into();
            row
        })
    };
    state.accounts.tokens.iter().filter_map(row).collect()
}

fn token_info(token: &Token) -> Value {
    json!({"privsep": u8::from(token.privilege_separation), "expire": token.expire, "comment": token.comment})
}

fn token_id(call: &Invocation<'_>) -> String {
    format!("{}!{}", call.text("userid"), call.text("tokenid"))
}

fn fail_without_token<T>(call: &Invocation<'_>) -> ApiResult<T> {
    fail(format!("no such token '{}' for user '{}'", call.text("tokenid"), call.text("userid")))
}

/// GET /access/users/{userid}/token
pub(crate) fn list_tokens(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_self_or_modify(state, call)?;
    Ok(user_tokens(state, call.text("userid")).into())
}

/// GET /access/users/{userid}/token/{tokenid}
pub(crate) fn read_token(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_self_or_modify(state, call)?;
    state.accounts.tokens.get(&token_id(call)).map_or_else(|| fail_without_token(call), |token| Ok(token_info(token)))
}

/// Returns the properties that a call gives to a new token, as texts.
fn given_info(call: &Invocation<'_>) -> Value {
    let given = ["comment", "expire"].into_iter().filter_map(|key| Some((key, value_text(call.params.get(key)?))));
    let privsep = u8::from(call.integer("privsep") != Some(0)).to_string();
    given.chain([("privsep", privsep)]).map(|(key, value)| (key.to_string(), Value::from(value))).collect()
}

/// POST /access/users/{userid}/token/{tokenid}: the only answer that has the secret.
pub(crate) fn create_token(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_self_or_modify(state, call)?;
    let id = token_id(call);
    if state.accounts.tokens.contains_key(&id) {
        return parameter_error("tokenid", "Token already exists.");
    }
    let secret = new_secret().map_err(|e| ApiError::Failed(format!("cannot create a token: {e}")))?;
    let token = Token {
        secret: secret.clone(),
        privilege_separation: call.integer("privsep") != Some(0),
        comment: call.optional_text("comment").unwrap_or("").into(),
        expire: call.integer("expire").unwrap_or(0),
    };
    let info = given_info(call);
    state.accounts.tokens.insert(id.clone(), token);
    Ok(json!({"full-tokenid": id, "info": info, "value": secret}))
}

/// PUT /access/users/{userid}/token/{tokenid}: changes the properties, and the secret with `regenerate`.
pub(crate) fn update_token(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_self_or_modify(state, call)?;
    let id = token_id(call);
    let Some(token) = state.accounts.tokens.get_mut(&id) else { return fail_without_token(call) };
    if let Some(comment) = call.optional_text("comment") {
        token.comment = comment.into();
    }
    if call.list("delete").any(|key| key == "comment") {
        token.comment.clear();
    }
    token.expire = call.integer("expire").unwrap_or(token.expire);
    token.privilege_separation = call.integer("privsep").map_or(token.privilege_separation, |privsep| privsep == 1);
    let mut answer = token_info(token);
    if call.flag("regenerate") {
        token.secret = new_secret().map_err(|e| ApiError::Failed(format!("cannot create a secret: {e}")))?;
        answer = json!({"full-tokenid": id, "info": answer, "value": token.secret});
    }
    Ok(answer)
}

/// DELETE /access/users/{userid}/token/{tokenid}: also removes the token from the access lists.
pub(crate) fn delete_token(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_self_or_modify(state, call)?;
    let id = token_id(call);
    if state.accounts.tokens.remove(&id).is_none() {
        return fail_without_token(call);
    }
    state.accounts.acl.retain(|entry| entry.subject != id);
    Ok(Value::Null)
}
