//! High availability.

use super::power;
use crate::error::{ApiResult, fail, parameter_error};
use crate::invocation::Invocation;
use crate::model::guest::Guest;
use crate::model::node::Node;
use crate::options::Release;
use crate::parameters::{MISSING_PARAMETER, value_text};
use crate::state::{ClusterState, TaskBuilder};
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

/// Returns true if the HA manager decides when the guest runs.
pub(crate) fn is_managed(state: &ClusterState, guest: &Guest) -> bool {
    state.ha_resources.get(&guest.ha_id()).is_some_and(|resource| requested_state(resource) != "ignored")
}

/// Starts the task that asks HA for a state of a guest. HA follows after the lag, by a task of its own.
pub(crate) fn request_state(state: &mut ClusterState, user: &str, guest: &Guest, wanted: &'static str) -> ApiResult {
    let (task, word) = if wanted == "started" { ("hastart", "start") } else { ("hastop", "stop") };
    let id = guest.ha_id();
    TaskBuilder::new(&guest.node, task, guest.vmid).line(format!("Requesting HA {word} for {}", guest.label())).start(
        state,
        user,
        move |state| {
            if let Some(resource) = state.ha_resources.get_mut(&id) {
                resource["state"] = wanted.into();
            }
            follow(state, id);
            Ok(())
        },
    )
}

/// Starts the task that asks HA to move a guest.
pub(crate) fn request_migration(state: &mut ClusterState, user: &str, guest: &Guest, target: String) -> ApiResult {
    let vmid = guest.vmid;
    TaskBuilder::new(&guest.node, "hamigrate", vmid)
        .line(format!("Requesting HA migration for {} to node {target}", guest.label()))
        .start(state, user, move |state| {
            state.schedule(move |state| power::migrate_by_ha(state, vmid, target));
            Ok(())
        })
}

/// Schedules the action that brings a guest into the state that its resource requests.
pub(crate) fn follow(state: &mut ClusterState, id: String) {
    state.schedule(move |state| {
        let Some(resource) = state.ha_resources.get(&id) else { return };
        let wanted = requested_state(resource).to_string();
        let Some(guest) = find_guest(state, &id) else { return };
        match (wanted.as_str(), guest.is_running()) {
            ("started" | "enabled", false) => power::start_by_ha(state, guest.vmid),
            ("stopped" | "disabled", true) => power::stop_by_ha(state, guest.vmid),
            _ => {}
        }
    });
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
            "status": format!("{} (active, watchdog active, {time})", node.name)}));
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
    let manager = |node: &Node| {
        (node.name.into(), json!({"mode": "active", "state": "active", "results": {}, "timestamp": state.seconds()}))
    };
    let managers: Map<String, Value> = state.nodes.iter().map(manager).collect();
    Ok(
        json!({"quorum": {"quorate": "1", "node": local}, "lrm_status": managers, "manager_status": {"master_node": local,
        "node_status": nodes, "service_status": services, "timestamp": state.seconds()}}),
    )
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
        let sid = call.text("sid");
        let id = if sid.contains(':') { sid.into() } else { format!("vm:{sid}") };
        return fail(format!("resource '{id}' does not exist in cluster"));
    };
    let (id, kind) = (guest.ha_id(), guest.kind.ha_type());
    if state.ha_resources.contains_key(&id) {
        return fail(format!("create resource failed: resource ID '{id}' already defined"));
    }
    check_group(state, call)?;
    let mut resource = json!({"sid": id, "type": kind, "state": "started", "max_restart": 1, "max_relocate": 1,
        "digest": DIGEST});
    set_properties(&mut resource, call);
    state.ha_resources.insert(id.clone(), resource);
    follow(state, id);
    Ok(Value::Null)
}

/// Fails for a group that does not exist.
fn check_group(state: &ClusterState, call: &Invocation<'_>) -> ApiResult<()> {
    match call.optional_text("group") {
        Some(group) if !state.ha_groups.contains_key(group) => fail(format!("HA group '{group}' does not exist")),
        _ => Ok(()),
    }
}

/// Sets the properties of a resource that the call has.
fn set_properties(resource: &mut Value, call: &Invocation<'_>) {
    let properties =
        call.params.iter().filter(|(key, _)| !matches!(key.as_str(), "sid" | "type" | "delete" | "digest"));
    let resource = resource.as_object_mut().expect("an HA resource is an object");
    resource.extend(properties.map(|(key, value)| (key.clone(), value.clone())));
}

