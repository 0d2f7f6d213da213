//! clusters.json changes while the server runs: what is right is used from then on, what is wrong leaves the rest in use.

use crate::support::node::{Act, Identity, Node};
use crate::support::process::Process;
use crate::support::raw::{Client, LONG, Sse, eventually};
use crate::support::rpc::{call, text};
use proxmox_mcp::config::{Fingerprint, TokenHash};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::{NamedTempFile, TempDir};

const ADA: &str = "pmcp_ada-ada-ada-ada-ada";
const BOB: &str = "pmcp_bob-bob-bob-bob-bob";
const EVE: &str = "pmcp_eve-eve-eve-eve-eve";

/// A server over a file that the test writes.
struct Setup {
    process: Process,
    address: String,
    file: PathBuf,
    _folder: TempDir,
}

impl Setup {
    fn new(config: &Value) -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("clusters.json");
        fs::write(&file, config.to_string()).expect("write");
        let process = Process::start(&["--config", file.to_str().expect("UTF-8"), "--listen", "127.0.0.1:0"]);
        let address = process.address();
        Self { process, address, file, _folder: folder }
    }

    /// Writes the file anew, asks for it to be read, and waits for the line of the log that says so.
    fn change(&self, contents: &str, said: &str) -> String {
        fs::write(&self.file, contents).expect("write");
        self.process.signal(Signal::HUP);
        self.hear(said)
    }

    fn hear(&self, said: &str) -> String {
        hear(&self.process, said)
    }

    fn client(&self) -> Client {
        Client::to(&self.address)
    }

    /// The status of a call by the client with this token, and its answer.
    fn ask(&self, token: &str, tool: &str, arguments: Value) -> (u16, Value) {
        ask(&mut self.client(), token, tool, arguments)
    }
}

/// Waits for the line of the log that says so.
fn hear(process: &Process, said: &str) -> String {
    loop {
        let line = process.stderr.recv_timeout(LONG).unwrap_or_else(|_| panic!("never said: {said}"));
        if line.contains(said) {
            return line;
        }
    }
}

