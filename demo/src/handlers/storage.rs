//! Storages and the volumes on them.

use super::time_series::sample_times;
use crate::error::{ApiError, ApiResult, fail, parameter_error};
use crate::invocation::Invocation;
use crate::model::guest::GuestKind;
use crate::model::storage::{Storage, Volume};
use crate::parameters::MISSING_PARAMETER;
use crate::state::{ClusterState, TaskBuilder};
use crate::units::{GIB, parse_size};
use serde_json::{Value, json};

/// The digest of storage.cfg.
const CONFIG_DIGEST: &str = "c9a5c0541334075c6a7167602b58f5c6ca388e23";

/// Returns the storages that the caller can see.
fn visible_storages<'a>(state: &'a ClusterState, call: &'a Invocation<'_>) -> impl Iterator<Item = &'a Storage> {
    state.storages.iter().filter(|storage| {
        let path = format!("/storage/{}", storage.name);
        ["Datastore.Audit", "Datastore.AllocateSpace"].iter().any(|privilege| call.allows(state, &path, privilege))
    })
}

/// Returns the status of a storage on a node.
fn status_row(state: &ClusterState, storage: &Storage, node: &str) -> Value {
    let used = state.used_space(storage, node);
    let enabled = u8::from(storage.properties["disable"] != 1);
    json!({"type": storage.plugin, "content": storage.content, "shared": u8::from(storage.shared), "active": enabled,
        "enabled": enabled, "total": storage.total, "used": used, "avail": storage.total - used})
}

/// Returns the row of a storage in /cluster/resources.
pub(crate) fn resource_row(state: &ClusterState, storage: &Storage, node: &str) -> Value {
    json!({"id": format!("storage/{node}/{}", storage.name), "type": "storage", "storage": storage.name, "node": node,
        "plugintype": storage.plugin, "content": storage.content, "shared": u8::from(storage.shared),
        "status": "available", "disk": state.used_space(storage, node), "maxdisk": storage.total})
}

/// Returns the entry of a storage in storage.cfg.
fn config_row(storage: &Storage) -> Value {
    let mut row = storage.properties.clone();
    row["storage"] = storage.name.as_str().into();
    row["type"] = storage.plugin.as_str().into();
    row["content"] = storage.content.as_str().into();
    row["digest"] = CONFIG_DIGEST.into();
    if storage.shared {
        row["shared"] = 1.into();
    }
    row
}

/// GET /storage
pub(crate) fn list_configs(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let plugin = call.optional_text("type");
    let storages = visible_storages(state, call).filter(|storage| plugin.is_none_or(|plugin| plugin == storage.plugin));
    Ok(storages.map(config_row).collect())
}

/// GET /storage/{storage}
pub(crate) fn read_config(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    state.storage(call.text("storage")).map(config_row)
}

/// GET /nodes/{node}/storage
pub(crate) fn list_node_storages(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let name = call.optional_text("storage");
    let content: Vec<&str> = call.list("content").collect();
    let storages = visible_storages(state, call)
        .filter(|storage| name.is_none_or(|name| name == storage.name))
        .filter(|storage| content.is_empty() || content.iter().any(|content| storage.accepts(content)));
    let row = |storage: &Storage| {
        let mut row = status_row(state, storage, call.node());
        row["storage"] = storage.name.as_str().into();
        row["used_fraction"] = (state.used_space(storage, call.node()) as f64 / storage.total as f64).into();
        row
    };
    Ok(storages.map(row).collect())
}

/// GET /nodes/{node}/storage/{storage}/status
pub(crate) fn read_status(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let storage = state.storage(call.text("storage"))?;
    Ok(status_row(state, storage, call.node()))
}

/// GET /nodes/{node}/storage/{storage}/rrddata
pub(crate) fn read_time_series(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let storage = state.storage(call.text("storage"))?;
    let used = state.claimed_space(storage, call.node()) as f64;
    let row = |time: f64| {
        // The usage grows by a tenth of itself every 30 days.
        let months = ((state.now - time) / 2_592_000.0).min(5.0);
        json!({"time": time as i64, "total": storage.total, "used": used / (1.0 + months / 10.0)})
    };
    Ok(sample_times(state.now, call.text("timeframe")).map(row).collect())
}

fn volume_row(volume: &Volume) -> Value {
    let mut row = json!({"volid": volume.volid, "content": volume.content, "format": volume.format,
        "size": volume.size, "ctime": volume.ctime});
    if let Some(vmid) = volume.vmid {
        row["vmid"] = vmid.into();
    }
    match volume.content {
        "images" | "rootdir" => {
            row["used"] = volume.used.into();
            row["parent"] = Value::Null;
        }
        "backup" => {
            row["subtype"] = if volume.format.starts_with("vma") { "qemu" } else { "lxc" }.into();
            row["notes"] = volume.notes.clone().into();
            if volume.protected {
                row["protected"] = 1.into();
            }
        }
        _ => {}
    }
    row
}

