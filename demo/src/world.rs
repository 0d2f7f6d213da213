//! The cluster's state, and its clock: every number that moves is a function of the time.

use super::access::Accounts;
use super::api::{Fault, failed};
pub(super) use super::guest::{Config, Guest, Snapshot, Usage, is_disk, size_of, volid_of, wave};
use super::http::civil;
use super::tasks::Task;
use super::value::json;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of a GiB.
pub(super) const GIB: u64 = 1 << 30;

/// The whole cluster.
pub(super) struct World {
    started: Instant,
    epoch: f64,
    /// The present, in seconds since 1970, as of the last [`World::advance`].
    pub(super) now: f64,
    /// Seconds a task takes for each line of its log.
    pub(super) step: f64,
    /// The hosts; the first is the one that is asked.
    pub(super) nodes: Vec<Node>,
    /// VMs and containers.
    pub(super) guests: BTreeMap<u32, Guest>,
    /// Storages, as of storage.cfg.
    pub(super) storages: Vec<Storage>,
    /// What lies on them.
    pub(super) volumes: Vec<Volume>,
    /// Ended and running, oldest first.
    pub(super) tasks: Vec<Task>,
    /// Pools and their comments.
    pub(super) pools: BTreeMap<String, String>,
    /// Users, tokens and rights.
    pub(super) accounts: Accounts,
    /// Backup jobs.
    pub(super) jobs: Vec<Value>,
    /// High-availability resources by their sid (`vm:104`).
    pub(super) ha: BTreeMap<String, Value>,
    /// Firewall rules of guests, by their id.
    pub(super) rules: BTreeMap<u32, Vec<Value>>,
    /// The cluster log, newest first.
    pub(super) log: VecDeque<Value>,
    /// Commands run through a guest agent: pid, and what they wrote.
    pub(super) execs: VecDeque<(i64, String)>,
    counter: u32,
}

/// A host.
pub(super) struct Node {
    /// Its name.
    pub(super) name: &'static str,
    /// Its address in the cluster network.
    pub(super) ip: &'static str,
    /// Logical processors.
    pub(super) cpus: u32,
    /// Their model.
    pub(super) model: &'static str,
    /// Bytes of memory.
    pub(super) memory: u64,
    /// When it was booted, in seconds since 1970.
    pub(super) booted: f64,
}

/// A storage.
pub(super) struct Storage {
    /// Its name.
    pub(super) name: &'static str,
    /// dir, lvmthin, nfs.
    pub(super) kind: &'static str,
    /// What it may hold, comma-separated.
    pub(super) content: &'static str,
    /// Whether all hosts see the same.
    pub(super) shared: bool,
    /// Bytes (per host where it is not shared).
    pub(super) total: u64,
    /// Bytes taken by what is not listed as a volume.
    pub(super) other: u64,
    /// More of its entry in storage.cfg.
    pub(super) more: Value,
}

/// A disk image, an ISO image, a template, a backup.
#[derive(Clone)]
pub(super) struct Volume {
    /// `storage:name`.
    pub(super) volid: String,
    /// The host it is on; none for a shared storage's.
    pub(super) node: Option<String>,
    /// images, rootdir, iso, vztmpl, backup.
    pub(super) content: &'static str,
    /// raw, qcow2, iso, tzst, vma.zst, tar.zst.
    pub(super) format: &'static str,
    /// Bytes.
    pub(super) size: u64,
    /// Bytes really taken.
    pub(super) used: u64,
    /// The guest it belongs to.
    pub(super) vmid: Option<u32>,
    /// When it was made, in seconds since 1970.
    pub(super) ctime: i64,
    /// Notes on a backup.
    pub(super) notes: Option<String>,
    /// Whether a backup must not be removed.
    pub(super) protected: bool,
    /// The options of the guest that a backup is of.
    pub(super) config: Option<Config>,
}

