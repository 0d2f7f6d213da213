//! Changes of clusters.json while the server runs. A valid file is used from then on, an invalid one is rejected.

use crate::support::node::{Identity, Node, ScriptedReply};
use crate::support::process::ServerProcess;
use crate::support::program::ProgramServer;
use crate::support::raw::{Client, LONG, Sse, eventually};
use crate::support::rpc::{call, text};
use proxmox_mcp::config::{Fingerprint, TokenHash};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::{NamedTempFile, TempDir};

const ADA: &str = "pmcp_ada-ada-ada-ada-ada";
const BOB: &str = "pmcp_bob-bob-bob-bob-bob";
const EVE: &str = "pmcp_eve-eve-eve-eve-eve";

fn start(config: &Value) -> ProgramServer {
    ProgramServer::builder(config).start()
}

/// Writes the configuration, sends SIGHUP, and waits for a log line with this text.
fn change(server: &ProgramServer, contents: &str, text: &str) -> String {
    fs::write(&server.config, contents).expect("write");
    server.process.signal(Signal::HUP);
    wait_for_log(&server.process, text)
}

/// Waits for a log line with this text.
fn wait_for_log(process: &ServerProcess, text: &str) -> String {
    loop {
        let line = process.stderr.recv_timeout(LONG).unwrap_or_else(|_| panic!("never logged: {text}"));
        if line.contains(text) {
            return line;
        }
    }
}

/// Returns the status of a call by the client with this token, and its answer.
fn ask(server: &ProgramServer, token: &str, tool: &str, arguments: Value) -> (u16, Value) {
    ask_on(&mut server.connect(), token, tool, arguments)
}

fn ask_on(client: &mut Client, token: &str, tool: &str, arguments: Value) -> (u16, Value) {
    let headers = format!("Authorization: Bearer {token}\r\n");
    let reply = client.post_with("/mcp", &headers, &call(1, tool, arguments));
    (reply.status, serde_json::from_str(&reply.body).unwrap_or(Value::Null))
}

fn cluster(node: &Node) -> Value {
    json!({"url": format!("http://{}", node.endpoint()), "user": "mcp@pve", "token_id": "ro", "token_secret": "s"})
}

fn client(token: &str, access: &str) -> Value {
    json!({"token_sha256": TokenHash::from_token(token.as_bytes()).to_string(), "access": access})
}

fn start_node() -> Node {
    Node::start(|_| ScriptedReply::data(r#"[{"node":"pve1","status":"online"}]"#))
}

#[test]
fn reloaded_configuration_is_used() {
    let (one, two) = (start_node(), start_node());
    let before = json!({"clusters": {"alpha": cluster(&one)}, "clients": {"ada": client(ADA, "read")}});
    let server = start(&before);
    assert_eq!(ask(&server, ADA, "list_nodes", json!({})).0, 200);
    assert_eq!(ask(&server, BOB, "list_nodes", json!({})).0, 401);

    let clients = json!({"ada": client(ADA, "read"), "bob": client(BOB, "read")});
    let after = json!({"clusters": {"beta": cluster(&two)}, "clients": clients});
    change(&server, &after.to_string(), "clusters: beta; clients: ada (read), bob (read)");
    for token in [ADA, BOB] {
        let (status, answer) = ask(&server, token, "list_clusters", json!({}));
        assert!(status == 200 && text(&answer).contains("beta") && !text(&answer).contains("alpha"), "{answer}");
    }
    assert_eq!(ask(&server, BOB, "list_nodes", json!({})).0, 200);
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));
}

