//! Pools of guests and storages. A pool can be within another one: `parent/child`.

use super::{guests, storage};
use crate::error::{ApiResult, fail};
use crate::invocation::Invocation;
use crate::model::guest::Guest;
use crate::model::pool::Pool;
use crate::state::ClusterState;
use serde_json::{Value, json};

/// Returns the guests of a pool.
fn members<'a>(state: &'a ClusterState, pool: &'a str) -> impl Iterator<Item = &'a Guest> {
    state.guests.values().filter(move |guest| guest.pool.as_deref() == Some(pool))
}

/// Returns the row of a pool in /cluster/resources, with the sums of its guests.
pub(crate) fn resource_row(state: &ClusterState, pool: &str) -> Value {
    let mut row = json!({"id": format!("/pool/{pool}"), "type": "pool", "pool": pool});
    let rows: Vec<Value> = members(state, pool).map(|guest| guests::resource_row(state, guest)).collect();
    if !rows.is_empty() {
        let sum = |key: &str| rows.iter().filter_map(|row| row[key].as_u64()).sum::<u64>();
        let cpus: f64 = rows.iter().filter_map(|row| Some(row["cpu"].as_f64()? * row["maxcpu"].as_f64()?)).sum();
        row["cpu"] = (cpus / sum("maxcpu").max(1) as f64).into();
        for key in ["maxcpu", "mem", "maxmem"] {
            row[key] = sum(key).into();
        }
        row["uptime"] = rows.iter().filter_map(|row| row["uptime"].as_u64()).max().into();
    }
    row
}

fn pool_row(name: &str, pool: &Pool) -> Value {
    let mut row = json!({"poolid": name});
    if let Some(comment) = &pool.comment {
        row["comment"] = comment.as_str().into();
    }
    row
}

/// GET /pools
pub(crate) fn list_pools(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    if let Some(pool) = call.optional_text("poolid") {
        call.require(state, &format!("/pool/{pool}"), "Pool.Audit")?;
        return Ok(json!([pool_with_members(state, call, pool)?]));
    }
    let pools = state.pools.iter().filter(|(pool, _)| call.allows(state, &format!("/pool/{pool}"), "Pool.Audit"));
    Ok(pools.map(|(name, pool)| pool_row(name, pool)).collect())
}

fn pool_with_members(state: &ClusterState, call: &Invocation<'_>, name: &str) -> ApiResult {
    let Some(pool) = state.pools.get(name) else { return fail(format!("pool '{name}' does not exist")) };
    let wanted = |kind: &str| call.optional_text("type").is_none_or(|wanted| wanted == kind);
    let guests = members(state, name)
        .filter(|guest| wanted(&guest.kind.to_string()))
        .map(|guest| guests::resource_row(state, guest));
    let storages = pool.storages.iter().filter(|_| wanted("storage")).filter_map(|name| {
        let storage = state.storage(name).ok()?;
        Some(storage::resource_row(state, storage, state.local_node()))
    });
    let rows: Value = guests.chain(storages).collect();
    let mut row = json!({"members": rows, "poolid": name});
    if let Some(comment) = &pool.comment {
        row["comment"] = comment.as_str().into();
    }
    Ok(row)
}

/// GET /pools/{poolid}
pub(crate) fn read_pool(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    pool_with_members(state, call, call.text("poolid"))
}

/// POST /pools
pub(crate) fn create_pool(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let pool = call.text("poolid");
    if state.pools.contains_key(pool) {
        return fail(format!("create pool failed: pool '{pool}' already exists"));
    }
    if let Some((parent, _)) = pool.rsplit_once('/').filter(|(parent, _)| !state.pools.contains_key(*parent)) {
        return fail(format!("create pool failed: parent '{parent}' of pool '{pool}' does not exist"));
    }
    let comment = call.optional_text("comment").map(String::from);
    state.pools.insert(pool.into(), Pool { comment, ..Pool::default() });
    Ok(Value::Null)
}

/// PUT /pools and /pools/{poolid}: changes the comment, and adds or removes guests and storages.
pub(crate) fn update_pool(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let (pool, deletes) = (call.text("poolid"), call.flag("delete"));
    let refuse = |reason: String| fail(format!("update pools failed: {reason}"));
    let Some(current) = state.pools.get(pool) else { return refuse(format!("pool '{pool}' does not exist")) };
    let vmids: Vec<u32> = call.list("vms").filter_map(|vmid| vmid.parse().ok()).collect();
    for vmid in &vmids {
        let Some(guest) = state.guests.get(vmid) else {
            return refuse(format!("virtual machine '{vmid}' does not exist"));
        };
        call.require(state, &format!("/vms/{vmid}"), "VM.Allocate")?;
        match guest.pool.as_deref() {
            Some(current) if current == pool && !deletes => {
                return refuse(format!("VM {vmid} is already a pool member"));
            }
            Some(current) if current == pool => {}
            _ if deletes => return refuse(format!("VM {vmid} is not a pool member")),
            Some(current) if !call.flag("allow-move") => {
                let reason = format!("belongs already to pool '{current}' and 'allow-move' is not set");
                return refuse(format!("VM {vmid} {reason}"));
            }
            _ => {}
        }
    }
    for storage in call.list("storage") {
        call.require(state, &format!("/storage/{storage}"), "Datastore.Allocate")?;
        match current.storages.contains(storage) {
            true if !deletes => return refuse(format!("storage '{storage}' is already a pool member")),
            false if deletes => return refuse(format!("storage '{storage}' is not a pool member")),
            _ => {}
        }
        state.storage(storage)?;
    }
    for vmid in vmids {
        state.guests.get_mut(&vmid).expect("a guest that was found").pool = (!deletes).then(|| pool.into());
    }
    let changed = state.pools.get_mut(pool).expect("a pool that was found");
    for storage in call.list("storage") {
        if deletes {
            changed.storages.remove(storage)
        } else {
            changed.storages.insert(storage.into())
        };
    }
    if let Some(comment) = call.optional_text("comment") {
        changed.comment = Some(comment.into());
    }
    Ok(Value::Null)
}

/// DELETE /pools and /pools/{poolid}: only an empty pool.
pub(crate) fn delete_pool(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let name = call.text("poolid");
    let Some(pool) = state.pools.get(name) else {
        return fail(format!("delete pool failed: pool '{name}' does not exist"));
    };
    let prefix = format!("{name}/");
    let child = state.pools.keys().find(|other| other.starts_with(&prefix)).map(|child| format!("pool '{child}'"));
    let guest = members(state, name).next().map(|guest| format!("VM {}", guest.vmid));
    let storage = pool.storages.first().map(|storage| format!("storage '{storage}'"));
    if let Some(member) = child.or(guest).or(storage) {
        return fail(format!("delete pool failed: pool '{name}' is not empty (contains {member})"));
    }
    state.pools.remove(name);
    Ok(Value::Null)
}
