//! Calls that start tasks and wait for their end, and errors with hints, against the simulated cluster.

use crate::support::node::{Node, ScriptedReply};
use crate::support::policy::open_policy;
use crate::support::proxmox::{SCRIPT, gzipped_facts, proxmox, proxmox_with};
use crate::support::rpc::{self, ACCEPT, call_with_progress};
use crate::support::server::TestServer;
use crate::support::test_tools::{product, start_demo};
use crate::support::tool::{ToolResult, call};
use proxmox_mcp::base::secret::Secret;
use proxmox_mcp::config::ClusterConfig;
use proxmox_mcp::mcp::McpServer;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

fn call_api(server: &McpServer, method: &str, path: &str, data: Value, wait: bool) -> ToolResult {
    call(server, "proxmox_api_call", json!({"path": path, "method": method, "data": data, "wait": wait}))
}

// ---- tasks

#[test]
fn waiting_call_ends_with_its_task() {
    let demo = start_demo(Duration::from_millis(1));
    let server = product(vec![demo.cluster()]);
    let result = call_api(&server, "POST", "/qemu/staging01/status/start", json!({}), true);
    assert!(!result.failed && result.text.starts_with("OK: qmstart of guest 106 on pve2"), "{result:?}");
    let lines: Vec<&str> = result.text.lines().skip(1).collect();
    assert_eq!(lines, ["VM 106 \"staging01\" is running on pve2", "undo: POST /nodes/pve2/qemu/106/status/shutdown"]);
    assert_eq!((&result.structured["exitstatus"], &result.structured["status"]), (&json!("OK"), &json!("stopped")));
    let now = call(&server, "proxmox_api_get", json!({"path": "/qemu/staging01/status/current", "fields": "status"}));
    assert_eq!(now.text, "status: running");
    // Corrections of the path are listed here too.
    let result = call_api(&server, "POST", "/nodes/pve1/qemu/106/status/shutdown", json!({}), true);
    assert!(!result.failed && result.more.iter().any(|m| m.contains("106 is qemu/106 on pve2")), "{result:?}");
}

#[test]
fn failed_task_is_an_error_with_its_log() {
    let demo = start_demo(Duration::from_millis(1));
    let server = product(vec![demo.cluster()]);
    let result = call_api(&server, "POST", "/qemu/db01/migrate", json!({"target": "pve2", "online": true}), true);
    let reason = "can't live migrate attached local disks without with-local-disks option";
    assert!(result.failed && result.text.starts_with("FAILED: qmigrate of guest 102 on pve1"), "{result:?}");
    assert!(
        result.text.contains(&format!(": \"{reason}\". hint: "))
            && result.text.contains("\nVM 102 \"db01\" is running on pve1\n"),
        "{result:?}"
    );
    assert!(result.text.ends_with(&format!("TASK ERROR: {reason}")), "{result:?}");
}

#[test]
fn call_without_wait_returns_the_upid_with_a_hint() {
    let demo = start_demo(Duration::from_secs(600));
    let server = product(vec![demo.cluster()]);
    let result = call_api(&server, "POST", "/qemu/web01/snapshot", json!({"snapname": "before"}), false);
    let upid: String = serde_json::from_str(&result.text).unwrap();
    assert!(!result.failed && upid.starts_with("UPID:pve1:") && upid.contains(":qmsnapshot:100:"), "{result:?}");
    assert!(result.more[1].contains("wait_for_task with this upid"), "{result:?}");
}

#[test]
fn wait_is_ignored_for_an_operation_without_a_task() {
    let demo = start_demo(Duration::ZERO);
    let server = product(vec![demo.cluster()]);
    let result = call_api(&server, "PUT", "/qemu/web01/config", json!({"description": "a word", "onboot": true}), true);
    let line = "VM 100 \"web01\" on pve1 now has description \"a word\", onboot 1; nothing waits for a restart";
    assert_eq!(result.text.lines().next(), Some(line), "{result:?}");
    let result =
        call(&server, "proxmox_api_get", json!({"path": "/qemu/web01/config", "fields": "description,onboot"}));
    assert_eq!(result.text, "description: a word\nonboot: yes");
}

