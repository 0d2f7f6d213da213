//! High availability.

use crate::error::{ApiResult, fail};
use crate::invocation::Invocation;
use crate::model::guest::Guest;
use crate::state::ClusterState;
use crate::units::format_time;
use serde_json::{Map, Value, json};

/// The digest of every HA resource.
pub(crate) const DIGEST: &str = "8d9c41b0f4b0a2d1c9f8f5d7f7fd3f6f8b21c7aa";

/// Returns the guest of an HA resource id: `vm:104`, or the vmid alone.
fn find_guest<'a>(state: &'a ClusterState, id: &str) -> Option<&'a Guest> {
    let vmid = id.split_once(':').map_or(id, |(_, vmid)| vmid).parse().ok()?;
    let guest: &Guest = state.guests.get(&vmid)?;
    (!id.contains(':') || guest.ha_id() == id).then_some(guest)
}

/// Returns the full id of the HA resource of the call, if its guest exists.
fn resource_id(state: &ClusterState, call: &Invocation<'_>) -> Option<String> {
    find_guest(state, call.text("sid")).map(Guest::ha_id)
}

/// Returns the requested state of an HA resource, by default `started`.
pub(crate) fn requested_state(resource: &Value) -> &str {
    resource["state"].as_str().unwrap_or("started")
}

/// Returns the id, the guest and the requested state of every HA resource whose guest exists.
fn resources(state: &ClusterState) -> impl Iterator<Item = (&String, &Guest, &str)> {
    state.ha_resources.iter().filter_map(|(id, resource)| Some((id, find_guest(state, id)?, requested_state(resource))))
}

/// GET /cluster/ha/status/current
pub(crate) fn read_status(state: &mut ClusterState, _: &Invocation<'_>) -> ApiResult {
    let (local, now, time) = (state.local_node(), state.seconds(), format_time(state.seconds()));
    let mut rows = vec![
        json!({"id": "quorum", "type": "quorum", "node": local, "quorate": 1, "status": "OK"}),
        json!({"id": "master", "type": "master", "node": local, "status": format!("{local} (active, {time})"),
            "timestamp": now}),
        json!({"id": "fencing", "type": "fencing", "node": local, "status": "armed (CRM watchdog active)",
            "armed-state": "armed"}),
    ];
    for node in &state.nodes {
        rows.push(json!({"id": format!("lrm:{}", node.name), "type": "lrm", "node": node.name, "timestamp": now,
            "status": format!("{} (active, {time})", node.name)}));
    }
    for (id, guest, requested) in resources(state) {
        rows.push(json!({"id": format!("service:{id}"), "type": "service", "sid": id, "node": guest.node,
            "state": requested, "request_state": requested, "crm_state": requested,
            "status": format!("{id} ({}, {requested})", guest.node)}));
    }
    Ok(rows.into())
}

/// GET /cluster/ha/status/manager_status
pub(crate) fn read_manager_status(state: &mut ClusterState, _: &Invocation<'_>) -> ApiResult {
    let nodes: Map<String, Value> = state.nodes.iter().map(|node| (node.name.into(), "online".into())).collect();
    let services: Map<String, Value> = resources(state)
        .map(|(id, guest, requested)| {
            let running = u8::from(guest.is_running());
            (id.clone(), json!({"node": guest.node, "state": requested, "running": running}))
        })
        .collect();
    let local = state.local_node();
    Ok(json!({"quorum": {"quorate": "1", "node": local}, "manager_status": {"master_node": local,
        "node_status": nodes, "service_status": services, "timestamp": state.seconds()}}))
}

/// GET /cluster/ha/resources
pub(crate) fn list_resources(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let kind = call.optional_text("type");
    let resources = state.ha_resources.iter().filter(|(id, _)| kind.is_none_or(|kind| id.starts_with(kind)));
    Ok(resources.map(|(_, resource)| resource.clone()).collect())
}

/// GET /cluster/ha/resources/{sid}
pub(crate) fn read_resource(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    match resource_id(state, call).and_then(|id| state.ha_resources.get(&id)) {
        Some(resource) => Ok(resource.clone()),
        None => fail(format!("no such resource '{}'", call.text("sid"))),
    }
}

/// POST /cluster/ha/resources
pub(crate) fn create_resource(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let Some(guest) = find_guest(state, call.text("sid")) else {
        return fail(format!("unable to find guest for resource '{}'", call.text("sid")));
    };
    let (id, kind) = (guest.ha_id(), guest.kind.ha_type());
    if state.ha_resources.contains_key(&id) {
        return fail(format!("resource ID '{id}' already defined"));
    }
    let resource = json!({"sid": id, "type": kind, "state": call.optional_text("state").unwrap_or("started"),
        "max_restart": call.integer("max_restart").unwrap_or(1),
        "max_relocate": call.integer("max_relocate").unwrap_or(1), "comment": call.optional_text("comment"),
        "digest": DIGEST});
    let requested = requested_state(&resource).to_owned();
    state.ha_resources.insert(id.clone(), resource);
    apply_requested_state(state, &id, &requested);
    Ok(Value::Null)
}

/// PUT /cluster/ha/resources/{sid}
pub(crate) fn update_resource(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let id = resource_id(state, call);
    let Some((id, resource)) = id.and_then(|id| Some((id.clone(), state.ha_resources.get_mut(&id)?))) else {
        return fail(format!("no such resource '{}'", call.text("sid")));
    };
    let resource = resource.as_object_mut().expect("an HA resource is an object");
    resource.retain(|key, _| call.list("delete").all(|deleted| deleted != key));
    let properties = call.params.iter().filter(|(key, _)| !matches!(key.as_str(), "sid" | "delete" | "digest"));
    resource.extend(properties.map(|(key, value)| (key.clone(), value.clone())));
    if let Some(requested) = call.optional_text("state").map(str::to_owned) {
        apply_requested_state(state, &id, &requested);
    }
    Ok(Value::Null)
}

/// Starts or stops the guest of a resource. The HA manager of a real cluster takes some seconds for it.
fn apply_requested_state(state: &mut ClusterState, id: &str, requested: &str) {
    let now = state.now;
    let Some(vmid) = find_guest(state, id).map(|guest| guest.vmid) else { return };
    let Some(guest) = state.guests.get_mut(&vmid) else { return };
    match requested {
        "started" | "enabled" if !guest.is_running() => guest.start(now),
        "stopped" | "disabled" if guest.is_running() => guest.stop(),
        _ => {}
    }
}

/// DELETE /cluster/ha/resources/{sid}
pub(crate) fn delete_resource(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    match resource_id(state, call).and_then(|id| state.ha_resources.remove(&id)) {
        Some(_) => Ok(Value::Null),
        None => fail(format!("cannot delete service '{}', not HA managed!", call.text("sid"))),
    }
}
