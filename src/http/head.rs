//! Strict parsing of a request's head.
//!
//! Request smuggling past a proxy relies on input that two parsers read differently. Such input is rejected: a line
//! feed without its carriage return, a folded line, two lengths, a length with anything but digits, two hosts. The
//! head's size, its number of headers and its time are bounded.
//!
//! httparse reads the lines. The framing rules are those of RFC 9112 (sections 2.2, 3.2, 5.2, 6) at their strictest.

use super::receive::{ReceiveBuffer, ReceiveError};
use super::request_error::RequestError;
use crate::base::deadline::Deadline;
use crate::config::Limits;
use httparse::Error;
use std::mem::MaybeUninit;
use std::str::FromStr;
use std::time::Duration;
use tiny_http::Method;

/// First byte of a TLS handshake (RFC 8446, 5.1). No method starts with it.
const TLS_HANDSHAKE: u8 = 22;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// Length in bytes (RFC 9112, 6.2). `u64::MAX` also stands for any larger number.
    Length(u64),
    /// Chunks, the last one empty (RFC 9112, 7.1).
    Chunked,
}

/// Byte range within the head.
#[derive(Clone, Copy, Debug, Default)]
struct HeadSpan {
    start: usize,
    end: usize,
}

impl HeadSpan {
    /// Returns the range of `part`, a slice of `head`.
    fn locate(head: &[u8], part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).saturating_sub(head.as_ptr() as usize);
        Self { start, end: start + part.len() }
    }

    fn slice(self, head: &[u8]) -> &[u8] {
        head.get(self.start..self.end).expect("the span belongs to this head")
    }

    fn len(self) -> usize {
        self.end - self.start
    }
}

#[derive(Debug)]
struct HeaderSpan {
    name: HeadSpan,
    value: HeadSpan,
}

/// The parsed head of a request, reused for the next one. Its texts are ranges of the bytes it was parsed from.
#[derive(Debug)]
pub struct RequestHead {
    /// The method as sent: methods are case-sensitive.
    pub method: Method,
    pub framing: BodyFraming,
    /// True if the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// True if the client requests the connection's end after the response, or speaks HTTP/1.0.
    pub close: bool,
    pub http_1_0: bool,
    target: HeadSpan,
    headers: Vec<HeaderSpan>,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            method: Method::Get,
            framing: BodyFraming::Length(0),
            expects_continue: false,
            close: false,
            http_1_0: false,
            target: HeadSpan::default(),
            headers: Vec::new(),
        }
    }
}

impl RequestHead {
    /// Reads the next head. Its bytes are then in [`ReceiveBuffer::head`]. The first byte must arrive within `wait`,
    /// the rest within `limits.head_timeout`.
    pub fn read(&mut self, input: &mut ReceiveBuffer, limits: &Limits, wait: Duration) -> Result<(), RequestError> {
        input.discard_request();
        // The response to an invalid head must not depend on the previous request's method.
        self.method = Method::Get;
        let mut scanner = HeadScanner::default();
        let idle = Deadline::from_now(wait);
        let mut started = None;
        loop {
            // Bytes beyond the limit are ignored. Otherwise the result would depend on how many bytes arrive at once.
            let unread = input.unread();
            // Answered at once. Its client would wait for the end of a head that never comes.
            if unread.first() == Some(&TLS_HANDSHAKE) {
                return Err(RequestError::TlsHandshake);
            }
            let head = unread.get(..limits.max_head_bytes).unwrap_or(unread);
            if let Some(end) = scanner.find_end(head)? {
                input.hold_head(end);
                return self.parse(input.head(), limits.max_headers);
            }
            if head.len() == limits.max_head_bytes {
                return Err(RequestError::HeadTooLarge);
            }
            if input.unread().is_empty() {
                input.fill(&idle).map_err(|_| RequestError::Disconnected)?;
            } else {
                let deadline = started.get_or_insert_with(|| Deadline::from_now(limits.head_timeout));
                input.fill(deadline).map_err(|error| match error {
                    ReceiveError::Disconnected => RequestError::Disconnected,
                    ReceiveError::TimedOut => RequestError::HeadTimeout,
                })?;
            }
        }
    }

