//! The cluster as a demo finds it: three hosts, thirteen guests, and a backup that failed last night.

use super::lifecycle::blank;
use super::value::{json, set};
use super::world::{GIB, Node, Snapshot, Storage, Volume, World, human};
use super::{firewall, history, power};
use serde_json::Value;
use std::time::Duration;

/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;

/// One guest: id, name, host, cores, MiB, tags, pool, disk (storage, GiB, share used in percent), state.
struct Line(u32, &'static str, &'static str, u64, u64, &'static str, &'static str, (&'static str, u64, u64), State);

#[derive(PartialEq, Eq)]
enum State {
    Running,
    Stopped,
    Template,
}
use State::{Running, Stopped, Template};

const VMS: &[Line] = &[
    Line(100, "web01", "pve1", 4, 8192, "prod;web", "prod", ("nas", 64, 22), Running),
    Line(101, "web02", "pve2", 4, 8192, "prod;web", "prod", ("nas", 64, 21), Running),
    Line(102, "db01", "pve1", 8, 32_768, "db;prod", "prod", ("local-lvm", 400, 61), Running),
    Line(103, "mail", "pve3", 2, 4096, "mail;prod", "prod", ("local-lvm", 120, 48), Running),
    Line(104, "gitlab", "pve2", 8, 16_384, "ci;dev", "", ("nas", 200, 37), Running),
    Line(105, "win11-desk", "pve3", 4, 8192, "dev;windows", "", ("local-lvm", 80, 55), Stopped),
    Line(106, "staging01", "pve2", 2, 4096, "stage;web", "stage", ("local-lvm", 32, 30), Stopped),
    Line(9000, "debian13-tmpl", "pve1", 2, 2048, "", "", ("local-lvm", 8, 24), Template),
];
const CONTAINERS: &[Line] = &[
    Line(200, "dns01", "pve1", 1, 512, "infra", "", ("local-lvm", 8, 18), Running),
    Line(201, "dns02", "pve2", 1, 512, "infra", "", ("local-lvm", 8, 18), Running),
    Line(202, "proxy", "pve3", 2, 1024, "infra;web", "", ("local-lvm", 8, 33), Running),
    Line(203, "monitoring", "pve2", 2, 4096, "infra", "", ("local-lvm", 50, 71), Running),
    Line(204, "restore-test", "pve3", 1, 1024, "dev", "stage", ("local-lvm", 16, 12), Stopped),
];

/// The whole of it, as of now.
pub(super) fn world(step: Duration) -> World {
    let mut world = World::new(step);
    let now = world.now;
    let node = |name, ip, cpus, model, gib, days: f64| Node {
        name,
        ip,
        cpus,
        model,
        memory: gib * GIB,
        booted: now - days * 86_400.0,
    };
    world.nodes = vec![
        node("pve1", "192.0.2.11", 32, "AMD EPYC 7302P 16-Core Processor", 128, 41.3),
        node("pve2", "192.0.2.12", 32, "AMD EPYC 7302P 16-Core Processor", 128, 41.2),
        node("pve3", "192.0.2.13", 16, "Intel(R) Xeon(R) E-2288G CPU @ 3.70GHz", 64, 12.7),
    ];
    world.storages = vec![
        Storage {
            name: "local",
            kind: "dir",
            content: "backup,import,iso,snippets,vztmpl",
            shared: false,
            total: 94 * GIB,
            other: 11 * GIB,
            more: json!({"path": "/var/lib/vz"}),
        },
        Storage {
            name: "local-lvm",
            kind: "lvmthin",
            content: "images,rootdir",
            shared: false,
            total: 1680 * GIB,
            other: 0,
            more: json!({"vgname": "pve", "thinpool": "data"}),
        },
        Storage {
            name: "nas",
            kind: "nfs",
            content: "backup,images,iso,vztmpl",
            shared: true,
            total: 4096 * GIB,
            other: 2997 * GIB,
            more: json!({"server": "192.0.2.20", "export": "/volume1/pve", "path": "/mnt/pve/nas", "prune-backups": "keep-daily=3"}),
        },
    ];
    world.pools.insert("prod".into(), "production guests".into());
    world.pools.insert("stage".into(), "staging, may be wiped".into());
    for (lines, lxc) in [(VMS, false), (CONTAINERS, true)] {
        for line in lines {
            add(&mut world, line, lxc);
        }
    }
    details(&mut world);
    history::images(&mut world);
    history::nights(&mut world);
    history::tasks(&mut world);
    world
}

#[inline(never)]
fn add(world: &mut World, line: &Line, lxc: bool) {
    let Line(vmid, name, node, cores, memory, tags, pool, (store, gib, used), state) = line;
    let mut guest = blank(*vmid, lxc, node);
    guest.pool = (!pool.is_empty()).then(|| (*pool).into());
    let block = *store != "nas";
    let base = if *state == Template { "base" } else { "vm" };
    let volid = if block {
        format!("{store}:{base}-{vmid}-disk-0")
    } else {
        format!("{store}:{vmid}/{base}-{vmid}-disk-0.qcow2")
    };
    let size = gib * GIB;
    let mac = format!("BC:24:11:00:{:02X}:{:02X}", vmid >> 8 & 0xff, vmid & 0xff);
    let disk = format!("{volid},size={}", human(size));
    let mut options = if lxc {
        json!({"hostname": name, "arch": "amd64", "ostype": "debian", "cores": cores, "memory": memory, "swap": 512, "rootfs": disk,
            "unprivileged": 1, "features": "nesting=1",
            "net0": format!("name=eth0,bridge=vmbr1,firewall=1,hwaddr={mac},ip=dhcp,type=veth")})
    } else {
        json!({"name": name, "cores": cores, "sockets": 1, "cpu": "x86-64-v2-AES", "memory": memory.to_string(), "ostype": "l26",
            "scsi0": format!("{disk},iothread=1,discard=on"), "scsihw": "virtio-scsi-single", "boot": "order=scsi0",
            "net0": format!("virtio={mac},bridge=vmbr1,firewall=1"),
            "smbios1": format!("uuid=6f0e1b0e-0000-4000-8000-{vmid:012}")})
    };
    if !tags.is_empty() {
        set(&mut options, "tags", (*tags).into());
    }
    if *state == Running {
        set(&mut options, "onboot", 1.into());
    }
    if *state == Template {
        set(&mut options, "template", 1.into());
    }
    if let Value::Object(options) = options {
        guest.config.extend(options);
    }
    let (content, now) = (if lxc { "rootdir" } else { "images" }, world.seconds());
    world.volumes.push(Volume {
        volid,
        node: block.then(|| (*node).into()),
        content,
        format: if block { "raw" } else { "qcow2" },
        size,
        used: size / 100 * used,
        vmid: Some(*vmid),
        ctime: now - 200 * DAY - i64::from(*vmid) * 3600,
        notes: None,
        protected: false,
        config: None,
    });
    if *state == Running {
        let days = 2.0 + f64::from(vmid * 7 % 10);
        let since = world.now - days * 86_400.0 - f64::from(vmid * 577 % 86_400);
        power::start_now(&mut guest, since);
    }
    world.guests.insert(*vmid, guest);
}

/// What only some guests have.
#[inline(never)]
fn details(world: &mut World) {
    let now = world.seconds();
    for vmid in [100, 101, 106] {
        world.rules.insert(vmid, firewall::web());
    }
    let mut set = |vmid: u32, option: &str, value: Value| {
        if let Some(guest) = world.guests.get_mut(&vmid) {
            guest.config.insert(option.into(), value.clone());
            if let Some(booted) = &mut guest.booted {
                booted.insert(option.into(), value);
            }
        }
    };
    set(100, "agent", "1,fstrim_cloned_disks=1".into());
    set(100, "description", "Front end of the shop. Owner: **Alice**".into());
    set(102, "protection", 1.into());
    set(102, "description", "PostgreSQL 17, nightly backup to `nas` at 02:00".into());
    set(104, "description", "Restarted on another host by HA".into());
    set(105, "ostype", "win11".into());
    set(105, "ide2", "nas:iso/virtio-win-0.1.271.iso,media=cdrom,size=713520K".into());
    if let Some(guest) = world.guests.get_mut(&106) {
        let mut config = guest.config.clone();
        config.insert("memory".into(), "2048".into());
        let (name, description) = ("before-upgrade".to_string(), "Debian 12 before the upgrade to 13".to_string());
        guest.parent = Some(name.clone());
        guest.snapshots.push(Snapshot { name, description, time: now - 9 * DAY, vmstate: false, parent: None, config });
    }
    world.ha.insert(
        "vm:104".into(),
        json!({"sid": "vm:104", "type": "vm", "state": "started", "max_restart": 1, "max_relocate": 1, "group": null,
            "digest": "8d9c41b0f4b0a2d1c9f8f5d7f7fd3f6f8b21c7aa"}),
    );
}
