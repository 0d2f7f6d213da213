//! A guest's options: reading them, changing them, and what waits for the next start.

use super::api::{Answer, Call, Fault, bad, failed};
use super::check::{Given, UNKNOWN, plain};
use super::guest::as_object;
use super::options;
use super::tasks::Job;
use super::value::{json, put, set};
use super::world::{Config, Guest, Volume, World, bytes, human, is_disk, volid_of};
use serde_json::Value;
use std::collections::BTreeSet;

/// Options of a VM that a running one takes over only at its next start.
const COLD: &[&str] =
    &["agent", "bios", "cores", "cpu", "kvm", "machine", "memory", "numa", "ostype", "scsihw", "sockets", "vga"];

/// Whether the name is one of the guest's options.
fn is_option(lxc: bool, name: &str) -> bool {
    let options = if lxc { options::LXC } else { options::QEMU };
    options.iter().any(|param| param.is(name))
}

/// GET …/config.
pub(super) fn get(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest(call.text("node"), call.lxc, call.vmid())?;
    let config = match call.given("snapshot") {
        Some(name) => match guest.snapshots.iter().find(|s| s.name == name) {
            Some(snapshot) => &snapshot.config,
            None => return failed(format!("snapshot '{name}' does not exist")),
        },
        None if call.flag("current") => guest.booted.as_ref().unwrap_or(&guest.config),
        None => &guest.config,
    };
    let mut out = as_object(config);
    put(&mut out, "digest", guest.digest().into());
    if let Some(lock) = guest.lock {
        put(&mut out, "lock", lock.into());
    }
    if let (Some(parent), None) = (&guest.parent, call.given("snapshot")) {
        put(&mut out, "parent", parent.clone().into());
    }
    Ok(out.into())
}

/// GET …/pending: every option, and what it will be.
pub(super) fn pending(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest(call.text("node"), call.lxc, call.vmid())?;
    let now = guest.booted.as_ref().unwrap_or(&guest.config);
    let mut keys = BTreeSet::new();
    keys.extend(now.keys().chain(guest.config.keys()));
    let row = |key: &&String| {
        let mut row = json!({"key": key});
        let (current, next) = (now.get(*key), guest.config.get(*key));
        if let Some(value) = current {
            set(&mut row, "value", value.clone());
        }
        match next {
            Some(value) if current != Some(value) => set(&mut row, "pending", value.clone()),
            None => set(&mut row, "delete", 1.into()),
            _ => {}
        }
        row
    };
    let digest = json!({"key": "digest", "value": guest.digest()});
    Ok(keys.iter().map(row).chain([digest]).collect())
}

/// PUT …/config: done when it is answered.
pub(super) fn update(world: &mut World, call: &Call<'_>) -> Answer {
    change(world, call)?;
    Ok(Value::Null)
}

/// POST /nodes/{node}/qemu/{vmid}/config: checked now, and a task.
pub(super) fn update_later(world: &mut World, call: &Call<'_>) -> Answer {
    change(world, call)?;
    let job = Job::new(call.text("node"), "qmconfig", call.vmid());
    job.line(format!("update VM {}: {}", call.vmid(), names(&call.params))).begin(world, &call.caller.id, |_| Ok(()))
}

fn names(params: &Given) -> String {
    params
        .iter()
        .filter(|(key, _)| is_option(false, key))
        .map(|(k, v)| format!("-{k} {}", plain(v)))
        .collect::<Vec<_>>()
        .join(" ")
}

