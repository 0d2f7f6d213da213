//! What is done with a guest: power, snapshots, commands inside it.

use super::super::check::Kind::{Bool, Int, List, OneOf, Text, Vmid};
use super::super::check::{CONFIGID, MAX, MIN, NODE, Param, STORE, TEXT, may, need};
use super::super::{agent, guests, power, snapshots};
use super::Access::{Any, Need};
use super::Run::{Fn, Names};
use super::{ANYONE, Access, GUEST, Route, VM_AUDIT, pvedaemon, pveproxy};

const SNAPSHOT: &[Param] = &[need("node", NODE), need("vmid", Vmid), need("snapname", CONFIGID)];
const VM_POWER: Access = Need("/vms/{vmid}", "VM.PowerMgmt");
const VM_SNAPSHOT: Access = Need("/vms/{vmid}", "VM.Snapshot");
const VM_AGENT: Access = Any("/vms/{vmid}", &["VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"]);
const VM_EXEC: Access = Need("/vms/{vmid}", "VM.GuestAgent.Unrestricted");

/// Their operations.
pub(super) static ROUTES: &[Route] = &[
    // power
    pveproxy(
        "GET",
        "/nodes/{node}/qemu/{vmid}/status",
        ANYONE,
        &[GUEST],
        Names("subdir", &["current", "start", "stop", "reset", "shutdown", "suspend", "reboot", "resume"]),
    ),
    pveproxy(
        "GET",
        "/nodes/{node}/lxc/{vmid}/status",
        ANYONE,
        &[GUEST],
        Names("subdir", &["current", "start", "stop", "shutdown", "suspend", "resume", "reboot"]),
    ),
    pvedaemon("GET", "/nodes/{node}/qemu|lxc/{vmid}/status/current", VM_AUDIT, &[GUEST], Fn(guests::current)),
    pvedaemon(
        "POST",
        "/nodes/{node}/qemu/{vmid}/status/start",
        VM_POWER,
        &[
            GUEST,
            &[
                may("force-cpu", TEXT),
                may("machine", TEXT),
                may("migratedfrom", NODE),
                may("migration_network", TEXT),
                may("migration_type", OneOf(&["secure", "insecure"])),
                may("nets-host-mtu", TEXT),
                may("skiplock", Bool),
                may("stateuri", Text(128)),
                may("targetstorage", TEXT),
                may("timeout", Int(0, MAX)),
                may("with-conntrack-state", Bool),
            ],
        ],
        Fn(power::start),
    ),
    pvedaemon(
        "POST",
        "/nodes/{node}/lxc/{vmid}/status/start",
        VM_POWER,
        &[GUEST, &[may("debug", Bool), may("skiplock", Bool)]],
        Fn(power::start),
    ),
    pvedaemon(
        "POST",
        "/nodes/{node}/qemu/{vmid}/status/stop",
        VM_POWER,
        &[
            GUEST,
            &[
                may("keepActive", Bool),
                may("migratedfrom", NODE),
                may("overrule-shutdown", Bool),
                may("skiplock", Bool),
                may("timeout", Int(0, MAX)),
            ],
        ],
        Fn(power::stop),
    ),
    pvedaemon(
        "POST",
        "/nodes/{node}/lxc/{vmid}/status/stop",
        VM_POWER,
        &[GUEST, &[may("overrule-shutdown", Bool), may("skiplock", Bool)]],
        Fn(power::stop),
    ),
    pvedaemon(
        "POST",
        "/nodes/{node}/qemu/{vmid}/status/shutdown",
        VM_POWER,
        &[
            GUEST,
            &[may("forceStop", Bool), may("keepActive", Bool), may("skiplock", Bool), may("timeout", Int(0, MAX))],
        ],
        Fn(power::shutdown),
    ),
    pvedaemon(
        "POST",
        "/nodes/{node}/lxc/{vmid}/status/shutdown",
        VM_POWER,
        &[GUEST, &[may("forceStop", Bool), may("timeout", Int(0, MAX))]],
        Fn(power::shutdown),
    ),
    pvedaemon(
        "POST",
        "/nodes/{node}/qemu|lxc/{vmid}/status/reboot",
        VM_POWER,
        &[GUEST, &[may("timeout", Int(0, MAX))]],
        Fn(power::reboot),
    ),
    pvedaemon(
        "POST",
        "/nodes/{node}/qemu/{vmid}/status/reset",
        VM_POWER,
        &[GUEST, &[may("skiplock", Bool)]],
        Fn(power::reset),
    ),
    pvedaemon(
        "POST",
        "/nodes/{node}/qemu/{vmid}/status/suspend",
        VM_POWER,
        &[GUEST, &[may("skiplock", Bool), may("statestorage", STORE), may("todisk", Bool)]],
        Fn(power::suspend),
    ),
    pvedaemon("POST", "/nodes/{node}/lxc/{vmid}/status/suspend", VM_POWER, &[GUEST], Fn(power::suspend)),
    pvedaemon(
        "POST",
        "/nodes/{node}/qemu/{vmid}/status/resume",
        VM_POWER,
        &[GUEST, &[may("nocheck", Bool), may("skiplock", Bool)]],
        Fn(power::resume),
    ),
    pvedaemon("POST", "/nodes/{node}/lxc/{vmid}/status/resume", VM_POWER, &[GUEST], Fn(power::resume)),
    // snapshots
    pvedaemon("GET", "/nodes/{node}/qemu|lxc/{vmid}/snapshot", VM_AUDIT, &[GUEST], Fn(snapshots::list)),
    pvedaemon(
        "POST",
        "/nodes/{node}/qemu/{vmid}/snapshot",
        VM_SNAPSHOT,
        &[SNAPSHOT, &[may("description", TEXT), may("vmstate", Bool)]],
        Fn(snapshots::create),
    ),
    pvedaemon(
        "POST",
        "/nodes/{node}/lxc/{vmid}/snapshot",
        VM_SNAPSHOT,
        &[SNAPSHOT, &[may("description", TEXT)]],
        Fn(snapshots::create),
    ),
    pveproxy(
        "GET",
        "/nodes/{node}/qemu|lxc/{vmid}/snapshot/{snapname}",
        ANYONE,
        &[SNAPSHOT],
        Names("cmd", &["config", "rollback"]),
    ),
    pvedaemon(
        "DELETE",
        "/nodes/{node}/qemu|lxc/{vmid}/snapshot/{snapname}",
        VM_SNAPSHOT,
        &[SNAPSHOT, &[may("force", Bool)]],
        Fn(snapshots::delete),
    ),
    pveproxy(
        "GET",
        "/nodes/{node}/qemu|lxc/{vmid}/snapshot/{snapname}/config",
        Any("/vms/{vmid}", &["VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit"]),
        &[SNAPSHOT],
        Fn(snapshots::config),
    ),
    pvedaemon(
        "PUT",
        "/nodes/{node}/qemu|lxc/{vmid}/snapshot/{snapname}/config",
        VM_SNAPSHOT,
        &[SNAPSHOT, &[may("description", TEXT)]],
        Fn(snapshots::describe),
    ),
    pvedaemon(
        "POST",
        "/nodes/{node}/qemu|lxc/{vmid}/snapshot/{snapname}/rollback",
        Any("/vms/{vmid}", &["VM.Snapshot", "VM.Snapshot.Rollback"]),
        &[SNAPSHOT, &[may("start", Bool)]],
        Fn(snapshots::rollback),
    ),
    // guest agent
    pvedaemon(
        "POST",
        "/nodes/{node}/qemu/{vmid}/agent/exec",
        VM_EXEC,
        &[GUEST, &[need("command", List), may("input-data", Text(65536))]],
        Fn(agent::exec),
    ),
    pvedaemon(
        "GET",
        "/nodes/{node}/qemu/{vmid}/agent/exec-status",
        VM_EXEC,
        &[GUEST, &[need("pid", Int(MIN, MAX))]],
        Fn(agent::exec_status),
    ),
    pvedaemon("GET", "/nodes/{node}/qemu/{vmid}/agent/get-fsinfo", VM_AGENT, &[GUEST], Fn(agent::filesystems)),
    pvedaemon("GET", "/nodes/{node}/qemu/{vmid}/agent/get-host-name", VM_AGENT, &[GUEST], Fn(agent::hostname)),
    pvedaemon("GET", "/nodes/{node}/qemu/{vmid}/agent/get-osinfo", VM_AGENT, &[GUEST], Fn(agent::osinfo)),
    pvedaemon(
        "GET",
        "/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces",
        VM_AGENT,
        &[GUEST],
        Fn(agent::interfaces),
    ),
    pvedaemon("POST", "/nodes/{node}/qemu/{vmid}/agent/ping", VM_AGENT, &[GUEST], Fn(agent::ping)),
];
