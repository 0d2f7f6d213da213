//! A response, whose head tiny_http writes.
//!
//! `tiny_http::Response::raw_print` makes about twenty small writes for a head. Here they go to a buffer, which is sent
//! with the body in one write. Its pitfalls and their workarounds:
//! - A `TE` request header can make it panic: it gets no request headers.
//! - It switches to chunks for a large body: the threshold is out of reach.
//! - It drops `Connection`: that line is added afterwards.
//! - It writes a Content-Length for 204: this server sends no 204.
//! - It does not check header values: values come from this crate, or have been checked by it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};
use tiny_http::{HTTPVersion, Header, Response, StatusCode};

/// Value of the `Server` header, without a version so that attackers learn nothing from it.
const SERVER: &str = "proxmox-mcp";

const CLOSE: &[u8] = b"Connection: close\r\n\r\n";

/// Name and value of a header.
pub type HeaderField = (&'static str, Cow<'static, str>);

/// A response: status, a few headers and a body in memory.
#[derive(Debug)]
pub struct HttpResponse {
    /// The status, never 1xx, 204 or 304, which have no body.
    pub status: u16,
    pub closes_connection: bool,
    content_type: &'static str,
    headers: Vec<HeaderField>,
    body: Cow<'static, [u8]>,
}

impl HttpResponse {
    /// Creates a plain-text response.
    pub fn text(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        let body = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self { status, closes_connection: false, content_type: "text/plain; charset=utf-8", headers: Vec::new(), body }
    }

    /// Creates a JSON response.
    pub fn json(status: u16, body: Vec<u8>) -> Self {
        Self { content_type: "application/json", body: Cow::Owned(body), ..Self::text(status, "") }
    }

    /// Creates a 503 with `Retry-After`, for a reached limit or a shutdown.
    pub fn unavailable(text: impl Into<Cow<'static, str>>) -> Self {
        Self::text(503, text).with_header("Retry-After", "5")
    }

    /// Creates the response to a body that is not JSON.
    pub fn unsupported_media_type() -> Self {
        Self::text(415, "unsupported Content-Type: application/json is required")
    }

    /// Creates the response to a compressed body, with the only encoding that is accepted (RFC 9110, 15.5.16).
    pub fn unsupported_content_encoding(encoding: &[u8]) -> Self {
        let is_name = encoding.len() <= 32 && encoding.iter().all(|b| b.is_ascii_alphanumeric() || b"-_, ".contains(b));
        let name = if is_name { String::from_utf8_lossy(encoding) } else { "an unknown one".into() };
        let text = format!("unsupported Content-Encoding: {name}. hint: send the body without compression");
        Self::text(415, text).with_header("Accept-Encoding", "identity")
    }

    /// Adds a header. Its value must not be untrusted input (see above).
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds headers, by the rule of [`HttpResponse::with_header`].
    pub fn with_headers(mut self, headers: impl IntoIterator<Item = HeaderField>) -> Self {
        self.headers.extend(headers);
        self
    }

    pub fn with_content_type(self, content_type: &'static str) -> Self {
        Self { content_type, ..self }
    }

    /// Closes the connection after this response.
    pub fn with_close(mut self) -> Self {
        self.closes_connection = true;
        self
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Replaces `out` with the bytes of the head, including its blank line.
    ///
    /// The heads of a connection's responses differ mostly in their length, and tiny_http makes many small allocations
    /// for each. A thread therefore caches its last head for the second in which its `Date` is valid.
    pub fn write_head(&self, out: &mut Vec<u8>) -> io::Result<()> {
        CACHED_HEAD.with_borrow_mut(|cached| {
            let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
            let key = CachedHeadKey { second, status: self.status, content_type: self.content_type };
            if !self.headers.is_empty() || cached.key != Some(key) {
                cached.key = None;
                self.write_head_start(&mut cached.start)?;
                cached.key = self.headers.is_empty().then_some(key);
            }
            out.clear();
            out.extend_from_slice(&cached.start);
            write!(out, "Content-Length: {}\r\n", self.body.len())?;
            out.extend_from_slice(if self.closes_connection { CLOSE } else { b"\r\n" });
            Ok(())
        })
    }

    /// Replaces `out` with tiny_http's head up to its Content-Length.
    fn write_head_start(&self, out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        let fields = [("Server", SERVER), ("Content-Type", self.content_type)];
        let more = self.headers.iter().map(|(name, value)| (*name, value.as_ref()));
        let headers = fields.into_iter().chain(more);
        let headers = headers.map(|(name, value)| Header::from_bytes(name, value)).collect::<Result<_, ()>>();
        let headers = headers.map_err(|()| io::Error::new(io::ErrorKind::InvalidData, "a header is not ASCII"))?;
        Response::new(StatusCode(self.status), headers, io::empty(), Some(0), None)
            .with_chunked_threshold(usize::MAX)
            .raw_print(&mut *out, HTTPVersion(1, 1), &[], true, None)?;
        let length = out.strip_suffix(b"Content-Length: 0\r\n\r\n").expect("raw_print writes the length last").len();
        out.truncate(length);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct CachedHeadKey {
    second: u64,
    status: u16,
    content_type: &'static str,
}

/// A head up to its length. The key is `None` for a head that cannot be reused.
#[derive(Default)]
struct CachedHead {
    key: Option<CachedHeadKey>,
    start: Vec<u8>,
}

thread_local! {
    static CACHED_HEAD: RefCell<CachedHead> = RefCell::default();
}

/// Returns the head of an SSE stream (MCP 2024-11-05, HTTP with SSE). The stream has no length and no chunks, and the
/// connection's end is its end. A proxy with HTTP/1.0 to its upstream, nginx's default, could not pass on chunks.
pub fn event_stream_head(headers: impl IntoIterator<Item = HeaderField>) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    HttpResponse::text(200, "")
        .with_headers(headers)
        .with_content_type("text/event-stream")
        .with_header("Cache-Control", "no-cache, no-transform")
        .with_header("X-Accel-Buffering", "no")
        .write_head_start(&mut out)?;
    out.extend_from_slice(CLOSE);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(response: &HttpResponse) -> String {
        let mut out = b"left over".to_vec();
        response.write_head(&mut out).unwrap();
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
        let text = String::from_utf8(event_stream_head([]).unwrap()).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.ends_with("\r\nX-Accel-Buffering: no\r\nConnection: close\r\n\r\n"), "{text}");
        assert!(text.contains("\r\nContent-Type: text/event-stream\r\n") && !text.contains("Length"), "{text}");
        assert!(text.contains("\r\nCache-Control: no-cache, no-transform\r\n"), "{text}");
    }
}
