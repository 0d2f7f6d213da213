//! One client: what it does, and whether each answer is the one to its own question.

use super::stand::{SLOW, Stand};
use super::tally::{Outcome, Tally};
use super::way::{Server, Transport, Way, open};
use crate::support::link::Link;
use crate::support::rpc::text;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Between two calls of a session.
const PACE: Duration = Duration::from_millis(200);
/// Plain words, and what has to be found by them.
const SEARCHES: [(&str, &str); 4] = [
    ("snapshot a vm", "POST /nodes/{node}/qemu/{vmid}/snapshot"),
    ("start a container", "POST /nodes/{node}/lxc/{vmid}/status/start"),
    ("list storages of a node", "GET /nodes/{node}/storage"),
    ("migrate a vm", "POST /nodes/{node}/qemu/{vmid}/migrate"),
];

/// A client.
pub struct Session {
    pub(super) number: u32,
    transport: Transport,
    link: Option<Way>,
    /// Which cluster its guest is on.
    pub(super) home: usize,
    pub(super) vmid: u32,
    /// The guest's description, as its own writes left it.
    pub(super) description: String,
    next: usize,
    /// The last of them that nobody knew the outcome of: it may take effect after all.
    pub(super) unknown: String,
    pub(super) marks: u32,
    given_up: Vec<usize>,
    dice: u64,
}

/// What a call came to, for whoever made it.
pub(super) enum Said {
    /// A result.
    Result(Value),
    /// A clear error, in a time of trouble.
    Error(String),
    /// Something wrong, which was counted.
    Wrong,
}

/// What everybody shares while a session runs.
pub struct Scene<'a> {
    /// The clusters.
    pub stands: &'a [Stand; 2],
    /// How many guests each has.
    pub guests: [usize; 2],
    /// Where to.
    pub server: &'a Server,
    /// Counts.
    pub tally: &'a Tally,
    /// Set when the sessions are to end.
    pub over: &'a AtomicBool,
}

impl Session {
    /// One of this number, with a guest of its own on a cluster.
    pub fn new(number: u32, transport: Transport, home: usize) -> Self {
        Self {
            number,
            transport,
            link: None,
            home,
            vmid: 1000 + number,
            description: String::new(),
            next: 0,
            unknown: String::new(),
            marks: 0,
            given_up: Vec::new(),
            dice: u64::from(number) + 1,
        }
    }

    /// Its guest's number, and the cluster it is on.
    pub fn guest(&self) -> (usize, u32) {
        (self.home, self.vmid)
    }

    /// Its process, where it has one.
    pub fn process(&self) -> Option<u32> {
        match &self.link {
            Some(Way::Process(process)) => Some(process.child.id()),
            _ => None,
        }
    }

    /// Calls until it is over. Then the session is closed; a process stays.
    pub fn run(&mut self, scene: &Scene<'_>) {
        // Not all at once.
        thread::sleep(PACE * (self.number % 200) / 200);
        let mut due = Instant::now();
        while !scene.over.load(Ordering::SeqCst) {
            let told = catch_unwind(AssertUnwindSafe(|| self.step(scene)));
            if told.is_err() {
                let what = format!("{} lost its way to the server", self.name());
                scene.tally.call(self.transport.name(), "connection", Outcome::Wrong, Instant::now());
                scene.tally.wrong(what);
                self.link = None;
            }
            due += PACE;
            match due.checked_duration_since(Instant::now()) {
                Some(left) => thread::sleep(left),
                None => due = Instant::now(),
            }
        }
        match self.transport {
            // One that was not needed yet, in a short run.
            Transport::Stdio => {
                self.link(scene);
            }
            _ => self.link = None,
        }
    }

    /// Ends its process, which must end well.
    pub fn end(&mut self, tally: &Tally) {
        if let Some(Way::Process(mut process)) = self.link.take() {
            process.end_input();
            let status = process.ended();
            process.stderr.try_iter().for_each(|line| tally.said("stdio, log", after_time(&line)));
            if !status.success() {
                tally.call("stdio", "end", Outcome::Wrong, Instant::now());
                tally.wrong(format!("{} ended with {status}", self.name()));
            }
        }
    }

    fn name(&self) -> String {
        format!("session {} over {}", self.number, self.transport.name())
    }

    fn roll(&mut self, sides: u64) -> u64 {
        // Knuth's MMIX: good enough to mix calls, and the same in every run.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % sides
    }

