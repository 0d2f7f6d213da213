//! The state of the cluster, its clock and its tasks. Every figure that moves is a function of the time.

use crate::error::{ApiResult, fail};
use crate::model::accounts::Accounts;
use crate::model::guest::{AgentCommand, Guest, GuestKind};
use crate::model::log::LogEntry;
use crate::model::node::Node;
use crate::model::pool::Pool;
use crate::model::storage::{FirewallConfig, Storage, Volume};
use crate::options::{Options, Release};
use crate::parameters::value_text;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Number of ended tasks that are remembered.
const MAX_TASKS: usize = 1000;
/// Number of lines in the cluster log.
const MAX_LOG_ENTRIES: usize = 500;
/// Exit status of a task that a caller stopped.
const INTERRUPTED: &str = "received interrupt";

/// The state of the whole cluster.
pub(crate) struct ClusterState {
    created: Instant,
    /// The time of `created` in seconds since 1970.
    epoch: f64,
    /// The present in seconds since 1970, as of the last [`ClusterState::advance`].
    pub(crate) now: f64,
    /// Seconds that a task takes per line of its log.
    task_step: f64,
    /// Seconds until the lists of the cluster and the HA manager follow a change.
    pub(crate) lag: f64,
    pub(crate) release: Release,
    /// The nodes. The first is the one that answers.
    pub(crate) nodes: Vec<Node>,
    /// VMs and containers by their id.
    pub(crate) guests: BTreeMap<u32, Guest>,
    pub(crate) storages: Vec<Storage>,
    pub(crate) volumes: Vec<Volume>,
    /// Running and ended tasks, oldest first.
    pub(crate) tasks: Vec<Task>,
    /// Pools by their id.
    pub(crate) pools: BTreeMap<String, Pool>,
    pub(crate) accounts: Accounts,
    pub(crate) backup_jobs: Vec<Value>,
    /// HA groups of 8.4 by their name.
    pub(crate) ha_groups: BTreeMap<String, serde_json::Map<String, Value>>,
    /// Rules of HA by their name.
    pub(crate) ha_rules: BTreeMap<String, serde_json::Map<String, Value>>,
    /// Services that a caller has stopped, by node and name.
    pub(crate) stopped_services: BTreeSet<(String, String)>,
    /// Replication jobs by their id (`100-0`).
    pub(crate) replication_jobs: BTreeMap<String, serde_json::Map<String, Value>>,
    /// HA resources by their id (`vm:104`).
    pub(crate) ha_resources: BTreeMap<String, Value>,
    /// Firewall rules of the guests, by vmid.
    pub(crate) firewall_rules: BTreeMap<u32, Vec<Value>>,
    /// Firewall options of the guests that have changed, by vmid.
    pub(crate) firewall_options: BTreeMap<u32, serde_json::Map<String, Value>>,
    /// Aliases of the data centre's firewall: their address and their comment, by name.
    pub(crate) aliases: BTreeMap<String, (String, Option<String>)>,
    /// The cluster log, newest first.
    pub(crate) log: VecDeque<LogEntry>,
    /// Files that guest agents have written, by vmid and path.
    pub(crate) agent_files: BTreeMap<(u32, String), String>,
    /// Commands executed by guest agents, newest first.
    pub(crate) agent_commands: VecDeque<AgentCommand>,
    /// Changes to come, such as those of the HA manager.
    scheduled: Vec<ScheduledChange>,
    last_number: u32,
}

/// The change that a task makes when it ends. Its error is the exit status of the task.
type TaskEffect = Box<dyn FnOnce(&mut ClusterState) -> Result<(), String> + Send>;

/// A change that a service of the cluster makes by itself.
struct ScheduledChange {
    /// Seconds since 1970.
    due: f64,
    change: Box<dyn FnOnce(&mut ClusterState) + Send>,
}

/// A task, running or ended.
pub(crate) struct Task {
    pub(crate) upid: String,
    pub(crate) node: String,
    /// Type of the task, for example `qmstart`.
    pub(crate) kind: String,
    /// The object of the task, often a vmid.
    pub(crate) id: String,
    /// The token or user that started it.
    pub(crate) user: String,
    pub(crate) pid: u32,
    /// Time of the start in hundredths of a second since the node's boot.
    pub(crate) pstart: u32,
    /// Time of the start, in seconds since 1970.
    pub(crate) start: f64,
    /// Seconds per step.
    step: f64,
    /// Number of steps until the end.
    steps: usize,
    lines: Vec<String>,
    pub(crate) end: Option<TaskEnd>,
    effect: Option<TaskEffect>,
    /// The guest that the task has locked.
    locked_guest: Option<u32>,
}