/// PUT /cluster/ha/resources/{sid}
pub(crate) fn update_resource(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    check_group(state, call)?;
    let id = resource_id(state, call);
    let Some((id, resource)) = id.and_then(|id| Some((id.clone(), state.ha_resources.get_mut(&id)?))) else {
        return fail(format!("update resource failed: no such resource '{}'", call.text("sid")));
    };
    if call.optional_text("digest").is_some_and(|digest| digest != DIGEST) {
        return fail(
            "update resource failed: detected modified configuration - file changed by other user? Try again.",
        );
    }
    let members = resource.as_object_mut().expect("an HA resource is an object");
    members.retain(|key, _| call.list("delete").all(|deleted| deleted != key));
    set_properties(resource, call);
    follow(state, id);
    Ok(Value::Null)
}

/// DELETE /cluster/ha/resources/{sid}: also removes the resource from the rules.
pub(crate) fn delete_resource(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    match resource_id(state, call).filter(|id| state.ha_resources.contains_key(id)) {
        Some(id) => {
            remove_resource(state, &id);
            Ok(Value::Null)
        }
        None => fail(format!("cannot delete service '{}', not HA managed!", call.text("sid"))),
    }
}

/// Removes a resource, also from the rules. A rule without a resource is removed.
pub(super) fn remove_resource(state: &mut ClusterState, id: &str) {
    state.ha_resources.remove(id);
    state.ha_rules.retain(|_, rule| {
        let listed = rule.get("resources").and_then(Value::as_str).unwrap_or("");
        let rest: Vec<&str> = listed.split(',').filter(|resource| *resource != id).collect();
        let (rest, is_kept) = (rest.join(","), !rest.is_empty());
        rule.insert("resources".into(), rest.into());
        is_kept
    });
}

/// Returns the nodes of the highest priority for a resource, by its rule or its group. Empty if all are equal.
fn preferred_nodes(state: &ClusterState, id: &str) -> Vec<String> {
    let applies = |rule: &&Map<String, Value>| {
        let resources = rule.get("resources").and_then(Value::as_str).unwrap_or("");
        rule["type"] == "node-affinity" && !is_on(rule, "disable") && resources.split(',').any(|other| other == id)
    };
    let group = state.ha_resources[id]["group"].as_str().and_then(|group| state.ha_groups.get(group));
    let Some(nodes) = state.ha_rules.values().find(applies).or(group).and_then(|rule| rule.get("nodes")?.as_str())
    else {
        return Vec::new();
    };
    let parse = |node: &str| match node.split_once(':') {
        Some((node, priority)) => (node.to_owned(), priority.parse().unwrap_or(0)),
        None => (node.to_owned(), 0),
    };
    let nodes: Vec<(String, u32)> = nodes.split(',').map(parse).collect();
    let highest = nodes.iter().map(|(_, priority)| *priority).max();
    nodes.into_iter().filter(|(_, priority)| Some(*priority) == highest).map(|(node, _)| node).collect()
}

/// Returns true if a switch is on.
fn is_on(properties: &Map<String, Value>, switch: &str) -> bool {
    properties.get(switch).is_some_and(|value| value_text(value) == "1")
}

/// Schedules the way back of a guest to the nodes that its rule prefers, unless its resource has no failback.
pub(super) fn fail_back(state: &mut ClusterState, vmid: u32) {
    state.schedule(move |state| {
        let Some(guest) = state.guests.get(&vmid).filter(|guest| is_managed(state, guest)) else { return };
        let (id, node) = (guest.ha_id(), guest.node.clone());
        let resource = &state.ha_resources[&id];
        let group = resource["group"].as_str().and_then(|group| state.ha_groups.get(group));
        let stays = resource.get("failback").is_some_and(|failback| value_text(failback) == "0")
            || group.is_some_and(|group| is_on(group, "nofailback"))
            || requested_state(resource) != "started";
        let preferred = preferred_nodes(state, &id);
        if let Some(target) = preferred.first().filter(|_| !stays && !preferred.contains(&node)) {
            power::migrate_by_ha(state, vmid, target.clone());
        }
    });
}

