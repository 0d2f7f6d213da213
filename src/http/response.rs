//! An answer, with the bytes of its head written by tiny_http.
//!
//! `tiny_http::Response::raw_print` writes a head in some twenty small writes, so it goes into a buffer here and out
//! with the body in one. Its traps, and what is done about them: a `TE` request header can make it panic, so it is
//! shown no request headers; it would switch to chunks for a large body, so its threshold is out of reach; it drops
//! `ConnectionHandler`, so that line is put in afterwards; it gives a 204 a Content-Length, so there is no 204 here; it does
//! not look at header values, so only constants of this crate become one.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};
use tiny_http::{HTTPVersion, Header, Response, StatusCode};

/// Named instead of tiny_http, without a version: it is nobody's business.
const SERVER: &str = "proxmox-mcp";

const CLOSE: &[u8] = b"Connection: close\r\n\r\n";

/// One answer: a status, a few headers and a body that is in memory.
#[derive(Debug)]
pub struct HttpResponse {
    /// Never 1xx, 204 or 304, which have no body.
    pub status: u16,
    /// Whether the connection ends with it.
    pub closes_connection: bool,
    content_type: &'static str,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
}

impl HttpResponse {
    /// A short text for people.
    pub fn text(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        let body = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self { status, closes_connection: false, content_type: "text/plain; charset=utf-8", headers: Vec::new(), body }
    }

    /// A JSON document.
    pub fn json(status: u16, body: Vec<u8>) -> Self {
        Self { content_type: "application/json", body: Cow::Owned(body), ..Self::text(status, "") }
    }

    /// 503 with `Retry-After`: some bound is reached, or the server is stopping.
    pub fn unavailable(text: &'static str) -> Self {
        Self::text(503, text).with_header("Retry-After", "5")
    }

    /// Adds a header. Its value must come from this crate, never from a request: see above.
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Its content is of another type.
    pub fn with_content_type(self, content_type: &'static str) -> Self {
        Self { content_type, ..self }
    }

    /// The connection ends with this answer.
    pub fn with_close(mut self) -> Self {
        self.closes_connection = true;
        self
    }

    /// The bytes after the head.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Replaces `out` by the bytes of the head, blank line included.
    ///
    /// The heads of one connection's answers differ in little but their length, and tiny_http makes each of many small
    /// allocations: a thread keeps its last one for the second that its `Date` holds.
    pub fn write_head(&self, out: &mut Vec<u8>) -> io::Result<()> {
        CACHED_HEAD.with_borrow_mut(|last| {
            let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
            let key = (second, self.status, self.content_type);
            if !self.headers.is_empty() || last.key != key {
                last.start.clear();
                self.write_head_start(&mut last.start)?;
                // raw_print puts the length last.
                let length = last.start.strip_suffix(b"Content-Length: 0\r\n\r\n").map_or(0, <[u8]>::len);
                last.start.truncate(length);
                last.key = if self.headers.is_empty() { key } else { (0, 0, "") };
            }
            out.clear();
            out.extend_from_slice(&last.start);
            write!(out, "Content-Length: {}\r\n", self.body.len())?;
            out.extend_from_slice(if self.closes_connection { CLOSE } else { b"\r\n" });
            Ok(())
        })
    }

    /// The head as tiny_http makes it, as if there were no body.
    fn write_head_start(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let fields = [("Server", SERVER), ("Content-Type", self.content_type)];
        let more = self.headers.iter().map(|(name, value)| (*name, value.as_ref()));
        let headers = fields.into_iter().chain(more);
        let headers = headers.filter_map(|(name, value)| Header::from_bytes(name, value).ok()).collect();
        Response::new(StatusCode(self.status), headers, io::empty(), Some(0), None)
            .with_chunked_threshold(usize::MAX)
            .raw_print(out, HTTPVersion(1, 1), &[], true, None)
    }
}

/// The start of a head, up to its length, and what it is the start of: a second, a status, a content type.
#[derive(Default)]
struct CachedHead {
    key: (u64, u16, &'static str),
    start: Vec<u8>,
}

thread_local! {
    static CACHED_HEAD: RefCell<CachedHead> = RefCell::default();
}

/// The head of an SSE stream (MCP 2024-11-05, HTTP with SSE). The stream has no length and no chunks, the end of the
/// connection is its end: a proxy that speaks HTTP/1.0 to its upstream, as nginx does unless told otherwise, could not
/// pass on chunks, and there is no second framing between one event and one write.
pub fn event_stream_head() -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let reply = HttpResponse { content_type: "text/event-stream", ..HttpResponse::text(200, "") };
    reply
        .with_header("Cache-Control", "no-cache, no-transform")
        .with_header("X-Accel-Buffering", "no")
        .write_head_start(&mut out)?;
    // raw_print puts the length last.
    let head = out.strip_suffix(b"Content-Length: 0\r\n\r\n").map_or(0, <[u8]>::len);
    out.truncate(head);
    out.extend_from_slice(CLOSE);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(reply: &HttpResponse) -> String {
        let mut out = b"left over".to_vec();
        reply.write_head(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_has_server_date_type_and_length() {
        let text = head(&HttpResponse::text(405, "no").with_header("Allow", "GET, POST"));
        assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        for line in ["Server: proxmox-mcp", "Allow: GET, POST", "Content-Length: 2", "Content-Type: text/plain"] {
            assert!(text.contains(&format!("\r\n{line}")), "{text}");
        }
        assert!(text.contains("\r\nDate: ") && !text.contains("Connection"), "{text}");
        assert_eq!(text.matches("\r\n\r\n").count(), 1);
    }

    #[test]
    fn a_head_that_is_kept_has_each_answers_own_length_and_end() {
        let long = head(&HttpResponse::json(200, vec![b' '; 12_345]));
        assert!(long.ends_with("\r\nContent-Length: 12345\r\n\r\n"), "{long}");
        let last = head(&HttpResponse::json(200, Vec::new()).with_close());
        assert!(last.ends_with("\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "{last}");
        assert!(head(&HttpResponse::text(200, "x")).contains("text/plain"));
        assert!(head(&HttpResponse::json(400, Vec::new())).starts_with("HTTP/1.1 400 Bad Request\r\n"));
        assert!(head(&HttpResponse::json(200, Vec::new()).with_header("Allow", "GET")).contains("\r\nAllow: GET\r\n"));
        assert!(!head(&HttpResponse::json(200, Vec::new())).contains("Allow"));
    }

    #[test]
    fn a_large_body_has_a_length_not_chunks() {
        let text = head(&HttpResponse::json(200, vec![b' '; 1 << 20]));
        assert!(text.contains("\r\nContent-Length: 1048576\r\n") && !text.contains("chunked"), "{text}");
    }

    #[test]
    fn a_last_answer_says_so() {
        assert!(head(&HttpResponse::text(400, "x").with_close()).ends_with("\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn an_event_stream_has_no_length() {
        let text = String::from_utf8(event_stream_head().unwrap()).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.ends_with("\r\nX-Accel-Buffering: no\r\nConnection: close\r\n\r\n"), "{text}");
        assert!(text.contains("\r\nContent-Type: text/event-stream\r\n") && !text.contains("Length"), "{text}");
        assert!(text.contains("\r\nCache-Control: no-cache, no-transform\r\n"), "{text}");
    }
}
