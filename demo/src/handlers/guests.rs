//! VMs and containers as they are now: lists, status, measurements.

use super::ha::requested_state;
use super::time_series::sample_times;
use crate::error::ApiResult;
use crate::invocation::Invocation;
use crate::model::guest::{Disk, Guest, StaleName, load_curve};
use crate::options::Release;
use crate::state::ClusterState;
use crate::units::MIB;
use serde_json::{Value, json};

/// Returns the bytes in use on the first disk of a running guest. A node does not look into the disks of a VM.
fn used_disk(guest: &Guest) -> u64 {
    guest.kind.select(0, guest.disk_size() / 100 * u64::from(20 + guest.vmid % 50))
}

/// Returns the members that every listing of a guest has.
fn guest_row(guest: &Guest, now: f64) -> Value {
    let usage = guest.usage(now);
    // Counters grow with the uptime at the rates of the current hour.
    let rates = guest.usage(now - now % 3600.0 + 1.0);
    let counter = |rate: f64| guest.started.map_or(0, |started| ((now - started).max(0.0) * rate) as u64);
    let mut row = json!({
        "vmid": guest.vmid,
        "name": guest.name(),
        "status": if guest.is_running() { "running" } else { "stopped" },
        "uptime": counter(1.0),
        "cpu": usage.cpu,
        "mem": usage.memory,
        "maxmem": guest.memory(),
        "disk": if guest.is_running() { used_disk(guest) } else { 0 },
        "maxdisk": guest.disk_size(),
        "netin": counter(rates.net_in),
        "netout": counter(rates.net_out),
        "diskread": counter(rates.disk_read),
        "diskwrite": counter(rates.disk_write),
    });
    if !guest.kind.is_container() {
        row["memhost"] = usage.memory.saturating_add(usage.memory / 50).into();
    }
    if let Some(tags) = guest.option("tags") {
        row["tags"] = tags.into();
    }
    if let Some(lock) = guest.lock {
        row["lock"] = lock.into();
    }
    row
}

/// Removes the members that are new in 9.
fn remove_new_members(release: Release, row: &mut Value) {
    if release == Release::Pve8 {
        let row = row.as_object_mut().expect("a row is an object");
        row.retain(|member, _| member != "memhost" && !member.starts_with("pressure"));
    }
}

/// Returns the row of a guest in /cluster/resources.
pub(crate) fn resource_row(state: &ClusterState, guest: &Guest) -> Value {
    let mut row = guest_row(guest, state.now);
    match guest.stale_name.as_ref().filter(|stale| state.now < stale.until) {
        Some(StaleName { name: Some(name), .. }) => row["name"] = name.as_str().into(),
        Some(StaleName { name: None, .. }) => {
            row.as_object_mut().expect("a row is an object").remove("name");
            row["status"] = "unknown".into();
        }
        None => {}
    }
    if let Some(resource) = state.ha_resources.get(&guest.ha_id()) {
        row["hastate"] = requested_state(resource).into();
    }
    if let Some(pool) = &guest.pool {
        row["pool"] = pool.as_str().into();
    }
    row["id"] = format!("{}/{}", guest.kind, guest.vmid).into();
    row["type"] = guest.kind.to_string().into();
    row["node"] = guest.node.as_str().into();
    row["maxcpu"] = guest.cpus().into();
    row["template"] = u8::from(guest.is_template()).into();
    remove_new_members(state.release, &mut row);
    row
}

/// Returns the members that a guest has in the list and in the status of its node.
fn node_row(guest: &Guest, now: f64) -> Value {
    let mut row = guest_row(guest, now);
    row["cpus"] = guest.cpus().into();
    if guest.is_template() {
        row["template"] = 1.into();
    }
    if guest.kind.is_container() {
        row["type"] = "lxc".into();
        row["swap"] = 0.into();
        row["maxswap"] = (512 * MIB).into();
    }
    if guest.is_running() {
        row["pid"] = (2000 + guest.vmid).into();
        for resource in ["cpu", "io", "memory"] {
            row[format!("pressure{resource}some")] = 0.into();
            row[format!("pressure{resource}full")] = 0.into();
        }
    }
    row
}

/// GET /nodes/{node}/qemu and …/lxc: the guests that the caller can see.
pub(crate) fn list_guests(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guests = state
        .guests
        .values()
        .filter(|guest| guest.kind == call.guest_kind && guest.node == call.node())
        .filter(|guest| call.allows(state, &format!("/vms/{}", guest.vmid), "VM.Audit"));
    let row = |guest: &Guest| {
        let mut row = node_row(guest, state.now);
        remove_new_members(call.release, &mut row);
        row
    };
    Ok(guests.map(row).collect())
}