/// The end of a task.
pub(crate) struct TaskEnd {
    /// Seconds since 1970.
    pub(crate) time: f64,
    /// `OK`, `WARNINGS: n` or an error.
    pub(crate) exit_status: String,
}

/// A task that has not started yet.
pub(crate) struct TaskBuilder {
    node: String,
    kind: &'static str,
    id: String,
    lines: Vec<String>,
    min_steps: usize,
    lock: Option<(u32, &'static str)>,
    refusal: Option<String>,
}

impl ClusterState {
    /// Creates an empty cluster.
    pub(crate) fn new(options: &Options) -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs_f64();
        Self {
            created: Instant::now(),
            epoch,
            now: epoch,
            task_step: options.task_step.as_secs_f64(),
            lag: options.lag.as_secs_f64(),
            release: options.release,
            nodes: Vec::new(),
            guests: BTreeMap::new(),
            storages: Vec::new(),
            volumes: Vec::new(),
            tasks: Vec::new(),
            pools: BTreeMap::new(),
            accounts: Accounts::default(),
            backup_jobs: Vec::new(),
            stopped_services: BTreeSet::new(),
            replication_jobs: BTreeMap::new(),
            ha_groups: BTreeMap::new(),
            ha_rules: BTreeMap::new(),
            ha_resources: BTreeMap::new(),
            firewall_rules: BTreeMap::new(),
            firewall_options: BTreeMap::new(),
            aliases: BTreeMap::new(),
            log: VecDeque::new(),
            agent_files: BTreeMap::new(),
            agent_commands: VecDeque::new(),
            scheduled: Vec::new(),
            last_number: 0,
        }
    }

    /// Advances the clock to the present and ends the tasks that are due.
    pub(crate) fn advance(&mut self) {
        self.now = self.epoch + self.created.elapsed().as_secs_f64();
        self.end_due_tasks();
        // A change can start a task that ends at once, and a task can schedule a change.
        while let Some(index) = self.scheduled.iter().position(|scheduled| scheduled.due <= self.now) {
            let scheduled = self.scheduled.remove(index);
            (scheduled.change)(self);
            self.end_due_tasks();
        }
    }

    /// Schedules a change that a service of the cluster makes after the lag.
    pub(crate) fn schedule(&mut self, change: impl FnOnce(&mut Self) + Send + 'static) {
        self.scheduled.push(ScheduledChange { due: self.now + self.lag, change: Box::new(change) });
    }

    /// Returns the present in whole seconds since 1970.
    pub(crate) fn seconds(&self) -> i64 {
        self.now as i64
    }

