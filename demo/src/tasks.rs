//! Tasks: work that goes on after its call was answered. A task is a beginning and a log; the clock does the rest.

use super::api::{Answer, Call, bad};
use super::value::{json, put};
use super::world::{Guest, World};
use serde_json::{Map, Value};

/// What a task does when it ends well; its error is the task's.
type Effect = Box<dyn FnOnce(&mut World) -> Result<(), String> + Send>;
/// How many ended tasks are remembered.
const KEPT: usize = 1000;

/// One task.
pub(super) struct Task {
    /// Its name in the cluster.
    pub(super) upid: String,
    /// The host that does it.
    pub(super) node: String,
    kind: String,
    id: String,
    user: String,
    pid: u32,
    pstart: u32,
    start: f64,
    /// Seconds between two lines.
    step: f64,
    /// How many of those it takes.
    steps: usize,
    lines: Vec<String>,
    /// When and how it ended.
    end: Option<(f64, String)>,
    effect: Option<Effect>,
    locked: Option<u32>,
}

/// A task about to begin.
pub(super) struct Job {
    node: String,
    kind: &'static str,
    id: String,
    lines: Vec<String>,
    steps: usize,
    lock: Option<(u32, &'static str)>,
    refusal: Option<String>,
}

impl Job {
    /// A task of that kind (`qmstart`) about that thing.
    #[inline(never)]
    pub(super) fn new(node: &str, kind: &'static str, id: impl ToString) -> Self {
        let (node, id) = (node.into(), id.to_string());
        Self { node, kind, id, lines: Vec::new(), steps: 1, lock: None, refusal: None }
    }

    /// A task about a guest; it fails where something else holds the guest.
    #[inline(never)]
    pub(super) fn on(guest: &Guest, qemu: &'static str, lxc: &'static str) -> Self {
        let mut job = Self::new(&guest.node, if guest.lxc { lxc } else { qemu }, guest.vmid);
        let label = if guest.lxc { "CT" } else { "VM" };
        job.refusal = guest.lock.map(|lock| format!("{label} is locked ({lock})"));
        job
    }

    /// A line of its log; each takes a step.
    #[inline(never)]
    pub(super) fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Takes so many steps, however few lines it writes.
    #[inline(never)]
    pub(super) fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Holds the guest while it runs.
    #[inline(never)]
    pub(super) fn lock(mut self, vmid: u32, lock: &'static str) -> Self {
        self.lock = Some((vmid, lock));
        self
    }

    /// Ends it at once with this error, where the condition holds.
    #[inline(never)]
    pub(super) fn refuse(mut self, when: bool, error: impl Into<String>) -> Self {
        if when && self.refusal.is_none() {
            self.refusal = Some(error.into());
        }
        self
    }

    /// Begins it; answers its UPID.
    pub(super) fn begin(
        self,
        world: &mut World,
        user: &str,
        effect: impl FnOnce(&mut World) -> Result<(), String> + Send + 'static,
    ) -> Answer {
        self.begin_boxed(world, user, Box::new(effect))
    }

    /// The same, made once and not once for each effect.
    fn begin_boxed(self, world: &mut World, user: &str, effect: Effect) -> Answer {
        let refused = self.refusal.is_some();
        let mut locked = None;
        if let (false, Some((vmid, lock))) = (refused, self.lock)
            && let Some(guest) = world.guests.get_mut(&vmid)
        {
            guest.lock = Some(lock);
            locked = Some(vmid);
        }
        let lines = if refused { Vec::new() } else { self.lines };
        let mut task = Task::new(world, &self.node, self.kind, &self.id, user, world.now, lines);
        if !refused {
            task.steps = task.steps.max(self.steps);
        }
        task.locked = locked;
        task.effect = Some(match self.refusal {
            Some(error) => Box::new(move |_: &mut World| Err(error)),
            None => effect,
        });
        let upid = task.upid.clone();
        world.note(&self.node, "pvedaemon", user, format!("starting task {upid}"));
        if world.tasks.len() >= KEPT
            && let Some(oldest) = world.tasks.iter().position(|t| t.end.is_some())
        {
            world.tasks.remove(oldest);
        }
        world.tasks.push(task);
        Ok(upid.into())
    }
}

impl Task {
    fn new(world: &mut World, node: &str, kind: &str, id: &str, user: &str, start: f64, lines: Vec<String>) -> Self {
        let pid = 1000 + world.unique();
        let booted = world.nodes.iter().find(|n| n.name == node).map_or(start, |n| n.booted);
        let pstart = ((start - booted) * 100.0) as u32;
        let upid = format!("UPID:{node}:{pid:08X}:{pstart:08X}:{:08X}:{kind}:{id}:{user}:", start as i64);
        let (node, kind, id, user) = (node.into(), kind.into(), id.into(), user.into());
        let (step, steps) = (world.step, lines.len());
        Self {
            upid,
            node,
            kind,
            id,
            user,
            pid,
            pstart,
            start,
            step,
            steps,
            lines,
            end: None,
            effect: None,
            locked: None,
        }
    }

