//! JSON-RPC messages of both eras of MCP, and functions that send them over HTTP and read the answers.
#![allow(dead_code)]

use super::raw::{Client, Reply, Sse};
use proxmox_mcp::tools::UNTRUSTED_NOTICE;
use serde_json::{Value, json};

/// The modern version, whose requests are self-contained.
pub const MODERN: &str = "2026-07-28";
/// The Accept header of SDKs.
pub const ACCEPT: &str = "Accept: application/json, text/event-stream\r\n";

/// The Accept header of a client that reads no events.
pub const JSON_ONLY: &str = "Accept: application/json\r\n";
/// The Accept header of a client that reads only events.
pub const EVENTS_ONLY: &str = "Accept: text/event-stream\r\n";

/// Returns a request of the initialize era.
pub fn request(id: impl Into<Value>, method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params}).to_string()
}

/// Returns a notification.
pub fn notification(method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}

/// Returns a tools/call of the initialize era.
pub fn call(id: impl Into<Value>, tool: &str, arguments: Value) -> String {
    request(id, "tools/call", json!({"name": tool, "arguments": arguments}))
}

/// Returns the same call with the progress token `token`.
pub fn call_with_progress(id: impl Into<Value>, tool: &str, arguments: Value, token: impl Into<Value>) -> String {
    let meta = json!({"progressToken": token.into()});
    request(id, "tools/call", json!({"name": tool, "arguments": arguments, "_meta": meta}))
}

/// Returns the notification that cancels a call.
pub fn cancel_notification(id: impl Into<Value>) -> String {
    notification("notifications/cancelled", json!({"requestId": id.into()}))
}

/// Returns a request of 2026-07-28. `_meta` is merged with that of `params`.
pub fn modern(id: impl Into<Value>, method: &str, params: Value) -> String {
    modern_with(id, method, params, json!({}))
}

/// Returns a request of 2026-07-28 from a client with these capabilities. `_meta` is merged with that of `params`.
pub fn modern_with(id: impl Into<Value>, method: &str, mut params: Value, capabilities: Value) -> String {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
    request(id, method, params)
}

/// Returns the headers of a request of 2026-07-28 on POST /mcp.
pub fn modern_headers(message: &str) -> String {
    let message: Value = serde_json::from_str(message).expect("JSON");
    let method = message["method"].as_str().expect("a method");
    let params = &message["params"];
    let name = params["name"].as_str().or(params["uri"].as_str()).or(params["taskId"].as_str());
    let name = name.map(|name| format!("Mcp-Name: {name}\r\n")).unwrap_or_default();
    format!("{ACCEPT}MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n{name}")
}

/// Splits the text of a result from its notes, without the notice that every answer of a cluster has.
pub fn split_notes(text: &str) -> (&str, &str) {
    match text.strip_suffix(UNTRUSTED_NOTICE) {
        None => (text, ""),
        Some(rest) => {
            let (text, notes) = rest.rsplit_once("\n\n").unwrap_or((rest, ""));
            (text, notes.trim_end())
        }
    }
}

/// Returns the text of a tool's result without its notes.
pub fn text(answer: &Value) -> &str {
    split_notes(full_text(answer)).0
}

/// Returns the text of a tool's result.
pub fn full_text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {answer}"))
}

/// Returns the code of an error. Panics if the answer is not an error.
pub fn code(answer: &Value) -> i64 {
    answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error in {answer}"))
}

/// Asserts a JSON-RPC error, and returns it.
pub fn assert_error(reply: &Reply, status: u16, error: i64, id: Value) -> Value {
    let answer = reply.json();
    assert_eq!((reply.status, code(&answer), &answer["id"]), (status, error, &id), "{answer}");
    assert!(answer["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    answer
}

impl Reply {
    /// Returns the body, which must be JSON with the right Content-Type.
    pub fn json(&self) -> Value {
        assert!(self.has_header("Content-Type: application/json"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

impl Client {
    /// Posts a message of the initialize era to `/mcp`, as SDKs do.
    pub fn mcp(&mut self, json: &str) -> Reply {
        self.post_with("/mcp", ACCEPT, json)
    }

    /// Posts a message of 2026-07-28 to `/mcp`, with its headers.
    pub fn mcp_modern(&mut self, json: &str) -> Reply {
        self.post_with("/mcp", &modern_headers(json), json)
    }

    /// Reads the head of a reply that is an event stream.
    pub fn events(mut self) -> Sse {
        let head = self.reply().expect("an answer").head;
        for line in
            ["Content-Type: text/event-stream", "Cache-Control: no-cache, no-transform", "X-Accel-Buffering: no"]
        {
            assert!(head.contains(line), "{line}: {head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("Content-Length"), "{head}");
        Sse { client: self, head, path: String::new() }
    }
}

impl Sse {
    /// Returns the next message.
    pub fn json(&mut self) -> Value {
        serde_json::from_str(&self.message()).expect("JSON")
    }

    /// Returns every message up to the end of the stream.
    pub fn messages(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some((name, data)) = self.event() {
            assert_eq!(name, "message");
            all.push(serde_json::from_str(&data).expect("JSON"));
        }
        all
    }
}
