//! The transport of a session.

use crate::support::process::ServerProcess;
use crate::support::transport::{HttpTransport, SseTransport, Transport};
use proxmox_mcp::config::TokenHash;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kind of a session's transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// POST /mcp.
    Http,
    /// GET /sse and POST /messages.
    Sse,
    /// The session's own server process.
    Stdio,
}

impl TransportKind {
    /// Returns the name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Sse => "sse",
            Self::Stdio => "stdio",
        }
    }
}

/// The server that the sessions use.
pub struct Server {
    pub program: PathBuf,
    pub config: PathBuf,
    pub address: SocketAddr,
}

/// The connection of a session, by its server.
pub enum SessionTransport {
    /// To the shared server.
    Shared(Box<dyn Transport + Send>),
    /// To the session's own process.
    Own(Box<ServerProcess>),
}

impl SessionTransport {
    /// Returns the transport to either server.
    pub fn link(&mut self) -> &mut dyn Transport {
        match self {
            SessionTransport::Shared(link) => &mut **link,
            SessionTransport::Own(process) => &mut **process,
        }
    }
}

/// Number of clients that share the sessions.
const WORKERS: u32 = 8;

fn worker_token(worker: u32) -> String {
    format!("pmcp_soak-worker{worker}-0123456789abcdef")
}

fn authorization(session: u32) -> String {
    format!("Authorization: Bearer {}\r\n", worker_token(session % WORKERS))
}

/// Returns the entries of the sessions' clients in a configuration.
pub fn worker_entries() -> impl Iterator<Item = (String, Value)> {
    (0..WORKERS).map(|worker| {
        let hash = TokenHash::from_token(worker_token(worker).as_bytes()).to_string();
        let rights = json!({"access": "full", "exec": true, "clusters": ["alpha", "beta"], "token_sha256": hash});
        (format!("worker{worker}"), rights)
    })
}

/// Opens a connection.
pub fn open(transport: TransportKind, number: u32, server: &Server) -> SessionTransport {
    match transport {
        TransportKind::Http => SessionTransport::Shared(Box::new(HttpTransport::open(
            server.address,
            number % 8 < 4,
            &authorization(number),
        ))),
        TransportKind::Sse => {
            SessionTransport::Shared(Box::new(SseTransport::open(server.address, &authorization(number))))
        }
        TransportKind::Stdio => {
            let mut command = Command::new(&server.program);
            command
                .arg("stdio")
                .arg("--config")
                .arg::<&Path>(&server.config)
                .args(["--log", "warn", "--structured"])
                .env_clear();
            SessionTransport::Own(Box::new(ServerProcess::of(&mut command)))
        }
    }
}
