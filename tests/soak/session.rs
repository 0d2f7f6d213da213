//! One client: its calls, and the check that each answer belongs to its request.

use super::simulated_cluster::{SLOW_RESPONSE, SimulatedCluster};
use super::statistics::{CallVerdict, SoakStatistics};
use super::transport::{Server, SessionTransport, TransportKind, open};
use crate::support::rpc::text;
use crate::support::transport::Transport;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The pause between two calls of a session.
const CALL_INTERVAL: Duration = Duration::from_millis(200);
/// Search words, and the result that must be found.
const SEARCHES: [(&str, &str); 4] = [
    ("snapshot a vm", "POST /nodes/{node}/qemu/{vmid}/snapshot"),
    ("start a container", "POST /nodes/{node}/lxc/{vmid}/status/start"),
    ("list storages of a node", "GET /nodes/{node}/storage"),
    ("migrate a vm", "POST /nodes/{node}/qemu/{vmid}/migrate"),
];

pub struct SoakSession {
    pub(super) number: u32,
    transport: TransportKind,
    connection: Option<SessionTransport>,
    /// The cluster of its guest.
    pub(super) home_cluster: usize,
    pub(super) vmid: u32,
    /// The guest's description after its own writes.
    pub(super) description: String,
    next_id: usize,
    /// The last write with an unknown outcome, which may still take effect.
    pub(super) unconfirmed_description: String,
    pub(super) markers: u32,
    abandoned: Vec<usize>,
    random_state: u64,
}

/// The outcome of a call for its caller.
pub(super) enum CallOutcome {
    Result(Value),
    /// A clear error during a fault.
    Error(String),
    /// A wrong answer, which was counted.
    Wrong,
}

/// The state that all sessions share.
pub struct CycleContext<'a> {
    pub clusters: &'a [SimulatedCluster; 2],
    /// The number of guests of each cluster.
    pub guests: [usize; 2],
    pub server: &'a Server,
    /// Counts.
    pub statistics: &'a SoakStatistics,
    /// Set when the sessions are to end.
    pub stopping: &'a AtomicBool,
}

impl SoakSession {
    /// Creates a session with this number and its own guest on a cluster.
    pub fn new(number: u32, transport: TransportKind, home: usize) -> Self {
        Self {
            number,
            transport,
            connection: None,
            home_cluster: home,
            vmid: 1000 + number,
            description: String::new(),
            next_id: 0,
            unconfirmed_description: String::new(),
            markers: 0,
            abandoned: Vec::new(),
            random_state: u64::from(number) + 1,
        }
    }

    /// Returns the number of its guest, and the cluster.
    pub fn guest(&self) -> (usize, u32) {
        (self.home_cluster, self.vmid)
    }

    /// Returns its process, if it has one.
    pub fn process_id(&self) -> Option<u32> {
        match &self.connection {
            Some(SessionTransport::Own(process)) => Some(process.child.id()),
            _ => None,
        }
    }

    /// Makes calls until the end of the cycle. Then the session is closed, except that a process stays.
    pub fn run(&mut self, scene: &CycleContext<'_>) {
        // Sessions do not start at the same time.
        thread::sleep(CALL_INTERVAL * (self.number % 200) / 200);
        let mut due = Instant::now();
        while !scene.stopping.load(Ordering::SeqCst) {
            let outcome = catch_unwind(AssertUnwindSafe(|| self.step(scene)));
            if outcome.is_err() {
                let what = format!("{} lost its way to the server", self.name());
                scene.statistics.record_call(self.transport.name(), "connection", CallVerdict::Wrong, Instant::now());
                scene.statistics.record_wrong(what);
                self.connection = None;
            }
            due += CALL_INTERVAL;
            match due.checked_duration_since(Instant::now()) {
                Some(left) => thread::sleep(left),
                None => due = Instant::now(),
            }
        }
        match self.transport {
            // In a short run, a session may not have been used yet.
            TransportKind::Stdio => {
                self.connection(scene);
            }
            _ => self.connection = None,
        }
    }

