//! A Proxmox VE 9.2 node that answers as a real one did (`tests/cases/pve-9.2/`).
#![allow(dead_code)]

use super::node::{Node, Request, ScriptedReply};
use super::proxmox::{SCRIPT, decode_percent, gzipped_facts, read, server_error};
use proxmox_mcp::config::ClusterConfig;
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock, Mutex};

/// A recorded request with its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub tokens: Vec<RecordedToken>,
    pub method: String,
    /// Path and query as recorded.
    pub target: String,
    /// The parameters of a change, as recorded.
    pub parameters: Vec<(String, String)>,
    pub status: u16,
    phrase: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// A token of the recorded node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedToken {
    /// A token of root@pam with all of its privileges.
    Full,
    /// PVEAuditor on /.
    Reader,
    /// Administrator of the guests 100 and 101, user of the storage local.
    Operator,
    /// No privileges.
    Blind,
}

impl RecordedToken {
    pub const ALL: [Self; 4] = [Self::Full, Self::Reader, Self::Operator, Self::Blind];

    /// Returns the word of the recording.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Reader => "reader",
            Self::Operator => "ops",
            Self::Blind => "blind",
        }
    }

    /// Returns the user and the id of the token.
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Full => ("root@pam", "full"),
            Self::Reader => ("mcp@pve", "reader"),
            Self::Operator => ("ops@pve", "ops"),
            Self::Blind => ("mcp@pve", "blind"),
        }
    }
}

impl Exchange {
    /// Returns whether this is a read of a task.
    pub fn is_task_read(&self) -> bool {
        self.method == "GET" && self.target.contains("/tasks/UPID")
    }

    /// Returns whether the answer is the task of a request to the HA manager, which acts later.
    pub fn is_ha_request(&self) -> bool {
        [":hastart:", ":hastop:", ":hamigrate:"].iter().any(|kind| self.body.contains(kind))
    }

    /// Returns whether this read of a task says that it failed.
    pub fn is_failed_end(&self) -> bool {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["data"]["exitstatus"].as_str().is_some_and(|end| end != "OK")
    }

    /// Returns the parameters of a change as a model writes them: numbers as numbers.
    pub fn data(&self) -> Map<String, Value> {
        let value = |text: &str| text.parse::<u32>().map_or_else(|_| json!(text), |number| json!(number));
        self.parameters.iter().map(|(name, text)| (name.clone(), value(text))).collect()
    }

    /// Returns the words of the node: the message, or else the phrase of the status line.
    pub fn words(&self) -> String {
        let message =
            serde_json::from_str::<Value>(&self.body).ok().and_then(|body| body["message"].as_str().map(str::to_owned));
        message
            .filter(|message| self.status != 400 || !message.starts_with("Parameter"))
            .unwrap_or_else(|| self.phrase.clone())
    }

    fn reply(&self) -> ScriptedReply {
        self.reply_with(&self.body)
    }

    fn reply_with(&self, body: &str) -> ScriptedReply {
        let mut headers: Vec<(&str, &str)> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        headers.push(("Connection", "close"));
        ScriptedReply::answer(self.status, &self.phrase, &headers, body).then_close()
    }

    fn answers(&self, token: RecordedToken, request: &ReadRequest) -> bool {
        self.tokens.contains(&token) && self.method == request.method && read(self.path()) == request.path
    }

    fn path(&self) -> &str {
        self.target.split('?').next().expect("a path")
    }

    fn query(&self) -> Vec<(String, String)> {
        self.target.split_once('?').map(|(_, query)| parse_form(query)).unwrap_or_default()
    }
}

/// Returns the recorded reads of all tokens.
pub fn recorded_reads() -> &'static [Exchange] {
    static READS: LazyLock<Vec<Exchange>> =
        LazyLock::new(|| parse_recording(include_str!("../cases/pve-9.2/reads.http")));
    &READS
}

