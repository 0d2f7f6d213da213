//! The cluster as a whole: resources, status, log, high availability, pools.

use super::api::{Answer, Call, bad, failed};
use super::guests;
use super::nodes;
use super::storage;
use super::value::{json, set};
use super::world::{Guest, World};
use serde_json::Value;

/// GET /version.
pub(super) fn version(_: &mut World, _: &Call<'_>) -> Answer {
    Ok(json!({"release": "9.2", "version": "9.2.11", "repoid": "14a22df3deadbeef"}))
}

/// GET /cluster/resources: what the caller may see, and nothing said about the rest.
pub(super) fn resources(world: &mut World, call: &Call<'_>) -> Answer {
    let wanted = |kind: &str| call.given("type").is_none_or(|t| t == kind);
    let mut rows = Vec::new();
    if call.given("type").is_none() {
        let pools = world.pools.keys().filter(|p| call.may(world, &format!("/pool/{p}"), "Pool.Audit"));
        rows.extend(pools.map(|p| json!({"id": format!("/pool/{p}"), "type": "pool", "pool": p})));
    }
    if wanted("vm") {
        let seen = world.guests.values().filter(|g| call.may(world, &format!("/vms/{}", g.vmid), "VM.Audit"));
        rows.extend(seen.map(|g| guests::resource(g, world.now, true)));
    }
    if wanted("node") {
        rows.extend(nodes::rows(world, call).into_iter().map(|mut row| {
            if let Some(row) = row.as_object_mut() {
                row.remove("ssl_fingerprint");
                row.insert("cgroup-mode".into(), 2.into());
            }
            row
        }));
    }
    for node in &world.nodes {
        if wanted("storage") {
            let seen =
                world.storages.iter().filter(|s| call.may(world, &format!("/storage/{}", s.name), "Datastore.Audit"));
            rows.extend(seen.map(|s| storage::resource(world, s, node.name)));
        }
        if (wanted("sdn") || wanted("network")) && call.may(world, "/sdn/zones/localnetwork", "SDN.Audit") {
            rows.push(json!({"id": format!("network/{}/zone/localnetwork", node.name), "type": "network",
                "network": "localnetwork", "network-type": "zone", "node": node.name, "status": "ok"}));
        }
    }
    Ok(rows.into())
}

/// GET /cluster/status.
pub(super) fn status(world: &mut World, _: &Call<'_>) -> Answer {
    let cluster = json!({"id": "cluster", "type": "cluster", "name": "demo", "nodes": world.nodes.len(), "quorate": 1,
        "version": 3});
    let local = world.local_node();
    let rows = world.nodes.iter().zip(1..).map(|(node, id)| {
        json!({"id": format!("node/{}", node.name), "type": "node", "name": node.name, "nodeid": id, "ip": node.ip,
            "online": 1, "local": u8::from(node.name == local), "level": ""})
    });
    Ok([cluster].into_iter().chain(rows).collect())
}

/// GET /cluster/log.
pub(super) fn log(world: &mut World, call: &Call<'_>) -> Answer {
    let max = call.int("max").and_then(|n| usize::try_from(n).ok()).unwrap_or(50);
    let all = call.may(world, "/", "Sys.Syslog") || call.may(world, "/", "Sys.Audit");
    let seen = world.log.iter().filter(|row| all || row.get("user").and_then(Value::as_str) == Some(&call.caller.id));
    Ok(seen.take(max).cloned().collect())
}

/// GET /cluster/options.
pub(super) fn options(_: &mut World, _: &Call<'_>) -> Answer {
    Ok(json!({"keyboard": "en-us", "mac_prefix": "BC:24:11", "description": "Demo cluster: **nothing here is real**.",
        "migration": {"type": "secure", "network": "10.0.10.0/24"}, "allowed-tags": ["ci", "db", "dev", "infra", "mail", "prod",
        "stage", "web", "windows"]}))
}

/// GET /cluster/nextid: the lowest that is free, or whether the given one is.
pub(super) fn next_id(world: &mut World, call: &Call<'_>) -> Answer {
    if call.int("vmid").is_some() {
        let id = call.vmid();
        if world.guests.contains_key(&id) {
            return bad("vmid", format!("VM {id} already exists"));
        }
        return Ok(id.to_string().into());
    }
    let free = (100..1_000_000).find(|id| !world.guests.contains_key(id));
    free.map_or_else(|| failed("no free VMID"), |id| Ok(id.to_string().into()))
}

/// GET /cluster/config/nodes.
pub(super) fn config_nodes(world: &mut World, _: &Call<'_>) -> Answer {
    let row = |(node, id): (&super::world::Node, u32)| json!({"node": node.name, "name": node.name, "nodeid": id.to_string(), "quorum_votes": "1", "ring0_addr": node.ip});
    Ok(world.nodes.iter().zip(1..).map(row).collect())
}