    /// One of the past, for the cluster's history.
    #[inline(never)]
    pub(super) fn past(
        world: &mut World,
        what: [&str; 4],
        start: f64,
        seconds: f64,
        lines: Vec<String>,
        exit: &str,
    ) -> Self {
        let [node, kind, id, user] = what;
        let mut task = Self::new(world, node, kind, id, user, start, lines);
        task.end = Some((start + seconds, exit.into()));
        task
    }

    /// When it began, in seconds since 1970.
    pub(super) fn begun(&self) -> f64 {
        self.start
    }

    fn due(&self) -> f64 {
        self.start + self.step * self.steps as f64
    }

    /// The lines written so far, the last one included once it has ended.
    fn log(&self, now: f64) -> Vec<String> {
        match &self.end {
            Some((end, exit)) => {
                // One that was interrupted never wrote the rest.
                let written = if exit == INTERRUPTED { self.written(*end) } else { self.lines.len() };
                let last = if good(exit) { format!("TASK {exit}") } else { format!("TASK ERROR: {exit}") };
                self.lines.iter().take(written).cloned().chain([last]).collect()
            }
            None => self.lines.iter().take(self.written(now)).cloned().collect(),
        }
    }

    fn written(&self, now: f64) -> usize {
        if self.step <= 0.0 { self.lines.len() } else { ((now - self.start) / self.step) as usize + 1 }
    }

    /// What every listing says of it.
    fn row(&self) -> Map<String, Value> {
        let (user, token) = self.user.split_once('!').map_or((self.user.as_str(), None), |(u, t)| (u, Some(t)));
        let mut row = Map::new();
        let mut put = |key: &str, value: Value| put(&mut row, key, value);
        put("upid", self.upid.clone().into());
        put("node", self.node.clone().into());
        put("type", self.kind.clone().into());
        put("id", self.id.clone().into());
        put("user", user.into());
        put("starttime", (self.start as i64).into());
        if let Some(token) = token {
            put("tokenid", token.into());
        }
        row
    }
}

const INTERRUPTED: &str = "received interrupt";

fn good(exit: &str) -> bool {
    exit == "OK" || exit.starts_with("WARNINGS")
}

impl World {
    /// Ends the tasks whose time has come. An effect may depend on an earlier one, so the order is that of the ends.
    pub(super) fn end_tasks(&mut self) {
        loop {
            let due = self.tasks.iter_mut().filter(|t| t.end.is_none() && t.due() <= self.now);
            let Some(task) = due.min_by(|a, b| a.due().total_cmp(&b.due())) else { return };
            let (effect, locked, upid) = (task.effect.take(), task.locked.take(), task.upid.clone());
            let (node, user, due) = (task.node.clone(), task.user.clone(), task.due());
            self.unlock(locked);
            let exit = match effect.map_or(Ok(()), |effect| effect(self)) {
                Ok(()) => "OK".to_string(),
                Err(error) => error,
            };
            self.note(&node, "pvedaemon", &user, format!("end task {upid} {exit}"));
            if let Some(task) = self.tasks.iter_mut().find(|t| t.upid == upid) {
                task.end = Some((due, exit));
            }
        }
    }

    fn unlock(&mut self, vmid: Option<u32>) {
        if let Some(guest) = vmid.and_then(|v| self.guests.get_mut(&v)) {
            guest.lock = None;
        }
    }

    /// The place of the task that a path names, if the caller may see it.
    fn task(&self, call: &Call<'_>, privilege: &str) -> Result<usize, super::api::Fault> {
        let upid = call.text("upid");
        let parts: Vec<&str> = upid.split(':').collect();
        let hex = |n: usize| parts.get(n).is_some_and(|p| p.len() >= 8 && u64::from_str_radix(p, 16).is_ok());
        if parts.len() != 9 || parts.first() != Some(&"UPID") || !(hex(2) && hex(3) && hex(4)) {
            return bad("upid", "unable to parse worker upid");
        }
        let node = call.text("node");
        if parts.get(7) != Some(&call.caller.id.as_str()) {
            call.need(self, &format!("/nodes/{node}"), privilege)?;
        }
        let place = self.tasks.iter().position(|t| t.upid == upid && t.node == node);
        place.map_or_else(|| bad("upid", "no such task"), Ok)
    }

    fn visible<'a>(&'a self, call: &'a Call<'_>) -> impl Iterator<Item = &'a Task> {
        let sees = |t: &&Task| t.user == call.caller.id || call.may(self, &format!("/nodes/{}", t.node), "Sys.Audit");
        self.tasks.iter().rev().filter(sees)
    }
}