/// POST /cluster/ha/resources/{sid}/migrate and …/relocate
pub(crate) fn move_resource(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let target = call.text("node").to_string();
    let id = resource_id(state, call).filter(|id| state.ha_resources.contains_key(id));
    let Some(id) = id else {
        return fail(format!("cannot {} service '{}', not HA managed!", call.segment(4), call.text("sid")));
    };
    state.node(&target)?;
    let vmid = find_guest(state, &id).expect("the guest of a resource").vmid;
    let answer = json!({"sid": id, "requested-node": target});
    state.schedule(move |state| power::migrate_by_ha(state, vmid, target));
    Ok(answer)
}

/// The parameters that both kinds of rules have.
const RULE_PARAMS: [&str; 7] = ["rule", "type", "resources", "comment", "disable", "digest", "delete"];
/// The digest of the rules.
const RULES_DIGEST: &str = "ee11965e888f88a3447d0a217f59248774ab3872";

fn rule_row(order: usize, name: &str, rule: &Map<String, Value>) -> Value {
    let mut row = Value::Object(rule.clone());
    row["rule"] = name.into();
    row["order"] = order.into();
    row["digest"] = RULES_DIGEST.into();
    row
}

/// GET /cluster/ha/rules
pub(crate) fn list_rules(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let rows = (1..).zip(&state.ha_rules).map(|(order, (name, rule))| rule_row(order, name, rule));
    let has_resource =
        |row: &Value, wanted: &str| row["resources"].as_str().is_some_and(|r| r.split(',').any(|r| r == wanted));
    let rows = rows
        .filter(|row| call.optional_text("type").is_none_or(|kind| row["type"] == kind))
        .filter(|row| call.optional_text("resource").is_none_or(|resource| has_resource(row, resource)));
    Ok(rows.collect())
}

/// GET /cluster/ha/rules/{rule}
pub(crate) fn read_rule(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let name = call.text("rule");
    match (1..).zip(&state.ha_rules).find(|(_, (other, _))| other.as_str() == name) {
        Some((order, (_, rule))) => Ok(rule_row(order, name, rule)),
        None => fail(format!("no such ha rule '{name}'")),
    }
}

/// Checks a rule as it would be after the call. A complaint is that of a node.
fn check_rule(state: &ClusterState, name: &str, kind: &str, rule: &Map<String, Value>) -> Result<(), String> {
    let own: &[&str] = if kind == "node-affinity" { &["nodes", "strict"] } else { &["affinity"] };
    if let Some(other) = rule.keys().find(|key| !RULE_PARAMS.contains(&key.as_str()) && !own.contains(&key.as_str())) {
        return Err(format!("{other}: property is not defined in schema for rule of type {kind}"));
    }
    let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or("");
    let resources: Vec<&str> = text("resources").split(',').filter(|resource| !resource.is_empty()).collect();
    let invalid = |reason: &str| Err(format!("400 Rule '{name}' is invalid.\nresources: {reason}"));
    if kind == "resource-affinity" && resources.len() < 2 {
        return invalid("rule is ineffective as there are less than two resources");
    }
    if let Some(unknown) = resources.iter().find(|resource| !state.ha_resources.contains_key(**resource)) {
        return Err(format!("cannot use unmanaged resource(s) {unknown}."));
    }
    let mut nodes = text("nodes").split(',').filter(|node| !node.is_empty());
    if let Some(unknown) = nodes.find(|node| state.node(node.split(':').next().unwrap_or(node)).is_err()) {
        return Err(format!("cannot use non-existent node(s) '{unknown}'"));
    }
    Ok(())
}

/// Fails if the call lacks one of the parameters.
fn require_params(call: &Invocation<'_>, names: &[&str]) -> ApiResult<()> {
    match names.iter().find(|name| !call.params.contains_key(**name)) {
        Some(name) => parameter_error(name, MISSING_PARAMETER),
        None => Ok(()),
    }
}

/// POST /cluster/ha/rules
pub(crate) fn create_rule(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_params(call, &["rule", "type", "resources"])?;
    let (name, kind) = (call.text("rule"), call.text("type"));
    match kind {
        "node-affinity" => require_params(call, &["nodes"])?,
        "resource-affinity" => require_params(call, &["affinity"])?,
        _ => {
            let words = "node-affinity, resource-affinity";
            return parameter_error(
                "type",
                format!("value '{kind}' does not have a value in the enumeration '{words}'"),
            );
        }
    }
    let given = call.params.iter().filter(|(key, _)| key.as_str() != "rule");
    let rule: Map<String, Value> = given.map(|(key, value)| (key.clone(), value.clone())).collect();
    if state.ha_rules.contains_key(name) {
        return fail(format!("create ha rule failed: HA rule '{name}' already defined"));
    }
    if let Err(reason) = check_rule(state, name, kind, &rule) {
        return fail(format!("create ha rule failed: {reason}"));
    }
    state.ha_rules.insert(name.into(), rule);
    Ok(Value::Null)
}

