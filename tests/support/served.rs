//! The program as an operator runs it: over HTTP, with clients of every level, an audit log and one cluster, `lab`, whose
//! node a test plays.
#![allow(dead_code)]

use super::node::{Node, SECRET};
use super::process::{Process, binary, path, run};
use super::raw::{Client, Reply, Sse};
use super::rpc::{ACCEPT, call, call_with_progress, modern, modern_headers};
use proxmox_mcp::config::TokenHash;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::{NamedTempFile, TempDir};

/// May look.
pub const READER: &str = "pmcp_reader-0a1b2c3d4e5f60718293";
/// May do what can be undone.
pub const OPERATOR: &str = "pmcp_operator-1b2c3d4e5f6071829304";
/// May do all.
pub const ADMIN: &str = "pmcp_admin-2c3d4e5f607182930415";

/// A running program; dropping it ends it.
pub struct Served {
    pub process: Process,
    pub front: Front,
    pub audit: PathBuf,
    config: NamedTempFile,
    folder: TempDir,
}

/// Where it listens: what threads share.
#[derive(Clone)]
pub struct Front {
    pub address: String,
}

impl Deref for Served {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

/// clusters.json of `node` with `more` fields, and of the three clients.
pub fn configuration(node: &Node, more: &Value) -> NamedTempFile {
    let mut cluster = json!({"url": format!("http://{}", node.endpoint()), "user": "mcp@pve", "token_id": "ro",
        "token_secret": SECRET, "timeout_seconds": 10, "access": "full", "exec": true});
    cluster.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let client = |token: &str, access| json!({"token_sha256": TokenHash::from_token(token.as_bytes()).to_string(), "access": access});
    let mut admin = client(ADMIN, "full");
    admin["exec"] = true.into();
    let clients = json!({"reader": client(READER, "read"), "operator": client(OPERATOR, "operate"), "admin": admin});
    let mut file = NamedTempFile::new().unwrap();
    write!(file, "{}", json!({"clusters": {"lab": cluster}, "clients": clients})).unwrap();
    file
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

impl Served {
    /// Starts it over `node`, with `more` fields of its cluster.
    pub fn start(node: &Node, more: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (audit, config) = (folder.path().join("audit.log"), configuration(node, more));
        let process = Self::spawn(&config, Some(&audit));
        Self { front: Front { address: process.address() }, process, audit, config, folder }
    }

    /// No file of it may get any longer, or as long as may be again.
    pub fn fill_disk(&self, full: bool) {
        let (pid, limit) = (Pid::from_child(&self.process.child), getrlimit(Resource::Fsize));
        let length = std::fs::metadata(&self.audit).unwrap().len();
        let current = if full { Some(length) } else { limit.current };
        prlimit(Some(pid), Resource::Fsize, Rlimit { current, ..limit }).expect("a limit");
    }

    /// The same without an audit log of its own.
    pub fn start_without_file(node: &Node, more: &Value) -> Self {
        let (folder, config) = (tempfile::tempdir().unwrap(), configuration(node, more));
        let process = Self::spawn(&config, None);
        Self { front: Front { address: process.address() }, process, audit: folder.path().join("none"), config, folder }
    }

    fn spawn(config: &NamedTempFile, audit: Option<&Path>) -> Process {
        let mut command = Command::new("/bin/sh");
        // A limit on the size of files ends a program by a signal that is there for it, unless nobody hears it.
        command.args(["-c", "trap '' XFSZ && exec \"$0\" \"$@\"", binary()]).env_clear();
        command.args(["--config", path(config), "--listen", "127.0.0.1:0", "--log", "trace"]);
        Process::of(audit.iter().fold(&mut command, |command, audit| command.env("MCP_AUDIT_LOG", audit)))
    }

    /// Ends it without a word and starts it anew.
    pub fn kill_and_start(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.ended();
        self.process = Self::spawn(&self.config, Some(&self.audit));
        self.front.address = self.process.address();
    }

    /// The lines of the audit log, but for what the server looked up for itself.
    pub fn lines(&self) -> Vec<Value> {
        let mut lines = self.all_lines();
        lines.retain(|line| line["event"] != "look");
        lines
    }

    /// Every line of it.
    pub fn all_lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.audit).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// What `audit verify` says, which must find no problem.
    pub fn verified(&self) -> String {
        let output = run(&["audit", "verify", self.audit.to_str().unwrap()]);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        said
    }

    /// Ends it; what it printed since its first line.
    pub fn printed(mut self) -> String {
        self.process.signal(Signal::TERM);
        self.process.ended();
        self.process.stdout.iter().chain(self.process.stderr.iter()).collect::<Vec<_>>().join("\n")
    }
}

impl Front {
    pub fn connect(&self) -> Client {
        Client::new(TcpStream::connect(&self.address).unwrap())
    }

    /// Posts a message of the initialize era.
    pub fn post(&self, token: &str, message: &str) -> Reply {
        self.connect().post_with("/mcp", &format!("{ACCEPT}{}", bearer(token)), message)
    }

    /// Calls a tool: the whole answer.
    pub fn call(&self, token: &str, tool: &str, arguments: Value) -> Value {
        self.post(token, &call(1, tool, arguments)).json()
    }

    /// Calls a tool in an SSE session, progress wanted: every message up to the answer.
    pub fn events(&self, token: &str, tool: &str, arguments: Value) -> Vec<String> {
        let mut sse = Sse::open_with(self.connect(), &bearer(token));
        let message = call_with_progress(1, tool, arguments, "p");
        assert_eq!(self.connect().post_with(&sse.path, &bearer(token), &message).status, 202);
        let mut all = Vec::new();
        loop {
            all.push(sse.message());
            let message: Value = serde_json::from_str(all.last().unwrap()).expect("JSON");
            if message["id"] == 1 {
                return all;
            }
        }
    }

    /// Calls a tool as a client of 2026-07-28 that can ask its user; `more` is added to the params.
    pub fn ask(&self, token: &str, tool: &str, arguments: Value, more: Value) -> Value {
        let mut params = json!({"name": tool, "arguments": arguments});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut message: Value = serde_json::from_str(&modern(1, "tools/call", params)).unwrap();
        message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({"elicitation": {}});
        let message = message.to_string();
        self.connect().post_with("/mcp", &format!("{}{}", modern_headers(&message), bearer(token)), &message).json()
    }
}

/// The text of every content of a result, a line each.
pub fn texts(answer: &Value) -> String {
    let content = answer["result"]["content"].as_array().unwrap_or_else(|| panic!("no content: {answer}"));
    content.iter().map(|content| content["text"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The code in a question.
pub fn code(answer: &Value) -> String {
    let said = texts(answer);
    let after = said.split("confirm: \"").nth(1).unwrap_or_else(|| panic!("no code: {said}"));
    after.split('"').next().unwrap().to_owned()
}
