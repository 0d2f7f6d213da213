//! Tasks: the search for a task's cluster, and the wait for its end.

use super::confirm::Confirmed;
use super::denied_call::DeniedCall;
use super::fan_out::fan_out;
use super::handle::ClusterHandle;
use super::lookup_error::LookupError;
use super::plan_error::PlanError;
use super::planned_call::CallPurpose;
use super::resolve_path::check_node_name;
use crate::base::hint::Hint;
use crate::pve::error::PveError;
use crate::pve::params::ApiParams;
use crate::pve::task::{self, TaskProgress, TaskResult, TaskState, Upid, WaitLimits};
use crate::render::task::describe_task;
use crate::sanitize::{self, LogRedactor};
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// The time that clusters have to say whether they know a task.
const FIND_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between two rounds of the search.
const RETRY_INTERVAL: Duration = Duration::from_millis(300);

/// The right to watch one task.
pub struct TaskWatch<'a> {
    /// The read of the status, under which the whole wait is recorded.
    status: Confirmed<'a>,
    upid: Upid,
}

/// The progress of a task since the last report.
pub struct TaskReport<'r> {
    pub waited: Duration,
    /// The new lines of the log, as the caller may read them.
    pub new_lines: Vec<Cow<'r, str>>,
}

/// The reason why the end of a task is not known.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("{node} knows no such task ({upid})", node = .0.node, upid = .0)]
    UnknownTask(Box<Upid>),
    /// The task was started. Only its end was not seen.
    #[error("{} could not be watched: {}", describe_task(.upid), .error.to_string().trim_end_matches('.'))]
    Failed { upid: Box<Upid>, error: PveError },
}

/// The reason why the cluster of a task is not known.
pub enum FindTaskError<'h> {
    /// No cluster may be asked.
    Denied { cluster: &'h ClusterHandle<'h>, denied: DeniedCall },
    /// Each cluster that was asked, with its error. `None` where it does not know the task.
    NotFound(Vec<UnknownTask<'h>>),
}

/// A cluster that does not know a task.
pub struct UnknownTask<'h> {
    pub cluster: &'h ClusterHandle<'h>,
    /// `None` if the cluster answered that it does not know the task.
    pub error: Option<LookupError>,
}

impl Hint for WatchError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::UnknownTask(upid) => {
                format!("GET /nodes/{}/tasks lists the tasks that the node knows", upid.node).into()
            }
            Self::Failed { upid, error } => {
                let step =
                    format!("a task that was started continues by itself; call wait_for_task again with upid `{upid}`");
                error.hint().map_or(step.clone(), |hint| format!("{hint}; {step}")).into()
            }
        })
    }
}

impl<'a> ClusterHandle<'a> {
    /// Rejects a task of a node that the cluster does not have.
    pub fn check_task_node(&self, upid: &Upid) -> Result<(), PlanError> {
        check_node_name(self, upid.path())
    }

    /// Authorizes the reads of a task's status and log.
    pub fn watch_task(&self, upid: &Upid) -> Result<TaskWatch<'_>, DeniedCall> {
        let authorize = |part| self.authorize_read(CallPurpose::ToolRead, upid.path_to(part), ApiParams::new());
        let status = authorize("status")?;
        authorize("log")?;
        Ok(TaskWatch { status, upid: upid.clone() })
    }
}

impl TaskWatch<'_> {
    /// Waits for the end of the task, within the limits. A task that failed or still runs is no error.
    pub fn follow(self, limits: WaitLimits, report: &mut dyn FnMut(&TaskReport<'_>)) -> Result<TaskResult, WatchError> {
        let cluster = self.status.planned().cluster;
        let redacts = cluster.needs_redaction();
        let mut redactor = LogRedactor::default();
        let mut on_progress = |progress: &TaskProgress<'_>| {
            // Every line goes through the redactor, as the last lines may begin within a private key.
            let new_lines = match redacts {
                true => progress.new_lines.iter().map(|line| redactor.redact_line(line)).collect(),
                false => progress.new_lines.iter().map(Cow::from).collect(),
            };
            report(&TaskReport { waited: progress.waited, new_lines });
        };
        cluster.scope.origin.observer.record_wait();
        let result = self.status.wait_for_task(&self.upid, limits, &mut on_progress);
        self.complete(result)
    }

    /// Reads the task once, at most until `deadline`. A task that failed or still runs is no error.
    pub fn read(self, deadline: Instant) -> Result<TaskResult, WatchError> {
        let result = self.status.read_task(&self.upid, deadline);
        self.complete(result)
    }

    /// Returns the result as the caller may read it.
    fn complete(self, result: Result<TaskResult, PveError>) -> Result<TaskResult, WatchError> {
        match result {
            Ok(result) if self.status.planned().cluster.needs_redaction() => Ok(redact_result(result)),
            Ok(result) => Ok(result),
            Err(error) if task::is_unknown_task(&error) => Err(WatchError::UnknownTask(Box::new(self.upid))),
            Err(error) => Err(WatchError::Failed { upid: Box::new(self.upid), error }),
        }
    }
}

