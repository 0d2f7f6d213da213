//! The backups of a cluster in sections.

use super::briefing::Section;
use super::health::{
    BackupFacts, ExplainedTask, HealthFacts, PartAnswer, StorageBackups, describe_failed_tasks, describe_storage,
    limit_backups, sees_all_backups,
};
use super::labels::{count, format_bytes, format_duration, format_local_time, guest_label};
use crate::pve::backups::{BackupFile, BackupJob, JobSelection};
use std::collections::BTreeMap;

/// The most numbers of guests that the line of a job names.
const MAX_JOB_GUESTS: usize = 100;

/// Describes the jobs, the backups of each guest, failed backups, and the storages.
pub fn describe_backups(
    facts: &HealthFacts,
    backups: &BackupFacts,
    failed_tasks: &[PartAnswer<Vec<ExplainedTask>>],
) -> Vec<Section> {
    vec![
        describe_jobs(backups, facts.utc_offset),
        describe_guests(facts, backups),
        describe_failed_tasks("Failed backups of the last 7 days", failed_tasks, facts),
        describe_storages(backups),
        describe_orphans(facts, backups),
    ]
}

fn describe_jobs(backups: &BackupFacts, utc_offset: i32) -> Section {
    let mut section = Section::new("Backup jobs");
    match &backups.jobs {
        Ok(jobs) => jobs.iter().for_each(|job| section.push(&describe_job(job, utc_offset))),
        Err(error) => section.limit(&format!("backup jobs: {error}")),
    }
    section
}

fn describe_job(job: &BackupJob, utc_offset: i32) -> String {
    let numbers = |vmids: &[u32]| {
        let named: Vec<String> = vmids.iter().take(MAX_JOB_GUESTS).map(u32::to_string).collect();
        let more = vmids.len().saturating_sub(MAX_JOB_GUESTS);
        named.join(",") + &if more > 0 { format!(" and {more} more") } else { String::new() }
    };
    let selection = match &job.selection {
        JobSelection::AllExcept(excluded) if excluded.is_empty() => "all guests".to_owned(),
        JobSelection::AllExcept(excluded) => format!("all guests except {}", numbers(excluded)),
        JobSelection::Guests(vmids) => format!("guests {}", numbers(vmids)),
        JobSelection::Pool(pool) => format!("pool {pool}"),
    };
    let state = if job.enabled { "enabled" } else { "DISABLED, backs up nothing" };
    let node = if job.node.is_empty() { String::new() } else { format!(" on node {} only", job.node) };
    let mut row = format!("{} ({state}): {selection}{node} to {}, schedule {}", job.id, job.storage, job.schedule);
    if let Some(time) = job.next_run.filter(|_| job.enabled) {
        row += &format!(", next {}", format_local_time(time, utc_offset));
    }
    if !job.comment.is_empty() {
        row += &format!("; {}", job.comment);
    }
    row
}

/// Describes the last backup of each guest, first the guests without one, then those with the oldest.
fn describe_guests(facts: &HealthFacts, backups: &BackupFacts) -> Section {
    let mut section = Section::new("Last backup of each guest");
    limit_backups(&mut section, facts, backups);
    let mut files: BTreeMap<u32, Vec<&BackupFile>> = BTreeMap::new();
    for file in backups.iter_files() {
        files.entry(file.vmid).or_default().push(file);
    }
    let mut rows: Vec<(u64, u32, String)> = Vec::new();
    for guest in &facts.inventory.guests {
        let jobs = match &backups.jobs {
            Ok(jobs) => describe_guest_jobs(jobs.iter().filter(|job| job.selects(guest))),
            Err(_) => "jobs unknown".into(),
        };
        let template = if guest.template { ", a template" } else { "" };
        let found = files.get(&guest.vmid).map_or(&[][..], Vec::as_slice);
        let last = found.iter().max_by_key(|file| file.created);
        let backup = match last {
            None if sees_all_backups(facts, backups, guest.vmid) => "no backup seen".to_owned(),
            None => "its backups can't be seen".to_owned(),
            Some(file) => describe_file(file, found.len(), facts),
        };
        let row = format!("{}{template}: {backup}; {jobs}", guest_label(guest));
        rows.push((last.map_or(0, |file| file.created), guest.vmid, row));
    }
    rows.sort();
    rows.iter().for_each(|(_, _, row)| section.push(row));
    section
}

fn describe_guest_jobs<'a>(jobs: impl Iterator<Item = &'a BackupJob>) -> String {
    let (enabled, disabled): (Vec<&BackupJob>, Vec<&BackupJob>) = jobs.partition(|job| job.enabled);
    let ids = |jobs: &[&BackupJob]| jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>().join(", ");
    match (enabled.as_slice(), disabled.as_slice()) {
        ([], []) => "in no job".into(),
        ([], disabled) => format!("only in the disabled {}", ids(disabled)),
        (enabled, _) => format!("in {}", ids(enabled)),
    }
}

fn describe_file(file: &BackupFile, number: usize, facts: &HealthFacts) -> String {
    let BackupFile { storage, created, size, protected, verification, .. } = file;
    let age = format_duration(facts.now.saturating_sub(*created));
    let time = format_local_time(*created, facts.utc_offset);
    let mut text = format!("{time} ({age} ago), {} on {storage}", format_bytes(*size));
    if *protected {
        text += ", protected";
    }
    if !verification.is_empty() {
        text += &format!(", verification {verification}");
    }
    text + &format!(", {} in all", count(number, "backup"))
}

fn describe_storages(backups: &BackupFacts) -> Section {
    let mut section = Section::new("Storages for backups");
    for StorageBackups { storage, answer } in &backups.files {
        let files = match answer {
            Ok(files) => {
                let bytes = files.iter().map(|file| file.size).sum();
                format!("{} seen, {}", count(files.len(), "backup"), format_bytes(bytes))
            }
            Err(error) => format!("backups could not be read: {error}"),
        };
        section.push(&format!("{}; {files}", describe_storage(storage)));
    }
    section
}

/// Describes the backups of guests that are not in the list.
fn describe_orphans(facts: &HealthFacts, backups: &BackupFacts) -> Section {
    let mut section = Section::new("Backups of guests that are not in the list");
    let mut orphans: BTreeMap<u32, (usize, u64, u64)> = BTreeMap::new();
    for file in backups.iter_files() {
        if facts.inventory.guests.iter().all(|guest| guest.vmid != file.vmid) {
            let (number, bytes, newest) = orphans.entry(file.vmid).or_default();
            *number += 1;
            *bytes += file.size;
            *newest = (*newest).max(file.created);
        }
    }
    for (vmid, (number, bytes, newest)) in orphans {
        let size = format_bytes(bytes);
        section.push(&format!(
            "{vmid}: {}, {size}, the newest of {}",
            count(number, "backup"),
            format_local_time(newest, facts.utc_offset)
        ));
    }
    section
}