fn change(world: &mut World, call: &Call<'_>) -> Result<(), Fault> {
    let mut guest = world.guest(call.text("node"), call.lxc, call.vmid())?.clone();
    if call.given("digest").is_some_and(|digest| digest != guest.digest()) {
        return failed("checksum mismatch (file change by other user?)");
    }
    if let Some(lock) = guest.lock {
        return failed(format!("{} is locked ({lock})", if guest.lxc { "CT" } else { "VM" }));
    }
    let unset = call.list("delete").collect::<Vec<_>>();
    for name in &unset {
        if call.params.contains_key(*name) {
            return bad("delete", format!("you can't use '-{name}' and '-delete {name}' at the same time"));
        }
        if !is_option(guest.lxc, name) {
            return bad("delete", format!("unknown option '{name}'"));
        }
    }
    for name in call.list("revert") {
        if let Some(booted) = &guest.booted {
            match booted.get(name) {
                Some(value) => guest.config.insert(name.into(), value.clone()),
                None => guest.config.remove(name),
            };
        }
    }
    let new = prepare(world, &guest, &call.params, None)?;
    for name in &unset {
        let Some(old) = guest.config.remove(*name) else { continue };
        let volid = volid_of(&plain(&old)).to_string();
        if name.starts_with("unused") {
            world.volumes.retain(|v| v.volid != volid);
        } else if is_disk(name) && world.volumes.iter().any(|v| v.volid == volid && v.vmid == Some(guest.vmid)) {
            // A disk taken out of a guest is kept until it is removed as an unused one.
            let place = (0..256).map(|n| format!("unused{n}")).find(|key| !guest.config.contains_key(key));
            guest.config.insert(place.unwrap_or_default(), volid.into());
        }
    }
    guest.config.extend(new);
    if let Some(booted) = &mut guest.booted {
        let cold = |key: &str| !guest.lxc && COLD.contains(&key);
        booted.retain(|key, _| cold(key) || guest.config.contains_key(key));
        booted.extend(guest.config.iter().filter(|(key, _)| !cold(key)).map(|(k, v)| (k.clone(), v.clone())));
    }
    world.guests.insert(guest.vmid, guest);
    Ok(())
}

/// The options among the parameters, as they will stand in the configuration: new disks allocated, new network cards
/// with their MAC addresses.
pub(super) fn prepare(
    world: &mut World,
    guest: &Guest,
    params: &Given,
    storage: Option<&str>,
) -> Result<Config, Fault> {
    let mut new = Config::new();
    for (key, value) in params.iter().filter(|(key, _)| is_option(guest.lxc, key)) {
        let text = plain(value);
        let value = if is_disk(key) {
            disk(world, guest, key, &text, storage)?.into()
        } else if key.starts_with("net") && key.ends_with(|c: char| c.is_ascii_digit()) {
            if let Some(wrong) = card_fault(guest.lxc, &text) {
                return bad(key, format!("invalid format - format error\n{key}.{wrong}\n"));
            }
            network_card(world, guest.lxc, &text).into()
        } else {
            value.clone()
        };
        new.insert(key.clone(), value);
    }
    Ok(new)
}

const MODELS: &str = "e1000,e1000-82540em,e1000-82544gc,e1000-82545em,e1000e,i82551,i82557b,i82559er,ne2k_isa,ne2k_pci,pcnet,rtl8139,virtio,vmxnet3";

/// What is wrong with a network card's value, beginning with the property it is wrong in.
fn card_fault(lxc: bool, text: &str) -> Option<String> {
    let model = |m: &str| MODELS.split(',').any(|known| known == m);
    let known = if lxc {
        "bridge,firewall,gw,gw6,host-managed,hwaddr,ip,ip6,link_down,mtu,name,rate,tag,trunks,type"
    } else {
        "bridge,firewall,host-tunnel,link_down,macaddr,model,mtu,queues,rate,tag,trunks"
    };
    let needed = if lxc { "name" } else { "model" };
    let mut found = false;
    for part in text.split(',') {
        // A bare word is the model, and so is a model that stands before its MAC address.
        let (key, value) = match part.split_once('=') {
            Some((key, _)) if !lxc && model(key) => ("model", key),
            Some(pair) => pair,
            None => (if lxc { part } else { "model" }, part),
        };
        found |= key == needed;
        if !known.split(',').any(|k| k == key) {
            return Some(format!("{key}: {UNKNOWN}"));
        }
        if key == "model" && !model(value) {
            let all = MODELS.replace(',', ", ");
            return Some(format!("model: value '{value}' does not have a value in the enumeration '{all}'"));
        }
        if key == "tag" {
            match value.parse() {
                Ok(1..=4094) => {}
                Ok(i64::MIN..=0) => return Some("tag: value must have a minimum value of 1".into()),
                Ok(_) => return Some("tag: value must have a maximum value of 4094".into()),
                Err(_) => return Some(format!("tag: type check ('integer') failed - got '{value}'")),
            }
        }
    }
    (!found).then(|| format!("{needed}: property is missing and it is not optional"))
}

