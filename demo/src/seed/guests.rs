//! The guests at the start.

use crate::handlers::ha::DIGEST;
use crate::model::guest::{Guest, GuestKind, Snapshot};
use crate::model::storage::Volume;
use crate::state::ClusterState;
use crate::units::{DAY, GIB};
use serde_json::{Value, json};

/// A guest of the demo.
struct GuestSpec {
    vmid: u32,
    name: &'static str,
    node: &'static str,
    cores: u64,
    /// MiB of memory.
    memory: u64,
    tags: &'static str,
    pool: Option<&'static str>,
    /// The storage of its disk.
    storage: &'static str,
    /// Size of its disk in GiB.
    disk: u64,
    /// Allocated share of its disk in percent.
    used: u64,
    power: Power,
}

#[derive(PartialEq, Eq)]
enum Power {
    Running,
    Stopped,
    Template,
}
use Power::{Running, Stopped, Template};

#[rustfmt::skip]
const VMS: &[GuestSpec] = &[
    GuestSpec { vmid: 100, name: "web01", node: "pve1", cores: 4, memory: 8192, tags: "prod;web",
        pool: Some("prod"), storage: "nas", disk: 64, used: 22, power: Running },
    GuestSpec { vmid: 101, name: "web02", node: "pve2", cores: 4, memory: 8192, tags: "prod;web",
        pool: Some("prod"), storage: "nas", disk: 64, used: 21, power: Running },
    GuestSpec { vmid: 102, name: "db01", node: "pve1", cores: 8, memory: 32_768, tags: "db;prod",
        pool: Some("prod"), storage: "local-lvm", disk: 400, used: 61, power: Running },
    GuestSpec { vmid: 103, name: "mail", node: "pve3", cores: 2, memory: 4096, tags: "mail;prod",
        pool: Some("prod"), storage: "local-lvm", disk: 120, used: 48, power: Running },
    GuestSpec { vmid: 104, name: "gitlab", node: "pve2", cores: 8, memory: 16_384, tags: "ci;dev",
        pool: None, storage: "nas", disk: 200, used: 37, power: Running },
    GuestSpec { vmid: 105, name: "win11-desk", node: "pve3", cores: 4, memory: 8192, tags: "dev;windows",
        pool: None, storage: "local-lvm", disk: 80, used: 55, power: Stopped },
    GuestSpec { vmid: 106, name: "staging01", node: "pve2", cores: 2, memory: 4096, tags: "stage;web",
        pool: Some("stage"), storage: "local-lvm", disk: 32, used: 30, power: Stopped },
    GuestSpec { vmid: 9000, name: "debian13-tmpl", node: "pve1", cores: 2, memory: 2048, tags: "",
        pool: None, storage: "local-lvm", disk: 8, used: 24, power: Template },
];
#[rustfmt::skip]
const CONTAINERS: &[GuestSpec] = &[
    GuestSpec { vmid: 200, name: "dns01", node: "pve1", cores: 1, memory: 512, tags: "infra",
        pool: None, storage: "local-lvm", disk: 8, used: 18, power: Running },
    GuestSpec { vmid: 201, name: "dns02", node: "pve2", cores: 1, memory: 512, tags: "infra",
        pool: None, storage: "local-lvm", disk: 8, used: 18, power: Running },
    GuestSpec { vmid: 202, name: "proxy", node: "pve3", cores: 2, memory: 1024, tags: "infra;web",
        pool: None, storage: "local-lvm", disk: 8, used: 33, power: Running },
    GuestSpec { vmid: 203, name: "monitoring", node: "pve2", cores: 2, memory: 4096, tags: "infra",
        pool: None, storage: "local-lvm", disk: 50, used: 71, power: Running },
    GuestSpec { vmid: 204, name: "restore-test", node: "pve3", cores: 1, memory: 1024, tags: "dev",
        pool: Some("stage"), storage: "local-lvm", disk: 16, used: 12, power: Stopped },
];

/// Adds the guests with their disks, firewall rules and HA resources.
pub(super) fn add_guests(state: &mut ClusterState) {
    for spec in VMS {
        add_guest(state, spec, GuestKind::Qemu);
    }
    for spec in CONTAINERS {
        add_guest(state, spec, GuestKind::Lxc);
    }
    add_details(state);
}

