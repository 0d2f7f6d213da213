//! Tasks in the lists of nodes, and the line of a log that says why a task failed.

use crate::pve::knowledge::messages::is_unfit_state;
use crate::pve::rows::ApiRow;
use crate::pve::task::{TaskState, Upid};

/// The most characters of a line.
const MAX_LINE_CHARS: usize = 300;

/// A task in a list.
#[derive(Clone, Debug)]
pub struct TaskEntry {
    pub upid: Upid,
    pub state: TaskState,
    /// Seconds since 1970, if it has ended.
    pub ended: Option<u64>,
}

impl TaskEntry {
    /// Reads a row of a list of tasks. Returns `None` for a row without a UPID.
    pub fn from_row(row: &ApiRow) -> Option<Self> {
        let upid = Upid::parse(&row.text("upid")).ok()?;
        let (ended, status) = (row.count("endtime"), row.text("status"));
        let is_running = ended.is_none() && matches!(status.as_str(), "" | "RUNNING" | "running");
        let state = TaskState::from_status(if is_running { "running" } else { "stopped" }, &status);
        Some(Self { upid, state, ended })
    }

    /// Returns the reason of the failure, if the task failed.
    pub fn failure(&self) -> Option<&str> {
        match &self.state {
            TaskState::Failed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Returns whether the task failed because its guest runs already, or does not run.
    pub fn did_not_fit_state(&self) -> bool {
        self.failure().is_some_and(is_unfit_state)
    }
}

/// Returns the line of a log that says best why the task failed, if it says more than the exit status.
pub fn find_cause_line<'a>(lines: &'a [String], exit_status: &str) -> Option<&'a str> {
    // (PVE: the last line repeats the exit status.)
    let says_more = |line: &&str| !line.is_empty() && !line.trim_start_matches("TASK ERROR:").trim().eq(exit_status);
    let candidates = || lines.iter().map(|line| line.trim()).filter(says_more).rev();
    let has_word = |line: &str| {
        let line = line.to_lowercase();
        ["error", "fail", "cannot", "can't", "unable", "denied", "no space", "timeout", "not found", "no such"]
            .iter()
            .any(|word| line.contains(word))
    };
    let is_error = |line: &&str| line.starts_with("ERROR:") || line.starts_with("TASK ERROR:");
    let line = candidates().find(is_error).or_else(|| candidates().find(|line| has_word(line)))?;
    Some(line.char_indices().nth(MAX_LINE_CHARS).map_or(line, |(end, _)| &line[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(lines: &[&str], exit_status: &str) -> Option<String> {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        find_cause_line(&lines, exit_status).map(str::to_owned)
    }

    #[test]
    fn the_line_that_says_most_is_found() {
        for (lines, exit_status, line) in [
            (
                &[
                    "INFO: x",
                    "ERROR: Backup of VM 102 failed - No space left",
                    "INFO: Failed at 3",
                    "TASK ERROR: job errors",
                ][..],
                "job errors",
                Some("ERROR: Backup of VM 102 failed - No space left"),
            ),
            (
                &["kvm: cannot set up guest memory", "TASK ERROR: start failed: exit 1"],
                "start failed: exit 1",
                Some("kvm: cannot set up guest memory"),
            ),
            (&["TASK ERROR: VM is locked (backup)"], "VM is locked (backup)", None),
            (&["all is well"], "killed", None),
            (&[], "killed", None),
        ] {
            assert_eq!(cause(lines, exit_status).as_deref(), line, "{lines:?}");
        }
    }

    #[test]
    fn a_row_has_the_state_of_its_task() {
        let state = |rest: &str| {
            let row = format!(r#"{{"upid":"UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:"{rest}}}"#);
            TaskEntry::from_row(&ApiRow::parse(&row).unwrap()).unwrap().state
        };
        assert_eq!(state(""), TaskState::Running);
        assert_eq!(state(r#","status":"RUNNING""#), TaskState::Running);
        assert_eq!(state(r#","endtime":7,"status":"OK""#), TaskState::Ok);
        assert_eq!(state(r#","endtime":7,"status":"WARNINGS: 2""#), TaskState::Warnings("2".into()));
        assert_eq!(state(r#","endtime":7,"status":"job errors""#), TaskState::Failed("job errors".into()));
        assert!(TaskEntry::from_row(&ApiRow::parse(r#"{"upid":"x"}"#).unwrap()).is_none());
    }
}
