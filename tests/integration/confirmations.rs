//! Answers to questions: a client that declines by itself is told apart from a user who declines, in the text, the
//! metrics and the audit log.

use crate::support::policy::{ALL, RecordingNode, answer_question, caller, client, confirming_policy, modern};
use crate::support::proxmox::is_lookup;
use crate::support::test_tools::{ManualClock, product_with};
use crate::support::tool::answer_to;
use proxmox_mcp::audit::{self, AuditLog};
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::mcp::context::Caller;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// A server that asks before it deletes, with a clock of its own and an audit log.
struct AskingServer {
    server: McpServer,
    node: RecordingNode,
    ada: Caller,
    clock: ManualClock,
    audit: PathBuf,
    _folder: TempDir,
}

fn start_server() -> AskingServer {
    let folder = TempDir::new().expect("a folder");
    let audit = folder.path().join("audit.log");
    let (node, clock, client) = (RecordingNode::start(), ManualClock::new(), client("ada", ALL, &[]));
    let log = AuditLog::open(&audit).expect("an audit log");
    let clients = std::slice::from_ref(&client);
    let server = product_with(vec![node.cluster("prod", confirming_policy())], clients, &clock, log);
    AskingServer { server, node, ada: caller(&client), clock, audit, _folder: folder }
}

impl AskingServer {
    fn call(&self, form: bool, more: Value) -> Value {
        let delete = json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE"});
        answer_to(&self.server, &self.ada, modern("proxmox_api_call", &delete, form, more))
    }

    /// Asks, and answers after this time. Returns the text of the answer.
    fn ask_and_answer(&self, action: &str, after: Duration) -> String {
        let asked = self.call(true, json!({}));
        self.clock.advance(after);
        let answer = self.call(true, answer_question(&asked["result"]["requestState"], action, Value::Null));
        answer["result"]["content"][0]["text"].as_str().expect("a text").to_owned()
    }

    /// Returns event, decision and reason of the last line of the audit log.
    fn last_audit_line(&self) -> Value {
        let text = fs::read_to_string(&self.audit).expect("the audit log");
        serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
    }

    fn count_calls(&self, outcome: &str) -> Option<u64> {
        let mut text = String::new();
        self.server.metrics().write(&mut text);
        let line = text.lines().find(|line| line.contains(&format!("outcome=\"{outcome}\"")))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

#[test]
fn a_decline_is_the_user_s_or_the_client_s_by_its_time() {
    let server = start_server();
    for (action, millis, decision, words) in [
        ("decline", 0, "unattended", "the client declined the question within 0 ms"),
        ("decline", 999, "unattended", "the client declined the question within 999 ms"),
        ("cancel", 40, "unattended", "the client cancelled the question within 40 ms"),
        ("decline", 1_000, "declined", "the user declined it"),
        ("cancel", 60_000, "declined", "the user closed the question without an answer"),
    ] {
        let before = server.count_calls(decision).unwrap_or_default();
        let text = server.ask_and_answer(action, Duration::from_millis(millis));
        assert!(text.contains(words) && text.contains("Nothing was sent"), "{text}");
        let line = server.last_audit_line();
        assert_eq!((&line["event"], &line["decision"]), (&"refused".into(), &decision.into()), "{line}");
        assert!(line["why"].as_str().is_some_and(|why| why.starts_with(words)), "{line}");
        assert_eq!(server.count_calls(decision), Some(before + 1), "{action} after {millis} ms");
    }
    assert_eq!(server.node.writes(), [""; 0]);
    let file = fs::File::open(&server.audit).expect("the audit log");
    let report = audit::verify(&mut std::io::BufReader::new(file), None).expect("a report");
    assert_eq!((report.problems.count, report.warnings.count), (0, 0), "{report:?}");
}

#[test]
fn a_question_counts_as_asked_and_not_as_failed() {
    let server = start_server();
    for form in [true, false] {
        server.call(form, json!({}));
        assert_eq!(server.last_audit_line()["decision"], "asked");
    }
    assert_eq!((server.count_calls("asked"), server.count_calls("failed")), (Some(2), None));
}

#[test]
fn an_acceptance_is_an_agreement_with_any_content_at_any_time() {
    for (content, after) in [(Value::Null, 0_u64), (json!({}), 5_000), (json!({"confirm": false}), 299_000)] {
        let server = start_server();
        let asked = server.call(true, json!({}));
        server.clock.advance(Duration::from_millis(after));
        let answer = server.call(true, answer_question(&asked["result"]["requestState"], "accept", content));
        assert_eq!(answer["result"]["isError"], Value::Null, "{answer}");
        assert_eq!(server.node.writes(), ["DELETE /nodes/pve1/qemu/100"]);
        let text = fs::read_to_string(&server.audit).expect("the audit log");
        let begin = text.lines().find(|line| line.contains("\"event\":\"begin\"")).expect("a line");
        let begin: Value = serde_json::from_str(begin).expect("JSON");
        let why = format!("the client accepted the question after {after} ms");
        assert_eq!((&begin["decision"], &begin["why"]), (&"confirmed".into(), &why.into()));
        let end = text.lines().find(|line| line.contains("\"event\":\"end\"")).expect("a line");
        assert_eq!(serde_json::from_str::<Value>(end).expect("JSON")["decision"], "confirmed");
    }
}

/// A hanging node does not hold a question back. What it would have told is not known.
#[test]
fn a_question_does_not_wait_for_a_node_that_hangs() {
    use crate::support::node::ScriptedReply;
    use crate::support::proxmox::gzipped_facts;
    let node = RecordingNode::with(gzipped_facts(), |request| {
        request.path().ends_with("/status/current").then(ScriptedReply::hang)
    });
    let client = client("ada", ALL, &[]);
    let clients = std::slice::from_ref(&client);
    let clusters = vec![node.cluster("prod", confirming_policy())];
    let server = product_with(clusters, clients, &ManualClock::new(), AuditLog::without_file());
    let delete = json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE"});
    let asked = answer_to(&server, &caller(&client), modern("proxmox_api_call", &delete, true, json!({})));
    let question = asked["result"]["inputRequests"]["confirm"]["params"]["message"].as_str().expect("a question");
    assert!(question.contains("\nIts name and state are those of the list of guests"), "{question}");
    assert!(question.contains("Its disks are not known: \"the look-ups took longer than 5 s\""), "{question}");
    let requests = node.requests();
    let about_guest: Vec<_> = requests.iter().filter(|request| !is_lookup(request)).collect();
    assert_eq!(about_guest.len(), 1, "no look-up follows one that hangs: {about_guest:?}");
}
