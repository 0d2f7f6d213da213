//! Errors and log lines for an audit log that cannot be written, and for renewed certificates.

use crate::document::{Document, visible};
use crate::support::process::{ServerProcess, program, run};
use crate::support::program::{ADMIN, ProgramServer, lab};
use crate::support::proxmox::proxmox;
use crate::support::raw::{LONG, eventually};
use crate::support::tls::{Files, Pair};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tempfile::TempDir;

/// Returns the next line of the log that this part of the program wrote.
fn line(process: &ServerProcess, target: &str) -> String {
    loop {
        let line = process.stderr.recv_timeout(LONG).unwrap_or_else(|_| panic!("no line of {target}"));
        if line.contains(target) {
            return line;
        }
    }
}

#[test]
fn audit_files_that_cannot_be_opened() {
    let mut document = Document::new();
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("passwd"), "root:x:0:0\n").expect("write");
    assert!(Command::new("mkfifo").arg(path("pipe")).status().expect("run").success());
    let node = proxmox();
    let running = ProgramServer::start_lab(&node, &json!({}));
    for (about, file) in [
        ("a folder", folder.path().to_owned()),
        ("a pipe", path("pipe")),
        ("a device", "/dev/full".into()),
        ("another file", path("passwd")),
        ("no such folder", path("none/audit.log")),
        ("the file of another server", running.audit.clone()),
    ] {
        let output = program(&["--demo", "--listen", "127.0.0.1:0", "--audit-log"]).arg(file).output().expect("run");
        document.case(about, String::from_utf8(output.stderr).expect("UTF-8"));
    }
    document.assert("audit_files");
}

#[test]
fn audit_files_that_change() {
    let mut document = Document::new();
    let node = proxmox();
    let server = ProgramServer::builder(&lab(&node, &json!({}))).audit_file().start();
    let start = json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST"});
    let call = || visible(&server.call(ADMIN, "proxmox_api_call", start.clone()));
    call();
    server.fill_disk(true);
    document.section("A full disk");
    document.case("proxmox_api_call", call());
    document.case("the log", line(&server.process, "proxmox_mcp::audit"));
    server.fill_disk(false);
    document.section("A file that another program empties");
    fs::write(&server.audit, "").expect("write");
    document.case("proxmox_api_call", call());
    document.case("the log", line(&server.process, "proxmox_mcp::audit"));
    document.section("A file that is removed");
    fs::remove_file(&server.audit).expect("remove");
    document.case("proxmox_api_call", call());
    document.case("the log", line(&server.process, "proxmox_mcp::audit"));
    document.section("A file that others can read");
    let open = server.audit.with_file_name("open.log");
    fs::write(&open, "").expect("write");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).expect("chmod");
    let flags = ["--audit-log", open.to_str().expect("UTF-8")];
    let other = ProgramServer::builder(&lab(&node, &json!({}))).flags(&flags).start();
    document.case("the log", line(&other.process, "proxmox_mcp::audit"));
    document.assert("audit_changes");
}

#[test]
fn certificates_after_a_renewal() {
    let mut document = Document::new();
    let files = Files::of(&Pair::new());
    let (cert, key) = (files.cert(), files.key());
    let flags = ["--tls-cert", cert.to_str().expect("UTF-8"), "--tls-key", key.to_str().expect("UTF-8")];
    let mut command = program(&["--demo", "--listen", "127.0.0.1:0"]);
    let process = ServerProcess::of(command.args(flags));
    let first = process.stdout.recv_timeout(LONG).expect("a first line");
    let (_, address) = first.split_once("https://").expect("an address");
    // A new connection makes the server look for new files.
    let next_line = || {
        let mut found = None;
        eventually("a line about the certificate", || {
            assert!(run(&["health", "--listen", address]).status.success());
            found = process.stderr.try_iter().find(|line| line.contains("proxmox_mcp::http::certificate"));
            found.is_some()
        });
        found.expect("a line")
    };
    let renewed = Pair::new();
    files.hold(&renewed.cert(), &renewed.key());
    document.case("another pair", next_line());
    files.hold(&Pair::new().cert(), &renewed.key());
    document.case("a pair that does not fit", next_line());
    document.assert("log_certificates");
}
