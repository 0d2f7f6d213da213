//! The guest agent of the VMs that have one.

use super::directory::directory_rows;
use crate::error::{ApiError, ApiResult, fail};
use crate::invocation::Invocation;
use crate::model::guest::{AgentCommand, Guest};
use crate::state::ClusterState;
use crate::units::MIB;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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
        "uname" if arguments.contains(&"-a") => {
            format!(
                "Linux {} 6.12.48+deb13-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1 x86_64 GNU/Linux\n",
                guest.name()
            )
        }
        "uname" if arguments.contains(&"-r") => "6.12.48+deb13-amd64\n".into(),
        "uname" => "Linux\n".into(),
        "whoami" => "root\n".into(),
        "id" => "uid=0(root) gid=0(root) groups=0(root)\n".into(),
        "true" | "sync" => String::new(),
        "pwd" => "/\n".into(),
        "date" => "Sat Nov 28 12:00:00 UTC 2026\n".into(),
        "ls" => "bin\nboot\ndev\netc\nhome\nlib\nproc\nroot\nrun\nsbin\nsrv\nsys\ntmp\nusr\nvar\n".into(),
        "df" => {
            let total = guest.disk_size() / 1024;
            let (used, free) = (total / 3, total - total / 3);
            format!(
                "Filesystem     1K-blocks     Used Available Use% Mounted on\n/dev/sda1      {total} {used} {free}  34% /\n"
            )
        }
        "free" => {
            let total = guest.memory() / 1024;
            format!(
                "               total        used        free\nMem:        {total}     {}     {}\n",
                total / 3,
                total - total / 3
            )
        }
        "cat" if arguments.len() == 1 && file_content(state, guest, arguments[0]).is_some() => {
            file_content(state, guest, arguments[0]).unwrap_or_default()
        }
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

/// GET …/agent/get-time: nanoseconds since 1970.
pub(crate) fn read_time(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    agent_guest(state, call)?;
    Ok(json!({"result": state.seconds() * 1_000_000_000}))
}

/// GET …/agent/get-vcpus
pub(crate) fn list_vcpus(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let cpus = agent_guest(state, call)?.cpus();
    let row = |id| json!({"logical-id": id, "online": true, "can-offline": id != 0});
    Ok(json!({"result": (0..cpus).map(row).collect::<Value>()}))
}

/// GET …/agent/get-memory-block-info
pub(crate) fn read_memory_block_info(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    agent_guest(state, call)?;
    Ok(json!({"result": {"size": 128 * MIB}}))
}

/// GET …/agent/get-memory-blocks
pub(crate) fn list_memory_blocks(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let blocks = agent_guest(state, call)?.memory() / (128 * MIB);
    let row = |index| json!({"phys-index": index, "online": true, "can-offline": false});
    Ok(json!({"result": (0..blocks).map(row).collect::<Value>()}))
}

/// Returns the content of a file of the guest: one that a caller wrote, or one that every guest has.
fn file_content(state: &ClusterState, guest: &Guest, file: &str) -> Option<String> {
    let written = state.agent_files.get(&(guest.vmid, file.into()));
    let name = guest.name();
    written.cloned().or_else(|| match file {
        "/etc/hostname" => Some(format!("{name}\n")),
        "/etc/hosts" => Some(format!("127.0.0.1 localhost\n127.0.1.1 {name}.demo.example.test {name}\n")),
        "/etc/os-release" => {
            Some("PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n".into())
        }
        _ => None,
    })
}

fn no_such_file(file: &str) -> String {
    format!(
        "Agent error: Guest agent command failed, error was 'Failed to open file '{file}' (mode: 'r'): No such file or directory'"
    )
}

/// GET …/agent/file-read. The content has each byte as a character of its own, as on a node.
pub(crate) fn read_file(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let (guest, file) = (agent_guest(state, call)?, call.text("file"));
    let Some(content) = file_content(state, guest, file) else { return fail(no_such_file(file)) };
    let content: String = content.bytes().map(char::from).collect();
    Ok(json!({"content": content, "bytes-read": content.chars().count()}))
}

/// POST …/agent/file-write. With `encode=0` the content is base64 already.
pub(crate) fn write_file(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let vmid = agent_guest(state, call)?.vmid;
    let content = call.text("content");
    let content = if call.integer("encode") == Some(0) {
        match STANDARD.decode(content).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => return Err(ApiError::Unsupported("files that are no text".into())),
            Err(_) => return fail("Agent error: Guest agent command failed, error was 'failed to decode base64'"),
        }
    } else if content.chars().any(|c| c > '\u{ff}') {
        return fail("Wide character in subroutine entry at /usr/share/perl5/PVE/API2/Qemu/Agent.pm line 482.");
    } else {
        content.into()
    };
    state.agent_files.insert((vmid, call.text("file").into()), content);
    Ok(Value::Null)
}

/// POST …/agent/set-user-password
pub(crate) fn set_password(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    agent_guest(state, call)?;
    Ok(json!({"result": {}}))
}

/// POST …/agent/fsfreeze-freeze, …-thaw and …-status
pub(crate) fn freeze(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    agent_guest(state, call)?;
    Ok(json!({"result": if call.segment(5) == "fsfreeze-status" { json!("thawed") } else { json!(1) }}))
}

/// POST …/agent/fstrim
pub(crate) fn trim(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    agent_guest(state, call)?;
    Ok(json!({"result": {"paths": [{"path": "/", "minimum": 0, "trimmed": 1_203_650_560_u64}]}}))
}
