//! The options of a guest: reading, changing, and the changes that wait for the next start.

use crate::error::{ApiError, ApiResult, fail, parameter_error};
use crate::guest_options::{LXC, QEMU};
use crate::http::decode_path;
use crate::invocation::Invocation;
use crate::model::guest::{Guest, GuestConfig, GuestKind, StaleName, find_mac_address, is_disk, volume_id};
use crate::parameters::{MISSING_PARAMETER, RequestParams, UNKNOWN_PARAMETER, value_text};
use crate::state::{ClusterState, TaskBuilder};
use crate::units::{format_size, parse_size};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Options of a VM that change only at its next start.
#[rustfmt::skip]
const COLD_OPTIONS: &[&str] = &[
    "agent", "bios", "boot", "bootdisk", "cores", "cpu", "kvm", "machine", "memory", "numa", "ostype", "scsihw",
    "sockets", "vga",
];
/// Models of the network cards of a VM.
#[rustfmt::skip]
const NETWORK_MODELS: &[&str] = &[
    "e1000", "e1000-82540em", "e1000-82544gc", "e1000-82545em", "e1000e", "i82551", "i82557b", "i82559er", "ne2k_isa",
    "ne2k_pci", "pcnet", "rtl8139", "virtio", "vmxnet3",
];
/// Properties of the network cards of a VM.
#[rustfmt::skip]
const QEMU_NETWORK_PROPERTIES: &[&str] = &[
    "bridge", "firewall", "host-tunnel", "link_down", "macaddr", "model", "mtu", "queues", "rate", "tag", "trunks",
];
/// Properties of the network cards of a container.
#[rustfmt::skip]
const LXC_NETWORK_PROPERTIES: &[&str] = &[
    "bridge", "firewall", "gw", "gw6", "host-managed", "hwaddr", "ip", "ip6", "link_down", "mtu", "name", "rate",
    "tag", "trunks", "type",
];

fn is_option(kind: GuestKind, name: &str) -> bool {
    kind.select(QEMU, LXC).iter().any(|option| option.has_name(name))
}

/// GET …/config
pub(crate) fn read_config(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let snapshot = call.optional_text("snapshot");
    let config = match snapshot {
        Some(name) => &guest.snapshot(name)?.config,
        None if call.flag("current") => guest.current_config(),
        None => &guest.config,
    };
    let mut config = json!(config);
    config["digest"] = guest.digest().into();
    if let Some(lock) = guest.lock {
        config["lock"] = lock.into();
    }
    if let (Some(parent), None) = (&guest.parent, snapshot) {
        config["parent"] = parent.as_str().into();
    }
    Ok(config)
}

/// The options of cloud-init, without those of its network cards.
const CLOUDINIT_OPTIONS: &[&str] =
    &["cicustom", "cipassword", "citype", "ciupgrade", "ciuser", "nameserver", "searchdomain", "sshkeys"];

/// GET /nodes/{node}/qemu/{vmid}/cloudinit
pub(crate) fn list_cloudinit(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let is_given = |option: &str| CLOUDINIT_OPTIONS.contains(&option) || option.starts_with("ipconfig");
    let row = |(option, value): (&String, &Value)| {
        let value = if option == "cipassword" { json!("**********") } else { value.clone() };
        json!({"key": option, "value": value})
    };
    Ok(guest.config.iter().filter(|(option, _)| is_given(option)).map(row).collect())
}

/// GET …/pending: every option with its current and its next value.
pub(crate) fn list_pending(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let current_config = guest.current_config();
    let options: BTreeSet<&String> = current_config.keys().chain(guest.config.keys()).collect();
    let row = |option: &String| {
        let mut row = json!({"key": option});
        let (current, next) = (current_config.get(option), guest.config.get(option));
        if let Some(value) = current {
            row["value"] = value.clone();
        }
        match next {
            Some(value) if current != next => row["pending"] = value.clone(),
            Some(_) => {}
            None => row["delete"] = 1.into(),
        }
        row
    };
    let digest = json!({"key": "digest", "value": guest.digest()});
    Ok(options.into_iter().map(row).chain([digest]).collect())
}

