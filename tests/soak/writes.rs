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
        let times = self.write(scene, "PUT", "/config", Some(json!({"description": mark})), &mark);
        let config = scene.stands[self.home].ask("GET", &format!("/nodes/pve1/qemu/{}/config", self.vmid), "");
        self.description = config["description"].as_str().unwrap_or_default().to_owned();
        match times {
            Some(times) => self.settle(scene, "PUT", &mark, times, self.description == mark),
            None => self.unknown = mark,
        }
    }

    /// A snapshot made and deleted again, each by a task.
    pub(super) fn snapshot(&mut self, scene: &Scene<'_>) {
        let mark = self.mark();
        let made = self.write(scene, "POST", "/snapshot", Some(json!({"snapname": mark})), &mark);
        let Some(made) = made else { return };
        self.settle(scene, "POST", &mark, made, self.has_snapshot(scene, &mark, made > 0));
        if made > 0 {
            let gone = self.write(scene, "DELETE", &format!("/snapshot/{mark}"), None, &mark);
            if let Some(gone) = gone {
                self.settle(scene, "DELETE", &mark, gone, !self.has_snapshot(scene, &mark, gone == 0));
            }
        }
    }

    /// Makes a change that must be passed on once where it is said to be done, at most once where that is said to be
    /// unknown, and else not at all. Returns how often; `None` where it may still be on its way.
    fn write(
        &mut self,
        scene: &Scene<'_>,
        method: &'static str,
        path: &str,
        data: Option<Value>,
        mark: &str,
    ) -> Option<u32> {
        let (tool, stand) = ("proxmox_api_call", &scene.stands[self.home]);
        let path = format!("{}{path}", self.guest_path(scene));
        let mut arguments = json!({"cluster": stand.name, "method": method, "path": path, "wait": true});
        if let Some(data) = data {
            arguments["data"] = data;
        }
        let said = self.call(scene, tool, arguments, &[self.home]);
        if matches!(said, Said::Error(_)) {
            // What was lost on its way may still arrive, mostly at once.
            thread::sleep(Duration::from_millis(100));
        }
        let times = stand.times(method, mark);
        let mut known = true;
        let (right, said) = match said {
            Said::Result(answer) => {
                scene.tally.well(stand.name);
                let said = text(&answer).to_owned();
                let done = if method == "PUT" { said == "null" } else { said.starts_with("OK: qm") };
                (times == 1 && (done || stand.trouble_since(Instant::now()).is_some()), said)
            }
            // A task that began and could not be followed is named.
            Said::Error(said) => {
                known = times > 0 || !said.contains("unknown");
                (times == 0 || (times == 1 && (said.contains("unknown") || said.contains("UPID:"))), said)
            }
            Said::Wrong => return None,
        };
        if !right {
            let what = format!("{method} {path} was passed on {times} times, and this was said: {said}");
            self.wrong(scene, tool, Instant::now(), what);
        }
        known.then_some(times)
    }

    /// The world must be as the number of times says.
    fn settle(&self, scene: &Scene<'_>, method: &str, mark: &str, times: u32, done: bool) {
        if (times == 1) != done {
            let what = format!("{method} {mark} was passed on {times} times; done: {done}");
            self.wrong(scene, "proxmox_api_call", Instant::now(), what);
        }
        scene.stands[self.home].settle(method, mark);
    }

    /// Whether there is such a snapshot, once it is as is hoped or no task is at work.
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