    /// Ends its process, which must exit with success.
    pub fn end(&mut self, tally: &SoakStatistics) {
        if let Some(SessionTransport::Own(mut process)) = self.connection.take() {
            process.end_input();
            let status = process.wait_for_exit();
            process.stderr.try_iter().for_each(|line| tally.record_message("stdio, log", strip_timestamp(&line)));
            if !status.success() {
                tally.record_call("stdio", "end", CallVerdict::Wrong, Instant::now());
                tally.record_wrong(format!("{} ended with {status}", self.name()));
            }
        }
    }

    fn name(&self) -> String {
        format!("session {} over {}", self.number, self.transport.name())
    }

    fn random_below(&mut self, sides: u64) -> u64 {
        // Knuth's MMIX: good enough to mix calls, and the same in every run.
        self.random_state =
            self.random_state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random_state >> 33) % sides
    }

    /// Makes one random call or disconnect.
    fn step(&mut self, scene: &CycleContext<'_>) {
        let cluster = if self.random_below(10) < 7 { self.home_cluster } else { 1 - self.home_cluster };
        match self.random_below(100) {
            0..10 => self.list_clusters(scene),
            10..22 => self.list_nodes(scene, cluster),
            22..27 => self.list_all_nodes(scene),
            27..35 => self.list_resources(scene, cluster),
            35..62 => self.read_config(scene),
            62..74 => self.find_guest(scene),
            74..84 => self.search_api(scene),
            84..90 => self.describe_guest(scene),
            90..94 => self.take_snapshot(scene),
            94..97 => self.cancel(scene, cluster),
            _ => self.reconnect(scene),
        }
    }

    fn connection(&mut self, scene: &CycleContext<'_>) -> &mut dyn Transport {
        let (transport, number, server) = (self.transport, self.number, scene.server);
        self.connection.get_or_insert_with(|| open(transport, number, server)).link()
    }

    /// Closes and reopens the session. A process does so rarely, since its resources are measured.
    fn reconnect(&mut self, scene: &CycleContext<'_>) {
        if self.transport == TransportKind::Stdio {
            if self.random_below(40) == 0 {
                self.end(scene.statistics);
                // It restarts at once, so that the number of processes is constant at each measurement.
                self.connection(scene);
                scene.statistics.record_reconnect();
            }
            return;
        }
        self.connection = None;
        self.abandoned.clear();
        self.connection(scene);
        scene.statistics.record_reconnect();
    }

    /// Makes a call that may fail only if all these clusters have a fault, and checks the parts that all answers have
    /// in common.
    pub(super) fn call(
        &mut self,
        scene: &CycleContext<'_>,
        tool: &'static str,
        arguments: Value,
        clusters: &[usize],
    ) -> CallOutcome {
        self.next_id += 1;
        let (id, begun) = (self.next_id, Instant::now());
        self.connection(scene).send(id, tool, arguments.clone());
        let answer = loop {
            let answer = self.connection(scene).receive();
            match answer["id"].as_u64().map(|id| id as usize) {
                Some(late) if self.abandoned.contains(&late) => self.abandoned.retain(|id| *id != late),
                _ => break answer,
            }
        };
        if answer["id"].as_u64() != Some(id as u64) {
            return self.record_wrong(scene, tool, begun, format!("{tool} {arguments} with id {id}: {answer}"));
        }
        let result = &answer["result"];
        if !result.is_object() {
            return self.record_wrong(scene, tool, begun, format!("{tool} {arguments}: {answer}"));
        }
        if result["isError"] != true {
            scene.statistics.record_call(self.transport.name(), tool, CallVerdict::Correct, begun);
            return CallOutcome::Result(answer);
        }
        let message = text(&answer).to_owned();
        let met = || clusters.iter().map(|c| scene.clusters[*c].fault_since(begun)).collect::<Option<Vec<_>>>();
        let met = met().or_else(|| {
            // A slow node is only known as slow once it has answered.
            thread::sleep(SLOW_RESPONSE * 2);
            met()
        });
        match met.unwrap_or_default().first() {
            Some(fault) if is_clear_error(&message) => {
                scene.statistics.record_call(self.transport.name(), tool, CallVerdict::Failed, begun);
                scene.statistics.record_message(&format!("{fault}, client"), &message);
                CallOutcome::Error(message)
            }
            _ => self.record_wrong(scene, tool, begun, format!("{tool} {arguments}: {message}")),
        }
    }

    pub(super) fn record_wrong(
        &self,
        scene: &CycleContext<'_>,
        tool: &'static str,
        begun: Instant,
        what: String,
    ) -> CallOutcome {
        scene.statistics.record_call(self.transport.name(), tool, CallVerdict::Wrong, begun);
        scene.statistics.record_wrong(format!("{}: {}", self.name(), what.chars().take(600).collect::<String>()));
        CallOutcome::Wrong
    }

    /// Checks a result.
    fn check(&self, scene: &CycleContext<'_>, tool: &'static str, right: bool, answer: &Value) {
        if !right {
            self.record_wrong(scene, tool, Instant::now(), format!("{tool}: not what was asked for: {answer}"));
        }
    }

    fn list_clusters(&mut self, scene: &CycleContext<'_>) {
        let tool = "list_clusters";
        if let CallOutcome::Result(answer) = self.call(scene, tool, json!({}), &[]) {
            let names: Vec<_> = parse_rows(&answer).iter().map(|row| row[0].clone()).collect();
            // A process sees the large cluster too.
            let is_right = names.starts_with(&scene.clusters.each_ref().map(|simulated| simulated.name.into()));
            self.check(scene, tool, is_right, &answer);
        }
    }

    fn list_nodes(&mut self, scene: &CycleContext<'_>, cluster: usize) {
        let (tool, simulated) = ("list_nodes", &scene.clusters[cluster]);
        if let CallOutcome::Result(answer) = self.call(scene, tool, json!({"cluster": simulated.name}), &[cluster]) {
            scene.statistics.record_success(simulated.name);
            let names: Vec<_> = parse_rows(&answer).iter().map(|row| row[0].clone()).collect();
            self.check(scene, tool, names == node_names(simulated), &answer);
        }
    }

    /// Lists the nodes of both clusters. A fault on one must not remove the rows of the other.
    fn list_all_nodes(&mut self, scene: &CycleContext<'_>) {
        let (tool, begun) = ("list_nodes", Instant::now());
        let CallOutcome::Result(answer) = self.call(scene, tool, json!({}), &[0, 1]) else { return };
        let rows = parse_rows(&answer);
        for simulated in scene.clusters {
            let of = rows.iter().filter(|row| row[0] == simulated.name).map(|row| row[1].clone()).collect::<Vec<_>>();
            let error = answer["result"]["structuredContent"]["errors"].to_string().contains(simulated.name);
            let met = || simulated.fault_since(begun).is_some();
            let excused = error
                && of.is_empty()
                && (met() || {
                    thread::sleep(SLOW_RESPONSE * 2);
                    met()
                });
            self.check(scene, tool, excused || (!error && of == node_names(simulated)), &answer);
        }
    }

    fn list_resources(&mut self, scene: &CycleContext<'_>, cluster: usize) {
        let (tool, simulated) = ("get_cluster_resources", &scene.clusters[cluster]);
        let arguments = json!({"cluster": simulated.name, "type": "vm"});
        if let CallOutcome::Result(answer) = self.call(scene, tool, arguments, &[cluster]) {
            scene.statistics.record_success(simulated.name);
            let rows = parse_rows(&answer);
            let total = &answer["result"]["structuredContent"]["total"];
            let here = rows.iter().all(|row| row[2].as_str().is_some_and(|node| node.starts_with(simulated.prefix)));
            self.check(scene, tool, here && !rows.is_empty() && *total == scene.guests[cluster], &answer);
        }
    }

    pub(super) fn guest_path(&self, scene: &CycleContext<'_>) -> String {
        format!("/nodes/{}/qemu/{}", scene.clusters[self.home_cluster].first_node(), self.vmid)
    }

    /// Reads the guest's configuration, alone or in a call of several paths.
    fn read_config(&mut self, scene: &CycleContext<'_>) {
        let (tool, simulated) = ("proxmox_api_get", &scene.clusters[self.home_cluster]);
        let path = format!("{}/config", self.guest_path(scene));
        let arguments = json!({"cluster": simulated.name, "path": path});
        if let CallOutcome::Result(answer) = self.call(scene, tool, arguments, &[self.home_cluster]) {
            scene.statistics.record_success(simulated.name);
            let config = &answer["result"]["structuredContent"]["data"];
            let description = config["description"].as_str().unwrap_or_default();
            if !description.is_empty()
                && description == self.unconfirmed_description
                && simulated.count_writes("PUT", description) == 1
            {
                self.description = description.to_owned();
            }
            let right = config["name"] == simulated.guest_name(self.vmid) && description == self.description;
            self.check(scene, tool, right, &answer);
        }
    }

    fn find_guest(&mut self, scene: &CycleContext<'_>) {
        let (tool, simulated) = ("find_guest", &scene.clusters[self.home_cluster]);
        let name = simulated.guest_name(self.vmid);
        let arguments = json!({"cluster": simulated.name, "query": name});
        if let CallOutcome::Result(answer) = self.call(scene, tool, arguments, &[self.home_cluster]) {
            scene.statistics.record_success(simulated.name);
            let path = self.guest_path(scene);
            let right = parse_rows(&answer).first().is_some_and(|row| row[2] == *name && row[7] == *path);
            self.check(scene, tool, right, &answer);
        }
    }

    fn search_api(&mut self, scene: &CycleContext<'_>) {
        let tool = "search_api";
        let (query, found) = SEARCHES[self.random_below(SEARCHES.len() as u64) as usize];
        let arguments = json!({"cluster": scene.clusters[self.home_cluster].name, "query": query});
        // The embedded facts are used if the cluster is unreachable.
        if let CallOutcome::Result(answer) = self.call(scene, tool, arguments, &[]) {
            self.check(scene, tool, text(&answer).contains(found), &answer);
        }
    }

    fn cancel(&mut self, scene: &CycleContext<'_>, cluster: usize) {
        let (tool, begun) = ("get_cluster_resources", Instant::now());
        self.next_id += 1;
        let id = self.next_id;
        let arguments = json!({"cluster": scene.clusters[cluster].name});
        let link = self.connection(scene);
        link.send(id, tool, arguments);
        link.cancel(id);
        if self.transport != TransportKind::Http {
            self.abandoned.push(id);
        }
        scene.statistics.record_call(self.transport.name(), tool, CallVerdict::Abandoned, begun);
    }
}

/// Returns the rows of a list.
fn parse_rows(answer: &Value) -> Vec<Value> {
    answer["result"]["structuredContent"]["rows"].as_array().cloned().unwrap_or_default()
}

fn node_names(simulated: &SimulatedCluster) -> [String; 3] {
    ["1", "2", "3"].map(|n| format!("{}{n}", simulated.prefix))
}

/// Returns whether an error names the unreachable cluster or the unknown outcome.
fn is_clear_error(text: &str) -> bool {
    let named =
        ["could not connect", "in time", "did not answer", "was lost", "is busy", "can't be read", "is unknown"];
    named.iter().any(|word| text.contains(word)) && text.matches("Nothing was").count() <= 1 && !text.contains("://")
}

/// Returns a log line without its time.
pub fn strip_timestamp(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(_, rest)| rest)
}