/// PUT …/config: changes the options before it answers.
pub(crate) fn update_config(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    change_config(state, call)?;
    Ok(Value::Null)
}

/// POST /nodes/{node}/qemu/{vmid}/config: changes the options and answers with a task.
pub(crate) fn update_config_in_task(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    change_config(state, call)?;
    let options: Vec<String> = call
        .params
        .iter()
        .filter(|(name, _)| is_option(GuestKind::Qemu, name))
        .map(|(name, value)| format!("-{name} {}", value_text(value)))
        .collect();
    TaskBuilder::new(call.node(), "qmconfig", call.vmid())
        .line(format!("update VM {}: {}", call.vmid(), options.join(" ")))
        .start(state, &call.caller.id, |_| Ok(()))
}

/// Fails if the call has the digest of another state of the options.
pub(crate) fn check_digest(guest: &Guest, call: &Invocation<'_>) -> ApiResult<()> {
    match call.optional_text("digest") {
        Some(digest) if digest != guest.digest() => fail(guest.kind.select(
            "checksum mismatch (file change by other user?)",
            "detected modified configuration - file changed by other user? Try again.",
        )),
        _ => Ok(()),
    }
}

/// Fails if the guest is locked.
pub(crate) fn check_lock(guest: &Guest) -> ApiResult<()> {
    guest.lock_error().map_or(Ok(()), fail)
}

