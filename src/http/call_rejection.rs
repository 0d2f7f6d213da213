//! The reasons to reject a call before it runs.

use super::quota::QuotaError;
use crate::base::hint::{Hint, render_error};
use crate::mcp::message::{BUSY, QUEUE_TIMEOUT_MESSAGE, RpcRequest, SERVER_BUSY_MESSAGE, SERVER_STOPPING_MESSAGE};
use std::borrow::Cow;
use thiserror::Error;

#[derive(Debug, PartialEq, Eq, Error)]
pub enum CallRejection {
    #[error("{SERVER_BUSY_MESSAGE}")]
    ServerBusy,
    #[error("busy: this session has as many calls in flight as it may (--max-calls-per-session)")]
    SessionBusy,
    #[error(transparent)]
    Quota(#[from] QuotaError),
    #[error("{SERVER_STOPPING_MESSAGE}")]
    ServerStopping,
    #[error("{QUEUE_TIMEOUT_MESSAGE}")]
    QueueTimeout,
    #[error("call not run: the earlier answers of its batch are too large together")]
    BatchTooLarge,
}

impl Hint for CallRejection {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::ServerBusy | Self::ServerStopping | Self::QueueTimeout => None,
            Self::SessionBusy => Some("send it again when one of them has ended".into()),
            Self::Quota(error) => error.hint(),
            Self::BatchTooLarge => Some("send it by itself".into()),
        }
    }
}

impl CallRejection {
    /// Encodes the error response to the call.
    pub fn encode(&self, request: &RpcRequest<'_>) -> Vec<u8> {
        request.encode_rejection(BUSY, &render_error(self))
    }
}