fn ask(client: &mut Client, token: &str, tool: &str, arguments: Value) -> (u16, Value) {
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

fn node() -> Node {
    Node::start(|_| Act::data(r#"[{"node":"pve1","status":"online"}]"#))
}

#[test]
fn another_configuration_is_used_once_it_is_read() {
    let (one, two) = (node(), node());
    let before = json!({"clusters": {"alpha": cluster(&one)}, "clients": {"ada": client(ADA, "read")}});
    let setup = Setup::new(&before);
    assert_eq!(setup.ask(ADA, "list_nodes", json!({})).0, 200);
    assert_eq!(setup.ask(BOB, "list_nodes", json!({})).0, 401);

    let clients = json!({"ada": client(ADA, "read"), "bob": client(BOB, "read")});
    let after = json!({"clusters": {"beta": cluster(&two)}, "clients": clients});
    setup.change(&after.to_string(), "clusters: beta; clients: ada (read), bob (read)");
    for token in [ADA, BOB] {
        let (status, answer) = setup.ask(token, "list_clusters", json!({}));
        assert!(status == 200 && text(&answer).contains("beta") && !text(&answer).contains("alpha"), "{answer}");
    }
    assert_eq!(setup.ask(BOB, "list_nodes", json!({})).0, 200);
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));
}

#[test]
fn a_file_that_changes_is_read_without_being_asked() {
    let node = node();
    let config = |access: &str| json!({"clusters": {"one": cluster(&node)}, "clients": {"ada": client(ADA, access)}});
    let setup = Setup::new(&config("read"));
    fs::write(&setup.file, config("operate").to_string()).expect("write");
    setup.hear("clients: ada (operate)");
}

#[test]
fn a_wrong_configuration_leaves_the_one_before_in_use() {
    let node = node();
    let right = json!({"clusters": {"one": cluster(&node)}, "clients": {"ada": client(ADA, "read")}});
    let setup = Setup::new(&right);
    for (wrong, why) in [
        ("{", "line 1"),
        ("", "the file is empty"),
        (r#"{"clusters": {}}"#, "is empty"),
        (r#"{"clients": {"ada": {"token_sha256": "x", "access": "full"}}}"#, "is no SHA-256"),
    ] {
        // By its reason: the file may have been looked at just before it was asked to be, and what it held told twice.
        let line = setup.change(wrong, why);
        assert!(line.contains("keeping the current configuration") && line.contains("ERROR"), "{line}");
        assert_eq!(setup.ask(ADA, "list_nodes", json!({})).0, 200, "{wrong}");
        assert_eq!(setup.ask("", "list_nodes", json!({})).0, 401, "{wrong}");
    }
    fs::remove_file(&setup.file).expect("remove");
    setup.process.signal(Signal::HUP);
    setup.hear("does not exist");
    assert_eq!(setup.ask(ADA, "list_nodes", json!({})).0, 200);
    setup.change(&right.to_string(), "clusters: one; clients: ada (read)");
}

#[test]
fn what_a_client_may_do_holds_from_the_next_call_on_and_one_that_is_gone_loses_its_stream() {
    let node = node();
    let config = |clients: Value| json!({"clusters": {"one": cluster(&node)}, "clients": clients}).to_string();
    let setup = Setup::new(
        &serde_json::from_str(&config(json!({"ada": client(ADA, "full"), "bob": client(BOB, "full")}))).expect("JSON"),
    );
    let open = |token: &str| Sse::open_with(setup.client(), &format!("Authorization: Bearer {token}\r\n"));
    let (mut ada, mut bob) = (open(ADA), open(BOB));

    setup.change(&config(json!({"ada": client(ADA, "read")})), "clients: ada (read)");
    assert!(bob.event().is_none(), "the stream of a client that is gone ends");
    let start = json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST"});
    let headers = format!("Authorization: Bearer {ADA}\r\n");
    assert_eq!(setup.client().post_with(&ada.path, &headers, &call(7, "proxmox_api_call", start)).status, 202);
    let answer = ada.json();
    assert!(text(&answer).contains("client \"ada\" has \"read\""), "{answer}");
    assert!(node.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn a_storm_of_reloads_fails_no_call_and_ends_with_the_last_configuration() {
    const STORM: u32 = 300;
    let node = node();
    let config = |timeout: u32, other: &str| {
        let mut one = cluster(&node);
        one["timeout_seconds"] = timeout.into();
        let clients =
            json!({"ada": client(ADA, "read"), other: client(if other == "eve" { EVE } else { BOB }, "read")});
        json!({"clusters": {"one": one}, "clients": clients})
    };
    let setup = Setup::new(&config(10, "bob"));
    let mut stream = Sse::open_with(setup.client(), &format!("Authorization: Bearer {ADA}\r\n"));
    let (over, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::to(&setup.address);
                while !over.load(Ordering::SeqCst) {
                    let (status, answer) = ask(&mut client, ADA, "list_nodes", json!({}));
                    assert!(status == 200 && text(&answer).contains("pve1"), "{status} {answer}");
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // In place, so that half of one may be read as well.
        for n in 0..STORM {
            let text = config(10 + n % 7, "bob").to_string();
            match n % 3 {
                0 => fs::write(&setup.file, text).expect("write"),
                1 => fs::write(&setup.file, &text[..text.len() / 2]).expect("write"),
                _ => fs::write(&setup.file, text.replace("10", "no number")).expect("write"),
            }
            setup.process.signal(Signal::HUP);
        }
        let before = calls.load(Ordering::SeqCst);
        fs::write(&setup.file, config(5, "eve").to_string()).expect("write");
        setup.process.signal(Signal::HUP);
        eventually("calls go on", || calls.load(Ordering::SeqCst) > before + 8);
        over.store(true, Ordering::SeqCst);
    });
    setup.hear("clients: ada (read), eve (read)");
    assert_eq!((setup.ask(EVE, "list_nodes", json!({})).0, setup.ask(BOB, "list_nodes", json!({})).0), (200, 401));
    let headers = format!("Authorization: Bearer {ADA}\r\n");
    assert_eq!(setup.client().post_with(&stream.path, &headers, &call(7, "list_clusters", json!({}))).status, 202);
    assert_eq!(stream.json()["id"], 7, "a stream outlives it");
}

#[test]
fn a_file_is_read_anew_whatever_its_time_says() {
    let node = node();
    let config = |access: &str| json!({"clusters": {"one": cluster(&node)}, "clients": {"ada": client(ADA, access)}});
    let setup = Setup::new(&config("read"));
    let long_ago = UNIX_EPOCH + Duration::from_secs(1);
    let in_a_century = SystemTime::now() + Duration::from_secs(100 * 365 * 86_400);
    // The last two are of one length and one time.
    for (time, access) in [(in_a_century, "operate"), (long_ago, "full"), (long_ago, "read")] {
        let changed =
            |path: &Path| fs::metadata(path).map(|about| (about.ctime(), about.ctime_nsec())).expect("a file");
        eventually("the file system's clock ticks", || {
            let probe = NamedTempFile::new().expect("a file");
            changed(probe.path()) != changed(&setup.file)
        });
        fs::write(&setup.file, config(access).to_string()).expect("write");
        fs::File::options().write(true).open(&setup.file).expect("open").set_modified(time).expect("a time");
        setup.hear(&format!("clients: ada ({access})"));
    }
}

#[test]
fn a_pinned_certificate_that_is_renewed_is_told_apart_until_its_pin_is_changed() {
    let node = Node::start_as(Identity::Trusted, |_| Act::data(r#"[{"node":"pve1","status":"online"}]"#));
    let config = |pins: &[Fingerprint]| {
        let mut one = cluster(&node);
        one["url"] = node.endpoint().to_string().into();
        one["fingerprint"] = pins.iter().map(ToString::to_string).collect();
        json!({"clusters": {"one": one}, "clients": {"ada": client(ADA, "read")}})
    };
    let old = node.fingerprint();
    let setup = Setup::new(&config(&[old]));
    let ask = || setup.ask(ADA, "list_nodes", json!({})).1;
    assert!(text(&ask()).contains("pve1"));
    node.renew();
    node.hang_up();
    let new = node.fingerprint();
    let sent = node.requests().len();
    for _ in 0..3 {
        let answer = ask();
        let said = text(&answer);
        assert!(said.contains(&format!("expected {old}")) && said.contains(&format!("seen: {new}")), "{said}");
        assert!(!said.contains("verify_ssl") && answer["result"]["isError"] == true, "{said}");
    }
    assert_eq!(node.requests().len(), sent, "nothing was sent to it");
    setup.hear("certificate");

    setup.change(&config(&[new]).to_string(), "reloaded");
    assert!(text(&ask()).contains("pve1"));
    // Whoever lists the next one beforehand misses nothing.
    node.renew();
    setup.change(&config(&[new, node.fingerprint()]).to_string(), "reloaded");
    node.hang_up();
    assert!(text(&ask()).contains("pve1"));
}

#[test]
fn on_stdio_the_configuration_is_read_anew_as_well() {
    let node = node();
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("clusters.json");
    let config = |name: &str| json!({"clusters": {name: cluster(&node)}}).to_string();
    fs::write(&file, config("alpha")).expect("write");
    let mut process = Process::start(&["stdio", "--config", file.to_str().expect("UTF-8")]);
    let clusters = |process: &mut Process| text(&process.ask(&call(1, "list_clusters", json!({})))).to_owned();
    assert!(clusters(&mut process).contains("alpha"));
    fs::write(&file, config("beta")).expect("write");
    process.signal(Signal::HUP);
    hear(&process, "clusters: beta");
    assert!(clusters(&mut process).contains("beta"));
    process.end_input();
    assert_eq!(process.ended().code(), Some(0));
}