/// GET /nodes/{node}/storage/{storage}/content
pub(crate) fn list_volumes(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let storage = state.storage(call.text("storage"))?;
    let (content, vmid) = (call.optional_text("content"), call.integer("vmid"));
    let volumes = state
        .volumes_on(&storage.name, call.node())
        .filter(|volume| content.is_none_or(|content| content == volume.content))
        .filter(|volume| vmid.is_none() || volume.vmid.map(i64::from) == vmid)
        .filter(|volume| may_see_volume(state, call, volume));
    Ok(volumes.map(volume_row).collect())
}

/// Returns false for a backup that a node leaves out of a list (PVE: check_volume_access).
fn may_see_volume(state: &ClusterState, call: &Invocation<'_>, volume: &Volume) -> bool {
    let on_storage = |privilege| call.allows(state, &format!("/storage/{}", call.text("storage")), privilege);
    match volume.vmid.filter(|_| volume.content == "backup") {
        None => true,
        Some(_) if on_storage("Datastore.Allocate") => true,
        Some(vmid) => on_storage("Datastore.AllocateSpace") && call.allows(state, &format!("/vms/{vmid}"), "VM.Backup"),
    }
}

/// Returns the index of the volume in the path, which has the storage in its name or not.
fn find_volume(state: &ClusterState, call: &Invocation<'_>) -> ApiResult<usize> {
    let (storage, name) = (call.text("storage"), call.text("volume"));
    state.storage(storage)?;
    let volid = match name.split_once(':') {
        Some((other, _)) if other != storage => return fail(format!("storage ID missmatch ({other} != {storage})")),
        Some(_) => name.to_string(),
        None => format!("{storage}:{name}"),
    };
    match state.volumes.iter().position(|volume| volume.volid == volid && volume.is_on(call.node())) {
        Some(index) => Ok(index),
        None => fail(format!("volume '{volid}' does not exist")),
    }
}

fn require_on_storage(state: &ClusterState, call: &Invocation<'_>, privilege: &str) -> ApiResult<()> {
    call.require(state, &format!("/storage/{}", call.text("storage")), privilege)
}

/// GET …/content/{volume}
pub(crate) fn read_volume(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_on_storage(state, call, "Datastore.Audit")?;
    let volume = &state.volumes[find_volume(state, call)?];
    let (storage, name) = volume.id_parts();
    let file = name.rsplit_once('/').map_or(name, |(_, file)| file);
    // Each kind of content has its folder.
    let place = match volume.content {
        "iso" => format!("template/iso/{file}"),
        "vztmpl" => format!("template/cache/{file}"),
        "backup" => format!("dump/{file}"),
        "images" | "rootdir" => format!("images/{name}"),
        _ => name.to_owned(),
    };
    let path = match storage {
        "local-lvm" => format!("/dev/pve/{name}"),
        "local" => format!("/var/lib/vz/{place}"),
        storage => format!("/mnt/pve/{storage}/{place}"),
    };
    Ok(json!({"path": path, "size": volume.size, "used": volume.used, "format": volume.format, "notes": volume.notes,
        "protected": u8::from(volume.protected)}))
}

/// PUT …/content/{volume}: changes the notes and the protection of a backup.
pub(crate) fn update_volume(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_on_storage(state, call, "Datastore.Allocate")?;
    let index = find_volume(state, call)?;
    let volume = &mut state.volumes[index];
    if let Some(notes) = call.optional_text("notes") {
        volume.notes = Some(notes.into());
    }
    if let Some(protected) = call.integer("protected") {
        volume.protected = protected == 1;
    }
    Ok(Value::Null)
}

/// DELETE …/content/{volume}
pub(crate) fn delete_volume(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_on_storage(state, call, "Datastore.Allocate")?;
    let Ok(index) = find_volume(state, call) else {
        state.storage(call.text("storage"))?;
        let name = call.text("volume").rsplit('/').next().unwrap_or_default();
        let error = format!("unlink '{name}' failed - No such file or directory");
        return TaskBuilder::new(call.node(), "imgdel", call.text("storage")).fail_with(Some(error)).start(
            state,
            &call.caller.id,
            |_| Ok(()),
        );
    };
    let volume = &state.volumes[index];
    let (volid, node) = (volume.volid.clone(), volume.node.clone());
    if volume.protected {
        return fail(format!("volume '{volid}' is protected - remove its protection first"));
    }
    let owner = volume.vmid.and_then(|vmid| state.guests.get(&vmid));
    if let Some(owner) = owner.filter(|owner| owner.disks().iter().any(|disk| disk.volume_id() == volid)) {
        return fail(format!("Cannot remove image, a guest with VMID '{}' exists!", owner.vmid));
    }
    TaskBuilder::new(call.node(), "imgdel", format!("{}@{}", volume.vmid.unwrap_or(0), call.text("storage")))
        .line(format!("Removed volume '{volid}'"))
        .start(state, &call.caller.id, move |state| {
            state.volumes.retain(|volume| volume.volid != volid || volume.node != node);
            Ok(())
        })
}

