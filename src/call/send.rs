//! The only place that sends requests to a cluster. Each one is recorded in the audit log.

use super::confirm::Confirmed;
use crate::audit::AuditWriteError;
use crate::pve::client::cluster::{ApiResponse, Cluster};
use crate::pve::error::PveError;
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
            planned.audited().record_start(self.decision()).map_err(SendError::AuditLog)?;
        }
        let start = Instant::now();
        // A token interrupts one connection, and several reads of a call may be in flight.
        let cancel = planned.cluster.cancel.child_token();
        let result = planned.cluster.cluster.call(planned.method, &planned.path, &planned.params, &cancel);
        let upid = result.as_ref().ok().map(|response| response.data().trim_matches('"'));
        self.record_end(result.as_ref().err(), upid.filter(|text| text.starts_with("UPID:")), start);
        result.map_err(SendError::Api)
    }

    /// Sends a read in the way of `request`.
    pub(super) fn send_read<T>(&self, request: impl FnOnce(&Cluster) -> Result<T, PveError>) -> Result<T, PveError> {
        let start = Instant::now();
        let result = request(self.planned().cluster.cluster);
        self.record_end(result.as_ref().err(), None, start);
        result
    }

    fn record_end(&self, error: Option<&PveError>, upid: Option<&str>, start: Instant) {
        let planned = self.planned();
        planned.audited().record_end(planned.end_event(), self.decision(), error, upid, start);
    }
}
