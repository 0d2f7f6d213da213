//! The only place that sends requests to a cluster. Each one is recorded in the audit log.

use super::confirm::Confirmed;
use crate::audit::AuditWriteError;
use crate::base::cancel::CancelToken;
use crate::pve::Method;
use crate::pve::client::cluster::{ApiResponse, Cluster};
use crate::pve::client::row_compactor::KeepMember;
use crate::pve::error::PveError;
use crate::pve::guests::{self, Guest};
use crate::pve::task::{self, TaskProgress, TaskResult, TaskState, Upid, WaitLimits};
use std::time::Instant;

/// The reason why a request has no response.
#[derive(Debug)]
pub(super) enum SendError {
    /// The start of a change could not be recorded, so nothing was sent.
    AuditLog(AuditWriteError),
    Api(PveError),
}

impl Confirmed<'_> {
    /// Sends the call. A change is recorded before and after, a read after.
    pub(super) fn send(&self) -> Result<ApiResponse, SendError> {
        let planned = self.planned();
        if !planned.risk.is_read_only() {
            planned.audited().record_start(self.decision(), self.reason()).map_err(|error| {
                if error.may_be_written() {
                    planned.audited().record_unsent(self.decision());
                }
                SendError::AuditLog(error)
            })?;
        }
        let start = Instant::now();
        let cancel = planned.cluster.cancel.child_token();
        let (cluster, path, params) = (planned.cluster.cluster, &planned.path, &planned.params);
        let result = match planned.method {
            Method::Get => planned
                .cluster
                .read_deadline()
                .and_then(|deadline| cluster.get_with_deadline(deadline, path, params, &cancel)),
            method => cluster.call(method, path, params, &cancel),
        };
        let upid = result.as_ref().ok().map(|response| response.data().trim_matches('"'));
        self.record_end(result.as_ref().err(), upid.filter(|text| text.starts_with("UPID:")), start);
        result.map_err(SendError::Api)
    }

    /// Sends a read that the server makes by itself.
    pub(super) fn send_read(&self) -> Result<ApiResponse, PveError> {
        let planned = self.planned();
        self.record_read(|cluster, cancel| {
            cluster.get_with_deadline(planned.cluster.read_deadline()?, &planned.path, &planned.params, cancel)
        })
    }

    /// Sends a read that the server makes by itself, which ends at `deadline` at the latest.
    pub(super) fn send_read_until(&self, deadline: Instant) -> Result<ApiResponse, PveError> {
        let planned = self.planned();
        self.record_read(|cluster, cancel| cluster.get_with_deadline(deadline, &planned.path, &planned.params, cancel))
    }

    /// Sends a read of a list. The caller checks the rows, of which it needs the members of `keep`.
    pub(super) fn send_list_read(&self, keep: KeepMember) -> Result<ApiResponse, PveError> {
        let planned = self.planned();
        self.record_read(|cluster, cancel| {
            cluster.get_list(planned.cluster.read_deadline()?, &planned.path, &planned.params, keep, cancel)
        })
    }

    /// Sends a read of the list of guests.
    pub(super) fn send_guests_read(&self) -> Result<Vec<Guest>, PveError> {
        let planned = self.planned();
        self.record_read(|cluster, cancel| {
            let (deadline, keep) = (planned.cluster.read_deadline()?, guests::is_guest_member);
            guests::parse_guests(&cluster.get_list(deadline, &planned.path, &planned.params, keep, cancel)?)
        })
    }

    /// Waits for the end of the task whose status this call reads. The whole wait is one record.
    pub(super) fn wait_for_task(
        &self,
        upid: &Upid,
        limits: WaitLimits,
        on_progress: &mut dyn FnMut(&TaskProgress<'_>),
    ) -> Result<TaskResult, PveError> {
        self.record_read(|cluster, cancel| task::wait(cluster, upid, limits, cancel, on_progress))
    }

    /// Reads the task whose status this call reads once. All reads are one record.
    pub(super) fn read_task(&self, upid: &Upid, deadline: Instant) -> Result<TaskResult, PveError> {
        self.record_read(|cluster, cancel| task::read(cluster, upid, deadline, cancel))
    }

    /// Reads the status of a task once, without a record. [`Confirmed::record_probes`] records all of them.
    pub(super) fn probe_task(&self, upid: &Upid, deadline: Instant) -> Result<TaskState, PveError> {
        let handle = self.planned().cluster;
        task::fetch_status(handle.cluster, upid, deadline, &handle.cancel.child_token())
    }

    /// Records the probes of a task as one look-up.
    pub(super) fn record_probes(&self, error: Option<&PveError>, start: Instant) {
        self.record_end(error, None, start);
    }

    /// Sends a read and records its end.
    fn record_read<T>(
        &self,
        request: impl FnOnce(&Cluster, &CancelToken) -> Result<T, PveError>,
    ) -> Result<T, PveError> {
        let handle = self.planned().cluster;
        let start = Instant::now();
        let result = request(handle.cluster, &handle.cancel.child_token());
        self.record_end(result.as_ref().err(), None, start);
        result
    }

    fn record_end(&self, error: Option<&PveError>, upid: Option<&str>, start: Instant) {
        let planned = self.planned();
        planned.audited().record_end(planned.end_event(), self.decision(), error, upid, start);
    }
}
