//! A program whose stderr is not read: its pipe is full, and its calls, its stop and its metrics work all the same.

use crate::support::node::{Node, ScriptedReply};
use crate::support::process::{ServerProcess, configuration, path, program};
use crate::support::raw::{Client, LONG};
use crate::support::rpc::call;
use rustix::process::Signal;
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::process::{ChildStderr, Command};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Bytes of a word in each request. Its log line at the level `debug` has as many, so that a few thousand calls fill
/// the pipe and the queue behind it.
const WORD_BYTES: usize = 60;

/// Starts a command whose stderr stays unread.
fn start(command: &mut Command) -> (ServerProcess, ChildStderr) {
    ServerProcess::of_with_unread_stderr(command)
}

fn list_clusters(id: usize) -> String {
    call(id, "list_clusters", json!({}))
}

/// Returns how many lines of the log were lost.
fn lost_lines(client: &mut Client) -> u64 {
    let text = client.ask("GET /metrics", "").body;
    let line = text.lines().find_map(|line| line.strip_prefix("proxmox_mcp_log_lines_lost_total "));
    line.expect("the metric").parse().expect("a number")
}

/// Reads lines up to one with this text.
fn read_up_to(stderr: &mut impl BufRead, text: &str) -> String {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(stderr.read_line(&mut line).expect("UTF-8") > 0, "the log ends before {text:?}");
    }
    line
}

#[test]
fn server_whose_log_is_not_read_answers_and_reports_the_loss_once_it_is() {
    let mut command = program(&["--demo", "--listen", "127.0.0.1:0", "--metrics", "--log", "debug"]);
    let (mut process, stderr) = start(&mut command);
    let address = process.address();
    fill(&address);
    // A connection of its own, for the loop that accepts.
    assert_eq!(Client::to(&address).post("/mcp", &list_clusters(1)).status, 200);
    let mut stderr = BufReader::new(stderr);
    let report = read_up_to(&mut stderr, " of the log lost: ");
    assert!(report.contains(" WARN "), "{report}");
    assert_eq!(Client::to(&address).post("/mcp", &list_clusters(2)).status, 200);
    read_up_to(&mut stderr, "tool=list_clusters");
    process.signal(Signal::TERM);
    read_up_to(&mut stderr, "stopped");
    assert_eq!(process.wait_for_exit().code(), Some(0));
}

#[test]
fn signal_stops_a_server_whose_log_is_not_read() {
    for (signal, code) in [(Signal::TERM, 0), (Signal::INT, 0)] {
        let mut command = program(&["--demo", "--listen", "127.0.0.1:0", "--metrics", "--log", "debug"]);
        let (mut process, _stderr) = start(&mut command);
        fill(&process.address());
        process.signal(signal);
        assert_eq!(process.wait_for_exit().code(), Some(code));
    }
}

#[test]
fn watchdog_is_fed_although_the_log_is_not_read() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bind");
    socket.set_read_timeout(Some(LONG)).expect("a limit");
    let mut command = program(&["--demo", "--listen", "127.0.0.1:0", "--metrics", "--log", "debug"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "20000");
    let (mut process, _stderr) = start(&mut command);
    fill(&process.address());
    let next = || {
        let mut bytes = [0; 64];
        let length = socket.recv(&mut bytes).expect("a notification");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    // The socket holds ten of them, so later ones are among these.
    (0..50).for_each(|_| assert!(["READY=1", "WATCHDOG=1"].contains(&next().as_str())));
    process.signal(Signal::TERM);
    while next() != "STOPPING=1" {}
    assert_eq!(process.wait_for_exit().code(), Some(0));
}

#[test]
fn second_signal_ends_a_server_whose_log_is_not_read_at_once() {
    let node = Node::start(|_| ScriptedReply::hang());
    let config = configuration("s", &[("lab", &node.endpoint().to_string())]);
    let args =
        ["--config", path(&config), "--listen", "127.0.0.1:0", "--metrics", "--log", "debug", "--stop-timeout", "60"];
    let (mut process, _stderr) = start(&mut program(&args));
    let address = process.address();
    fill(&address);
    let mut hanging = Client::to(&address);
    hanging.send_post("/mcp", &call(1, "list_nodes", json!({})));
    node.wait_for_requests(1);
    let started = Instant::now();
    while process.child.try_wait().expect("wait").is_none() {
        process.signal(Signal::TERM);
        assert!(started.elapsed() < LONG, "the program does not end");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(process.wait_for_exit().code(), Some(143));
}

#[test]
fn stdio_server_whose_log_is_not_read_answers_and_stops() {
    let (mut process, stderr) = start(&mut program(&["stdio", "--demo", "--log", "debug"]));
    // Each call logs several lines at this level, more than two mebibytes in all.
    for id in 0..6_000 {
        assert_eq!(process.ask(&list_clusters(id))["id"], id);
    }
    process.end_input();
    assert_eq!(process.wait_for_exit().code(), Some(0));
    let mut log = String::new();
    BufReader::new(stderr).read_to_string(&mut log).expect("UTF-8");
    assert!(log.len() < 6_000 * 100, "the pipe took the whole log: {} bytes", log.len());
}

#[test]
fn last_error_arrives_after_the_log() {
    let output = program(&["--demo", "--listen", "192.0.2.1:1", "--insecure-no-auth"]).output().expect("run");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.starts_with("error: cannot listen on ")), "{text}");
}

#[test]
fn fatal_error_does_not_wait_for_a_log_that_is_not_read() {
    // The pipe is full before the program starts.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("nonblocking mode");
    while rustix::io::write(&writer, &[b'x'; 4096]).is_ok() {}
    let mut command = program(&["--config", "/nonexistent/clusters.json"]);
    let mut child = command.stderr(writer).spawn().expect("start");
    assert_eq!(child.wait().expect("wait").code(), Some(2));
    drop(reader);
}

/// Makes calls until the pipe and the queue of the log are full.
fn fill(address: &str) {
    let mut client = Client::to(address);
    let path = format!("/mcp?{}", "x".repeat(WORD_BYTES));
    while lost_lines(&mut client) == 0 {
        for id in 0..500 {
            assert_eq!(client.post(&path, &list_clusters(id)).json()["id"], id);
        }
    }
}
