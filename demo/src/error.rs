//! Errors of the API's operations.

use serde_json::Value;
use std::collections::BTreeMap;

/// A failed operation.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// 400: one complaint per parameter.
    Parameters(BTreeMap<String, String>),
    /// 401: a login with a wrong name, password or second factor.
    LoginFailed,
    /// 403: path and privileges, as between the brackets of `Permission check failed (…)`; empty without brackets.
    Forbidden(String),
    /// 403: the operation is not for API tokens.
    TicketRequired,
    /// 501: a node has no such operation.
    UnknownMethod,
    /// 501: a node has the operation, the demo does not.
    NotSimulated,
    /// 595: the node of the path does not answer.
    Unreachable,
    /// 404: an entry of the operation's object does not exist.
    NotFound(String),
    /// 501: the demo does not simulate this use of an operation that it has.
    Unsupported(String),
    /// 500: the text of the failure.
    Failed(String),
}

/// The result of an operation: by default, the `data` of its answer.
pub(crate) type ApiResult<T = Value> = Result<T, ApiError>;

/// Returns a failure with this text.
pub(crate) fn fail<T>(text: impl Into<String>) -> ApiResult<T> {
    Err(ApiError::Failed(text.into()))
}

/// Returns a complaint about one parameter.
pub(crate) fn parameter_error<T>(name: &str, text: impl Into<String>) -> ApiResult<T> {
    Err(ApiError::Parameters(BTreeMap::from([(name.into(), text.into())])))
}
