//! Errors of the protocol. A client gets each as a JSON-RPC error: a code, a text and data.

use super::protocol::{LEGACY_VERSIONS, LOG_LEVELS, MAX_ID_BYTES, MODERN_VERSIONS, ProtocolEra};
use crate::base::exact_json::JsonTextError;
use crate::base::hint::Hint;
use crate::base::memory::MemoryError;
use crate::base::tree_size::MAX_VALUES;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::str::Utf8Error;
use thiserror::Error;

/// The bytes are not JSON (JSON-RPC 2.0, section 5.1).
pub const PARSE_ERROR: i32 = -32700;
/// The JSON is not a valid message.
pub const INVALID_REQUEST: i32 = -32600;
pub const METHOD_NOT_FOUND: i32 = -32601;
pub const INVALID_PARAMS: i32 = -32602;
pub const INTERNAL_ERROR: i32 = -32603;
/// The server cannot run the call now. A later attempt may succeed.
pub const BUSY: i32 = -32000;
/// Text for [`BUSY`] if the server runs as many calls as its limit allows.
pub const SERVER_BUSY_MESSAGE: &str =
    "busy: the server has as many calls in flight as its limit allows. hint: repeat the call in a few seconds";
/// Text for [`BUSY`] if the server stops before it has begun the call.
pub const SERVER_STOPPING_MESSAGE: &str =
    "call not begun: the server is stopping. hint: reconnect and send it again in a few seconds";
/// Text for [`BUSY`] if a call waited too long for a worker thread.
pub const QUEUE_TIMEOUT_MESSAGE: &str =
    "call not begun: it waited too long, because as many calls run as may. hint: repeat the call in a few seconds";
/// The resource does not exist. 2026-07-28 uses [`INVALID_PARAMS`] instead.
pub const RESOURCE_NOT_FOUND: i32 = -32002;
/// The client has to open an address for its user first (2025-11-25).
pub const URL_ELICITATION_REQUIRED: i32 = -32042;
/// A header contradicts the body (2026-07-28, Streamable HTTP).
pub const HEADER_MISMATCH: i32 = -32020;
/// The request needs a capability that the client did not declare (2026-07-28).
pub const MISSING_CAPABILITY: i32 = -32021;
/// The server does not support the protocol version (2026-07-28).
pub const UNSUPPORTED_VERSION: i32 = -32022;

