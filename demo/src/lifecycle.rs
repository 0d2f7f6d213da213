//! How guests come, move, grow and go.

use super::api::{Answer, Call, Fault, bad, failed};
use super::check::plain;
use super::config;
use super::power;
use super::restore;
use super::tasks::Job;
use super::value::json;
use super::world::{Config, Guest, World, bytes, human, size_of, volid_of};
use serde_json::Value;

/// POST /nodes/{node}/qemu and …/lxc.
pub(super) fn create(world: &mut World, call: &Call<'_>) -> Answer {
    let (node, lxc, vmid) = (call.text("node"), call.lxc, call.vmid());
    let label = if lxc { "CT" } else { "VM" };
    match call.given("pool") {
        Some(pool) if !world.pools.contains_key(pool) => return failed(format!("no such pool '{pool}'")),
        Some(pool) if call.may(world, &format!("/pool/{pool}"), "VM.Allocate") => {}
        _ => call.need(world, &format!("/vms/{vmid}"), "VM.Allocate")?,
    }
    if let Some(archive) = call.given("archive").or_else(|| call.given("ostemplate").filter(|_| call.flag("restore"))) {
        return restore::restore(world, call, archive);
    }
    if let Some(there) = world.guests.get(&vmid) {
        return failed(format!("unable to create {label} {vmid} - VM {vmid} already exists on node '{}'", there.node));
    }
    let mut guest = blank(vmid, lxc, node);
    guest.pool = call.given("pool").map(String::from);
    let mut params = call.params.clone();
    if lxc {
        let template = call.text("ostemplate");
        if !world.volumes.iter().any(|v| v.volid == template && v.content == "vztmpl") {
            return failed(format!("volume '{template}' does not exist"));
        }
        let storage = call.given("storage").unwrap_or("local-lvm");
        params.entry("rootfs".into()).or_insert_with(|| format!("{storage}:4").into());
        let hostname = format!("CT{vmid}");
        for (key, value) in [
            ("arch", json!("amd64")),
            ("hostname", hostname.into()),
            ("memory", 512.into()),
            ("swap", 512.into()),
            ("unprivileged", 1.into()),
            ("ostype", "debian".into()),
        ] {
            params.entry(key.into()).or_insert(value);
        }
    } else {
        params.entry("memory".into()).or_insert_with(|| "512".into());
        let uuid = format!("uuid=00000000-0000-4000-8000-{vmid:012}");
        params.entry("smbios1".into()).or_insert(uuid.into());
    }
    guest.config = config::prepare(world, &guest, &params, call.given("storage"))?;
    let disks = guest.disks();
    if !lxc && !guest.config.contains_key("boot") && !disks.is_empty() {
        let names: Vec<&str> = disks.iter().map(|(name, _)| name.as_str()).collect();
        guest.config.insert("boot".into(), format!("order={}", names.join(";")).into());
    }
    let start = call.flag("start");
    world.guests.insert(vmid, guest);
    let job = Job::new(node, if lxc { "vzcreate" } else { "qmcreate" }, vmid).lock(vmid, "create");
    let job =
        disks.iter().fold(job, |job, (name, value)| job.line(format!("{name}: successfully created disk '{value}'")));
    let job = if lxc { job.line(format!("extracting archive '{}'", call.text("ostemplate"))) } else { job };
    job.begin(world, &call.caller.id, move |world| {
        let now = world.now;
        if let Some(guest) = world.guests.get_mut(&vmid).filter(|_| start) {
            power::start_now(guest, now);
        }
        Ok(())
    })
}

/// A stopped guest without any option.
pub(super) fn blank(vmid: u32, lxc: bool, node: &str) -> Guest {
    Guest {
        vmid,
        lxc,
        node: node.into(),
        config: Config::new(),
        booted: None,
        since: None,
        paused: false,
        lock: None,
        snapshots: Vec::new(),
        parent: None,
        pool: None,
    }
}

