//! VMs and containers as they are now: lists, status, measurements.

use super::api::{Answer, Call};
use super::value::{json, put, set};
use super::world::{Guest, Usage, World, size_of, volid_of, wave};
use serde_json::{Map, Value};

/// Counters since the start, as a guest shows them.
fn counter(guest: &Guest, now: f64, rate: f64) -> u64 {
    guest.since.map_or(0, |since| ((now - since).max(0.0) * rate) as u64)
}

/// What every listing of a guest has in common.
fn common(guest: &Guest, now: f64) -> (Map<String, Value>, Usage) {
    let usage = guest.usage(now);
    let mean = guest.usage(now - now % 3600.0 + 1.0);
    let uptime = guest.since.map_or(0, |since| (now - since).max(0.0) as u64);
    let running = guest.running();
    let disk = if guest.lxc && running { guest.maxdisk() / 100 * u64::from(20 + guest.vmid % 50) } else { 0 };
    let row = json!({
        "vmid": guest.vmid,
        "name": guest.name(),
        "status": if running { "running" } else { "stopped" },
        "uptime": uptime,
        "cpu": usage.cpu,
        "mem": usage.mem,
        "maxmem": guest.maxmem(),
        "disk": disk,
        "maxdisk": guest.maxdisk(),
        "netin": counter(guest, now, mean.netin),
        "netout": counter(guest, now, mean.netout),
        "diskread": counter(guest, now, mean.read),
        "diskwrite": counter(guest, now, mean.write),
    });
    let mut row = if let Value::Object(row) = row { row } else { Map::new() };
    if !guest.lxc {
        put(&mut row, "memhost", usage.mem.saturating_add(usage.mem / 50).into());
    }
    if let Some(tags) = guest.text("tags") {
        put(&mut row, "tags", tags.into());
    }
    if let Some(lock) = guest.lock {
        put(&mut row, "lock", lock.into());
    }
    (row, usage)
}

/// A guest's row of /cluster/resources.
pub(super) fn resource(guest: &Guest, now: f64, pool: bool) -> Value {
    let (mut row, _) = common(guest, now);
    put(&mut row, "id", format!("{}/{}", guest.kind(), guest.vmid).into());
    put(&mut row, "type", guest.kind().into());
    put(&mut row, "node", guest.node.clone().into());
    put(&mut row, "maxcpu", guest.cpus().into());
    put(&mut row, "template", u8::from(guest.is("template")).into());
    if let (true, Some(pool)) = (pool, &guest.pool) {
        put(&mut row, "pool", pool.clone().into());
    }
    row.into()
}

/// GET /nodes/{node}/qemu and …/lxc: those the caller may see.
pub(super) fn list(world: &mut World, call: &Call<'_>) -> Answer {
    let here = world.guests.values().filter(|g| g.lxc == call.lxc && g.node == call.text("node"));
    let seen = here.filter(|g| call.may(world, &format!("/vms/{}", g.vmid), "VM.Audit"));
    let row = |guest: &Guest| {
        let (mut row, _) = common(guest, world.now);
        put(&mut row, "cpus", guest.cpus().into());
        if guest.is("template") {
            put(&mut row, "template", 1.into());
        }
        if guest.lxc {
            put(&mut row, "type", "lxc".into());
            put(&mut row, "swap", 0.into());
            put(&mut row, "maxswap", (512 << 20).into());
        } else if guest.running() {
            put(&mut row, "pid", (2000 + guest.vmid).into());
        }
        Value::Object(row)
    };
    Ok(seen.map(row).collect())
}

/// GET …/status/current.
pub(super) fn current(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest(call.text("node"), call.lxc, call.vmid())?;
    let (mut row, _) = common(guest, world.now);
    put(&mut row, "cpus", guest.cpus().into());
    let sid = format!("{}:{}", if guest.lxc { "ct" } else { "vm" }, guest.vmid);
    let ha = match world.ha.get(&sid) {
        Some(resource) => {
            let state = resource.get("state").cloned().unwrap_or_default();
            json!({"managed": 1, "state": state})
        }
        None => json!({"managed": 0}),
    };
    put(&mut row, "ha", ha);
    if guest.is("template") {
        put(&mut row, "template", 1.into());
    }
    if guest.lxc {
        put(&mut row, "type", "lxc".into());
        put(&mut row, "swap", 0.into());
        put(&mut row, "maxswap", (512 << 20).into());
    } else {
        let state = match (guest.running(), guest.paused) {
            (true, true) => "paused",
            (true, false) => "running",
            _ => "stopped",
        };
        put(&mut row, "qmpstatus", state.into());
        if guest.text("agent").is_some_and(|a| a.starts_with('1') || a.contains("enabled=1")) {
            put(&mut row, "agent", 1.into());
        }
    }
    if guest.running() {
        put(&mut row, "pid", (2000 + guest.vmid).into());
        for what in ["cpu", "io", "memory"] {
            put(&mut row, &format!("pressure{what}some"), 0.into());
            put(&mut row, &format!("pressure{what}full"), 0.into());
        }
        if !guest.lxc {
            let tap = format!("tap{}i0", guest.vmid);
            let tap = tap.as_str();
            let (netin, netout) = (row.get("netin").cloned(), row.get("netout").cloned());
            put(&mut row, "nics", json!({tap: {"netin": netin, "netout": netout}}));
            put(&mut row, "running-machine", "pc-i440fx-10.1+pve0".into());
            put(&mut row, "running-qemu", "10.1.2".into());
        }
    }
    Ok(row.into())
}

