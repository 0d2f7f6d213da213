//! The cluster as a demo finds it: three hosts, thirteen guests, and a backup that failed last night.

use super::lifecycle::blank;
use super::tasks::Task;
use super::value::{json, put, set};
use super::world::{GIB, Node, Snapshot, Storage, Volume, World, human, stamp};
use super::{backup, power};
use serde_json::Value;
use std::time::Duration;

const DAY: i64 = 86_400;

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
            other: 3522 * GIB,
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
    images(&mut world);
    jobs(&mut world);
    history(&mut world);
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

/// ISO images, container templates and older backups.
#[inline(never)]
fn images(world: &mut World) {
    let now = world.seconds();
    let night = now.div_euclid(DAY) * DAY + 2 * 3600 - if now.rem_euclid(DAY) < 3 * 3600 { DAY } else { 0 };
    let mut add = |volid: String, node: Option<&str>, content, format, size: u64, vmid, ctime, notes: Option<&str>| {
        world.volumes.push(Volume {
            volid,
            node: node.map(String::from),
            content,
            format,
            size,
            used: size,
            vmid,
            ctime,
            notes: notes.map(String::from),
            protected: false,
        });
    };
    let mib = 1 << 20;
    let old = now - 120 * DAY;
    for (name, size) in [
        ("debian-13.1.0-amd64-netinst.iso", 783 * mib),
        ("virtio-win-0.1.271.iso", 697 * mib),
        ("ubuntu-24.04.3-live-server-amd64.iso", 3150 * mib),
    ] {
        add(format!("nas:iso/{name}"), None, "iso", "iso", size, None, old, None);
    }
    add("local:iso/debian-13.1.0-amd64-netinst.iso".into(), Some("pve1"), "iso", "iso", 783 * mib, None, old, None);
    for node in ["pve1", "pve2", "pve3"] {
        let name = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst";
        add(name.into(), Some(node), "vztmpl", "tzst", 124 * mib, None, old, None);
    }
    // Backups of a guest that is gone: what fills the storage, and what could make room on it.
    for (age, gib) in [(70, 88), (69, 89), (68, 90)] {
        let at = night - age * DAY;
        add(dump("qemu", 110, at, "vma.zst"), None, "backup", "vma.zst", gib * GIB, Some(110), at, Some("erp-old"));
    }
    for age in [0, 1, 2] {
        let at = night - age * DAY;
        add(dump("qemu", 100, at + 7, "vma.zst"), None, "backup", "vma.zst", 7 * GIB, Some(100), at + 7, Some("web01"));
        add(
            dump("lxc", 200, at + 190, "tar.zst"),
            None,
            "backup",
            "tar.zst",
            610 * mib,
            Some(200),
            at + 190,
            Some("dns01"),
        );
    }
    let at = night - 2 * DAY + 60;
    add(dump("qemu", 102, at, "vma.zst"), None, "backup", "vma.zst", 118 * GIB, Some(102), at, Some("db01"));
}

fn dump(kind: &str, vmid: u32, at: i64, format: &str) -> String {
    let time = stamp(at).replace('-', "_").replace(' ', "-").replace(':', "_");
    format!("nas:backup/vzdump-{kind}-{vmid}-{time}.{format}")
}

#[inline(never)]
fn jobs(world: &mut World) {
    let next = world.seconds().div_euclid(DAY) * DAY + 26 * 3600;
    world.jobs = vec![
        json!({"id": "backup-nightly", "type": "vzdump", "enabled": 1, "schedule": "02:00", "storage": "nas", "mode": "snapshot",
        "compress": "zstd", "vmid": "100,101,102,103,104,200,201,202,203", "notes-template": "{{guestname}}", "mailto": "ops@example.test",
        "notification-mode": "notification-system", "prune-backups": {"keep-daily": "3"}, "next-run": next,
        "comment": "production guests, every night"}),
    ];
}

/// What happened lately, last night's failed backup among it.
#[inline(never)]
fn history(world: &mut World) {
    let now = world.now;
    let today = (now as i64).div_euclid(DAY) * DAY;
    let night = (today + 2 * 3600 - if (now as i64).rem_euclid(DAY) < 3 * 3600 { DAY } else { 0 }) as f64;
    let free =
        world.storages.iter().find(|s| s.name == "nas").map_or(0, |s| s.total.saturating_sub(world.used(s, "pve1")));
    let info = |lines: &[&str]| lines.iter().map(|l| format!("INFO: {l}")).collect::<Vec<_>>();
    let mut failed = info(&[
        "starting new backup job: vzdump 100 102 200 --mode snapshot --storage nas --compress zstd --quiet 1",
        "Starting Backup of VM 100 (qemu)",
        "status = running",
        "VM 100 Name: web01",
        "include disk 'scsi0' 'nas:100/vm-100-disk-0.qcow2' 64G",
        "backup mode: snapshot",
        "100% (64.0 GiB of 64.0 GiB) in 2m 41s",
        "archive file size: 7.0 GiB",
        "Finished Backup of VM 100 (00:02:44)",
        "Starting Backup of VM 102 (qemu)",
        "status = running",
        "VM 102 Name: db01",
        "include disk 'scsi0' 'local-lvm:vm-102-disk-0' 400G",
        "backup mode: snapshot",
        "38% (152.4 GiB of 400.0 GiB) in 12m 8s, read: 214.1 MiB/s, write: 198.7 MiB/s",
    ]);
    failed.push("ERROR: write error on storage 'nas': No space left on device".into());
    failed.push("INFO: aborting backup job".into());
    failed.push(format!(
        "ERROR: Backup of VM 102 failed - No space left on device ({} free on 'nas')",
        backup::gib(free)
    ));
    failed.extend(info(&[
        "Starting Backup of CT 200 (lxc)",
        "status = running",
        "archive file size: 610 MiB",
        "Finished Backup of CT 200 (00:00:19)",
        "Backup job finished with errors",
    ]));
    let done = info(&[
        "starting new backup job: vzdump 101 104 201 203 --mode snapshot --storage nas --compress zstd --quiet 1",
        "Backup job finished successfully",
    ]);
    let past = [
        ("pve2", "qmsnapshot", "106", "alice@pve", now - 9.0 * DAY as f64, 2.0, Vec::new(), "OK"),
        ("pve3", "aptupdate", "", "root@pam", night - 79_000.0, 6.0, vec!["starting apt-get update".into()], "OK"),
        (
            "pve1",
            "vzdump",
            "",
            "root@pam",
            night - DAY as f64,
            1310.0,
            info(&["Backup job finished successfully"]),
            "OK",
        ),
        ("pve3", "qmstop", "105", "alice@pve", night - 31_000.0, 3.0, Vec::new(), "OK"),
        ("pve1", "vzdump", "", "root@pam", night, 914.0, failed, "job errors"),
        ("pve2", "vzdump", "", "root@pam", night + 1.0, 702.0, done, "OK"),
        ("pve2", "vzstart", "203", "demo@pve!full", night + 1900.0, 2.0, Vec::new(), "OK"),
    ];
    for (node, kind, id, user, start, seconds, lines, exit) in past {
        let task = Task::past(world, [node, kind, id, user], start, seconds, lines, exit);
        let (upid, msg) = (task.upid.clone(), if exit == "OK" { "OK" } else { exit });
        world.tasks.push(task);
        world.note(node, "pvedaemon", user, format!("end task {upid} {msg}"));
        // Written now, but of then.
        if let Some(row) = world.log.front_mut().and_then(Value::as_object_mut) {
            put(row, "time", ((start + seconds) as i64).into());
        }
    }
}
