//! HTTP/1.1 as a node speaks it: a bounded parser of request heads, and responses with a node's headers.

use crate::units::format_http_date;
use percent_encoding::percent_decode_str;
use std::time::{SystemTime, UNIX_EPOCH};

/// Maximum bytes of a request line. A real node accepted 9 KB; this limit is the demo's.
const MAX_LINE: usize = 16 << 10;
/// Maximum bytes of the header lines together. A real node does not answer beyond it.
const MAX_HEADERS: usize = 8 << 10;
/// Maximum number of header lines. A real node does not answer beyond it.
const MAX_HEADER_LINES: usize = 64;

/// The head of a request, with the headers that the demo uses.
pub(crate) struct RequestHead {
    /// Method as sent; names are case-sensitive.
    pub(crate) method: String,
    /// Path and query, percent-encoded.
    pub(crate) target: String,
    /// Minor version, 0 or 1.
    pub(crate) minor_version: u8,
    /// Bytes of the head in the buffer.
    pub(crate) length: usize,
    /// `Content-Length`, by default 0.
    pub(crate) content_length: usize,
    /// `Content-Type` in lower case, without its parameters.
    pub(crate) content_type: Option<String>,
    /// `Authorization` as sent.
    pub(crate) authorization: Option<String>,
    /// Decoded cookie `PVEAuthCookie`.
    pub(crate) ticket: Option<String>,
    /// `CSRFPreventionToken` as sent.
    pub(crate) csrf_token: Option<String>,
    /// True if there is a `Transfer-Encoding`.
    pub(crate) chunked: bool,
    /// True if the client accepts gzip.
    pub(crate) accepts_gzip: bool,
    /// True if the client closes the connection after the response.
    pub(crate) close: bool,
}

/// The result of parsing the bytes read so far.
pub(crate) enum ParsedHead {
    Complete(RequestHead),
    /// The beginning of a head.
    Partial,
    /// A request that a node answers without further parsing.
    Rejected(Response),
    /// A request on which a node closes the connection without a response.
    Invalid,
}

/// Parses the request head at the start of `buffer`.
pub(crate) fn parse_head(buffer: &[u8]) -> ParsedHead {
    let line_end = buffer.iter().position(|b| *b == b'\n').map_or(buffer.len(), |at| at + 1);
    if line_end > MAX_LINE {
        return ParsedHead::Invalid;
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADER_LINES];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(buffer) {
        Ok(httparse::Status::Complete(length)) if length.saturating_sub(line_end) > MAX_HEADERS => ParsedHead::Invalid,
        Ok(httparse::Status::Complete(length)) => {
            read_headers(&request, length).map_or(ParsedHead::Invalid, ParsedHead::Complete)
        }
        Ok(httparse::Status::Partial) if buffer.len() - line_end > MAX_HEADERS => ParsedHead::Invalid,
        Ok(httparse::Status::Partial) => ParsedHead::Partial,
        Err(httparse::Error::Version) if buffer.starts_with(b"PRI ") => {
            ParsedHead::Rejected(Response::text(506, "http protocol version 2.0 not supported"))
        }
        Err(_) => ParsedHead::Invalid,
    }
}

/// Returns `None` if two `Content-Length` headers differ or one is not a number: the end of the request is unknown.
fn read_headers(request: &httparse::Request<'_, '_>, length: usize) -> Option<RequestHead> {
    let minor_version = request.version?;
    let mut head = RequestHead {
        method: request.method?.into(),
        target: request.path?.into(),
        minor_version,
        length,
        content_length: 0,
        content_type: None,
        authorization: None,
        ticket: None,
        csrf_token: None,
        chunked: false,
        accepts_gzip: false,
        close: minor_version == 0,
    };
    let mut content_length = None;
    for header in request.headers.iter() {
        let value = String::from_utf8_lossy(header.value);
        let value = value.trim();
        let lists = |word: &str| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => {
                // `parse` alone would accept a sign.
                let number = value.parse().ok().filter(|_| value.bytes().all(|b| b.is_ascii_digit()))?;
                if content_length.is_some_and(|previous| previous != number) {
                    return None;
                }
                content_length = Some(number);
            }
            "content-type" => {
                let media_type = value.split_once(';').map_or(value, |(media_type, _)| media_type);
                head.content_type = Some(media_type.trim().to_ascii_lowercase());
            }
            "authorization" => head.authorization = Some(value.into()),
            "cookie" => head.ticket = value.split(';').find_map(find_ticket).or(head.ticket),
            "csrfpreventiontoken" => head.csrf_token = Some(value.into()),
            "transfer-encoding" => head.chunked = true,
            "accept-encoding" => head.accepts_gzip |= lists("gzip"),
            "connection" => head.close |= lists("close"),
            _ => {}
        }
    }
    head.content_length = content_length.unwrap_or(0);
    Some(head)
}

