//! What a session changes: each change must be passed on as often as the answer says, and the world be as it says.

use super::session::{Said, Scene, Session};
use super::stand::MARK;
use crate::support::rpc::text;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

impl Session {
    fn mark(&mut self) -> String {
        self.marks += 1;
        format!("{MARK}{}x{}", self.number, self.marks)
    }

    /// A change that takes effect at once.
    pub(super) fn describe_guest(&mut self, scene: &Scene<'_>) {
        let mark = self.mark();
        let data = json!({"description": mark});
        self.write(scene, "PUT", "/config", Some(data), &mark);
        let config = scene.stands[self.home].ask("GET", &format!("/nodes/pve1/qemu/{}/config", self.vmid), "");
        self.description = config["description"].as_str().unwrap_or_default().to_owned();
        self.settle(scene, "PUT", &mark, self.description == mark);
    }

    /// A snapshot made and deleted again, each by a task.
    pub(super) fn snapshot(&mut self, scene: &Scene<'_>) {
        let mark = self.mark();
        self.write(scene, "POST", "/snapshot", Some(json!({"snapname": mark})), &mark);
        let made = self.has_snapshot(scene, &mark, true);
        self.settle(scene, "POST", &mark, made);
        if made {
            self.write(scene, "DELETE", &format!("/snapshot/{mark}"), None, &mark);
            let gone = !self.has_snapshot(scene, &mark, false);
            self.settle(scene, "DELETE", &mark, gone);
            if !gone {
                let path = format!("/nodes/pve1/qemu/{}/snapshot/{mark}", self.vmid);
                scene.stands[self.home].ask("DELETE", &path, "");
                self.has_snapshot(scene, &mark, false);
            }
        }
    }

    /// Makes a change that must be passed on once where it is said to be done, at most once where that is said to be
    /// unknown, and else not at all.
    fn write(&mut self, scene: &Scene<'_>, method: &'static str, path: &str, data: Option<Value>, mark: &str) {
        let (tool, stand) = ("proxmox_api_call", &scene.stands[self.home]);
        let path = format!("{}{path}", self.guest_path(scene));
        let mut arguments = json!({"cluster": stand.name, "method": method, "path": path, "wait": true});
        if let Some(data) = data {
            arguments["data"] = data;
        }
        let said = self.call(scene, tool, arguments, &[self.home]);
        if matches!(said, Said::Error(_)) {
            // What was lost on its way may still arrive.
            thread::sleep(Duration::from_millis(100));
        }
        let times = stand.times(method, mark);
        let (right, said) = match said {
            Said::Result(answer) => {
                scene.tally.well(stand.name);
                let said = text(&answer).to_owned();
                let done = if method == "PUT" { said == "null" } else { said.starts_with("OK: qm") };
                (times == 1 && (done || stand.trouble_since(Instant::now()).is_some()), said)
            }
            // A task that began and could not be followed is named.
            Said::Error(said) => {
                (times == 0 || (times == 1 && (said.contains("unknown") || said.contains("UPID:"))), said)
            }
            Said::Wrong => return,
        };
        if !right {
            let what = format!("{method} {path} was passed on {times} times, and this was said: {said}");
            self.wrong(scene, tool, Instant::now(), what);
        }
    }

    /// The world must be as the number of times says.
    fn settle(&self, scene: &Scene<'_>, method: &str, mark: &str, done: bool) {
        let stand = &scene.stands[self.home];
        let times = stand.times(method, mark);
        if (times == 1) != done {
            let what = format!("{method} {mark} was passed on {times} times; done: {done}");
            self.wrong(scene, "proxmox_api_call", Instant::now(), what);
        }
        stand.settle(method, mark);
    }

    /// Whether there is such a snapshot, once no task is at work; waits for it to be as is hoped.
    fn has_snapshot(&self, scene: &Scene<'_>, mark: &str, hoped: bool) -> bool {
        let stand = &scene.stands[self.home];
        let guest = format!("/nodes/pve1/qemu/{}", self.vmid);
        loop {
            let config = stand.ask("GET", &format!("{guest}/config"), "");
            let all = stand.ask("GET", &format!("{guest}/snapshot"), "");
            let there = all.as_array().is_some_and(|all| all.iter().any(|one| one["name"] == mark));
            if there == hoped || config["lock"].is_null() {
                return there;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
