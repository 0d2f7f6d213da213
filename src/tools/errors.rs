//! The rendering of errors for a model.

use crate::base::hint::{Hint, render_error};
use crate::call::{CallError, ClusterHandle, LookupError, RemovedClient, SelectClusterError};
use crate::mcp::catalog::{TaskError, ToolError};
use crate::render::cluster_errors::{AllClustersFailed, ErrorText, ReadFailure, prefix_cluster};
use crate::render::output::OutputError;
use std::borrow::Cow;
use std::fmt;

/// A call error with the fact that nothing was sent.
struct CompleteError<'a>(&'a CallError);

impl fmt::Display for CompleteError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fact = if self.0.must_say_nothing_was_sent() { ". Nothing was sent" } else { "" };
        write!(f, "{}{fact}", self.0)
    }
}

impl Hint for CompleteError<'_> {
    fn hint(&self) -> Option<Cow<'_, str>> {
        self.0.hint()
    }
}

/// Renders the error of a call to a cluster, as the caller may read it.
pub(super) fn render_call_error(cluster: &ClusterHandle<'_>, error: impl Into<CallError>) -> String {
    prefix_cluster(cluster.label(), &render_own_error(cluster, error))
}

/// The text of an error with its hint apart, which other errors may share.
#[derive(PartialEq, Eq)]
pub(super) struct SplitError {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl SplitError {
    /// Renders an error that has no word of a cluster.
    pub(super) fn new(error: &dyn Hint) -> Self {
        Self { message: error.to_string(), hint: error.hint().map(Cow::into_owned) }
    }

    /// Renders the error of a call to a cluster, as the caller may read it.
    pub(super) fn of_call(cluster: &ClusterHandle<'_>, error: &CallError) -> Self {
        let Self { message, hint } = Self::new(&CompleteError(error));
        let message = prefix_cluster(cluster.label(), &cluster.redact(message));
        Self { message, hint: hint.map(|hint| cluster.redact(hint)) }
    }
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, ". hint: {hint}"))
    }
}

/// Renders the error of a call within a text that names the cluster already.
pub(super) fn render_own_error(cluster: &ClusterHandle<'_>, error: impl Into<CallError>) -> String {
    cluster.redact(render_error(&CompleteError(&error.into())))
}

/// Returns the error of a call to a cluster as the result of the tool.
pub(super) fn call_failed(cluster: &ClusterHandle<'_>, error: impl Into<CallError>) -> ToolError {
    ToolError::Failed(render_call_error(cluster, error))
}

/// Renders the error of a read that a tool makes by itself.
pub(super) fn read_failed(cluster: &ClusterHandle<'_>, error: &LookupError) -> ReadFailure {
    ReadFailure { error: ErrorText(cluster.redact(render_error(error))), kind: error.failure_kind() }
}

impl From<SelectClusterError> for ToolError {
    fn from(error: SelectClusterError) -> Self {
        Self::Failed(render_error(&error))
    }
}

impl From<RemovedClient> for ToolError {
    fn from(error: RemovedClient) -> Self {
        Self::Failed(render_error(&error))
    }
}

impl From<RemovedClient> for TaskError {
    fn from(error: RemovedClient) -> Self {
        Self::Denied(render_error(&error))
    }
}

impl From<OutputError> for ToolError {
    fn from(error: OutputError) -> Self {
        Self::Failed(render_error(&error))
    }
}

impl From<AllClustersFailed> for ToolError {
    fn from(error: AllClustersFailed) -> Self {
        Self::Failed(error.to_string())
    }
}
