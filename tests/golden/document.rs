//! A builder of golden files: texts under headings, without the values that differ from run to run.

use insta::{Settings, assert_snapshot};
use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::mcp::{McpServer, TransportContext, message};
use proxmox_mcp::tools::UNTRUSTED_NOTICE;
use serde_json::{Value, json};
use std::fmt::{Display, Write};

/// Patterns of values that differ from run to run, and their replacements.
const REDACTIONS: [(&str, &str); 18] = [
    (r"127\.0\.0\.1:\d{5}\b", "127.0.0.1:PORT"),
    (r"\[::1\]:\d{5}\b", "[::1]:PORT"),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"UPID:(\w+):[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:", "UPID:$1:PID:PSTART:TIME:"),
    (r"\b[0-9a-f]+-[0-9a-f]{16}-[0-9a-f]{24}\b", "CODE"),
    (r"/tmp/\.tmp\w+", "FOLDER"),
    (r"pmcp_[0-9a-f]{64}", "TOKEN"),
    (r"\b[0-9a-f]{64}\b", "HASH"),
    (r"\b([0-9A-F]{2}:){31}[0-9A-F]{2}\b", "FINGERPRINT"),
    (r"\bBC:24:11(:[0-9A-F]{2}){3}\b", "MAC"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    (r#"("?(?:[a-z-]+/callId|id)"?[:=] ?"?)[0-9a-f]{4}-[0-9a-f]+\b"#, "${1}CALL"),
    (r"\bsession [0-9a-f]{8,}\b", "session SESSION"),
    (r"sessionId=[0-9a-f]+", "sessionId=SESSION"),
    (r"\b\d+ µs", "N µs"),
    (r"\bms=\d+", "ms=N"),
    // The demo's job, which starts at an hour that is over.
    (r#"(schedule"?[ :]"?)0[02]:00"#, "${1}HOUR"),
    (r"\b[0-9a-f]{40}\b", "DIGEST"),
];

/// The texts of one topic.
#[derive(Default)]
pub struct Document {
    text: String,
    redactions: Vec<(String, &'static str)>,
}

impl Document {
    pub fn new() -> Self {
        let mut document = Self::default();
        document.redact(&regex_escape(env!("CARGO_PKG_VERSION")), "VERSION");
        document
    }

    /// Replaces each match of this regular expression, after the usual values.
    pub fn redact(&mut self, pattern: &str, word: &'static str) {
        self.redactions.push((pattern.to_owned(), word));
    }

    pub fn section(&mut self, title: &str) {
        let _ = write!(self.text, "\n# {title}\n\n");
    }

    /// Adds a text under a heading that names its cause.
    pub fn case(&mut self, title: impl Display, text: impl Display) {
        let text = text.to_string();
        let _ = write!(self.text, "> {title}\n{}\n\n", text.trim_end_matches('\n'));
    }

    /// Calls a tool as the process itself, and adds the answer as a model sees it. Returns the answer.
    pub fn call(&mut self, server: &McpServer, tool: &str, arguments: Value) -> Value {
        self.call_as(server, &Caller::new_stdio(), tool, arguments)
    }

    /// Calls a tool as this caller, and adds the answer as a model sees it. Returns the answer.
    pub fn call_as(&mut self, server: &McpServer, caller: &Caller, tool: &str, arguments: Value) -> Value {
        let title = format!("{tool} {arguments}");
        let answer = send(server, caller, "tools/call", json!({"name": tool, "arguments": arguments}));
        self.case(shorten(&title), visible(&answer));
        answer
    }

    /// Compares the document with the golden file of this name.
    pub fn assert(self, name: &str) {
        let mut settings = Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        for (pattern, word) in REDACTIONS {
            settings.add_filter(pattern, word);
        }
        for (pattern, word) in &self.redactions {
            settings.add_filter(pattern, *word);
        }
        settings.bind(|| assert_snapshot!(name, self.text.trim_start()));
    }
}

/// Returns a title with its middle left out if it is long.
fn shorten(title: &str) -> String {
    const MAX: usize = 400;
    if title.len() <= MAX {
        return title.to_owned();
    }
    let begin: String = title.chars().take(120).collect();
    format!("{begin}… ({} bytes)", title.len())
}

fn regex_escape(text: &str) -> String {
    format!(r"\b{}\b", text.replace('.', r"\."))
}

/// Sends a request and returns the answer's bytes as a text.
pub fn send_for_text(server: &McpServer, caller: &Caller, method: &str, params: Value) -> String {
    send_cancellable(server, caller, method, params, CancelToken::new())
}

/// Sends a request and returns the answer.
pub fn send(server: &McpServer, caller: &Caller, method: &str, params: Value) -> Value {
    serde_json::from_str(&send_for_text(server, caller, method, params)).expect("JSON")
}

/// Sends a request that `cancel` ends, and returns the answer's bytes as a text.
pub fn send_cancellable(
    server: &McpServer,
    caller: &Caller,
    method: &str,
    params: Value,
    cancel: CancelToken,
) -> String {
    let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let Ok(message::Message::Request(request)) = message::parse_message(text.as_bytes()) else { panic!("{text}") };
    let context = TransportContext { caller, calls: None, cancel, notify: &|_| () };
    let answer = server.handle_request(&request, request.parse_params(), &context).expect("an answer");
    String::from_utf8(answer.bytes).expect("UTF-8")
}

/// Returns the parts of an answer that a model sees, one per line.
pub fn visible(answer: &Value) -> String {
    if let Some(error) = answer.get("error") {
        return format!("JSON-RPC error {}: {}", error["code"], error["message"].as_str().unwrap_or_default());
    }
    let result = &answer["result"];
    let mut text = String::new();
    if result["isError"] == true {
        text.push_str("[error]\n");
    }
    for content in result["content"].as_array().into_iter().flatten() {
        let words = content["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"));
        let words = words.replace(UNTRUSTED_NOTICE, "(the notice)");
        let _ = writeln!(text, "{}", words.trim_end_matches('\n'));
    }
    if let Some(structured) = result.get("structuredContent") {
        let _ = writeln!(text, "-- structuredContent\n{}", pretty(&first_row_only(structured).to_string(), 1));
    }
    if let Some(asked) = result.get("inputRequests") {
        let _ = writeln!(text, "-- inputRequests\n{}", pretty(&asked.to_string(), 3));
    }
    text
}

/// Returns a table with its first row. The text has the other rows too.
fn first_row_only(structured: &Value) -> Value {
    let mut structured = structured.clone();
    if let Some(rows) = structured.get_mut("rows").and_then(Value::as_array_mut)
        && rows.len() > 1
    {
        let more = format!("and {} more", rows.len() - 1);
        rows.truncate(1);
        rows.push(more.into());
    }
    structured
}

/// Returns JSON with line breaks in the outer `depth` levels. Members keep their order.
pub fn pretty(json: &str, depth: usize) -> String {
    let (mut out, mut level, mut quoted, mut escaped) = (String::new(), 0_usize, false, false);
    let break_line = |out: &mut String, level: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(level));
    };
    for (at, c) in json.char_indices() {
        if quoted {
            out.push(c);
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                level += 1;
                if level <= depth && !json[at + 1..].starts_with(['}', ']']) {
                    break_line(&mut out, level);
                }
            }
            '}' | ']' => {
                if level <= depth && !json[..at].ends_with(['{', '[']) {
                    break_line(&mut out, level - 1);
                }
                level -= 1;
                out.push(c);
            }
            ',' => {
                out.push(c);
                if level <= depth {
                    break_line(&mut out, level);
                } else {
                    out.push(' ');
                }
            }
            ':' => out.push_str(": "),
            _ => {
                quoted = c == '"';
                out.push(c);
            }
        }
    }
    out
}
