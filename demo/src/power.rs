//! Power: start, stop and what lies between.

use super::api::{Answer, Call};
use super::tasks::Job;
use super::world::{Guest, World};

/// What an action makes of a guest.
struct Action {
    qemu: &'static str,
    lxc: &'static str,
    steps: usize,
    /// The error, if the guest as it is rules the action out.
    refusal: fn(&Guest) -> Option<String>,
    apply: fn(&mut Guest, f64),
}

fn needs_running(guest: &Guest) -> Option<String> {
    let id = guest.vmid;
    (!guest.running())
        .then(|| if guest.lxc { format!("container '{id}' not running!") } else { format!("VM {id} not running") })
}

/// Stops a guest: what it was started with counts no longer.
pub(super) fn stop_now(guest: &mut Guest) {
    guest.since = None;
    guest.booted = None;
    guest.paused = false;
}

/// Starts a guest with the options it has now.
pub(super) fn start_now(guest: &mut Guest, now: f64) {
    guest.since = Some(now);
    guest.booted = Some(guest.config.clone());
    guest.paused = false;
}

const START: Action = Action {
    qemu: "qmstart",
    lxc: "vzstart",
    steps: 1,
    refusal: |g| match g {
        g if g.is("template") && g.lxc => Some("you can't start a CT if it's a template".into()),
        g if g.is("template") => Some("you can't start a vm if it's a template".into()),
        g if g.running() && g.lxc => Some(format!("CT {} already running", g.vmid)),
        g if g.running() => Some(format!("VM {} already running", g.vmid)),
        _ => None,
    },
    apply: start_now,
};
const STOP: Action = Action { qemu: "qmstop", lxc: "vzstop", steps: 1, refusal: |_| None, apply: |g, _| stop_now(g) };
const SHUTDOWN: Action =
    Action { qemu: "qmshutdown", lxc: "vzshutdown", steps: 2, refusal: needs_running, apply: |g, _| stop_now(g) };
const REBOOT: Action = Action {
    qemu: "qmreboot",
    lxc: "vzreboot",
    steps: 2,
    refusal: needs_running,
    apply: |g, now| {
        stop_now(g);
        start_now(g, now);
    },
};
const RESET: Action =
    Action { qemu: "qmreset", lxc: "", steps: 1, refusal: needs_running, apply: |g, now| g.since = Some(now) };
const SUSPEND: Action =
    Action { qemu: "qmpause", lxc: "vzsuspend", steps: 1, refusal: needs_running, apply: |g, _| g.paused = true };
const RESUME: Action =
    Action { qemu: "qmresume", lxc: "vzresume", steps: 1, refusal: needs_running, apply: |g, _| g.paused = false };

fn act(world: &mut World, call: &Call<'_>, action: &'static Action) -> Answer {
    let (node, lxc, vmid) = (call.text("node"), call.lxc, call.vmid());
    let guest = world.guest(node, lxc, vmid)?;
    let mut job = Job::on(guest, action.qemu, action.lxc).steps(action.steps);
    if let Some(error) = (action.refusal)(guest) {
        job = job.refuse(true, error);
    }
    job.begin(world, &call.caller.id, move |world| {
        let now = world.now;
        match world.guests.get_mut(&vmid) {
            Some(guest) => match (action.refusal)(guest) {
                Some(error) => Err(error),
                None => {
                    (action.apply)(guest, now);
                    Ok(())
                }
            },
            None => Err(format!("no such VM ('{vmid}')")),
        }
    })
}

/// POST …/status/start.
pub(super) fn start(world: &mut World, call: &Call<'_>) -> Answer {
    act(world, call, &START)
}

/// POST …/status/stop.
pub(super) fn stop(world: &mut World, call: &Call<'_>) -> Answer {
    act(world, call, &STOP)
}

/// POST …/status/shutdown.
pub(super) fn shutdown(world: &mut World, call: &Call<'_>) -> Answer {
    act(world, call, &SHUTDOWN)
}

/// POST …/status/reboot.
pub(super) fn reboot(world: &mut World, call: &Call<'_>) -> Answer {
    act(world, call, &REBOOT)
}

/// POST …/status/reset.
pub(super) fn reset(world: &mut World, call: &Call<'_>) -> Answer {
    act(world, call, &RESET)
}

/// POST …/status/suspend.
pub(super) fn suspend(world: &mut World, call: &Call<'_>) -> Answer {
    act(world, call, &SUSPEND)
}

/// POST …/status/resume.
pub(super) fn resume(world: &mut World, call: &Call<'_>) -> Answer {
    act(world, call, &RESUME)
}
