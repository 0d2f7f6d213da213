//! One connection to a node, below ureq: TCP, TLS if the endpoint has it, and information about the exchange.
//!
//! [`NodeConnection`] is the transport below ureq and provides what ureq does not: the reason phrase of a status line,
//! whether a request was sent before it failed, and a way to wake one blocked call. It writes them into the
//! [`ExchangeInfo`] of the calling thread (ureq runs a call on the thread that makes it).

use crate::base::cancel::{CancelToken, HookGuard};
use crate::pve::client::host_resolver::{HostResolver, NoNameServerError, ResolveError};
use crate::pve::client::tcp::TcpConnection;
use crate::pve::client::tls;
use crate::pve::knowledge::text::to_visible_start;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ArrayVec, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::Transport;
use ureq::unversioned::transport::time::{Duration, Instant};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, ShutdownHandle};

/// Size of a head, added to the limit on the body.
const HEAD_ALLOWANCE: u64 = 64 << 10;

thread_local! {
    /// The exchange of this thread.
    static EXCHANGE: RefCell<Option<Exchange>> = const { RefCell::new(None) };
}

/// The exchange of a thread.
struct Exchange {
    cancel: CancelToken,
    info: ExchangeInfo,
    /// Shuts the exchange's socket down on a cancellation.
    hook: Option<HookGuard>,
}

impl Exchange {
    /// Returns true, and records it, if the caller's rights no longer allow the request.
    fn refuse_unless_permitted(&mut self) -> bool {
        self.info.is_refused = !self.cancel.may_send();
        self.info.is_refused
    }
}

/// Information about one exchange.
#[derive(Debug, Default)]
pub(in crate::pve) struct ExchangeInfo {
    /// Bytes of the request may have been sent. Set before the first attempt, because a failed attempt may have sent
    /// some.
    pub(in crate::pve) sent: bool,
    /// The caller's rights no longer allowed the request when it was about to be sent.
    pub(in crate::pve) is_refused: bool,
    /// The complete head of the answer arrived.
    pub(in crate::pve) head_received: bool,
    /// The reason phrase of the status line; empty for 200.
    pub(in crate::pve) reason: String,
    /// The start of an answer that is not HTTP, if it is text.
    pub(in crate::pve) start: String,
    /// Limit on the body as it arrives, compressed or not.
    max_body_bytes: u64,
}

/// Scope of this thread's exchange, from before the connection until the answer is read.
pub(in crate::pve) struct ExchangeScope(());

impl ExchangeScope {
    /// Starts an exchange whose body has at most `max_body_bytes` as it arrives, compressed or not.
    pub(in crate::pve) fn start(cancel: &CancelToken, max_body_bytes: u64) -> Self {
        let info = ExchangeInfo { max_body_bytes, ..ExchangeInfo::default() };
        EXCHANGE.set(Some(Exchange { cancel: cancel.clone(), info, hook: None }));
        Self(())
    }

    /// Takes the information collected so far.
    pub(in crate::pve) fn take_info(&self) -> ExchangeInfo {
        with_exchange(|exchange| std::mem::take(&mut exchange.info))
            .expect("the scope sets the thread's exchange until it is dropped")
    }
}

impl Drop for ExchangeScope {
    fn drop(&mut self) {
        EXCHANGE.set(None);
    }
}

fn with_exchange<T>(f: impl FnOnce(&mut Exchange) -> T) -> Option<T> {
    EXCHANGE.with_borrow_mut(|exchange| exchange.as_mut().map(f))
}

fn downgrade(socket: &Arc<TcpStream>) -> Weak<dyn ShutdownHandle> {
    Arc::downgrade(socket) as Weak<dyn ShutdownHandle>
}

/// Makes a cancellation of this thread's call shut `sockets` down, which wakes the thread that uses them.
fn shutdown_on_cancel(sockets: impl AsRef<[Weak<dyn ShutdownHandle>]> + Send + 'static) {
    with_exchange(|exchange| {
        exchange.hook = Some(exchange.cancel.on_cancel(Box::new(move || {
            sockets.as_ref().iter().filter_map(Weak::upgrade).for_each(|socket| socket.shutdown());
        })));
    });
}

