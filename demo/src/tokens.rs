//! API tokens: what a user may read, make and remove.

use super::access::new_secret;
use super::api::{Answer, Call, Fault, bad, failed};
use super::value::json;
use super::world::World;
use serde_json::Value;

/// One token.
pub(super) struct Token {
    /// What its bearer shows.
    pub(super) secret: String,
    /// Whether its rights are its own, within its user's.
    pub(super) separate: bool,
    /// What the user wrote about it.
    pub(super) comment: String,
    /// When it ends, in seconds since 1970; 0 for never.
    pub(super) expire: i64,
}

/// A user's tokens.
pub(super) fn token_rows(world: &World, user: &str) -> Value {
    let of_user = world.accounts.tokens.iter().filter_map(|(id, token)| {
        let (owner, name) = id.split_once('!')?;
        (owner == user).then(|| token_row(name, token))
    });
    of_user.collect()
}

fn token_row(name: &str, token: &Token) -> Value {
    json!({"tokenid": name, "privsep": u8::from(token.separate), "expire": token.expire, "comment": token.comment})
}

/// Only the user itself and those who may modify users get at tokens.
fn own_or_modify(world: &World, call: &Call<'_>) -> Result<String, Fault> {
    let user = call.text("userid");
    if call.caller.id.split('!').next() != Some(user) {
        call.need(world, "/access/groups", "User.Modify")?;
    }
    Ok(format!("{user}!{}", call.text("tokenid")))
}

/// GET /access/users/{userid}/token.
pub(super) fn tokens(world: &mut World, call: &Call<'_>) -> Answer {
    own_or_modify(world, call)?;
    Ok(token_rows(world, call.text("userid")))
}

/// GET /access/users/{userid}/token/{tokenid}.
pub(super) fn token(world: &mut World, call: &Call<'_>) -> Answer {
    let id = own_or_modify(world, call)?;
    match world.accounts.tokens.get(&id) {
        Some(token) => {
            let mut row = token_row(call.text("tokenid"), token);
            if let Some(row) = row.as_object_mut() {
                row.remove("tokenid");
            }
            Ok(row)
        }
        None => failed(format!("no such token '{}' for user '{}'", call.text("tokenid"), call.text("userid"))),
    }
}

/// POST /access/users/{userid}/token/{tokenid}: the only time that the secret is shown.
pub(super) fn add_token(world: &mut World, call: &Call<'_>) -> Answer {
    let id = own_or_modify(world, call)?;
    let user = call.text("userid");
    if !world.accounts.users.contains_key(user) {
        return failed(format!("no such user ('{user}')"));
    }
    if world.accounts.tokens.contains_key(&id) {
        return bad("tokenid", "Token already exists.");
    }
    let Ok(secret) = new_secret() else { return failed("no randomness") };
    let separate = call.int("privsep") != Some(0);
    let (comment, expire) = (call.text("comment").to_string(), call.int("expire").unwrap_or(0));
    let token = Token { secret: secret.clone(), separate, comment, expire };
    let mut info = token_row("", &token);
    if let Some(info) = info.as_object_mut() {
        info.remove("tokenid");
    }
    world.accounts.tokens.insert(id.clone(), token);
    Ok(json!({"full-tokenid": id, "info": info, "value": secret}))
}

/// DELETE /access/users/{userid}/token/{tokenid}, with its access list.
pub(super) fn remove_token(world: &mut World, call: &Call<'_>) -> Answer {
    let id = own_or_modify(world, call)?;
    if world.accounts.tokens.remove(&id).is_none() {
        return failed(format!("no such token '{}' for user '{}'", call.text("tokenid"), call.text("userid")));
    }
    world.accounts.acl.retain(|e| e.who != id);
    Ok(Value::Null)
}
