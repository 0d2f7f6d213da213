//! The built program as an operator runs it, over HTTP.
#![allow(dead_code)]

use super::node::{Node, SECRET};
use super::process::{ServerProcess, binary, run};
use super::raw::{Client, Reply, Sse, eventually};
use super::rpc::{ACCEPT, call, call_with_progress, modern, modern_headers};
use proxmox_mcp::config::TokenHash;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::{NamedTempFile, TempDir};

/// The token of the client `reader`, which may only read.
pub const READER: &str = "pmcp_reader-0a1b2c3d4e5f60718293";
/// The token of the client `operator`, which may make reversible changes.
pub const OPERATOR: &str = "pmcp_operator-1b2c3d4e5f6071829304";
/// The token of the client `admin`, which may do everything.
pub const ADMIN: &str = "pmcp_admin-2c3d4e5f607182930415";

/// The program with its own configuration. Dropping it ends the process.
pub struct ProgramServer {
    pub process: ServerProcess,
    pub endpoint: HttpEndpoint,
    /// Its clusters.json, which a test may change.
    pub config: PathBuf,
    /// Its audit log, if it was started with one.
    pub audit: PathBuf,
    options: ProgramServerBuilder,
    _folder: TempDir,
}

/// The options of a [`ProgramServer`].
pub struct ProgramServerBuilder {
    config: String,
    flags: Vec<String>,
    has_audit_file: bool,
}

/// The address of a server. Threads share it.
#[derive(Clone)]
pub struct HttpEndpoint {
    pub address: String,
}

impl Deref for ProgramServer {
    type Target = HttpEndpoint;

    fn deref(&self) -> &HttpEndpoint {
        &self.endpoint
    }
}

/// Writes [`lab`] to a file.
pub fn configuration(node: &Node, more: &Value) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    write!(file, "{}", lab(node, more)).unwrap();
    file
}

/// Returns a configuration of one cluster, `lab`, and of a client of each level. The cluster is `node` with
/// `more` fields.
pub fn lab(node: &Node, more: &Value) -> Value {
    let mut cluster = json!({"url": format!("http://{}", node.endpoint()), "user": "mcp@pve", "token_id": "ro",
        "token_secret": SECRET, "timeout_seconds": 10, "access": "full", "exec": true});
    cluster.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    cluster["exec"] = (cluster["access"] == "full" && cluster["exec"] == true).into();
    let client = |token: &str, access| json!({"token_sha256": TokenHash::from_token(token.as_bytes()).to_string(), "access": access});
    let mut admin = client(ADMIN, "full");
    (admin["exec"], admin["structured"]) = (true.into(), true.into());
    let clients = json!({"reader": client(READER, "read"), "operator": client(OPERATOR, "operate"), "admin": admin});
    json!({"clusters": {"lab": cluster}, "clients": clients})
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

impl ProgramServerBuilder {
    /// Adds these words to the command line.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(ToString::to_string));
        self
    }

    /// Writes the audit log to a file.
    pub fn audit_file(mut self) -> Self {
        self.has_audit_file = true;
        self
    }

    /// Starts the program and waits until it listens.
    pub fn start(self) -> ProgramServer {
        let folder = tempfile::tempdir().unwrap();
        let (config, audit) = (folder.path().join("clusters.json"), folder.path().join("audit.log"));
        fs::write(&config, &self.config).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        let process = self.spawn(&config, &audit);
        let endpoint = HttpEndpoint { address: process.address() };
        ProgramServer { process, endpoint, config, audit, options: self, _folder: folder }
    }

    fn spawn(&self, config: &Path, audit: &Path) -> ServerProcess {
        let mut command = Command::new(binary());
        command.env_clear().arg("--config").arg(config).args(["--listen", "127.0.0.1:0"]).args(&self.flags);
        if self.has_audit_file {
            command.env("MCP_AUDIT_LOG", audit);
        }
        ServerProcess::of(&mut command)
    }
}

impl ProgramServer {
    /// Returns a builder of a server with this configuration.
    pub fn builder(config: &Value) -> ProgramServerBuilder {
        ProgramServerBuilder { config: config.to_string(), flags: Vec::new(), has_audit_file: false }
    }