fn change_config(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult<()> {
    let mut guest = call.guest(state)?.clone();
    check_option_privileges(state, call, &guest)?;
    check_digest(&guest, call)?;
    check_lock(&guest)?;
    let changes_options = |name: &String| is_option(guest.kind, name) || matches!(name.as_str(), "delete" | "revert");
    if !call.params.keys().any(changes_options) {
        return fail("no options specified");
    }
    for option in call.list("delete") {
        if call.params.contains_key(option) {
            let clash = format!("you can't use '-{option}' and '-delete {option}' at the same time");
            return parameter_error("delete", clash);
        }
        if !is_option(guest.kind, option) {
            return parameter_error("delete", format!("unknown option '{option}'"));
        }
    }
    if let Some(running_config) = &guest.running_config {
        for option in call.list("revert") {
            match running_config.get(option) {
                Some(value) => guest.config.insert(option.into(), value.clone()),
                None => guest.config.remove(option),
            };
        }
    }
    let changes = prepare_options(state, &guest, &call.params, None)?;
    for option in call.list("delete") {
        delete_option(state, &mut guest, option)?;
    }
    // The volume of a disk that gets another one is kept as an unused one.
    let volume_text = |value: &Value| volume_id(&value_text(value)).to_owned();
    let replaced = changes.iter().filter(|(option, value)| {
        let old = guest.config.get(*option).map(volume_text);
        is_disk(option) && old.is_some_and(|old| old != volume_text(value))
    });
    for option in replaced.map(|(option, _)| option.clone()).collect::<Vec<_>>() {
        delete_option(state, &mut guest, &option)?;
    }
    guest.config.extend(changes);
    check_boot_order(&guest, call)?;
    guest.drop_reused_volumes();
    if let Some(running_config) = &mut guest.running_config {
        let former_config = running_config.clone();
        // A drive of these buses can't be added to a running VM, but its medium can change.
        let is_fixed_drive = |option: &str| {
            let is_cdrom = |value: Option<&Value>| value.is_some_and(|value| value_text(value).contains("media=cdrom"));
            (option.starts_with("ide") || option.starts_with("sata"))
                && !(is_cdrom(former_config.get(option)) && is_cdrom(guest.config.get(option)))
        };
        let is_cold =
            |option: &str| guest.kind == GuestKind::Qemu && (COLD_OPTIONS.contains(&option) || is_fixed_drive(option));
        running_config.retain(|option, _| is_cold(option) || guest.config.contains_key(option));
        let hot_options = guest.config.iter().filter(|(option, _)| !is_cold(option));
        running_config.extend(hot_options.map(|(option, value)| (option.clone(), value.clone())));
    }
    let former_name = state.guests.get(&guest.vmid).map(Guest::name).filter(|name| *name != guest.name());
    if former_name.is_some() {
        guest.stale_name = Some(StaleName { name: former_name, until: state.now + state.lag });
    }
    state.guests.insert(guest.vmid, guest);
    Ok(())
}

/// Fails if the guest lacks a device of a new boot order.
fn check_boot_order(guest: &Guest, call: &Invocation<'_>) -> ApiResult<()> {
    let boot = call.optional_text("boot").filter(|_| !call.params.contains_key("cdrom"));
    let order = boot.and_then(|boot| boot.strip_prefix("order="));
    let mut devices = order.into_iter().flat_map(|order| order.split([';', ',']));
    match devices.find(|device| !guest.config.contains_key(*device)) {
        Some(device) => fail(format!("invalid bootorder: device '{device}' does not exist'")),
        None => Ok(()),
    }
}

/// Returns the privilege that a change of an option needs, or none for one that only root can set.
fn option_privilege(kind: GuestKind, option: &str, value: &str) -> Option<&'static str> {
    let family = option.trim_end_matches(|c: char| c.is_ascii_digit());
    let has_number = family != option;
    Some(match (kind, family) {
        (GuestKind::Qemu, "args" | "lock" | "hookscript" | "vmstatestorage") => return None,
        _ if is_disk(option) && value.contains("media=cdrom") => "VM.Config.CDROM",
        _ if is_disk(option) || family == "unused" => "VM.Config.Disk",
        (_, "net") if has_number => "VM.Config.Network",
        (_, "cdrom") => "VM.Config.CDROM",
        (_, "ipconfig") | (GuestKind::Qemu, "nameserver" | "searchdomain") => "VM.Config.Network",
        (_, "cicustom" | "cipassword" | "citype" | "ciuser" | "ciupgrade" | "sshkeys") => "VM.Config.Cloudinit",
        (_, "cores" | "sockets" | "cpu" | "vcpus" | "cpulimit" | "cpuunits" | "affinity" | "smp" | "numa") => {
            "VM.Config.CPU"
        }
        (_, "memory" | "balloon" | "shares" | "swap" | "hugepages" | "keephugepages" | "allow-ksm") => {
            "VM.Config.Memory"
        }
        (GuestKind::Lxc, "hostname" | "nameserver" | "searchdomain") => "VM.Config.Network",
        (
            GuestKind::Qemu,
            "acpi" | "bios" | "kvm" | "machine" | "scsihw" | "vga" | "watchdog" | "audio" | "rng" | "tpmstate" | "usb"
            | "hostpci" | "serial" | "parallel" | "hotplug" | "smbios" | "amd-sev" | "arch" | "ivshmem" | "tdf"
            | "localtime",
        ) => "VM.Config.HWType",
        _ => "VM.Config.Options",
    })
}

/// Fails unless the caller may change every option of the call.
fn check_option_privileges(state: &ClusterState, call: &Invocation<'_>, guest: &Guest) -> ApiResult<()> {
    let given = call.params.iter().filter(|(option, _)| is_option(guest.kind, option));
    let given = given.map(|(option, value)| (option.clone(), value_text(value)));
    let deleted = call.list("delete").chain(call.list("revert"));
    let deleted = deleted.map(|option| (option.into(), guest.option(option).unwrap_or_default()));
    for (option, value) in given.chain(deleted) {
        match option_privilege(guest.kind, &option, &value) {
            Some(privilege) => call.require(state, &format!("/vms/{}", guest.vmid), privilege)?,
            None if call.caller.id == "root@pam" => {}
            None => return fail(format!("only root can set '{option}' config")),
        }
    }
    Ok(())
}

