//! A simulated cluster with faults: one demo behind several TLS nodes that forward requests, or die, hang and truncate
//! answers.

use crate::support::node::{self, Identity, Node, Request, ScriptedReply, ca_pem};
use proxmox_mcp::pve::schema::facts::APIDOC;
use proxmox_mcp_demo::{Demo, FULL, Options, USER};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub const NODES: usize = 2;
/// The configured time limit of a call, in seconds.
const TIMEOUT_SECONDS: u64 = 6;
/// A slower answer counts as a fault, even if only the machine is overloaded.
pub const SLOW_RESPONSE: Duration = Duration::from_secs(1);
/// For this time after a fault, a call may still fail that waited for a hanging one.
const GRACE_PERIOD: Duration = Duration::from_secs(TIMEOUT_SECONDS + 2);
/// The prefix of a write's marker. Letters and digits follow.
pub const MARKER_PREFIX: &str = "mk";

/// The behaviour of a node towards a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeFault {
    /// Answers.
    None,
    /// Reads the request and does not answer.
    Hang,
    /// Closes the connection before the request takes effect.
    CloseEarly,
    /// Executes the request and closes without an answer.
    DropResponse,
    /// Executes the request and closes after half of the answer.
    TruncateResponse,
    /// Is down: the port and every connection are closed.
    Down,
    /// Answered slowly without an injected fault.
    Slow,
}

/// The faults that are injected in turn.
pub const FAULTS: [NodeFault; 5] =
    [NodeFault::Down, NodeFault::Hang, NodeFault::TruncateResponse, NodeFault::DropResponse, NodeFault::CloseEarly];

/// A fault, and the number of nodes that have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterFault {
    pub fault: NodeFault,
    /// The number of nodes that behave so.
    pub nodes: usize,
}

impl std::fmt::Display for ClusterFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} on {} of {NODES}", self.fault, self.nodes)
    }
}

/// Each fault, with its start and end.
type FaultHistory = Mutex<Vec<(ClusterFault, Option<Instant>)>>;

/// The number of times that each marked write was forwarded and finished, by method and marker.
type WriteCounts = Mutex<HashMap<String, (u32, u32)>>;

/// A cluster. Dropping it ends its nodes.
pub struct SimulatedCluster {
    /// Its name in the configuration.
    pub name: &'static str,
    /// The three letters that replace `pve` in the names of the demo's nodes.
    pub prefix: &'static str,
    demo: Demo,
    nodes: Mutex<Vec<Option<Node>>>,
    addresses: Vec<SocketAddr>,
    faults: Arc<[AtomicU8; NODES]>,
    writes: Arc<WriteCounts>,
    /// The faults so far.
    fault_history: Arc<FaultHistory>,
}

impl SimulatedCluster {
    /// Starts a cluster with a guest for each of these numbers: `NAME-VMID` on the first node.
    pub fn start(name: &'static str, prefix: &'static str, guests: &[u32]) -> Self {
        let mut options = Options::default();
        options.apidoc = Some(APIDOC.into());
        options.task_step = Duration::from_millis(10);
        // The sessions look for their new guests at once.
        options.lag = Duration::ZERO;
        options.idle = Duration::from_secs(24 * 3600);
        options.requests_per_connection = u32::MAX;
        options.connections = 4096;
        let demo = Demo::start_with(options).expect("a simulated cluster");
        let mut simulated = Self {
            name,
            prefix,
            demo,
            nodes: Mutex::default(),
            addresses: Vec::new(),
            faults: Arc::default(),
            writes: Arc::default(),
            fault_history: Arc::default(),
        };
        for n in 0..NODES {
            // An address that no outgoing connection has, so that the port is still free when the node recovers.
            let node = simulated.start_node(n, ([127, 0, 0, 2], 0).into()).expect("a port");
            simulated.addresses.push(node.endpoint().to_string().parse().expect("an address"));
            simulated.nodes.lock().unwrap().push(Some(node));
        }
        for vmid in guests {
            let body = format!("vmid={vmid}&name={}&memory=512", simulated.guest_name(*vmid));
            simulated.request("POST", "/nodes/pve1/qemu", &body);
        }
        simulated
    }