/// The sid's guest, as the HA stack names it: `vm:104`, or the bare id.
fn ha_guest<'a>(world: &'a World, sid: &str) -> Option<(String, &'a Guest)> {
    let id = sid.split_once(':').map_or(sid, |(_, id)| id).parse().ok()?;
    let guest = world.guests.get(&id)?;
    let full = format!("{}:{id}", if guest.lxc { "ct" } else { "vm" });
    (full == sid || !sid.contains(':')).then_some((full, guest))
}

/// GET /cluster/ha/status/current.
pub(super) fn ha_status(world: &mut World, _: &Call<'_>) -> Answer {
    let local = world.local_node();
    let time = super::world::stamp(world.seconds());
    let mut rows = vec![
        json!({"id": "quorum", "type": "quorum", "node": local, "quorate": 1, "status": "OK"}),
        json!({"id": "master", "type": "master", "node": local, "status": format!("{local} (active, {time})"),
            "timestamp": world.seconds()}),
        json!({"id": "fencing", "type": "fencing", "node": local, "status": "armed (CRM watchdog active)", "armed-state": "armed"}),
    ];
    rows.extend(world.nodes.iter().map(|n| {
        json!({"id": format!("lrm:{}", n.name), "type": "lrm", "node": n.name, "timestamp": world.seconds(),
            "status": format!("{} (active, {time})", n.name)})
    }));
    rows.extend(world.ha.iter().filter_map(|(sid, resource)| {
        let (_, guest) = ha_guest(world, sid)?;
        let state = resource.get("state").cloned().unwrap_or_default();
        let text = state.as_str().unwrap_or_default();
        Some(json!({"id": format!("service:{sid}"), "type": "service", "sid": sid, "node": guest.node, "state": text,
            "request_state": text, "crm_state": text, "status": format!("{sid} ({}, {text})", guest.node)}))
    }));
    Ok(rows.into())
}

/// GET /cluster/ha/resources.
pub(super) fn ha_resources(world: &mut World, call: &Call<'_>) -> Answer {
    let kind = |sid: &str| sid.split(':').next().is_some_and(|k| call.given("type").is_none_or(|t| t == k));
    Ok(world.ha.iter().filter(|(sid, _)| kind(sid)).map(|(_, resource)| resource.clone()).collect())
}

/// GET /cluster/ha/resources/{sid}.
pub(super) fn ha_resource(world: &mut World, call: &Call<'_>) -> Answer {
    let found = ha_guest(world, call.text("sid")).and_then(|(sid, _)| world.ha.get(&sid));
    found.cloned().map_or_else(|| failed(format!("no such resource '{}'", call.text("sid"))), Ok)
}

/// POST /cluster/ha/resources.
pub(super) fn ha_add(world: &mut World, call: &Call<'_>) -> Answer {
    let Some((sid, _)) = ha_guest(world, call.text("sid")) else {
        return failed(format!("unable to find guest for resource '{}'", call.text("sid")));
    };
    if world.ha.contains_key(&sid) {
        return failed(format!("resource ID '{sid}' already defined"));
    }
    let resource = json!({"sid": sid, "type": sid.split(':').next(), "state": call.given("state").unwrap_or("started"),
        "max_restart": call.int("max_restart").unwrap_or(1), "max_relocate": call.int("max_relocate").unwrap_or(1),
        "comment": call.given("comment"), "digest": "8d9c41b0f4b0a2d1c9f8f5d7f7fd3f6f8b21c7aa"});
    world.ha.insert(sid, resource);
    Ok(Value::Null)
}

/// PUT /cluster/ha/resources/{sid}.
pub(super) fn ha_update(world: &mut World, call: &Call<'_>) -> Answer {
    let sid = ha_guest(world, call.text("sid")).map(|(sid, _)| sid).unwrap_or_default();
    let Some(resource) = world.ha.get_mut(&sid).and_then(Value::as_object_mut) else {
        return failed(format!("no such resource '{}'", call.text("sid")));
    };
    resource.retain(|key, _| !call.list("delete").any(|d| d == key));
    for (key, value) in call.params.iter().filter(|(key, _)| !matches!(key.as_str(), "sid" | "delete" | "digest")) {
        resource.insert(key.clone(), value.clone());
    }
    Ok(Value::Null)
}

