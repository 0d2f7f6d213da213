//! A client that may only read and does its worst, on a cluster of 10,000 guests.
//!
//! The node of that cluster refuses nothing. What it must never see is a change: no configuration of the run allows one.

use super::statistics::{CallVerdict, SoakStatistics};
use crate::support::node::{Node, ScriptedReply};
use crate::support::raw::{Client, Reply};
use crate::support::rpc::{ACCEPT, call};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The token of the client, which may only read.
pub const ABUSER: &str = "pmcp_soak-abuser-0123456789abcdef";
/// The token of the client whose rights every reload changes.
pub const TOGGLED: &str = "pmcp_soak-toggled-0123456789abcdef";
/// The name of the large cluster in the configuration.
pub const LARGE: &str = "gamma";

const GUESTS: usize = 10_000;
/// The threads that send the worst requests.
const SENDERS: usize = 8;
/// More connections than one address may have.
const SILENT_CONNECTIONS: usize = 1100;
/// The time in which an answer must arrive. Many of them take a core for a while.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// The time in which a health check must be answered. Under a flood of connections the kernel drops the first packets of
/// some, and they are sent again after 1, 3, 7 and 15 seconds.
const HEALTH_LIMIT: Duration = Duration::from_secs(30);
/// Address of the client. Linux gives all of 127.0.0.0/8 to the loopback interface.
const ADDRESS: [u8; 4] = [127, 0, 0, 9];

/// The cluster of 10,000 guests.
pub struct LargeCluster {
    node: Node,
    changes: Arc<AtomicU64>,
}

impl LargeCluster {
    pub fn start() -> Self {
        let rows = (0..GUESTS).map(|n| {
            json!({"id": format!("qemu/{}", 100 + n), "vmid": 100 + n, "type": "qemu", "name": format!("web-{n}.shop.example"),
                "node": format!("gam{}", n % 16), "status": "running", "cpu": 0.031, "maxcpu": 4, "mem": 1_613_840_384_u64,
                "maxmem": 4_294_967_296_u64, "disk": 0, "maxdisk": 34_359_738_368_u64, "uptime": 86_400 + n})
            .to_string()
        });
        let resources = format!("[{}]", rows.collect::<Vec<_>>().join(","));
        let changes = Arc::new(AtomicU64::new(0));
        let counted = changes.clone();
        let node = Node::start(move |request| {
            if request.method != "GET" {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            match request.path() {
                "/api2/json/cluster/resources" => ScriptedReply::data(&resources),
                "/api2/json/version" => ScriptedReply::data(r#"{"version":"9.2.1"}"#),
                _ => ScriptedReply::data("{}"),
            }
        });
        Self { node, changes }
    }

    /// Returns its entry in the configuration.
    pub fn config_entry(&self) -> Value {
        json!({"url": format!("http://{}", self.node.endpoint()), "user": "mcp@pve", "token_id": "soak",
            "token_secret": "soak-secret", "timeout_seconds": 60, "confirm": "never", "access": "full"})
    }

    /// Returns the number of requests that were no reads.
    pub fn count_changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Drops the recorded requests.
    pub fn forget_requests(&self) {
        self.node.forget();
    }
}

/// Returns the entries of the clients in a configuration. The first version denies the toggled client a change, and the
/// second one allows it only reads. A mixture of both would let the change through.
pub fn client_entries(version: u64) -> Value {
    let hash = |token: &str| proxmox_mcp::config::TokenHash::from_token(token.as_bytes()).to_string();
    let toggled = match version % 2 {
        0 => json!({"access": "operate", "deny": ["POST /nodes/*/qemu/*/status/reset"]}),
        _ => json!({"access": "read"}),
    };
    let mut clients = json!({"toggled": toggled, "abuser": {"access": "read", "token_sha256": hash(ABUSER)}});
    clients["toggled"]["token_sha256"] = hash(TOGGLED).into();
    clients
}

/// The threads of the abusive client, of the toggled client and of a health check.
pub struct Abuse<'a> {
    pub server: SocketAddr,
    pub statistics: &'a SoakStatistics,
    pub stopping: &'a AtomicBool,
}

impl<'a> Abuse<'a> {
    /// Starts the threads, which end when `stopping` is set.
    pub fn start<'scope>(&'a self, scope: &'scope thread::Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        let requests = Arc::new(worst_requests());
        for sender in 0..SENDERS {
            let requests = requests.clone();
            scope.spawn(move || self.repeat("sender", |n| self.send_worst(&requests, sender + n)));
        }
        scope.spawn(move || self.repeat("cancelled", |_| self.cancel_calls()));
        scope.spawn(move || self.repeat("silent", |_| self.hold_silent_connections()));
        scope.spawn(move || self.repeat("toggled", |_| self.use_toggled_rights()));
        scope.spawn(move || self.repeat("health", |_| self.check_health()));
    }

    /// Repeats an action. A connection without an answer panics, which counts as wrong.
    fn repeat(&self, what: &'static str, action: impl Fn(usize)) {
        for n in 0.. {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            if catch_unwind(AssertUnwindSafe(|| action(n))).is_err() {
                self.record(what, Instant::now(), Some(format!("{what}: no answer")));
            }
        }
    }

    fn record(&self, what: &'static str, begun: Instant, wrong: Option<String>) {
        let verdict = if wrong.is_some() { CallVerdict::Wrong } else { CallVerdict::Correct };
        self.statistics.record_call("abuse", what, verdict, begun);
        if let Some(wrong) = wrong {
            self.statistics.record_wrong(wrong.chars().take(600).collect());
        }
    }

