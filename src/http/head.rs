//! A request's head, read strictly.
//!
//! What two readers could understand in two ways is refused, for that is how requests are smuggled past a proxy: a
//! line feed without its carriage return, a folded line, two lengths, a length that isn't only digits, two hosts. So
//! is everything without a bound: the bytes of the head, the number of its headers, the time it takes.
//!
//! httparse reads the lines; the framing rules on top are RFC 9112's (sections 2.2, 3.2, 5.2, 6), at their strictest.

use super::receive::{ReceiveBuffer, ReceiveError};
use crate::base::deadline::Deadline;
use crate::config::Limits;
use httparse::Error;
use std::mem::MaybeUninit;
use std::str::FromStr;
use std::time::Duration;
use tiny_http::Method;

/// `limits.max_headers` above this has no effect: it is the room on the stack that they are read into.
const MAX_HEADERS: usize = 128;

/// Why a request can't be taken. The connection is closed after it: where the next request would begin is unknown.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestError {
    /// Nobody to answer: the client is gone, or was silent for too long.
    Disconnected,
    /// The status and the text to answer with.
    Rejected(u16, &'static str),
}

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// Exactly so many bytes (RFC 9112, 6.2); `u64::MAX` also stands for any larger number.
    Length(u64),
    /// In chunks, the last one empty (RFC 9112, 7.1).
    Chunked,
}

/// A part of the head's bytes.
#[derive(Clone, Copy, Debug, Default)]
struct HeadSpan(usize, usize);

impl HeadSpan {
    /// `part` must be a slice of `whole`.
    fn locate(whole: &[u8], part: &[u8]) -> Self {
        let at = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
        Self(at, at + part.len())
    }

    fn slice(self, whole: &[u8]) -> &[u8] {
        whole.get(self.0..self.1).unwrap_or_default()
    }
}

/// The head of one request; reused for the next. Its texts are spans of the bytes it was read from.
#[derive(Debug)]
pub struct RequestHead {
    /// As sent: methods are case-sensitive.
    pub method: Method,
    /// How long the body is.
    pub framing: BodyFraming,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the connection ends with the answer: the client says so, or speaks HTTP/1.0.
    pub close: bool,
    target: HeadSpan,
    fields: Vec<(HeadSpan, HeadSpan)>,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            method: Method::Get,
            framing: BodyFraming::Length(0),
            expects_continue: false,
            close: false,
            target: HeadSpan::default(),
            fields: Vec::new(),
        }
    }
}

impl RequestHead {
    /// Reads the next head; its bytes are then [`ReceiveBuffer::head`]. Its first byte may take `wait`, then the whole
    /// `limits.head_timeout`.
    pub fn read(&mut self, input: &mut ReceiveBuffer, limits: &Limits, wait: Duration) -> Result<(), RequestError> {
        const TOO_LARGE: RequestError = RequestError::Rejected(431, "the request's line and headers are too large");
        input.discard_request();
        // Of a head that can't be read, nothing of the last one may be left to go by.
        self.method = Method::Get;
        let mut scan = HeadScanner::default();
        let idle = Deadline::from_now(wait);
        let mut started = None;
        loop {
            // What comes beyond the bound is not looked at, or the answer would depend on how much came at once.
            let unread = input.unread();
            let head = unread.get(..limits.max_head_bytes).unwrap_or(unread);
            if let Some(end) = scan.find_end(head)? {
                input.hold_head(end);
                return self.parse(input.head(), limits.max_headers);
            }
            if head.len() == limits.max_head_bytes {
                return Err(TOO_LARGE);
            }
            let filled = if input.unread().is_empty() {
                input.fill(&idle).map_err(|_| ReceiveError::Disconnected)
            } else {
                input.fill(started.get_or_insert_with(|| Deadline::from_now(limits.head_timeout)))
            };
            filled.map_err(|cut| match cut {
                ReceiveError::Disconnected => RequestError::Disconnected,
                ReceiveError::TimedOut => RequestError::Rejected(408, "the request's head did not come in time"),
            })?;
        }
    }