    /// Parses a complete head, including its blank line.
    ///
    /// Not inlined, since the place for the headers would then stay on the stack of each thread that serves a stream.
    #[inline(never)]
    fn parse(&mut self, bytes: &[u8], max_headers: usize) -> Result<(), RequestError> {
        let mut space = [const { MaybeUninit::uninit() }; Limits::MAX_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut space[..max_headers.min(Limits::MAX_HEADERS)]) {
            Ok(status) if status.is_complete() => {}
            Ok(_) => return Err(RequestError::InvalidRequestLine),
            Err(Error::TooManyHeaders) => return Err(RequestError::TooManyHeaders),
            Err(Error::Version) if has_http_version(bytes) => return Err(RequestError::UnsupportedVersion),
            Err(Error::HeaderName | Error::HeaderValue) => return Err(RequestError::InvalidHeader),
            Err(_) => return Err(RequestError::InvalidRequestLine),
        }
        let (Some(Ok(method)), Some(target)) = (request.method.map(Method::from_str), request.path) else {
            return Err(RequestError::InvalidRequestLine);
        };
        // The absolute form (RFC 9112, 3.2.2) is for proxies only, and would be a second host to check.
        if !target.starts_with('/') && !target.starts_with(MESSAGES_REFERENCE) {
            return Err(RequestError::InvalidTarget);
        }
        let http_1_0 = request.version == Some(0);
        self.method = method;
        self.target = HeadSpan::locate(bytes, target.as_bytes());
        self.expects_continue = false;
        self.close = http_1_0;
        self.http_1_0 = http_1_0;
        self.headers.clear();
        let (mut length, mut chunked, mut hosts) = (None, false, 0);
        for header in request.headers.iter() {
            let (name, value) = (header.name, header.value);
            if name.eq_ignore_ascii_case("host") {
                hosts += 1;
            } else if name.eq_ignore_ascii_case("content-length") {
                if length.replace(parse_length(value)?).is_some() {
                    return Err(RequestError::DuplicateLength);
                }
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(RequestError::UnsupportedTransferEncoding);
                }
                chunked = true;
            } else if name.eq_ignore_ascii_case("connection") {
                let mut tokens = value.split(|b| *b == b',');
                self.close |= tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
            } else if name.eq_ignore_ascii_case("expect") && !http_1_0 {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(RequestError::UnsupportedExpectation);
                }
                self.expects_continue = true;
            }
            let (name, value) = (HeadSpan::locate(bytes, name.as_bytes()), HeadSpan::locate(bytes, value));
            self.headers.push(HeaderSpan { name, value });
        }
        // HTTP/1.0 did not define Host. Only a route that is public serves such a request.
        if hosts > 1 || hosts == 0 && !http_1_0 {
            return Err(RequestError::InvalidHostCount);
        }
        self.framing = match (chunked, length) {
            (true, Some(_)) => return Err(RequestError::ConflictingFraming),
            (true, None) if http_1_0 => return Err(RequestError::TransferEncodingInHttp10),
            (true, None) => BodyFraming::Chunked,
            (false, length) => BodyFraming::Length(length.unwrap_or(0)),
        };
        Ok(())
    }

    pub fn has_body(&self) -> bool {
        self.framing != BodyFraming::Length(0)
    }

    /// Returns the target without its query. Here and below, `bytes` is [`ReceiveBuffer::head`].
    pub fn path<'a>(&self, bytes: &'a [u8]) -> &'a str {
        self.split_target(bytes).0
    }

    /// Returns the first value of a query parameter without decoding. No value that this server expects needs escapes.
    pub fn query_value<'a>(&self, bytes: &'a [u8], name: &str) -> Option<&'a str> {
        let pairs = self.split_target(bytes).1.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Returns the values of all headers with this name, in any case.
    pub fn values<'a>(&self, bytes: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
        // Most names already differ in length.
        let is_match = move |header: &&HeaderSpan| {
            header.name.len() == name.len() && header.name.slice(bytes).eq_ignore_ascii_case(name.as_bytes())
        };
        self.headers.iter().filter(is_match).map(|header| header.value.slice(bytes))
    }

    /// Returns the names of all headers.
    pub fn header_names<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().map(|header| header.name.slice(bytes))
    }

    /// Returns the value of a header that occurs exactly once.
    pub fn single_value<'a>(&self, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
        let mut values = self.values(bytes, name);
        values.next().filter(|_| values.next().is_none())
    }

    fn split_target<'a>(&self, bytes: &'a [u8]) -> (&'a str, &'a str) {
        let target = str::from_utf8(self.target.slice(bytes)).expect("httparse returned the target as UTF-8");
        let (path, query) = match memchr::memchr(b'?', target.as_bytes()) {
            Some(at) => (&target[..at], &target[at + 1..]),
            None => (target, ""),
        };
        (if target.starts_with(MESSAGES_REFERENCE) { "/messages" } else { path }, query)
    }
}