/// Returns the decoded ticket in a cookie.
fn find_ticket(cookie: &str) -> Option<String> {
    cookie.trim().strip_prefix("PVEAuthCookie=").map(decode_path)
}

/// A response, except for its `Connection` headers.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The text after the status code. A real node puts its error messages there.
    pub(crate) reason: String,
    /// `Content-Type`; the HTTP layer's own responses have none.
    pub(crate) content_type: Option<&'static str>,
    /// The body. An empty one has no `Content-Length` either.
    pub(crate) body: Vec<u8>,
    /// True if the privileged daemon or another node answered. Such responses have two `Connection` headers.
    pub(crate) relayed: bool,
    /// True if the body is compressed with gzip.
    pub(crate) gzip: bool,
}

impl Response {
    /// Creates a response of the HTTP layer: the reason in the status line and as the plain body.
    pub(crate) fn text(status: u16, reason: &str) -> Self {
        Self { body: reason.into(), ..Self::empty(status, reason) }
    }

    /// Creates a response without a body.
    pub(crate) fn empty(status: u16, reason: &str) -> Self {
        Self { status, reason: reason.into(), content_type: None, body: Vec::new(), relayed: false, gzip: false }
    }

    /// Creates a response with a JSON body.
    pub(crate) fn json(status: u16, reason: &str, body: &serde_json::Value) -> Self {
        let body = body.to_string().into_bytes();
        Self { content_type: Some("application/json;charset=UTF-8"), body, ..Self::empty(status, reason) }
    }

    /// Returns the bytes for the wire. `close` tells that the connection ends with this response.
    ///
    /// The status line has the first line of the reason. A carriage return in it makes a node give up the response.
    pub(crate) fn to_bytes(&self, minor_version: u8, close: bool) -> Vec<u8> {
        let reason = self.reason.split('\n').next().unwrap_or("");
        if reason.contains('\r') {
            return Self::empty(400, "Bad Request").to_bytes(minor_version, close);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs();
        let date = format_http_date(now as i64);
        // Untrusted input in the reason cannot begin a header line of its own.
        let reason: String =
            reason.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).take(1024).collect();
        let mut head = format!("HTTP/1.{minor_version} {} {reason}\r\nCache-Control: max-age=0\r\n", self.status);
        if close || self.relayed {
            head.push_str("Connection: close\r\n");
        }
        if !close {
            head.push_str("Connection: Keep-Alive\r\n");
        }
        head += &format!("Date: {date}\r\nPragma: no-cache\r\nServer: pve-api-daemon/3.0\r\n");
        if self.gzip {
            head.push_str("Content-Encoding: gzip\r\n");
        }
        if !self.body.is_empty() {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        if let Some(content_type) = self.content_type {
            head += &format!("Content-Type: {content_type}\r\n");
        }
        head += &format!("Expires: {date}\r\n\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

/// Decodes the percent-encoding of a path once. A `%` without two hex digits is kept.
pub(crate) fn decode_path(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Decodes a key or value of a form, where `+` is a space.
pub(crate) fn decode_form_component(text: &str) -> String {
    decode_path(&text.replace('+', " "))
}

/// Splits a query or a form into pairs of encoded key and value, as a node does: `;` also separates pairs, and a value
/// ends at a second `=` (PVE: split(/=/)).
pub(crate) fn split_pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(['&', ';']).filter(|pair| !pair.is_empty()).map(|pair| {
        let mut parts = pair.split('=');
        (parts.next().unwrap_or(""), parts.next().unwrap_or(""))
    })
}

#[cfg(test)]
mod tests {
    use super::{decode_form_component, decode_path};

    #[test]
    fn decoding_happens_once_and_never_fails() {
        assert_eq!(decode_path("%71emu/a%2520+%zz%"), "qemu/a%20+%zz%");
        assert_eq!(decode_form_component("a+b%2B"), "a b+");
        assert_eq!(decode_path("%ff"), "\u{fffd}");
    }
}