/// Resolver that resolves nothing: ureq resolves on a new thread each time, before it looks into its pool.
/// [`NodeConnector`] resolves only when it makes a connection.
#[derive(Debug)]
pub(in crate::pve) struct DeferredResolver;

impl Resolver for DeferredResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// The address of each host that accepted the last connection. It is tried first: a name may have a dead address, which
/// would otherwise cost each connection its share of the time.
#[derive(Clone, Default)]
pub(in crate::pve) struct LastAddresses(Arc<Mutex<HashMap<String, SocketAddr>>>);

impl LastAddresses {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the last address of the host to the front.
    fn put_first(&self, host: &str, addresses: &mut [SocketAddr]) {
        if let Some(last) = self.lock().get(host).filter(|_| addresses.len() > 1) {
            addresses.sort_by_key(|address| address != last);
        }
    }

    fn record(&self, host: &str, address: SocketAddr) {
        self.lock().insert(host.to_owned(), address);
    }
}

/// Connector of one cluster.
#[derive(Clone)]
pub(in crate::pve) struct NodeConnector {
    pub(in crate::pve) tls: Arc<ClientConfig>,
    pub(in crate::pve) resolver: HostResolver,
    pub(in crate::pve) last_addresses: LastAddresses,
}

impl fmt::Debug for NodeConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeConnector")
    }
}

impl Connector<()> for NodeConnector {
    type Out = NodeConnection;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<NodeConnection>, ureq::Error> {
        let host = details.uri.host().ok_or(ureq::Error::HostNotFound)?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let mut addrs = resolve_host(&self.resolver, host, details.uri.port_u16().unwrap_or(8006), details.timeout)?;
        self.last_addresses.put_first(host, &mut addrs);

        let mut tcp = TcpConnection::connect(&addrs, remaining_connect_time(details)?, &|sockets| {
            shutdown_on_cancel(sockets.iter().map(downgrade).collect::<Vec<_>>());
        })?;
        if addrs.len() > 1 {
            self.last_addresses.record(host, tcp.socket().peer_addr()?);
        }
        let socket = downgrade(tcp.socket());
        // Set before the handshake, so that it can be cancelled too.
        shutdown_on_cancel([socket.clone()]);
        (details.register_shutdown)(socket.clone())?;

        let stream = if details.needs_tls() {
            // Before the first write, so that a failure is known to be TLS and nothing was sent.
            tcp.set_timeout(remaining_connect_time(details)?);
            let connection = tls::handshake(&self.tls, host, &mut tcp)?;
            NodeStream::Tls(Box::new(StreamOwned::new(connection, tcp)))
        } else {
            NodeStream::Plain(tcp)
        };
        let config = details.config;
        let lazy = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(NodeConnection {
            stream,
            buffers: StatusLineBuffers { lazy, awaits_head: false, status_line: StatusLine::default() },
            socket,
            idle: true,
            received_bytes: 0,
            max_body_bytes: 0,
        }))
    }
}

/// Returns the time left to connect. ureq gives every connector of a chain the whole time.
fn remaining_connect_time(details: &ConnectionDetails) -> Result<NextTimeout, ureq::Error> {
    let mut timeout = details.timeout;
    if let (Duration::Exact(total), Instant::Exact(start)) = (timeout.after, details.now) {
        let left = total.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(ureq::Error::Timeout(timeout.reason));
        }
        timeout.after = Duration::Exact(left);
    }
    Ok(timeout)
}

