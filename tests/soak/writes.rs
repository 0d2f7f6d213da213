//! The changes of a session. A change must reach the node as often as its answer reports, with the reported effect.

use super::session::{CallOutcome, CycleContext, SoakSession};
use super::simulated_cluster::MARKER_PREFIX;
use crate::support::rpc::text;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

impl SoakSession {
    fn new_marker(&mut self) -> String {
        self.markers += 1;
        format!("{MARKER_PREFIX}{}x{}", self.number, self.markers)
    }

    /// Changes the guest's description, which takes effect at once.
    pub(super) fn describe_guest(&mut self, scene: &CycleContext<'_>) {
        let mark = self.new_marker();
        let times = self.write(scene, "PUT", "/config", Some(json!({"description": mark})), &mark);
        let config =
            scene.clusters[self.home_cluster].request("GET", &format!("/nodes/pve1/qemu/{}/config", self.vmid), "");
        self.description = config["description"].as_str().unwrap_or_default().to_owned();
        match times {
            Some(times) => self.check_write(scene, "PUT", &mark, times, self.description == mark),
            None => self.unconfirmed_description = mark,
        }
    }

    /// Creates and deletes a snapshot, each by a task.
    pub(super) fn take_snapshot(&mut self, scene: &CycleContext<'_>) {
        let mark = self.new_marker();
        let made = self.write(scene, "POST", "/snapshot", Some(json!({"snapname": mark})), &mark);
        let Some(made) = made else { return };
        self.check_write(scene, "POST", &mark, made, self.has_snapshot(scene, &mark, made > 0));
        if made > 0 {
            let gone = self.write(scene, "DELETE", &format!("/snapshot/{mark}"), None, &mark);
            if let Some(gone) = gone {
                self.check_write(scene, "DELETE", &mark, gone, !self.has_snapshot(scene, &mark, gone == 0));
            }
        }
    }

    /// Makes a change and checks how often it was forwarded. That is once if the answer reports success, at most once
    /// if the outcome is unknown, else never. Returns the number, or `None` if the request may still arrive.
    fn write(
        &mut self,
        scene: &CycleContext<'_>,
        method: &'static str,
        path: &str,
        data: Option<Value>,
        mark: &str,
    ) -> Option<u32> {
        let (tool, simulated) = ("proxmox_api_call", &scene.clusters[self.home_cluster]);
        let path = format!("{}{path}", self.guest_path(scene));
        let mut arguments = json!({"cluster": simulated.name, "method": method, "path": path, "wait": true});
        if let Some(data) = data {
            arguments["data"] = data;
        }
        let outcome = self.call(scene, tool, arguments, &[self.home_cluster]);
        if matches!(outcome, CallOutcome::Error(_)) {
            // A lost request may still arrive, usually at once.
            thread::sleep(Duration::from_millis(100));
        }
        let times = simulated.count_writes(method, mark);
        let mut known = true;
        let (right, message) = match outcome {
            CallOutcome::Result(answer) => {
                scene.statistics.record_success(simulated.name);
                let message = text(&answer).to_owned();
                let is_done = match method {
                    "PUT" => message.contains(&format!("now has description {mark}")),
                    _ => message.starts_with("OK: qm"),
                };
                (times == 1 && (is_done || simulated.fault_since(Instant::now()).is_some()), message)
            }
            // The error names a task that was started but could not be followed.
            CallOutcome::Error(message) => {
                known = times > 0 || !message.contains("unknown");
                (times == 0 || (times == 1 && (message.contains("unknown") || message.contains("UPID:"))), message)
            }
            CallOutcome::Wrong => return None,
        };
        if !right {
            let what = format!("{method} {path} was passed on {times} times, and the answer was: {message}");
            self.record_wrong(scene, tool, Instant::now(), what);
        }
        known.then_some(times)
    }

    /// Checks that the state of the cluster fits the number of writes.
    fn check_write(&self, scene: &CycleContext<'_>, method: &str, mark: &str, times: u32, done: bool) {
        if (times == 1) != done {
            let what = format!("{method} {mark} was passed on {times} times; done: {done}");
            self.record_wrong(scene, "proxmox_api_call", Instant::now(), what);
        }
        scene.clusters[self.home_cluster].forget_write(method, mark);
    }

    /// Waits until the snapshot is as expected or no task is running. Returns whether it exists.
    fn has_snapshot(&self, scene: &CycleContext<'_>, mark: &str, expected: bool) -> bool {
        let simulated = &scene.clusters[self.home_cluster];
        let guest = format!("/nodes/pve1/qemu/{}", self.vmid);
        loop {
            let config = simulated.request("GET", &format!("{guest}/config"), "");
            let all = simulated.request("GET", &format!("{guest}/snapshot"), "");
            let exists = all.as_array().is_some_and(|all| all.iter().any(|one| one["name"] == mark));
            if exists == expected || config["lock"].is_null() {
                return exists;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
