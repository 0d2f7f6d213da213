//! Rights that change while a call waits: the call is judged by the present ones right before it is sent.

use crate::support::node::{Node, ScriptedReply};
use crate::support::program::{HttpEndpoint, ProgramServer, code};
use crate::support::raw::{Client, LONG, Sse, eventually};
use crate::support::rpc::{ACCEPT, call, full_text, request, text};
use proxmox_mcp::config::TokenHash;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

const ADA: &str = "pmcp_ada-ada-ada-ada-ada";
const BOB: &str = "pmcp_bob-bob-bob-bob-bob";
const EVE: &str = "pmcp_eve-eve-eve-eve-eve";

/// A door before the answers of a node.
#[derive(Clone, Default)]
struct Hold(Arc<(Mutex<bool>, Condvar)>);

impl Hold {
    fn release(&self) {
        *self.0.0.lock().expect("a lock") = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let is_open = self.0.0.lock().expect("a lock");
        drop(self.0.1.wait_timeout_while(is_open, LONG, |is_open| !*is_open).expect("a lock"));
    }
}

/// Returns the answer of a node with the guest 100 in the pool `prod`.
fn reply(path: &str, method: &str) -> ScriptedReply {
    match path.trim_start_matches("/api2/json") {
        _ if method != "GET" => ScriptedReply::data("\"UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:mcp@pve!ro:\""),
        "/cluster/resources" => ScriptedReply::data(
            r#"[{"type":"qemu","id":"qemu/100","vmid":100,"node":"pve1","name":"web","pool":"prod","status":"stopped"}]"#,
        ),
        "/access/permissions" => ScriptedReply::data(r#"{"/":{"VM.Audit":1,"Pool.Audit":1}}"#),
        // A list waits for the task before its next call on the guest.
        path if path.contains("/tasks/") && path.ends_with("/status") => {
            ScriptedReply::data(r#"{"status":"stopped","exitstatus":"OK"}"#)
        }
        path if path.contains("/tasks/") => ScriptedReply::data("[]"),
        _ => ScriptedReply::data(r#"[{"node":"pve1","status":"online"}]"#),
    }
}

/// Starts a node whose list of guests waits for `hold`.
fn start_node(hold: &Hold) -> Node {
    let hold = hold.clone();
    Node::start(move |request| {
        if request.path().ends_with("/cluster/resources") {
            hold.wait();
        }
        reply(request.path(), &request.method)
    })
}

fn cluster(node: &Node, more: Value) -> Value {
    let mut cluster = json!({"url": format!("http://{}", node.endpoint()), "user": "mcp@pve", "token_id": "ro",
        "token_secret": "s", "timeout_seconds": 20});
    cluster.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    cluster
}

fn client(token: &str, access: &str, more: Value) -> Value {
    let hash = TokenHash::from_token(token.as_bytes()).to_string();
    let mut client = json!({"token_sha256": hash, "access": access});
    client.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    client
}

fn bearer(token: &str) -> String {
    format!("{ACCEPT}Authorization: Bearer {token}\r\n")
}

/// Writes a configuration, and waits until the server uses it.
fn reload(server: &ProgramServer, config: &Value) {
    fs::write(&server.config, config.to_string()).expect("write");
    server.process.signal(Signal::HUP);
    wait_for_log(server, "reloaded");
}

fn wait_for_log(server: &ProgramServer, text: &str) -> String {
    loop {
        let line = server.process.stderr.recv_timeout(LONG).unwrap_or_else(|_| panic!("never logged: {text}"));
        assert!(text != "reloaded" || !line.contains("cannot reload"), "{line}");
        if line.contains(text) {
            return line;
        }
    }
}

fn start_guest() -> Value {
    json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST"})
}

fn count_changes(node: &Node) -> usize {
    node.requests().iter().filter(|request| request.method != "GET").count()
}

#[test]
fn call_in_preparation_is_judged_by_the_present_rights_before_it_is_sent() {
    let none = json!({});
    // The rights after the change: cluster, client, clusters of the client. Then the answer, and the changes sent.
    let cases: &[(Value, Option<Value>, &str, usize)] = &[
        (none.clone(), None, "the operator removed this client", 0),
        (none.clone(), Some(client(BOB, "full", none.clone())), "the operator removed this client", 0),
        (none.clone(), Some(client(ADA, "read", none.clone())), "client \"ada\" has \"read\"", 0),
        (json!({"access": "read"}), Some(client(ADA, "full", none.clone())), "this cluster has \"read\"", 0),
        (
            none.clone(),
            Some(client(ADA, "full", json!({"clusters": ["spare"]}))),
            "took this cluster away from this client",
            0,
        ),
        (json!({"deny": ["POST /nodes/*/qemu/*/status/start"]}), Some(client(ADA, "full", none.clone())), "deny", 0),
        (json!({"protect": [100]}), Some(client(ADA, "full", none.clone())), "guest 100 is protected", 0),
        (json!({"protect": ["pool:prod"]}), Some(client(ADA, "full", none.clone())), "protected guests: 100", 0),
        (none.clone(), Some(client(ADA, "full", json!({"protect": ["pool:prod"]}))), "protected guests: 100", 0),
        (json!({"confirm": "writes"}), Some(client(ADA, "full", none.clone())), "has to be confirmed", 0),
        (json!({"protect": ["pool:lab", 200]}), Some(client(ADA, "operate", none.clone())), "UPID:pve1", 1),
        (json!({"timeout_seconds": 19}), Some(client(ADA, "full", none.clone())), "UPID:pve1", 1),
    ];
    for (rules, ada, expected, sent) in cases {
        let hold = Hold::default();
        let (node, spare) = (start_node(&hold), Node::start(|_| ScriptedReply::data("[]")));
        let config = |rules: &Value, ada: Option<&Value>| {
            let clusters = json!({"one": cluster(&node, rules.clone()), "spare": cluster(&spare, json!({}))});
            let mut clients = json!({"eve": client(EVE, "read", json!({}))});
            if let Some(ada) = ada {
                clients["ada"] = ada.clone();
            }
            json!({"clusters": clusters, "default": "one", "clients": clients})
        };
        let server = ProgramServer::builder(&config(&none, Some(&client(ADA, "full", none.clone())))).start();
        let mut post = server.connect();
        post.send_post_with("/mcp", &bearer(ADA), &call(1, "proxmox_api_call", start_guest()));
        node.wait_for_path("/cluster/resources", 1);
        reload(&server, &config(rules, ada.as_ref()));
        hold.release();
        let answer = post.reply().expect("an answer").json();
        let text = full_text(&answer);
        assert!(text.contains(expected), "{expected}: {text}");
        assert_eq!(text.contains("Nothing was sent"), *sent == 0, "{text}");
        assert_eq!(count_changes(&node), *sent, "{expected}: {text}");
    }
}

#[test]
fn call_that_the_state_makes_another_one_is_judged_again_as_that() {
    let hold = Hold::default();
    let held = hold.clone();
    let node = Node::start(move |request| match request.path() {
        path if path.ends_with("/status/current") => ScriptedReply::data(r#"{"status":"running","ha":{"managed":1}}"#),
        path => {
            if path.ends_with("/cluster/resources") {
                held.wait();
            }
            reply(path, &request.method)
        }
    });
    let config = |rules: Value| {
        let clients = json!({"ada": client(ADA, "full", json!({}))});
        json!({"clusters": {"one": cluster(&node, rules)}, "clients": clients})
    };
    let server = ProgramServer::builder(&config(json!({"confirm": "never"}))).start();
    let mut post = server.connect();
    let shutdown = json!({"path": "/nodes/pve1/qemu/100/status/shutdown", "method": "POST"});
    post.send_post_with("/mcp", &bearer(ADA), &call(1, "proxmox_api_call", shutdown));
    node.wait_for_path("/cluster/resources", 1);
    reload(&server, &config(json!({"confirm": "never", "deny": ["POST /nodes/*/qemu/*/status/stop"]})));
    hold.release();
    let answer = post.reply().expect("an answer").json();
    assert!(full_text(&answer).contains("\"deny\" list"), "{answer}");
    assert_eq!(count_changes(&node), 0);
}

#[test]
fn request_whose_client_is_removed_while_its_body_arrives_is_refused() {
    let node = start_node(&Hold::default());
    let config = |clients: Value| json!({"clusters": {"one": cluster(&node, json!({}))}, "clients": clients});
    let eve = client(EVE, "read", json!({}));
    let server = ProgramServer::builder(&config(json!({"ada": client(ADA, "full", json!({})), "eve": eve}))).start();
    let body = call(1, "proxmox_api_call", start_guest());
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{}Content-Length: {}\r\n\r\n",
        bearer(ADA),
        body.len()
    );
    let mut post = server.connect();
    post.send(head.clone() + &body[..1]);
    // The answer to a request on another connection comes after the head was read, or the body is refused later.
    assert_eq!(server.connect().ask("GET /readyz", &bearer(ADA)).status, 200);
    reload(&server, &config(json!({"eve": eve})));
    post.send(&body[1..]);
    let reply = post.reply().expect("an answer");
    assert_eq!(reply.status, 401, "{}", reply.body);
    assert!(reply.body.contains("client token"), "{}", reply.body);
    assert_eq!(count_changes(&node), 0);
}

#[test]
fn queued_sse_call_is_judged_by_the_present_rights_of_its_client() {
    let hold = Hold::default();
    let node = start_node(&hold);
    let config = |access: &str| {
        let clients = json!({"ada": client(ADA, access, json!({})), "bob": client(BOB, "read", json!({}))});
        json!({"clusters": {"one": cluster(&node, json!({}))}, "clients": clients})
    };
    let server = ProgramServer::builder(&config("full")).flags(&["--max-calls", "1"]).start();
    let open = |token: &str| Sse::open_with(server.connect(), &bearer(token));
    let (bob, mut ada) = (open(BOB), open(ADA));
    let post = |sse: &Sse, token: &str, message: &str| {
        assert_eq!(server.connect().post_with(&sse.path, &bearer(token), message).status, 202);
    };
    post(&bob, BOB, &call(1, "get_cluster_resources", json!({})));
    node.wait_for_path("/cluster/resources", 1);
    post(&ada, ADA, &call(2, "proxmox_api_call", start_guest()));
    reload(&server, &config("read"));
    hold.release();
    let answer = ada.json();
    assert!(full_text(&answer).contains("client \"ada\" has \"read\""), "{answer}");
    assert_eq!(count_changes(&node), 0);
}

#[test]
fn wait_of_a_removed_client_ends_and_its_change_is_not_taken_back() {
    let hold = Hold::default();
    hold.release();
    let node = Node::start(|request| match request.path() {
        path if path.ends_with("/status") && request.method == "GET" => {
            ScriptedReply::data(r#"{"status":"running","type":"qmstart"}"#)
        }
        path => reply(path, &request.method),
    });
    let config = |clients: Value| json!({"clusters": {"one": cluster(&node, json!({}))}, "clients": clients});
    let eve = client(EVE, "read", json!({}));
    let server = ProgramServer::builder(&config(json!({"ada": client(ADA, "full", json!({})), "eve": eve}))).start();
    let mut arguments = start_guest();
    arguments["wait"] = true.into();
    let mut post = server.connect();
    post.send_post_with("/mcp", &format!("Authorization: Bearer {ADA}\r\n"), &call(1, "proxmox_api_call", arguments));
    node.wait_for_path("/status", 1);
    reload(&server, &config(json!({"eve": eve})));
    let answer = post.reply().expect("an answer").json();
    let text = full_text(&answer);
    assert!(text.contains("changed the rights of this client") && text.contains("UPID:pve1"), "{text}");
    assert_eq!(count_changes(&node), 1);
}

#[test]
fn confirmation_is_redeemed_by_the_present_rights() {
    let hold = Hold::default();
    hold.release();
    let node = start_node(&hold);
    let config = |access: &str, rules: Value| json!({"clusters": {"one": cluster(&node, rules)}, "clients": {"ada": client(ADA, access, json!({}))}});
    let server = ProgramServer::builder(&config("full", json!({}))).start();
    let stop = |code: Option<&str>| {
        let mut arguments = json!({"path": "/nodes/pve1/qemu/100/status/stop", "method": "POST"});
        if let Some(code) = code {
            arguments["confirm"] = code.into();
        }
        server.call(ADA, "proxmox_api_call", arguments)
    };
    for (access, rules, reason) in [
        ("read", json!({}), "client \"ada\" has \"read\""),
        ("full", json!({"access": "read"}), "this cluster has \"read\""),
        ("full", json!({"protect": [100]}), "guest 100 is protected"),
    ] {
        let code = code(&stop(None));
        reload(&server, &config(access, rules));
        let answer = stop(Some(&code));
        assert!(full_text(&answer).contains(reason), "{answer}");
        reload(&server, &config("full", json!({})));
    }
    assert_eq!(count_changes(&node), 0);
    let code = code(&stop(None));
    stop(Some(&code));
    assert_eq!(count_changes(&node), 1);
}

#[test]
fn rest_of_a_list_is_judged_by_the_present_rights() {
    let none = json!({});
    for (access, rules, reason) in [
        ("read", none.clone(), "client \"ada\" has \"read\""),
        ("full", json!({"access": "read"}), "this cluster has \"read\""),
        ("full", json!({"deny": ["POST /nodes/*/qemu/*/status/start"]}), "deny"),
        ("full", json!({"protect": ["pool:prod"]}), "protected guests: 100"),
        ("full", json!({"confirm": "writes"}), "has to be confirmed"),
    ] {
        let (begun, hold) = (Hold::default(), Hold::default());
        let (begin, held) = (begun.clone(), hold.clone());
        // The answer to the first change waits for the reload.
        let node = Node::start(move |request| {
            if request.method != "GET" {
                begin.release();
                held.wait();
            }
            reply(request.path(), &request.method)
        });
        let config = |access: &str, rules: &Value| {
            let clients = json!({"ada": client(ADA, access, json!({}))});
            json!({"clusters": {"one": cluster(&node, rules.clone())}, "clients": clients})
        };
        let server = ProgramServer::builder(&config("full", &none)).start();
        let list = json!({"calls": [start_guest(), start_guest(), start_guest()]});
        let mut post = server.connect();
        post.send_post_with("/mcp", &bearer(ADA), &call(1, "proxmox_api_call", list));
        begun.wait();
        reload(&server, &config(access, &rules));
        hold.release();
        let answer = post.reply().expect("an answer").json();
        let text = full_text(&answer);
        assert!(text.contains("1 of 3 calls are done, 1 failed, 1 not begun") && text.contains(reason), "{text}");
        assert_eq!(count_changes(&node), 1, "{reason}");
    }
}

/// The kinds of requests of a client under load.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Post,
    Batch,
    Sse,
}

/// A client that repeats one call until the end.
struct Load<'a> {
    server: &'a HttpEndpoint,
    token: &'static str,
    way: Way,
    message: Box<dyn Fn(u64) -> String + Send + 'a>,
    /// The call is allowed by both configurations, so every answer must be a success.
    is_allowed: bool,
}

impl Load<'_> {
    fn run(&self, over: &AtomicBool, answered: &AtomicUsize) {
        let headers = bearer(self.token);
        let mut client = self.server.connect();
        let mut stream = (self.way == Way::Sse).then(|| Sse::open_with(self.server.connect(), &headers));
        let mut id = 0;
        while !over.load(Ordering::SeqCst) {
            id += 1;
            let answers = match &mut stream {
                Some(sse) => {
                    assert_eq!(client.post_with(&sse.path, &headers, &(self.message)(id)).status, 202);
                    vec![sse.json()]
                }
                None => self.post(&mut client, id),
            };
            for answer in answers {
                let is_success = answer["result"]["isError"] != true && answer.get("error").is_none();
                assert!(is_success || !self.is_allowed, "{answer}");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    fn post(&self, client: &mut Client, id: u64) -> Vec<Value> {
        let body = match self.way {
            Way::Batch => format!("[{},{}]", (self.message)(2 * id), (self.message)(2 * id + 1)),
            _ => (self.message)(id),
        };
        let reply = client.post_with("/mcp", &format!("Authorization: Bearer {}\r\n", self.token), &body);
        assert_eq!(reply.status, 200, "{}", reply.body);
        match reply.json() {
            Value::Array(answers) => answers,
            answer => vec![answer],
        }
    }
}

#[test]
fn reloads_under_load_mix_no_two_configurations() {
    const RELOADS: usize = 60;
    let start = || Node::start(|request| reply(request.path(), &request.method));
    let (one, two, three) = (start(), start(), start());
    // Neither file allows a change on `one`: the client or the cluster may only read. Neither shows eve the cluster
    // `three`: she may not use it, or it is not there. Both allow bob to start a guest of `two`, and ada to read `one`.
    let config = |is_first: bool| {
        let (of_client, of_cluster) = if is_first { ("read", "full") } else { ("full", "read") };
        let mut clusters = json!({
            "one": cluster(&one, json!({"access": of_cluster})),
            "two": cluster(&two, json!({"access": if is_first { "operate" } else { "full" }})),
        });
        if is_first {
            clusters["three"] = cluster(&three, json!({}));
        }
        let of_eve = if is_first { json!({"clusters": ["one"]}) } else { json!({}) };
        let clients = json!({
            "ada": client(ADA, of_client, json!({})),
            "bob": client(BOB, if is_first { "full" } else { "operate" }, json!({"clusters": ["two"]})),
            "eve": client(EVE, "full", of_eve),
        });
        json!({"clusters": clusters, "default": "one", "clients": clients})
    };
    let server = ProgramServer::builder(&config(true)).start();
    let tool = |tool: &'static str, arguments: Value| {
        Box::new(move |id: u64| call(id, tool, arguments.clone())) as Box<dyn Fn(u64) -> String + Send>
    };
    let start_on = |cluster: &str| {
        let mut arguments = start_guest();
        arguments["cluster"] = cluster.into();
        tool("proxmox_api_call", arguments)
    };
    let read_on = |cluster: &str| tool("proxmox_api_get", json!({"cluster": cluster, "path": "/nodes"}));
    let resource = Box::new(|id: u64| request(id, "resources/read", json!({"uri": "pve://three/nodes"})));
    let (over, forbidden, allowed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for (token, way, message, is_allowed) in [
            (ADA, Way::Post, start_on("one"), false),
            (ADA, Way::Batch, start_on("one"), false),
            (ADA, Way::Sse, start_on("one"), false),
            (EVE, Way::Post, read_on("three"), false),
            (EVE, Way::Sse, resource, false),
            (BOB, Way::Post, start_on("two"), true),
            (BOB, Way::Sse, start_on("two"), true),
            (ADA, Way::Batch, read_on("one"), true),
        ] {
            let load = Load { server: &server.endpoint, token, way, message, is_allowed };
            let (over, answered) = (&over, if is_allowed { &allowed } else { &forbidden });
            scope.spawn(move || {
                // The others end with the first that fails.
                let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| load.run(over, answered)));
                over.store(true, Ordering::SeqCst);
                ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            });
        }
        for n in 0..RELOADS {
            reload(&server, &config(n % 2 == 1));
            let before = allowed.load(Ordering::SeqCst);
            let continues = || allowed.load(Ordering::SeqCst) > before + 1 || over.load(Ordering::SeqCst);
            eventually("calls after a reload", continues);
        }
        over.store(true, Ordering::SeqCst);
    });
    let counts = (forbidden.load(Ordering::SeqCst), allowed.load(Ordering::SeqCst));
    assert!(counts.0 >= RELOADS && counts.1 >= RELOADS, "{counts:?}");
    assert_eq!((count_changes(&one), three.requests().len()), (0, 0), "calls that neither file allows: {counts:?}");
    assert!(count_changes(&two) > 0);
}

