//! A server that is started with its listening socket, as systemd does for `StandardInput=socket`.

use crate::support::process::{ServerProcess, program};
use crate::support::raw::Client;
use rustix::process::Signal;
use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output};

const ARGS: [&str; 3] = ["--demo", "--listen", "127.0.0.1:1"];

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

fn fd(socket: &TcpListener) -> OwnedFd {
    socket.try_clone().expect("a descriptor").into()
}

fn expect_failure(output: Output) -> String {
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{text}");
    text
}

#[test]
fn connections_before_between_and_during_runs_are_served() {
    let (socket, address) = listener();
    for _ in 0..2 {
        let mut early = Client::to(&address);
        let mut process = ServerProcess::of_with_stdin(&mut program(&ARGS), fd(&socket));
        assert_eq!(process.address(), address, "not the address of --listen");
        assert_eq!(early.ask("GET /healthz", "").status, 200);
        assert_eq!(Client::to(&address).ask("GET /healthz", "").status, 200);
        process.signal(Signal::TERM);
        assert_eq!(process.wait_for_exit().code(), Some(0));
        early.assert_ends();
    }
    let waiting = TcpStream::connect(&address).expect("the socket still listens");
    let local = waiting.local_addr().expect("an address");
    socket.set_nonblocking(false).expect("to wait");
    assert_eq!(socket.accept().expect("a connection").1, local, "it has only this connection");
}

#[test]
fn metrics_port_works_with_socket_activation() {
    let (socket, address) = listener();
    let args = [&ARGS[..], &["--metrics-listen", "127.0.0.1:0"]].concat();
    let process = ServerProcess::of_with_stdin(&mut program(&args), fd(&socket));
    assert_eq!(process.address(), address);
    assert_eq!(Client::to(&address).ask("GET /metrics", "").status, 404);
    let metrics = process.stdout.iter().find_map(|line| line.strip_prefix("Metrics: http://").map(str::to_owned));
    let metrics = metrics.expect("the address of the metrics");
    assert_eq!(Client::to(metrics.trim_end_matches("/metrics")).ask("GET /metrics", "").status, 200);
}

#[test]
fn socket_off_loopback_needs_a_token() {
    let socket = TcpListener::bind("0.0.0.0:0").expect("bind");
    let text = expect_failure(program(&ARGS).stdin(fd(&socket)).output().expect("run"));
    assert!(text.contains("without a client token") && text.contains("(ListenStream=127.0.0.1:"), "{text}");
    // Only a local address is exempt.
    let (socket, address) = listener();
    let mut command = program(&["--demo", "--listen", "0.0.0.0:1"]);
    assert_eq!(ServerProcess::of_with_stdin(&mut command, fd(&socket)).address(), address);
}

#[test]
fn descriptor_that_is_not_a_listening_tcp_socket_is_rejected() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let unix = UnixListener::bind(folder.path().join("socket")).expect("bind");
    let text = expect_failure(program(&ARGS).stdin(OwnedFd::from(unix)).output().expect("run"));
    assert!(text.contains("not a TCP socket") && text.contains("ListenStream="), "{text}");

    let (_peer, address) = listener();
    let connection = TcpStream::connect(&address).expect("connect");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let nothing = File::open("/dev/null").expect("open");
    for stdin in [connection.into(), datagrams.into(), OwnedFd::from(nothing)] {
        let mut command = program(&["--demo", "--listen", "127.0.0.1:0"]);
        let process = ServerProcess::of_with_stdin(&mut command, stdin);
        assert_eq!(Client::to(process.address()).ask("GET /healthz", "").status, 200);
    }
}

/// Returns a command that starts the program with a socket at descriptor 3. The shell expands `pid`.
fn at_descriptor_3(pid: &str, program_at: &str) -> Command {
    let script = format!("exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID={pid} exec \"$0\" \"$@\" {program_at}");
    let mut command = Command::new("/bin/sh");
    command.env_clear().args(["-c", &script, env!("CARGO_BIN_EXE_proxmox-mcp"), "--demo", "--listen", "127.0.0.1:0"]);
    command
}

#[test]
fn socket_at_descriptor_3_is_rejected_with_a_hint() {
    let (socket, address) = listener();
    let text = expect_failure(at_descriptor_3("$$", "").stdin(fd(&socket)).output().expect("run"));
    assert!(text.contains("StandardInput=socket") && text.contains("`exec proxmox-mcp <&3`"), "{text}");
    assert_eq!(ServerProcess::of_with_stdin(&mut at_descriptor_3("$$", "<&3"), fd(&socket)).address(), address);
    // The variable of another process, left in the environment.
    let other = ServerProcess::of_with_stdin(&mut at_descriptor_3("1", ""), fd(&socket));
    assert_ne!(other.address(), address);
}
