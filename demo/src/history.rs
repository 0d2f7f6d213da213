//! What happened before the demo began: a week of nightly backups, the last of which failed, and what people did.

use super::backup::backup_size;
use super::seed::DAY;
use super::tasks::Task;
use super::value::{json, put};
use super::world::{GIB, Volume, World, size_of, stamp, volid_of};
use serde_json::Value;

/// The VM whose backup found no room last night.
const FAILED: u32 = 102;

/// When last night's backup began: 02:00, in UTC.
fn last_night(world: &World) -> i64 {
    let now = world.seconds();
    now.div_euclid(DAY) * DAY + 2 * 3600 - if now.rem_euclid(DAY) < 4 * 3600 { DAY } else { 0 }
}

fn volume(
    volid: String,
    node: Option<&str>,
    content: &'static str,
    format: &'static str,
    size: u64,
    ctime: i64,
) -> Volume {
    let node = node.map(String::from);
    Volume {
        volid,
        node,
        content,
        format,
        size,
        used: size,
        vmid: None,
        ctime,
        notes: None,
        protected: false,
        config: None,
    }
}

/// ISO images, container templates, and backups of a guest that is gone.
#[inline(never)]
pub(super) fn images(world: &mut World) {
    let (night, mib) = (last_night(world), 1 << 20);
    let old = world.seconds() - 120 * DAY;
    let volumes = &mut world.volumes;
    for (name, node, size) in [
        ("nas:iso/debian-13.1.0-amd64-netinst.iso", None, 783 * mib),
        ("nas:iso/virtio-win-0.1.271.iso", None, 697 * mib),
        ("nas:iso/ubuntu-24.04.3-live-server-amd64.iso", None, 3150 * mib),
        ("local:iso/debian-13.1.0-amd64-netinst.iso", Some("pve1"), 783 * mib),
    ] {
        volumes.push(volume(name.into(), node, "iso", "iso", size, old));
    }
    for node in ["pve1", "pve2", "pve3"] {
        let name = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst";
        volumes.push(volume(name.into(), Some(node), "vztmpl", "tzst", 124 * mib, old));
    }
    // What fills the storage, and what could make room on it.
    for (age, gib) in [(70, 88), (69, 89), (68, 90)] {
        let at = night - age * DAY;
        let (vmid, notes) = (Some(110), Some("erp-old".into()));
        let backup = volume(dump("qemu", 110, at, "vma.zst"), None, "backup", "vma.zst", gib * GIB, at);
        volumes.push(Volume { vmid, notes, ..backup });
    }
}

fn dump(kind: &str, vmid: u32, at: i64, format: &str) -> String {
    let time = stamp(at).replace('-', "_").replace(' ', "-").replace(':', "_");
    format!("nas:backup/vzdump-{kind}-{vmid}-{time}.{format}")
}

/// The nightly job, a week of its tasks on each host, and the backups that its retention has left.
#[inline(never)]
pub(super) fn nights(world: &mut World) {
    let (night, next) = (last_night(world), world.seconds().div_euclid(DAY) * DAY + 26 * 3600);
    let list = "100,101,102,103,104,200,201,202,203";
    world.jobs = vec![
        json!({"id": "backup-nightly", "type": "vzdump", "enabled": 1, "schedule": "02:00", "storage": "nas", "mode": "snapshot",
        "compress": "zstd", "vmid": list, "notes-template": "{{guestname}}", "mailto": "ops@example.test",
        "notification-mode": "notification-system", "prune-backups": {"keep-daily": "3"}, "next-run": next,
        "comment": "production guests, every night"}),
    ];
    for age in (0..7).rev() {
        for node in ["pve1", "pve2", "pve3"] {
            one_night(world, node, list, night - age * DAY, age);
        }
    }
}

