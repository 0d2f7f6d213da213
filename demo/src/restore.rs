//! A guest brought back from a backup.

use super::api::{Answer, Call, Fault, failed};
use super::config;
use super::lifecycle::{blank, fresh_macs};
use super::power;
use super::tasks::Job;
use super::value::json;
use super::world::{Guest, World, size_of, volid_of};
use serde_json::Value;

/// POST /nodes/{node}/qemu with `archive`, …/lxc with `restore` and the archive as `ostemplate`.
pub(super) fn restore(world: &mut World, call: &Call<'_>, volid: &str) -> Answer {
    let (node, lxc, vmid) = (call.text("node"), call.lxc, call.vmid());
    let why = format!("unable to restore {} {vmid} -", if lxc { "CT" } else { "VM" });
    let backup = world
        .volumes
        .iter()
        .find(|v| v.volid == volid && v.content == "backup" && v.node.as_deref().is_none_or(|n| n == node));
    let Some(backup) = backup else { return failed(format!("{why} volume '{volid}' does not exist")) };
    if backup.format.starts_with("vma") == lxc {
        return failed(format!("{why} '{volid}' is a backup of the other kind of guest"));
    }
    // A backup of a guest that was gone before the demo began holds a guest of its size.
    let lost = || {
        let mut config = super::world::Config::new();
        if let Value::Object(given) =
            json!({"name": backup.notes, "memory": "4096", "scsi0": "local-lvm:old,size=200G"})
        {
            config.extend(given);
        }
        config
    };
    let config = backup.config.clone().unwrap_or_else(lost);
    let mut guest = Guest { config, pool: call.given("pool").map(String::from), ..blank(vmid, lxc, node) };
    if let Some(there) = world.guests.get(&vmid) {
        if there.node != node || there.lxc != lxc || !call.flag("force") {
            return failed(format!("{why} VM {vmid} already exists on node '{}'", there.node));
        }
        if there.is("protection") {
            return failed(format!("{why} protection mode enabled"));
        }
        if there.running() {
            return failed(format!("{why} {}", if lxc { "container is running" } else { "vm is running" }));
        }
        if let Some(lock) = there.lock {
            return failed(format!("{why} VM is locked ({lock})"));
        }
        guest.pool = guest.pool.or_else(|| there.pool.clone());
    }
    guest.config.remove("template");
    let mut job = Job::new(node, if lxc { "vzrestore" } else { "qmrestore" }, vmid).line(if lxc {
        format!("recovering backed-up configuration from '{volid}'")
    } else {
        format!("restore vma archive: {volid}")
    });
    let old: Vec<String> =
        world.guests.get(&vmid).into_iter().flat_map(Guest::disks).map(|(_, v)| volid_of(&v).into()).collect();
    for (key, value) in guest.disks() {
        let before = volid_of(&value).to_string();
        let store = call.given("storage").or_else(|| Some(before.split_once(':')?.0)).unwrap_or_default();
        let size = size_of(&value);
        let new = config::allocate(world, node, store, vmid, lxc, size).map_err(Fault::Failed)?;
        if let Some(volume) = world.volumes.iter_mut().find(|v| v.volid == new) {
            volume.used = size / 3;
        }
        job = job.line(format!("new volume ID is '{new}'"));
        guest.config.insert(key, value.replacen(&before, &new, 1).into());
    }
    let changed = config::prepare(world, &guest, &call.params, call.given("storage"))?;
    guest.config.extend(changed);
    if call.flag("unique") {
        fresh_macs(world, &mut guest.config);
    }
    let start = call.flag("start");
    let job = job.line("progress 100%").line("rescan volumes...");
    let there = world.guests.entry(vmid).or_insert_with(|| guest.clone()).vmid;
    job.lock(there, "create").begin(world, &call.caller.id, move |world| {
        world.volumes.retain(|v| !old.contains(&v.volid));
        if start {
            power::start_now(&mut guest, world.now);
        }
        world.guests.insert(vmid, guest);
        Ok(())
    })
}