/// GET /cluster/tasks: the latest of all nodes.
pub(super) fn cluster(world: &mut World, call: &Call<'_>) -> Answer {
    let row = |task: &Task| {
        let mut row = task.row();
        if let Some((end, exit)) = &task.end {
            put(&mut row, "endtime", (*end as i64).into());
            put(&mut row, "status", exit.clone().into());
            put(&mut row, "saved", 1.into());
        }
        Value::Object(row)
    };
    Ok(world.visible(call).take(60).map(row).collect())
}

/// GET /nodes/{node}/tasks.
pub(super) fn of_node(world: &mut World, call: &Call<'_>) -> Answer {
    let (from, limit) = range(call, 50);
    let source = call.given("source").unwrap_or("archive");
    let states: Vec<&str> = call.list("statusfilter").collect();
    let vmid = call.int("vmid").map(|n| n.to_string());
    let all: Vec<Value> = world
        .visible(call)
        .filter(|t| t.node == call.text("node"))
        .filter(|t| match source {
            "active" => t.end.is_none(),
            "all" => true,
            _ => t.end.is_some(),
        })
        .filter(|t| !call.flag("errors") || t.end.as_ref().is_some_and(|(_, exit)| !good(exit)))
        .filter(|t| call.given("typefilter").is_none_or(|kind| t.kind == kind))
        .filter(|t| call.given("userfilter").is_none_or(|user| t.user.contains(user)))
        .filter(|t| vmid.as_ref().is_none_or(|vmid| t.id == *vmid))
        .filter(|t| call.int("since").is_none_or(|since| t.start as i64 >= since))
        .filter(|t| call.int("until").is_none_or(|until| t.start as i64 <= until))
        .filter(|t| {
            states.is_empty()
                || states.contains(&match t.end.as_ref().map(|(_, exit)| exit.as_str()) {
                    Some("OK") => "ok",
                    Some(exit) if exit.starts_with("WARNINGS") => "warning",
                    Some(_) => "error",
                    None => "unknown",
                })
        })
        .map(|task| {
            let mut row = task.row();
            put(&mut row, "pid", task.pid.into());
            put(&mut row, "pstart", task.pstart.into());
            if let Some((end, exit)) = &task.end {
                put(&mut row, "endtime", (*end as i64).into());
                put(&mut row, "status", exit.clone().into());
            } else if source == "all" {
                put(&mut row, "status", "RUNNING".into());
            }
            Value::Object(row)
        })
        .collect();
    call.total.set(Some(all.len()));
    Ok(all.into_iter().skip(from).take(limit).collect())
}

/// `start` and `limit` of a call; a limit of 0 is none.
#[inline(never)]
fn range(call: &Call<'_>, limit: usize) -> (usize, usize) {
    let number = |name: &str| call.int(name).and_then(|n| usize::try_from(n).ok());
    let limit = match number("limit") {
        Some(0) => usize::MAX,
        Some(n) => n,
        None => limit,
    };
    (number("start").unwrap_or(0), limit)
}

/// GET /nodes/{node}/tasks/{upid}/status.
pub(super) fn status(world: &mut World, call: &Call<'_>) -> Answer {
    let at = world.task(call, "Sys.Audit")?;
    let Some(task) = world.tasks.get(at) else { return bad("upid", "no such task") };
    let mut row = task.row();
    put(&mut row, "pid", task.pid.into());
    put(&mut row, "pstart", task.pstart.into());
    put(&mut row, "status", if task.end.is_some() { "stopped" } else { "running" }.into());
    if let Some((_, exit)) = &task.end {
        put(&mut row, "exitstatus", exit.clone().into());
    }
    Ok(row.into())
}

/// GET /nodes/{node}/tasks/{upid}/log.
pub(super) fn log(world: &mut World, call: &Call<'_>) -> Answer {
    let at = world.task(call, "Sys.Audit")?;
    let lines = world.tasks.get(at).map(|task| task.log(world.now)).unwrap_or_default();
    let (from, limit) = range(call, 50);
    call.total.set(Some(lines.len().max(1)));
    if lines.is_empty() {
        return Ok(json!([{"n": 1, "t": "no content"}]));
    }
    Ok(lines.iter().enumerate().skip(from).take(limit).map(|(n, line)| json!({"n": n + 1, "t": line})).collect())
}

/// DELETE /nodes/{node}/tasks/{upid}: its effect never comes.
pub(super) fn interrupt(world: &mut World, call: &Call<'_>) -> Answer {
    let at = world.task(call, "Sys.Modify")?;
    let now = world.now;
    if let Some(task) = world.tasks.get_mut(at)
        && task.end.is_none()
    {
        task.end = Some((now, INTERRUPTED.into()));
        task.effect = None;
        let locked = task.locked.take();
        world.unlock(locked);
    }
    Ok(Value::Null)
}