    /// Connects from the client's own address.
    fn connect(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((ADDRESS, 0)).into()).expect("an address");
        socket.connect(&self.server.into()).expect("the server listens");
        socket.into()
    }

    fn post(&self, token: &str, body: &str) -> Reply {
        let mut client = Client::new(self.connect());
        client.stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a socket");
        client.post_with("/mcp", &format!("Accept: application/json\r\nAuthorization: Bearer {token}\r\n"), body)
    }

    /// Sends one of the worst requests. It must be answered: with a result, a refusal, or 503 for a moment.
    fn send_worst(&self, requests: &[(&'static str, String)], n: usize) {
        let ((what, body), begun) = (&requests[n % requests.len()], Instant::now());
        let reply = self.post(ABUSER, body);
        let is_answer = matches!(reply.status, 200 | 400 | 413 | 503);
        self.record(what, begun, (!is_answer).then(|| format!("{what}: {} {}", reply.status, reply.body)));
    }

    /// Starts calls on the large cluster and leaves.
    fn cancel_calls(&self) {
        let begun = Instant::now();
        let body = call(1, "get_cluster_resources", json!({"cluster": LARGE}));
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let mut client = Client::new(self.connect());
                client.send_post_with("/mcp", &format!("{ACCEPT}Authorization: Bearer {ABUSER}\r\n"), &body);
                client
            })
            .collect();
        thread::sleep(Duration::from_millis(100));
        drop(calls);
        self.record("cancelled", begun, None);
    }

    /// Opens more connections than its address may have, of which most send nothing and some an incomplete head.
    fn hold_silent_connections(&self) {
        let begun = Instant::now();
        let mut silent: Vec<_> = (0..SILENT_CONNECTIONS).map(|_| Client::new(self.connect())).collect();
        silent.iter_mut().step_by(7).for_each(|client| client.send("POST /mcp HTTP/1.1\r\nHost: localh"));
        while begun.elapsed() < Duration::from_secs(2) && !self.stopping.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
        self.record("silent", begun, None);
    }

    /// Makes a read that every configuration allows, and a change that none allows.
    fn use_toggled_rights(&self) {
        let begun = Instant::now();
        let path = |path: &str| json!({"cluster": LARGE, "path": path});
        let reply = self.post(TOGGLED, &call(1, "proxmox_api_get", path("/version")));
        let is_right = reply.status == 200 && reply.body.contains("9.2.1");
        self.record("allowed", begun, (!is_right).then(|| format!("allowed: {} {}", reply.status, reply.body)));
        let begun = Instant::now();
        let mut change = path("/nodes/gam4/qemu/104/status/reset");
        change["method"] = "POST".into();
        let reply = self.post(TOGGLED, &call(1, "proxmox_api_call", change));
        let is_right = reply.status == 200 && reply.body.contains("\"isError\":true");
        self.record("denied", begun, (!is_right).then(|| format!("denied: {} {}", reply.status, reply.body)));
        thread::sleep(Duration::from_millis(20));
    }

    /// Checks the health from the address that has no connection left.
    fn check_health(&self) {
        let begun = Instant::now();
        let mut client = Client::new(self.connect());
        client.stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a socket");
        let status = client.ask("GET /healthz", "").status;
        let is_right = status == 200 && begun.elapsed() < HEALTH_LIMIT;
        self.record("health", begun, (!is_right).then(|| format!("health: {status} after {:.1?}", begun.elapsed())));
        thread::sleep(Duration::from_millis(100));
    }
}

/// Returns the requests that once took a core or the memory of the service, each with its name.
fn worst_requests() -> Vec<(&'static str, String)> {
    let get = |more: Value| {
        let mut arguments = json!({"cluster": LARGE, "path": "/cluster/resources"});
        arguments.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        call(1, "proxmox_api_get", arguments)
    };
    let names: Vec<_> = (0..3_000).map(|n| format!("web-{n}.shop.exampel")).collect();
    let objects: Vec<_> = (0..500_000).map(|_| json!({"": 0})).collect();
    vec![
        ("list", call(1, "get_cluster_resources", json!({"cluster": LARGE}))),
        ("filter", get(json!({"filter": format!("name=a{}b", " ".repeat(90_000))}))),
        ("large filter", get(json!({"filter": format!("name=a{}b", " ".repeat(3_900_000))}))),
        (
            "sort",
            get(json!({"sort": ["name", "-vmid", "node", "status", "mem", "uptime", "cpu", "maxmem"], "limit": 5000})),
        ),
        ("miss", call(1, "find_guest", json!({"cluster": LARGE, "query": "wbe-99999.shpo.exmaple"}))),
        (
            "tree",
            call(
                1,
                "proxmox_api_call",
                json!({"cluster": LARGE, "method": "GET", "path": "/version", "data": {"a": objects}}),
            ),
        ),
        (
            "names",
            call(
                1,
                "proxmox_api_call",
                json!({"cluster": LARGE, "method": "PUT", "path": "/cluster/ha/rules/x1",
                "data": {"resources": names.join(",")}}),
            ),
        ),
        (
            "text",
            call(
                1,
                "proxmox_api_call",
                json!({"cluster": LARGE, "method": "PUT", "path": "/nodes/gam4/qemu/104/config",
            "data": {"description": "x".repeat(3 << 20)}}),
            ),
        ),
        ("unknown", call(1, "find_guest", json!({"cluster": LARGE, "query": "web", "x": "y".repeat(3 << 20)}))),
        ("paths", call(1, "proxmox_api_get", json!({"cluster": LARGE, "paths": vec!["/cluster/resources"; 20]}))),
        ("deep", format!("{{\"a\":{}", "[".repeat(1 << 20))),
        ("batch", format!("[{}]", vec![call(1, "list_nodes", json!({"cluster": LARGE})); 200].join(","))),
        ("search", call(1, "search_api", json!({"cluster": LARGE, "query": "snapshot ".repeat(10_000)}))),
    ]
}
