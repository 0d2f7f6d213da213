//! The reasons to reject a request while its head or body is read.

use super::response::HttpResponse;
use crate::base::memory::MemoryError;
use thiserror::Error;

/// Next step for a client that starts a TLS handshake on a port without TLS.
pub const TLS_CURE: &str =
    "use http:// instead of https:// in the client, or start the server with --tls-cert and --tls-key";

/// Reason to reject a request. The connection closes after it, because the start of the next request is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    #[error("the client disconnected or sent nothing in time")]
    Disconnected,
    #[error("TLS on a port that speaks plain HTTP. hint: {TLS_CURE}")]
    TlsHandshake,
    #[error("invalid request line: expected METHOD PATH HTTP/1.1")]
    InvalidRequestLine,
    #[error("invalid request target: it must be a path")]
    InvalidTarget,
    #[error("invalid line end: a line must end with CR LF")]
    InvalidLineEnd,
    #[error("invalid header: it must not be folded over several lines")]
    FoldedHeader,
    #[error("invalid header: it has a character that is not allowed")]
    InvalidHeader,
    #[error("invalid Host header: exactly one is required")]
    InvalidHostCount,
    #[error("invalid Content-Length: it must consist of digits only")]
    InvalidLength,
    #[error("duplicate Content-Length")]
    DuplicateLength,
    #[error("Content-Length and Transfer-Encoding exclude each other")]
    ConflictingFraming,
    #[error("Transfer-Encoding is not allowed in HTTP/1.0")]
    TransferEncodingInHttp10,
    #[error("invalid chunk in the body")]
    InvalidChunk,
    #[error("the request's head did not arrive in time")]
    HeadTimeout,
    #[error("the request's body did not arrive in time")]
    BodyTimeout,
    #[error("the body is too large (--max-body-bytes)")]
    BodyTooLarge,
    #[error("{}", match .0 {
        MemoryError::InUse => "too many large requests at once (--max-buffered-bytes)",
        MemoryError::TooLarge { .. } => "the body is larger than one client's share of the memory (--max-buffered-bytes)",
    })]
    NoMemory(MemoryError),
    #[error("unsupported expectation: only 100-continue is supported")]
    UnsupportedExpectation,
    #[error("the request line and headers are too large")]
    HeadTooLarge,
    #[error("too many headers")]
    TooManyHeaders,
    #[error("unsupported Transfer-Encoding: only chunked is supported")]
    UnsupportedTransferEncoding,
    #[error("unsupported HTTP version: only HTTP/1.0 and HTTP/1.1 are supported")]
    UnsupportedVersion,
}

impl RequestError {
    /// Returns the status of the response, or `None` if the client cannot get one.
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Disconnected => None,
            Self::TlsHandshake
            | Self::InvalidRequestLine
            | Self::InvalidTarget
            | Self::InvalidLineEnd
            | Self::FoldedHeader
            | Self::InvalidHeader
            | Self::InvalidHostCount
            | Self::InvalidLength
            | Self::DuplicateLength
            | Self::ConflictingFraming
            | Self::TransferEncodingInHttp10
            | Self::InvalidChunk => Some(400),
            Self::HeadTimeout | Self::BodyTimeout => Some(408),
            Self::BodyTooLarge | Self::NoMemory(MemoryError::TooLarge { .. }) => Some(413),
            Self::UnsupportedExpectation => Some(417),
            Self::HeadTooLarge | Self::TooManyHeaders => Some(431),
            Self::UnsupportedTransferEncoding => Some(501),
            Self::NoMemory(MemoryError::InUse) => Some(503),
            Self::UnsupportedVersion => Some(505),
        }
    }

    /// Returns the response, or `None` if the client cannot get one.
    pub fn to_response(self) -> Option<HttpResponse> {
        let (status, text) = (self.status()?, self.to_string());
        let response = if status == 503 { HttpResponse::unavailable(text) } else { HttpResponse::text(status, text) };
        Some(response.with_close())
    }
}
