//! The reads behind prompts and summaries: in parallel, and bounded in number and time.

use crate::base::hint::{Hint, render_error};
use crate::call::{ApiResponse, ClusterHandle, LookupError, fan_out};
use crate::pve::backups::{BackupFile, BackupJob};
use crate::pve::inventory::{Inventory, StorageSummary};
use crate::pve::params::ApiParams;
use crate::pve::path::{ApiPath, PathError};
use crate::pve::rows::{ApiRow, parse_list};
use crate::pve::task::TaskState;
use crate::pve::task_list::{TaskEntry, find_cause_line};
use crate::pve::token_privileges::TokenPrivileges;
use crate::render::cluster_errors::ErrorText;
use crate::render::health::{
    BackupFacts, Certificate, ExplainedTask, HealthFacts, MAX_TASKS, Membership, NodeFacts, PartAnswer, StorageBackups,
    Subscription, find_ceph_problems, find_ha_problem, find_replication_problem, find_stopped_service,
};
use crate::render::labels::now_seconds;
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// The time for all reads of one prompt or overview. Clients often end a request after 60 s.
const FACT_TIME: Duration = Duration::from_secs(20);

/// The most reads of one cluster at once.
const MAX_CONCURRENT: usize = 6;

/// The most nodes whose own lists are read.
const MAX_NODES: usize = 32;

/// The most storages whose backups are listed.
const MAX_STORAGES: usize = 24;

/// The most failed tasks of one cluster that are shown, and whose logs are read.
const MAX_EXPLAINED: usize = 10;

/// The last lines of a log that are read.
const LOG_LINES: u64 = 60;

/// Returns the end of the time for a prompt or an overview that begins now.
pub(super) fn facts_deadline() -> Instant {
    Instant::now() + FACT_TIME
}

/// One read: the segments of its path, and its parameters.
#[derive(Clone)]
pub(super) struct Lookup {
    segments: Vec<String>,
    params: ApiParams,
}

impl Lookup {
    pub(super) fn new(segments: &[&str]) -> Self {
        Self { segments: segments.iter().map(ToString::to_string).collect(), params: ApiParams::new() }
    }

    #[must_use]
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.params.push(name, value);
        self
    }

    /// Returns the read of a path of a guest: `["config"]`.
    pub(super) fn guest(node: &str, kind: &str, vmid: u32, rest: &[&str]) -> Self {
        let vmid = vmid.to_string();
        Self::new(&[&["nodes", node, kind, &vmid], rest].concat())
    }
}

/// The reason why a read has no answer.
#[derive(Debug, thiserror::Error)]
enum FactError {
    #[error("not asked: the time for the reads was over")]
    TimeOver,
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

impl Hint for FactError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::TimeOver => None,
            Self::Path(error) => error.hint(),
            Self::Lookup(error) => error.hint(),
        }
    }
}

/// Reads from one cluster until a deadline.
pub(super) struct FactReader<'a> {
    pub(super) cluster: &'a ClusterHandle<'a>,
    pub(super) deadline: Instant,
}

