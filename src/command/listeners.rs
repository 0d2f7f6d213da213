//! The addresses that the server listens on. The one for clients may be a listening socket that the process inherits as
//! stdin, as inetd (`wait`) and systemd (`StandardInput=socket`) pass it. Descriptor 3, where systemd passes sockets by
//! default, is out of reach without unsafe code.

use super::failure::Failure;
use proxmox_mcp::config::Client;
use proxmox_mcp::http;
use socket2::{SockRef, Type};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::{env, io, process};

/// An address to listen on, with words for messages about it.
pub struct ListenAddress {
    /// The configured address, or the bound one after [`Listeners::open`].
    pub address: SocketAddr,
    /// Setting that chooses the address, up to its value: `--listen ` or `ListenStream=`.
    setting: &'static str,
    /// Access of a caller without a token, for messages.
    exposure: &'static str,
}

/// All listeners.
pub struct Listeners {
    pub main: ListenAddress,
    /// Separate listener for health and metrics.
    pub metrics: Option<ListenAddress>,
    /// Socket of `main` if the process inherited it.
    inherited: Option<TcpListener>,
}

impl Listeners {
    pub fn new(main: SocketAddr, metrics: Option<SocketAddr>) -> Self {
        Self {
            main: ListenAddress { address: main, setting: "--listen ", exposure: "use the clusters" },
            metrics: metrics.map(|address| ListenAddress {
                address,
                setting: "--metrics-listen ",
                exposure: "read the metrics",
            }),
            inherited: None,
        }
    }

    /// Replaces the main listener by the socket that the process inherited as stdin, if there is one.
    pub fn or_from_systemd(mut self) -> Result<Self, Failure> {
        self.inherited = from_systemd()?;
        if let Some(listener) = &self.inherited {
            let address = listener.local_addr().map_err(|error| Failure::Runtime(format!("stdin: {error}")))?;
            log::info!("stdin is a socket that listens on {address}: using it and ignoring --listen");
            self.main = ListenAddress { address, setting: "ListenStream=", ..self.main };
        }
        Ok(self)
    }

    fn all(&self) -> impl Iterator<Item = &ListenAddress> {
        [&self.main].into_iter().chain(&self.metrics)
    }

    /// Binds the addresses. Returns the main listener and the one for metrics.
    pub fn open(&mut self) -> Result<(TcpListener, Option<TcpListener>), Failure> {
        let main = self.inherited.take().map_or_else(|| self.main.open(), Ok)?;
        Ok((main, self.metrics.as_mut().map(ListenAddress::open).transpose()?))
    }

    /// Checks that a server that other machines can reach has at least one client, unless `insecure_no_auth` waives it.
    /// To be called before [`Listeners::open`].
    pub fn require_auth_off_loopback(&self, clients: &[Client], insecure_no_auth: bool) -> Result<(), Failure> {
        let exposed = self.all().find(|listener| !is_loopback(listener.address));
        match (clients.is_empty(), insecure_no_auth, exposed) {
            (false, true, _) => Err(Failure::Usage(
                "--insecure-no-auth (MCP_INSECURE_NO_AUTH) contradicts the configured client tokens. hint: remove one of them"
                    .into(),
            )),
            (true, false, Some(ListenAddress { address, setting, exposure })) => Err(Failure::Usage(format!(
                "cannot listen on {address} without a client token: any machine that reaches it could {exposure}. hint: \
                 make a token with `proxmox-mcp token` and set MCP_AUTH_TOKEN, --auth-token-file or \"clients\" in \
                 clusters.json; or listen on loopback ({setting}127.0.0.1:{}); or, behind a proxy that authenticates, \
                 set --insecure-no-auth (MCP_INSECURE_NO_AUTH=1)",
                address.port()
            ))),
            _ => Ok(()),
        }
    }

    /// Logs a warning for each listener that other machines reach without a token or without TLS.
    pub fn warn_if_exposed(&self, clients: &[Client], has_tls: bool) {
        for ListenAddress { address, exposure, .. } in self.all().filter(|listener| !is_loopback(listener.address)) {
            if clients.is_empty() {
                log::warn!(
                    "listening on {address} without client tokens (--insecure-no-auth): any machine that reaches it \
                     can {exposure}. hint: allow only a proxy that authenticates to reach it"
                );
            } else if !has_tls {
                log::warn!(
                    "listening on {address} without TLS: client tokens and answers cross the network in clear text. \
                     hint: set --tls-cert and --tls-key (MCP_TLS_CERT and MCP_TLS_KEY), or put a proxy that speaks TLS \
                     in front of it"
                );
            }
        }
    }
}

/// Returns whether a socket listens. Elsewhere than on Linux no systemd passes such a socket.
fn is_listener(socket: &SockRef<'_>) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return socket.is_listener().unwrap_or(false);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = socket;
        false
    }
}

