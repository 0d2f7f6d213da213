//! Notifications to systemd from a server with `Type=notify`.

use crate::support::process::{ServerProcess, program};
use crate::support::raw::LONG;
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use tempfile::TempDir;

/// Returns the next notification.
fn next_notification(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    let length = socket.recv(&mut bytes).expect("a message");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[test]
fn systemd_is_notified_of_ready_watchdog_and_stopping() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bind");
    socket.set_read_timeout(Some(LONG)).expect("a limit");
    let mut command = program(&["--demo", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let mut process = ServerProcess::of(&mut command);
    assert_eq!(next_notification(&socket), "READY=1");
    for _ in 0..3 {
        assert_eq!(next_notification(&socket), "WATCHDOG=1");
    }
    process.signal(Signal::TERM);
    while next_notification(&socket) != "STOPPING=1" {}
    assert_eq!(process.wait_for_exit().code(), Some(0));
}
