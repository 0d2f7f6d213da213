//! The answers of a recorded Proxmox VE 9.2 node: a call ends as it did on the node. `tests/golden/recorded_node.rs` has the
//! texts.

use crate::support::recorded_node::{RecordedNode, RecordedToken, recorded_calls, recorded_reads};
use crate::support::test_tools::product;
use crate::support::tool::call;
use serde_json::json;

#[test]
fn recorded_reads_end_as_on_the_node() {
    for token in RecordedToken::ALL {
        let node = RecordedNode::start(token);
        let server = product(vec![node.cluster()]);
        for read in recorded_reads().iter().filter(|read| read.tokens.contains(&token)) {
            let result = call(&server, "proxmox_api_call", json!({"path": read.target}));
            let about = format!("{} {} ({}): {}", token.name(), read.target, read.status, result.all_text());
            assert_eq!(result.failed, read.status >= 400, "{about}");
            assert!(!result.all_text().contains("panicked"), "{about}");
        }
    }
}

#[test]
fn recorded_changes_end_as_on_the_node() {
    for token in RecordedToken::ALL {
        let node = RecordedNode::start(token);
        let server = product(vec![node.cluster()]);
        for (change, reads) in recorded_calls() {
            if change.tokens != [token] || change.method == "GET" {
                continue;
            }
            let has_end = !reads.is_empty() && !change.is_ha_request();
            let has_failed_end = has_end && reads.iter().any(|read| read.is_failed_end());
            node.set_call(change, reads);
            let before = node.node.requests().len();
            let result = call(
                &server,
                "proxmox_api_call",
                json!({"path": change.target, "method": change.method, "data": change.data(), "wait": has_end}),
            );
            let text = result.all_text();
            let about = format!("{} {} ({}): {text}", change.method, change.target, change.status);
            let was_sent = node.node.requests()[before..].iter().any(|request| request.method == change.method);
            match (change.status, has_failed_end) {
                (200, false) => assert!(was_sent && !result.failed, "{about}"),
                (200, true) => assert!(was_sent && result.failed && text.starts_with("FAILED"), "{about}"),
                _ => {
                    assert!(result.failed, "{about}");
                    let words = if was_sent { "Nothing was changed" } else { "Nothing was sent" };
                    assert!(text.contains(words), "{about}");
                }
            }
        }
    }
}
