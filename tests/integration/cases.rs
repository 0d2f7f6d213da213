//! Cases from the field. `tests/cases/*.http` has a tool call and the raw answers of a node. The `.snap` file of the
//! same name has the text that a model gets. `CONTRIBUTING.md` describes how to add one.

use crate::support::node::{Node, ScriptedReply};
use crate::support::proxmox::{SCRIPT, gzipped_facts};
use crate::support::test_tools::product;
use crate::support::tool::call;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

struct Case {
    tool: String,
    arguments: Value,
    replies: Vec<CaseReply>,
}

/// The answer of the node to one request.
struct CaseReply {
    /// Method and target, as the node reads them.
    request: String,
    /// Status line, headers and, after an empty line, the body, with LF as line end.
    answer: String,
}

impl Case {
    /// Parses the cases of a file, with `=====` between them.
    fn parse_all(text: &str) -> Vec<Self> {
        text.split("\n=====\n").map(Self::parse).collect()
    }

    /// Parses a case: comments with `#`, a line `TOOL {arguments}`, and a request line and an answer after each `###`.
    fn parse(text: &str) -> Self {
        let mut sections = text.split("\n###\n");
        let head = sections.next().expect("a first section");
        let line = head.lines().find(|line| !line.starts_with('#') && !line.is_empty()).expect("a line with the call");
        let (tool, arguments) = line.split_once(' ').expect("a tool and its arguments");
        let replies = sections.map(|section| {
            let (request, answer) = section.trim_start().split_once('\n').expect("a request line and an answer");
            CaseReply { request: request.to_owned(), answer: answer.to_owned() }
        });
        Self {
            tool: tool.to_owned(),
            arguments: serde_json::from_str(arguments).expect("arguments as JSON"),
            replies: replies.collect(),
        }
    }
}

/// Runs the calls of a file over one node that gives these answers, and returns the texts for the model.
fn run(cases: Vec<Case>) -> String {
    let replies = Arc::new(Mutex::new(Vec::<CaseReply>::new()));
    let current = replies.clone();
    let node = Node::start(move |request| {
        let line = format!("{} {}", request.method, request.target);
        let plain_line = format!("{} {}", request.method, request.path());
        let replies = current.lock().expect("the replies");
        match replies.iter().find(|reply| reply.request == line || reply.request == plain_line) {
            Some(reply) => reply.send(),
            None if request.target == SCRIPT => gzipped_facts(),
            // A node answers an unknown path with this.
            None => {
                let path = request.path().trim_start_matches("/api2/json");
                let phrase = format!("Method '{} {path}' not implemented", request.method);
                ScriptedReply::refusal(501, &phrase, r#"{"data":null}"#)
            }
        }
    });
    let has_several = cases.len() > 1;
    let server = product(vec![node.cluster_settings()]);
    let results = cases.into_iter().map(|case| {
        *replies.lock().expect("the replies") = case.replies;
        let input = if has_several { format!("> {} {}\n", case.tool, case.arguments) } else { String::new() };
        let result = call(&server, &case.tool, case.arguments);
        let state = if result.failed { "error" } else { "ok" };
        format!("{input}{state}\n{}", result.all_text().trim_end())
    });
    results.collect::<Vec<_>>().join("\n\n")
}

impl CaseReply {
    /// Returns the answer as bytes. `Content-Length` is added unless the file has it.
    fn send(&self) -> ScriptedReply {
        let (head, body) = self.answer.split_once("\n\n").unwrap_or((self.answer.trim_end(), ""));
        let body = body.trim_end_matches('\n');
        let mut bytes = head.replace('\n', "\r\n");
        if !head.to_ascii_lowercase().contains("content-length:") {
            bytes.push_str(&format!("\r\nContent-Length: {}", body.len()));
        }
        let reply = ScriptedReply::raw(format!("{bytes}\r\n\r\n{body}"));
        if head.contains("Connection: close") { reply.then_close() } else { reply }
    }
}

fn case_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let entries = fs::read_dir(folder).expect("the folder of the cases").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "http")).collect();
    files.sort();
    files
}

#[test]
fn cases_from_the_field_have_their_golden_results() {
    let files = case_files();
    assert!(!files.is_empty());
    for file in files {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let result = run(Case::parse_all(&fs::read_to_string(&file).expect("a case file")));
        insta::with_settings!(
            {snapshot_path => "../cases", prepend_module_to_snapshot => false, omit_expression => true,
             filters => [(r"127\.0\.0\.1:\d+", "NODE")]},
            { insta::assert_snapshot!(name, result); }
        );
    }
}

#[test]
fn every_golden_result_has_its_case() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "snap") {
            assert!(path.with_extension("http").exists(), "{}: no case of this name", path.display());
        }
    }
}