fn one_night(world: &mut World, node: &str, list: &str, start: i64, age: i64) {
    let ids: Vec<u32> = list.split(',').filter_map(|id| id.parse().ok()).collect();
    let guests: Vec<_> = world.guests.values().filter(|g| ids.contains(&g.vmid) && g.node == node).collect();
    let names: Vec<String> = guests.iter().map(|g| g.vmid.to_string()).collect();
    let mut lines = vec![format!(
        "INFO: starting new backup job: vzdump {} --mode snapshot --storage nas --compress zstd --prune-backups 'keep-daily=3' --quiet 1",
        names.join(" ")
    )];
    let (mut at, mut made, mut broken) = (start + 2, Vec::new(), false);
    for guest in guests {
        let (label, kind) = (guest.label(), guest.kind());
        let failed = guest.vmid == FAILED && age == 0;
        let format = if guest.lxc { "tar.zst" } else { "vma.zst" };
        let (size, archive) = (backup_size(world, guest), dump(kind, guest.vmid, at, format));
        let mut say = |line: String| lines.push(format!("INFO: {line}"));
        say(format!("Starting Backup of {label} ({kind})"));
        say(format!("Backup started at {}", stamp(at)));
        say("status = running".into());
        say(format!("{} Name: {}", &label.get(..2).unwrap_or_default(), guest.name()));
        let mut bytes = 0;
        for (disk, value) in guest.disks() {
            bytes += size_of(&value);
            say(format!("include disk '{disk}' '{}' {}G", volid_of(&value), size_of(&value) / GIB));
        }
        say("backup mode: snapshot".into());
        say(format!("creating vzdump archive '{}'", archive.replace("nas:backup/", "/mnt/pve/nas/dump/")));
        let seconds = 12 + (size / GIB) as i64 * if failed { 3 } else { 7 };
        let (whole, minutes) = (bytes as f64 / GIB as f64, format!("{}m {}s", seconds / 60, seconds % 60));
        if failed {
            say(format!(
                "38% ({:.1} GiB of {whole:.1} GiB) in {minutes}, read: 214.1 MiB/s, write: 198.7 MiB/s",
                whole * 0.38
            ));
            lines.push("ERROR: write error on storage 'nas': No space left on device".into());
            lines.push("INFO: aborting backup job".into());
            lines.push("INFO: resuming VM again".into());
            lines.push(format!("ERROR: Backup of {label} failed - No space left on device"));
            lines.push(format!("INFO: Failed at {}", stamp(at + seconds)));
            broken = true;
        } else {
            say(format!("100% ({whole:.1} GiB of {whole:.1} GiB) in {minutes}"));
            say(format!("archive file size: {:.2}GB", size as f64 / GIB as f64));
            say(format!("Finished Backup of {label} (00:{:02}:{:02})", seconds / 60, seconds % 60));
            say(format!("Backup finished at {}", stamp(at + seconds)));
            // Three are kept, and a night that failed made no new one and took no old one away.
            if age < if guest.vmid == FAILED { 4 } else { 3 } {
                let (vmid, notes, config) = (Some(guest.vmid), Some(guest.name()), Some(guest.config.clone()));
                made.push(Volume { vmid, notes, config, ..volume(archive, None, "backup", format, size, at) });
            }
        }
        at += seconds + 1;
    }
    let (last, exit) = if broken { ("with errors", "job errors") } else { ("successfully", "OK") };
    lines.push(format!("INFO: Backup job finished {last}"));
    world.volumes.extend(made);
    past(world, [node, "vzdump", "", "root@pam"], start as f64, (at - start) as f64, lines, exit);
}

/// What people did, and what the hosts do by themselves.
#[inline(never)]
pub(super) fn tasks(world: &mut World) {
    let (now, night) = (world.now, last_night(world) as f64);
    for node in ["pve1", "pve2", "pve3"] {
        let lines = vec!["starting apt-get update".into(), "Reading package lists...".into()];
        past(world, [node, "aptupdate", "", "root@pam"], night + 6000.0, 6.0, lines, "OK");
    }
    for (node, kind, id, user, start, seconds, exit) in [
        ("pve2", "qmsnapshot", "106", "alice@pve", now - 9.0 * DAY as f64, 2.0, "OK"),
        ("pve3", "qmstop", "105", "alice@pve", night - 31_000.0, 3.0, "OK"),
        ("pve2", "vzstart", "203", "demo@pve!full", night + 1900.0, 2.0, "OK"),
        ("pve3", "qmstart", "105", "alice@pve", now - 5200.0, 3.0, "OK"),
        ("pve3", "vncproxy", "105", "alice@pve", now - 5100.0, 900.0, "OK"),
        ("pve3", "qmshutdown", "105", "alice@pve", now - 4000.0, 21.0, "OK"),
        ("pve1", "vncproxy", "100", "bob@pve", now - 2500.0, 240.0, "OK"),
        ("pve1", "qmstart", "100", "bob@pve", now - 2100.0, 1.0, "VM 100 already running"),
    ] {
        past(world, [node, kind, id, user], start, seconds, Vec::new(), exit);
    }
    sort(&mut world.tasks, &|a, b| a.begun() < b.begun());
    let time = |row: &Value| row.get("time").and_then(Value::as_i64);
    sort(world.log.make_contiguous(), &|a, b| time(a) > time(b));
}

/// Puts each item before those that it belongs before: by far less code than the library's sorts, which are made anew
/// for each type, and as fast where most stand right.
fn sort<T>(items: &mut [T], before: &dyn Fn(&T, &T) -> bool) {
    for end in 1..items.len() {
        for at in (1..=end).rev() {
            match items.get_mut(at - 1..=at) {
                Some([a, b]) if before(b, a) => std::mem::swap(a, b),
                _ => break,
            }
        }
    }
}

#[inline(never)]
fn past(world: &mut World, what: [&str; 4], start: f64, seconds: f64, lines: Vec<String>, exit: &str) {
    let [node, _, _, user] = what;
    let task = Task::past(world, what, start, seconds, lines, exit);
    let upid = task.upid.clone();
    world.tasks.push(task);
    for (time, msg) in [(start, format!("starting task {upid}")), (start + seconds, format!("end task {upid} {exit}"))]
    {
        world.note(node, "pvedaemon", user, msg);
        // Written now, but of then.
        if let Some(row) = world.log.front_mut().and_then(Value::as_object_mut) {
            put(row, "time", (time as i64).into());
        }
    }
}
