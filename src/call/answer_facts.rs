//! Facts that make an answer readable: the zone of the node, and the defaults of options that are not set.

use super::firewall_effect::is_firewall_on;
use super::handle::ClusterHandle;
use super::planned_call::CallPurpose;
use crate::pve::Method;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::property_string::{is_network_card, is_under_firewall};
use crate::pve::rows::{ApiRow, is_true, parse_list};
use crate::render::labels::{count, format_bytes, format_zone};
use crate::render::object_state::{quote_word, to_text};
use crate::render::output::{AnswerFacts, AnswerTopic, OutputOptions, has_times};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

/// The time in which a node says its zone.
const ZONE_TIMEOUT: Duration = Duration::from_secs(3);

/// The time in which a node says the state of a storage.
const STATUS_TIMEOUT: Duration = Duration::from_secs(3);

/// The bytes of a list from which a shorter one is named.
const MIN_LONG_BYTES: usize = 3_000;

/// The most guests that are named.
const MAX_NAMED_GUESTS: usize = 5;

/// The most seconds between the time of a zone and UTC.
const MAX_OFFSET: i64 = 15 * 3_600;

/// Returns the topic of the answer of a path.
fn find_topic(path: &str) -> AnswerTopic {
    match path {
        "/cluster/log" => AnswerTopic::ClusterLog,
        "/access/permissions" => AnswerTopic::Privileges,
        "/cluster/tasks" => AnswerTopic::NewestTasks,
        path if path.starts_with("/nodes/") && path.ends_with("/tasks") => AnswerTopic::Tasks,
        path if path.starts_with("/nodes/") && (path.ends_with("/syslog") || path.ends_with("/journal")) => {
            AnswerTopic::SystemLog
        }
        path if path.starts_with("/nodes/") && path.ends_with("/services") => AnswerTopic::Services,
        path if path.starts_with("/access/roles") => AnswerTopic::Privileges,
        path if path.starts_with("/nodes/") && path.ends_with("/pending") => AnswerTopic::Pending,
        path if path.ends_with("/content") || path.ends_with("/prunebackups") => AnswerTopic::Backups,
        _ => AnswerTopic::Other,
    }
}

/// The line of a journal without entries.
const NO_ENTRIES: &str = "-- No entries --";

/// Returns whether a list has a row of this kind.
fn has_row(data: &str, is_wanted: impl Fn(&ApiRow) -> bool) -> bool {
    parse_list(data, |row| is_wanted(row).then_some(())).is_some_and(|rows| !rows.is_empty())
}

/// Returns whether a job that never runs has a time of its next run.
fn has_disabled_job_with_next_run(data: &str) -> bool {
    let is_disabled = |row: &ApiRow| !row.text("enabled").is_empty() && !row.flag("enabled");
    has_row(data, |row| is_disabled(row) && row.count("next-run").is_some())
}

/// Returns whether a rule or group of HA has the priority of a node.
fn has_node_priority(data: &str) -> bool {
    has_row(data, |row| row.text("nodes").contains(':'))
}

/// Returns whether a path is this one of a node.
fn is_node_list(path: &str, list: &str) -> bool {
    path.strip_prefix("/nodes/").and_then(|rest| rest.split_once('/')).is_some_and(|(_, rest)| rest == list)
}

/// Returns whether a key is in the answer that is shown.
fn shows(options: &OutputOptions, key: &str) -> bool {
    options.is_readable() && (options.fields().is_empty() || options.names_key(key))
}

/// Returns whether a list of VMs has one that runs or is paused.
fn has_running_without_qmpstatus(data: &str) -> bool {
    has_row(data, |row| row.text("status") == "running" && row.text("qmpstatus").is_empty())
}

/// Tells what the status of a VM does not mean. (PVE: `status` is that of the process, and `agent` is an option.)
fn describe_vm_status(options: &OutputOptions, data: &str) -> Vec<String> {
    let Some(status) = ApiRow::parse(data) else { return Vec::new() };
    let state = status.text("qmpstatus");
    let mut remarks = Vec::new();
    if !state.is_empty() && state != status.text("status") && (shows(options, "status") || shows(options, "qmpstatus"))
    {
        remarks.push(format!("the VM is {}: status only tells whether its process runs", quote_word(&state)));
    }
    if status.flag("agent") && shows(options, "agent") {
        remarks.push("agent yes: enabled in the config, which does not mean that it runs".to_owned());
    }
    remarks
}

/// Returns whether an answer has the rules or options of a firewall.
fn is_firewall_answer(path: &str) -> bool {
    path.ends_with("/firewall/options") || path.ends_with("/firewall/rules")
}

