//! Backup jobs, backup files, and the guests that have neither.

use crate::pve::guests::Guest;
use crate::pve::rows::ApiRow;

/// The guests of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobSelection {
    AllExcept(Vec<u32>),
    Guests(Vec<u32>),
    Pool(String),
}

/// A row of GET /cluster/backup.
#[derive(Clone, Debug)]
pub struct BackupJob {
    pub id: String,
    pub enabled: bool,
    pub schedule: String,
    pub storage: String,
    /// The only node whose guests the job backs up. Empty for all nodes.
    pub node: String,
    pub selection: JobSelection,
    /// Seconds since 1970.
    pub next_run: Option<u64>,
    pub comment: String,
}

impl BackupJob {
    pub fn from_row(row: &ApiRow) -> Option<Self> {
        let numbers = |key| row.text(key).split([',', ';', ' ']).filter_map(|id| id.trim().parse().ok()).collect();
        let selection = match row.text("pool") {
            _ if row.flag("all") => JobSelection::AllExcept(numbers("exclude")),
            pool if !pool.is_empty() => JobSelection::Pool(pool),
            _ => JobSelection::Guests(numbers("vmid")),
        };
        // (PVE: jobs of older versions have the days and the time instead of a schedule.)
        let schedule = Some(row.text("schedule")).filter(|schedule| !schedule.is_empty());
        Some(Self {
            id: row.text("id"),
            enabled: row.text("enabled").is_empty() || row.flag("enabled"),
            schedule: schedule.unwrap_or_else(|| format!("{} {}", row.text("dow"), row.text("starttime"))),
            storage: row.text("storage"),
            node: row.text("node"),
            selection,
            next_run: row.count("next-run"),
            comment: row.text("comment"),
        })
    }

    /// Returns whether the job selects the guest. A disabled job selects guests too.
    pub fn selects(&self, guest: &Guest) -> bool {
        let is_on_node = self.node.is_empty() || self.node == guest.node;
        is_on_node
            && match &self.selection {
                JobSelection::AllExcept(excluded) => !excluded.contains(&guest.vmid),
                JobSelection::Guests(vmids) => vmids.contains(&guest.vmid),
                JobSelection::Pool(pool) => guest.pool == *pool,
            }
    }
}

/// A backup on a storage.
#[derive(Clone, Debug)]
pub struct BackupFile {
    pub vmid: u32,
    pub storage: String,
    /// Seconds since 1970.
    pub created: u64,
    pub size: u64,
    pub protected: bool,
    /// Result of the verification on a Proxmox Backup Server. Empty elsewhere.
    pub verification: String,
}

impl BackupFile {
    /// Reads a row of the content of this storage. Returns `None` for a file of no guest.
    pub fn from_row(row: &ApiRow, storage: &str) -> Option<Self> {
        Some(Self {
            vmid: row.count("vmid")?.try_into().ok()?,
            storage: storage.to_owned(),
            created: row.count("ctime").unwrap_or(0),
            size: row.count("size").unwrap_or(0),
            protected: row.flag("protected"),
            verification: row.object("verification").map(|verification| verification.text("state")).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn job(row: Value) -> BackupJob {
        BackupJob::from_row(&ApiRow::parse(&row.to_string()).unwrap()).unwrap()
    }

    fn guest(vmid: u32, node: &str, pool: &str) -> Guest {
        let row = json!({"id": format!("qemu/{vmid}"), "node": node, "pool": pool});
        Guest::from_row(&row.to_string()).expect("a row of a guest")
    }

    #[test]
    fn a_job_selects_guests_in_each_of_its_forms() {
        let (a, b) = (guest(100, "pve1", "prod"), guest(101, "pve2", ""));
        for (row, selected) in [
            (json!({"all": 1}), [true, true]),
            (json!({"all": "1", "exclude": "101,102"}), [true, false]),
            (json!({"all": 1, "node": "pve2"}), [false, true]),
            (json!({"vmid": "100"}), [true, false]),
            (json!({"vmid": 101}), [false, true]),
            (json!({"pool": "prod"}), [true, false]),
            (json!({}), [false, false]),
        ] {
            assert_eq!([job(row.clone()).selects(&a), job(row.clone()).selects(&b)], selected, "{row}");
        }
    }

    #[test]
    fn a_job_is_enabled_unless_it_says_otherwise() {
        let enabled = [json!({}), json!({"enabled": 1}), json!({"enabled": "0"}), json!({"enabled": 0})];
        assert_eq!(enabled.map(|row| job(row).enabled), [true, true, false, false]);
        assert_eq!(job(json!({"dow": "sat", "starttime": "01:00"})).schedule, "sat 01:00");
    }
}