/// Deletes an option. A disk is kept as an unused one, and the volume of an unused one is removed.
pub(super) fn delete_option(state: &mut ClusterState, guest: &mut Guest, option: &str) -> ApiResult<()> {
    let Some(value) = guest.config.remove(option) else { return Ok(()) };
    let value = value_text(&value);
    let volid = volume_id(&value);
    if option.starts_with("unused") {
        state.volumes.retain(|volume| volume.volid != volid);
    } else if is_disk(option) && state.volumes.iter().any(|v| v.volid == volid && v.vmid == Some(guest.vmid)) {
        let Some(slot) = guest.free_unused_slot() else {
            return fail("Too many unused volumes - please delete some of them first");
        };
        guest.config.insert(slot, volid.into());
    }
    Ok(())
}

/// Returns the options among the parameters as the configuration will have them.
///
/// Allocates the volumes of new disks, and gives new network cards a MAC address.
pub(crate) fn prepare_options(
    state: &mut ClusterState,
    guest: &Guest,
    params: &RequestParams,
    default_storage: Option<&str>,
) -> ApiResult<GuestConfig> {
    let mut config = GuestConfig::new();
    for (option, value) in params.iter().filter(|(option, _)| is_option(guest.kind, option)) {
        let text = value_text(value);
        let value = if is_disk(option) {
            prepare_disk(state, guest, option, &text, default_storage)?.into()
        } else if option.starts_with("net") && option.ends_with(|c: char| c.is_ascii_digit()) {
            check_network_card(guest.kind, &text).or_else(|complaint| {
                parameter_error(option, format!("invalid format - format error\n{option}.{complaint}\n"))
            })?;
            add_mac_address(state, guest.kind, &text).into()
        } else {
            value.clone()
        };
        config.insert(option.clone(), value);
    }
    Ok(config)
}

/// Checks the properties of a network card. A complaint begins with the name of the property.
fn check_network_card(kind: GuestKind, value: &str) -> Result<(), String> {
    let is_model = |word: &str| NETWORK_MODELS.contains(&word);
    let properties = kind.select(QEMU_NETWORK_PROPERTIES, LXC_NETWORK_PROPERTIES);
    let required = kind.select("model", "name");
    let mut has_required = false;
    for part in value.split(',') {
        // For a VM, a bare word is the model, and so is a key that is a model: `virtio=BC:24:11:00:00:01`.
        let (property, value) = match (part.split_once('='), kind) {
            (Some((key, _)), GuestKind::Qemu) if is_model(key) => ("model", key),
            (Some(pair), _) => pair,
            (None, GuestKind::Qemu) => ("model", part),
            (None, GuestKind::Lxc) => (part, part),
        };
        has_required |= property == required;
        if !properties.contains(&property) {
            return Err(format!("{property}: {UNKNOWN_PARAMETER}"));
        }
        if property == "model" && !is_model(value) {
            let models = NETWORK_MODELS.join(", ");
            return Err(format!("model: value '{value}' does not have a value in the enumeration '{models}'"));
        }
        if property == "tag" {
            match value.parse::<i64>() {
                Ok(1..=4094) => {}
                Ok(..=0) => return Err("tag: value must have a minimum value of 1".into()),
                Ok(_) => return Err("tag: value must have a maximum value of 4094".into()),
                Err(_) => return Err(format!("tag: type check ('integer') failed - got '{value}'")),
            }
        }
    }
    if has_required { Ok(()) } else { Err(format!("{required}: {MISSING_PARAMETER}")) }
}

/// Returns the value of a network option with a MAC address, a new one unless it has one already.
fn add_mac_address(state: &mut ClusterState, kind: GuestKind, value: &str) -> String {
    if value.contains("hwaddr=") || value.matches(':').count() >= 5 {
        return value.into();
    }
    let mac = state.new_mac_address();
    match (kind, value.split_once(',')) {
        (GuestKind::Lxc, _) => format!("{value},hwaddr={mac},type=veth"),
        (GuestKind::Qemu, Some((model, rest))) => format!("{}={mac},{rest}", model.trim_start_matches("model=")),
        (GuestKind::Qemu, None) => format!("{}={mac}", value.trim_start_matches("model=")),
    }
}

