//! The past of the cluster: a week of nightly backups, the last of which failed, and tasks of its users.

use crate::handlers::backup::{backup_size, backup_volume};
use crate::model::guest::{Disk, Guest};
use crate::model::storage::Volume;
use crate::state::{ClusterState, TaskBuilder};
use crate::units::{DAY, GIB, MIB, format_archive_time, format_time};
use serde_json::json;

/// The VM for whose backup the storage was full last night.
const FAILED_VMID: u32 = 102;
/// The guests of the nightly backup job.
const JOB_VMIDS: [u32; 9] = [100, 101, 102, 103, 104, 200, 201, 202, 203];
const NODES: [&str; 3] = ["pve1", "pve2", "pve3"];

/// Adds volumes, backups, the backup job, tasks and the cluster log.
pub(super) fn add_history(state: &mut ClusterState) {
    let last_backup = last_backup_time(state.seconds());
    add_volumes(state, last_backup);
    add_backup_job(state);
    for age in (0..7).rev() {
        for node in NODES {
            add_nightly_backup(state, node, last_backup - age * DAY, age);
        }
    }
    add_tasks(state, last_backup as f64);
    add_logins(state, last_backup as f64);
    state.tasks.sort_by(|a, b| a.start.total_cmp(&b.start));
    state.log.make_contiguous().sort_by_key(|entry| std::cmp::Reverse(entry.time));
}

/// Returns the hour in UTC at which the nightly backup starts: 2, or 0 in the two hours after that. So last night's tasks
/// are less than a day old, and older than those of the users.
fn backup_hour(now: i64) -> i64 {
    if (2..4).contains(&(now.rem_euclid(DAY) / 3600)) { 0 } else { 2 }
}

/// Returns the start of last night's backup.
fn last_backup_time(now: i64) -> i64 {
    let hour = backup_hour(now) * 3600;
    now - (now - hour).rem_euclid(DAY)
}

/// Adds ISO images, container templates, and the backups of a removed VM that fill the storage.
fn add_volumes(state: &mut ClusterState, last_backup: i64) {
    let old = state.seconds() - 120 * DAY;
    let volumes = &mut state.volumes;
    for (volid, node, mib) in [
        ("nas:iso/debian-13.1.0-amd64-netinst.iso", None, 783),
        ("nas:iso/virtio-win-0.1.271.iso", None, 697),
        ("nas:iso/ubuntu-24.04.3-live-server-amd64.iso", None, 3150),
        ("local:iso/debian-13.1.0-amd64-netinst.iso", Some("pve1".into()), 783),
    ] {
        volumes.push(Volume::new(volid.into(), node, "iso", "iso", mib * MIB, old));
    }
    for node in NODES {
        let volid = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst";
        volumes.push(Volume::new(volid.into(), Some(node.into()), "vztmpl", "tzst", 124 * MIB, old));
    }
    for (age, gib) in [(70, 88), (69, 89), (68, 90)] {
        let time = last_backup - age * DAY;
        let volid = format!("nas:backup/vzdump-qemu-110-{}.vma.zst", format_archive_time(time));
        let (vmid, notes) = (Some(110), Some("erp-old".into()));
        volumes.push(Volume { vmid, notes, ..Volume::new(volid, None, "backup", "vma.zst", gib * GIB, time) });
    }
}

fn add_backup_job(state: &mut ClusterState) {
    let schedule = format!("{:02}:00", backup_hour(state.seconds()));
    state.backup_jobs.push(json!({"id": "backup-nightly", "type": "vzdump", "enabled": 1, "schedule": schedule,
        "storage": "nas", "mode": "snapshot", "compress": "zstd", "vmid": JOB_VMIDS.map(|id| id.to_string()).join(","),
        "notes-template": "{{guestname}}", "mailto": "ops@example.test", "notification-mode": "notification-system",
        "prune-backups": {"keep-daily": "3"}, "comment": "production guests, every night"}));
}

/// Adds the backup task of one node in one night, and the backups that the retention has kept.
fn add_nightly_backup(state: &mut ClusterState, node: &str, start: i64, age: i64) {
    let guests: Vec<&Guest> =
        JOB_VMIDS.iter().map(|vmid| &state.guests[vmid]).filter(|guest| guest.node == node).collect();
    let vmids: Vec<String> = guests.iter().map(|guest| guest.vmid.to_string()).collect();
    let mut lines = vec![format!(
        "INFO: starting new backup job: vzdump {} --mode snapshot --storage nas --compress zstd --prune-backups 'keep-daily=3' --quiet 1",
        vmids.join(" ")
    )];
    let mut time = start + 2;
    let mut has_failed = false;
    let mut kept = Vec::new();
    for guest in guests {
        let fails = guest.vmid == FAILED_VMID && age == 0;
        let firewall = state.firewall(guest.vmid);
        let backup = Volume { firewall, ..backup_volume(guest, "nas", None, backup_size(state, guest), time) };
        let seconds = 12 + (backup.size / GIB) as i64 * if fails { 3 } else { 7 };
        lines.extend(backup_log(guest, &backup, seconds, fails));
        has_failed |= fails;
        // The job keeps three backups. The failed one has not replaced the oldest of its guest.
        let kept_age = if guest.vmid == FAILED_VMID { 4 } else { 3 };
        if !fails && age < kept_age {
            kept.push(backup);
        }
        time += seconds + 1;
    }
    state.volumes.extend(kept);
    let (result, exit_status) = if has_failed { ("with errors", "job errors") } else { ("successfully", "OK") };
    lines.push(format!("INFO: Backup job finished {result}"));
    let task = TaskBuilder::new(node, "vzdump", "").lines(lines);
    task.record_past(state, "root@pam", start as f64, (time - start) as f64, exit_status);
}

