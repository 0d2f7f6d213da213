//! Where the server listens: at the addresses that were typed, or, for clients, with a listening socket that it was
//! started with as stdin, as inetd has it (`wait`) and systemd (`StandardInput=socket`). The usual place of such a
//! socket, descriptor 3, can't be taken by a program that forbids itself unsafe code.

use crate::Failure;
use proxmox_mcp::http;
use socket2::{SockRef, Type};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::{env, io, process};

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
    /// The socket of `main`, where that is open already.
    handed_over: Option<TcpListener>,
}

impl Ports {
    /// At these addresses.
    pub fn at(main: SocketAddr, watch: Option<SocketAddr>) -> Self {
        let of_metrics = |address| Port { address, choice: "--metrics-listen ", lets: "see how they are used" };
        Self {
            main: Port { address: main, choice: "--listen ", lets: "use the clusters" },
            watch: watch.map(of_metrics),
            handed_over: None,
        }
    }

    /// The same, but for clients the socket that the process was started with, if it was.
    pub fn or_handed_over(mut self) -> Result<Self, Failure> {
        self.handed_over = handed_over()?;
        if let Some(listener) = &self.handed_over {
            let address = listener.local_addr().map_err(|error| Failure::Runtime(format!("stdin: {error}")))?;
            log::info!("stdin is a socket that listens on {address}: it is used, and --listen is not");
            self.main = Port { address, choice: "ListenStream=", ..self.main };
        }
        Ok(self)
    }

    /// One after the other.
    pub fn all(&self) -> impl Iterator<Item = &Port> {
        [&self.main].into_iter().chain(&self.watch)
    }

    /// Listens on them.
    pub fn open(&mut self) -> Result<(TcpListener, Option<TcpListener>), Failure> {
        let main = self.handed_over.take().map_or_else(|| self.main.open(), Ok)?;
        Ok((main, self.watch.as_mut().map(Port::open).transpose()?))
    }
}

/// The socket that is stdin, if one is.
fn handed_over() -> Result<Option<TcpListener>, Failure> {
    let stdin = io::stdin();
    let socket = SockRef::from(&stdin);
    if !socket.is_listener().unwrap_or(false) {
        let is_ours = env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(process::id()));
        return match is_ours && env::var_os("LISTEN_FDS").is_some() {
            true => Err(Failure::Usage(
                "a socket was handed over (LISTEN_FDS), but not as stdin: write StandardInput=socket into the service \
                 (see deploy/proxmox-mcp.socket); or start it by a shell that does `exec proxmox-mcp <&3`"
                    .into(),
            )),
            false => Ok(None),
        };
    }
    let is_tcp = socket.local_addr().is_ok_and(|address| address.as_socket().is_some())
        && socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    if !is_tcp {
        let why = "stdin is a socket that listens, but not one of TCP: hand one over, as ListenStream=127.0.0.1:8000";
        return Err(Failure::Usage(why.into()));
    }
    let own = stdin.as_fd().try_clone_to_owned();
    own.map(|own| Some(own.into())).map_err(|error| Failure::Runtime(format!("stdin can't be listened on: {error}")))
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