fn add_guest(state: &mut ClusterState, spec: &GuestSpec, kind: GuestKind) {
    let vmid = spec.vmid;
    let is_block_storage = spec.storage == "local-lvm";
    let prefix = if spec.power == Template { "base" } else { "vm" };
    let volid = if is_block_storage {
        format!("{}:{prefix}-{vmid}-disk-0", spec.storage)
    } else {
        format!("{}:{vmid}/{prefix}-{vmid}-disk-0.qcow2", spec.storage)
    };
    let disk = format!("{volid},size={}G", spec.disk);
    let [_, _, high, low] = vmid.to_be_bytes();
    let mac = format!("BC:24:11:00:{high:02X}:{low:02X}");
    let mut config = match kind {
        GuestKind::Qemu => json!({"name": spec.name, "cores": spec.cores, "sockets": 1, "cpu": "x86-64-v2-AES",
            "memory": spec.memory.to_string(), "ostype": "l26", "scsi0": format!("{disk},iothread=1,discard=on"),
            "scsihw": "virtio-scsi-single", "boot": "order=scsi0",
            "net0": format!("virtio={mac},bridge=vmbr1,firewall=1"),
            "smbios1": format!("uuid=6f0e1b0e-0000-4000-8000-{vmid:012}")}),
        GuestKind::Lxc => json!({"hostname": spec.name, "arch": "amd64", "ostype": "debian", "cores": spec.cores,
            "memory": spec.memory, "swap": 512, "rootfs": disk, "unprivileged": 1, "features": "nesting=1",
            "net0": format!("name=eth0,bridge=vmbr1,firewall=1,hwaddr={mac},ip=dhcp,type=veth")}),
    };
    if !spec.tags.is_empty() {
        config["tags"] = spec.tags.into();
    }
    match spec.power {
        Running => config["onboot"] = 1.into(),
        Template => config["template"] = 1.into(),
        Stopped => {}
    }
    let mut guest = Guest::new(vmid, kind, spec.node);
    guest.pool = spec.pool.map(String::from);
    guest.config.extend(config.as_object().expect("an object of options").clone());
    if spec.power == Running {
        let days = 2.0 + f64::from(vmid * 7 % 10);
        guest.start(state.now - days * DAY as f64 - f64::from(vmid * 577 % 86_400));
    }
    state.guests.insert(vmid, guest);
    let node = is_block_storage.then(|| spec.node.into());
    let format = if is_block_storage { "raw" } else { "qcow2" };
    let ctime = state.seconds() - 200 * DAY - i64::from(vmid) * 3600;
    let volume = Volume::new(volid, node, kind.disk_content(), format, spec.disk * GIB, ctime);
    let used = volume.size / 100 * spec.used;
    state.volumes.push(Volume { used, vmid: Some(vmid), ..volume });
}

/// Adds what only some guests have.
fn add_details(state: &mut ClusterState) {
    for vmid in [100, 101, 106] {
        state.firewall_rules.insert(vmid, web_server_rules());
    }
    let firewall = json!({"enable": 1, "dhcp": 1, "macfilter": 1, "policy_in": "DROP", "policy_out": "ACCEPT"});
    for vmid in state.guests.keys() {
        state.firewall_options.insert(*vmid, firewall.as_object().expect("an object of options").clone());
    }
    for (vmid, option, value) in [
        (100, "agent", json!("1,fstrim_cloned_disks=1")),
        (100, "description", json!("Front end of the shop. Owner: **Alice**")),
        (102, "protection", json!(1)),
        (102, "description", json!("PostgreSQL 17, nightly backup to `nas`")),
        (104, "description", json!("Restarted on another host by HA")),
        (105, "ostype", json!("win11")),
        (105, "ide2", json!("nas:iso/virtio-win-0.1.271.iso,media=cdrom,size=713520K")),
    ] {
        let guest = state.guests.get_mut(&vmid).expect("a guest of the tables above");
        guest.config.insert(option.into(), value.clone());
        if let Some(running_config) = &mut guest.running_config {
            running_config.insert(option.into(), value);
        }
    }
    let time = state.seconds() - 9 * DAY;
    let staging = state.guests.get_mut(&106).expect("a guest of the tables above");
    let mut config = staging.config.clone();
    config.insert("memory".into(), "2048".into());
    staging.parent = Some("before-upgrade".into());
    staging.snapshots.push(Snapshot {
        name: "before-upgrade".into(),
        description: "Debian 12 before the upgrade to 13".into(),
        time,
        vmstate: false,
        parent: None,
        config,
    });
    state.ha_resources.insert(
        "vm:104".into(),
        json!({"sid": "vm:104", "type": "vm", "state": "started", "max_restart": 1, "max_relocate": 1,
            "digest": DIGEST, "comment": "kept up by HA"}),
    );
    let rule =
        json!({"type": "node-affinity", "resources": "vm:104", "nodes": "pve2:1", "comment": "its data are near"});
    state.ha_rules.insert("keep-gitlab".into(), rule.as_object().expect("an object").clone());
}

fn web_server_rules() -> Vec<Value> {
    vec![
        json!({"type": "in", "action": "ACCEPT", "enable": 1, "macro": "HTTP"}),
        json!({"type": "in", "action": "ACCEPT", "enable": 1, "macro": "HTTPS"}),
        json!({"type": "in", "action": "ACCEPT", "enable": 1, "macro": "SSH", "source": "192.0.2.0/24"}),
    ]
}
