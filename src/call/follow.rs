//! Tasks: the search for a task's cluster, and the wait for its end.

use super::confirm::Confirmed;
use super::denied_call::DeniedCall;
use super::fan_out::fan_out;
use super::handle::ClusterHandle;
use super::lookup_error::LookupError;
use super::planned_call::CallPurpose;
use crate::base::hint::Hint;
use crate::pve::error::PveError;
use crate::pve::params::ApiParams;
use crate::pve::task::{self, TaskProgress, TaskResult, TaskState, Upid};
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
                    format!("a task that was started continues by itself: call wait_for_task again with upid {upid}");
                error.hint().map_or(step.clone(), |hint| format!("{hint}; {step}")).into()
            }
        })
    }
}

impl<'a> ClusterHandle<'a> {
    /// Authorizes the reads of a task's status and log.
    pub fn watch_task(&self, upid: &Upid) -> Result<TaskWatch<'_>, DeniedCall> {
        let authorize = |part| self.authorize_read(CallPurpose::ToolRead, upid.path_to(part), ApiParams::new());
        let status = authorize("status")?;
        authorize("log")?;
        Ok(TaskWatch { status, upid: upid.clone() })
    }
}

impl TaskWatch<'_> {
    /// Waits for the end of the task, at most until `deadline`. A task that failed or still runs is no error.
    pub fn follow(self, deadline: Instant, report: &mut dyn FnMut(&TaskReport<'_>)) -> Result<TaskResult, WatchError> {
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
        let waited =
            self.status.send_read(|client| task::wait(client, &self.upid, deadline, &cluster.cancel, &mut on_progress));
        match waited {
            Ok(result) if redacts => Ok(redact_result(result)),
            Ok(result) => Ok(result),
            Err(error) if task::is_unknown_task(&error) => Err(WatchError::UnknownTask(Box::new(self.upid))),
            Err(error) => Err(WatchError::Failed { upid: Box::new(self.upid), error }),
        }
    }
}

fn redact_result(mut result: TaskResult) -> TaskResult {
    let mut redactor = LogRedactor::default();
    result.log_tail.iter_mut().for_each(|line| *line = redactor.redact_line(line).into_owned());
    if let TaskState::Failed(reason) = &mut result.state {
        *reason = sanitize::redact_text(reason).into_owned();
    }
    result
}

/// Finds the cluster that knows a task. Clusters on which the task must not be watched are not asked.
pub fn find_task_cluster<'h>(
    clusters: &'h [ClusterHandle<'h>],
    upid: &Upid,
    deadline: Instant,
) -> Result<&'h ClusterHandle<'h>, FindTaskError<'h>> {
    let (mut allowed, mut denial) = (Vec::new(), None);
    for cluster in clusters {
        match cluster.watch_task(upid) {
            Ok(_) => allowed.push(cluster),
            Err(denied) => denial = Some((cluster, denied)),
        }
    }
    if let (true, Some((cluster, denied))) = (allowed.is_empty(), denial) {
        return Err(FindTaskError::Denied { cluster, denied });
    }
    let search_end = deadline.min(Instant::now() + task::UNKNOWN_TASK_GRACE);
    loop {
        let answer_by = (Instant::now() + FIND_TIMEOUT).min(deadline);
        let answers = fan_out(&allowed, allowed.len(), |cluster| look_up_status(cluster, upid, answer_by));
        if let Some((cluster, _)) = allowed.iter().zip(&answers).find(|(_, answer)| answer.is_ok()) {
            return Ok(cluster);
        }
        // Right after the start of a task, its own cluster may not know it yet.
        let may_appear = answers.iter().any(|answer| answer.as_ref().is_err_and(is_unknown_task));
        let is_over = Instant::now() + RETRY_INTERVAL > search_end;
        let waits = may_appear && !is_over;
        if waits && allowed.first().is_some_and(|first| !first.scope.origin.cancel.wait(RETRY_INTERVAL)) {
            continue;
        }
        let unknown = allowed.iter().zip(answers).map(|(cluster, answer)| UnknownTask {
            cluster,
            error: answer.err().filter(|error| !is_unknown_task(error)),
        });
        return Err(FindTaskError::NotFound(unknown.collect()));
    }
}

fn look_up_status(cluster: &ClusterHandle<'_>, upid: &Upid, by: Instant) -> Result<TaskState, LookupError> {
    let read = cluster.authorize_read(CallPurpose::Lookup, upid.path_to("status"), ApiParams::new())?;
    Ok(read.send_read(|client| task::fetch_status(client, upid, by, &cluster.cancel))?)
}

fn is_unknown_task(error: &LookupError) -> bool {
    matches!(error, LookupError::Failed(error) if task::is_unknown_task(error))
}