/// GET …/status/current
pub(crate) fn read_status(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let is_container = guest.kind.is_container();
    let mut row = node_row(guest, state.now);
    row["ha"] = match state.ha_resources.get(&guest.ha_id()) {
        Some(resource) => json!({"managed": 1, "state": requested_state(resource)}),
        None => json!({"managed": 0}),
    };
    if !is_container {
        let status = match (guest.is_running(), guest.paused) {
            (true, true) => "paused",
            (true, false) => "running",
            (false, _) => "stopped",
        };
        row["qmpstatus"] = status.into();
        if guest.has_agent() {
            row["agent"] = 1.into();
        }
    }
    if guest.is_running() && !is_container {
        let interface = json!({"netin": row["netin"], "netout": row["netout"]});
        row["nics"] = json!({format!("tap{}i0", guest.vmid): interface});
        row["running-machine"] = "pc-i440fx-10.1+pve0".into();
        row["running-qemu"] = "10.1.2".into();
    }
    remove_new_members(call.release, &mut row);
    Ok(row)
}

/// GET …/rrddata
pub(crate) fn read_time_series(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let row = |time: f64| {
        let mut row = json!({"time": time as i64, "maxcpu": guest.cpus(), "maxmem": guest.memory(),
            "maxdisk": guest.disk_size()});
        if guest.started.is_some_and(|started| time >= started) {
            let usage = guest.usage(time);
            row["cpu"] = usage.cpu.into();
            row["mem"] = (usage.memory as f64).into();
            row["disk"] = used_disk(guest).into();
            row["netin"] = usage.net_in.into();
            row["netout"] = usage.net_out.into();
            row["diskread"] = usage.disk_read.into();
            row["diskwrite"] = usage.disk_write.into();
            row["pressurecpusome"] = (load_curve(guest.vmid, time) * 2.0).floor().into();
        }
        remove_new_members(call.release, &mut row);
        row
    };
    Ok(sample_times(state.now, call.text("timeframe")).map(row).collect())
}

/// GET …/feature
pub(crate) fn check_feature(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let has_feature = guest.is_template() || call.text("feature") != "clone";
    Ok(json!({"hasFeature": u8::from(has_feature), "nodes": [guest.node]}))
}

/// GET /nodes/{node}/qemu/{vmid}/migrate: the preconditions of a migration.
pub(crate) fn check_migration(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let is_local = |disk: &Disk| state.volumes.iter().any(|v| v.volid == disk.volume_id() && v.node.is_some());
    let row = |disk: Disk| {
        let (volid, size) = (disk.volume_id(), disk.size());
        json!({"volid": volid, "drivename": disk.slot, "size": size, "cdrom": 0, "is_unused": 0, "is_attached": 1,
            "is_cloudinit": 0, "is_tpmstate": 0, "is_vmstate": 0, "replicate": 1, "shared": 0})
    };
    let local_disks: Value = guest.disks().into_iter().filter(is_local).map(row).collect();
    if guest.kind.is_container() {
        let nodes: Value = state.nodes.iter().filter(|n| n.name != guest.node).map(|n| n.name).collect();
        return Ok(json!({"running": u8::from(guest.is_running()), "allowed-nodes": nodes, "not-allowed-nodes": {}}));
    }
    let mut conditions = json!({"running": u8::from(guest.is_running()), "local_disks": local_disks,
        "local_resources": [], "mapped-resources": [], "mapped-resource-info": {}, "has-dbus-vmstate": 1,
        "not_allowed_nodes": {}});
    conditions["allowed_nodes"] =
        state.nodes.iter().filter(|node| node.name != guest.node).map(|node| node.name).collect();
    Ok(conditions)
}

/// GET /nodes/{node}/lxc/{vmid}/interfaces
pub(crate) fn list_interfaces(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    if !guest.is_running() {
        return Ok(Value::Null);
    }
    let (ip, mac) = guest.addresses();
    Ok(json!([
        {"name": "lo", "hwaddr": "00:00:00:00:00:00", "hardware-address": "00:00:00:00:00:00", "inet": "127.0.0.1/8",
            "inet6": "::1/128", "ip-addresses": [
                {"ip-address": "127.0.0.1", "ip-address-type": "inet", "prefix": "8"},
                {"ip-address": "::1", "ip-address-type": "inet6", "prefix": "128"},
            ]},
        {"name": "eth0", "hwaddr": mac, "hardware-address": mac, "inet": format!("{ip}/24"),
            "ip-addresses": [{"ip-address": ip, "ip-address-type": "inet", "prefix": "24"}]},
    ]))
}