fn network_card(world: &mut World, lxc: bool, text: &str) -> String {
    if text.contains("hwaddr=") || text.matches(':').count() >= 5 {
        return text.into();
    }
    let n = world.unique();
    let mac = format!("BC:24:11:{:02X}:{:02X}:{:02X}", n >> 16 & 0xff, n >> 8 & 0xff, n & 0xff);
    match (lxc, text.split_once(',')) {
        (true, _) => format!("{text},hwaddr={mac},type=veth"),
        (false, Some((model, rest))) => format!("{}={mac},{rest}", model.trim_start_matches("model=")),
        (false, None) => format!("{}={mac}", text.trim_start_matches("model=")),
    }
}

/// A disk's value: `storage:32` makes a volume of 32 GiB, an existing volume is taken as it is.
fn disk(world: &mut World, guest: &Guest, key: &str, text: &str, storage: Option<&str>) -> Result<String, Fault> {
    let volid = volid_of(text).to_string();
    let rest: String = text.split(',').skip(1).filter(|p| !p.starts_with("size=")).map(|p| format!(",{p}")).collect();
    if matches!(volid.as_str(), "none" | "cdrom") {
        return Ok(text.into());
    }
    let (store, name) = match (volid.split_once(':'), storage) {
        (Some(pair), _) => pair,
        (None, Some(storage)) if volid.parse::<f64>().is_ok() => (storage, volid.as_str()),
        _ => {
            return bad(
                key,
                format!(
                    "invalid format - format error\n{key}.file: invalid format - unable to parse volume ID '{volid}'\n\n"
                ),
            );
        }
    };
    let Ok(gib) = name.parse::<f64>() else {
        world.storage(store)?;
        let found =
            world.volumes.iter().find(|v| v.volid == volid && v.node.as_deref().is_none_or(|n| n == guest.node));
        return match found {
            Some(volume) if text.contains("media=cdrom") || volume.content == "iso" => {
                Ok(format!("{volid}{rest},size={}", human(volume.size)))
            }
            Some(volume) => Ok(format!("{volid}{rest},size={}", human(volume.size))),
            None => failed(format!("volume '{volid}' does not exist")),
        };
    };
    let Some(size) = bytes(&format!("{gib}G")).filter(|size| *size > 0) else {
        return bad(key, format!("invalid size '{name}'"));
    };
    let volid = allocate(world, &guest.node, store, guest.vmid, guest.lxc, size).map_err(Fault::Failed)?;
    Ok(format!("{volid}{rest},size={}", human(size)))
}

/// Makes a disk image for a guest; answers its volume id.
pub(super) fn allocate(
    world: &mut World,
    node: &str,
    store: &str,
    vmid: u32,
    lxc: bool,
    size: u64,
) -> Result<String, String> {
    let Some(storage) = world.storages.iter().find(|s| s.name == store) else {
        return Err(format!("storage '{store}' does not exist"));
    };
    let content = if lxc { "rootdir" } else { "images" };
    if !storage.content.split(',').any(|c| c == content) {
        return Err(format!("storage '{store}' does not support content-type '{content}'"));
    }
    let (block, shared) = (storage.kind == "lvmthin", storage.shared);
    let name = |n: u32| match (block, lxc) {
        (true, _) => format!("{store}:vm-{vmid}-disk-{n}"),
        (false, true) => format!("{store}:{vmid}/vm-{vmid}-disk-{n}.raw"),
        (false, false) => format!("{store}:{vmid}/vm-{vmid}-disk-{n}.qcow2"),
    };
    let taken = |volid: &String| world.volumes.iter().any(|v| v.volid == *volid);
    let Some(volid) = (0..256).map(name).find(|volid| !taken(volid)) else {
        return Err(format!("unable to allocate an image name for VM {vmid} in storage '{store}'"));
    };
    world.volumes.push(Volume {
        volid: volid.clone(),
        node: (!shared).then(|| node.into()),
        content,
        format: if block || lxc { "raw" } else { "qcow2" },
        size,
        used: size / 200,
        vmid: Some(vmid),
        ctime: world.seconds(),
        notes: None,
        protected: false,
        config: None,
    });
    Ok(volid)
}