/// POST …/clone.
pub(super) fn clone(world: &mut World, call: &Call<'_>) -> Answer {
    let (node, lxc, vmid) = (call.text("node"), call.lxc, call.vmid());
    let newid = call.int("newid").and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
    match call.given("pool") {
        Some(pool) if !world.pools.contains_key(pool) => return failed(format!("no such pool '{pool}'")),
        Some(pool) if call.may(world, &format!("/pool/{pool}"), "VM.Allocate") => {}
        _ => call.need(world, &format!("/vms/{newid}"), "VM.Allocate")?,
    }
    let source = world.guest(node, lxc, vmid)?.clone();
    let label = if lxc { "CT" } else { "VM" };
    if let Some(lock) = source.lock {
        return failed(format!("{label} is locked ({lock})"));
    }
    if world.guests.contains_key(&newid) {
        return failed(format!("unable to create {label} {newid}: config file already exists"));
    }
    if lxc && source.running() && call.given("snapname").is_none() {
        return failed("cannot clone a running container: no snapshot name given");
    }
    let full = call.int("full").map_or(!source.is("template"), |full| full == 1);
    if !full && !source.is("template") {
        return bad("full", "Linked clone feature is only available for templates");
    }
    let config = match call.given("snapname") {
        Some(name) => match source.snapshots.iter().find(|s| s.name == name) {
            Some(snapshot) => snapshot.config.clone(),
            None => return failed(format!("snapshot '{name}' does not exist")),
        },
        None => source.config.clone(),
    };
    let target = call.given("target").unwrap_or(node);
    if !world.has_node(target) {
        return failed(format!("no such cluster node '{target}'"));
    }
    let mut guest = Guest { config, ..blank(newid, lxc, target) };
    guest.pool = call.given("pool").map(String::from);
    guest.config.retain(|key, _| !matches!(key.as_str(), "template" | "protection" | "smbios1" | "vmgenid"));
    let mut job = Job::new(node, if lxc { "vzclone" } else { "qmclone" }, vmid).lock(newid, "clone");
    for (key, value) in guest.disks() {
        let old = volid_of(&value).to_string();
        let store = call.given("storage").or_else(|| old.split_once(':').map(|(store, _)| store)).unwrap_or_default();
        if target != node && !world.storage(store)?.shared {
            return failed(format!("can't clone VM to node '{target}' (VM uses local storage)"));
        }
        let size = size_of(&value);
        let new = config::allocate(world, target, store, newid, lxc, size).map_err(Fault::Failed)?;
        let how = if full { "full" } else { "linked" };
        job = job.line(format!("create {how} clone of drive {key} ({old})"));
        if full {
            job = job.line(format!("transferred {0} of {0} (100.00%)", human(size)));
        }
        guest.config.insert(key, value.replacen(&old, &new, 1).into());
    }
    let name = call
        .given(if lxc { "hostname" } else { "name" })
        .map_or_else(|| format!("Copy-of-{label}-{}", source.name()), String::from);
    guest.config.insert(if lxc { "hostname" } else { "name" }.into(), name.into());
    if let Some(description) = call.given("description") {
        guest.config.insert("description".into(), description.into());
    }
    fresh_macs(world, &mut guest.config);
    world.guests.insert(newid, guest);
    job.begin(world, &call.caller.id, |_| Ok(()))
}

/// Gives every network card a new address: two guests with one MAC address would take each other's traffic.
pub(super) fn fresh_macs(world: &mut World, config: &mut Config) {
    let mut tail = world.unique();
    for (key, value) in config.iter_mut().filter(|(key, _)| key.starts_with("net")) {
        let (text, now) = (plain(value), tail);
        if let Some(mac) = text.split([',', '=']).find(|part| part.matches(':').count() == 5 && key.len() > 3) {
            let new = format!("BC:24:11:{:02X}:{:02X}:{:02X}", now >> 16 & 0xff, now >> 8 & 0xff, now & 0xff);
            *value = text.replacen(mac, &new, 1).into();
        }
        tail = tail.wrapping_add(1 << 16);
    }
}

/// POST …/migrate.
pub(super) fn migrate(world: &mut World, call: &Call<'_>) -> Answer {
    let (node, lxc, vmid) = (call.text("node"), call.lxc, call.vmid());
    let guest = world.guest(node, lxc, vmid)?.clone();
    let target = call.text("target").to_string();
    if target == node {
        return bad("target", "target is local node.");
    }
    let Some(address) = world.nodes.iter().find(|n| n.name == target).map(|n| n.ip) else {
        return failed(format!("no such cluster node '{target}'"));
    };
    let running = guest.running();
    match (running, lxc) {
        (true, true) if call.flag("online") => return failed("lxc live migration is currently not implemented"),
        (true, true) if !call.flag("restart") => {
            return failed("can't migrate running container without --online or --restart");
        }
        (true, false) if !call.flag("online") => return failed("can't migrate running VM without --online"),
        _ => {}
    }
    let mut local = Vec::new();
    for (_, value) in guest.disks() {
        let volid = volid_of(&value).to_string();
        if !world.storage(volid.split(':').next().unwrap_or_default())?.shared {
            local.push(volid);
        }
    }
    let stuck = running && !lxc && !local.is_empty() && !call.flag("with-local-disks");
    let label = guest.label();
    let mut job = Job::on(&guest, "qmigrate", "vzmigrate")
        .refuse(stuck, "can't live migrate attached local disks without with-local-disks option")
        .lock(vmid, "migrate")
        .line(format!("starting migration of {label} to node '{target}' ({address})"));
    for volid in &local {
        job = job.line(format!("copying local disk image '{volid}'"));
    }
    if running && !lxc {
        job = job.line(format!("starting online/live migration on unix:/run/qemu-server/{vmid}.migrate"));
    }
    let job = job.line(format!("migration finished successfully (to node '{target}')"));
    job.begin(world, &call.caller.id, move |world| {
        let now = world.now;
        let Some(guest) = world.guests.get_mut(&vmid) else { return Err(format!("no such guest {vmid}")) };
        guest.node.clone_from(&target);
        if guest.lxc && guest.running() {
            power::start_now(guest, now);
        }
        for volume in world.volumes.iter_mut().filter(|v| local.contains(&v.volid)) {
            volume.node = Some(target.clone());
        }
        Ok(())
    })
}

