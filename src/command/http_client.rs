//! One small HTTP request of the program itself: to a running server, or to a service for notifications.
//!
//! Every step has a time limit, the answer a size limit, and TLS is verified. No error contains the URL, which may hold a
//! secret.

use super::deadline_socket::DeadlineSocket;
use proxmox_mcp::config::TlsVerification;
use proxmox_mcp::pve::client::tls::{TlsSetupError, build_client_config};
use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use std::io::{self, ErrorKind, Read, Write};
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The time of a whole request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 4 << 20;
const MAX_HEADERS: usize = 64;

/// An http or https URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    pub is_https: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    /// Path and query, with the slash at its start.
    pub target: String,
}

/// Failure of a request.
#[derive(Debug, Error)]
pub enum RequestFailure {
    #[error("the host was not found")]
    UnknownHost,
    #[error("no answer in time")]
    TimedOut,
    #[error("{0}")]
    Io(io::Error),
    #[error("{0}")]
    Tls(#[from] TlsSetupError),
    #[error("the host can't be verified: {0}")]
    HostName(#[from] InvalidDnsNameError),
    #[error("{0}")]
    Handshake(#[from] rustls::Error),
    #[error("the answer is not HTTP")]
    NotHttp,
}

impl From<io::Error> for RequestFailure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Io(error),
        }
    }
}

/// A request.
pub struct OwnRequest<'a> {
    pub method: &'static str,
    pub url: &'a HttpUrl,
    /// Names and values. They must have no line break.
    pub headers: &'a [(&'static str, &'a str)],
    pub body: &'a str,
    /// Authorities beside the public ones; empty for those alone.
    pub authorities: &'a [CertificateDer<'static>],
}

/// Status and body of an answer.
pub struct OwnAnswer {
    pub status: u16,
    pub body: String,
}

impl HttpUrl {
    /// Parses a URL without user and fragment.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\`<>#".contains(&b));
        let (scheme, rest) = text.split_once("://").filter(|_| is_plain)?;
        let is_https = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (authority, target) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
        let default_port = if is_https { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']')?;
                (
                    host,
                    port.strip_prefix(':')
                        .map_or(Some(default_port).filter(|_| port.is_empty()), |p| p.parse().ok())?,
                )
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, port.parse().ok()?),
                None => (authority, default_port),
            },
        };
        let is_host = !host.is_empty() && !host.contains('@');
        is_host.then(|| Self { is_https, host: host.to_owned(), port, target })
    }

    /// Returns the value of the Host header.
    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }
}

impl OwnRequest<'_> {
    /// Sends the request and reads the answer.
    pub fn send(&self) -> Result<OwnAnswer, RequestFailure> {
        let deadline = Instant::now() + TIMEOUT;
        let socket = self.connect(deadline)?;
        let mut bytes = Vec::new();
        if self.url.is_https {
            let tls = match self.authorities {
                [] => TlsVerification::PublicRoots,
                authorities => TlsVerification::Ca(authorities.to_vec()),
            };
            let name = ServerName::try_from(self.url.host.clone())?;
            let connection = ClientConnection::new(build_client_config(&tls)?, name)?;
            self.exchange(StreamOwned::new(connection, socket), &mut bytes)?;
        } else {
            self.exchange(socket, &mut bytes)?;
        }
        parse_answer(&bytes).ok_or(RequestFailure::NotHttp)
    }

    fn connect(&self, deadline: Instant) -> Result<DeadlineSocket, RequestFailure> {
        let addresses = (self.url.host.as_str(), self.url.port).to_socket_addrs();
        let mut failure = RequestFailure::UnknownHost;
        for address in addresses.map_err(|_| RequestFailure::UnknownHost)? {
            match DeadlineSocket::connect(address, deadline) {
                Ok(socket) => return Ok(socket),
                Err(error) => failure = error.into(),
            }
        }
        Err(failure)
    }

    fn exchange(&self, mut stream: impl Read + Write, answer: &mut Vec<u8>) -> io::Result<()> {
        let OwnRequest { method, url, body, .. } = self;
        let mut head = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAccept: application/json, */*\r\n\
             Content-Length: {}\r\n",
            url.target,
            url.authority(),
            body.len()
        );
        for (name, value) in self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        stream.flush()?;
        match stream.take(MAX_ANSWER_BYTES).read_to_end(answer) {
            // Some servers end a connection without the end of its TLS.
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(()),
        }
    }
}

/// Returns the status and the body of an answer. A body in chunks is returned as it was sent.
fn parse_answer(bytes: &[u8]) -> Option<OwnAnswer> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).ok()? else { return None };
    let body = String::from_utf8_lossy(&bytes[head..]).into_owned();
    Some(OwnAnswer { status: response.code?, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed_into_their_parts() {
        for (text, is_https, host, port, target) in [
            ("http://127.0.0.1:8000", false, "127.0.0.1", 8000, "/"),
            ("https://ntfy.sh/topic", true, "ntfy.sh", 443, "/topic"),
            ("https://[::1]:9/a?b=c", true, "::1", 9, "/a?b=c"),
            ("http://[::1]", false, "::1", 80, "/"),
            ("http://host?token=x", false, "host", 80, "/?token=x"),
        ] {
            let expected = HttpUrl { is_https, host: host.into(), port, target: target.into() };
            assert_eq!(HttpUrl::parse(text), Some(expected), "{text}");
        }
        for text in
            ["", "ntfy.sh", "ftp://x", "https://", "https://u:p@h/", "http://h:x/", "http://h/\r\nA: b", "http://h/#x"]
        {
            assert_eq!(HttpUrl::parse(text), None, "{text}");
        }
    }
}