    /// One thing that a client does.
    fn step(&mut self, scene: &Scene<'_>) {
        let cluster = if self.roll(10) < 7 { self.home } else { 1 - self.home };
        match self.roll(100) {
            0..10 => self.list_clusters(scene),
            10..22 => self.list_nodes(scene, cluster),
            22..27 => self.list_all_nodes(scene),
            27..35 => self.resources(scene, cluster),
            35..62 => self.read_config(scene),
            62..74 => self.find(scene),
            74..84 => self.search(scene),
            84..90 => self.describe_guest(scene),
            90..94 => self.snapshot(scene),
            94..97 => self.give_up(scene, cluster),
            _ => self.come_again(scene),
        }
    }

    fn link(&mut self, scene: &Scene<'_>) -> &mut dyn Link {
        let (transport, number, server) = (self.transport, self.number, scene.server);
        self.link.get_or_insert_with(|| open(transport, number, server)).link()
    }

    /// A client that comes and goes. A process does so rarely: it is watched for what it holds.
    fn come_again(&mut self, scene: &Scene<'_>) {
        if self.transport == Transport::Stdio {
            if self.roll(40) == 0 {
                self.end(scene.tally);
                // At once, so that as many are there whenever they are looked at.
                self.link(scene);
                scene.tally.reconnected();
            }
            return;
        }
        self.link = None;
        self.given_up.clear();
        self.link(scene);
        scene.tally.reconnected();
    }

    /// Makes a call that fails only where all these clusters do, and looks at the answer as far as every answer is alike.
    pub(super) fn call(&mut self, scene: &Scene<'_>, tool: &'static str, arguments: Value, clusters: &[usize]) -> Said {
        self.next += 1;
        let (id, begun) = (self.next, Instant::now());
        self.link(scene).send(id, tool, arguments.clone());
        let answer = loop {
            let answer = self.link(scene).receive();
            match answer["id"].as_u64().map(|id| id as usize) {
                Some(late) if self.given_up.contains(&late) => self.given_up.retain(|id| *id != late),
                _ => break answer,
            }
        };
        if answer["id"].as_u64() != Some(id as u64) {
            return self.wrong(scene, tool, begun, format!("{tool} {arguments} with id {id}: {answer}"));
        }
        let result = &answer["result"];
        if !result.is_object() {
            return self.wrong(scene, tool, begun, format!("{tool} {arguments}: {answer}"));
        }
        if result["isError"] != true {
            scene.tally.call(self.transport.name(), tool, Outcome::Right, begun);
            return Said::Result(answer);
        }
        let said = text(&answer).to_owned();
        let met = || clusters.iter().map(|c| scene.stands[*c].trouble_since(begun)).collect::<Option<Vec<_>>>();
        let met = met().or_else(|| {
            // A node that takes long is known to do so when it is done.
            thread::sleep(SLOW * 2);
            met()
        });
        match met.unwrap_or_default().first() {
            Some(trouble) if is_clear(&said) => {
                scene.tally.call(self.transport.name(), tool, Outcome::Failed, begun);
                scene.tally.said(&format!("{trouble}, client"), &said);
                Said::Error(said)
            }
            _ => self.wrong(scene, tool, begun, format!("{tool} {arguments}: {said}")),
        }
    }

    pub(super) fn wrong(&self, scene: &Scene<'_>, tool: &'static str, begun: Instant, what: String) -> Said {
        scene.tally.call(self.transport.name(), tool, Outcome::Wrong, begun);
        scene.tally.wrong(format!("{}: {}", self.name(), what.chars().take(600).collect::<String>()));
        Said::Wrong
    }

    /// Looks at a result that came.
    fn check(&self, scene: &Scene<'_>, tool: &'static str, right: bool, answer: &Value) {
        if !right {
            self.wrong(scene, tool, Instant::now(), format!("{tool}: not what was asked for: {answer}"));
        }
    }

    fn list_clusters(&mut self, scene: &Scene<'_>) {
        let tool = "list_clusters";
        if let Said::Result(answer) = self.call(scene, tool, json!({}), &[]) {
            let names: Vec<_> = rows(&answer).iter().map(|row| row[0].clone()).collect();
            self.check(scene, tool, names == scene.stands.each_ref().map(|stand| stand.name), &answer);
        }
    }

    fn list_nodes(&mut self, scene: &Scene<'_>, cluster: usize) {
        let (tool, stand) = ("list_nodes", &scene.stands[cluster]);
        if let Said::Result(answer) = self.call(scene, tool, json!({"cluster": stand.name}), &[cluster]) {
            scene.tally.well(stand.name);
            let names: Vec<_> = rows(&answer).iter().map(|row| row[0].clone()).collect();
            self.check(scene, tool, names == nodes(stand), &answer);
        }
    }