/// Gives every network card a new MAC address, as a copy of a guest needs.
pub(crate) fn renew_mac_addresses(state: &mut ClusterState, config: &mut GuestConfig) {
    for (_, value) in config.iter_mut().filter(|(option, _)| option.starts_with("net") && option.len() > 3) {
        let text = value_text(value);
        if let Some(mac) = find_mac_address(&text) {
            *value = text.replacen(mac, &state.new_mac_address(), 1).into();
        }
    }
}

/// Returns the value of a disk option: `storage:32` allocates a volume of 32 GiB, another volume id has to exist.
fn prepare_disk(
    state: &mut ClusterState,
    guest: &Guest,
    option: &str,
    value: &str,
    default_storage: Option<&str>,
) -> ApiResult<String> {
    let volid = volume_id(value);
    if matches!(volid, "none" | "cdrom") {
        return Ok(value.into());
    }
    let properties: String = value
        .split(',')
        .skip(1)
        .filter(|p| !p.starts_with("size=") && !p.starts_with("format="))
        .map(|p| format!(",{p}"))
        .collect();
    let (storage, name) = match (volid.split_once(':'), default_storage) {
        (Some(parts), _) => parts,
        (None, Some(storage)) if volid.parse::<f64>().is_ok() => (storage, volid),
        (None, _) => {
            let complaint = format!("invalid format - unable to parse volume ID '{volid}'\n");
            return parameter_error(option, format!("invalid format - format error\n{option}.file: {complaint}\n"));
        }
    };
    if guest.kind == GuestKind::Qemu && name == "cloudinit" {
        let volid = state.allocate_cloudinit(&guest.node, storage, guest.vmid)?;
        return Ok(format!("{volid},media=cdrom,size=4M"));
    }
    let (volid, size) = if name.parse::<f64>().is_ok() {
        let Some(size) = parse_size(&format!("{name}G")).filter(|size| *size > 0) else {
            return parameter_error(option, format!("invalid size '{name}'"));
        };
        let format = value.split(',').find_map(|part| part.strip_prefix("format=")).unwrap_or("raw");
        (state.allocate_volume(&guest.node, storage, guest.kind, guest.vmid, size, format)?, size)
    } else {
        let plugin = &state.storage(storage)?.plugin;
        if !name.contains('/') && plugin != "lvmthin" {
            return fail(format!("unable to parse directory volume name '{name}'"));
        }
        let found = state.volumes.iter().find(|volume| volume.volid == volid && volume.is_on(&guest.node));
        let volume = found.ok_or_else(|| ApiError::Failed(format!("volume '{volid}' does not exist")))?;
        (volid.to_string(), volume.size)
    };
    Ok(format!("{volid}{properties},size={}", format_size(size)))
}

/// GET /nodes/{node}/qemu/{vmid}/cloudinit/dump
pub(crate) fn dump_cloudinit(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let name = guest.name();
    let user = guest.option("ciuser").map(|user| format!("user: {user}\n")).unwrap_or_default();
    let keys = guest.option("sshkeys").map(|keys| decode_path(&keys)).unwrap_or_default();
    let keys: String = keys.lines().map(|key| format!("  - {key}\n")).collect();
    let keys = if keys.is_empty() { keys } else { format!("ssh_authorized_keys:\n{keys}") };
    let address = guest.option("ipconfig0").unwrap_or_default();
    let address = address.split(',').find_map(|part| part.strip_prefix("ip=")).filter(|address| *address != "dhcp");
    Ok(match call.text("type") {
        "user" => format!(
            "#cloud-config\nhostname: {name}\nmanage_etc_hosts: true\nfqdn: {name}\n{user}{keys}chpasswd:\n  expire: False\nusers:\n  - default\npackage_upgrade: true\n"
        ),
        "network" if address.is_some() => format!(
            "version: 1\nconfig:\n    - type: physical\n      name: eth0\n      subnets:\n      - type: static\n        address: '{}'\n",
            address.unwrap_or_default()
        ),
        "network" => "version: 1\nconfig:\n    - type: nameserver\n      address:\n      - '192.0.2.53'\n".into(),
        _ => format!("instance-id: {}\n", &guest.digest()[..32]),
    }
    .into())
}