/// GET /cluster/ha/status/manager_status.
pub(super) fn ha_manager(world: &mut World, _: &Call<'_>) -> Answer {
    let (mut nodes, mut services) = (json!({}), json!({}));
    for node in &world.nodes {
        set(&mut nodes, node.name, "online".into());
    }
    for (sid, resource) in &world.ha {
        let Some((_, guest)) = ha_guest(world, sid) else { continue };
        set(
            &mut services,
            sid,
            json!({"node": guest.node, "state": resource.get("state"), "running": u8::from(guest.running())}),
        );
    }
    let local = world.local_node();
    Ok(json!({"quorum": {"quorate": "1", "node": local},
        "manager_status": {"master_node": local, "node_status": nodes, "service_status": services, "timestamp": world.seconds()}}))
}

/// DELETE /cluster/ha/resources/{sid}.
pub(super) fn ha_remove(world: &mut World, call: &Call<'_>) -> Answer {
    let sid = ha_guest(world, call.text("sid")).map(|(sid, _)| sid).unwrap_or_default();
    match world.ha.remove(&sid) {
        Some(_) => Ok(Value::Null),
        None => failed(format!("cannot delete service '{}', not HA managed!", call.text("sid"))),
    }
}

/// An answer for what this cluster has none of.
pub(super) fn nothing(_: &mut World, _: &Call<'_>) -> Answer {
    Ok(json!([]))
}

/// GET /pools.
pub(super) fn pools(world: &mut World, call: &Call<'_>) -> Answer {
    if let Some(pool) = call.given("poolid") {
        let mut one = pool_with_members(world, pool)?;
        set(&mut one, "poolid", pool.into());
        return Ok(json!([one]));
    }
    let seen = world.pools.iter().filter(|(p, _)| call.may(world, &format!("/pool/{p}"), "Pool.Audit"));
    Ok(seen.map(|(poolid, comment)| json!({"poolid": poolid, "comment": comment})).collect())
}

fn pool_with_members(world: &World, pool: &str) -> Answer {
    let Some(comment) = world.pools.get(pool) else { return failed(format!("pool '{pool}' does not exist")) };
    let members = world.guests.values().filter(|g| g.pool.as_deref() == Some(pool));
    let members: Vec<Value> = members.map(|g| guests::resource(g, world.now, false)).collect();
    Ok(json!({"comment": comment, "members": members, "poolid": pool}))
}

/// GET /pools/{poolid}.
pub(super) fn pool(world: &mut World, call: &Call<'_>) -> Answer {
    pool_with_members(world, call.text("poolid"))
}

/// POST /pools.
pub(super) fn pool_add(world: &mut World, call: &Call<'_>) -> Answer {
    let pool = call.text("poolid");
    if world.pools.contains_key(pool) {
        return failed(format!("create pool failed: pool '{pool}' already exists"));
    }
    world.pools.insert(pool.into(), call.text("comment").into());
    Ok(Value::Null)
}

/// PUT /pools/{poolid}: its comment, and guests in or out.
pub(super) fn pool_update(world: &mut World, call: &Call<'_>) -> Answer {
    let pool = call.text("poolid");
    if !world.pools.contains_key(pool) {
        return failed(format!("update pool failed: pool '{pool}' does not exist"));
    }
    let ids: Vec<u32> = call.list("vms").filter_map(|v| v.parse().ok()).collect();
    for id in &ids {
        let Some(guest) = world.guests.get(id) else {
            return failed(format!("update pool failed: VM {id} does not exist"));
        };
        let (here, elsewhere) = (guest.pool.as_deref() == Some(pool), guest.pool.is_some());
        match (call.flag("delete"), here) {
            (true, false) => return failed(format!("update pool failed: VM {id} is not a pool member")),
            (false, true) => return failed(format!("update pool failed: VM {id} is already a pool member")),
            (false, false) if elsewhere && !call.flag("allow-move") => {
                let other = guest.pool.clone().unwrap_or_default();
                return failed(format!(
                    "update pool failed: VM {id} belongs already to pool '{other}' and '--allow-move' is not set"
                ));
            }
            _ => {}
        }
    }
    for id in ids {
        if let Some(guest) = world.guests.get_mut(&id) {
            guest.pool = (!call.flag("delete")).then(|| pool.into());
        }
    }
    if let Some(comment) = call.given("comment") {
        world.pools.insert(pool.into(), comment.into());
    }
    Ok(Value::Null)
}

/// DELETE /pools/{poolid}: only an empty one.
pub(super) fn pool_remove(world: &mut World, call: &Call<'_>) -> Answer {
    let pool = call.text("poolid");
    if !world.pools.contains_key(pool) {
        return failed(format!("delete pool failed: pool '{pool}' does not exist"));
    }
    if world.guests.values().any(|g| g.pool.as_deref() == Some(pool)) {
        return failed(format!("delete pool failed: pool '{pool}' is not empty"));
    }
    world.pools.remove(pool);
    Ok(Value::Null)
}