    /// Returns a number that has not been used before, for process ids and MAC addresses.
    pub(crate) fn next_number(&mut self) -> u32 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }

    /// Returns a MAC address that no guest has.
    pub(crate) fn new_mac_address(&mut self) -> String {
        loop {
            let [_, a, b, c] = self.next_number().to_be_bytes();
            let address = format!("BC:24:11:{a:02X}:{b:02X}:{c:02X}");
            let has_address = |guest: &Guest| guest.config.values().any(|value| value_text(value).contains(&address));
            if !self.guests.values().any(has_address) {
                return address;
            }
        }
    }

    /// Returns the name of the node that answers.
    pub(crate) fn local_node(&self) -> &str {
        self.nodes.first().expect("a cluster with at least one node").name
    }

    /// Returns the name of the node that can have another release.
    pub(crate) fn last_node(&self) -> &str {
        self.nodes.last().expect("a cluster with at least one node").name
    }

    /// Returns the node of that name. Names are case-sensitive, and `localhost` is the node that answers.
    pub(crate) fn node(&self, name: &str) -> ApiResult<&Node> {
        let name = if name == "localhost" { self.local_node() } else { name };
        match self.nodes.iter().find(|node| node.name == name) {
            Some(node) => Ok(node),
            None => fail(format!("no such cluster node '{name}'")),
        }
    }

    /// Returns the guest of that kind and id on a node.
    pub(crate) fn guest(&self, node: &str, kind: GuestKind, vmid: u32) -> ApiResult<&Guest> {
        match self.guests.get(&vmid).filter(|guest| guest.node == node && guest.kind == kind) {
            Some(guest) => Ok(guest),
            None => {
                let folder = kind.select("qemu-server", "lxc");
                fail(format!("Configuration file 'nodes/{node}/{folder}/{vmid}.conf' does not exist"))
            }
        }
    }

    /// Returns the guest of that kind and id on a node, for a change.
    pub(crate) fn guest_mut(&mut self, node: &str, kind: GuestKind, vmid: u32) -> ApiResult<&mut Guest> {
        self.guest(node, kind, vmid)?;
        Ok(self.guests.get_mut(&vmid).expect("the guest that was just found"))
    }

    /// Returns the firewall of a guest.
    pub(crate) fn firewall(&self, vmid: u32) -> FirewallConfig {
        let (rules, options) = (self.firewall_rules.get(&vmid), self.firewall_options.get(&vmid));
        FirewallConfig { rules: rules.cloned(), options: options.cloned() }
    }

    /// Sets the firewall of a guest. A part that the configuration lacks stays.
    pub(crate) fn set_firewall(&mut self, vmid: u32, firewall: FirewallConfig) {
        self.firewall_rules.extend(firewall.rules.map(|rules| (vmid, rules)));
        self.firewall_options.extend(firewall.options.map(|options| (vmid, options)));
    }

    /// Returns the storage of that name.
    pub(crate) fn storage(&self, name: &str) -> ApiResult<&Storage> {
        match self.storages.iter().find(|storage| storage.name == name) {
            Some(storage) => Ok(storage),
            None => fail(format!("storage '{name}' does not exist")),
        }
    }

    /// Returns the volume of that id.
    pub(crate) fn volume_mut(&mut self, volid: &str) -> Option<&mut Volume> {
        self.volumes.iter_mut().find(|volume| volume.volid == volid)
    }

    /// Returns the volumes of a storage on a node.
    pub(crate) fn volumes_on(&self, storage: &str, node: &str) -> impl Iterator<Item = &Volume> {
        self.volumes.iter().filter(move |volume| volume.id_parts().0 == storage && volume.is_on(node))
    }

    /// Returns the used bytes of a storage on a node. Volumes can claim more than there is.
    pub(crate) fn claimed_space(&self, storage: &Storage, node: &str) -> u64 {
        storage.other + self.volumes_on(&storage.name, node).map(|volume| volume.used).sum::<u64>()
    }

    /// Returns the used bytes of a storage on a node, at most its size.
    pub(crate) fn used_space(&self, storage: &Storage, node: &str) -> u64 {
        self.claimed_space(storage, node).min(storage.total)
    }

    /// Creates a disk image for a guest and returns its volume id.
    pub(crate) fn allocate_volume(
        &mut self,
        node: &str,
        storage: &str,
        kind: GuestKind,
        vmid: u32,
        size: u64,
        format: &str,
    ) -> ApiResult<String> {
        let storage = self.storage(storage)?;
        let (name, content) = (storage.name.clone(), kind.disk_content());
        if !storage.accepts(content) {
            return fail(format!("storage '{name}' does not support content-type '{content}'"));
        }
        let format = match format {
            "qcow2" if storage.plugin != "lvmthin" && !kind.is_container() => "qcow2",
            "raw" => "raw",
            format => return fail(format!("unsupported format '{format}'")),
        };
        let volume_id = |n: u32| match storage.plugin.as_str() {
            "lvmthin" => format!("{name}:vm-{vmid}-disk-{n}"),
            _ => format!("{name}:{vmid}/vm-{vmid}-disk-{n}.{format}"),
        };
        let is_free = |volid: &String| self.volumes.iter().all(|volume| volume.volid != *volid);
        let Some(volid) = (0..256).map(volume_id).find(is_free) else {
            return fail(format!("unable to allocate an image name for VM {vmid} in storage '{name}'"));
        };
        let node = (!storage.shared).then(|| node.into());
        let volume = Volume::new(volid.clone(), node, content, format, size, self.seconds());
        self.volumes.push(Volume { used: size / 200, vmid: Some(vmid), ..volume });
        Ok(volid)
    }

    /// Allocates the drive of cloud-init of a VM. A VM has one.
    pub(crate) fn allocate_cloudinit(&mut self, node: &str, storage: &str, vmid: u32) -> ApiResult<String> {
        let storage = self.storage(storage)?;
        let (name, plugin) = (storage.name.clone(), storage.plugin.clone());
        let node = (!storage.shared).then(|| node.into());
        if !storage.accepts("images") {
            return fail(format!("storage '{name}' does not support content-type 'images'"));
        }
        let (volid, format) = match plugin.as_str() {
            "lvmthin" => (format!("{name}:vm-{vmid}-cloudinit"), "raw"),
            _ => (format!("{name}:{vmid}/vm-{vmid}-cloudinit.qcow2"), "qcow2"),
        };
        self.volumes.retain(|volume| volume.volid != volid);
        let volume = Volume::new(volid.clone(), node, "images", format, 4 << 20, self.seconds());
        self.volumes.push(Volume { used: 4 << 20, vmid: Some(vmid), ..volume });
        Ok(volid)
    }

    /// Adds a line to the cluster log.
    pub(crate) fn log_event(&mut self, time: f64, node: &str, user: &str, message: String) {
        let uid = self.next_number();
        let (node, user) = (node.into(), user.into());
        self.log.push_front(LogEntry { uid, time: time as i64, node, user, message });
        self.log.truncate(MAX_LOG_ENTRIES);
    }

    /// Ends the tasks that are due. An effect can depend on an earlier one, so they end in the order of their ends.
    fn end_due_tasks(&mut self) {
        loop {
            let due_tasks = self.tasks.iter_mut().filter(|task| task.end.is_none() && task.due() <= self.now);
            let Some(task) = due_tasks.min_by(|a, b| a.due().total_cmp(&b.due())) else { return };
            let effect = task.effect.take();
            let (upid, node, user, time) = (task.upid.clone(), task.node.clone(), task.user.clone(), task.due());
            let locked_guest = task.locked_guest.take();
            self.unlock(locked_guest);
            let exit_status = match effect.map(|effect| effect(self)) {
                Some(Ok(())) => "OK".into(),
                Some(Err(error)) => error,
                None => "the demo has a bug: the effect of this task panicked".into(),
            };
            self.log_event(self.now, &node, &user, format!("end task {upid} {exit_status}"));
            let task = self.tasks.iter_mut().find(|task| task.upid == upid).expect("an effect removes no task");
            task.end = Some(TaskEnd { time, exit_status });
        }
    }

    fn unlock(&mut self, vmid: Option<u32>) {
        if let Some(guest) = vmid.and_then(|vmid| self.guests.get_mut(&vmid)) {
            guest.lock = None;
        }
    }

    /// Ends the task at this index of `tasks` without its effect. An ended task stays as it is.
    pub(crate) fn interrupt_task(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        if task.end.is_some() {
            return;
        }
        task.end = Some(TaskEnd { time: self.now, exit_status: INTERRUPTED.into() });
        task.effect = None;
        let locked_guest = task.locked_guest.take();
        self.unlock(locked_guest);
    }
}