/// The moments that a timeframe shows: 70 of them, ending now.
pub(super) fn moments(world: &World, timeframe: &str) -> impl Iterator<Item = f64> + use<> {
    let step = match timeframe {
        "day" => 1800.0,
        "week" => 10_800.0,
        "month" => 43_200.0,
        "year" => 604_800.0,
        "decade" => 6_048_000.0,
        _ => 60.0,
    };
    let last = (world.now / step).floor() * step;
    (0..70).rev().map(move |n| last - f64::from(n) * step)
}

/// GET …/rrddata.
pub(super) fn rrddata(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest(call.text("node"), call.lxc, call.vmid())?;
    let row = |time: f64| {
        let mut row =
            json!({"time": time as i64, "maxcpu": guest.cpus(), "maxmem": guest.maxmem(), "maxdisk": guest.maxdisk()});
        if guest.since.is_some_and(|since| time >= since) {
            let u = guest.usage(time);
            for (key, value) in [("netin", u.netin), ("netout", u.netout), ("diskread", u.read), ("diskwrite", u.write)]
            {
                set(&mut row, key, value.into());
            }
            set(&mut row, "cpu", u.cpu.into());
            set(&mut row, "mem", (u.mem as f64).into());
            set(&mut row, "disk", 0.into());
            set(&mut row, "pressurecpusome", (wave(guest.vmid, time) * 2.0).floor().into());
        }
        row
    };
    Ok(moments(world, call.text("timeframe")).map(row).collect())
}

/// GET …/feature.
pub(super) fn feature(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest(call.text("node"), call.lxc, call.vmid())?;
    let has = guest.is("template") || call.text("feature") != "clone";
    Ok(json!({"hasFeature": u8::from(has), "nodes": [guest.node]}))
}

/// GET /nodes/{node}/qemu/{vmid}/migrate: what stands in the way.
pub(super) fn migratable(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest(call.text("node"), call.lxc, call.vmid())?;
    let disk = |(drive, value): (String, String)| {
        let volid = volid_of(&value);
        let local = world.volumes.iter().any(|v| v.volid == volid && v.node.is_some());
        local.then(|| json!({"volid": volid, "drivename": drive, "size": size_of(&value), "cdrom": 0, "is_unused": 0}))
    };
    let disks: Vec<Value> = guest.disks().into_iter().filter_map(disk).collect();
    let mut all = json!({"running": u8::from(guest.running()), "local_disks": disks, "local_resources": [],
        "mapped-resources": [], "has-dbus-vmstate": 1});
    if !guest.running() {
        let others: Value = world.nodes.iter().filter(|n| n.name != guest.node).map(|n| n.name).collect();
        set(&mut all, "allowed_nodes", others);
        set(&mut all, "not_allowed_nodes", json!({}));
    }
    Ok(all)
}

/// GET /nodes/{node}/lxc/{vmid}/interfaces.
pub(super) fn interfaces(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest(call.text("node"), true, call.vmid())?;
    if !guest.running() {
        return Ok(Value::Null);
    }
    let (ip, mac) = address(guest);
    Ok(json!([
        {"name": "lo", "hwaddr": "00:00:00:00:00:00", "inet": "127.0.0.1/8", "inet6": "::1/128"},
        {"name": "eth0", "hwaddr": mac.to_lowercase(), "inet": format!("{ip}/24")},
    ]))
}

/// A guest's address in the guests' network, and its MAC address.
pub(super) fn address(guest: &Guest) -> (String, String) {
    let mac = guest.text("net0").unwrap_or_default();
    let mac = mac.split([',', '=']).find(|part| part.matches(':').count() == 5).unwrap_or("00:00:00:00:00:00");
    (format!("198.51.100.{}", guest.vmid % 250 + 1), mac.to_string())
}