#[test]
fn the_last_client_cannot_be_removed_by_a_reload() {
    let node = start_node(&Hold::default());
    let right =
        json!({"clusters": {"one": cluster(&node, json!({}))}, "clients": {"ada": client(ADA, "read", json!({}))}});
    let server = ProgramServer::builder(&right).start();
    for clients in [None, Some(json!({})), Some(Value::Null), Some(json!({"_comment": "no client any more"}))] {
        let mut config = right.clone();
        match &clients {
            Some(clients) => config["clients"] = clients.clone(),
            None => drop(config.as_object_mut().expect("an object").remove("clients")),
        }
        fs::write(&server.config, config.to_string()).expect("write");
        server.process.signal(Signal::HUP);
        let line = wait_for_log(&server, "cannot reload");
        assert!(line.contains("keeping the current configuration") && line.contains("restart the server"), "{line}");
        let status =
            |headers: &str| server.connect().post_with("/mcp", headers, &call(1, "list_clusters", json!({}))).status;
        assert_eq!((status(""), status(&bearer(ADA))), (401, 200), "{clients:?}");
    }
    reload(&server, &right);
}

#[test]
fn reload_names_what_changed() {
    let node = start_node(&Hold::default());
    let config = |clusters: Value, ada: &str| {
        let clients = json!({"ada": client(ADA, ada, json!({})), "eve": client(EVE, "read", json!({}))});
        json!({"clusters": clusters, "default": "one", "clients": clients})
    };
    let (one, two) = (cluster(&node, json!({})), cluster(&node, json!({"access": "read"})));
    let first = config(json!({"one": one}), "read");
    let server = ProgramServer::builder(&first).start();
    let change = |config: &Value| {
        fs::write(&server.config, config.to_string()).expect("write");
        server.process.signal(Signal::HUP);
        wait_for_log(&server, "reloaded")
    };
    let line = change(&config(json!({"one": one, "two": two}), "full"));
    assert!(line.ends_with("; cluster two added, client ada changed: access"), "{line}");
    let line = change(&config(json!({"one": cluster(&node, json!({"access": "read"}))}), "full"));
    assert!(line.ends_with("; cluster one changed: access, cluster two removed"), "{line}");
    server.process.signal(Signal::HUP);
    // The file's change may be noticed once more.
    let line = wait_for_log(&server, "unchanged");
    assert!(line.ends_with("; unchanged"), "{line}");
    assert!(!text(&server.call(ADA, "list_clusters", json!({}))).contains("two"));
}