impl FactReader<'_> {
    /// Reads one path. The error has no hint: a text with many of them would repeat it.
    pub(super) fn read(&self, lookup: &Lookup) -> Result<ApiResponse, ErrorText> {
        self.try_read(lookup).map_err(|error| ErrorText(self.cluster.redact(error.to_string())))
    }

    fn try_read(&self, lookup: &Lookup) -> Result<ApiResponse, FactError> {
        if Instant::now() >= self.deadline {
            return Err(FactError::TimeOver);
        }
        // A cluster may give its nodes and storages any name.
        let path = ApiPath::from_segments(&lookup.segments)?;
        Ok(self.cluster.look_up_until(self.deadline, path, lookup.params.clone())?)
    }

    /// Reads several paths in parallel. The answers are in the order of the reads.
    pub(super) fn read_all<const N: usize>(&self, lookups: [Lookup; N]) -> [Result<ApiResponse, ErrorText>; N] {
        let answers = fan_out(&lookups, MAX_CONCURRENT, |lookup| self.read(lookup));
        answers.try_into().unwrap_or_else(|_| panic!("each read has an answer"))
    }

    /// Reads a list of each part, such as the nodes, in parallel.
    fn read_parts<T: Send>(
        &self,
        parts: &[String],
        lookup: impl Fn(&str) -> Lookup + Sync,
        parse: impl Fn(&ApiRow) -> Option<T> + Sync,
    ) -> Vec<PartAnswer<Vec<T>>> {
        self.read_each(parts, lookup, |answer| rows(&answer, &parse))
    }

    /// Reads a path of each part in parallel.
    fn read_each<T: Send>(
        &self,
        parts: &[String],
        lookup: impl Fn(&str) -> Lookup + Sync,
        parse: impl Fn(Result<ApiResponse, ErrorText>) -> Result<T, ErrorText> + Sync,
    ) -> Vec<PartAnswer<T>> {
        fan_out(parts, MAX_CONCURRENT, |part| PartAnswer {
            part: part.clone(),
            answer: parse(self.read(&lookup(part))),
        })
    }

    /// Reads the nodes, guests and storages.
    pub(super) fn read_inventory(&self) -> Result<Inventory, ErrorText> {
        let read = || -> Result<Inventory, FactError> {
            let answer = self.try_read(&Lookup::new(&["cluster", "resources"]))?;
            Ok(Inventory::parse(&answer).map_err(LookupError::from)?)
        };
        read().map_err(|error| ErrorText(self.cluster.redact(render_error(&error))))
    }

    /// Reads the state of the cluster itself.
    pub(super) fn read_health(&self) -> Result<HealthFacts, ErrorText> {
        // The first read finds out whether the cluster answers at all.
        Ok(self.read_cluster(self.read_inventory()?))
    }

    /// Reads the rest of the state of the cluster itself.
    pub(super) fn read_cluster(&self, inventory: Inventory) -> HealthFacts {
        let [status, permissions, ha] = self.read_all([
            Lookup::new(&["cluster", "status"]),
            Lookup::new(&["access", "permissions"]),
            Lookup::new(&["cluster", "ha", "status", "current"]),
        ]);
        let ceph_problems = self.read_ceph();
        let membership = rows(&status, |row| Some(row.clone())).map(|rows| Membership::from_rows(&rows));
        let ha_problems = rows(&ha, |row| {
            let stopped = || find_stopped_service(row, inventory.guests.iter());
            find_ha_problem(row).or_else(stopped)
        });
        let privileges = permissions.and_then(|answer| {
            TokenPrivileges::parse(answer.data()).ok_or_else(|| ErrorText("the answer is not an object".into()))
        });
        let utc_offset = self.cluster.find_utc_offset(&ApiPath::from_static("/cluster/status"));
        HealthFacts { now: now_seconds(), utc_offset, inventory, privileges, membership, ha_problems, ceph_problems }
    }

    /// Reads the problems of Ceph. Returns `None` if the cluster has no Ceph.
    fn read_ceph(&self) -> Option<Result<Vec<String>, ErrorText>> {
        let answer = match self.try_read(&Lookup::new(&["cluster", "ceph", "status"])) {
            Err(FactError::Lookup(error)) if error.is_not_installed() => return None,
            answer => answer.map_err(|error| ErrorText(self.cluster.redact(error.to_string()))),
        };
        Some(object(&answer).map(|status| find_ceph_problems(&status)))
    }

    /// Reads what each node knows: failed tasks of the last day, replication, certificates, updates and subscription.
    pub(super) fn read_nodes(&self, facts: &HealthFacts) -> NodeFacts {
        let nodes = online_nodes(facts);
        let since = facts.now.saturating_sub(86_400);
        let failed_tasks = self.read_failed_tasks(&nodes, since, None);
        let certificate =
            |row: &ApiRow| Some(Certificate { file: row.text("filename"), not_after: row.count("notafter")? });
        let certificates =
            self.read_parts(&nodes, |node| Lookup::new(&["nodes", node, "certificates", "info"]), certificate);
        let jobs = rows(&self.read(&Lookup::new(&["cluster", "replication"])), |_| Some(()));
        let replication_problems = match jobs {
            Ok(jobs) if jobs.is_empty() => Vec::new(),
            _ => self.read_parts(
                &nodes,
                |node| Lookup::new(&["nodes", node, "replication"]),
                |row| find_replication_problem(row, &facts.inventory),
            ),
        };
        let updates = self.read_each(
            &nodes,
            |node| Lookup::new(&["nodes", node, "apt", "update"]),
            |answer| rows(&answer, |_| Some(())).map(|packages| packages.len()),
        );
        let subscriptions = self.read_each(
            &nodes,
            |node| Lookup::new(&["nodes", node, "subscription"]),
            |answer| {
                let row = object(&answer)?;
                Ok(Subscription { status: row.text("status"), due_date: row.text("nextduedate") })
            },
        );
        let clocks = self.read_each(
            &nodes,
            |node| Lookup::new(&["nodes", node, "time"]),
            |answer| {
                let time = object(&answer)?.count("time").ok_or_else(|| ErrorText("the answer has no time".into()))?;
                Ok(time.cast_signed() - now_seconds().cast_signed())
            },
        );
        NodeFacts { failed_tasks, certificates, updates, subscriptions, replication_problems, clocks }
    }

    /// Reads the failed tasks of these nodes since a time, of one kind or of all, with the causes of the newest.
    pub(super) fn read_failed_tasks(
        &self,
        nodes: &[String],
        since: u64,
        kind: Option<&str>,
    ) -> Vec<PartAnswer<Vec<ExplainedTask>>> {
        let begin = since;
        let (since, limit) = (since.to_string(), MAX_TASKS.to_string());
        let lookup = |node: &str| {
            let lookup = Lookup::new(&["nodes", node, "tasks"]).with("errors", "1").with("since", &since);
            let lookup = lookup.with("limit", &limit);
            match kind {
                Some(kind) => lookup.with("typefilter", kind),
                None => lookup,
            }
        };
        let failed = |row: &ApiRow| TaskEntry::from_row(row).filter(|task| task.failure().is_some());
        let mut answers = self.read_parts(nodes, lookup, failed);
        let unread: Vec<String> =
            answers.iter().filter(|part| part.answer.is_err()).map(|part| part.part.clone()).collect();
        if !unread.is_empty() {
            answers.extend(self.read_newest_failed_tasks(&unread, begin, kind));
        }
        // The newest tasks of all nodes are explained.
        let mut starts: Vec<u64> =
            answers.iter().filter_map(|part| part.answer.as_ref().ok()).flatten().map(|t| t.upid.started_at).collect();
        starts.sort_by_key(|start| std::cmp::Reverse(*start));
        let oldest = starts.get(MAX_EXPLAINED - 1).copied().unwrap_or(0);
        let explain = |tasks: Vec<TaskEntry>| {
            let is_new = |task: &TaskEntry| task.upid.started_at >= oldest;
            self.explain_tasks(tasks, is_new)
        };
        answers
            .into_iter()
            .map(|PartAnswer { part, answer }| PartAnswer { part, answer: answer.map(explain) })
            .collect()
    }

    /// Reads the failed tasks of nodes that do not answer, as far as the cluster has them: it knows the newest of each node.
    fn read_newest_failed_tasks(
        &self,
        nodes: &[String],
        since: u64,
        kind: Option<&str>,
    ) -> Vec<PartAnswer<Vec<TaskEntry>>> {
        let is_wanted = |task: &TaskEntry| {
            task.failure().is_some() && task.upid.started_at >= since && kind.is_none_or(|kind| task.upid.kind == kind)
        };
        let newest = |row: &ApiRow| TaskEntry::from_row(row).filter(is_wanted);
        let tasks = rows(&self.read(&Lookup::new(&["cluster", "tasks"])), newest).unwrap_or_default();
        let of_node = |node: &String| {
            let tasks: Vec<TaskEntry> = tasks.iter().filter(|task| task.upid.node == *node).cloned().collect();
            (!tasks.is_empty()).then(|| PartAnswer { part: node.clone(), answer: Ok(tasks) })
        };
        nodes.iter().filter_map(of_node).collect()
    }

    /// Reads the log of each failed task that `is_wanted`, for the line that says why it failed.
    pub(super) fn explain_tasks(
        &self,
        tasks: Vec<TaskEntry>,
        is_wanted: impl Fn(&TaskEntry) -> bool + Sync,
    ) -> Vec<ExplainedTask> {
        let causes = fan_out(&tasks, MAX_CONCURRENT, |task| {
            let TaskState::Failed(reason) = &task.state else { return None };
            let log = is_wanted(task).then(|| self.read_log_end(task))?.ok()?;
            find_cause_line(&log, reason).map(str::to_owned)
        });
        tasks.into_iter().zip(causes).map(|(task, cause)| ExplainedTask { task, cause }).collect()
    }

    /// Reads the last lines of a task's log.
    pub(super) fn read_log_end(&self, task: &TaskEntry) -> Result<Vec<String>, ErrorText> {
        let upid = task.upid.to_string();
        let page = |start: u64, limit: u64| {
            let lookup = Lookup::new(&["nodes", &task.upid.node, "tasks", &upid, "log"]);
            self.read(&lookup.with("start", &start.to_string()).with("limit", &limit.to_string()))
        };
        let first = page(0, LOG_LINES)?;
        // (PVE: `total` beside the data is the number of lines.)
        let total = ApiRow::parse(first.payload()).and_then(|envelope| envelope.count("total")).unwrap_or(0);
        let last = if total > LOG_LINES { page(total - LOG_LINES, LOG_LINES)? } else { first };
        rows(&Ok(last), |row| Some(row.text("t")))
    }

    /// Reads the jobs, and the backups on each storage.
    pub(super) fn read_backups(&self, facts: &HealthFacts) -> BackupFacts {
        let jobs = rows(&self.read(&Lookup::new(&["cluster", "backup"])), BackupJob::from_row);
        let storages: Vec<&StorageSummary> =
            facts.inventory.storages.iter().filter(|storage| storage.holds("backup")).collect();
        let numbered: Vec<(usize, &StorageSummary)> = storages.into_iter().enumerate().collect();
        let files = fan_out(&numbered, MAX_CONCURRENT, |(number, storage)| {
            let answer = match facts.inventory.is_online(&storage.node) && storage.is_available() {
                _ if *number >= MAX_STORAGES => {
                    Err(ErrorText(format!("not asked: only the first {MAX_STORAGES} storages are read")))
                }
                false => Err(ErrorText("it is not available".into())),
                true => {
                    let path = ["nodes", &storage.node, "storage", &storage.name, "content"];
                    let answer = self.read(&Lookup::new(&path).with("content", "backup"));
                    rows(&answer, |row| BackupFile::from_row(row, &storage.name))
                }
            };
            StorageBackups { storage: (*storage).clone(), answer }
        });
        BackupFacts { jobs, files }
    }
}

/// Returns the names of the nodes that can be asked.
pub(super) fn online_nodes(facts: &HealthFacts) -> Vec<String> {
    let online = facts.inventory.nodes.iter().filter(|node| node.is_online());
    online.map(|node| node.name.clone()).take(MAX_NODES).collect()
}

/// Parses the rows of an answer.
pub(super) fn rows<T>(
    answer: &Result<ApiResponse, ErrorText>,
    parse: impl Fn(&ApiRow) -> Option<T>,
) -> Result<Vec<T>, ErrorText> {
    let answer = answer.as_ref().map_err(ErrorText::clone)?;
    parse_list(answer.data(), parse).ok_or_else(|| ErrorText("the answer is not a list of objects".into()))
}

/// Parses an answer that is an object.
pub(super) fn object(answer: &Result<ApiResponse, ErrorText>) -> Result<ApiRow, ErrorText> {
    let answer = answer.as_ref().map_err(ErrorText::clone)?;
    ApiRow::parse(answer.data()).ok_or_else(|| ErrorText("the answer is not an object".into()))
}