impl WatchError {
    /// Returns whether the task may be read later.
    pub fn may_recover(&self) -> bool {
        matches!(self, Self::Failed { error, .. } if task::may_recover(error))
    }
}

fn redact_result(mut result: TaskResult) -> TaskResult {
    let mut redactor = LogRedactor::default();
    result.log_tail.iter_mut().for_each(|line| *line = redactor.redact_line(line).into_owned());
    if let TaskState::Failed(reason) | TaskState::Unknown(reason) = &mut result.state {
        *reason = sanitize::redact_text(reason).into_owned();
    }
    result
}

/// The search for a task on one cluster.
struct TaskProbe<'h> {
    cluster: &'h ClusterHandle<'h>,
    /// The read of the status, under which all probes are recorded.
    status: Confirmed<'h>,
}

/// Finds the cluster that knows a task. Clusters on which the task must not be watched are not asked.
pub fn find_task_cluster<'h>(
    clusters: &'h [ClusterHandle<'h>],
    upid: &Upid,
    deadline: Instant,
) -> Result<&'h ClusterHandle<'h>, FindTaskError<'h>> {
    let (mut probes, mut denial) = (Vec::new(), None);
    for cluster in clusters {
        let authorize = || cluster.authorize_read(CallPurpose::Lookup, upid.path_to("status"), ApiParams::new());
        match cluster.watch_task(upid).and_then(|_| authorize()) {
            Ok(status) => probes.push(TaskProbe { cluster, status }),
            Err(denied) => denial = Some((cluster, denied)),
        }
    }
    if let (true, Some((cluster, denied))) = (probes.is_empty(), denial) {
        return Err(FindTaskError::Denied { cluster, denied });
    }
    let answer_by = (Instant::now() + FIND_TIMEOUT).min(deadline);
    let lacking = fan_out(&probes, probes.len(), |probe| probe.cluster.lacks_node(&upid.node, answer_by));
    let mut lacking = lacking.into_iter();
    let (others, probes): (Vec<_>, Vec<_>) =
        probes.into_iter().partition(|_| lacking.next().expect("an answer for each cluster"));
    let start = Instant::now();
    let answers = probe_clusters(&probes, upid, deadline);
    for (probe, answer) in probes.iter().zip(&answers) {
        probe.status.record_probes(answer.as_ref().err(), start);
    }
    if let Some((probe, _)) = probes.iter().zip(&answers).find(|(_, answer)| answer.is_ok()) {
        return Ok(probe.cluster);
    }
    let unknown = probes.iter().zip(answers).map(|(probe, answer)| UnknownTask {
        cluster: probe.cluster,
        error: answer.err().filter(|error| !task::is_unknown_task(error)).map(LookupError::from),
    });
    let others = others.iter().map(|probe| UnknownTask { cluster: probe.cluster, error: None });
    Err(FindTaskError::NotFound(unknown.chain(others).collect()))
}

/// Asks every cluster until one knows the task, or none may know it later. Returns the last answers.
fn probe_clusters(probes: &[TaskProbe<'_>], upid: &Upid, deadline: Instant) -> Vec<Result<TaskState, PveError>> {
    let search_end = deadline.min(Instant::now() + task::UNKNOWN_TASK_GRACE);
    loop {
        let answer_by = (Instant::now() + FIND_TIMEOUT).min(deadline);
        let answers = fan_out(probes, probes.len(), |probe| probe.status.probe_task(upid, answer_by));
        // Right after the start of a task, its own cluster may not know it yet.
        let may_appear = answers.iter().any(|answer| answer.as_ref().is_err_and(task::is_unknown_task));
        let is_over = answers.iter().any(Result::is_ok) || Instant::now() + RETRY_INTERVAL > search_end;
        let waits = may_appear && !is_over;
        if !waits || probes.first().is_none_or(|first| first.cluster.scope.origin.cancel.wait(RETRY_INTERVAL)) {
            return answers;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_of_a_failed_wait_has_the_upid_as_the_parser_reads_it() {
        let upid = Upid::parse("UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!mcp:").expect("a UPID");
        let error = WatchError::Failed { upid: Box::new(upid.clone()), error: PveError::Cancelled };
        let hint = error.hint().expect("a hint").into_owned();
        let quoted = hint.split('`').nth(1).expect("a quoted UPID");
        assert_eq!(Upid::parse(quoted).expect(quoted), upid);
        assert!(hint.ends_with('`'), "{hint}");
    }
}