    fn start_node(&self, n: usize, address: SocketAddr) -> std::io::Result<Node> {
        let (port, prefix) = (self.demo.port(), self.prefix);
        let (faults, writes, history) = (self.faults.clone(), self.writes.clone(), self.fault_history.clone());
        Node::start_at(address, Identity::Trusted, move |request| {
            let fault = faults[n].load(Ordering::SeqCst);
            if fault == NodeFault::Hang as u8 {
                return ScriptedReply::hang();
            } else if fault == NodeFault::CloseEarly as u8 {
                return ScriptedReply::close();
            }
            let mark = find_marker(request).filter(|_| request.method != "GET");
            if let Some(mark) = &mark {
                writes.lock().unwrap().entry(mark.clone()).or_default().0 += 1;
            }
            let begun = Instant::now();
            let mut answer = forward(port, prefix, request);
            if let Some(mark) = mark {
                writes.lock().unwrap().entry(mark).or_default().1 += 1;
            }
            if begun.elapsed() > SLOW_RESPONSE {
                let met = ClusterFault { fault: NodeFault::Slow, nodes: 1 };
                // Inserted before the last fault, which may still be active.
                history.lock().unwrap().insert(0, (met, Some(Instant::now())));
            }
            // The current fault decides: only the answer is lost.
            let fault = faults[n].load(Ordering::SeqCst);
            if fault == NodeFault::DropResponse as u8 {
                return ScriptedReply::close();
            } else if fault == NodeFault::TruncateResponse as u8 {
                answer.truncate(answer.len() / 2);
                return ScriptedReply::raw(answer).then_close();
            }
            ScriptedReply::raw(answer)
        })
    }