/// Returns the addresses of `host`, as many as ureq accepts.
fn resolve_host(
    resolver: &HostResolver,
    host: &str,
    port: u16,
    timeout: NextTimeout,
) -> Result<ResolvedSocketAddrs, ureq::Error> {
    const MAX_ADDRESSES: usize = 16;
    let mut addrs: ResolvedSocketAddrs = ArrayVec::from_fn(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    if let Ok(ip) = host.parse::<IpAddr>() {
        addrs.push(SocketAddr::new(ip, port));
        return Ok(addrs);
    }
    let cancel = with_exchange(|exchange| exchange.cancel.clone()).expect("a node is resolved within an exchange");
    let found = resolver.resolve(host, *timeout.after, &cancel).map_err(|error| match error {
        // The system's message ("failed to lookup address information: …") says no more than this.
        ResolveError::NotFound => ureq::Error::HostNotFound,
        ResolveError::TimedOut => ureq::Error::Timeout(timeout.reason),
        ResolveError::NoNameServer => io::Error::other(NoNameServerError).into(),
        ResolveError::Cancelled => io::Error::from(io::ErrorKind::Interrupted).into(),
    })?;
    for mut addr in found.into_iter().take(MAX_ADDRESSES) {
        addr.set_port(port);
        addrs.push(addr);
    }
    Ok(addrs)
}

enum NodeStream {
    Plain(TcpConnection),
    Tls(Box<StreamOwned<ClientConnection, TcpConnection>>),
}

/// Connection to a node.
pub(in crate::pve) struct NodeConnection {
    stream: NodeStream,
    buffers: StatusLineBuffers,
    socket: Weak<dyn ShutdownHandle>,
    /// No request was sent since the end of the last answer.
    idle: bool,
    /// Bytes of the current answer as they arrived, compressed or not. Endless gzip may decompress to nothing.
    received_bytes: u64,
    /// Limit on these bytes, without the head.
    max_body_bytes: u64,
}

impl fmt::Debug for NodeConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeConnection")
    }
}

impl NodeConnection {
    fn tcp(&mut self) -> &mut TcpConnection {
        match &mut self.stream {
            NodeStream::Plain(tcp) => tcp,
            NodeStream::Tls(tls) => &mut tls.sock,
        }
    }
}

impl Transport for NodeConnection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        if self.idle {
            shutdown_on_cancel([self.socket.clone()]);
            if with_exchange(|exchange| exchange.cancel.is_cancelled()) == Some(true) {
                return Err(io::Error::from(io::ErrorKind::Interrupted).into());
            }
            // The last moment: making the connection may have taken seconds.
            if with_exchange(|exchange| exchange.refuse_unless_permitted()) == Some(true) {
                return Err(io::Error::from(io::ErrorKind::PermissionDenied).into());
            }
            self.max_body_bytes = with_exchange(|exchange| {
                exchange.info.sent = true;
                exchange.info.max_body_bytes
            })
            .expect("a request is sent within the scope of an exchange");
            self.idle = false;
            self.received_bytes = 0;
            self.buffers.awaits_head = true;
            self.buffers.status_line = StatusLine::default();
        }
        self.tcp().set_timeout(timeout);
        let output = self.buffers.lazy.output().get(..amount).expect("ureq wrote so many bytes");
        match &mut self.stream {
            NodeStream::Plain(stream) => stream.write_all(output)?,
            NodeStream::Tls(stream) => stream.write_all(output)?,
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.tcp().set_timeout(timeout);
        let input = self.buffers.lazy.input_append_buf();
        let amount = match &mut self.stream {
            NodeStream::Plain(stream) => stream.read(input)?,
            NodeStream::Tls(stream) => stream.read(input)?,
        };
        if self.buffers.awaits_head
            && let Some(received) = input.get_mut(..amount)
        {
            if self.received_bytes == 0 && !received.starts_with(b"HTTP/") {
                with_exchange(|exchange| exchange.info.start = to_visible_start(received));
            }
            self.buffers.status_line.receive(received);
        }
        self.buffers.lazy.input_appended(amount);
        self.received_bytes += amount as u64;
        if self.received_bytes > self.max_body_bytes.saturating_add(HEAD_ALLOWANCE) {
            return Err(ureq::Error::BodyExceedsLimit(self.max_body_bytes));
        }
        Ok(amount > 0)
    }

    /// Called by ureq before it puts a connection into its pool and when it takes one out.
    fn is_open(&mut self) -> bool {
        self.idle = true;
        // Another call may take this connection before the current one has returned. A cancellation of the current call
        // must not reach it then.
        with_exchange(|exchange| exchange.hook = None);
        // Bytes beyond the answer would be read as the start of the next one.
        let is_clean = match &mut self.stream {
            NodeStream::Plain(_) => true,
            NodeStream::Tls(tls) => {
                tls.conn.process_new_packets().is_ok_and(|s| s.plaintext_bytes_to_read() == 0 && !s.peer_has_closed())
            }
        };
        is_clean && self.tcp().is_idle()
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, NodeStream::Tls(_))
    }
}

