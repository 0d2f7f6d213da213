//! The settings that send results as JSON beside the text.

use crate::support::program::{ADMIN, ProgramServer, READER, lab};
use crate::support::proxmox::proxmox;
use serde_json::{Value, json};

/// Returns the columns of a list as a client with this token gets them, or null.
fn columns(server: &ProgramServer, token: &str) -> Value {
    let answer = server.call(token, "list_nodes", json!({}));
    assert!(answer["result"]["content"][0]["text"].is_string(), "{answer}");
    answer["result"]["structuredContent"]["columns"][0].clone()
}

#[test]
fn json_is_sent_to_the_clients_that_clusters_json_names() {
    let node = proxmox();
    let server = ProgramServer::builder(&lab(&node, &json!({}))).start();
    assert_eq!((columns(&server, ADMIN), columns(&server, READER)), (json!("node"), Value::Null));
}

#[test]
fn json_is_sent_to_every_client_with_the_flag() {
    let node = proxmox();
    let server = ProgramServer::builder(&lab(&node, &json!({}))).flags(&["--structured"]).start();
    assert_eq!(columns(&server, READER), "node");
}
