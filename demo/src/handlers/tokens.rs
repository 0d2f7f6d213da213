//! API tokens.

use crate::error::{ApiError, ApiResult, fail, parameter_error};
use crate::invocation::Invocation;
use crate::model::accounts::{Token, new_secret};
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

/// Fails unless the caller is the user in the path, or may modify users.
fn require_own_or_modify(state: &ClusterState, call: &Invocation<'_>) -> ApiResult<()> {
    if call.caller.user() == call.text("userid") {
        return Ok(());
    }
    call.require(state, "/access/groups", "User.Modify")
}

fn token_id(call: &Invocation<'_>) -> String {
    format!("{}!{}", call.text("userid"), call.text("tokenid"))
}

fn fail_without_token<T>(call: &Invocation<'_>) -> ApiResult<T> {
    fail(format!("no such token '{}' for user '{}'", call.text("tokenid"), call.text("userid")))
}

/// GET /access/users/{userid}/token
pub(crate) fn list_tokens(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_own_or_modify(state, call)?;
    Ok(user_tokens(state, call.text("userid")).into())
}

/// GET /access/users/{userid}/token/{tokenid}
pub(crate) fn read_token(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_own_or_modify(state, call)?;
    state.accounts.tokens.get(&token_id(call)).map_or_else(|| fail_without_token(call), |token| Ok(token_info(token)))
}

/// POST /access/users/{userid}/token/{tokenid}: the only answer that has the secret.
pub(crate) fn create_token(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_own_or_modify(state, call)?;
    let (user, id) = (call.text("userid"), token_id(call));
    if !state.accounts.users.contains_key(user) {
        return fail(format!("no such user ('{user}')"));
    }
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
    let info = token_info(&token);
    state.accounts.tokens.insert(id.clone(), token);
    Ok(json!({"full-tokenid": id, "info": info, "value": secret}))
}

/// DELETE /access/users/{userid}/token/{tokenid}: also removes the token from the access lists.
pub(crate) fn delete_token(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_own_or_modify(state, call)?;
    let id = token_id(call);
    if state.accounts.tokens.remove(&id).is_none() {
        return fail_without_token(call);
    }
    state.accounts.acl.retain(|entry| entry.subject != id);
    Ok(Value::Null)
}
