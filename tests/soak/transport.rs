//! How a session reaches the server.

use crate::support::link::{Link, OverHttp, OverSse};
use crate::support::process::Process;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a session reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// POST /mcp.
    Http,
    /// GET /sse and POST /messages.
    Sse,
    /// A server of its own.
    Stdio,
}

impl TransportKind {
    /// In a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Sse => "sse",
            Self::Stdio => "stdio",
        }
    }
}

/// Where the sessions go.
pub struct ServerUnderTest {
    /// The program.
    pub program: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A session's way to its server.
pub enum ServerConnection {
    /// To the one that all share.
    Socket(Box<dyn Link + Send>),
    /// To one of its own.
    Process(Box<Process>),
}

impl ServerConnection {
    /// What is alike of them.
    pub fn as_transport(&mut self) -> &mut dyn Link {
        match self {
            ServerConnection::Socket(link) => &mut **link,
            ServerConnection::Process(process) => &mut **process,
        }
    }
}

/// Opens one.
pub fn connect(transport: TransportKind, number: u32, server: &ServerUnderTest) -> ServerConnection {
    match transport {
        TransportKind::Http => ServerConnection::Socket(Box::new(OverHttp::open(server.address, number % 8 < 4))),
        TransportKind::Sse => ServerConnection::Socket(Box::new(OverSse::open(server.address))),
        TransportKind::Stdio => {
            let mut command = Command::new(&server.program);
            command.arg("stdio").arg("--config").arg::<&Path>(&server.config).args(["--log", "warn"]).env_clear();
            ServerConnection::Process(Box::new(Process::of(&mut command)))
        }
    }
}
