//! A request as its route handler gets it, and the outcome that the handler returns.

use super::admission::ConnectionPermit;
use super::client_stream::ClientStream;
use super::cors::CorsOrigin;
use super::head::RequestHead;
use super::response::HttpResponse;
use super::sse_session::SseSession;
use crate::base::memory::{CallMemory, MemoryReservation};
use crate::mcp::context::Caller;
use std::sync::Arc;

pub struct HttpRequest<'a> {
    pub stream: &'a Arc<ClientStream>,
    pub caller: Caller,
    pub permit: &'a ConnectionPermit,
    /// Origin of the page that sent the request, if the operator listed it.
    pub cors: Option<&'a CorsOrigin>,
    /// The body. A handler that takes it must take `reservation` too.
    pub body: &'a mut Vec<u8>,
    /// The memory of the body.
    pub reservation: MemoryReservation,
    /// The account of the request's memory. It is open until the response is written.
    pub memory: CallMemory,
    pub head: &'a RequestHead,
    /// The bytes that `head` was parsed from.
    pub bytes: &'a [u8],
}

pub enum RouteOutcome {
    Response(HttpResponse),
    /// The connection became an event stream. Its head and first event are sent.
    Session(Arc<SseSession>),
    /// The whole response is sent, and the connection's end marks its end.
    Sent,
}

impl From<HttpResponse> for RouteOutcome {
    fn from(response: HttpResponse) -> Self {
        Self::Response(response)
    }
}

impl<'a> HttpRequest<'a> {
    /// Returns the value of a query parameter, without decoding.
    pub fn query_value(&self, name: &str) -> Option<&'a str> {
        self.head.query_value(self.bytes, name)
    }

    /// Returns the values of all headers with this name.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.head.values(self.bytes, name)
    }

    /// Returns the value of a header that occurs exactly once.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.head.single_value(self.bytes, name)
    }

    /// Returns true if the content type is `application/json`, in any case, with or without parameters.
    pub fn has_json_body(&self) -> bool {
        let essence = self.header("content-type").and_then(|value| value.split(|b| *b == b';').next());
        essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"application/json"))
    }
}