#[test]
fn progress_of_a_wait_arrives_over_http_before_its_end() {
    let demo = start_demo(Duration::from_millis(120));
    let server = TestServer::builder().mcp(product(vec![demo.cluster()])).start();
    let arguments = json!({"path": "/nodes/pve1/vzdump", "method": "POST", "wait": true, "data": {"vmid": "web01", "storage": "nas"}});
    let mut client = server.connect();
    client.send_post_with("/mcp", ACCEPT, &call_with_progress(1, "proxmox_api_call", arguments, "t"));
    let messages = client.events().messages();
    let (last, notes) = messages.split_last().expect("an answer");
    assert!(rpc::text(last).starts_with("OK: vzdump") && last["result"].get("isError").is_none(), "{last}");
    let message: Vec<&str> = notes.iter().map(|note| note["params"]["message"].as_str().unwrap()).collect();
    assert!(message.len() > 1 && notes.iter().all(|note| note["params"]["progressToken"] == "t"), "{messages:?}");
    let whole = message.join("\n");
    for line in ["INFO: starting new backup job", "INFO: Starting Backup of VM 100"] {
        assert!(whole.contains(line), "{whole}");
    }
}

// ---- errors with hints

#[test]
fn missing_privilege_is_named_with_the_privileges_of_the_token() {
    let demo = start_demo(Duration::ZERO);
    let server = product(vec![demo.auditor()]);
    let result = call_api(&server, "POST", "/qemu/web01/status/reboot", json!({}), false);
    assert!(result.failed, "{result:?}");
    for part in ["VM.PowerMgmt", "/vms/100", "On /vms/100 the token has ", "VM.Audit"] {
        assert!(result.text.contains(part), "{part}: {result:?}");
    }
    let none = proxmox_with(gzipped_facts(), |request| match request.path() {
        "/api2/json/access/permissions" => Some(ScriptedReply::data("{}")),
        "/api2/json/nodes/pve1/qemu/100/config" => {
            Some(ScriptedReply::refusal(403, "Permission check failed (/vms/100, VM.Audit)", ""))
        }
        _ => None,
    });
    let result = call(
        &product(vec![none.cluster_settings()]),
        "proxmox_api_get",
        json!({"path": "/nodes/pve1/qemu/100/config"}),
    );
    assert!(result.failed && result.text.contains("VM.Audit") && !result.text.contains("the token has"), "{result:?}");
}