impl World {
    /// An empty cluster.
    pub(super) fn new(step: Duration) -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        Self {
            started: Instant::now(),
            epoch,
            now: epoch,
            step: step.as_secs_f64(),
            nodes: Vec::new(),
            guests: BTreeMap::new(),
            storages: Vec::new(),
            volumes: Vec::new(),
            tasks: Vec::new(),
            pools: BTreeMap::new(),
            accounts: Accounts::default(),
            jobs: Vec::new(),
            ha: BTreeMap::new(),
            rules: BTreeMap::new(),
            log: VecDeque::new(),
            execs: VecDeque::new(),
            counter: 0,
        }
    }

    /// Moves on to the present: ends the tasks whose time has come, in the order of their ends.
    pub(super) fn advance(&mut self) {
        self.now = self.epoch + self.started.elapsed().as_secs_f64();
        self.end_tasks();
    }

    /// The present in whole seconds.
    pub(super) fn seconds(&self) -> i64 {
        self.now as i64
    }

    /// A number no one had before: pids, the tails of MAC addresses.
    pub(super) fn unique(&mut self) -> u32 {
        self.counter = self.counter.wrapping_add(1);
        self.counter
    }

    /// The node that is asked.
    pub(super) fn local_node(&self) -> &str {
        self.nodes.first().map_or("", |n| n.name)
    }

    /// Whether there is a host of that name; names are case-sensitive.
    pub(super) fn has_node(&self, name: &str) -> bool {
        self.nodes.iter().any(|n| n.name == name)
    }

    /// The guest with that id on that node, as the path of a request names it.
    #[inline(never)]
    pub(super) fn guest(&self, node: &str, lxc: bool, vmid: u32) -> Result<&Guest, Fault> {
        match self.guests.get(&vmid).filter(|g| g.node == node && g.lxc == lxc) {
            Some(guest) => Ok(guest),
            None => failed(missing(node, lxc, vmid)),
        }
    }

    /// The same, to be changed.
    #[inline(never)]
    pub(super) fn guest_mut(&mut self, node: &str, lxc: bool, vmid: u32) -> Result<&mut Guest, Fault> {
        match self.guests.get_mut(&vmid).filter(|g| g.node == node && g.lxc == lxc) {
            Some(guest) => Ok(guest),
            None => failed(missing(node, lxc, vmid)),
        }
    }

    /// The storage of that name.
    #[inline(never)]
    pub(super) fn storage(&self, name: &str) -> Result<&Storage, Fault> {
        self.storages
            .iter()
            .find(|s| s.name == name)
            .map_or_else(|| failed(format!("storage '{name}' does not exist")), Ok)
    }

    /// Bytes taken on a storage as that node sees it.
    #[inline(never)]
    pub(super) fn used(&self, storage: &Storage, node: &str) -> u64 {
        let on_it = |v: &&Volume| v.storage() == storage.name && v.node.as_deref().is_none_or(|n| n == node);
        storage.other + self.volumes.iter().filter(on_it).map(|v| v.used).sum::<u64>()
    }

    /// Writes a line of the cluster log.
    #[inline(never)]
    pub(super) fn note(&mut self, node: &str, tag: &str, user: &str, msg: String) {
        let uid = self.unique().to_string();
        let (time, id) = (self.seconds(), format!("{uid}:{node}"));
        self.log.push_front(json!({"id": id, "uid": uid, "tag": tag, "pri": 6, "pid": 1200, "msg": msg, "time": time,
            "user": user, "node": node}));
        self.log.truncate(500);
    }
}

fn missing(node: &str, lxc: bool, vmid: u32) -> String {
    let folder = if lxc { "lxc" } else { "qemu-server" };
    format!("Configuration file 'nodes/{node}/{folder}/{vmid}.conf' does not exist")
}

impl Volume {
    /// The storage it is on.
    pub(super) fn storage(&self) -> &str {
        self.volid.split_once(':').map_or("", |(storage, _)| storage)
    }
}

/// `32G` in bytes; a bare number is bytes.
#[inline(never)]
pub(super) fn bytes(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(['K', 'M', 'G', 'T']);
    let unit: f64 = match text.get(number.len()..)? {
        "" => 1.0,
        "K" => 1024.0,
        "M" => 1_048_576.0,
        "G" => 1_073_741_824.0,
        "T" => 1_099_511_627_776.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    (number.is_finite() && (0.0..1e6).contains(&(number * unit / 1e12))).then_some((number * unit) as u64)
}

/// Bytes as a size of a disk option: `32G`.
#[inline(never)]
pub(super) fn human(bytes: u64) -> String {
    match bytes {
        b if b >= GIB && b % GIB == 0 => format!("{}G", b / GIB),
        b if b % (1 << 20) == 0 => format!("{}M", b >> 20),
        b => format!("{}K", b >> 10),
    }
}

/// `2026-11-22 02:00:01`, in UTC, as the nodes keep their time.
#[inline(never)]
pub(super) fn stamp(seconds: i64) -> String {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let s = seconds.rem_euclid(86_400);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::{bytes, human, stamp};

    #[test]
    fn sizes_go_there_and_back() {
        for text in ["32G", "512M", "4K"] {
            assert_eq!(bytes(text).map(human).as_deref(), Some(text));
        }
        assert_eq!(bytes("1T").map(human).as_deref(), Some("1024G"));
        assert_eq!((bytes("x"), bytes("-1G"), bytes("9e99G")), (None, None, None));
        assert_eq!(stamp(1_795_331_296), "2026-11-22 07:08:16");
    }
}
