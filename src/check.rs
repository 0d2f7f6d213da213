//! `check`: is the configuration right, does each cluster answer, what may its token do? `health`: is the server up?

use crate::cli::Cli;
use crate::logging::printable;
use crate::serve::{Source, nodes, reachable, source, token};
use crate::{Failure, clients, say};
use proxmox_mcp::cancel::Cancel;
use proxmox_mcp::pve::cluster::Cluster;
use proxmox_mcp::pve::manager::ClusterManager;
use proxmox_mcp::pve::params::Params;
use proxmox_mcp::pve::{Method, path::ApiPath};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How long `health` waits; container engines give a check 30 s unless told otherwise.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks the configuration and asks all clusters at once; a line each, in the file's order.
pub fn clusters(cli: &Cli) -> Result<(), Failure> {
    let Source { clusters, name, .. } = &source(cli)?;
    let manager = ClusterManager::new(clusters, cli.limits()).map_err(Failure::Usage)?;
    let total = manager.all().len();
    let default = clusters.default.as_ref().map(|name| format!(", default {name}")).unwrap_or_default();
    say(&format!("✓ {name}: {total} cluster{}{default}\n", if total == 1 { "" } else { "s" }));
    let clients = clients::configured(cli, clusters)?;
    if !clients.is_empty() {
        say(&format!("✓ clients: {}\n", clients::names(&clients)));
    }
    let failed = thread::scope(|scope| {
        let asked: Vec<_> = manager.all().iter().map(|cluster| (cluster, scope.spawn(|| ask(cluster)))).collect();
        let mut failed = 0;
        for (cluster, answer) in asked {
            let answer = answer.join().unwrap_or_else(|_| Err("the check itself failed: please report it".into()));
            let (mark, text) = match answer {
                Ok(text) => ("✓", text),
                Err(text) => ("✗", text),
            };
            failed += usize::from(mark == "✗");
            let about = cluster.settings();
            say(&format!("{mark} {}  {}  {}\n", about.name, nodes(about), printable(&text)));
        }
        failed
    });
    match failed {
        0 => Ok(()),
        _ => Err(Failure::Runtime(format!("{failed} of {total} clusters failed the check"))),
    }
}

/// Asks a cluster for its version and the token's rights. The error ends with the remedy.
fn ask(cluster: &Cluster) -> Result<String, String> {
    let answer = get(cluster, "/version")?;
    let version = answer.get("version").and_then(Value::as_str).ok_or_else(|| odd("/version"))?;
    // Privileges by path; the number says only whether the right reaches further down.
    let answer = get(cluster, "/access/permissions")?;
    let rights = answer.as_object().ok_or_else(|| odd("/access/permissions"))?;
    let about = cluster.settings();
    let token = token(about);
    let mut paths =
        rights.iter().filter_map(|(path, of)| Some((path, of.as_object()?))).filter(|(_, of)| !of.is_empty());
    let Some((path, privileges)) = paths.next() else {
        return Err(format!(
            "Proxmox VE {version}, but token {token} has no rights: on a node run `pveum acl modify / --tokens \
             '{token}' --roles PVEAuditor`, and the same with --users '{}' (a token can do no more than its user)",
            about.user
        ));
    };
    const SHOWN: usize = 4;
    let total = 1 + paths.count();
    let names: Vec<&str> = privileges.keys().take(SHOWN).map(String::as_str).collect();
    let more = match privileges.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let s = if total == 1 { "" } else { "s" };
    Ok(format!("Proxmox VE {version}  token {token}: {total} path{s}, e.g. {path} → {}{more}", names.join(", ")))
}

fn get(cluster: &Cluster, path: &str) -> Result<Value, String> {
    let (known, _) = ApiPath::parse(path)?;
    let answer =
        cluster.call(Method::Get, &known, &Params::new(), &Cancel::new()).map_err(|error| error.to_string())?;
    serde_json::from_str(answer.data()).map_err(|_| odd(path))
}

fn odd(path: &str) -> String {
    format!("GET {path} was answered, but not as Proxmox does: is this address a Proxmox VE node?")
}

/// Asks the server that listens on `listen` whether it is up.
pub fn health(listen: SocketAddr) -> Result<(), Failure> {
    if listen.port() == 0 {
        return Err(Failure::Usage("health needs the server's real port: name it with --listen".into()));
    }
    let address = reachable(listen);
    let failed = |why: String| {
        Failure::Runtime(format!("no healthy server at {address}: {why} (--listen says where it listens)"))
    };
    match status_line(address, Instant::now() + HEALTH_TIMEOUT) {
        Ok(line) if line.split(' ').nth(1) == Some("200") => {
            say(&format!("✓ {address} is up\n"));
            Ok(())
        }
        Ok(line) => Err(failed(format!("it answered \"{}\"", printable(&line)))),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(failed("nothing listens there".into())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The first line of the answer to `GET /healthz`.
fn status_line(address: SocketAddr, deadline: Instant) -> io::Result<String> {
    const LONGEST: usize = 256;
    // A socket with a time limit of zero is an error, not one that is over.
    let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut stream = TcpStream::connect_timeout(&address, left())?;
    stream.set_write_timeout(Some(left()))?;
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut line = Vec::new();
    let mut part = [0; LONGEST];
    loop {
        if let Some(end) = line.iter().position(|b| *b == b'\r' || *b == b'\n') {
            line.truncate(end);
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
        if line.len() > LONGEST || Instant::now() >= deadline {
            return Err(io::Error::other("no HTTP answer in time"));
        }
        stream.set_read_timeout(Some(left()))?;
        match stream.read(&mut part) {
            Ok(0) => return Err(io::Error::other("it closed the connection without an answer")),
            Ok(n) => line.extend(part.iter().take(n)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(io::Error::other("no answer in time"));
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

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
        assert!(health(serving(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).is_ok());
        for answer in [&b"HTTP/1.1 503 Busy\r\n\r\n"[..], b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200"] {
            assert!(matches!(health(serving(answer)), Err(Failure::Runtime(_))));
        }
    }

    #[test]
    fn health_of_a_silent_server_ends_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let result = status_line(address, Instant::now() + Duration::from_millis(50));
        assert!(result.is_err_and(|error| error.to_string().contains("in time")));
    }

    #[test]
    fn health_says_where_it_looked() {
        let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("address");
        let Err(Failure::Runtime(text)) = health(closed) else { panic!("nobody listens there") };
        assert!(text.contains(&closed.to_string()) && text.contains("--listen"), "{text}");
        assert!(matches!(health(([127, 0, 0, 1], 0).into()), Err(Failure::Usage(_))));
    }
}
