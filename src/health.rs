//! `health`: is the server up? It asks as any client does, in clear text or, where the port says that it speaks TLS, over
//! that.
//!
//! The server's certificate is not checked: it need not name the loopback address, no secret is sent, and what is asked
//! is whether somebody answers.

use crate::logging::printable;
use crate::serve::reachable;
use crate::{Failure, say};
use proxmox_mcp::pve::client_config;
use proxmox_mcp::settings::Tls;
use rustls::{ClientConnection, Stream};
use rustls_pki_types::ServerName;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long it waits; container engines give a check 30 s unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the server that listens on `listen` whether it is up.
pub fn ask_server(listen: SocketAddr) -> Result<(), Failure> {
    if listen.port() == 0 {
        return Err(Failure::Usage("health needs the server's real port: name it with --listen".into()));
    }
    let address = reachable(listen);
    let failed = |why: String| {
        Failure::Runtime(format!("no healthy server at {address}: {why} (--listen says where it listens)"))
    };
    let deadline = Instant::now() + TIMEOUT;
    let asked = match status_line(address, deadline, false) {
        // What a port that speaks TLS says to plain HTTP.
        Ok(line) if status(&line) == Some("400") => status_line(address, deadline, true),
        asked => asked,
    };
    match asked {
        Ok(line) if status(&line) == Some("200") => {
            say(&format!("✓ {address} is up\n"));
            Ok(())
        }
        Ok(line) => Err(failed(format!("it answered \"{}\"", printable(&line)))),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(failed("nothing listens there".into())),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err(failed("no answer in time".into()))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

fn status(line: &str) -> Option<&str> {
    line.split(' ').nth(1)
}

/// The first line of the answer to `GET /healthz`.
fn status_line(address: SocketAddr, deadline: Instant, tls: bool) -> io::Result<String> {
    let mut socket = Timed { socket: TcpStream::connect_timeout(&address, left(deadline))?, deadline };
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    if !tls {
        return ask(&mut socket, &request);
    }
    let config = client_config(&Tls::Unverified).map_err(io::Error::other)?;
    let name = ServerName::IpAddress(address.ip().into());
    let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    ask(&mut Stream::new(&mut connection, &mut socket), &request)
}

fn ask(server: &mut dyn Conversation, request: &str) -> io::Result<String> {
    const LONGEST: usize = 256;
    server.write_all(request.as_bytes())?;
    let mut line = Vec::new();
    let mut part = [0; LONGEST];
    loop {
        if let Some(end) = line.iter().position(|b| *b == b'\r' || *b == b'\n') {
            line.truncate(end);
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
        if line.len() > LONGEST {
            return Err(io::Error::other("no HTTP answer"));
        }
        match server.read(&mut part)? {
            0 => return Err(io::Error::other("it closed the connection without an answer")),
            n => line.extend(part.iter().take(n)),
        }
    }
}

trait Conversation: Read + Write {}
impl<T: Read + Write> Conversation for T {}

/// A socket whose every read and write ends with the deadline.
struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if Instant::now() >= self.deadline {
            return Err(ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left(self.deadline)))?;
        self.socket.read(into)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.deadline)))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket with a time limit of zero is an error, not one that is over.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

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
    fn health_is_a_200_and_nothing_else() {
        assert!(ask_server(serving(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).is_ok());
        for answer in [
            &b"HTTP/1.1 400 Bad\r\n\r\n"[..],
            &b"HTTP/1.1 503 Busy\r\n\r\n"[..],
            b"",
            b"SSH-2.0-x\r\n",
            b"HTTP/1.1 200",
        ] {
            assert!(matches!(ask_server(serving(answer)), Err(Failure::Runtime(_))));
        }
    }

    #[test]
    fn health_of_a_silent_server_ends_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let result = status_line(address, Instant::now() + Duration::from_millis(50), false);
        assert!(result.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)));
    }

    #[test]
    fn health_says_where_it_looked() {
        let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("address");
        let Err(Failure::Runtime(text)) = ask_server(closed) else { panic!("nobody listens there") };
        assert!(text.contains(&closed.to_string()) && text.contains("--listen"), "{text}");
        assert!(matches!(ask_server(([127, 0, 0, 1], 0).into()), Err(Failure::Usage(_))));
    }
}