/// POST …/content: allocates an empty disk image.
pub(crate) fn create_volume(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let (size, vmid) = (call.text("size"), call.vmid());
    // A bare number is KiB here.
    let unit = if size.ends_with(|c: char| c.is_ascii_digit()) { 1024 } else { 1 };
    let Some(size) = parse_size(size) else {
        return parameter_error("size", "value does not match the regex pattern");
    };
    let kind = state.guests.get(&vmid).map_or(GuestKind::Qemu, |guest| guest.kind);
    let format = call.optional_text("format").unwrap_or("raw");
    let volid =
        state.allocate_volume(call.node(), call.text("storage"), kind, vmid, size.saturating_mul(unit), format)?;
    Ok(volid.into())
}

/// Parameters of a storage that are no properties of its entry.
const NO_PROPERTIES: [&str; 6] = ["storage", "type", "content", "shared", "delete", "digest"];

/// Sets the content and the properties of a storage that the call has.
fn set_properties(storage: &mut Storage, call: &Invocation<'_>) {
    if let Some(content) = call.optional_text("content") {
        let mut content: Vec<&str> = content.split(',').collect();
        content.sort_unstable();
        storage.content = content.join(",");
    }
    let given = call.params.iter().filter(|(key, _)| !NO_PROPERTIES.contains(&key.as_str()));
    let properties = storage.properties.as_object_mut().expect("an object of properties");
    properties.extend(given.map(|(key, value)| (key.clone(), value.clone())));
}

/// POST /storage
pub(crate) fn create_storage(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let (name, plugin) = (call.text("storage"), call.text("type"));
    let required: &[&str] = match plugin {
        "dir" => &["path"],
        "nfs" => &["server", "export"],
        _ => return Err(ApiError::Unsupported(format!("storages of type {plugin}"))),
    };
    if let Some(missing) = required.iter().find(|name| call.optional_text(name).is_none()) {
        return parameter_error(missing, MISSING_PARAMETER);
    }
    if state.storage(name).is_ok() {
        return fail(format!("create storage failed: storage ID '{name}' already defined"));
    }
    let known_servers: Vec<Value> = state.storages.iter().map(|storage| storage.properties["server"].clone()).collect();
    if plugin == "nfs" && !known_servers.iter().any(|server| server == call.text("server")) {
        return fail(format!("create storage failed: storage '{name}' is not online"));
    }
    let mut storage = Storage {
        name: name.into(),
        plugin: plugin.into(),
        content: if plugin == "dir" { "backup,iso,vztmpl" } else { "images" }.into(),
        shared: plugin == "nfs" || call.flag("shared"),
        total: if plugin == "nfs" { 4096 } else { 94 } * GIB,
        other: GIB,
        properties: json!({}),
    };
    set_properties(&mut storage, call);
    state.storages.push(storage);
    Ok(json!({"storage": name, "type": plugin}))
}

/// Returns the index of the storage in the path, or the refusal of a change of it.
fn storage_index(state: &ClusterState, call: &Invocation<'_>, change: &str) -> ApiResult<usize> {
    let name = call.text("storage");
    match state.storages.iter().position(|storage| storage.name == name) {
        Some(index) => Ok(index),
        None => fail(format!("{change} storage failed: storage '{name}' does not exist")),
    }
}

/// PUT /storage/{storage}
pub(crate) fn update_storage(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let index = storage_index(state, call, "update")?;
    let storage = &mut state.storages[index];
    if call.optional_text("digest").is_some_and(|digest| digest != CONFIG_DIGEST) {
        return fail("update storage failed: detected modified configuration - file changed by other user? Try again.");
    }
    let properties = storage.properties.as_object_mut().expect("an object of properties");
    properties.retain(|key, _| call.list("delete").all(|deleted| deleted != key));
    set_properties(storage, call);
    Ok(json!({"storage": storage.name, "type": storage.plugin}))
}

/// DELETE /storage/{storage}: removes the entry, not the data.
pub(crate) fn delete_storage(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let index = storage_index(state, call, "delete")?;
    state.storages.remove(index);
    Ok(Value::Null)
}