/// Returns the recorded requests of a caller in their order, each with the reads of its task.
pub fn recorded_calls() -> Vec<(&'static Exchange, Vec<Exchange>)> {
    let mut calls: Vec<(&Exchange, Vec<Exchange>)> = Vec::new();
    for exchange in recorded_writes() {
        match calls.last_mut() {
            Some((_, reads)) if exchange.is_task_read() => reads.push(exchange.clone()),
            _ => calls.push((exchange, Vec::new())),
        }
    }
    // (MCP has no method for it.)
    calls.retain(|(call, _)| call.method != "PATCH");
    calls
}

/// Returns the recorded changes in their order, with the reads between them.
pub fn recorded_writes() -> &'static [Exchange] {
    static WRITES: LazyLock<Vec<Exchange>> =
        LazyLock::new(|| parse_recording(include_str!("../cases/pve-9.2/writes.http")));
    &WRITES
}

fn parse_recording(text: &str) -> Vec<Exchange> {
    text.split("\n### ").skip(1).map(parse_exchange).collect()
}

fn parse_exchange(section: &str) -> Exchange {
    let (line, rest) = section.split_once('\n').expect("a line with the request");
    let (head, body) = rest.split_once("\n\n").expect("an empty line before the body");
    let mut words = line.splitn(3, ' ');
    let mut word = || words.next().expect("tokens, method and target");
    let tokens = word()
        .split(',')
        .map(|name| RecordedToken::ALL.into_iter().find(|token| token.name() == name).expect("a known token"));
    let (tokens, method, target) = (tokens.collect(), word(), word());
    let (target, parameters) = target.split_once("  ").unwrap_or((target, ""));
    let mut lines = head.lines();
    let mut status = lines.next().expect("a status line").splitn(3, ' ').skip(1);
    Exchange {
        tokens,
        method: method.to_owned(),
        target: target.to_owned(),
        parameters: parse_form(parameters),
        status: status.next().and_then(|code| code.parse().ok()).expect("a status"),
        phrase: status.next().unwrap_or_default().to_owned(),
        headers: lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        body: body.trim_end_matches('\n').to_owned(),
    }
}

fn parse_form(form: &str) -> Vec<(String, String)> {
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode_percent(name), decode_percent(value))).collect()
}

/// A request in comparable form.
struct ReadRequest {
    method: String,
    path: Vec<String>,
    query: Vec<(String, String)>,
}

