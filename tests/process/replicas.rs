//! Replicas that share the file of `--state-key-file`.

use crate::support::node::Node;
use crate::support::policy::{answer_question, confirmation_code_in};
use crate::support::process::run;
use crate::support::program::{ADMIN, OPERATOR, ProgramServer, READER, lab};
use crate::support::rpc::full_text;
use crate::support::tasks::{HeldTask, TaskClient};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const OLD_KEY: &str = "mC1HqyGgkqKL4XQjOIPcIm7Zb0wWJfuT1Dnx4rPzB2o=";
const NEW_KEY: &str = "9yq0u1sS3vTn6bDk8WcXj2LpEhRf5aZm7gVtQoYiUx4=";

/// The files with keys, by replica.
struct KeyFiles(TempDir);

impl KeyFiles {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, keys: &[&str]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, keys.join("\n")).expect("write");
        path
    }
}

fn start(node: &Node, keys: &Path) -> ProgramServer {
    start_with(&lab(node, &json!({})), keys)
}

fn start_with(config: &Value, keys: &Path) -> ProgramServer {
    let flags = ["--state-key-file", keys.to_str().expect("UTF-8")];
    ProgramServer::builder(config).flags(&flags).start()
}

/// Starts two replicas with the same key.
fn start_two(node: &Node) -> (KeyFiles, [ProgramServer; 2]) {
    let files = KeyFiles::new();
    let path = files.write("key", &[OLD_KEY]);
    let replicas = [(); 2].map(|()| start(node, &path));
    (files, replicas)
}

fn delete() -> Value {
    json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE"})
}

fn delete_with(code: &str) -> Value {
    let mut arguments = delete();
    arguments["confirm"] = code.into();
    arguments
}

/// Makes the call without a code, and returns the code of its question.
fn ask(replica: &ProgramServer) -> String {
    confirmation_code_in(full_text(&replica.call(ADMIN, "proxmox_api_call", delete())))
}

fn confirm(replica: &ProgramServer, code: &str) -> String {
    full_text(&replica.call(ADMIN, "proxmox_api_call", delete_with(code))).to_owned()
}

#[test]
fn code_of_one_replica_confirms_at_the_other_and_once_at_each() {
    let node = HeldTask::default().start_node();
    let (_files, [one, other]) = start_two(&node.node);
    let code = ask(&one);
    confirm(&other, &code);
    assert_eq!(node.writes().len(), 1);
    assert!(confirm(&other, &code).contains("was used before"));
    assert_eq!(node.writes(), [""; 0]);
    confirm(&one, &code);
    assert_eq!(node.writes().len(), 1, "a replica does not know the codes that another one used");
    assert!(confirm(&one, &code).contains("was used before"));
}

#[test]
fn question_of_one_replica_is_answered_at_the_other() {
    let node = HeldTask::default().start_node();
    let (_files, [one, other]) = start_two(&node.node);
    let client = |replica: &ProgramServer| {
        TaskClient::with_token(&replica.address, ADMIN).with_capabilities(json!({"elicitation": {"form": {}}}))
    };
    let asked = client(&one).call("proxmox_api_call", delete());
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let mut answer = answer_question(&asked["requestState"], "accept", json!({"confirm": true}));
    (answer["name"], answer["arguments"]) = ("proxmox_api_call".into(), delete());
    client(&other).result("tools/call", answer);
    assert_eq!(node.writes().len(), 1);
}

#[test]
fn approval_holds_at_the_replica_where_the_call_waits() {
    let node = HeldTask::default().start_node();
    let mut config = lab(&node.node, &json!({"confirm_by": "operator"}));
    config["clients"]["reader"]["approve"] = true.into();
    let files = KeyFiles::new();
    let key = files.write("key", &[OLD_KEY]);
    let [one, other] = [(); 2].map(|()| start_with(&config, &key));
    let bearer = format!("Authorization: Bearer {READER}\r\n");
    let waiting = |replica: &ProgramServer| {
        let list = replica.connect().ask("GET /approvals", &bearer).json();
        let ids = list["approvals"].as_array().expect("a list").iter().map(|call| call["id"].as_str().expect("an id"));
        ids.map(str::to_owned).collect::<Vec<_>>()
    };
    let decide = |replica: &ProgramServer, id: &str| {
        let body = json!({"id": id, "decision": "approve"}).to_string();
        replica.connect().post_with("/approvals", &bearer, &body).status
    };
    let make = |replica: &ProgramServer| full_text(&replica.call(ADMIN, "proxmox_api_call", delete())).to_owned();
    assert!(make(&one).contains("Not sent yet"));
    let ids = waiting(&one);
    assert_eq!((ids.len(), waiting(&other)), (1, Vec::new()), "a replica knows its own calls only");
    assert_eq!((decide(&other, &ids[0]), decide(&one, &ids[0])), (404, 200));
    assert!(make(&other).contains("Not sent yet"), "the other replica asks again");
    assert_eq!(node.writes(), [""; 0]);
    make(&one);
    assert_eq!(node.writes().len(), 1);
    assert!(make(&one).contains("Not sent yet"), "an approval is used once");
}

#[test]
fn task_of_one_replica_is_followed_at_the_other_and_after_restarts() {
    let task = HeldTask::default();
    let node = task.start_node();
    let (_files, [mut one, mut other]) = start_two(&node.node);
    let client = |replica: &ProgramServer| TaskClient::with_token(&replica.address, OPERATOR);
    let id = client(&one).start_task();
    assert_eq!(client(&other).get(&id)["status"], "working");
    for replica in [&mut one, &mut other] {
        replica.kill_and_start();
        assert_eq!(client(replica).get(&id)["status"], "working");
    }
    task.end("OK");
    assert_eq!(client(&one).get(&id)["status"], "completed");
}

#[test]
fn keys_are_rotated_while_codes_are_open() {
    let node = HeldTask::default().start_node();
    let files = KeyFiles::new();
    let steps = [vec![OLD_KEY], vec![OLD_KEY, NEW_KEY], vec![NEW_KEY, OLD_KEY], vec![NEW_KEY]];
    let replicas: Vec<_> =
        (0..).zip(&steps).map(|(at, keys)| start(&node.node, &files.write(&format!("{at}"), keys))).collect();
    for pair in replicas.windows(2) {
        for (from, to) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
            confirm(to, &ask(from));
            assert_eq!(node.writes().len(), 1, "each step accepts what its neighbours seal");
        }
    }
    assert!(confirm(&replicas[3], &ask(&replicas[0])).contains("not for this call"));
    assert_eq!(node.writes(), [""; 0]);
}

#[test]
fn file_without_usable_keys_ends_the_start() {
    let files = KeyFiles::new();
    for (keys, part) in [(&["hunter2"][..], "fewer than 32"), (&[], "0 keys"), (&[OLD_KEY, OLD_KEY], "twice")] {
        let path = files.write("key", keys);
        let output = run(&["--demo", "--state-key-file", path.to_str().expect("UTF-8")]);
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(part) && text.contains("hint: ") && !text.contains("hunter2"), "{text}");
    }
}