#[test]
fn an_entry_with_addresses_of_two_clusters_is_rejected() {
    let other = Node::start(|_| ScriptedReply::data(r#"[{"node":"lab1","status":"online"}]"#));
    let one = start_node();
    let before = json!({"clusters": {"alpha": cluster(&one)}, "clients": {"ada": client(ADA, "read")}});
    let server = start(&before);
    let mut mixed = before.clone();
    mixed["clusters"]["alpha"].as_object_mut().expect("a cluster").remove("url");
    mixed["clusters"]["alpha"]["urls"] = json!([&one, &other].map(|node| format!("http://{}", node.endpoint())));
    change(&server, &mixed.to_string(), "keeping the current configuration: cluster alpha: ");
    assert_eq!(ask(&server, ADA, "list_nodes", json!({})).0, 200);
    assert!(other.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn changed_file_is_reloaded_without_a_signal() {
    let node = start_node();
    let config = |access: &str| json!({"clusters": {"one": cluster(&node)}, "clients": {"ada": client(ADA, access)}});
    let server = start(&config("read"));
    fs::write(&server.config, config("operate").to_string()).expect("write");
    wait_for_log(&server.process, "clients: ada (operate)");
}

#[test]
fn reload_names_the_changed_fields() {
    let (one, two) = (start_node(), start_node());
    let config = |cluster: Value, client: Value| json!({"clusters": {"one": cluster}, "clients": {"ada": client}});
    let server = start(&config(cluster(&one), client(ADA, "read")));
    let mut other = cluster(&two);
    other["token_secret"] = "t".into();
    other["protect"] = json!([100]);
    let after = config(other, client(BOB, "operate")).to_string();
    let line = change(&server, &after, "reloaded ");
    let changes = "cluster one changed: url and token_secret and protect, client ada changed: token_sha256 and access";
    assert!(line.ends_with(changes), "{line}");
    let line = change(&server, &after.replace("},", "}, "), "reloaded ");
    assert!(line.ends_with("; unchanged"), "{line}");
}

#[test]
fn invalid_configuration_keeps_the_current_one() {
    let node = start_node();
    let right = json!({"clusters": {"one": cluster(&node)}, "clients": {"ada": client(ADA, "read")}});
    let server = start(&right);
    for (wrong, why) in [
        ("{", "line 1"),
        ("", "the file is empty"),
        (r#"{"clusters": {}}"#, "is empty"),
        (r#"{"clients": {"ada": {"token_sha256": "x", "access": "full"}}}"#, "is no SHA-256"),
    ] {
        // The line is identified by its reason: the server may have read the file just before the signal, and so logged
        // twice.
        let line = change(&server, wrong, why);
        assert!(line.contains("keeping the current configuration") && line.contains("ERROR"), "{line}");
        assert_eq!(ask(&server, ADA, "list_nodes", json!({})).0, 200, "{wrong}");
        assert_eq!(ask(&server, "", "list_nodes", json!({})).0, 401, "{wrong}");
    }
    fs::remove_file(&server.config).expect("remove");
    server.process.signal(Signal::HUP);
    wait_for_log(&server.process, "does not exist");
    assert_eq!(ask(&server, ADA, "list_nodes", json!({})).0, 200);
    change(&server, &right.to_string(), "clusters: one; clients: ada (read)");
}

#[test]
fn changed_permissions_apply_to_the_next_call_and_removed_clients_lose_their_stream() {
    let node = start_node();
    let config = |clients: Value| json!({"clusters": {"one": cluster(&node)}, "clients": clients}).to_string();
    let server = start(
        &serde_json::from_str(&config(json!({"ada": client(ADA, "full"), "bob": client(BOB, "full")}))).expect("JSON"),
    );
    let open = |token: &str| Sse::open_with(server.connect(), &format!("Authorization: Bearer {token}\r\n"));
    let (mut ada, mut bob) = (open(ADA), open(BOB));

    change(&server, &config(json!({"ada": client(ADA, "read")})), "clients: ada (read)");
    assert!(bob.event().is_none(), "the stream of a removed client ends");
    let start = json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST"});
    let headers = format!("Authorization: Bearer {ADA}\r\n");
    assert_eq!(server.connect().post_with(&ada.path, &headers, &call(7, "proxmox_api_call", start)).status, 202);
    let answer = ada.json();
    assert!(text(&answer).contains("client \"ada\" has \"read\""), "{answer}");
    assert!(node.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn reloads_under_load_fail_no_call_and_end_with_the_last_configuration() {
    const STORM: u32 = 300;
    let node = start_node();
    let config = |timeout: u32, other: &str| {
        let mut one = cluster(&node);
        one["timeout_seconds"] = timeout.into();
        let clients =
            json!({"ada": client(ADA, "read"), other: client(if other == "eve" { EVE } else { BOB }, "read")});
        json!({"clusters": {"one": one}, "clients": clients})
    };
    let server = start(&config(10, "bob"));
    let mut stream = Sse::open_with(server.connect(), &format!("Authorization: Bearer {ADA}\r\n"));
    let (over, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = &server.address;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::to(address);
                while !over.load(Ordering::SeqCst) {
                    let (status, answer) = ask_on(&mut client, ADA, "list_nodes", json!({}));
                    assert!(status == 200 && text(&answer).contains("pve1"), "{status} {answer}");
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // The file is written in place, so a partial one may be read too.
        for n in 0..STORM {
            let text = config(10 + n % 7, "bob").to_string();
            match n % 3 {
                0 => fs::write(&server.config, text).expect("write"),
                1 => fs::write(&server.config, &text[..text.len() / 2]).expect("write"),
                _ => fs::write(&server.config, text.replace("10", "no number")).expect("write"),
            }
            server.process.signal(Signal::HUP);
        }
        let before = calls.load(Ordering::SeqCst);
        fs::write(&server.config, config(5, "eve").to_string()).expect("write");
        server.process.signal(Signal::HUP);
        eventually("more calls after the reload", || calls.load(Ordering::SeqCst) > before + 8);
        over.store(true, Ordering::SeqCst);
    });
    wait_for_log(&server.process, "clients: ada (read), eve (read)");
    assert_eq!(
        (ask(&server, EVE, "list_nodes", json!({})).0, ask(&server, BOB, "list_nodes", json!({})).0),
        (200, 401)
    );
    let headers = format!("Authorization: Bearer {ADA}\r\n");
    assert_eq!(server.connect().post_with(&stream.path, &headers, &call(7, "list_clusters", json!({}))).status, 202);
    assert_eq!(stream.json()["id"], 7, "a stream outlives it");
}

#[test]
fn changed_file_is_reloaded_despite_an_old_mtime() {
    let node = start_node();
    let config = |access: &str| json!({"clusters": {"one": cluster(&node)}, "clients": {"ada": client(ADA, access)}});
    let server = start(&config("read"));
    let long_ago = UNIX_EPOCH + Duration::from_secs(1);
    let in_a_century = SystemTime::now() + Duration::from_secs(100 * 365 * 86_400);
    // The last two have the same length and time.
    for (time, access) in [(in_a_century, "operate"), (long_ago, "full"), (long_ago, "read")] {
        let changed =
            |path: &Path| fs::metadata(path).map(|about| (about.ctime(), about.ctime_nsec())).expect("a file");
        eventually("the file system's clock ticks", || {
            let probe = NamedTempFile::new().expect("a file");
            changed(probe.path()) != changed(&server.config)
        });
        fs::write(&server.config, config(access).to_string()).expect("write");
        fs::File::options().write(true).open(&server.config).expect("open").set_modified(time).expect("a time");
        wait_for_log(&server.process, &format!("clients: ada ({access})"));
    }
}

#[test]
fn renewed_certificate_is_rejected_until_its_pin_is_changed() {
    let node = Node::start_as(Identity::Trusted, |_| ScriptedReply::data(r#"[{"node":"pve1","status":"online"}]"#));
    let config = |pins: &[Fingerprint]| {
        let mut one = cluster(&node);
        one["url"] = node.endpoint().to_string().into();
        one["fingerprint"] = pins.iter().map(ToString::to_string).collect();
        json!({"clusters": {"one": one}, "clients": {"ada": client(ADA, "read")}})
    };
    let old = node.fingerprint();
    let server = start(&config(&[old]));
    let ask = || ask(&server, ADA, "list_nodes", json!({})).1;
    assert!(text(&ask()).contains("pve1"));
    node.renew();
    node.hang_up();
    let new = node.fingerprint();
    let sent = node.requests().len();
    for _ in 0..3 {
        let answer = ask();
        let message = text(&answer);
        assert!(message.contains(&format!("expected {old}")) && message.contains(&format!("seen: {new}")), "{message}");
        assert!(!message.contains("verify_ssl") && answer["result"]["isError"] == true, "{message}");
    }
    assert_eq!(node.requests().len(), sent, "nothing was sent to it");
    wait_for_log(&server.process, "certificate");

    change(&server, &config(&[new]).to_string(), "reloaded");
    assert!(text(&ask()).contains("pve1"));
    // If the operator lists the next fingerprint beforehand, no call fails.
    node.renew();
    change(&server, &config(&[new, node.fingerprint()]).to_string(), "reloaded");
    node.hang_up();
    assert!(text(&ask()).contains("pve1"));
}

#[test]
fn reload_that_hangs_delays_neither_calls_nor_the_stop() {
    let node = start_node();
    let mut server = start(&json!({"clusters": {"alpha": cluster(&node)}, "clients": {"ada": client(ADA, "read")}}));
    // A pipe that the test opens and never writes to, as a disk that hangs.
    fs::remove_file(&server.config).expect("remove");
    assert!(Command::new("mkfifo").arg(&server.config).status().expect("run").success());
    server.process.signal(Signal::HUP);
    // Returns once the server has opened the pipe to read.
    let _writer = fs::File::options().write(true).open(&server.config).expect("open");
    let (status, answer) = ask(&server, ADA, "list_clusters", json!({}));
    assert!(status == 200 && text(&answer).contains("alpha"), "{answer}");
    server.process.signal(Signal::TERM);
    assert_eq!(server.process.wait_for_exit().code(), Some(0));
}

#[test]
fn stdio_reloads_the_configuration() {
    let node = start_node();
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("clusters.json");
    let config = |name: &str| json!({"clusters": {name: cluster(&node)}}).to_string();
    fs::write(&file, config("alpha")).expect("write");
    let mut process = ServerProcess::start(&["stdio", "--config", file.to_str().expect("UTF-8")]);
    let clusters = |process: &mut ServerProcess| text(&process.ask(&call(1, "list_clusters", json!({})))).to_owned();
    assert!(clusters(&mut process).contains("alpha"));
    fs::write(&file, config("beta")).expect("write");
    process.signal(Signal::HUP);
    wait_for_log(&process, "clusters: beta");
    assert!(clusters(&mut process).contains("beta"));
    process.end_input();
    assert_eq!(process.wait_for_exit().code(), Some(0));
}
