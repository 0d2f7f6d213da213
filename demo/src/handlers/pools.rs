//! Pools of guests.

use super::guests::resource_row;
use crate::error::{ApiResult, fail};
use crate::invocation::Invocation;
use crate::state::ClusterState;
use serde_json::{Value, json};

/// GET /pools
pub(crate) fn list_pools(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    if let Some(pool) = call.optional_text("poolid") {
        return Ok(json!([pool_with_members(state, pool)?]));
    }
    let pools = state.pools.iter().filter(|(pool, _)| call.allows(state, &format!("/pool/{pool}"), "Pool.Audit"));
    Ok(pools.map(|(pool, comment)| json!({"poolid": pool, "comment": comment})).collect())
}

fn pool_with_members(state: &ClusterState, pool: &str) -> ApiResult {
    let Some(comment) = state.pools.get(pool) else { return fail(format!("pool '{pool}' does not exist")) };
    let members = state.guests.values().filter(|guest| guest.pool.as_deref() == Some(pool));
    let rows: Value = members.map(|guest| resource_row(guest, state.now)).collect();
    Ok(json!({"comment": comment, "members": rows, "poolid": pool}))
}

/// GET /pools/{poolid}
pub(crate) fn read_pool(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    pool_with_members(state, call.text("poolid"))
}

/// POST /pools
pub(crate) fn create_pool(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let pool = call.text("poolid");
    if state.pools.contains_key(pool) {
        return fail(format!("create pool failed: pool '{pool}' already exists"));
    }
    state.pools.insert(pool.into(), call.optional_text("comment").unwrap_or("").into());
    Ok(Value::Null)
}

/// PUT /pools/{poolid}: changes the comment, and adds or removes guests.
pub(crate) fn update_pool(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let pool = call.text("poolid");
    let refuse = |reason: String| fail(format!("update pool failed: {reason}"));
    if !state.pools.contains_key(pool) {
        return refuse(format!("pool '{pool}' does not exist"));
    }
    let vmids: Vec<u32> = call.list("vms").filter_map(|vmid| vmid.parse().ok()).collect();
    for vmid in &vmids {
        let Some(guest) = state.guests.get(vmid) else { return refuse(format!("VM {vmid} does not exist")) };
        match (guest.pool.as_deref(), call.flag("delete")) {
            (Some(current), true) if current == pool => {}
            (_, true) => return refuse(format!("VM {vmid} is not a pool member")),
            (Some(current), false) if current == pool => {
                return refuse(format!("VM {vmid} is already a pool member"));
            }
            (Some(current), false) if !call.flag("allow-move") => {
                let reason = format!("belongs already to pool '{current}' and '--allow-move' is not set");
                return refuse(format!("VM {vmid} {reason}"));
            }
            (_, false) => {}
        }
    }
    for vmid in vmids {
        if let Some(guest) = state.guests.get_mut(&vmid) {
            guest.pool = (!call.flag("delete")).then(|| pool.into());
        }
    }
    if let Some(comment) = call.optional_text("comment") {
        state.pools.insert(pool.into(), comment.into());
    }
    Ok(Value::Null)
}

/// DELETE /pools/{poolid}: only an empty pool.
pub(crate) fn delete_pool(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let pool = call.text("poolid");
    if !state.pools.contains_key(pool) {
        return fail(format!("delete pool failed: pool '{pool}' does not exist"));
    }
    if state.guests.values().any(|guest| guest.pool.as_deref() == Some(pool)) {
        return fail(format!("delete pool failed: pool '{pool}' is not empty"));
    }
    state.pools.remove(pool);
    Ok(Value::Null)
}