#[test]
fn wrong_secret_is_reported_and_not_shown() {
    let demo = start_demo(Duration::ZERO);
    let wrong = "00000000-1111-2222-3333-444444444444";
    let server = product(vec![ClusterConfig { token_secret: Secret::new(wrong.into()), ..demo.cluster() }]);
    for (tool, arguments) in [
        ("proxmox_api_get", json!({"path": "/nodes/pve1/status"})),
        ("proxmox_api_get", json!({"path": "/qemu/web01/config"})),
        ("proxmox_api_call", json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST"})),
    ] {
        let result = call(&server, tool, arguments);
        assert!(result.failed && result.text.contains("demo@pve") && result.text.contains("full"), "{result:?}");
        assert!(result.text.contains("401") && !result.text.contains(wrong), "{result:?}");
    }
}

#[test]
fn unknown_node_is_answered_with_the_known_ones() {
    let demo = start_demo(Duration::ZERO);
    let real = product(vec![demo.cluster()]);
    let odd = proxmox_with(gzipped_facts(), |_| None);
    let task = "UPID:pve9:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:";
    for server in [&real, &product(vec![odd.cluster_settings()])] {
        for (tool, arguments) in [
            ("proxmox_api_get", json!({"path": "/nodes/pve9/status"})),
            ("proxmox_api_get", json!({"paths": ["/nodes/pve9/status"]})),
            ("proxmox_api_call", json!({"path": "/nodes/pve9/qemu", "method": "GET"})),
            ("proxmox_api_get", json!({"path": format!("/nodes/pve1/tasks/{task}/log")})),
            ("wait_for_task", json!({"upid": task})),
            ("proxmox_api_get", json!({"path": "/nodes/pve1/qemu/100/migrate", "params": {"target": "pve9"}})),
        ] {
            let result = call(server, tool, arguments);
            assert!(result.failed, "{result:?}");
            for part in ["the cluster has no node `pve9`, only pve1, pve2, pve3", "did you mean `pve1`?"] {
                assert!(result.text.contains(part), "{result:?}");
            }
        }
    }
    assert!(!odd.requests().iter().any(|request| request.path().contains("pve9")), "no node looks for the host");
    let several =
        [("a", &odd), ("b", &odd)].map(|(name, node)| ClusterConfig { name: name.into(), ..node.cluster_settings() });
    let result = call(&product(several.to_vec()), "wait_for_task", json!({"upid": task}));
    assert!(result.failed && result.text.contains("no cluster knows the task"), "{result:?}");
    assert!(!odd.requests().iter().any(|request| request.path().contains("pve9")));
    let away = proxmox_with(gzipped_facts(), |request| {
        request.path().ends_with("/pve2/status").then(|| ScriptedReply::refusal(595, "No route to host", ""))
    });
    let result =
        call(&product(vec![away.cluster_settings()]), "proxmox_api_get", json!({"path": "/nodes/pve2/status"}));
    assert!(result.failed && result.text.contains("The cluster says that pve2 is online"), "{result:?}");
}

#[test]
fn unknown_guest_is_answered_with_similar_ones() {
    let demo = start_demo(Duration::ZERO);
    let server = product(vec![demo.cluster()]);
    for path in ["/nodes/pve1/qemu/107/config", "/qemu/107/config", "/nodes/pve1/lxc/107/config"] {
        let result = call(&server, "proxmox_api_get", json!({"path": path}));
        assert!(result.failed && result.text.contains("`107` among the 13"), "{result:?}");
        assert!(result.text.contains("106 (staging01)") && result.text.contains("105 (win11-desk)"), "{result:?}");
    }
    let result = call_api(&server, "POST", "/nodes/pve1/qemu/107/status/start", json!({}), true);
    assert!(result.failed && result.text.contains("106 (staging01)"), "{result:?}");
}

#[test]
fn empty_list_has_a_note_if_privileges_may_filter_it() {
    for (permissions, note) in [
        (r#"{"/pool":{"VM.Audit":1}}"#, Some("Pool.Audit on /pool would show more")),
        (r#"{"/":{"Pool.Audit":1}}"#, None),
        ("7", Some("Pool.Audit on /pool would show more")),
    ] {
        let node = proxmox_with(gzipped_facts(), move |request| match request.path() {
            "/api2/json/pools" => Some(ScriptedReply::data("[]")),
            "/api2/json/access/permissions" => Some(ScriptedReply::data(permissions)),
            _ => None,
        });
        let server = product(vec![node.cluster_settings()]);
        for _ in 0..2 {
            let result = call(&server, "proxmox_api_get", json!({"path": "/pools"}));
            assert_eq!(result.text, "no rows");
            assert_eq!(result.more.iter().any(|more| note.is_some_and(|note| more.contains(note))), note.is_some());
            assert_eq!(result.more.iter().any(|more| more.contains("empty")), note.is_some(), "{result:?}");
        }
        let reads = node.requests().iter().filter(|request| request.path().ends_with("/permissions")).count();
        assert_eq!(reads, 1, "the privileges are kept for a minute");
    }
}

#[test]
fn note_about_privileges_is_that_of_the_rights_after_a_change() {
    let is_granted = Arc::new(AtomicBool::new(false));
    let granted = is_granted.clone();
    let node = proxmox_with(gzipped_facts(), move |request| {
        let privileges = if granted.load(SeqCst) { r#"{"/":{"Pool.Audit":1}}"# } else { "{}" };
        match (request.method.as_str(), request.path()) {
            ("GET", "/api2/json/pools") => Some(ScriptedReply::data("[]")),
            ("GET", "/api2/json/access/permissions") => Some(ScriptedReply::data(privileges)),
            ("PUT", "/api2/json/access/acl") => {
                granted.store(true, SeqCst);
                Some(ScriptedReply::data("null"))
            }
            _ => None,
        }
    });
    let server = product(vec![ClusterConfig { policy: open_policy(), ..node.cluster_settings() }]);
    let has_note = || {
        let result = call(&server, "proxmox_api_get", json!({"path": "/pools"}));
        result.more.iter().any(|more| more.contains("Pool.Audit"))
    };
    assert!(has_note());
    let data = json!({"path": "/pool", "roles": "PVEPoolUser", "tokens": "mcp@pve!ro"});
    let change = call_api(&server, "PUT", "/access/acl", data, true);
    assert!(!change.failed && is_granted.load(SeqCst), "{change:?}");
    assert!(!has_note());
}

#[test]
fn failure_names_its_cluster_if_there_are_several() {
    let (one, two) = (proxmox(), Node::start(|_| ScriptedReply::refusal(500, "it broke", "")));
    let named = |name: &str, node: &Node| ClusterConfig { name: name.into(), ..node.cluster_settings() };
    let server = product(vec![named("one", &one), named("two", &two)]);
    let result = call(&server, "proxmox_api_get", json!({"path": "/nodes/pve1/status", "cluster": "two"}));
    assert!(result.failed && result.text.starts_with("cluster two: "), "{result:?}");
    let result = call(&server, "proxmox_api_get", json!({"path": "/qemu/web01/config", "cluster": "two"}));
    assert!(result.failed && result.text.starts_with("cluster two: "), "{result:?}");
    let result = call(&server, "proxmox_api_get", json!({"path": "/nodes/pve1/status", "cluster": "one"}));
    assert!(!result.failed, "{result:?}");
    let result = call(&server, "proxmox_api_get", json!({"path": "/nodes/pve1/status"}));
    assert!(result.failed && result.text.contains("one") && result.text.contains("two"), "{result:?}");
}

// ---- what follows a task

/// Returns a server over a node whose call answers `upid`, whose task has ended well, and whose other answers are given.
fn server_after(upid: &'static str, answers: &'static [(&'static str, &'static str)]) -> (McpServer, Node) {
    let node = Node::start(move |request| {
        let path = request.path().trim_start_matches("/api2/json");
        match path {
            _ if request.target == SCRIPT => gzipped_facts(),
            _ if request.method == "POST" => ScriptedReply::data(&format!("\"{upid}\"")),
            _ if let Some((_, data)) = answers.iter().find(|(end, _)| path.ends_with(end)) => ScriptedReply::data(data),
            "/nodes" => ScriptedReply::data(r#"[{"node":"pve1","status":"online"}]"#),
            "/cluster/resources" => {
                ScriptedReply::data(r#"[{"id":"qemu/100","vmid":100,"node":"pve1","name":"web01","type":"qemu"}]"#)
            }
            _ if path.ends_with("/status") => ScriptedReply::data(r#"{"status":"stopped","exitstatus":"OK"}"#),
            _ if path.ends_with("/log") => ScriptedReply::data("[]"),
            _ => ScriptedReply::refusal(501, "not implemented", r#"{"data":null}"#),
        }
    });
    (product(vec![node.cluster_settings()]), node)
}

const HA_START: &str = "UPID:pve1:000001C1:00022AEA:6B0293BE:hastart:100:root@pam!mcp:";

#[test]
fn a_request_to_ha_is_followed_to_the_state_of_the_guest_and_is_no_ok_by_itself() {
    let (server, _node) = server_after(
        HA_START,
        &[
            ("/cluster/tasks", "[]"),
            ("/status/current", r#"{"status":"running","ha":{"managed":1,"state":"started"}}"#),
        ],
    );
    let result = call_api(&server, "POST", "/qemu/100/status/start", json!({}), true);
    assert!(!result.failed && result.text.starts_with("OK: hastart of guest 100"), "{result:?}");
    assert_eq!(result.text.matches("running").count(), 1, "{result:?}");
    let result = call_api(&server, "POST", "/qemu/100/status/start", json!({}), false);
    assert!(result.more.iter().any(|note| note.contains("only asked the HA manager")), "{result:?}");
}

#[test]
fn a_later_task_of_ha_that_fails_is_an_error() {
    let (server, _node) = server_after(
        HA_START,
        &[
            (
                "/cluster/tasks",
                r#"[{"upid":"UPID:pve1:000001C2:00022AEB:6B0293C8:qmstart:100:root@pam:"},
                    {"upid":"UPID:pve1:000001C2:00022AEB:5B0293C8:qmstart:100:root@pam:"}]"#,
            ),
            ("6B0293C8:qmstart:100:root@pam:/status", r#"{"status":"stopped","exitstatus":"no memory"}"#),
        ],
    );
    let result = call_api(&server, "POST", "/qemu/100/status/start", json!({}), true);
    assert!(result.failed && result.text.contains("\nFAILED: qmstart of guest 100"), "{result:?}");
    assert!(result.text.contains("no memory"), "{result:?}");
}

#[test]
fn a_guest_that_ha_gave_up_is_an_error() {
    let (server, _node) = server_after(
        HA_START,
        &[("/cluster/tasks", "[]"), ("/status/current", r#"{"status":"stopped","ha":{"managed":1,"state":"error"}}"#)],
    );
    let result = call_api(&server, "POST", "/qemu/100/status/start", json!({}), true);
    assert!(result.failed && result.text.contains("gave up on guest 100"), "{result:?}");
}

#[test]
fn the_failed_start_of_a_new_guest_is_an_error() {
    let (server, _node) = server_after(
        "UPID:pve1:000001C1:00022AEA:6B0293BE:qmcreate:101:root@pam!mcp:",
        &[
            ("/cluster/tasks", r#"[{"upid":"UPID:pve1:000001C2:00022AEB:6B0293C8:qmstart:101:root@pam:"}]"#),
            ("qmstart:101:root@pam:/status", r#"{"status":"stopped","exitstatus":"start failed"}"#),
        ],
    );
    let result = call_api(&server, "POST", "/nodes/pve1/qemu", json!({"vmid": 101, "start": true}), true);
    assert!(result.failed && result.text.contains("\nFAILED: qmstart of guest 101"), "{result:?}");
}

#[test]
fn a_command_in_a_guest_is_followed_to_its_output() {
    let node = Node::start(|request| {
        let path = request.path().trim_start_matches("/api2/json");
        match path {
            _ if request.target == SCRIPT => gzipped_facts(),
            "/nodes" => ScriptedReply::data(r#"[{"node":"pve1"}]"#),
            _ if path.ends_with("/agent/exec") => ScriptedReply::data(r#"{"pid":77}"#),
            _ if path.ends_with("/agent/exec-status") => match request.index % 2 {
                0 => ScriptedReply::data(r#"{"exited":0}"#),
                _ => ScriptedReply::data(r#"{"exited":1,"exitcode":3,"out-data":"GrÃ¼n\n","err-data":"bad"}"#),
            },
            _ if path.ends_with("/agent/ping") => {
                ScriptedReply::data(r#"{"result":{"error":{"class":"GenericError","desc":"it broke"}}}"#)
            }
            _ => ScriptedReply::refusal(501, "not implemented", r#"{"data":null}"#),
        }
    });
    let server = product(vec![node.cluster_settings()]);
    let result = call_api(&server, "POST", "/nodes/pve1/qemu/100/agent/exec", json!({"command": ["ls"]}), true);
    assert!(!result.failed && result.text.starts_with("the command ended with exit code 3"), "{result:?}");
    assert!(result.text.contains("stdout\nGrün\n") && result.text.contains("stderr\nbad"), "{result:?}");
    let result = call_api(&server, "POST", "/nodes/pve1/qemu/100/agent/ping", json!({}), false);
    assert!(result.failed && result.text.contains("it broke"), "{result:?}");
    let result = call_api(&server, "POST", "/nodes/pve1/lxc/200/exec", json!({"command": "id"}), false);
    assert!(result.failed && result.text.contains("pct exec"), "{result:?}");
}

#[test]
fn a_command_whose_end_is_lost_may_have_had_any_effect() {
    let node = Node::start(|request| match request.path() {
        _ if request.target == SCRIPT => gzipped_facts(),
        path if path.ends_with("/agent/exec") => ScriptedReply::data(r#"{"pid":77}"#),
        path if path.ends_with("/agent/exec-status") => {
            ScriptedReply::refusal(500, "Agent error: PID 77 does not exist", r#"{"data":null}"#)
        }
        _ => ScriptedReply::refusal(501, "not implemented", r#"{"data":null}"#),
    });
    let server = product(vec![node.cluster_settings()]);
    let result = call_api(&server, "POST", "/nodes/pve1/qemu/100/agent/exec", json!({"command": ["ls"]}), true);
    assert!(result.failed && result.text.starts_with("END UNKNOWN: the command was started (pid 77)"), "{result:?}");
    assert!(!result.text.contains("With wait"), "{result:?}");
}