/// PUT /cluster/ha/rules/{rule}
pub(crate) fn update_rule(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let name = call.text("rule");
    let Some(mut rule) = state.ha_rules.get(name).cloned() else {
        return fail(format!("update HA rules failed: HA rule '{name}' does not exist"));
    };
    rule.retain(|key, _| call.list("delete").all(|deleted| deleted != key));
    let given = call.params.iter().filter(|(key, _)| !matches!(key.as_str(), "rule" | "delete" | "digest"));
    rule.extend(given.map(|(key, value)| (key.clone(), value.clone())));
    let kind = rule["type"].as_str().expect("a rule has a type").to_string();
    if let Err(reason) = check_rule(state, name, &kind, &rule) {
        return fail(format!("update HA rules failed: {reason}"));
    }
    state.ha_rules.insert(name.into(), rule);
    Ok(Value::Null)
}

/// DELETE /cluster/ha/rules/{rule}
pub(crate) fn delete_rule(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let name = call.text("rule");
    match state.ha_rules.remove(name) {
        Some(_) => Ok(Value::Null),
        None => fail(format!("delete ha rule failed: HA rule '{name}' does not exist")),
    }
}

/// Fails unless the node has HA groups. (PVE 9: they have become rules.)
fn require_groups(call: &Invocation<'_>, verb: &str) -> ApiResult<()> {
    match call.release {
        Release::Pve8 => Ok(()),
        Release::Pve9 => fail(format!("cannot {verb}: ha groups have been migrated to rules")),
    }
}

fn group_row(name: &str, group: &Map<String, Value>) -> Value {
    let mut row = json!(group);
    row["group"] = name.into();
    row["type"] = "group".into();
    row["digest"] = DIGEST.into();
    row
}

/// Sets the properties of a group that the call has.
fn set_group(group: &mut Map<String, Value>, call: &Invocation<'_>) {
    group.retain(|key, _| call.list("delete").all(|deleted| deleted != key));
    let is_property = |key: &str| !matches!(key, "group" | "type" | "delete" | "digest");
    let given = call.params.iter().filter(|(key, _)| is_property(key));
    group.extend(given.map(|(key, value)| (key.clone(), value.clone())));
}

/// GET /cluster/ha/groups
pub(crate) fn list_groups(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_groups(call, "index groups")?;
    Ok(state.ha_groups.iter().map(|(name, group)| group_row(name, group)).collect())
}

/// GET /cluster/ha/groups/{group}
pub(crate) fn read_group(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_groups(call, "read group")?;
    let name = call.text("group");
    let group = state.ha_groups.get(name);
    group.map_or_else(|| fail(format!("no such ha group '{name}'")), |group| Ok(group_row(name, group)))
}

/// POST /cluster/ha/groups
pub(crate) fn create_group(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_groups(call, "create group")?;
    let name = call.text("group");
    if state.ha_groups.contains_key(name) {
        return fail(format!("create ha group failed: ha group ID '{name}' already defined"));
    }
    let mut group = Map::new();
    set_group(&mut group, call);
    state.ha_groups.insert(name.into(), group);
    Ok(Value::Null)
}

/// PUT /cluster/ha/groups/{group}
pub(crate) fn update_group(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_groups(call, "update group")?;
    let name = call.text("group");
    let Some(group) = state.ha_groups.get_mut(name) else { return fail(format!("no such ha group '{name}'")) };
    set_group(group, call);
    Ok(Value::Null)
}

/// DELETE /cluster/ha/groups/{group}
pub(crate) fn delete_group(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_groups(call, "delete group")?;
    let name = call.text("group");
    let user = state.ha_resources.iter().find(|(_, resource)| resource["group"] == name).map(|(id, _)| id);
    if let Some(id) = user {
        return fail(format!("delete ha group failed: ha group is used by service '{id}'"));
    }
    match state.ha_groups.remove(name) {
        Some(_) => Ok(Value::Null),
        None => fail(format!("delete ha group failed: cannot delete non-existent ha group '{name}'")),
    }
}