impl TaskBuilder {
    /// Creates a task of that type (`qmstart`) on a node, with the id of its object.
    pub(crate) fn new(node: &str, kind: &'static str, id: impl ToString) -> Self {
        let (node, id) = (node.into(), id.to_string());
        Self { node, kind, id, lines: Vec::new(), min_steps: 1, lock: None, refusal: None }
    }

    /// Creates a task on a guest, with its type for a VM and for a container. It fails if the guest is locked.
    pub(crate) fn for_guest(guest: &Guest, qemu: &'static str, lxc: &'static str) -> Self {
        Self::new(&guest.node, guest.kind.select(qemu, lxc), guest.vmid).fail_with(guest.lock_error())
    }

    /// Adds a line to the log. Each line takes one step.
    pub(crate) fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Adds lines to the log.
    pub(crate) fn lines(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.lines.extend(lines);
        self
    }

    /// Sets the number of steps of a task that writes fewer lines.
    pub(crate) fn min_steps(self, min_steps: usize) -> Self {
        Self { min_steps, ..self }
    }

    /// Locks the guest until the task ends.
    pub(crate) fn lock(self, vmid: u32, lock: &'static str) -> Self {
        Self { lock: Some((vmid, lock)), ..self }
    }

    /// Makes the task fail at once with this error, if there is one. The first error counts.
    pub(crate) fn fail_with(self, error: Option<String>) -> Self {
        Self { refusal: self.refusal.or(error), ..self }
    }

    /// Makes the task fail at once with this error if the condition holds.
    pub(crate) fn fail_if(self, condition: bool, error: impl Into<String>) -> Self {
        self.fail_with(condition.then(|| error.into()))
    }