impl ClusterHandle<'_> {
    /// Returns what the options need to show the answer of a path.
    pub fn find_answer_facts(&self, path: &ApiPath, options: &OutputOptions, data: &str) -> AnswerFacts {
        AnswerFacts {
            is_series: path.as_str().ends_with("/rrddata"),
            is_option_list: path.as_str().ends_with("/pending") || path.as_str().ends_with("/cloudinit"),
            topic: find_topic(path.as_str()),
            id_key: if options.is_readable() && data.starts_with("[{") { self.find_id_key(path) } else { None },
            utc_offset: if options.needs_zone() && has_times(data) { self.find_utc_offset(path) } else { 0 },
            unset: self.describe_unset(path, options.fields()),
        }
    }

    /// Returns sentences that set a misleading answer of Proxmox right. `is_envelope`: the answer has more than its data.
    pub fn find_remarks(&self, path: &ApiPath, options: &OutputOptions, data: &str, is_envelope: bool) -> Vec<String> {
        let one = |sentence: &str| vec![sentence.to_owned()];
        match path.as_str() {
            "/cluster/backup-info/not-backed-up" => self.find_disabled_jobs(),
            "/cluster/backup" if has_disabled_job_with_next_run(data) => {
                one("a job with enabled no never runs, whatever its next-run says")
            }
            "/access/acl" if options.is_readable() && !options.selects() => {
                one("root@pam may do everything, and needs no entry")
            }
            // (PVE: `pve1:2` in the nodes of a rule.)
            "/cluster/ha/rules" | "/cluster/ha/groups" if has_node_priority(data) => {
                one("nodes NAME:N: of the nodes that are up, HA takes those with the highest N")
            }
            // (PVE: journalctl writes this line.)
            log if find_topic(log) == AnswerTopic::SystemLog && data.len() < 80 && data.contains(NO_ENTRIES) => {
                one("the journal of the node has no entry for these parameters, or the node keeps none")
            }
            // (PVE: `changes` beside the data is the difference to the file that is in force.)
            path if is_node_list(path, "network") && !is_envelope && options.is_readable() && !options.selects() => {
                one("no change is pending")
            }
            // (PVE: an update has the origin of its package source, which is the same for Debian and its security updates.)
            path if is_node_list(path, "apt/update") && options.is_readable() && data != "[]" => {
                one("Proxmox does not tell which are security updates")
            }
            // (PVE: without `full`, the list has no qmpstatus.)
            path if is_node_list(path, "qemu") && shows(options, "status") && has_running_without_qmpstatus(data) => {
                one("status running can be a paused VM: get_cluster_resources says paused")
            }
            path if path.starts_with("/nodes/") && path.ends_with("/status/current") => {
                describe_vm_status(options, data)
            }
            // These options say by themselves that they are off.
            "/cluster/firewall/options" => Vec::new(),
            text if options.is_readable() && data != "[]" && is_firewall_answer(text) => {
                self.describe_firewall_effect(path, data).into_iter().collect()
            }
            // Other forms of the answer say it by themselves.
            "/access/permissions" if data.contains(":0") && !options.is_readable() => {
                vec!["0 is a right too: it holds on that path, and not below it".into()]
            }
            "/cluster/ha/resources" if data.len() > 2 => {
                vec!["state is what HA is asked for: GET /cluster/ha/status/current has the state that is".into()]
            }
            "/cluster/resources" if options.is_readable() && !options.selects() && data.len() > MIN_LONG_BYTES => {
                vec!["get_cluster_resources is shorter, and type=vm, node or storage still shorter".into()]
            }
            // The times of its lines have no zone.
            log if find_topic(log) == AnswerTopic::SystemLog && options.is_readable() && data.len() > 2 => {
                let zone = self.find_known_utc_offset(path).map(format_zone);
                zone.map(|zone| format!("times in {zone}")).into_iter().collect()
            }
            path if path.starts_with("/nodes/") && path.contains("/storage/") && path.ends_with("/content") => {
                self.describe_volumes(&options.select_list(data).map_or(Cow::Borrowed(data), Cow::Owned))
            }
            _ => Vec::new(),
        }
    }

    /// Tells whether the rules and options of a firewall act, which needs the firewalls above and the network cards.
    fn describe_firewall_effect(&self, path: &ApiPath, data: &str) -> Option<String> {
        let segments: Vec<_> = path.segments().collect();
        let (owner, answered) = segments.split_at(segments.len() - 2);
        let owner: Vec<&str> = owner.iter().map(AsRef::as_ref).collect();
        let parse = |data: &str| serde_json::from_str::<Map<String, Value>>(data).ok();
        let read = |rest: &[&str]| {
            let path = ApiPath::from_segments(&[&owner, rest].concat()).ok()?;
            let answer = self.look_up_until(Instant::now() + STATUS_TIMEOUT, path, ApiParams::new()).ok()?;
            parse(answer.data())
        };
        let (is_cluster, is_node, is_guest) = match owner.as_slice() {
            ["cluster"] => (true, false, false),
            ["nodes", _] => (false, true, false),
            ["nodes", _, "qemu" | "lxc", _] => (false, false, true),
            _ => return None,
        };
        let own = if answered[1] == "options" { parse(data) } else { read(&["firewall", "options"]) }?;
        let mut obstacles = Vec::new();
        if !is_cluster {
            let above = self.look_up("/cluster/firewall/options", &ApiParams::new()).ok()?;
            if !is_firewall_on(&parse(above.data())?, false) {
                obstacles.push("the firewall of the data center is off (/cluster/firewall/options)".to_owned());
            }
        }
        if !is_firewall_on(&own, is_node) {
            let whose = if is_guest { " of the guest" } else { "" };
            obstacles.push(format!("enable is not 1 in the firewall options{whose}"));
        }
        let mut cards = Vec::new();
        if is_guest {
            let config = read(&["config"])?;
            let is_under = |(name, card): &(String, Value)| is_network_card(name) && is_under_firewall(&to_text(card));
            cards.extend(config.into_iter().filter(is_under).map(|(name, _)| name));
            if cards.is_empty() {
                obstacles.push("no network card has firewall=1".to_owned());
            }
        }
        Some(match (obstacles.is_empty(), cards.is_empty()) {
            (false, _) => format!("not in effect: {}", obstacles.join(", and ")),
            (true, true) => "in effect".to_owned(),
            (true, false) => format!("in effect on {}", cards.join(", ")),
        })
    }

    /// Describes the volumes of guests that do not exist.
    fn describe_volumes(&self, data: &str) -> Vec<String> {
        let size = |row: &ApiRow| row.count("used").or_else(|| row.count("size")).unwrap_or(0);
        let volumes = parse_list(data, |row| Some((row.count("vmid")?, size(row)))).unwrap_or_default();
        let guests = if volumes.is_empty() { None } else { self.fetch_guests(CallPurpose::Lookup).ok() };
        let Some(guests) = guests.filter(|guests| !guests.is_empty()) else { return Vec::new() };
        let known: HashSet<u64> = guests.iter().map(|guest| guest.vmid.into()).collect();
        let mut missing: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
        for (vmid, bytes) in volumes.into_iter().filter(|(vmid, _)| !known.contains(vmid)) {
            let (volumes, size) = missing.entry(vmid).or_default();
            (*volumes, *size) = (*volumes + 1, size.saturating_add(bytes));
        }
        let parts = missing.iter().take(MAX_NAMED_GUESTS).map(|(vmid, (volumes, bytes))| {
            format!("{vmid} ({}, {})", count(*volumes, "volume"), format_bytes(*bytes))
        });
        let parts: Vec<String> = parts.collect();
        let more = if missing.len() > parts.len() { ", …" } else { "" };
        let note = format!("no guest that the API token sees has the number {}{more}", parts.join(", "));
        if parts.is_empty() { Vec::new() } else { vec![note] }
    }

    /// Describes the used space of a storage beyond the volumes of its whole list, if it is much.
    pub fn describe_unlisted_space(&self, path: &ApiPath, data: &str) -> Option<String> {
        let segments: Vec<_> = path.segments().collect();
        let [nodes, node, storages, storage, content] = segments.as_slice() else { return None };
        if [nodes, storages, content].map(AsRef::as_ref) != ["nodes", "storage", "content"] || data.len() < 3 {
            return None;
        }
        let sizes = parse_list(data, |row| row.count("used").or_else(|| row.count("size")))?;
        let listed = sizes.into_iter().fold(0, u64::saturating_add);
        let path = ApiPath::from_segments(&["nodes", node, "storage", storage, "status"]).ok()?;
        let status = self.look_up_until(Instant::now() + STATUS_TIMEOUT, path, ApiParams::new()).ok()?;
        let used = ApiRow::parse(status.data())?.count("used")?;
        let is_much = listed < used / 10 * 9;
        is_much.then(|| {
            let (listed, used) = (format_bytes(listed), format_bytes(used));
            format!("the volumes that the API token sees make {listed} of {used} used on {storage}, and the rest is in no volume of the list")
        })
    }

    /// Names the backup jobs whose guests count as backed up although the jobs never run.
    fn find_disabled_jobs(&self) -> Vec<String> {
        let Ok(jobs) = self.look_up("/cluster/backup", &ApiParams::new()) else {
            return vec![
                "Proxmox counts guests of disabled jobs as backed up: GET /cluster/backup has `enabled`".into(),
            ];
        };
        let jobs: Vec<Value> = serde_json::from_str(jobs.data()).unwrap_or_default();
        let is_disabled = |job: &&Value| job.get("enabled").is_some_and(|enabled| !is_true(enabled));
        let describe = |job: &Value| {
            let text = |name: &str| job.get(name).map(to_text).unwrap_or_default();
            let guests = match (text("vmid"), text("pool")) {
                (vmid, _) if !vmid.is_empty() => vmid,
                (_, pool) if !pool.is_empty() => format!("pool {pool}"),
                _ => "all".to_owned(),
            };
            let line =
                format!("job {} ({guests}) is disabled, and its guests count as backed up", quote_word(&text("id")));
            self.redact(line)
        };
        jobs.iter().filter(is_disabled).map(describe).collect()
    }

    /// Returns the key that identifies the rows of a list: the parameter of the path of one of them.
    fn find_id_key(&self, path: &ApiPath) -> Option<String> {
        let schema = self.schema();
        let segments: Vec<_> = path.segments().collect();
        let found = schema.match_path(&segments).ok()?;
        found.children.iter().find_map(|child| Some(child.strip_prefix('{')?.strip_suffix('}')?.to_owned()))
    }

    /// Returns the options among these fields, with the words for one that is not set.
    fn describe_unset(&self, path: &ApiPath, fields: &[String]) -> Vec<(String, String)> {
        if fields.is_empty() {
            return Vec::new();
        }
        let schema = self.schema();
        let segments: Vec<_> = path.segments().collect();
        let Ok(found) = schema.match_path(&segments) else { return Vec::new() };
        let is_task = path.as_str().contains("/tasks/UPID:") && path.as_str().ends_with("/status");
        if is_task && fields.iter().any(|field| field == "exitstatus") {
            return vec![("exitstatus".into(), "not set: the task still runs".into())];
        }
        let setting = found.operation(Method::Put).or(found.operation(Method::Post));
        let describe = |field: &String| {
            let parameter = setting?.parameter(field)?;
            let words = match parameter.default() {
                "" => "not set".to_owned(),
                default => format!("not set (default {default})"),
            };
            Some((field.clone(), words))
        };
        fields.iter().filter_map(describe).collect()
    }

    /// Returns the offset of the node's zone from UTC in seconds. A zone that can't be read is UTC.
    pub fn find_utc_offset(&self, path: &ApiPath) -> i32 {
        self.find_known_utc_offset(path).unwrap_or(0)
    }

    /// Returns the offset of the node's zone from UTC in seconds, if it can be read.
    pub(super) fn find_known_utc_offset(&self, path: &ApiPath) -> Option<i32> {
        if let Some(offset) = self.cluster.recent_utc_offset() {
            return offset;
        }
        let segments: Vec<_> = path.segments().take(2).collect();
        let node = match segments.as_slice() {
            [top, node] if top == "nodes" => node.to_string(),
            // (PVE: the node that answers.)
            _ => "localhost".to_owned(),
        };
        let offset = self.read_utc_offset(&node);
        self.cluster.keep_utc_offset(offset);
        offset
    }

    /// Returns the offset of the node's zone from UTC in seconds, if it was read a short time ago. Otherwise it is that of
    /// UTC.
    pub fn recent_utc_offset(&self) -> i32 {
        self.cluster.recent_utc_offset().flatten().unwrap_or(0)
    }

    fn read_utc_offset(&self, node: &str) -> Option<i32> {
        let path = ApiPath::from_segments(&["nodes", node, "time"]).ok()?;
        let read = self.authorize_read(CallPurpose::Lookup, path, ApiParams::new()).ok()?;
        let response = read.send_read_until(Instant::now() + ZONE_TIMEOUT).ok()?;
        let answer: Value = serde_json::from_str(response.data()).ok()?;
        // (PVE: `localtime` is the time of the zone as if it was UTC.)
        let offset = answer.get("localtime")?.as_i64()?.checked_sub(answer.get("time")?.as_i64()?)?;
        // Both are read one after the other, and zones differ by quarters of an hour.
        let offset = (offset + 450).div_euclid(900) * 900;
        (-MAX_OFFSET..=MAX_OFFSET).contains(&offset).then(|| i32::try_from(offset).ok())?
    }
}
