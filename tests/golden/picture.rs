//! The picture of the README: a conversation whose answers are those of the tools on the demo.
//!
//! `UPDATE=1 cargo test --test golden picture` draws `docs/conversation.svg` again.

use crate::demo::demo;
use crate::document::send;
use crate::support::test_tools::product;
use proxmox_mcp::mcp::context::Caller;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const LINE_HEIGHT: usize = 20;
const WIDTH: usize = 860;
/// The most characters of a line that fit into the picture.
const MAX_CHARS: usize = 98;

/// One line of the picture.
struct Line {
    class: &'static str,
    text: String,
}

/// A part of the conversation.
enum Part {
    User(&'static str),
    Model(&'static str),
    /// A call, and the lines of its answer that are shown: each by its first words, and up to some words.
    Call {
        tool: &'static str,
        arguments: Value,
        shown: &'static [(&'static str, &'static str)],
    },
    /// A call that has to be confirmed, and the lines of the question.
    Question {
        arguments: Value,
        shown: &'static [(&'static str, &'static str)],
    },
}

fn conversation() -> Vec<Part> {
    vec![
        Part::User("Is anything wrong with my cluster?"),
        Part::Call {
            tool: "get_cluster_resources",
            arguments: json!({"type": "overview"}),
            shown: &[("- nas (shared): ", " /nodes/"), ("backups (", " /cluster/"), ("- 106 ", "\n")],
        },
        Part::Model("The storage nas is almost full, and three guests have no backup, such as staging01."),
        Part::User("Snapshot web01, then give it 4 GB of memory."),
        Part::Call {
            tool: "proxmox_api_call",
            arguments: json!({"path": "/qemu/web01/snapshot", "method": "POST", "data": {"snapname": "before"}, "wait": true}),
            shown: &[("OK: qmsnapshot of guest 100", " took ")],
        },
        Part::Call {
            tool: "proxmox_api_call",
            arguments: json!({"path": "/qemu/web01/config", "method": "PUT", "data": {"memory": 4096}}),
            shown: &[("VM 100 \"web01\" on pve1 waits", "\n"), ("undo: PUT ", " {")],
        },
        Part::Model("Done. The new memory works from the next restart of web01."),
        Part::User("And delete staging01."),
        Part::Question {
            arguments: json!({"path": "/qemu/staging01", "method": "DELETE"}),
            shown: &[
                ("Delete VM 106 ", " (the guest, "),
                ("Its disks: scsi0 ", ","),
                ("Its snapshots: ", "\n"),
                ("The API token sees no backup ", "\n"),
            ],
        },
    ]
}

/// Returns a call as the picture shows it.
fn call_line(tool: &str, arguments: &Value) -> String {
    let words = ["method", "path"].iter().filter_map(|name| arguments[*name].as_str());
    let given = words.collect::<Vec<_>>().join(" ");
    match (given.as_str(), arguments["data"].is_null()) {
        ("", _) => format!("{tool} {arguments}"),
        (given, true) => format!("{tool} {given}"),
        (given, false) => format!("{tool} {given} {}", arguments["data"]),
    }
}

/// Returns the lines of an answer that begin with these words, up to the others.
fn shown_lines(answer: &str, shown: &[(&str, &str)]) -> Vec<String> {
    let find = |(start, end): &(&str, &str)| {
        let line = answer.lines().find(|line| line.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("{start:?} begins no line of:\n{answer}"));
        line.split(end).next().expect("a first part").to_owned()
    };
    shown.iter().map(find).collect()
}

/// Has the conversation on the demo.
fn lines() -> Vec<Line> {
    let demo = demo();
    let server = product(vec![demo.cluster()]);
    let answer = |tool: &str, arguments: &Value| {
        let params = json!({"name": tool, "arguments": arguments});
        let answer = send(&server, &Caller::new_stdio(), "tools/call", params);
        answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let mut lines = Vec::new();
    let mut push = |class, text: String| lines.push(Line { class, text });
    for part in conversation() {
        match part {
            Part::User(text) => {
                push("gap", String::new());
                push("user", format!("> {text}"));
            }
            Part::Model(text) => push("model", text.to_owned()),
            Part::Call { tool, arguments, shown } => {
                push("call", call_line(tool, &arguments));
                shown_lines(&answer(tool, &arguments), shown).into_iter().for_each(|text| push("answer", text));
            }
            Part::Question { arguments, shown } => {
                let tool = "proxmox_api_call";
                push("call", call_line(tool, &arguments));
                shown_lines(&answer(tool, &arguments), shown).into_iter().for_each(|text| push("question", text));
                push("buttons", "[ Accept ]   [ Decline ]".to_owned());
            }
        }
    }
    lines
}

fn draw(lines: &[Line]) -> String {
    let height = (lines.len() + 1) * LINE_HEIGHT + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\">\n<title>A conversation about a cluster</title>\n<style>\ntext {{ font: 14px ui-monospace, \
         Menlo, Consolas, monospace; white-space: pre; }}\n.user {{ fill: #ffffff; font-weight: bold; }}\n.model {{ fill: \
         #e6e6e6; }}\n.call {{ fill: #7fb3ff; }}\n.answer {{ fill: #a3a9b5; }}\n.question {{ fill: #ffd479; \
         }}\n.buttons {{ fill: #8fe388; font-weight: bold; }}\n</style>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" \
         fill=\"#1c1f26\"/>\n"
    );
    for (number, Line { class, text }) in lines.iter().enumerate() {
        let indent = if matches!(*class, "answer" | "question" | "buttons") { "    " } else { "" };
        let text = format!("{indent}{text}");
        assert!(text.chars().count() <= MAX_CHARS, "too long for the picture: {text}");
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        if !escaped.is_empty() {
            let y = (number + 1) * LINE_HEIGHT + 5;
            writeln!(svg, "<text x=\"20\" y=\"{y}\" class=\"{class}\" xml:space=\"preserve\">{escaped}</text>")
                .expect("a text");
        }
    }
    svg.push_str("</svg>\n");
    svg
}

#[test]
fn picture_shows_what_the_tools_answer() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conversation.svg");
    let drawn = draw(&lines());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, drawn).expect("to write the picture");
    } else {
        let found = fs::read_to_string(&path).expect("docs/conversation.svg");
        assert_eq!(found, drawn, "stale: UPDATE=1 cargo test --test golden picture");
    }
}