/// Buffers that parse the status line when it is consumed. ureq consumes a head in one step, once it is complete.
struct StatusLineBuffers {
    lazy: LazyBuffers,
    awaits_head: bool,
    status_line: StatusLine,
}

/// Status line as it arrives.
///
/// Proxmox writes the text of a failed command into it, with the control characters of that command. The parser behind
/// ureq rejects them, so they are kept here and blanked in its buffer.
#[derive(Default)]
struct StatusLine {
    raw: Vec<u8>,
    is_complete: bool,
    /// Bytes of the current header line, without its end.
    header_bytes: usize,
}

impl StatusLine {
    /// Keeps the bytes of the line, and blanks the control characters in the buffer of the parser.
    fn receive(&mut self, received: &mut [u8]) {
        for byte in received {
            if self.is_complete {
                match *byte {
                    b'\n' if self.header_bytes == 0 && self.is_interim() => *self = Self::default(),
                    // The rest is the body.
                    b'\n' if self.header_bytes == 0 => return,
                    b'\n' => self.header_bytes = 0,
                    b'\r' => {}
                    _ => self.header_bytes += 1,
                }
                continue;
            }
            match *byte {
                // The parser tolerates empty lines before the status line.
                b'\r' | b'\n' if self.raw.is_empty() => continue,
                b'\n' => self.is_complete = true,
                other => self.raw.push(other),
            }
            if byte.is_ascii_control() && *byte != b'\n' {
                *byte = b' ';
            }
        }
    }

    /// Returns whether another status line follows the headers.
    fn is_interim(&self) -> bool {
        parse_status_line(&self.raw).is_some_and(|(status, _)| is_interim(status))
    }

    /// Returns the reason phrase on one line, with visible control characters.
    fn reason(&self) -> String {
        let Some((_, reason)) = parse_status_line(&self.raw) else { return String::new() };
        let reason = match str::from_utf8(reason) {
            Ok(text) => text.to_owned(),
            // Each byte as a character of Latin-1.
            Err(_) => reason.iter().map(|byte| char::from(*byte)).collect(),
        };
        let visible = reason.trim().chars().map(|c| match c {
            _ if c.is_control() && c.is_whitespace() => ' ',
            // Unicode has a picture of each control character of ASCII.
            '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
            '\x7f' => '\u{2421}',
            _ if c.is_control() => char::REPLACEMENT_CHARACTER,
            _ => c,
        });
        visible.collect()
    }
}

impl Buffers for StatusLineBuffers {
    fn output(&mut self) -> &mut [u8] {
        self.lazy.output()
    }

    fn input(&self) -> &[u8] {
        self.lazy.input()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.lazy.input_append_buf()
    }

    fn input_appended(&mut self, amount: usize) {
        self.lazy.input_appended(amount);
    }

    fn input_consume(&mut self, amount: usize) {
        if self.awaits_head
            && let Some(head @ [_, ..]) = self.lazy.input().get(..amount)
            && let Some((status, _)) = parse_status_line(head)
        {
            self.awaits_head = is_interim(status);
            if !self.awaits_head {
                let reason = std::mem::take(&mut self.status_line).reason();
                with_exchange(|Exchange { info, .. }| {
                    info.head_received = true;
                    if status != 200 {
                        info.reason = reason;
                    }
                });
            }
        }
        self.lazy.input_consume(amount);
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.lazy.tmp_and_output()
    }