    /// Both clusters at once: that which has trouble must not cost the other its rows.
    fn list_all_nodes(&mut self, scene: &Scene<'_>) {
        let (tool, begun) = ("list_nodes", Instant::now());
        let Said::Result(answer) = self.call(scene, tool, json!({}), &[0, 1]) else { return };
        let rows = rows(&answer);
        for stand in scene.stands {
            let of = rows.iter().filter(|row| row[0] == stand.name).map(|row| row[1].clone()).collect::<Vec<_>>();
            let error = answer["result"]["structuredContent"]["errors"].to_string().contains(stand.name);
            let met = || stand.trouble_since(begun).is_some();
            let excused = error
                && of.is_empty()
                && (met() || {
                    thread::sleep(SLOW * 2);
                    met()
                });
            self.check(scene, tool, excused || (!error && of == nodes(stand)), &answer);
        }
    }

    fn resources(&mut self, scene: &Scene<'_>, cluster: usize) {
        let (tool, stand) = ("get_cluster_resources", &scene.stands[cluster]);
        let arguments = json!({"cluster": stand.name, "type": "vm"});
        if let Said::Result(answer) = self.call(scene, tool, arguments, &[cluster]) {
            scene.tally.well(stand.name);
            let rows = rows(&answer);
            let total = &answer["result"]["structuredContent"]["total"];
            let here = rows.iter().all(|row| row[2].as_str().is_some_and(|node| node.starts_with(stand.prefix)));
            self.check(scene, tool, here && !rows.is_empty() && *total == scene.guests[cluster], &answer);
        }
    }

    pub(super) fn guest_path(&self, scene: &Scene<'_>) -> String {
        format!("/nodes/{}/qemu/{}", scene.stands[self.home].first(), self.vmid)
    }

    /// The guest's configuration, as an object of its own or in an answer to several questions.
    fn read_config(&mut self, scene: &Scene<'_>) {
        let (tool, stand) = ("proxmox_api_get", &scene.stands[self.home]);
        let path = format!("{}/config", self.guest_path(scene));
        let arguments = json!({"cluster": stand.name, "path": path});
        if let Said::Result(answer) = self.call(scene, tool, arguments, &[self.home]) {
            scene.tally.well(stand.name);
            let config: Value = serde_json::from_str(text(&answer)).unwrap_or_default();
            let description = config["description"].as_str().unwrap_or_default();
            if !description.is_empty() && description == self.unknown && stand.times("PUT", description) == 1 {
                self.description = description.to_owned();
            }
            let right = config["name"] == stand.guest(self.vmid) && description == self.description;
            self.check(scene, tool, right, &answer);
        }
    }

    fn find(&mut self, scene: &Scene<'_>) {
        let (tool, stand) = ("find_guest", &scene.stands[self.home]);
        let name = stand.guest(self.vmid);
        let arguments = json!({"cluster": stand.name, "query": name});
        if let Said::Result(answer) = self.call(scene, tool, arguments, &[self.home]) {
            scene.tally.well(stand.name);
            let path = self.guest_path(scene);
            let right = rows(&answer).first().is_some_and(|row| row[2] == *name && row[7] == *path);
            self.check(scene, tool, right, &answer);
        }
    }

    fn search(&mut self, scene: &Scene<'_>) {
        let tool = "search_api";
        let (query, found) = SEARCHES[self.roll(SEARCHES.len() as u64) as usize];
        let arguments = json!({"cluster": scene.stands[self.home].name, "query": query});
        // The embedded facts serve where the cluster can't be asked.
        if let Said::Result(answer) = self.call(scene, tool, arguments, &[]) {
            self.check(scene, tool, text(&answer).contains(found), &answer);
        }
    }

    /// A call that nobody waits for any more.
    fn give_up(&mut self, scene: &Scene<'_>, cluster: usize) {
        let (tool, begun) = ("get_cluster_resources", Instant::now());
        self.next += 1;
        let id = self.next;
        let arguments = json!({"cluster": scene.stands[cluster].name});
        let link = self.link(scene);
        link.send(id, tool, arguments);
        link.give_up(id);
        if self.transport != Transport::Http {
            self.given_up.push(id);
        }
        scene.tally.call(self.transport.name(), tool, Outcome::GivenUp, begun);
    }
}

/// The rows of a list.
fn rows(answer: &Value) -> Vec<Value> {
    answer["result"]["structuredContent"]["rows"].as_array().cloned().unwrap_or_default()
}

fn nodes(stand: &Stand) -> [String; 3] {
    ["1", "2", "3"].map(|n| format!("{}{n}", stand.prefix))
}

/// An error says what could not be asked, or what is not known.
fn is_clear(said: &str) -> bool {
    let named =
        ["could not connect", "in time", "did not answer", "was lost", "is busy", "can't be read", "is unknown"];
    named.iter().any(|word| said.contains(word)) && said.matches("Nothing was").count() <= 1 && !said.contains("://")
}

/// A line of the log without its time.
pub fn after_time(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(_, rest)| rest)
}
