//! Storages and what lies on them.

use super::api::{Answer, Call, Fault, failed};
use super::config;
use super::guests::moments;
use super::tasks::Job;
use super::value::{json, put, set};
use super::world::{Storage, Volume, World, bytes};
use serde_json::{Map, Value};

/// Whether the caller may see the storage at all.
fn visible(world: &World, call: &Call<'_>, storage: &str) -> bool {
    let path = format!("/storage/{storage}");
    call.may(world, &path, "Datastore.Audit") || call.may(world, &path, "Datastore.AllocateSpace")
}

/// The storage's place in numbers, as a node sees it.
fn numbers(world: &World, storage: &Storage, node: &str) -> Map<String, Value> {
    let used = world.used(storage, node).min(storage.total);
    let row = json!({
        "type": storage.kind, "content": storage.content, "shared": u8::from(storage.shared), "active": 1, "enabled": 1,
        "total": storage.total, "used": used, "avail": storage.total - used,
    });
    if let Value::Object(row) = row { row } else { Map::new() }
}

/// A storage's row of /cluster/resources.
pub(super) fn resource(world: &World, storage: &Storage, node: &str) -> Value {
    json!({
        "id": format!("storage/{node}/{}", storage.name), "type": "storage", "storage": storage.name, "node": node,
        "plugintype": storage.kind, "content": storage.content, "shared": u8::from(storage.shared), "status": "available",
        "disk": world.used(storage, node).min(storage.total), "maxdisk": storage.total,
    })
}

/// GET /storage: storage.cfg.
pub(super) fn index(world: &mut World, call: &Call<'_>) -> Answer {
    let seen = world.storages.iter().filter(|s| visible(world, call, s.name));
    let seen = seen.filter(|s| call.given("type").is_none_or(|kind| kind == s.kind));
    Ok(seen.map(entry).collect())
}

fn entry(storage: &Storage) -> Value {
    let mut row = storage.more.clone();
    set(&mut row, "storage", storage.name.into());
    set(&mut row, "type", storage.kind.into());
    set(&mut row, "content", storage.content.into());
    set(&mut row, "digest", "c9a5c0541334075c6a7167602b58f5c6ca388e23".into());
    if storage.shared {
        set(&mut row, "shared", 1.into());
    }
    row
}

/// GET /storage/{storage}.
pub(super) fn read(world: &mut World, call: &Call<'_>) -> Answer {
    world.storage(call.text("storage")).map(entry)
}

/// GET /nodes/{node}/storage.
pub(super) fn of_node(world: &mut World, call: &Call<'_>) -> Answer {
    let seen = world.storages.iter().filter(|s| visible(world, call, s.name));
    let seen = seen.filter(|s| call.given("storage").is_none_or(|name| name == s.name));
    let wanted: Vec<&str> = call.list("content").collect();
    let seen = seen.filter(|s| wanted.is_empty() || s.content.split(',').any(|c| wanted.contains(&c)));
    let row = |storage: &Storage| {
        let mut row = numbers(world, storage, call.text("node"));
        let used = row.get("used").and_then(Value::as_f64).unwrap_or_default();
        put(&mut row, "storage", storage.name.into());
        put(&mut row, "used_fraction", (used / storage.total.max(1) as f64).into());
        Value::Object(row)
    };
    Ok(seen.map(row).collect())
}

/// GET /nodes/{node}/storage/{storage}/status.
pub(super) fn status(world: &mut World, call: &Call<'_>) -> Answer {
    let storage = world.storage(call.text("storage"))?;
    Ok(numbers(world, storage, call.text("node")).into())
}

/// GET /nodes/{node}/storage/{storage}/rrddata.
pub(super) fn rrddata(world: &mut World, call: &Call<'_>) -> Answer {
    let storage = world.storage(call.text("storage"))?;
    let used = world.used(storage, call.text("node")) as f64;
    let row = |time: f64| {
        // As if it had grown by a tenth in a month.
        let age = ((world.now - time) / 2_592_000.0).min(5.0);
        json!({"time": time as i64, "total": storage.total, "used": used / (1.0 + age / 10.0)})
    };
    Ok(moments(world, call.text("timeframe")).map(row).collect())
}

fn row(volume: &Volume) -> Value {
    let mut row = json!({"volid": volume.volid, "content": volume.content, "format": volume.format, "size": volume.size,
        "ctime": volume.ctime});
    if let Some(vmid) = volume.vmid {
        set(&mut row, "vmid", vmid.into());
    }
    if matches!(volume.content, "images" | "rootdir") {
        set(&mut row, "used", volume.used.into());
        set(&mut row, "parent", Value::Null);
    }
    if volume.content == "backup" {
        set(&mut row, "subtype", if volume.format.starts_with("vma") { "qemu" } else { "lxc" }.into());
        set(&mut row, "notes", volume.notes.clone().into());
        if volume.protected {
            set(&mut row, "protected", 1.into());
        }
    }
    row
}

