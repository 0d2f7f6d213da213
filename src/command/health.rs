//! `health`: asks a running server for its health, over plain HTTP or, if the port speaks TLS, over TLS.
//!
//! The server's certificate is not checked: it need not name the loopback address, and no secret is sent.
//!
//! A server on this machine may listen on one address family only, and not the one that the flag names. So both loopback
//! addresses are asked.

use super::deadline_socket::DeadlineSocket;
use super::failure::Failure;
use super::listeners::connect_addresses;
use super::output::{print_stdout, printable};
use proxmox_mcp::config::TlsVerification;
use proxmox_mcp::pve::client::tls::build_client_config;
use rustls::{ClientConnection, Stream};
use rustls_pki_types::ServerName;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Time limit of the check. Container engines give it 30 s by default.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the server that listens on `listen` for its health.
pub fn run(listen: SocketAddr) -> Result<(), Failure> {
    if listen.port() == 0 {
        return Err(Failure::Usage(
            "cannot check port 0: health needs the server's real port. hint: name it with --listen".into(),
        ));
    }
    let addresses = connect_addresses(listen);
    let started = Instant::now();
    let mut failures = Vec::new();
    for (number, address) in (1..).zip(&addresses) {
        // An address that swallows packets must leave time for the next one.
        let deadline = started + TIMEOUT * number / addresses.len() as u32;
        match check_address(*address, deadline) {
            Ok(()) => {
                print_stdout(&format!("✓ {address} is up\n"));
                return Ok(());
            }
            Err(cause) => failures.push(format!("at {address}: {cause}")),
        }
    }
    let failures = failures.join("; ");
    Err(Failure::Runtime(format!("no healthy server {failures}. hint: --listen names the server's address")))
}

/// Asks one address for its health. The error is the cause as text.
fn check_address(address: SocketAddr, deadline: Instant) -> Result<(), String> {
    let result = match fetch_status_line(address, deadline, false) {
        // A port that speaks TLS answers plain HTTP with 400.
        Ok(line) if status_code(&line) == Some(400) => fetch_status_line(address, deadline, true),
        other => other,
    };
    match result {
        Ok(line) if status_code(&line) == Some(200) => Ok(()),
        Ok(line) => Err(format!("it answered \"{}\"", printable(&line))),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err("nothing listens there".into()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err("no answer in time".into())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn status_code(status_line: &str) -> Option<u16> {
    status_line.split(' ').nth(1)?.parse().ok()
}

/// Returns the first line of the answer to `GET /healthz`.
fn fetch_status_line(address: SocketAddr, deadline: Instant, tls: bool) -> io::Result<String> {
    let mut socket = DeadlineSocket::connect(address, deadline)?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    if !tls {
        return request_status_line(&mut socket, &request);
    }
    let config = build_client_config(&TlsVerification::Unverified).map_err(io::Error::other)?;
    let name = ServerName::IpAddress(address.ip().into());
    let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    request_status_line(&mut Stream::new(&mut connection, &mut socket), &request)
}

fn request_status_line(server: &mut dyn ReadWrite, request: &str) -> io::Result<String> {
    const MAX_LENGTH: usize = 256;
    server.write_all(request.as_bytes())?;
    let mut line = Vec::new();
    let mut part = [0; MAX_LENGTH];
    loop {
        if let Some(end) = line.iter().position(|b| *b == b'\r' || *b == b'\n') {
            line.truncate(end);
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
        if line.len() > MAX_LENGTH {
            return Err(io::Error::other("the answer is not HTTP"));
        }
        match server.read(&mut part)? {
            0 => return Err(io::Error::other("it closed the connection without an answer")),
            n => line.extend(part.iter().take(n)),
        }
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A server that gives its one client `answer` and closes.
    fn serving(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
        });
        address
    }

    #[test]
    fn health_accepts_status_200_alone() {
        assert!(run(serving(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).is_ok());
        for answer in [
            &b"HTTP/1.1 400 Bad\r\n\r\n"[..],
            &b"HTTP/1.1 503 Busy\r\n\r\n"[..],
            b"",
            b"SSH-2.0-x\r\n",
            b"HTTP/1.1 200",
        ] {
            assert!(matches!(run(serving(answer)), Err(Failure::Runtime(_))));
        }
    }

    #[test]
    fn health_finds_a_server_of_the_other_address_family() {
        let (Ok(v4), Ok(v6)) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("[::1]:0")) else { return };
        drop((v4, v6));
        for bound in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(bound).expect("bind");
            let port = listener.local_addr().expect("address").port();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.expect("accept");
                    let _ = stream.read(&mut [0; 1024]);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                }
            });
            for ip in ["127.0.0.1", "::1", "0.0.0.0", "::"] {
                let listen = SocketAddr::new(ip.parse().expect("an address"), port);
                assert!(run(listen).is_ok(), "{listen} for {bound}");
            }
        }
    }

    #[test]
    fn health_of_a_silent_server_ends_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let result = fetch_status_line(address, Instant::now() + Duration::from_millis(50), false);
        assert!(result.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)));
    }

    #[test]
    fn health_names_the_address_it_asked() {
        let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("address");
        let Err(Failure::Runtime(text)) = run(closed) else { panic!("the port is closed") };
        assert!(text.contains(&closed.to_string()) && text.contains("--listen"), "{text}");
        assert!(text.contains(&format!("[::1]:{}", closed.port())), "{text}");
        assert!(matches!(run(([127, 0, 0, 1], 0).into()), Err(Failure::Usage(_))));
    }
}
