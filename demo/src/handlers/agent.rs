//! The guest agent of the VMs that have one.

use super::directory::directory_rows;
use crate::error::{ApiResult, fail};
use crate::invocation::Invocation;
use crate::model::guest::{AgentCommand, Guest};
use crate::state::ClusterState;
use serde_json::{Value, json};

/// Number of commands that are remembered.
const MAX_COMMANDS: usize = 100;

/// Returns the VM in the path if its agent can answer.
fn agent_guest<'a>(state: &'a ClusterState, call: &Invocation<'_>) -> ApiResult<&'a Guest> {
    let guest = call.guest(state)?;
    if !guest.has_agent() {
        fail("No QEMU guest agent configured")
    } else if !guest.is_running() {
        fail(format!("VM {} is not running", guest.vmid))
    } else {
        Ok(guest)
    }
}

/// GET …/agent
#[rustfmt::skip]
pub(crate) fn list_directory(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    call.guest(state)?;
    Ok(directory_rows("name", &[
        "exec", "exec-status", "get-fsinfo", "get-host-name", "get-osinfo", "get-time", "get-timezone", "get-users",
        "get-vcpus", "info", "network-get-interfaces", "ping",
    ]))
}

/// POST …/agent/ping
pub(crate) fn ping(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    agent_guest(state, call)?;
    Ok(json!({"result": {}}))
}

/// GET …/agent/get-osinfo
pub(crate) fn read_os_info(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    agent_guest(state, call)?;
    Ok(json!({"result": {
        "id": "debian",
        "name": "Debian GNU/Linux",
        "pretty-name": "Debian GNU/Linux 13 (trixie)",
        "version": "13 (trixie)",
        "version-id": "13",
        "machine": "x86_64",
        "kernel-release": "6.12.48+deb13-amd64",
        "kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1",
    }}))
}

/// GET …/agent/get-host-name
pub(crate) fn read_host_name(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    Ok(json!({"result": {"host-name": agent_guest(state, call)?.name()}}))
}

/// GET …/agent/get-timezone
pub(crate) fn read_time_zone(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    agent_guest(state, call)?;
    Ok(json!({"result": {"zone": "UTC", "offset": 0}}))
}

/// GET …/agent/get-users
pub(crate) fn list_users(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    agent_guest(state, call)?;
    Ok(json!({"result": []}))
}

/// GET …/agent/info
pub(crate) fn read_info(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    agent_guest(state, call)?;
    let commands =
        ["guest-exec", "guest-fsfreeze-freeze", "guest-get-osinfo", "guest-network-get-interfaces", "guest-ping"];
    let supported = commands.map(|name| json!({"name": name, "enabled": true, "success-response": true}));
    Ok(json!({"result": {"version": "10.0.2", "supported_commands": supported}}))
}

/// GET …/agent/network-get-interfaces
pub(crate) fn list_interfaces(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let (ip, mac) = agent_guest(state, call)?.addresses();
    let address =
        |ip: &str, prefix: u8, kind: &str| json!({"ip-address": ip, "ip-address-type": kind, "prefix": prefix});
    Ok(json!({"result": [
        {"name": "lo", "hardware-address": "00:00:00:00:00:00",
            "ip-addresses": [address("127.0.0.1", 8, "ipv4"), address("::1", 128, "ipv6")]},
        {"name": "eth0", "hardware-address": mac, "ip-addresses": [address(&ip, 24, "ipv4")]},
    ]}))
}

/// GET …/agent/get-fsinfo
pub(crate) fn list_filesystems(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let total = agent_guest(state, call)?.disk_size();
    Ok(json!({"result": [
        {"name": "sda1", "mountpoint": "/", "type": "ext4", "total-bytes": total, "used-bytes": total / 3, "disk": []},
    ]}))
}

/// POST …/agent/exec: runs nothing, but a few commands have an answer.
pub(crate) fn execute(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = agent_guest(state, call)?;
    let command = call.params["command"].as_array().expect("the route requires a list");
    let words: Vec<&str> = command.iter().filter_map(Value::as_str).collect();
    let Some((program, arguments)) = words.split_first() else { return fail("command is empty") };
    let output = match program.rsplit_once('/').map_or(*program, |(_, name)| name) {
        "hostname" => format!("{}\n", guest.name()),
        "uname" => "Linux\n".into(),
        "whoami" => "root\n".into(),
        "echo" => format!("{}\n", arguments.join(" ")),
        "uptime" => {
            let hours = (state.now - guest.started.expect("an agent answers in a running guest")) / 3600.0;
            format!(" up {hours:.0} hours, 1 user, load average: 0.08, 0.03, 0.01\n")
        }
        _ => return fail("Agent error: Guest agent command failed, error was 'Failed to execute child process'"),
    };
    let pid = i64::from(5000 + state.next_number());
    state.agent_commands.push_front(AgentCommand { pid, output });
    state.agent_commands.truncate(MAX_COMMANDS);
    Ok(json!({"pid": pid}))
}

/// GET …/agent/exec-status
pub(crate) fn read_exec_status(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    agent_guest(state, call)?;
    let pid = call.integer("pid").expect("the route requires a number");
    match state.agent_commands.iter().find(|command| command.pid == pid) {
        Some(command) => Ok(json!({"exited": 1, "exitcode": 0, "out-data": command.output})),
        None => fail(format!("Agent error: PID {pid} does not exist")),
    }
}
