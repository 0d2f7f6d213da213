//! Requests with head and body, as a connection reads them.

use crate::config::Limits;
use crate::http::body;
use crate::http::client_stream::{ClientStream, PIECES};
use crate::http::guard::HostOriginPolicy;
use crate::http::head::{BodyFraming, RequestError, RequestHead};
use crate::http::receive::ReceiveBuffer;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock};

/// Small limits, so that inputs reach them.
static LIMITS: LazyLock<Limits> =
    LazyLock::new(|| Limits { max_head_bytes: 600, max_headers: 12, max_body_bytes: 300, ..Limits::default() });
static GUARD: LazyLock<HostOriginPolicy> =
    LazyLock::new(|| HostOriginPolicy::new(&[], &[]).expect("no names, none wrong"));
const LOCAL_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// A request that was read.
#[derive(Debug, PartialEq)]
struct ParsedRequest {
    head: Vec<u8>,
    method: String,
    path: String,
    framing: BodyFraming,
    close: bool,
    expects_continue: bool,
    /// `None` if it was rejected or incomplete.
    body: Option<Vec<u8>>,
}

/// Reads a stream of requests. The result must not depend on how the stream is split, each request must be exactly its
/// bytes of the stream, and an accepted request must be unambiguous.
pub fn check_request(stream: &[u8]) -> bool {
    let stream = stream.get(..8 << 10).unwrap_or(stream);
    let whole = read_requests(stream, 0);
    let mixed =
        stream.iter().fold(0x9e37_79b9_7f4a_7c15_u64, |all, b| (all ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    for pieces in [0x1111_1111_1111_1111, mixed] {
        assert_eq!(read_requests(stream, pieces), whole, "in pieces of {pieces:x}");
    }
    let mut rest = stream;
    for seen in &whole.0 {
        rest = rest.strip_prefix(&*seen.head).expect("the head is that of the stream");
        assert_strict(seen);
        let Some(body) = &seen.body else { break };
        assert!(body.len() <= LIMITS.max_body_bytes);
        match seen.framing {
            BodyFraming::Length(n) => {
                assert_eq!(body.len() as u64, n);
                rest = rest.strip_prefix(&**body).expect("the body is that of the stream");
            }
            BodyFraming::Chunked => rest = assert_chunks(rest, body),
        }
    }
    whole.0.iter().any(|seen| seen.body.is_some())
}

fn read_requests(stream: &[u8], pieces: u64) -> (Vec<ParsedRequest>, RequestError) {
    let (far, mut near) = UnixStream::pair().expect("two ends");
    near.write_all(stream).expect("it fits the socket's buffer");
    drop(near);
    let mut input =
        ReceiveBuffer::new(Arc::new(ClientStream::new(TcpStream::from(OwnedFd::from(far)), Arc::default())));
    PIECES.set(pieces);
    let (mut head, mut all) = (RequestHead::default(), Vec::new());
    loop {
        if let Err(fault) = head.read(&mut input, &LIMITS, LIMITS.head_timeout) {
            return (all, fault);
        }
        let bytes = input.head();
        all.push(ParsedRequest {
            head: bytes.to_vec(),
            method: head.method.to_string(),
            path: head.path(bytes).into(),
            framing: head.framing,
            close: head.close,
            expects_continue: head.expects_continue,
            body: None,
        });
        assert_same_headers(&head, bytes);
        let mut out = Vec::new();
        let done = body::read_body(&mut input, head.framing, &mut out, &LIMITS);
        // Memory grows with received bytes, not with announced ones.
        assert!(out.capacity() <= 2 * stream.len() + 64, "{} bytes for {}", out.capacity(), stream.len());
        if let Err(fault) = done {
            return (all, fault);
        }
        all.last_mut().expect("just put there").body = Some(out);
    }
}

/// Name and value of a header.
type HeaderField<'a> = (&'a [u8], &'a [u8]);

/// Splits a head into its first line and the headers.
fn split_head(head: &[u8]) -> (&[u8], Vec<HeaderField<'_>>) {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head).strip_suffix(b"\r\n\r\n").expect("a blank line at the end");
    let mut lines = head.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let headers = lines.map(|line| {
        let colon = line.iter().position(|b| *b == b':').expect("a colon");
        (&line[..colon], line[colon + 1..].trim_ascii())
    });
    (first, headers.collect())
}

fn assert_same_headers(head: &RequestHead, bytes: &[u8]) {
    let (_, headers) = split_head(bytes);
    for (name, _) in &headers {
        let all = headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        let name = str::from_utf8(name).expect("a name is ASCII");
        assert!(head.values(bytes, name).eq(all), "{name}");
    }
}

/// Checks that an accepted head is unambiguous (RFC 9112).
fn assert_strict(seen: &ParsedRequest) {
    let text = String::from_utf8_lossy(&seen.head);
    assert!(seen.head.len() <= LIMITS.max_head_bytes, "{text}");
    let line_ends = seen.head.windows(2).filter(|two| two == b"\r\n").count();
    assert!(seen.head.iter().filter(|b| **b == b'\r').count() == line_ends, "{text:?}");
    assert!(seen.head.iter().filter(|b| **b == b'\n').count() == line_ends, "{text:?}");
    assert!(seen.head.iter().all(|b| *b >= b' ' && *b != 0x7f || b"\r\n\t".contains(b)), "{text:?}");
    let (first, headers) = split_head(&seen.head);
    let words: Vec<&[u8]> = first.split(|b| *b == b' ').collect();
    let [method, target, version] = words[..] else { panic!("{text:?}") };
    assert_eq!(method, seen.method.as_bytes());
    assert!(target.starts_with(seen.path.as_bytes()) && seen.path.starts_with('/'), "{text:?}");
    assert!(matches!(version, b"HTTP/1.0" | b"HTTP/1.1"), "{text:?}");
    assert!(headers.len() <= LIMITS.max_headers);
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    assert!(headers.iter().all(|(name, _)| !name.is_empty() && name.iter().all(is_token)), "{text:?}");
    let of = |known: &str| {
        let all = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        all.map(|(_, value)| str::from_utf8(value).unwrap_or("not UTF-8")).collect::<Vec<_>>()
    };
    let framing = match (&of("content-length")[..], &of("transfer-encoding")[..]) {
        ([], []) => BodyFraming::Length(0),
        ([length], []) => {
            assert!(!length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()), "{text:?}");
            BodyFraming::Length(length.parse().unwrap_or(u64::MAX))
        }
        ([], [encoding]) => {
            assert!(encoding.eq_ignore_ascii_case("chunked") && version == b"HTTP/1.1", "{text:?}");
            BodyFraming::Chunked
        }
        _ => panic!("two lengths: {text:?}"),
    };
    assert_eq!(seen.framing, framing, "{text:?}");
    assert_eq!(seen.expects_continue, version == b"HTTP/1.1" && !of("expect").is_empty(), "{text:?}");
    assert!(seen.close || version == b"HTTP/1.1", "{text:?}");
    let [host] = of("host")[..] else { panic!("not one host: {text:?}") };
    let origins: Vec<_> = of("origin").into_iter().map(str::as_bytes).collect();
    let port = |ip| SocketAddr::new(ip, 8000);
    if GUARD.check(host.as_bytes(), origins.iter().copied(), port(LOCAL_ADDRESS), port(LOCAL_ADDRESS)).is_ok() {
        assert!(is_own_host(host), "{host:?} is answered for");
        let of_ours = |origin: &&[u8]| {
            let origin = str::from_utf8(origin).expect("as it was put together").to_ascii_lowercase();
            origin.strip_prefix("http://").or(origin.strip_prefix("https://")).is_some_and(is_own_host)
        };
        assert!(origins.len() < 2 && origins.iter().all(of_ours), "{text:?}");
    }
}

/// Checks that a host, with or without a port, is this machine.
fn is_own_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').expect("a bracket that closes"),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    let address = match host.starts_with('[') {
        true => name.parse::<Ipv6Addr>().map(|ip| IpAddr::V6(ip).to_canonical()).ok(),
        false => name.strip_suffix('.').unwrap_or(name).parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
    };
    let is_known = address.is_some_and(|ip| ip.is_loopback() || ip == LOCAL_ADDRESS)
        || matches!(name.to_ascii_lowercase().as_str(), "localhost" | "localhost.");
    is_known && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Returns the bytes after the chunks of a body, strictly by RFC 9112, 7.1.
fn assert_chunks<'a>(mut rest: &'a [u8], body: &[u8]) -> &'a [u8] {
    let mut joined = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("the end of a size");
        let size = str::from_utf8(&rest[..end]).expect("digits");
        assert!((1..=8).contains(&size.len()) && size.bytes().all(|b| b.is_ascii_hexdigit()), "{size:?}");
        let size = usize::from_str_radix(size, 16).expect("digits");
        rest = &rest[end + 2..];
        joined.extend_from_slice(&rest[..size]);
        rest = rest[size..].strip_prefix(b"\r\n").expect("the end of a chunk");
        if size == 0 {
            assert_eq!(joined, body);
            return rest;
        }
    }
}