/// GET /nodes/{node}/storage/{storage}/content.
pub(super) fn content(world: &mut World, call: &Call<'_>) -> Answer {
    let (node, storage) = (call.text("node"), call.text("storage"));
    world.storage(storage)?;
    let here = world.volumes.iter().filter(|v| v.storage() == storage && v.node.as_deref().is_none_or(|n| n == node));
    let here = here.filter(|v| call.given("content").is_none_or(|content| content == v.content));
    let vmid = call.int("vmid");
    Ok(here.filter(|v| vmid.is_none() || v.vmid.map(i64::from) == vmid).map(row).collect())
}

/// The place of the volume that a path names, with or without its storage.
fn volume(world: &World, call: &Call<'_>) -> Result<usize, Fault> {
    let (node, storage, name) = (call.text("node"), call.text("storage"), call.text("volume"));
    world.storage(storage)?;
    let volid = if name.contains(':') { name.to_string() } else { format!("{storage}:{name}") };
    if volid.split(':').next() != Some(storage) {
        return failed(format!("storage ID missmatch ({} != {storage})", volid.split(':').next().unwrap_or_default()));
    }
    let place = world.volumes.iter().position(|v| v.volid == volid && v.node.as_deref().is_none_or(|n| n == node));
    place.map_or_else(|| failed(format!("volume '{volid}' does not exist")), Ok)
}

/// GET …/content/{volume}.
pub(super) fn info(world: &mut World, call: &Call<'_>) -> Answer {
    call.need(world, &format!("/storage/{}", call.text("storage")), "Datastore.Audit")?;
    let at = volume(world, call)?;
    let Some(volume) = world.volumes.get(at) else { return Ok(Value::Null) };
    let path = match volume.volid.split_once(':') {
        Some(("local-lvm", name)) => format!("/dev/pve/{name}"),
        Some(("local", name)) => format!("/var/lib/vz/{name}"),
        Some((storage, name)) => format!("/mnt/pve/{storage}/{name}"),
        None => String::new(),
    };
    Ok(json!({"path": path, "size": volume.size, "used": volume.used, "format": volume.format, "notes": volume.notes,
        "protected": u8::from(volume.protected)}))
}

/// PUT …/content/{volume}: a backup's notes and protection.
pub(super) fn update(world: &mut World, call: &Call<'_>) -> Answer {
    call.need(world, &format!("/storage/{}", call.text("storage")), "Datastore.Allocate")?;
    let at = volume(world, call)?;
    if let Some(volume) = world.volumes.get_mut(at) {
        if let Some(notes) = call.given("notes") {
            volume.notes = Some(notes.into());
        }
        if let Some(protected) = call.int("protected") {
            volume.protected = protected == 1;
        }
    }
    Ok(Value::Null)
}

/// DELETE …/content/{volume}.
pub(super) fn delete(world: &mut World, call: &Call<'_>) -> Answer {
    let (node, storage) = (call.text("node"), call.text("storage"));
    call.need(world, &format!("/storage/{storage}"), "Datastore.Allocate")?;
    let at = volume(world, call)?;
    let Some(volume) = world.volumes.get(at) else { return Ok(Value::Null) };
    let volid = volume.volid.clone();
    if volume.protected {
        return failed(format!("volume '{volid}' is protected - remove its protection first"));
    }
    let owner = volume.vmid.and_then(|id| world.guests.get(&id));
    if let Some(owner) = owner.filter(|g| g.disks().iter().any(|(_, value)| super::world::volid_of(value) == volid)) {
        return failed(format!("Cannot remove image, a guest with VMID '{}' exists!", owner.vmid));
    }
    let job = Job::new(node, "imgdel", format!("{}@{storage}", volume.vmid.unwrap_or_default()));
    let home = volume.node.clone();
    job.line(format!("Removed volume '{volid}'")).begin(world, &call.caller.id, move |world| {
        world.volumes.retain(|v| v.volid != volid || v.node != home);
        Ok(())
    })
}

/// POST …/content: an empty disk image.
pub(super) fn allocate(world: &mut World, call: &Call<'_>) -> Answer {
    let Some(size) = bytes(call.text("size")) else {
        return super::api::bad("size", "value does not match the regex pattern");
    };
    // A bare number is KiB here.
    let size = if call.text("size").ends_with(|c: char| c.is_ascii_digit()) { size.saturating_mul(1024) } else { size };
    let lxc = world.guests.get(&call.vmid()).is_some_and(|g| g.lxc);
    config::allocate(world, call.text("node"), call.text("storage"), call.vmid(), lxc, size)
        .map(Value::from)
        .map_err(Fault::Failed)
}