    /// Returns its entry in the configuration.
    pub fn config_entry(&self, ca_file: &Path, more_milliseconds: u64) -> Value {
        json!({"urls": self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), "user": USER, "token_id": FULL,
            "token_secret": self.demo.full_secret(), "ca_file": ca_file, "confirm": "never",
            "timeout_seconds": TIMEOUT_SECONDS as f64 + more_milliseconds as f64 / 1000.0})
    }

    /// Returns the CA certificate of the nodes of all clusters.
    pub fn ca_certificate() -> &'static str {
        ca_pem()
    }

    /// Returns the name of a guest with this number.
    pub fn guest_name(&self, vmid: u32) -> String {
        format!("{}-{vmid}", self.name)
    }

    /// Returns the name of its first node, which has the guests.
    pub fn first_node(&self) -> String {
        format!("{}1", self.prefix)
    }

    /// Sets or clears the fault of these nodes.
    pub fn set_fault(&self, nodes: &[usize], fault: NodeFault) {
        let mut running = self.nodes.lock().unwrap();
        if fault != NodeFault::None {
            self.fault_history.lock().unwrap().push((ClusterFault { fault, nodes: nodes.len() }, None));
        }
        for n in nodes {
            self.faults[*n].store(fault as u8, Ordering::SeqCst);
            if fault == NodeFault::Down {
                running[*n] = None;
            } else if running[*n].is_none() {
                running[*n] = Some(self.restart_node(*n));
            } else if let Some(node) = &running[*n]
                && fault == NodeFault::None
            {
                node.forget();
            }
        }
        if fault == NodeFault::None
            && let Some(last) = self.fault_history.lock().unwrap().last_mut()
        {
            last.1 = Some(Instant::now());
        }
    }

    /// Restarts a node at its old address, with a new certificate.
    fn restart_node(&self, n: usize) -> Node {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            match self.start_node(n, self.addresses[n]) {
                Ok(node) => return node,
                Err(error) if Instant::now() > until => panic!("node {n} of {} can't come back: {error}", self.name),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Drops the recorded requests of the nodes.
    pub fn forget_requests(&self) {
        self.nodes.lock().unwrap().iter().flatten().for_each(Node::forget);
    }

    /// Returns a fault that may have affected a call started at this time.
    pub fn fault_since(&self, begun: Instant) -> Option<ClusterFault> {
        let history = self.fault_history.lock().unwrap();
        let mut met = history.iter().rev().filter(|(_, end)| end.is_none_or(|end| end + GRACE_PERIOD > begun));
        met.next().map(|(active, _)| *active)
    }

    /// Returns the number of slow answers without an injected fault.
    pub fn count_slow_responses(&self) -> usize {
        self.fault_history.lock().unwrap().iter().filter(|(active, _)| active.fault == NodeFault::Slow).count()
    }

    /// Waits until no write with this marker is in progress, and returns how often it was forwarded.
    pub fn count_writes(&self, method: &str, mark: &str) -> u32 {
        loop {
            let (begun, over) =
                self.writes.lock().unwrap().get(&format!("{method} {mark}")).copied().unwrap_or_default();
            if begun == over {
                return begun;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Forgets the marker of a write.
    pub fn forget_write(&self, method: &str, mark: &str) {
        self.writes.lock().unwrap().remove(&format!("{method} {mark}"));
    }

    /// Sends a request to the demo itself. Returns the `data` of the answer.
    pub fn request(&self, method: &str, path: &str, body: &str) -> Value {
        let secret = self.demo.full_secret();
        let mut headers = vec![("authorization".to_owned(), format!("PVEAPIToken={USER}!{FULL}={secret}"))];
        if !body.is_empty() {
            headers.push(("content-type".into(), "application/x-www-form-urlencoded".into()));
        }
        let request = Request {
            connection: 0,
            nth: 0,
            index: 0,
            method: method.into(),
            target: format!("/api2/json{path}"),
            headers,
            body: body.into(),
        };
        let answer = forward(self.demo.port(), "pve", &request);
        let text = String::from_utf8(answer).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200 "), "{method} {path}: {text}");
        serde_json::from_str::<Value>(body).expect("JSON")["data"].take()
    }
}

/// Returns method and marker of a write that has one.
fn find_marker(request: &Request) -> Option<String> {
    let text = format!("{} {}", request.target, request.body);
    // Not inside a word or a number.
    let at = text.match_indices(MARKER_PREFIX).find(|(at, _)| text[..*at].ends_with(['/', '=', '"']))?.0;
    let mark: String = text[at..].chars().take_while(char::is_ascii_alphanumeric).collect();
    Some(format!("{} {mark}", request.method))
}

thread_local! {
    /// A node's connection to the demo. Each client connection has its own thread.
    static DEMO_CONNECTION: RefCell<Option<TcpStream>> = const { RefCell::new(None) };
}

/// Forwards a request to the demo at this port, with translated names. Returns the bytes of the answer.
fn forward(port: u16, prefix: &str, request: &Request) -> Vec<u8> {
    let (outside, inside) = (format!("{prefix}1"), "pve1");
    assert_eq!(outside.len(), inside.len(), "the lengths are equal");
    let node::Request { method, target, headers, body, .. } = request;
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in headers {
        if name != "content-length" && name != "connection" {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    let mut bytes = text.into_bytes();
    rename_nodes(&mut bytes, prefix, "pve");
    let mut answer = DEMO_CONNECTION.with_borrow_mut(|world| {
        let mut stream = world.take().unwrap_or_else(|| {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the world");
            stream.set_nodelay(true).expect("a socket");
            stream
        });
        // A thread of the harness sends requests to every cluster.
        if stream.peer_addr().map(|peer| peer.port()).ok() != Some(port) {
            stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the world");
        }
        stream.write_all(&bytes).expect("the world listens");
        let (answer, closes) = read_response(&mut stream);
        *world = (!closes).then_some(stream);
        answer
    });
    if !contains(&answer, b"Content-Encoding: gzip") {
        rename_nodes(&mut answer, "pve", prefix);
    }
    answer
}

/// Reads an answer. Returns it, and whether its connection ends.
fn read_response(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let (mut answer, mut room) = (Vec::new(), [0; 16 << 10]);
    let mut whole = None;
    while whole.is_none_or(|whole| answer.len() < whole) {
        let n = stream.read(&mut room).expect("the world speaks");
        assert!(n > 0, "the world ended: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&room[..n]);
        if whole.is_none()
            && let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n")
        {
            let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            whole = Some(head + 4 + length.unwrap_or(0));
        }
    }
    let closes = contains(&answer, b"Connection: close");
    (answer, closes)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|w| w == part)
}

/// Replaces the names of the three nodes by others of the same length.
fn rename_nodes(bytes: &mut [u8], from: &str, to: &str) {
    let from = from.as_bytes();
    let mut at = 0;
    while at + from.len() < bytes.len() {
        let end = at + from.len();
        if bytes[at..end] == *from && matches!(bytes[end], b'1'..=b'3') {
            bytes[at..end].copy_from_slice(to.as_bytes());
            at = end;
        } else {
            at += 1;
        }
    }
}