/// The reference of an endpoint event. A client that resolves no references sends it as its target.
///
/// RFC 9112, 3.2 advises against a correction, since a filter before the server might read the target differently. A
/// post to this one needs the id of an open session.
const MESSAGES_REFERENCE: &str = "messages?sessionId=";

/// Parses digits only. Servers read a sign, `0x` or a list differently.
fn parse_length(value: &[u8]) -> Result<u64, RequestError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(RequestError::InvalidLength);
    }
    // Only a number that is too large fails to parse.
    Ok(str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX))
}

/// Returns true if the request line ends with an HTTP version rather than any other word.
fn has_http_version(bytes: &[u8]) -> bool {
    bytes.split(|b| *b == b' ').nth(2).is_some_and(|version| version.starts_with(b"HTTP/"))
}

/// Search for the blank line in a growing buffer. It visits each byte once, however small the pieces are, and checks
/// the line ends on the way, because httparse accepts a bare line feed.
#[derive(Default)]
struct HeadScanner {
    position: usize,
    line_start: usize,
}

impl HeadScanner {
    fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, RequestError> {
        while let Some(offset) = bytes.get(self.position..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let newline = self.position + offset;
            let Some((b'\r', line)) = bytes[self.line_start..newline].split_last() else {
                return Err(RequestError::InvalidLineEnd);
            };
            // One blank line before a request is permitted (RFC 9112, 2.2).
            if line.is_empty() && self.line_start > 0 {
                return Ok(Some(newline + 1));
            }
            if matches!(line.first(), Some(b' ' | b'\t')) {
                return Err(RequestError::FoldedHeader);
            }
            (self.position, self.line_start) = (newline + 1, newline + 1);
        }
        self.position = bytes.len();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RequestHead, RequestError> {
        let mut head = RequestHead::default();
        let end = HeadScanner::default().find_end(text.as_bytes())?.expect("a blank line");
        head.parse(&text.as_bytes()[..end], 8).map(|()| head)
    }

    fn status(text: &str) -> u16 {
        read(text).expect_err(text).status().expect(text)
    }

    #[test]
    fn a_request_is_read_with_its_path_query_and_headers() {
        let text = "\r\nPOST /messages?a=b&sessionId=12 HTTP/1.1\r\nhOST: x:1\r\nContent-Length: 2\r\nA:  b \r\n\r\n";
        let head = read(text).unwrap();
        let bytes = text.as_bytes();
        assert_eq!((head.method.as_str(), head.path(bytes)), ("POST", "/messages"));
        assert_eq!(head.query_value(bytes, "sessionId"), Some("12"));
        assert_eq!(head.query_value(bytes, "session"), None);
        assert_eq!(head.values(bytes, "host").collect::<Vec<_>>(), [b"x:1"]);
        assert_eq!(head.values(bytes, "a").next(), Some(&b"b"[..]));
        assert_eq!(head.framing, BodyFraming::Length(2));
        assert!(!head.close && !head.expects_continue);
    }

    #[test]
    fn a_head_in_any_pieces_ends_where_the_whole_does() {
        let text = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest";
        let mut scanner = HeadScanner::default();
        let found = (0..=text.len()).find_map(|n| scanner.find_end(&text[..n]).unwrap());
        assert_eq!(found, Some(text.len() - 4));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (headers, expected) in [
            ("Host: x\r\nHost: x\r\n", 400),
            ("", 400),
            ("Host: x\nA: b\r\n", 400),
            ("Host: x\r\nA: b\r\n c\r\n", 400),
            ("Host: x\r\n\tA: b\r\n", 400),
            ("Host: x\r\nA : b\r\n", 400),
            ("Host: x\r\nA: b\rc\r\n", 400),
            ("Host: x\r\nA: b\0c\r\n", 400),
            ("Host: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n", 400),
            ("Host: x\r\nContent-Length: 3, 3\r\n", 400),
            ("Host: x\r\nContent-Length: +3\r\n", 400),
            ("Host: x\r\nContent-Length: -3\r\n", 400),
            ("Host: x\r\nContent-Length: 0x1a\r\n", 400),
            ("Host: x\r\nContent-Length:\r\n", 400),
            ("Host: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Host: x\r\nTransfer-Encoding: gzip, chunked\r\n", 501),
            ("Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 501),
            ("Host: x\r\nTransfer-Encoding: identity\r\n", 501),
            ("Host: x\r\nExpect: tea\r\n", 417),
            ("Host: x\r\n1: \r\n2: \r\n3: \r\n4: \r\n5: \r\n6: \r\n7: \r\n8: \r\n", 431),
        ] {
            assert_eq!(status(&format!("GET / HTTP/1.1\r\n{headers}\r\n")), expected, "{headers:?}");
        }
    }

    #[test]
    fn only_http_1_0_and_1_1_are_spoken() {
        for (line, expected) in [
            ("GET / HTTP/2.0", 505),
            ("PRI * HTTP/2.0", 505),
            ("GET / HTTP/1.2", 505),
            ("GET / HTTP/0.9", 505),
            ("GET /", 400),
            ("GET / more HTTP/1.1", 400),
            ("GET http://x/ HTTP/1.1", 400),
            ("OPTIONS * HTTP/1.1", 400),
            ("CONNECT x:1 HTTP/1.1", 400),
            ("G\u{e4}T / HTTP/1.1", 400),
            ("", 400),
        ] {
            assert_eq!(status(&format!("\r\n{line}\r\nHost: x\r\n\r\n")), expected, "{line:?}");
        }
        assert!(read("GET / HTTP/1.0\r\nHost: x\r\n\r\n").unwrap().close);
        assert!(read("GET / HTTP/1.0\r\n\r\n").unwrap().close);
        assert_eq!(status("GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    }

    #[test]
    fn a_length_beyond_all_numbers_is_only_large() {
        let head = read("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n").unwrap();
        assert_eq!(head.framing, BodyFraming::Length(u64::MAX));
    }

    #[test]
    fn a_connection_is_closed_when_any_token_says_so() {
        assert!(read("GET / HTTP/1.1\r\nHost: x\r\nConnection: TE, Close\r\n\r\n").unwrap().close);
        assert!(!read("GET / HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n\r\n").unwrap().close);
    }

    #[test]
    fn what_comes_beyond_the_bound_changes_nothing_however_much_comes_at_once() {
        use super::super::client_stream::tests::connection_pair;
        use std::io::Write;

        let limits = Limits { max_head_bytes: 38, ..Limits::default() };
        let fits = "GET / HTTP/1.1\r\nHost: x\r\nLong: yyy\r\n\r\n";
        assert_eq!(fits.len(), 38);
        for (head, expected) in [
            (fits.to_owned() + "\n", Ok(())),
            (fits.replace("yyy", "yyyy"), Err(RequestError::HeadTooLarge)),
            (fits.replace("yyy", "yyyyyyyyy\n folded"), Err(RequestError::HeadTooLarge)),
        ] {
            let (stream, mut client) = connection_pair(limits.write_timeout);
            client.write_all(head.as_bytes()).unwrap();
            let result = RequestHead::default().read(&mut ReceiveBuffer::new(stream), &limits, limits.head_timeout);
            assert_eq!(result, expected, "{head:?}");
        }
    }
}