/// DELETE …/{vmid}.
pub(super) fn destroy(world: &mut World, call: &Call<'_>) -> Answer {
    let (node, lxc, vmid) = (call.text("node"), call.lxc, call.vmid());
    let guest = world.guest(node, lxc, vmid)?;
    let label = guest.label();
    if guest.is("protection") {
        return failed(format!("can't remove {label} - protection mode enabled"));
    }
    let sid = format!("{}:{vmid}", if lxc { "ct" } else { "vm" });
    if world.ha.contains_key(&sid) && !call.flag("purge") {
        return failed(format!("unable to remove {label} - used in HA resources and purge parameter not set."));
    }
    if guest.running() && !(lxc && call.flag("force")) {
        return failed(if lxc {
            format!("unable to destroy {label} - container is running")
        } else {
            format!("{label} is running - destroy failed")
        });
    }
    let purge = call.flag("purge");
    let mut job = Job::on(guest, "qmdestroy", "vzdestroy");
    for (_, value) in guest.disks() {
        job = job.line(format!("removing volume '{}'", volid_of(&value)));
    }
    job.begin(world, &call.caller.id, move |world| {
        world.guests.remove(&vmid);
        world.rules.remove(&vmid);
        world.volumes.retain(|v| v.vmid != Some(vmid) || !matches!(v.content, "images" | "rootdir"));
        if purge {
            world.ha.remove(&sid);
        }
        Ok(())
    })
}

/// PUT …/resize: disks only grow.
pub(super) fn resize(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest(call.text("node"), call.lxc, call.vmid())?;
    let (vmid, disk, size) = (guest.vmid, call.text("disk").to_string(), call.text("size"));
    if call.given("digest").is_some_and(|digest| digest != guest.digest()) {
        return failed("checksum mismatch (file change by other user?)");
    }
    let Some(value) = guest.text(&disk) else { return failed(format!("disk '{disk}' does not exist")) };
    let (old, more) = (size_of(&value), size.strip_prefix('+'));
    let Some(given) = bytes(more.unwrap_or(size)) else {
        return bad("size", "value does not match the regex pattern");
    };
    let new = if more.is_some() { old.saturating_add(given) } else { given };
    let job = Job::on(guest, "resize", "resize").refuse(new < old, "shrinking disks is not supported");
    job.line(format!("resizing {disk} to {}", human(new))).begin(world, &call.caller.id, move |world| {
        let Some(guest) = world.guests.get_mut(&vmid) else { return Ok(()) };
        let resized = value.replace(&format!("size={}", human(old)), &format!("size={}", human(new)));
        for config in [Some(&mut guest.config), guest.booted.as_mut()].into_iter().flatten() {
            config.insert(disk.clone(), resized.clone().into());
        }
        let volid = volid_of(&value);
        if let Some(volume) = world.volumes.iter_mut().find(|v| v.volid == volid) {
            volume.size = new;
        }
        Ok(())
    })
}

/// POST …/template: a guest that others are cloned from.
pub(super) fn template(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest_mut(call.text("node"), call.lxc, call.vmid())?;
    if guest.running() {
        return failed(format!(
            "you can't convert a {} to template if it is running",
            if guest.lxc { "CT" } else { "VM" }
        ));
    }
    if !guest.snapshots.is_empty() {
        return failed("unable to create template, because VM contains snapshots");
    }
    guest.config.insert("template".into(), 1.into());
    if call.lxc {
        return Ok(Value::Null);
    }
    let job = Job::new(call.text("node"), "qmtemplate", call.vmid());
    job.begin(world, &call.caller.id, |_| Ok(()))
}
