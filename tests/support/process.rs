//! The built program as a process.
#![allow(dead_code)]

use super::raw::LONG;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;
use tempfile::NamedTempFile;

/// Returns the program's path. Cargo names it to integration tests alone.
pub fn binary() -> &'static str {
    const PATH: Option<&str> = option_env!("CARGO_BIN_EXE_proxmox-mcp");
    PATH.expect("cargo builds the program for its tests")
}

/// Returns a command of the program in an empty environment, so that no test depends on the caller's.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Output {
    program(args).output().expect("run")
}

/// Writes a configuration of clusters by name and address. Their nodes speak plain HTTP, and all have this secret.
pub fn configuration(secret: &str, clusters: &[(&str, &str)]) -> NamedTempFile {
    let cluster = |(name, address): &(&str, &str)| {
        let entry = json!({"url": format!("http://{address}"), "user": "mcp@pve", "token_id": "ro",
            "token_secret": secret, "timeout_seconds": 10});
        format!("\"{name}\": {entry}")
    };
    let clusters: Vec<_> = clusters.iter().map(cluster).collect();
    let mut file = NamedTempFile::new().expect("a file");
    write!(file, r#"{{"clusters": {{{}}}}}"#, clusters.join(", ")).expect("write");
    file
}

/// Returns the path of a file, for a command line.
pub fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().expect("UTF-8")
}

/// Returns the lines of a pipe as they arrive.
pub fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// A running program. Dropping it ends it.
pub struct ServerProcess {
    pub child: Child,
    stdin: Option<ChildStdin>,
    pub stdout: Receiver<String>,
    pub stderr: Receiver<String>,
}

impl ServerProcess {
    /// Starts the program with all three pipes open to the test.
    pub fn start(args: &[&str]) -> Self {
        Self::of(&mut program(args))
    }

    /// Starts a command, for example one with variables.
    pub fn of(command: &mut Command) -> Self {
        let (mut process, stdout) = Self::spawn(command);
        process.stdout = lines(stdout);
        process
    }

    /// Starts a command with this stdin.
    pub fn of_with_stdin(command: &mut Command, stdin: impl Into<Stdio>) -> Self {
        let (mut process, stdout) = Self::spawn_with(command, stdin);
        process.stdout = lines(stdout);
        process
    }

    /// Starts the program with a closed pipe as its stdout.
    pub fn start_unread(args: &[&str]) -> Self {
        Self::spawn(&mut program(args)).0
    }

    /// Starts a command whose stderr is read by the test only, if at all.
    pub fn of_with_unread_stderr(command: &mut Command) -> (Self, ChildStderr) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start");
        let (stdin, stdout) = (child.stdin.take(), lines(child.stdout.take().expect("stdout")));
        let stderr = child.stderr.take().expect("stderr");
        (Self { child, stdin, stdout, stderr: channel().1 }, stderr)
    }

    fn spawn(command: &mut Command) -> (Self, ChildStdout) {
        Self::spawn_with(command, Stdio::piped())
    }

    fn spawn_with(command: &mut Command, stdin: impl Into<Stdio>) -> (Self, ChildStdout) {
        // On a loaded machine a call may take long, and most tests read its answer as one document.
        if !command.get_envs().any(|(name, _)| name == "PROXMOX_MCP_STREAM_DELAY") {
            command.env("PROXMOX_MCP_STREAM_DELAY", "60");
        }
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("stdout"));
        let stderr = lines(child.stderr.take().expect("stderr"));
        (Self { child, stdin, stdout: channel().1, stderr }, stdout)
    }

    /// Returns the address in the first line of a program that serves HTTP, `127.0.0.1:port`.
    pub fn address(&self) -> String {
        let mut line = self.stdout.recv_timeout(LONG).expect("a first line");
        if line.starts_with('{') {
            // The form of --log-format json.
            let object: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            line = object["message"].as_str().expect("a message").to_owned();
        }
        let (start, address) = line.rsplit_once("http://").expect("an address");
        assert_eq!(start, format!("proxmox-mcp {} listening on ", env!("CARGO_PKG_VERSION")));
        address.to_owned()
    }

    /// Writes a line to its stdin.
    pub fn write_line(&mut self, line: &str) {
        self.write_bytes(format!("{line}\n").as_bytes());
    }

    /// Writes bytes to its stdin.
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().expect("stdin is open").write_all(bytes).expect("stdin is read");
    }

    /// Ends its stdin.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Returns the next line of its stdout, which must be a message.
    pub fn message(&self) -> Value {
        let line = self.stdout.recv_timeout(LONG).expect("a line on stdout");
        let message: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
        message
    }

    /// Writes a message and reads the next one.
    pub fn ask(&mut self, line: &str) -> Value {
        self.write_line(line);
        self.message()
    }

    /// Stops the process and continues it, as the sleep of a machine or a paused container does.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.child.id());
        // The state follows the name in brackets.
        let stopped =
            || std::fs::read_to_string(&stat).is_ok_and(|s| s.rsplit(')').next().is_some_and(|s| s.starts_with(" T")));
        while !stopped() {
            std::thread::yield_now();
        }
        self.signal(Signal::CONT);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signal");
    }

    /// Waits for the exit of the process.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status;
            }
            assert!(Instant::now() < deadline, "the program does not end");
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
