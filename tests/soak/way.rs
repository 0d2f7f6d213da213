//! How a session reaches the server.

use crate::support::link::{Link, OverHttp, OverSse};
use crate::support::process::Process;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a session reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// POST /mcp.
    Http,
    /// GET /sse and POST /messages.
    Sse,
    /// A server of its own.
    Stdio,
}

impl Transport {
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
pub struct Server {
    /// The program.
    pub program: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A session's way to its server.
pub enum Way {
    /// To the one that all share.
    Socket(Box<dyn Link + Send>),
    /// To one of its own.
    Process(Box<Process>),
}

impl Way {
    /// What is alike of them.
    pub fn link(&mut self) -> &mut dyn Link {
        match self {
            Way::Socket(link) => &mut **link,
            Way::Process(process) => &mut **process,
        }
    }
}

/// Opens one.
pub fn open(transport: Transport, number: u32, server: &Server) -> Way {
    match transport {
        Transport::Http => Way::Socket(Box::new(OverHttp::open(server.address, number % 8 < 4))),
        Transport::Sse => Way::Socket(Box::new(OverSse::open(server.address))),
        Transport::Stdio => {
            let mut command = Command::new(&server.program);
            command.arg("stdio").arg("--config").arg::<&Path>(&server.config).args(["--log", "warn"]).env_clear();
            Way::Process(Box::new(Process::of(&mut command)))
        }
    }
}
