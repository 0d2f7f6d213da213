//! Power actions of guests.

use super::ha;
use crate::error::{ApiResult, fail};
use crate::invocation::Invocation;
use crate::model::guest::{Guest, GuestKind};
use crate::state::{ClusterState, Task, TaskBuilder};

/// A power action: a task and a change of the guest.
struct PowerAction {
    /// Type of the task for a VM and for a container.
    tasks: (&'static str, &'static str),
    steps: usize,
    /// Checks that the guest is in a state that allows the action.
    check: fn(&Guest) -> Result<(), String>,
    apply: fn(&mut Guest, f64),
}

static START: PowerAction = PowerAction {
    tasks: ("qmstart", "vzstart"),
    steps: 1,
    check: check_startable,
    apply: |guest, now| guest.start(now),
};
static STOP: PowerAction =
    PowerAction { tasks: ("qmstop", "vzstop"), steps: 1, check: check_stoppable, apply: |guest, _| guest.stop() };
static SHUTDOWN: PowerAction =
    PowerAction { tasks: ("qmshutdown", "vzshutdown"), steps: 2, check: check_running, apply: |guest, _| guest.stop() };
static REBOOT: PowerAction = PowerAction {
    tasks: ("qmreboot", "vzreboot"),
    steps: 2,
    check: check_running,
    apply: |guest, now| guest.start(now),
};
static RESET: PowerAction = PowerAction {
    tasks: ("qmreset", ""),
    steps: 1,
    check: check_running,
    apply: |guest, now| guest.started = Some(now),
};
static SUSPEND: PowerAction = PowerAction {
    tasks: ("qmpause", "vzsuspend"),
    steps: 1,
    check: check_running,
    apply: |guest, _| guest.paused = true,
};
static RESUME: PowerAction = PowerAction {
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

/// A VM that does not run is stopped without an error.
fn check_stoppable(guest: &Guest) -> Result<(), String> {
    if guest.is_running() || guest.kind == GuestKind::Qemu {
        Ok(())
    } else {
        Err(format!("CT {} not running", guest.vmid))
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

/// The user whose tasks the HA manager starts.
const HA_USER: &str = "root@pam";

/// Starts the task of a power action. The guest is checked at the start and at the end of the task.
fn start_task(state: &mut ClusterState, user: &str, vmid: u32, action: &'static PowerAction) -> ApiResult {
    let Some(guest) = state.guests.get(&vmid) else { return fail(format!("no such VM ('{vmid}')")) };
    TaskBuilder::for_guest(guest, action.tasks.0, action.tasks.1)
        .min_steps(action.steps)
        .fail_with((action.check)(guest).err())
        .start(state, user, move |state| {
            let now = state.now;
            let guest = state.guests.get_mut(&vmid).ok_or_else(|| format!("no such VM ('{vmid}')"))?;
            (action.check)(guest)?;
            (action.apply)(guest, now);
            Ok(())
        })
}

/// Performs a power action. A container is checked before its task starts.
fn perform(state: &mut ClusterState, call: &Invocation<'_>, action: &'static PowerAction) -> ApiResult {
    let guest = call.guest(state)?;
    if guest.kind == GuestKind::Lxc
        && let Err(reason) = (action.check)(guest)
    {
        return fail(reason);
    }
    start_task(state, &call.caller.id, call.vmid(), action)
}

/// Performs a power action, or asks HA for it if HA manages the guest.
fn perform_or_request(
    state: &mut ClusterState,
    call: &Invocation<'_>,
    action: &'static PowerAction,
    wanted: &'static str,
) -> ApiResult {
    let guest = call.guest(state)?;
    if ha::is_managed(state, guest) && !call.flag("skiplock") {
        let guest = guest.clone();
        return ha::request_state(state, &call.caller.id, &guest, wanted);
    }
    perform(state, call, action)
}

/// Starts a guest as the HA manager does.
pub(super) fn start_by_ha(state: &mut ClusterState, vmid: u32) {
    // The task has the failure, and the next change of the resource tries again.
    let _ = start_task(state, HA_USER, vmid, &START);
}

/// Shuts a guest down as the HA manager does.
pub(super) fn stop_by_ha(state: &mut ClusterState, vmid: u32) {
    let id = vmid.to_string();
    let is_running = |task: &Task| task.end.is_none() && task.id == id && task.kind.ends_with("shutdown");
    if !state.tasks.iter().any(is_running) {
        let _ = start_task(state, HA_USER, vmid, &SHUTDOWN);
    }
}

/// Moves a guest as the HA manager does.
pub(super) fn migrate_by_ha(state: &mut ClusterState, vmid: u32, target: String) {
    let Some(guest) = state.guests.get(&vmid).filter(|guest| guest.node != target) else { return };
    let task = TaskBuilder::for_guest(guest, "qmigrate", "vzmigrate")
        .lock(vmid, "migrate")
        .line(format!("starting migration of {} to node '{target}'", guest.label()))
        .line("migration finished successfully");
    let _ = task.start(state, HA_USER, move |state| {
        super::lifecycle::move_guest(state, vmid, &target)?;
        ha::fail_back(state, vmid);
        Ok(())
    });
}

/// POST …/status/start
pub(crate) fn start(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform_or_request(state, call, &START, "started")
}

/// POST …/status/stop
pub(crate) fn stop(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform_or_request(state, call, &STOP, "stopped")
}

/// POST …/status/shutdown
pub(crate) fn shut_down(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform_or_request(state, call, &SHUTDOWN, "stopped")
}

/// POST …/status/reboot
pub(crate) fn reboot(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform(state, call, &REBOOT)
}

/// POST …/status/reset
pub(crate) fn reset(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform(state, call, &RESET)
}

/// POST …/status/suspend
pub(crate) fn suspend(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform(state, call, &SUSPEND)
}

/// POST …/status/resume
pub(crate) fn resume(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    perform(state, call, &RESUME)
}