    /// Starts the task and returns its UPID.
    pub(crate) fn start(
        self,
        state: &mut ClusterState,
        user: &str,
        effect: impl FnOnce(&mut ClusterState) -> Result<(), String> + Send + 'static,
    ) -> ApiResult {
        let mut task = Task::new(state, self.node, self.kind, self.id, user, state.now);
        match self.refusal {
            Some(error) => task.effect = Some(Box::new(|_| Err(error))),
            None => {
                task.effect = Some(Box::new(effect));
                task.steps = self.lines.len().max(self.min_steps);
                task.lines = self.lines;
                if let Some((vmid, lock)) = self.lock
                    && let Some(guest) = state.guests.get_mut(&vmid)
                {
                    guest.lock = Some(lock);
                    task.locked_guest = Some(vmid);
                }
            }
        }
        let upid = task.upid.clone();
        state.log_event(state.now, &task.node, user, format!("starting task {upid}"));
        if state.tasks.len() >= MAX_TASKS
            && let Some(oldest) = state.tasks.iter().position(|task| task.end.is_some())
        {
            state.tasks.remove(oldest);
        }
        state.tasks.push(task);
        Ok(upid.into())
    }

    /// Records a task that has ended before the demo started.
    pub(crate) fn record_past(self, state: &mut ClusterState, user: &str, start: f64, seconds: f64, exit_status: &str) {
        let mut task = Task::new(state, self.node, self.kind, self.id, user, start);
        let end = TaskEnd { time: start + seconds, exit_status: exit_status.into() };
        state.log_event(start, &task.node, user, format!("starting task {}", task.upid));
        state.log_event(end.time, &task.node, user, format!("end task {} {exit_status}", task.upid));
        task.lines = self.lines;
        task.end = Some(end);
        state.tasks.push(task);
    }
}

impl Task {
    fn new(state: &mut ClusterState, node: String, kind: &str, id: String, user: &str, start: f64) -> Self {
        let pid = 1000 + state.next_number();
        let booted = state.nodes.iter().find(|n| n.name == node).expect("the node of a task").booted;
        let pstart = ((start - booted) * 100.0) as u32;
        let upid = format!("UPID:{node}:{pid:08X}:{pstart:08X}:{:08X}:{kind}:{id}:{user}:", start as i64);
        Self {
            upid,
            node,
            kind: kind.into(),
            id,
            user: user.into(),
            pid,
            pstart,
            start,
            step: state.task_step,
            steps: 0,
            lines: Vec::new(),
            end: None,
            effect: None,
            locked_guest: None,
        }
    }

    /// Returns the time at which a running task ends.
    fn due(&self) -> f64 {
        self.start + self.step * self.steps as f64
    }

    fn lines_written(&self, time: f64) -> usize {
        if self.step <= 0.0 { self.lines.len() } else { ((time - self.start) / self.step) as usize + 1 }
    }

    /// Returns the log so far. The log of an ended task has a last line with its exit status.
    pub(crate) fn log(&self, now: f64) -> Vec<String> {
        let Some(TaskEnd { time, exit_status }) = &self.end else {
            return self.lines.iter().take(self.lines_written(now)).cloned().collect();
        };
        let written = if exit_status == INTERRUPTED { self.lines_written(*time) } else { self.lines.len() };
        let last = if self.has_failed() { format!("TASK ERROR: {exit_status}") } else { format!("TASK {exit_status}") };
        self.lines.iter().take(written).cloned().chain([last]).collect()
    }

    /// Returns `ok`, `warning`, `error`, or `unknown` for a running task.
    pub(crate) fn result(&self) -> &'static str {
        match self.end.as_ref().map(|end| end.exit_status.as_str()) {
            Some("OK") => "ok",
            Some(status) if status.starts_with("WARNINGS") => "warning",
            Some(_) => "error",
            None => "unknown",
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.result() == "error"
    }

    /// Returns the members that every listing of the task has.
    pub(crate) fn to_row(&self) -> Value {
        let (user, token) = self.user.split_once('!').map_or((self.user.as_str(), None), |(u, t)| (u, Some(t)));
        let mut row = json!({"upid": self.upid, "node": self.node, "type": self.kind, "id": self.id, "user": user,
            "starttime": self.start as i64});
        if let Some(token) = token {
            row["tokenid"] = token.into();
        }
        row
    }
}
