//! Fuzz target of requests, head and body, as a connection reads them.

use crate::base::memory::MemoryReservation;
use crate::config::Limits;
use crate::http::body;
use crate::http::client_stream::{ClientStream, PIECES};
use crate::http::guard::HostOriginPolicy;
use crate::http::head::{BodyFraming, RequestHead};
use crate::http::receive::ReceiveBuffer;
use crate::http::request_error::RequestError;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock};

/// Small limits, so that inputs reach them.
static LIMITS: LazyLock<Limits> =
    LazyLock::new(|| Limits { max_head_bytes: 600, max_headers: 12, max_body_bytes: 300, ..Limits::default() });
static HOST_POLICY: LazyLock<HostOriginPolicy> =
    LazyLock::new(|| HostOriginPolicy::new(&[], &[]).expect("an empty list is valid"));
const LOCAL_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

#[derive(Debug, PartialEq)]
struct ParsedRequest {
    head: Vec<u8>,
    method: String,
    path: String,
    framing: BodyFraming,
    close: bool,
    expects_continue: bool,
    /// The body, or `None` if it is invalid or incomplete.
    body: Option<Vec<u8>>,
}

/// Checks a stream of requests. Pieces of any size must give the same requests, with exactly the bytes of the stream.
/// Every accepted request must have one meaning only. Returns true if a request is accepted.
pub fn check_request(stream: &[u8]) -> bool {
    let stream = stream.get(..8 << 10).unwrap_or(stream);
    let whole = read_requests(stream, 0);
    let hash =
        stream.iter().fold(0x9e37_79b9_7f4a_7c15_u64, |all, b| (all ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    for pieces in [0x1111_1111_1111_1111, hash] {
        assert_eq!(read_requests(stream, pieces), whole, "pieces {pieces:x}");
    }
    let mut rest = stream;
    for request in &whole.0 {
        rest = rest.strip_prefix(&*request.head).expect("the head has the bytes of the stream");
        assert_strict(request);
        let Some(body) = &request.body else { break };
        assert!(body.len() <= LIMITS.max_body_bytes);
        match request.framing {
            BodyFraming::Length(n) => {
                assert_eq!(body.len() as u64, n);
                rest = rest.strip_prefix(&**body).expect("the body has the bytes of the stream");
            }
            BodyFraming::Chunked => rest = assert_chunks(rest, body),
        }
    }
    whole.0.iter().any(|request| request.body.is_some())
}

fn read_requests(stream: &[u8], pieces: u64) -> (Vec<ParsedRequest>, RequestError) {
    let (server, mut client) = UnixStream::pair().expect("a socket pair");
    client.write_all(stream).expect("the stream fits the socket's buffer");
    drop(client);
    let mut input =
        ReceiveBuffer::new(Arc::new(ClientStream::new(TcpStream::from(OwnedFd::from(server)), Arc::default())));
    PIECES.set(pieces);
    let (mut head, mut requests) = (RequestHead::default(), Vec::new());
    loop {
        if let Err(error) = head.read(&mut input, &LIMITS, LIMITS.head_timeout) {
            return (requests, error);
        }
        let bytes = input.head();
        requests.push(ParsedRequest {
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
        let result = body::read_body(&mut input, head.framing, &mut out, &mut MemoryReservation::default(), &LIMITS);
        // Only received bytes use memory, not announced ones.
        assert!(out.capacity() <= 2 * stream.len() + 64, "{} bytes for {}", out.capacity(), stream.len());
        if let Err(error) = result {
            return (requests, error);
        }
        requests.last_mut().expect("a request was pushed").body = Some(out);
    }
}

struct RawHeader<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

/// Splits a head into its request line and its headers.
fn split_head(head: &[u8]) -> (&[u8], Vec<RawHeader<'_>>) {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head).strip_suffix(b"\r\n\r\n").expect("a blank line at the end");
    let mut lines = head.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().expect("a split has a first part");
    let headers = lines.map(|line| {
        let colon = line.iter().position(|b| *b == b':').expect("a colon");
        RawHeader { name: &line[..colon], value: line[colon + 1..].trim_ascii() }
    });
    (first, headers.collect())
}

fn assert_same_headers(head: &RequestHead, bytes: &[u8]) {
    let (_, headers) = split_head(bytes);
    for RawHeader { name, .. } in &headers {
        let values = headers.iter().filter(|other| other.name.eq_ignore_ascii_case(name)).map(|other| other.value);
        let name = str::from_utf8(name).expect("a name is ASCII");
        assert!(head.values(bytes, name).eq(values), "{name}");
    }
}

/// Checks that two parsers cannot read an accepted head differently (RFC 9112).
fn assert_strict(request: &ParsedRequest) {
    let text = String::from_utf8_lossy(&request.head);
    assert!(request.head.len() <= LIMITS.max_head_bytes, "{text}");
    let line_ends = request.head.windows(2).filter(|two| two == b"\r\n").count();
    assert!(request.head.iter().filter(|b| **b == b'\r').count() == line_ends, "{text:?}");
    assert!(request.head.iter().filter(|b| **b == b'\n').count() == line_ends, "{text:?}");
    assert!(request.head.iter().all(|b| *b >= b' ' && *b != 0x7f || b"\r\n\t".contains(b)), "{text:?}");
    let (first, headers) = split_head(&request.head);
    let words: Vec<&[u8]> = first.split(|b| *b == b' ').collect();
    let [method, target, version] = words[..] else { panic!("{text:?}") };
    assert_eq!(method, request.method.as_bytes());
    assert!(target.starts_with(request.path.as_bytes()) && request.path.starts_with('/'), "{text:?}");
    assert!(matches!(version, b"HTTP/1.0" | b"HTTP/1.1"), "{text:?}");
    assert!(headers.len() <= LIMITS.max_headers);
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    assert!(headers.iter().all(|header| !header.name.is_empty() && header.name.iter().all(is_token)), "{text:?}");
    let values = |known: &str| {
        let matching = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(known.as_bytes()));
        matching.map(|header| str::from_utf8(header.value).unwrap_or("not UTF-8")).collect::<Vec<_>>()
    };
    let framing = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
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
    assert_eq!(request.framing, framing, "{text:?}");
    assert_eq!(request.expects_continue, version == b"HTTP/1.1" && !values("expect").is_empty(), "{text:?}");
    assert!(request.close || version == b"HTTP/1.1", "{text:?}");
    let hosts = values("host");
    let host = match hosts[..] {
        [host] => Some(host),
        [] if version == b"HTTP/1.0" => None,
        _ => panic!("not one host: {text:?}"),
    };
    let origins: Vec<_> = values("origin").into_iter().map(str::as_bytes).collect();
    let port = |ip| SocketAddr::new(ip, 8000);
    let (local, peer) = (port(LOCAL_ADDRESS), port(LOCAL_ADDRESS));
    if HOST_POLICY.check_host(host.map(str::as_bytes), local, peer).is_ok() {
        assert!(host.is_some_and(is_own_host), "{host:?} is accepted");
    }
    if HOST_POLICY.check_origin(origins.iter().copied(), local, peer).is_ok() {
        let is_own_origin = |origin: &&[u8]| {
            let origin = str::from_utf8(origin).expect("it was built from a str").to_ascii_lowercase();
            origin.strip_prefix("http://").or(origin.strip_prefix("https://")).is_some_and(is_own_host)
        };
        assert!(origins.len() < 2 && origins.iter().all(is_own_origin), "{text:?}");
    }
}

/// Returns true if a host, with or without a port, is this machine and no name that an attacker can own.
fn is_own_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').expect("a bracket that closes"),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    let address = match host.starts_with('[') {
        true => name.split('%').next().unwrap_or(name).parse::<Ipv6Addr>().map(|ip| IpAddr::V6(ip).to_canonical()).ok(),
        false => name.strip_suffix('.').unwrap_or(name).parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
    };
    let is_known = address.is_some_and(|ip| ip.is_loopback() || ip == LOCAL_ADDRESS)
        || matches!(name.to_ascii_lowercase().as_str(), "localhost" | "localhost.");
    is_known && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Checks the chunks of a body (RFC 9112, 7.1, without extensions) and returns the bytes after them.
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