impl ReadRequest {
    fn new(request: &Request) -> Self {
        let target = request.target.trim_start_matches("/api2/json");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self { method: request.method.clone(), path: read(path), query: parse_form(query) }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// The node, for one token.
pub struct RecordedNode {
    pub node: Node,
    token: RecordedToken,
    script: Arc<Mutex<Vec<Exchange>>>,
}

impl RecordedNode {
    pub fn start(token: RecordedToken) -> Self {
        let script = Arc::new(Mutex::new(Vec::new()));
        let exchanges = script.clone();
        let node = Node::start(move |request| match request.target.as_str() {
            SCRIPT => gzipped_facts(),
            _ => answer(token, &mut exchanges.lock().expect("the script"), &ReadRequest::new(request)),
        });
        Self { node, token, script }
    }

    /// Returns the cluster `lab` of this node, with full access and without questions.
    pub fn cluster(&self) -> ClusterConfig {
        let (user, token_id) = self.token.parts();
        ClusterConfig {
            name: "lab".into(),
            user: user.into(),
            token_id: token_id.into(),
            ..self.node.cluster_settings()
        }
    }

    /// Answers this call and the reads of its task as recorded, and the reads between it and the next change. Later ones
    /// would show another state.
    pub fn set_call(&self, call: &Exchange, task_reads: Vec<Exchange>) {
        let writes = recorded_writes();
        let place = writes.iter().position(|exchange| std::ptr::eq(exchange, call)).expect("a recorded call");
        let is_read = |exchange: &&Exchange| exchange.method == "GET";
        let following = writes[place + 1..].iter().take_while(is_read);
        // The list of guests is that of the end. The token with all privileges sees at least the guests of the other one.
        let lists = writes.iter().filter(|exchange| exchange.target == "/cluster/resources");
        let reads = following.chain(lists).filter(|exchange| !exchange.is_task_read()).cloned().map(|mut exchange| {
            if exchange.target == "/cluster/resources" && exchange.tokens == [RecordedToken::Reader] {
                exchange.tokens.push(RecordedToken::Full);
            }
            exchange
        });
        self.set_script([call.clone()].into_iter().chain(task_reads).chain(reads).collect());
    }

    /// Answers from these exchanges first. Each answers one request, and the last of several for a request all that
    /// follow.
    pub fn set_script(&self, exchanges: Vec<Exchange>) {
        *self.script.lock().expect("the script") = exchanges;
    }
}

fn answer(token: RecordedToken, script: &mut Vec<Exchange>, request: &ReadRequest) -> ScriptedReply {
    let mut scripted = (0..script.len()).filter(|n| script[*n].answers(token, request));
    if let Some(first) = scripted.next() {
        let is_last = scripted.next().is_none();
        let exchange = if is_last { script[first].clone() } else { script.remove(first) };
        return filter_rows(&exchange, request);
    }
    let mut known = recorded_reads().iter().filter(|exchange| exchange.answers(token, request)).peekable();
    match (known.peek().copied(), request.path.join("/").as_str()) {
        (Some(whole), "access/permissions") if request.parameter("path").is_some() => {
            let path = request.parameter("path").unwrap_or_default();
            ScriptedReply::data(&json!({path: effective_privileges(whole, path)}).to_string())
        }
        (Some(first), _) => {
            let same_query = known.find(|exchange| exchange.query() == request.query);
            filter_rows(same_query.unwrap_or(first), request)
        }
        (None, path) => server_error(&format!("the recording has no answer to {} /{path}", request.method)),
    }
}

/// Returns the answer with the rows that a node selects by the parameters of the request.
fn filter_rows(exchange: &Exchange, request: &ReadRequest) -> ScriptedReply {
    let path = request.path.join("/");
    let is_wanted = |row: &Value| {
        let is = |parameter: &str, member: &str| {
            request.parameter(parameter).is_none_or(|wanted| row[member].to_string().trim_matches('"') == wanted)
        };
        match path.as_str() {
            "cluster/resources" if request.parameter("type") == Some("vm") => row["vmid"].is_u64(),
            "cluster/resources" => is("type", "type"),
            "pools" => is("poolid", "poolid"),
            _ if path.ends_with("/content") => is("content", "content") && is("vmid", "vmid"),
            _ if path.ends_with("/tasks") => {
                let is_failed = row["status"] != "OK";
                is("vmid", "id") && is("typefilter", "type") && (request.parameter("errors") != Some("1") || is_failed)
            }
            _ => true,
        }
    };
    let Ok(mut body) = serde_json::from_str::<Value>(&exchange.body) else { return exchange.reply() };
    let Some(rows) = body["data"].as_array_mut() else { return exchange.reply() };
    let count = rows.len();
    rows.retain(is_wanted);
    if let (true, Some(limit)) = (path.ends_with("/tasks"), request.parameter("limit")) {
        rows.truncate(limit.parse().expect("a number"));
    }
    if rows.len() == count { exchange.reply() } else { exchange.reply_with(&body.to_string()) }
}

/// Returns the privileges on a path: its own, or those of the nearest path above that propagate.
fn effective_privileges(whole: &Exchange, path: &str) -> Value {
    let body: Value = serde_json::from_str(&whole.body).expect("the recorded permissions");
    let mut path = path;
    loop {
        if let Some(privileges) = body["data"].get(path) {
            return privileges.clone();
        }
        if path == "/" {
            return json!({});
        }
        path = path.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent });
    }
}
