//! The transport of a session.

use crate::support::process::ServerProcess;
use crate::support::transport::{HttpTransport, SseTransport, Transport};
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

/// Opens a connection.
pub fn open(transport: TransportKind, number: u32, server: &Server) -> SessionTransport {
    match transport {
        TransportKind::Http => SessionTransport::Shared(Box::new(HttpTransport::open(server.address, number % 8 < 4))),
        TransportKind::Sse => SessionTransport::Shared(Box::new(SseTransport::open(server.address))),
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
