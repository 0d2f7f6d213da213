//! A task of a scripted node that runs until a test ends it, and a client that supports the extension for tasks.
#![allow(dead_code)]

use super::node::{Request, ScriptedReply};
use super::policy::{RecordingNode, token};
use super::proxmox::gzipped_facts;
use super::raw::{Client, LONG, Reply};
use super::rpc::{modern_headers, modern_with};
use serde_json::{Value, json};
use std::net::ToSocketAddrs;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The task that every POST and DELETE of the node starts.
pub const UPID: &str = "UPID:pve1:000001C1:00022AEA:6B0293BE:vzdump:100:root@pam!mcp:";

/// The end of a task that was stopped.
pub const INTERRUPTED: &str = "received interrupt";

/// The capabilities of a client that supports tasks.
pub fn task_capabilities() -> Value {
    json!({"extensions": {"io.modelcontextprotocol/tasks": {}}})
}

/// The task of a scripted node, under the control of a test.
#[derive(Clone, Default)]
pub struct HeldTask(Arc<(Mutex<TaskScript>, Condvar)>);

#[derive(Default)]
struct TaskScript {
    /// The task has ended with this exit status.
    exit: Option<String>,
    lines: Vec<String>,
    /// The answer to a read of the status, in place of the status.
    status_reply: Option<ScriptedReply>,
    status_reads: usize,
    /// The task ends with its first read after this number.
    ends_after: Option<usize>,
}

impl HeldTask {
    /// Starts a node whose changes start this task.
    pub fn start_node(&self) -> RecordingNode {
        let task = self.clone();
        RecordingNode::with(gzipped_facts(), move |request| task.answer(request))
    }

    /// Ends the task, or changes its end.
    pub fn end(&self, exit: &str) {
        self.script().exit = Some(exit.to_owned());
    }

    /// Starts the task again.
    pub fn run(&self) {
        let mut script = self.script();
        (script.exit, script.lines) = (None, Vec::new());
    }

    /// Ends the task with its first read of the status after this number of reads.
    pub fn end_after_reads(&self, reads: usize) {
        self.script().ends_after = Some(reads);
    }

    /// Adds a line to the log.
    pub fn log(&self, line: &str) {
        self.script().lines.push(line.to_owned());
    }

    /// Answers reads of the status with this reply, or with the status again.
    pub fn answer_status_with(&self, reply: Option<ScriptedReply>) {
        self.script().status_reply = reply;
    }

    /// Waits until the status was read this number of times more.
    pub fn wait_for_reads(&self, more: usize) {
        let (script, changed) = &*self.0;
        let script = script.lock().unwrap_or_else(PoisonError::into_inner);
        let end = script.status_reads + more;
        let (script, wait) = changed.wait_timeout_while(script, LONG, |script| script.status_reads < end).unwrap();
        assert!(!wait.timed_out(), "{} reads", script.status_reads);
    }

    fn script(&self) -> MutexGuard<'_, TaskScript> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the answer to a request about the task, or to one that starts it.
    pub fn answer(&self, request: &Request) -> Option<ScriptedReply> {
        let mut script = self.script();
        let path = request.path();
        if request.method == "DELETE" && path.contains("/tasks/") {
            script.exit.get_or_insert_with(|| INTERRUPTED.to_owned());
            return Some(ScriptedReply::data("null"));
        }
        if request.method != "GET" {
            return Some(ScriptedReply::data(&json!(UPID).to_string()));
        }
        if path.ends_with("/log") && path.contains("/tasks/") {
            let start = request.target.split("start=").nth(1).and_then(|s| s.split('&').next()).expect("start");
            let lines = script.lines.iter().enumerate().skip(start.parse().expect("a number"));
            let rows: Vec<_> = lines.map(|(n, line)| json!({"n": n + 1, "t": line})).collect();
            return Some(ScriptedReply::body(json!({"total": script.lines.len(), "data": rows}).to_string()));
        }
        if path.ends_with("/tasks") {
            // 42 s after the start.
            return Some(ScriptedReply::data(&json!([{"upid": UPID, "endtime": 0x6B02_93BE + 42}]).to_string()));
        }
        if !path.ends_with("/status") || !path.contains("/tasks/") {
            return None;
        }
        script.status_reads += 1;
        self.0.1.notify_all();
        if script.ends_after.is_some_and(|reads| script.status_reads > reads) {
            script.exit = Some("OK".to_owned());
        }
        Some(match (&script.status_reply, &script.exit) {
            (Some(reply), _) => reply.clone(),
            (None, None) => ScriptedReply::data(r#"{"status":"running"}"#),
            (None, Some(exit)) => ScriptedReply::data(&json!({"status": "stopped", "exitstatus": exit}).to_string()),
        })
    }
}

/// A client of 2026-07-28 that declares these capabilities.
pub struct TaskClient {
    address: String,
    token: String,
    capabilities: Value,
}

impl TaskClient {
    /// Returns a client that supports tasks, with the token of a client of this name.
    pub fn new(address: impl ToSocketAddrs + ToString, name: &str) -> Self {
        Self::with_token(address, &token(name))
    }

    /// Returns a client that supports tasks, with this token.
    pub fn with_token(address: impl ToSocketAddrs + ToString, token: &str) -> Self {
        Self { address: address.to_string(), token: token.to_owned(), capabilities: task_capabilities() }
    }

    /// Declares these capabilities instead.
    pub fn with_capabilities(self, capabilities: Value) -> Self {
        Self { capabilities, ..self }
    }

    /// Returns a request with the client's capabilities.
    pub fn request(&self, method: &str, params: Value) -> String {
        modern_with(1, method, params, self.capabilities.clone())
    }

    /// Sends a request and returns the reply.
    pub fn send(&self, method: &str, params: Value) -> Reply {
        let message = self.request(method, params);
        self.send_with_headers(&modern_headers(&message), &message)
    }

    /// Sends a message with these headers (whole lines), and returns the reply.
    pub fn send_with_headers(&self, headers: &str, message: &str) -> Reply {
        let headers = format!("{headers}Authorization: Bearer {}\r\n", self.token);
        Client::to(self.address.as_str()).post_with("/mcp", &headers, message)
    }

    /// Calls a tool and returns its result.
    pub fn call(&self, tool: &str, arguments: Value) -> Value {
        self.result("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Backs a guest up and waits for the task. Returns the result.
    pub fn back_up(&self) -> Value {
        self.call(
            "proxmox_api_call",
            json!({"path": "/nodes/pve1/vzdump", "method": "POST", "data": {"vmid": "100", "remove": false}, "wait": true}),
        )
    }

    /// Backs a guest up and returns the id of the task that the call continues as.
    pub fn start_task(&self) -> String {
        let result = self.back_up();
        assert_eq!(result["resultType"], "task", "{result}");
        result["taskId"].as_str().expect("an id").to_owned()
    }

    /// Returns the present state of a task.
    pub fn get(&self, id: &str) -> Value {
        self.result("tasks/get", json!({"taskId": id}))
    }

    /// Sends a request about a task, and returns the JSON-RPC error.
    pub fn error(&self, method: &str, id: &str) -> Value {
        let answer = self.send(method, json!({"taskId": id, "inputResponses": {}})).json();
        assert!(answer.get("error").is_some(), "{method}: {answer}");
        answer["error"].clone()
    }

    pub fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.send(method, params).json();
        assert!(answer.get("result").is_some(), "{method}: {answer}");
        answer["result"].clone()
    }
}