/// Returns the log of the backup of one guest.
fn backup_log(guest: &Guest, backup: &Volume, seconds: i64, fails: bool) -> Vec<String> {
    let (label, disks) = (guest.label(), guest.disks());
    let gib = disks.iter().map(Disk::size).sum::<u64>() as f64 / GIB as f64;
    let end = format_time(backup.ctime + seconds);
    let (minutes, rest) = (seconds / 60, seconds % 60);
    let mut lines = vec![
        format!("INFO: Starting Backup of {label} ({})", guest.kind),
        format!("INFO: Backup started at {}", format_time(backup.ctime)),
        "INFO: status = running".into(),
        format!("INFO: {} Name: {}", guest.kind.label(), guest.name()),
    ];
    for disk in &disks {
        lines.push(format!("INFO: include disk '{}' '{}' {}G", disk.slot, disk.volume_id(), disk.size() / GIB));
    }
    lines.push("INFO: backup mode: snapshot".into());
    let path = backup.volid.replace("nas:backup/", "/mnt/pve/nas/dump/");
    lines.push(format!("INFO: creating vzdump archive '{path}'"));
    if fails {
        let done = gib * 0.38;
        lines.extend([
            format!(
                "INFO: 38% ({done:.1} GiB of {gib:.1} GiB) in {minutes}m {rest}s, read: 214.1 MiB/s, write: 198.7 MiB/s"
            ),
            "ERROR: write error on storage 'nas': No space left on device".into(),
            "INFO: aborting backup job".into(),
            "INFO: resuming VM again".into(),
            format!("ERROR: Backup of {label} failed - No space left on device"),
            format!("INFO: Failed at {end}"),
        ]);
    } else {
        lines.extend([
            format!("INFO: 100% ({gib:.1} GiB of {gib:.1} GiB) in {minutes}m {rest}s"),
            format!("INFO: archive file size: {:.2}GB", backup.size as f64 / GIB as f64),
            format!("INFO: Finished Backup of {label} (00:{minutes:02}:{rest:02})"),
            format!("INFO: Backup finished at {end}"),
        ]);
    }
    lines
}

/// Adds the logins of the users before their tasks. A failed one is in the log of its node alone.
fn add_logins(state: &mut ClusterState, last_backup: f64) {
    let now = state.now;
    for (node, user, time) in [
        ("pve1", "alice@pve", last_backup - 31_100.0),
        ("pve1", "alice@pve", now - 5300.0),
        ("pve1", "bob@pve", now - 2600.0),
    ] {
        state.log_event(time, node, user, format!("successful auth for user '{user}'"));
    }
}

/// Adds the tasks of the users, and those of the nodes themselves.
fn add_tasks(state: &mut ClusterState, last_backup: f64) {
    let now = state.now;
    for node in NODES {
        TaskBuilder::new(node, "aptupdate", "")
            .line("starting apt-get update")
            .line("Reading package lists...")
            .record_past(state, "root@pam", last_backup - 1200.0, 6.0, "OK");
    }
    let mut record = |node, kind, vmid: u32, user, start, seconds, exit_status| {
        TaskBuilder::new(node, kind, vmid).record_past(state, user, start, seconds, exit_status);
    };
    record("pve2", "qmsnapshot", 106, "alice@pve", now - 9.0 * DAY as f64, 2.0, "OK");
    record("pve3", "qmstop", 105, "alice@pve", last_backup - 31_000.0, 3.0, "OK");
    record("pve2", "vzstart", 203, "demo@pve!full", last_backup + 1900.0, 2.0, "OK");
    record("pve3", "qmstart", 105, "alice@pve", now - 5200.0, 3.0, "OK");
    record("pve3", "vncproxy", 105, "alice@pve", now - 5100.0, 900.0, "OK");
    record("pve3", "qmshutdown", 105, "alice@pve", now - 4000.0, 21.0, "OK");
    record("pve1", "vncproxy", 100, "bob@pve", now - 2500.0, 240.0, "OK");
    record("pve1", "qmstart", 100, "bob@pve", now - 2100.0, 1.0, "VM 100 already running");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_night_is_in_the_last_day_and_before_the_tasks_of_the_users_at_any_time() {
        let midnight = 20_000 * DAY;
        for now in (midnight..midnight + DAY).step_by(300) {
            let age = now - last_backup_time(now);
            // Last night's tasks begin up to 1,900 s after the backup, those of the users up to 5,200 s ago.
            assert!((1900 + 5200..DAY).contains(&age), "{age} s at {now}");
        }
    }
}
