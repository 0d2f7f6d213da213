//! The guest agent of the VMs that have one.

use super::api::{Answer, Call, Fault, failed};
use super::guests::address;
use super::value::json;
use super::world::{Guest, World};
use serde_json::Value;

/// How many commands are remembered.
const KEPT: usize = 100;

/// The VM, if its agent is there to answer.
pub(super) fn agent<'a>(world: &'a World, call: &Call<'_>) -> Result<&'a Guest, Fault> {
    let guest = world.guest(call.text("node"), false, call.vmid())?;
    if !guest.text("agent").is_some_and(|a| a.starts_with('1') || a.contains("enabled=1")) {
        failed("No QEMU guest agent configured")
    } else if !guest.running() {
        failed(format!("VM {} is not running", guest.vmid))
    } else {
        Ok(guest)
    }
}

/// POST …/agent/ping.
pub(super) fn ping(world: &mut World, call: &Call<'_>) -> Answer {
    agent(world, call).map(|_| json!({"result": {}}))
}

/// GET …/agent/get-osinfo.
pub(super) fn osinfo(world: &mut World, call: &Call<'_>) -> Answer {
    agent(world, call)?;
    Ok(json!({"result": {
        "id": "debian", "name": "Debian GNU/Linux", "pretty-name": "Debian GNU/Linux 13 (trixie)", "version": "13 (trixie)",
        "version-id": "13", "machine": "x86_64", "kernel-release": "6.12.48+deb13-amd64",
        "kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1",
    }}))
}

/// GET …/agent/get-host-name.
pub(super) fn hostname(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = agent(world, call)?;
    Ok(json!({"result": {"host-name": guest.name()}}))
}

/// GET …/agent/network-get-interfaces.
pub(super) fn interfaces(world: &mut World, call: &Call<'_>) -> Answer {
    let (ip, mac) = address(agent(world, call)?);
    let at = |ip: &str, prefix: u8, kind: &str| json!({"ip-address": ip, "ip-address-type": kind, "prefix": prefix});
    Ok(json!({"result": [
        {"name": "lo", "hardware-address": "00:00:00:00:00:00",
            "ip-addresses": [at("127.0.0.1", 8, "ipv4"), at("::1", 128, "ipv6")]},
        {"name": "eth0", "hardware-address": mac.to_lowercase(), "ip-addresses": [at(&ip, 24, "ipv4")]},
    ]}))
}

/// GET …/agent/get-fsinfo.
pub(super) fn filesystems(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = agent(world, call)?;
    let total = guest.maxdisk();
    Ok(
        json!({"result": [{"name": "sda1", "mountpoint": "/", "type": "ext4", "total-bytes": total, "used-bytes": total / 3,
        "disk": []}]}),
    )
}

/// POST …/agent/exec: nothing runs, but a few commands have an answer.
pub(super) fn exec(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = agent(world, call)?;
    let words: Vec<&str> =
        call.params.get("command").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let Some((program, arguments)) = words.split_first() else { return failed("command is empty") };
    let out = match program.rsplit('/').next().unwrap_or_default() {
        "hostname" => format!("{}\n", guest.name()),
        "uname" => "Linux\n".into(),
        "whoami" => "root\n".into(),
        "echo" => format!("{}\n", arguments.join(" ")),
        "uptime" => {
            let hours = (world.now - guest.since.unwrap_or(world.now)) / 3600.0;
            format!(" up {hours:.0} hours, 1 user, load average: 0.08, 0.03, 0.01\n")
        }
        _ => return failed("Agent error: Guest agent command failed, error was 'Failed to execute child process'"),
    };
    let pid = i64::from(5000 + world.unique());
    world.execs.push_front((pid, out));
    world.execs.truncate(KEPT);
    Ok(json!({"pid": pid}))
}

/// GET …/agent/exec-status.
pub(super) fn exec_status(world: &mut World, call: &Call<'_>) -> Answer {
    agent(world, call)?;
    match world.execs.iter().find(|(pid, _)| Some(*pid) == call.int("pid")) {
        Some((_, out)) => Ok(json!({"exited": 1, "exitcode": 0, "out-data": out})),
        None => failed(format!("Agent error: PID {} does not exist", call.int("pid").unwrap_or_default())),
    }
}
