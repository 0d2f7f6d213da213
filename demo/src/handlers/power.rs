//! Power actions of guests.

use crate::error::ApiResult;
use crate::invocation::Invocation;
use crate::model::guest::Guest;
use crate::state::{ClusterState, TaskBuilder};

/// A power action: a task and a change of the guest.
struct PowerAction {
    /// Type of the task for a VM and for a container.
    tasks: (&'static str, &'static str),
    steps: usize,
    /// Checks that the guest is in a state that allows the action.
    check: fn(&Guest) -> Result<(), String>,
    apply: fn(&mut Guest, f64),
}

const START: PowerAction = PowerAction {
    tasks: ("qmstart", "vzstart"),
    steps: 1,
    check: check_startable,
    apply: |guest, now| guest.start(now),
};
const STOP: PowerAction =
    PowerAction { tasks: ("qmstop", "vzstop"), steps: 1, check: |_| Ok(()), apply: |guest, _| guest.stop() };
const SHUTDOWN: PowerAction =
    PowerAction { tasks: ("qmshutdown", "vzshutdown"), steps: 2, check: check_running, apply: |guest, _| guest.stop() };
const REBOOT: PowerAction = PowerAction {
    tasks: ("qmreboot", "vzreboot"),
    steps: 2,
    check: check_running,
    apply: |guest, now| guest.start(now),
};
const RESET: PowerAction = PowerAction {
    tasks: ("qmreset", ""),
    steps: 1,
    check: check_running,
    apply: |guest, now| guest.started = Some(now),
};
const SUSPEND: PowerAction = PowerAction {
    tasks: ("qmpause", "vzsuspend"),
    steps: 1,
    check: check_running,
    apply: |guest, _| guest.paused = true,
};
const RESUME: PowerAction = PowerAction {
    tasks: ("qmresume", "vzresume"),
    steps: 1,
    check: check_running,
    apply: |guest, _| guest.paused = false,
};

fn check_startable(guest: &Guest) -> Result<(), String> {
    if guest.is_template() {
        Err(guest
            .kind
            .select("you can't start a vm if it's a template", "you can't start a CT if it's a template")
            .into())
    } else if guest.is_running() {
        Err(format!("{} already running", guest.label()))
    } else {
        Ok(())
    }
}

fn check_running(guest: &Guest) -> Result<(), String> {
    let vmid = guest.vmid;
    if guest.is_running() {
        Ok(())
    } else {
        Err(guest.kind.select(format!("VM {vmid} not running"), format!("container '{vmid}' not running!")))
    }
}

/// Starts the task of a power action. The guest is checked at the start and at the end of the task.
fn perform(state: &mut ClusterState, call: &Invocation<'_>, action: PowerAction) -> ApiResult {
    let guest = call.guest(state)?;
    let vmid = guest.vmid;
    TaskBuilder::for_guest(guest, action.tasks.0, action.tasks.1)
        .min_steps(action.steps)
        .fail_with((action.check)(guest).err())
        .start(state, &call.caller.id, move |state| {
            let now = state.now;
            let guest = state.guests.get_mut(&vmid).ok_or_else(|| format!("no such VM ('{vmid}')"))?;
            (action.check)(guest)?;
            (action.apply)(guest, now);
            Ok(())
        })
}

/// POST …/status/start
pub(crate) fn start(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform(state, call, START)
}

/// POST …/status/stop
pub(crate) fn stop(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform(state, call, STOP)
}

/// POST …/status/shutdown
pub(crate) fn shut_down(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform(state, call, SHUTDOWN)
}

/// POST …/status/reboot
pub(crate) fn reboot(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform(state, call, REBOOT)
}

/// POST …/status/reset
pub(crate) fn reset(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform(state, call, RESET)
}

/// POST …/status/suspend
pub(crate) fn suspend(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform(state, call, SUSPEND)
}

/// POST …/status/resume
pub(crate) fn resume(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform(state, call, RESUME)
}
