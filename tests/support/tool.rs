//! Tools called through the protocol core, without a socket on this side.
#![allow(dead_code)]

use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::mcp::{McpServer, TransportContext, message};
use proxmox_mcp::tools::UNTRUSTED_NOTICE;
use serde_json::{Value, json};
use std::cell::RefCell;

/// What a call brought.
#[derive(Debug)]
pub struct Said {
    /// The tool failed.
    pub failed: bool,
    /// Its text: that of the first content.
    pub text: String,
    /// The texts of the other contents.
    pub more: Vec<String>,
    /// `structuredContent`, or null.
    pub structured: Value,
    /// The messages of its progress, in order.
    pub progress: Vec<String>,
}

impl Said {
    /// Everything it said, the notes too.
    pub fn whole(&self) -> String {
        format!("{}\n{}", self.text, self.more.join("\n"))
    }
}

/// Calls a tool; progress is wanted.
pub fn call(server: &McpServer, tool: &str, arguments: Value) -> Said {
    call_with(server, tool, arguments, CancelToken::new(), &|_| ())
}

/// The same, with the call's cancellation in the test's hand; `heard` is told of each message of the progress.
pub fn call_with(server: &McpServer, tool: &str, arguments: Value, cancel: CancelToken, heard: &dyn Fn(&str)) -> Said {
    let params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": 7}});
    said(server, &Caller::new_stdio(), params, cancel, heard)
}

/// The same by somebody; no progress is wanted.
pub fn call_as(server: &McpServer, caller: &Caller, tool: &str, arguments: Value) -> Said {
    said(server, caller, json!({"name": tool, "arguments": arguments}), CancelToken::new(), &|_| ())
}

/// Any tools/call by somebody: its answer.
pub fn answer_to(server: &McpServer, caller: &Caller, params: Value) -> Value {
    answered(server, caller, params, CancelToken::new(), &|_| ())
}

fn answered(server: &McpServer, caller: &Caller, params: Value, cancel: CancelToken, send: &dyn Fn(&[u8])) -> Value {
    let text = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let Ok(message::Message::Request(request)) = message::parse_message(text.as_bytes()) else { panic!("{text}") };
    let exchange = TransportContext { caller, calls: None, cancel, notify: send };
    let answer = server.handle_request(&request, request.parse_params(), &exchange).expect("an answer");
    serde_json::from_slice(&answer.bytes).expect("JSON")
}

fn said(server: &McpServer, caller: &Caller, params: Value, cancel: CancelToken, heard: &dyn Fn(&str)) -> Said {
    let progress = RefCell::new(Vec::new());
    let send = |bytes: &[u8]| {
        let note: Value = serde_json::from_slice(bytes).expect("JSON");
        assert_eq!(note["method"], "notifications/progress", "{note}");
        let message = note["params"]["message"].as_str().expect("a message").to_owned();
        heard(&message);
        progress.borrow_mut().push(message);
    };
    let answer = answered(server, caller, params, cancel, &send);
    let result = &answer["result"];
    let content = result["content"].as_array().unwrap_or_else(|| panic!("no content: {answer}"));
    let mut texts: Vec<_> = content.iter().map(|c| c["text"].as_str().expect("a text").to_owned()).collect();
    let failed = result["isError"] == true;
    // It stands beside every answer; one test looks for it.
    if texts.last().is_some_and(|last| last == UNTRUSTED_NOTICE) && !failed {
        texts.pop();
    }
    let mut texts = texts.into_iter();
    Said {
        failed,
        text: texts.next().unwrap_or_else(|| panic!("no text: {answer}")),
        more: texts.collect(),
        structured: result["structuredContent"].clone(),
        progress: progress.into_inner(),
    }
}