    /// Reads a complete head, blank line included.
    fn parse(&mut self, bytes: &[u8], max_headers: usize) -> Result<(), RequestError> {
        let mut room = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let room = room.get_mut(..max_headers).unwrap_or(&mut []);
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, room) {
            Ok(status) if status.is_complete() => {}
            Ok(_) => return reject("the request is incomplete"),
            Err(Error::TooManyHeaders) => return Err(RequestError::Rejected(431, "too many headers")),
            Err(Error::Version) if has_http_version(bytes) => {
                return Err(RequestError::Rejected(505, "only HTTP/1.0 and HTTP/1.1 are spoken here"));
            }
            Err(Error::HeaderName | Error::HeaderValue) => {
                return reject("a header has a character that is not allowed");
            }
            Err(_) => return reject("the request line is not one of HTTP/1.1"),
        }
        let (Some(Ok(method)), Some(target)) = (request.method.map(Method::from_str), request.path) else {
            return reject("the request line is not one of HTTP/1.1");
        };
        // No absolute form (RFC 9112, 3.2.2): only proxies are sent it, and it would be a second host to check.
        if !target.starts_with('/') {
            return reject("the request target must be a path");
        }
        let http_1_0 = request.version == Some(0);
        self.method = method;
        self.target = HeadSpan::locate(bytes, target.as_bytes());
        self.expects_continue = false;
        self.close = http_1_0;
        self.fields.clear();
        let (mut length, mut chunked, mut hosts) = (None, false, 0);
        for header in request.headers.iter() {
            let (name, value) = (header.name, header.value);
            let is = |known: &str| name.len() == known.len() && name.eq_ignore_ascii_case(known);
            if is("host") {
                hosts += 1;
            } else if is("content-length") {
                if length.replace(parse_length(value)?).is_some() {
                    return reject("Content-Length stands twice");
                }
            } else if is("transfer-encoding") {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(RequestError::Rejected(501, "the only Transfer-Encoding understood is: chunked"));
                }
                chunked = true;
            } else if is("connection") {
                let mut tokens = value.split(|b| *b == b',');
                self.close |= tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
            } else if is("expect") && !http_1_0 {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(RequestError::Rejected(417, "the only expectation understood is: 100-continue"));
                }
                self.expects_continue = true;
            }
            self.fields.push((HeadSpan::locate(bytes, name.as_bytes()), HeadSpan::locate(bytes, value)));
        }
        // Also of HTTP/1.0, which knew no Host: without one nobody can say whom the request was meant for.
        if hosts != 1 {
            return reject("exactly one Host header is wanted");
        }
        self.framing = match (chunked, length) {
            (true, Some(_)) => return reject("Content-Length and Transfer-Encoding exclude each other"),
            (true, None) if http_1_0 => return reject("HTTP/1.0 knows no Transfer-Encoding"),
            (true, None) => BodyFraming::Chunked,
            (false, length) => BodyFraming::Length(length.unwrap_or(0)),
        };
        Ok(())
    }

    /// Whether a body follows.
    pub fn has_body(&self) -> bool {
        self.framing != BodyFraming::Length(0)
    }

    /// The target up to its `?`. `bytes` is [`ReceiveBuffer::head`], here and below.
    pub fn path<'a>(&self, bytes: &'a [u8]) -> &'a str {
        self.split_target(bytes).0
    }

    /// The first value of the query's parameter `name`, as it stands (nothing this server is sent needs escapes).
    pub fn query_value<'a>(&self, bytes: &'a [u8], name: &str) -> Option<&'a str> {
        let pairs = self.split_target(bytes).1.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The values of the headers of this name, in any case.
    pub fn values<'a>(&self, bytes: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
        let mut fields = self.fields.iter();
        // Most names differ in length already.
        std::iter::from_fn(move || {
            fields
                .find(|(field, _)| {
                    field.1 - field.0 == name.len() && field.slice(bytes).eq_ignore_ascii_case(name.as_bytes())
                })
                .map(|(_, value)| value.slice(bytes))
        })
    }

    fn split_target<'a>(&self, bytes: &'a [u8]) -> (&'a str, &'a str) {
        let target = str::from_utf8(self.target.slice(bytes)).unwrap_or_default();
        target.split_once('?').unwrap_or((target, ""))
    }
}

fn reject<T>(text: &'static str) -> Result<T, RequestError> {
    Err(RequestError::Rejected(400, text))
}

/// Digits and nothing else: a sign, `0x` or a list is read differently by different servers.
fn parse_length(value: &[u8]) -> Result<u64, RequestError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return reject("Content-Length must be digits only");
    }
    Ok(str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX))
}

/// Whether the request line ends in some version of HTTP, rather than in a stray word.
fn has_http_version(bytes: &[u8]) -> bool {
    bytes.split(|b| *b == b' ').nth(2).is_some_and(|version| version.starts_with(b"HTTP/"))
}

/// Looks for the blank line as the bytes come, each byte once however small the pieces are, and at the line ends on
/// the way (httparse would take a bare line feed).
#[derive(Default)]
struct HeadScanner {
    at: usize,
    line: usize,
}

impl HeadScanner {
    fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, RequestError> {
        while let Some(found) = bytes.get(self.at..).and_then(find_line_end) {
            let newline = self.at + found;
            let line = bytes.get(self.line..newline).unwrap_or_default();
            let Some((b'\r', line)) = line.split_last() else { return reject("a line must end with CR LF") };
            // One blank line ahead of a request is forgiven (RFC 9112, 2.2).
            if line.is_empty() && self.line > 0 {
                return Ok(Some(newline + 1));
            }
            if matches!(line.first(), Some(b' ' | b'\t')) {
                return reject("a header may not be folded over several lines");
            }
            (self.at, self.line) = (newline + 1, newline + 1);
        }
        self.at = bytes.len();
        Ok(None)
    }
}

/// Where the first line end is. By words of eight bytes, as a head is read once for it and once for all else.
fn find_line_end(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        // A byte that is zero now, and perhaps one above it, gets its highest bit.
        let found = u64::from_le_bytes(*word) ^ (ONES * u64::from(b'\n'));
        let found = found.wrapping_sub(ONES) & !found & (ONES * 0x80);
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|b| *b == b'\n').map(|n| at + n)
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
        match read(text) {
            Err(RequestError::Rejected(status, _)) => status,
            other => panic!("{text:?}: {other:?}"),
        }
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
        let mut scan = HeadScanner::default();
        let found = (0..=text.len()).find_map(|n| scan.find_end(&text[..n]).unwrap());
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
            (fits.replace("yyy", "yyyy"), Err(431)),
            (fits.replace("yyy", "yyyyyyyyy\n folded"), Err(431)),
        ] {
            let (far, mut near) = connection_pair(limits.write_timeout);
            near.write_all(head.as_bytes()).unwrap();
            let read = RequestHead::default().read(&mut ReceiveBuffer::new(far), &limits, limits.head_timeout);
            let status = read.map_err(|fault| match fault {
                RequestError::Rejected(status, _) => status,
                RequestError::Disconnected => 0,
            });
            assert_eq!(status, expected, "{head:?}");
        }
    }
}
