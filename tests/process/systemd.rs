//! Notifications to systemd from a server with `Type=notify`.

use crate::support::process::{ServerProcess, binary, program};
use crate::support::raw::LONG;
use rustix::process::Signal;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
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

/// Runs systemd-analyze, if it is installed.
fn analyze(args: &[&str], unit: &std::path::Path) -> Option<(bool, String)> {
    let output = Command::new("systemd-analyze").args(args).arg(unit).output().ok()?;
    Some((output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()))
}

#[test]
fn units_are_valid_and_hardened() {
    let folder = TempDir::new().expect("a folder");
    for name in ["proxmox-mcp.service", "proxmox-mcp.socket"] {
        let text = fs::read_to_string(format!("{}/deploy/{name}", env!("CARGO_MANIFEST_DIR"))).expect("the unit");
        // The program and its page are not installed here.
        let text = text.replace("ExecStart=proxmox-mcp", &format!("ExecStart={}", binary()));
        fs::write(folder.path().join(name), text.replace("Documentation=", "#Documentation=")).expect("write");
    }
    for name in ["proxmox-mcp.service", "proxmox-mcp.socket"] {
        let Some((is_valid, text)) = analyze(&["verify", "--recursive-errors=no"], &folder.path().join(name)) else {
            return;
        };
        assert!(is_valid && text.is_empty(), "{name}: {text}");
    }
    // The exposure in tenths: 0 is best, 100 is worst.
    let security = ["security", "--offline=yes", "--threshold=15", "--no-pager"];
    let (is_hardened, text) = analyze(&security, &folder.path().join("proxmox-mcp.service")).expect("installed");
    assert!(is_hardened, "{text}");
}

#[test]
fn the_unit_reads_the_configuration_itself() {
    let unit = fs::read_to_string(format!("{}/deploy/proxmox-mcp.service", env!("CARGO_MANIFEST_DIR"))).expect("unit");
    let settings: Vec<&str> = unit.lines().filter(|line| !line.starts_with('#')).collect();
    // A copy of the file, made at the start, would hide its changes from a reload.
    assert!(!settings.iter().any(|line| line.starts_with("LoadCredential")), "{unit}");
    for setting in [
        "Environment=PROXMOX_MCP_CONFIG=/etc/proxmox-mcp/clusters.json",
        "ExecReload=kill -HUP $MAINPID",
        "User=proxmox-mcp",
        "Type=notify",
    ] {
        assert!(settings.contains(&setting), "{setting}");
    }
}