    fn can_use_input(&self) -> bool {
        self.lazy.can_use_input()
    }
}

/// Returns whether a status precedes the final head. 101 would be final.
fn is_interim(status: u16) -> bool {
    (100..200).contains(&status) && status != 101
}

/// Parses status and reason phrase of a head.
fn parse_status_line(head: &[u8]) -> Option<(u16, &[u8])> {
    // The parser behind ureq tolerates empty lines before the status line.
    let line = head.trim_ascii_start().split(|b| *b == b'\n').next()?;
    let mut words = line.splitn(3, |b| *b == b' ').skip(1);
    let status = std::str::from_utf8(words.next()?.trim_ascii_end()).ok()?.parse().ok()?;
    Some((status, words.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_worked_last_is_tried_first() {
        let last = LastAddresses::default();
        let [dead, well, other]: [SocketAddr; 3] =
            ["[2001:db8::1]:8006", "192.0.2.1:8006", "192.0.2.2:8006"].map(|text| text.parse().unwrap());
        let order = |host| {
            let mut addresses = [dead, well, other];
            last.put_first(host, &mut addresses);
            addresses
        };
        assert_eq!(order("pve1"), [dead, well, other]);
        last.record("pve1", well);
        assert_eq!((order("pve1"), order("pve2")), ([well, dead, other], [dead, well, other]));
        last.record("pve1", other);
        assert_eq!(order("pve1"), [other, dead, well]);
    }

    #[test]
    fn status_lines_of_every_form_are_parsed() {
        for (head, status, reason) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", 200, "OK\r"),
            (
                "\r\n\nHTTP/1.1 403 Permission check failed (/vms/100, VM.Audit)\n\n",
                403,
                "Permission check failed (/vms/100, VM.Audit)",
            ),
            ("HTTP/1.1 401\r\n\r\n", 401, ""),
            ("HTTP/1.1 401 \r\n\r\n", 401, "\r"),
            ("HTTP/1.0 500 über\r\n\r\n", 500, "über\r"),
        ] {
            assert_eq!(parse_status_line(head.as_bytes()), Some((status, reason.as_bytes())), "{head}");
        }
        assert_eq!(parse_status_line(b"junk"), None);
    }

    #[test]
    fn control_characters_of_a_status_line_are_blanked_for_the_parser_and_kept_visible() {
        for (received, blanked, reason) in [
            (&b"HTTP/1.1 500 \x1b[31mno\x00pe\r\nA: \x01"[..], &b"HTTP/1.1 500  [31mno pe \nA: \x01"[..], "␛[31mno␀pe"),
            (b"HTTP/1.1 400 a\rb\r\n", b"HTTP/1.1 400 a b \n", "a b"),
            (b"HTTP/1.1 500 Gr\xfc\xdfe\r\n", b"HTTP/1.1 500 Gr\xfc\xdfe \n", "Gr\u{fc}\u{df}e"),
            (b"\r\nHTTP/1.1 401\r\n", b"\r\nHTTP/1.1 401 \n", ""),
        ] {
            let (mut buffer, mut line) = (received.to_vec(), StatusLine::default());
            // In two parts, as a network delivers them.
            let (first, second) = buffer.split_at_mut(10);
            line.receive(first);
            line.receive(second);
            assert_eq!(buffer, blanked);
            assert_eq!(line.reason(), reason);
            assert!(line.is_complete);
        }
    }

    #[test]
    fn an_address_is_not_looked_up() {
        let addrs = resolve_host(&HostResolver::default(), "::1", 8006, NextTimeout::default()).unwrap();
        assert_eq!(addrs.to_vec(), ["[::1]:8006".parse().unwrap()]);
    }
}
