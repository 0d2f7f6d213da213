//! The only place that sends requests to a cluster. Each one is recorded in the audit log.

use super::authorize::{deny, protection_needs_guests};
use super::confirm::Confirmed;
use super::denied_call::DeniedCall;
use super::judged_call::JudgedCall;
use super::plan::look_up_guest_view;
use super::planned_call::PlannedCall;
use super::shared_object::SharedObject;
use crate::audit::AuditWriteError;
use crate::base::cancel::CancelToken;
use crate::policy::{Denial, Risk};
use crate::pve::Method;
use crate::pve::client::cluster::{ApiResponse, Cluster};
use crate::pve::client::row_compactor::KeepMember;
use crate::pve::error::PveError;
use crate::pve::guests::GuestList;
use crate::pve::task::{self, TaskProgress, TaskResult, TaskState, Upid, WaitLimits};
use std::sync::Arc;
use std::time::Instant;

/// The reason why a request has no response.
#[derive(Debug)]
pub(super) enum SendError {
    /// The start of a change could not be recorded, so nothing was sent.
    AuditLog(AuditWriteError),
    /// The rights of the client changed before the call was sent.
    Denied(DeniedCall),
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
        let result = self.request(|cluster, cancel| match planned.method {
            Method::Get => self.get(cluster, planned.cluster.read_deadline()?, cancel),
            method => cluster.call(method, &planned.path, &planned.params, cancel),
        });
        let upid = result.as_ref().ok().map(|response| response.data().trim_matches('"'));
        self.record_end(result.as_ref().err(), upid.filter(|text| text.starts_with("UPID:")), start);
        match result {
            Err(PveError::NotPermitted) => Err(match self.judge_again() {
                Err(reason) => SendError::Denied(deny(planned.audited(), reason)),
                // The rights came back in the meantime.
                Ok(_) => SendError::Api(PveError::NotPermitted),
            }),
            result => result.map_err(SendError::Api),
        }
    }

    /// Makes a GET request. A plain read may share the request of an identical one. Any other may have an effect, or
    /// contacts an address of the caller's choice.
    fn get(&self, cluster: &Cluster, deadline: Instant, cancel: &CancelToken) -> Result<ApiResponse, PveError> {
        let PlannedCall { path, params, risk, .. } = self.planned();
        match *risk == Risk::READ {
            true => cluster.get_shared(deadline, path, params, cancel),
            false => cluster.get_with_deadline(deadline, path, params, cancel),
        }
    }

    /// Makes a request as long as the present rights allow it. The rights are checked right before it is sent. If that
    /// check needs to know the guests of the cluster, they are looked up, and the request is made once more.
    fn request<T>(
        &self,
        mut request: impl FnMut(&Cluster, &CancelToken) -> Result<T, PveError>,
    ) -> Result<T, PveError> {
        let handle = self.planned().cluster;
        let mut judged = handle.scope.generation;
        loop {
            let check = self.judged_call().into_send_check(handle.scope.rights.clone(), judged);
            let cancel = handle.cancel.child_token().with_send_check(Arc::new(check));
            let result = request(handle.cluster, &cancel);
            if !matches!(result, Err(PveError::NotPermitted)) || self.planned().risk.is_read_only() {
                return result;
            }
            match self.judge_again() {
                Ok(generation) if generation != judged => judged = generation,
                _ => return result,
            }
        }
    }

    /// Judges the call by the present rights, and looks up the guests on which they depend. Returns the generation of the
    /// rights.
    fn judge_again(&self) -> Result<u64, Denial> {
        let planned = self.planned();
        let handle = planned.cluster;
        let snapshot = handle.scope.rights.current();
        let policy = snapshot.find_policy(handle.scope.origin.client, handle.name())?;
        let members = (policy.protects_guests() && *planned.affected.shared() != SharedObject::None)
            .then(|| planned.affected.with_members(handle.look_up_members(planned.affected.shared())));
        let affected = members.as_ref().unwrap_or(&planned.affected);
        let view = protection_needs_guests(policy, planned.risk, affected)
            .then(|| look_up_guest_view(handle, policy, affected));
        self.judged_call().judge(&snapshot, affected, view.as_ref())?;
        Ok(snapshot.generation)
    }

    fn judged_call(&self) -> JudgedCall {
        JudgedCall::new(self.planned(), self.confirmed_by())
    }

    /// Sends a read that the server makes by itself.
    pub(super) fn send_read(&self) -> Result<ApiResponse, PveError> {
        let planned = self.planned();
        self.record_read(|cluster, cancel| self.get(cluster, planned.cluster.read_deadline()?, cancel))
    }

    /// Sends a read that the server makes by itself, which ends at `deadline` at the latest.
    pub(super) fn send_read_until(&self, deadline: Instant) -> Result<ApiResponse, PveError> {
        self.record_read(|cluster, cancel| self.get(cluster, deadline, cancel))
    }

    /// Sends a read of a list. The caller checks the rows, of which it needs the members of `keep`.
    pub(super) fn send_list_read(&self, keep: KeepMember) -> Result<ApiResponse, PveError> {
        let planned = self.planned();
        self.record_read(|cluster, cancel| {
            cluster.get_list(planned.cluster.read_deadline()?, &planned.path, &planned.params, keep, cancel)
        })
    }

    /// Sends a read of the list of guests.
    pub(super) fn send_guests_read(&self) -> Result<GuestList, PveError> {
        let planned = self.planned();
        self.record_read(|cluster, cancel| {
            cluster.get_guests(planned.cluster.read_deadline()?, &planned.path, &planned.params, cancel)
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
        self.request(|cluster, cancel| task::fetch_status(cluster, upid, deadline, cancel))
    }

    /// Records the probes of a task as one look-up.
    pub(super) fn record_probes(&self, error: Option<&PveError>, start: Instant) {
        self.record_end(error, None, start);
    }

    /// Sends a read and records its end.
    fn record_read<T>(
        &self,
        request: impl FnMut(&Cluster, &CancelToken) -> Result<T, PveError>,
    ) -> Result<T, PveError> {
        let start = Instant::now();
        let result = self.request(request);
        self.record_end(result.as_ref().err(), None, start);
        result
    }

    fn record_end(&self, error: Option<&PveError>, upid: Option<&str>, start: Instant) {
        let planned = self.planned();
        planned.audited().record_end(planned.end_event(), self.decision(), error, upid, start);
    }
}
