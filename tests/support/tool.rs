//! Tool calls through the protocol core, without a client socket.
#![allow(dead_code)]

use super::policy::RecordingNode;
use super::rpc::split_notes;
use super::test_tools::product_for;
use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::config::{Client, ClusterConfig};
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::mcp::in_flight::InFlightCalls;
use proxmox_mcp::mcp::{McpServer, TransportContext, message};
use serde_json::{Value, json};
use std::cell::RefCell;

/// The result of a tool call.
#[derive(Debug)]
pub struct ToolResult {
    /// The tool failed.
    pub failed: bool,
    /// The text without the notes.
    pub text: String,
    /// The notes after the text.
    pub more: Vec<String>,
    /// `structuredContent` for a client that shows user interfaces, or null.
    pub structured: Value,
    /// The progress messages in order.
    pub progress: Vec<String>,
}

impl ToolResult {
    /// Returns all texts, including the notes.
    pub fn all_text(&self) -> String {
        format!("{}\n{}", self.text, self.more.join("\n"))
    }
}

/// Returns the arguments of a read or a call with `format: json`, unless they name a format.
pub fn as_json(mut arguments: Value) -> Value {
    if let Some(members) = arguments.as_object_mut() {
        members.entry("format").or_insert_with(|| "json".into());
    }
    arguments
}

/// The tools of the product over clusters of one recording node.
pub struct ToolServer {
    pub server: McpServer,
    pub node: RecordingNode,
    /// The clients as callers, in the given order.
    pub callers: Vec<Caller>,
}

impl ToolServer {
    /// Serves these clusters of `node` to the process itself.
    pub fn new(node: RecordingNode, clusters: Vec<ClusterConfig>) -> Self {
        Self::for_clients(node, clusters, &[])
    }

    /// Serves these clusters of `node` to these clients. The last client must see every cluster. The description of
    /// each cluster is fetched, and the requests for it are forgotten.
    pub fn for_clients(node: RecordingNode, clusters: Vec<ClusterConfig>, clients: &[Client]) -> Self {
        let names: Vec<_> = clusters.iter().map(|cluster| cluster.name.clone()).collect();
        let server = product_for(clusters, clients);
        let callers: Vec<_> = clients.iter().map(super::policy::caller).collect();
        let stdio = Caller::new_stdio();
        for name in names {
            let arguments = json!({"path": "/version", "cluster": name});
            let result = call_as(&server, callers.last().unwrap_or(&stdio), "describe_api", arguments);
            assert!(!result.failed, "{result:?}");
        }
        node.requests();
        Self { server, node, callers }
    }

    /// Calls a tool as the process itself.
    pub fn call(&self, tool: &str, arguments: Value) -> ToolResult {
        call(&self.server, tool, arguments)
    }

    /// Calls a tool as the client with this index.
    pub fn call_as(&self, client: usize, tool: &str, arguments: Value) -> ToolResult {
        call_as(&self.server, &self.callers[client], tool, arguments)
    }
}

/// Calls a tool and records its progress.
pub fn call(server: &McpServer, tool: &str, arguments: Value) -> ToolResult {
    call_with(server, tool, arguments, CancelToken::new(), &|_| ())
}

/// Does the same with the test's cancel token. `on_progress` receives each progress message.
pub fn call_with(
    server: &McpServer,
    tool: &str,
    arguments: Value,
    cancel: CancelToken,
    on_progress: &dyn Fn(&str),
) -> ToolResult {
    let params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": 7}});
    send_call(server, &Caller::new_stdio(), params, cancel, on_progress)
}

/// Calls a tool as this client, without progress.
pub fn call_as(server: &McpServer, caller: &Caller, tool: &str, arguments: Value) -> ToolResult {
    send_call(server, caller, json!({"name": tool, "arguments": arguments}), CancelToken::new(), &|_| ())
}

/// Sends a tools/call with these params from this client and returns the answer.
pub fn answer_to(server: &McpServer, caller: &Caller, params: Value) -> Value {
    send_and_wait(server, caller, params, CancelToken::new(), &|_| ())
}

fn send_and_wait(
    server: &McpServer,
    caller: &Caller,
    params: Value,
    cancel: CancelToken,
    send: &dyn Fn(&[u8]),
) -> Value {
    let text = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let Ok(message::Message::Request(request)) = message::parse_message(text.as_bytes()) else { panic!("{text}") };
    let calls = InFlightCalls::new();
    calls.set_has_ui(true);
    let exchange = TransportContext { caller, calls: Some(&calls), cancel, notify: send };
    let answer = server.handle_request(&request, request.parse_params(), &exchange).expect("an answer");
    serde_json::from_slice(&answer.bytes).expect("JSON")
}

fn send_call(
    server: &McpServer,
    caller: &Caller,
    params: Value,
    cancel: CancelToken,
    on_progress: &dyn Fn(&str),
) -> ToolResult {
    let progress = RefCell::new(Vec::new());
    let send = |bytes: &[u8]| {
        let note: Value = serde_json::from_slice(bytes).expect("JSON");
        assert_eq!(note["method"], "notifications/progress", "{note}");
        let message = note["params"]["message"].as_str().expect("a message").to_owned();
        on_progress(&message);
        progress.borrow_mut().push(message);
    };
    let answer = send_and_wait(server, caller, params, cancel, &send);
    let result = &answer["result"];
    let Some([content]) = result["content"].as_array().map(Vec::as_slice) else { panic!("one content: {answer}") };
    let (text, notes) = split_notes(content["text"].as_str().expect("a text"));
    ToolResult {
        failed: result["isError"] == true,
        text: text.to_owned(),
        more: notes.lines().map(str::to_owned).collect(),
        structured: result["structuredContent"].clone(),
        progress: progress.into_inner(),
    }
}