    /// Starts the server of [`lab`], with an audit file and a whole log.
    pub fn start_lab(node: &Node, more: &Value) -> Self {
        Self::builder(&lab(node, more)).flags(&["--log", "trace"]).audit_file().start()
    }

    /// Starts the server of [`lab`] without an audit file.
    pub fn start_lab_without_audit_file(node: &Node, more: &Value) -> Self {
        Self::builder(&lab(node, more)).flags(&["--log", "trace"]).start()
    }

    /// Limits every file of the program to the present length of the audit log, or ends that limit.
    pub fn fill_disk(&self, full: bool) {
        let (pid, limit) = (Pid::from_child(&self.process.child), getrlimit(Resource::Fsize));
        let length = fs::metadata(&self.audit).unwrap().len();
        let current = if full { Some(length) } else { limit.current };
        prlimit(Some(pid), Resource::Fsize, Rlimit { current, ..limit }).expect("a limit");
    }

    /// Kills the program and starts it again.
    pub fn kill_and_start(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait_for_exit();
        self.process = self.options.spawn(&self.config, &self.audit);
        self.endpoint.address = self.process.address();
    }

    /// Returns the lines of the audit log, without the look-ups of the server itself.
    pub fn lines(&self) -> Vec<Value> {
        let mut lines = self.all_lines();
        lines.retain(|line| line["event"] != "look");
        lines
    }

    /// Waits for this number of lines, without the look-ups of the server itself. The line of a read follows its answer.
    pub fn wait_for_lines(&self, count: usize) -> Vec<Value> {
        eventually("every line", || self.lines().len() >= count);
        self.lines()
    }

    /// Returns every whole line of the audit log.
    pub fn all_lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.audit).expect("UTF-8");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// Returns the output of `audit verify`, and fails if it found a problem.
    pub fn verify_audit_log(&self) -> String {
        let output = run(&["audit", "verify", self.audit.to_str().unwrap()]);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        text
    }

    /// Ends the program and returns what it printed after its first line.
    pub fn stop_and_read(mut self) -> String {
        self.process.signal(Signal::TERM);
        self.process.wait_for_exit();
        self.process.stdout.iter().chain(self.process.stderr.iter()).collect::<Vec<_>>().join("\n")
    }
}

impl HttpEndpoint {
    pub fn connect(&self) -> Client {
        Client::new(TcpStream::connect(&self.address).unwrap())
    }

    /// Posts a legacy message.
    pub fn post(&self, token: &str, message: &str) -> Reply {
        self.connect().post_with("/mcp", &format!("{ACCEPT}{}", bearer(token)), message)
    }

    /// Calls a tool and returns the answer.
    pub fn call(&self, token: &str, tool: &str, arguments: Value) -> Value {
        self.post(token, &call(1, tool, arguments)).json()
    }

    /// Calls a tool in an SSE session with progress. Returns every message up to the answer.
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

    /// Calls a tool as a modern client that can show its user a form. `more` is added to the params.
    pub fn ask(&self, token: &str, tool: &str, arguments: Value, more: Value) -> Value {
        let mut params = json!({"name": tool, "arguments": arguments});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut message: Value = serde_json::from_str(&modern(1, "tools/call", params)).unwrap();
        message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({"elicitation": {}});
        let message = message.to_string();
        self.connect().post_with("/mcp", &format!("{}{}", modern_headers(&message), bearer(token)), &message).json()
    }
}

/// Returns the texts of all contents of a result, one per line.
pub fn texts(answer: &Value) -> String {
    let content = answer["result"]["content"].as_array().unwrap_or_else(|| panic!("no content: {answer}"));
    content.iter().map(|content| content["text"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Returns the confirmation code in a question.
pub fn code(answer: &Value) -> String {
    let text = texts(answer);
    let after = text.split("confirm: \"").nth(1).unwrap_or_else(|| panic!("no code: {text}"));
    after.split('"').next().unwrap().to_owned()
}
