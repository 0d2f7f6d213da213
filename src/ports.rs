//! Where the server listens.

use crate::Failure;
use proxmox_mcp::http;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// An address to listen on, and what texts say of it.
pub struct Port {
    /// As it was typed; once it is [open](Ports::open), what was taken.
    pub address: SocketAddr,
    /// How another one is chosen: this, and an address.
    pub choice: &'static str,
    /// What somebody could do there without a token.
    pub lets: &'static str,
}

/// All of them.
pub struct Ports {
    /// For clients.
    pub main: Port,
    /// For the metrics, where they have one of their own.
    pub watch: Option<Port>,
}

impl Ports {
    /// At these addresses.
    pub fn at(main: SocketAddr, watch: Option<SocketAddr>) -> Self {
        let of_metrics = |address| Port { address, choice: "--metrics-listen ", lets: "see how they are used" };
        Self {
            main: Port { address: main, choice: "--listen ", lets: "use the clusters" },
            watch: watch.map(of_metrics),
        }
    }

    /// One after the other.
    pub fn all(&self) -> impl Iterator<Item = &Port> {
        [&self.main].into_iter().chain(&self.watch)
    }

    /// Listens on them.
    pub fn open(&mut self) -> Result<(TcpListener, Option<TcpListener>), Failure> {
        Ok((self.main.open()?, self.watch.as_mut().map(Port::open).transpose()?))
    }
}

impl Port {
    fn open(&mut self) -> Result<TcpListener, Failure> {
        let opened = http::listen(self.address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = opened.map_err(|error| self.cannot_bind(&error))?;
        self.address = address;
        Ok(listener)
    }

    fn cannot_bind(&self, error: &io::Error) -> Failure {
        let (listen, port, choice) = (self.address, self.address.port(), self.choice.trim_end());
        Failure::Runtime(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "{listen} is taken by another program (`ss -ltnp 'sport = :{port}'` shows which, maybe another \
                 proxmox-mcp): stop it, or choose another port with {choice} (port 0 takes a free one)"
            ),
            io::ErrorKind::AddrNotAvailable => {
                format!("{} is no address of this machine: choose one with {choice}", listen.ip())
            }
            io::ErrorKind::PermissionDenied => {
                format!("this user may not listen on port {port}: choose one from 1024 up with {choice}")
            }
            _ => format!("can't listen on {listen}: {error} ({choice} chooses another address)"),
        })
    }
}