/// Rejection of bytes that are not one valid message.
#[derive(Debug, Error)]
pub(super) enum MessageError {
    #[error("not JSON: {0}")]
    NotUtf8(#[from] Utf8Error),
    #[error("not JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("not a JSON-RPC message: expected one object with \"jsonrpc\":\"2.0\"")]
    NotAnObject,
    #[error("not a JSON-RPC message: expected an object, and a batch cannot contain a batch")]
    NestedBatch,
    #[error("not a JSON-RPC message: the batch is empty")]
    EmptyBatch,
    #[error("the batch is too large: it has {count} messages, and the limit is {max}")]
    BatchTooLarge { count: usize, max: usize },
    #[error("the message is too long: the limit is {max} bytes")]
    TooLong { max: usize },
    #[error("id must be a string or an integer, of at most {MAX_ID_BYTES} bytes")]
    InvalidId,
    #[error("\"jsonrpc\":\"2.0\" is missing")]
    MissingVersion,
    #[error("the message has neither method nor result")]
    MissingMethod,
    #[error("method must be a string")]
    MethodNotAString,
    #[error("params must be an object")]
    ParamsNotAnObject,
}

impl MessageError {
    pub(super) fn code(&self) -> i32 {
        match self {
            Self::NotUtf8(_) | Self::NotJson(_) => PARSE_ERROR,
            _ => INVALID_REQUEST,
        }
    }
}

/// Rejection of the parameters of a request.
#[derive(Debug, Error)]
pub enum ParamsError {
    #[error("expected an object")]
    NotAnObject,
    #[error("{0} is given twice")]
    Duplicate(&'static str),
    #[error("{0} must be a string")]
    NotAString(&'static str),
    #[error("_meta: {0}")]
    Meta(Box<Self>),
}

/// Failure of one request.
#[derive(Debug, Error)]
pub enum RpcError {
    #[error("params of {method}: {cause}")]
    InvalidParams { method: String, cause: ParamsError },
    #[error("{name} is missing: {expected}")]
    MissingParameter { name: String, expected: String },
    #[error("{0} must be an object, such as {{\"name\": \"value\"}}")]
    NotAnObject(&'static str),
    #[error("{0} has more than {MAX_VALUES} values")]
    TooManyValues(&'static str),
    #[error("no memory for the request: {0}")]
    NoMemory(MemoryError),
    #[error("{name} {cause}")]
    InvalidObject { name: &'static str, cause: JsonTextError },
    #[error("{0} must be one of {levels}", levels = LOG_LEVELS.join(", "))]
    InvalidLogLevel(&'static str),
    #[error("cursor is not valid: the list has one page")]
    InvalidCursor,
    #[error("argument must be {{\"name\": …, \"value\": …}}")]
    InvalidCompletionArgument,
    #[error("requestState is not valid: it was changed, has expired or belongs to another request")]
    InvalidState,
    #[error("unknown {kind} {name:?}")]
    UnknownName { kind: &'static str, name: String, known: Vec<&'static str> },
    #[error("unknown resource {uri:?}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    UnknownResource {
        uri: String,
        era: ProtocolEra,
        /// May be empty.
        reason: String,
    },
    #[error("argument {name} must be a text")]
    InvalidPromptArgument { name: String },
    /// An argument with which no prompt can be made. The text is complete.
    #[error("{0}")]
    InvalidArgument(String),
    #[error("ref must be {{\"type\": \"ref/prompt\", \"name\": …}} or {{\"type\": \"ref/resource\", \"uri\": …}}")]
    InvalidCompletionReference,
    #[error("unknown resource template {0:?}")]
    UnknownTemplate(String),
    #[error("unknown method {method:?}")]
    UnknownMethod { method: String, era: ProtocolEra },
    #[error("protocol version {0:?} is not supported")]
    UnsupportedVersion(String),
    #[error("MCP {0} needs io.modelcontextprotocol/protocolVersion in params._meta")]
    VersionNotInBody(String),
    #[error("_meta needs io.modelcontextprotocol/clientCapabilities, an object")]
    MissingClientCapabilities,
    #[error("this call needs a client with the capability {0}")]
    MissingCapability(&'static str),
    #[error("this request needs a client that declares the extension {0}")]
    MissingExtension(&'static str),
    /// The hint is that of the tools, which may know another way to the task.
    #[error(
        "taskId is not valid: it was changed, has expired, or belongs to another client or to an earlier run of the server"
    )]
    UnknownTask { hint: &'static str },
    #[error("{0}")]
    TaskDenied(String),
    #[error("header {header} {}, the body has {body:?}", match value {
        Some(value) => format!("is {value:?}"),
        None => "is missing".to_owned(),
    })]
    HeaderMismatch { header: &'static str, value: Option<String>, body: String },
    #[error("the call has to ask the user first: this protocol version does not support questions")]
    InputNotSupported,
    /// The client opens `url` for its user, and repeats the call (2025-11-25, Elicitation).
    #[error("{}", .0.message)]
    UrlElicitationRequired(Box<RequiredUrl>),
    #[error("{0}")]
    HandlerFailed(String),
    #[error("internal error: the call ended early, and the changes it made until then remain")]
    Panicked,
}

/// An address that a client has to open for its user.
#[derive(Debug)]
pub struct RequiredUrl {
    pub id: String,
    pub url: String,
    /// Says why.
    pub message: String,
}

impl RpcError {
    pub fn code(&self) -> i32 {
        match self {
            Self::UnknownMethod { .. } => METHOD_NOT_FOUND,
            Self::UnknownResource { era: ProtocolEra::Legacy, .. } => RESOURCE_NOT_FOUND,
            Self::UrlElicitationRequired(_) => URL_ELICITATION_REQUIRED,
            Self::HeaderMismatch { .. } => HEADER_MISMATCH,
            Self::MissingCapability(_) | Self::MissingExtension(_) => MISSING_CAPABILITY,
            Self::UnsupportedVersion(_) => UNSUPPORTED_VERSION,
            Self::HandlerFailed(_) | Self::Panicked => INTERNAL_ERROR,
            Self::NoMemory(MemoryError::InUse) => BUSY,
            _ => INVALID_PARAMS,
        }
    }

    /// Returns the details for a program, if the protocol defines any.
    pub fn data(&self) -> Option<Value> {
        match self {
            Self::UnknownResource { uri, .. } => Some(json!({"uri": uri})),
            Self::MissingCapability(name) => Some(json!({"requiredCapabilities": {*name: {}}})),
            Self::MissingExtension(name) => Some(json!({"requiredCapabilities": {"extensions": {*name: {}}}})),
            Self::UnsupportedVersion(requested) => Some(json!({"supported": MODERN_VERSIONS, "requested": requested})),
            Self::UrlElicitationRequired(required) => {
                let RequiredUrl { id, url, message } = &**required;
                Some(json!({"elicitations": [{"mode": "url", "elicitationId": id, "url": url, "message": message}]}))
            }
            _ => None,
        }
    }
}

impl Hint for RpcError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::InvalidObject { cause: JsonTextError::Duplicate(_), .. } => {
                "write each member once. Nothing was done".into()
            }
            Self::InvalidCursor => "repeat the request without cursor".into(),
            Self::NoMemory(MemoryError::InUse) => "repeat the call in a few seconds".into(),
            Self::NoMemory(MemoryError::TooLarge { .. }) => "send less at once".into(),
            Self::InvalidState => "repeat the call without requestState".into(),
            Self::UnknownTask { hint } => (*hint).into(),
            Self::UnknownName { known, .. } if !known.is_empty() => format!("use one of {}", known.join(", ")).into(),
            Self::UnknownResource { reason, .. } if reason.is_empty() => "use a resource of resources/list".into(),
            Self::UnknownTemplate(_) => "use a uriTemplate of resources/templates/list".into(),
            Self::UnknownMethod { era: ProtocolEra::Legacy, .. } => {
                "use initialize, ping or a method of the capabilities that initialize announces".into()
            }
            Self::UnknownMethod { era: ProtocolEra::Modern, .. } => {
                "use server/discover or a method of the capabilities that it announces".into()
            }
            Self::UnsupportedVersion(_) => {
                format!("use {}, or after initialize one of {}", MODERN_VERSIONS.join(", "), LEGACY_VERSIONS.join(", "))
                    .into()
            }
            Self::InputNotSupported => format!("use a client that speaks MCP {}", MODERN_VERSIONS.join(" or ")).into(),
            Self::Panicked => "see the server's log for the cause".into(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;

    #[test]
    fn each_error_has_its_code_and_a_text_with_the_next_step() {
        for (error, code, text) in [
            (
                RpcError::InvalidParams { method: "ping".into(), cause: ParamsError::Duplicate("name") },
                INVALID_PARAMS,
                "params of ping: name is given twice",
            ),
            (
                RpcError::UnknownName { kind: "tool", name: "x\n".into(), known: vec!["a", "b"] },
                INVALID_PARAMS,
                r#"unknown tool "x\n". hint: use one of a, b"#,
            ),
            (
                RpcError::UnknownMethod { method: "x".into(), era: ProtocolEra::Modern },
                METHOD_NOT_FOUND,
                r#"unknown method "x". hint: use server/discover or a method of the capabilities that it announces"#,
            ),
            (
                RpcError::UnsupportedVersion("1.0".into()),
                UNSUPPORTED_VERSION,
                "protocol version \"1.0\" is not supported. hint: use 2026-07-28, or after initialize one of \
                 2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25",
            ),
            (
                RpcError::HeaderMismatch { header: "Mcp-Name", value: None, body: "a".into() },
                HEADER_MISMATCH,
                r#"header Mcp-Name is missing, the body has "a""#,
            ),
            (
                RpcError::InvalidState,
                INVALID_PARAMS,
                "requestState is not valid: it was changed, has expired or belongs to another request. \
                 hint: repeat the call without requestState",
            ),
        ] {
            assert_eq!((render_error(&error).as_str(), error.code()), (text, code));
        }
    }
}