/// Returns the listening socket that the process inherited as stdin.
fn from_systemd() -> Result<Option<TcpListener>, Failure> {
    let stdin = io::stdin();
    let socket = SockRef::from(&stdin);
    if !is_listener(&socket) {
        let is_ours = env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(process::id()));
        return match is_ours && env::var_os("LISTEN_FDS").is_some() {
            true => Err(Failure::Usage(
                "cannot use the inherited socket (LISTEN_FDS): it is not stdin. hint: set StandardInput=socket in the \
                 service (see deploy/proxmox-mcp.socket), or start the program in a shell with `exec proxmox-mcp <&3`"
                    .into(),
            )),
            false => Ok(None),
        };
    }
    let is_tcp = socket.local_addr().is_ok_and(|address| address.as_socket().is_some())
        && socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    if !is_tcp {
        return Err(Failure::Usage(
            "cannot use the listening socket at stdin: it is not a TCP socket. hint: set ListenStream=127.0.0.1:8000"
                .into(),
        ));
    }
    let owned = stdin.as_fd().try_clone_to_owned();
    owned.map(|owned| Some(owned.into())).map_err(|error| Failure::Runtime(format!("cannot listen on stdin: {error}")))
}

impl ListenAddress {
    fn open(&mut self) -> Result<TcpListener, Failure> {
        let opened = http::listen(self.address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = opened.map_err(|error| self.bind_failure(&error))?;
        self.address = address;
        Ok(listener)
    }

    fn bind_failure(&self, error: &io::Error) -> Failure {
        let (address, port, setting) = (self.address, self.address.port(), self.setting.trim_end());
        Failure::Runtime(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "cannot listen on {address}: another program uses it. hint: stop that program \
                 (`ss -ltnp 'sport = :{port}'` shows it), or choose another port with {setting} (0 takes a free one)"
            ),
            io::ErrorKind::AddrNotAvailable => {
                format!("cannot listen on {address}: this machine has no such address. hint: choose one with {setting}")
            }
            io::ErrorKind::PermissionDenied => format!(
                "cannot listen on {address}: this user may not use port {port}. hint: choose one from 1024 up with \
                 {setting}"
            ),
            _ => format!("cannot listen on {address}: {error}. hint: choose another address with {setting}"),
        })
    }
}

/// Returns the address at which a program on this machine reaches a listener: loopback instead of "every address".
pub fn connect_address(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listen
}

/// Returns the addresses at which a program on this machine may reach a listener, the likely one first: the loopback
/// addresses of both families for a loopback address and for "every address".
pub fn connect_addresses(listen: SocketAddr) -> Vec<SocketAddr> {
    let first = connect_address(listen);
    let other = match first.ip() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Some(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some(Ipv4Addr::LOCALHOST.into()),
        _ => None,
    };
    [first].into_iter().chain(other.map(|ip: IpAddr| SocketAddr::new(ip, listen.port()))).collect()
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(listen: &str, clients: &[Client], insecure: bool) -> Option<String> {
        let address = listen.parse().expect("an address");
        let main = error_of(&Listeners::new(address, None), clients, insecure);
        let metrics = error_of(&Listeners::new(([127, 0, 0, 1], 8000).into(), Some(address)), clients, insecure);
        assert_eq!(metrics.is_some(), main.is_some(), "the metrics on {listen}");
        main
    }

    fn error_of(listeners: &Listeners, clients: &[Client], insecure: bool) -> Option<String> {
        match listeners.require_auth_off_loopback(clients, insecure) {
            Ok(()) => None,
            Err(Failure::Usage(text)) => Some(text),
            Err(Failure::Runtime(text)) => panic!("{text}"),
        }
    }

    #[test]
    fn both_loopback_addresses_reach_a_listener_on_loopback_or_every_address() {
        for (listen, expected) in [
            ("127.0.0.1:8000", &["127.0.0.1:8000", "[::1]:8000"][..]),
            ("0.0.0.0:8000", &["127.0.0.1:8000", "[::1]:8000"]),
            ("[::1]:8000", &["[::1]:8000", "127.0.0.1:8000"]),
            ("[::]:8000", &["[::1]:8000", "127.0.0.1:8000"]),
            ("127.0.0.2:8000", &["127.0.0.2:8000"]),
            ("192.0.2.1:8000", &["192.0.2.1:8000"]),
            ("[2001:db8::1]:8000", &["[2001:db8::1]:8000"]),
        ] {
            let found: Vec<_> =
                connect_addresses(listen.parse().expect(listen)).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn off_loopback_a_token_is_needed() {
        let clients = [Client::from_env_token("sixteen_letters_").expect("a token")];
        for listen in ["0.0.0.0:8000", "[::]:8000", "192.0.2.1:8000", "[::ffff:192.0.2.1]:8000", "[2001:db8::1]:0"] {
            let text = refusal(listen, &[], false).expect(listen);
            for remedy in ["`proxmox-mcp token`", "MCP_AUTH_TOKEN", "--insecure-no-auth", "MCP_INSECURE_NO_AUTH=1"] {
                assert!(text.contains(remedy), "{text}");
            }
            assert_eq!(refusal(listen, &clients, false), None);
            assert_eq!(refusal(listen, &[], true), None);
        }
        for listen in ["127.0.0.1:8000", "127.9.9.9:0", "[::1]:8000", "[::ffff:127.0.0.1]:8000"] {
            assert_eq!(refusal(listen, &[], false), None, "{listen}");
        }
    }

    #[test]
    fn insecure_no_auth_with_client_tokens_is_rejected() {
        let clients = [Client::from_env_token("sixteen_letters_").expect("a token")];
        assert!(refusal("127.0.0.1:8000", &clients, true).is_some_and(|text| text.contains("contradicts")));
    }
}
