//! Routes of what is done with a guest: power, snapshots, firewall, guest agent.

use super::route::Access::{AnyPrivilege, Privilege};
use super::route::Action::{Directory, Handler};
use super::route::{ANYONE, Access, GUEST_PARAMS, Route, VM_AUDIT, delete, get, get_protected, post, put};
use crate::handlers::{agent, firewall, guests, power, snapshots};
use crate::parameters::ParameterType::{Boolean, Integer, List, MaxText, OneOf, Text, Vmid};
use crate::parameters::{CONFIG_ID, MAX, MIN, NODE_NAME, Parameter, ParameterType, STORAGE_ID, optional, required};

#[rustfmt::skip]
const SNAPSHOT_PARAMS: &[Parameter] = &[
    required("node", NODE_NAME), required("vmid", Vmid), required("snapname", CONFIG_ID),
];
const VM_POWER: Access = Privilege("/vms/{vmid}", "VM.PowerMgmt");
const VM_SNAPSHOT: Access = Privilege("/vms/{vmid}", "VM.Snapshot");
const VM_AGENT: Access = AnyPrivilege("/vms/{vmid}", &["VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"]);
const VM_EXEC: Access = Privilege("/vms/{vmid}", "VM.GuestAgent.Unrestricted");
const VM_NETWORK: Access = Privilege("/vms/{vmid}", "VM.Config.Network");
const RULE_TYPE: ParameterType = OneOf(&["in", "out", "forward", "group"]);
const POSITION_PARAM: &[Parameter] = &[optional("pos", Integer(0, MAX))];
#[rustfmt::skip]
const RULE_PARAMS: &[Parameter] = &[
    optional("comment", Text), optional("dest", MaxText(512)), optional("digest", MaxText(64)), optional("dport", Text),
    optional("enable", Integer(0, MAX)), optional("icmp-type", Text), optional("iface", MaxText(20)),
    optional("log", OneOf(&["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "nolog"])),
    optional("macro", MaxText(128)), optional("proto", Text), optional("source", MaxText(512)), optional("sport", Text),
];

#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = &[
    // power
    get("/nodes/{node}/lxc/{vmid}/status", ANYONE, &[GUEST_PARAMS], Directory("subdir", &[
        "current", "start", "stop", "shutdown", "suspend", "resume", "reboot",
    ])),
    post("/nodes/{node}/lxc/{vmid}/status/resume", VM_POWER, &[GUEST_PARAMS], Handler(power::resume)),
    post("/nodes/{node}/lxc/{vmid}/status/shutdown", VM_POWER, &[
        GUEST_PARAMS,
        &[optional("forceStop", Boolean), optional("timeout", Integer(0, MAX))],
    ], Handler(power::shut_down)),
    post("/nodes/{node}/lxc/{vmid}/status/start", VM_POWER, &[
        GUEST_PARAMS,
        &[optional("debug", Boolean), optional("skiplock", Boolean)],
    ], Handler(power::start)),
    post("/nodes/{node}/lxc/{vmid}/status/stop", VM_POWER, &[
        GUEST_PARAMS,
        &[optional("overrule-shutdown", Boolean), optional("skiplock", Boolean)],
    ], Handler(power::stop)),
    post("/nodes/{node}/lxc/{vmid}/status/suspend", VM_POWER, &[GUEST_PARAMS], Handler(power::suspend)),
    get("/nodes/{node}/qemu/{vmid}/status", ANYONE, &[GUEST_PARAMS], Directory("subdir", &[
        "current", "start", "stop", "reset", "shutdown", "suspend", "reboot", "resume",
    ])),
    post("/nodes/{node}/qemu/{vmid}/status/reset", VM_POWER, &[
        GUEST_PARAMS,
        &[optional("skiplock", Boolean)],
    ], Handler(power::reset)),
    post("/nodes/{node}/qemu/{vmid}/status/resume", VM_POWER, &[
        GUEST_PARAMS,
        &[optional("nocheck", Boolean), optional("skiplock", Boolean)],
    ], Handler(power::resume)),
    post("/nodes/{node}/qemu/{vmid}/status/shutdown", VM_POWER, &[
        GUEST_PARAMS,
        &[
            optional("forceStop", Boolean), optional("keepActive", Boolean), optional("skiplock", Boolean),
            optional("timeout", Integer(0, MAX)),
        ],
    ], Handler(power::shut_down)),
    post("/nodes/{node}/qemu/{vmid}/status/start", VM_POWER, &[
        GUEST_PARAMS,
        &[
            optional("force-cpu", Text), optional("machine", Text), optional("migratedfrom", NODE_NAME),
            optional("migration_network", Text), optional("migration_type", OneOf(&["secure", "insecure"])),
            optional("nets-host-mtu", Text), optional("skiplock", Boolean), optional("stateuri", MaxText(128)),
            optional("targetstorage", Text), optional("timeout", Integer(0, MAX)),
            optional("with-conntrack-state", Boolean),
        ],
    ], Handler(power::start)),
    post("/nodes/{node}/qemu/{vmid}/status/stop", VM_POWER, &[
        GUEST_PARAMS,
        &[
            optional("keepActive", Boolean), optional("migratedfrom", NODE_NAME),
            optional("overrule-shutdown", Boolean), optional("skiplock", Boolean), optional("timeout", Integer(0, MAX)),
        ],
    ], Handler(power::stop)),
    post("/nodes/{node}/qemu/{vmid}/status/suspend", VM_POWER, &[
        GUEST_PARAMS,
        &[optional("skiplock", Boolean), optional("statestorage", STORAGE_ID), optional("todisk", Boolean)],
    ], Handler(power::suspend)),
    get_protected(
        "/nodes/{node}/qemu|lxc/{vmid}/status/current", VM_AUDIT, &[GUEST_PARAMS], Handler(guests::read_status),
    ),
    post("/nodes/{node}/qemu|lxc/{vmid}/status/reboot", VM_POWER, &[
        GUEST_PARAMS,
        &[optional("timeout", Integer(0, MAX))],
    ], Handler(power::reboot)),
    // snapshots
    post("/nodes/{node}/lxc/{vmid}/snapshot", VM_SNAPSHOT, &[
        SNAPSHOT_PARAMS,
        &[optional("description", Text)],
    ], Handler(snapshots::create_snapshot)),
    post("/nodes/{node}/qemu/{vmid}/snapshot", VM_SNAPSHOT, &[
        SNAPSHOT_PARAMS,
        &[optional("description", Text), optional("vmstate", Boolean)],
    ], Handler(snapshots::create_snapshot)),
    get_protected(
        "/nodes/{node}/qemu|lxc/{vmid}/snapshot", VM_AUDIT, &[GUEST_PARAMS], Handler(snapshots::list_snapshots),
    ),
    get("/nodes/{node}/qemu|lxc/{vmid}/snapshot/{snapname}", ANYONE, &[SNAPSHOT_PARAMS], Directory("cmd", &[
        "config", "rollback",
    ])),
    delete("/nodes/{node}/qemu|lxc/{vmid}/snapshot/{snapname}", VM_SNAPSHOT, &[
        SNAPSHOT_PARAMS,
        &[optional("force", Boolean)],
    ], Handler(snapshots::delete_snapshot)),
    get(
        "/nodes/{node}/qemu|lxc/{vmid}/snapshot/{snapname}/config",
        AnyPrivilege("/vms/{vmid}", &["VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit"]),
        &[SNAPSHOT_PARAMS],
        Handler(snapshots::read_snapshot_config),
    ),
    put("/nodes/{node}/qemu|lxc/{vmid}/snapshot/{snapname}/config", VM_SNAPSHOT, &[
        SNAPSHOT_PARAMS,
        &[optional("description", Text)],
    ], Handler(snapshots::update_snapshot_config)),
    post(
        "/nodes/{node}/qemu|lxc/{vmid}/snapshot/{snapname}/rollback",
        AnyPrivilege("/vms/{vmid}", &["VM.Snapshot", "VM.Snapshot.Rollback"]),
        &[SNAPSHOT_PARAMS, &[optional("start", Boolean)]],
        Handler(snapshots::roll_back),
    ),
    // firewall
    get("/nodes/{node}/qemu|lxc/{vmid}/firewall", ANYONE, &[GUEST_PARAMS], Handler(firewall::list_directory)),
    get("/nodes/{node}/qemu|lxc/{vmid}/firewall/aliases", VM_AUDIT, &[GUEST_PARAMS], Handler(firewall::list_nothing)),
    get("/nodes/{node}/qemu|lxc/{vmid}/firewall/ipset", VM_AUDIT, &[GUEST_PARAMS], Handler(firewall::list_nothing)),
    get_protected("/nodes/{node}/qemu|lxc/{vmid}/firewall/log", Privilege("/vms/{vmid}", "VM.Console"), &[
        GUEST_PARAMS,
        &[
            optional("limit", Integer(0, MAX)), optional("since", Integer(0, MAX)), optional("start", Integer(0, MAX)),
            optional("until", Integer(0, MAX)),
        ],
    ], Handler(firewall::read_log)),
    get("/nodes/{node}/qemu|lxc/{vmid}/firewall/options", VM_AUDIT, &[GUEST_PARAMS], Handler(firewall::read_options)),
    get("/nodes/{node}/qemu|lxc/{vmid}/firewall/rules", VM_AUDIT, &[GUEST_PARAMS], Handler(firewall::list_rules)),
    post("/nodes/{node}/qemu|lxc/{vmid}/firewall/rules", VM_NETWORK, &[
        GUEST_PARAMS,
        RULE_PARAMS,
        POSITION_PARAM,
        &[required("action", MaxText(20)), required("type", RULE_TYPE)],
    ], Handler(firewall::create_rule)),
    get("/nodes/{node}/qemu|lxc/{vmid}/firewall/rules/{pos}", VM_AUDIT, &[
        GUEST_PARAMS, POSITION_PARAM,
    ], Handler(firewall::read_rule)),
    put("/nodes/{node}/qemu|lxc/{vmid}/firewall/rules/{pos}", VM_NETWORK, &[
        GUEST_PARAMS,
        RULE_PARAMS,
        POSITION_PARAM,
        &[
            optional("action", MaxText(20)), optional("delete", Text), optional("moveto", Integer(0, MAX)),
            optional("type", RULE_TYPE),
        ],
    ], Handler(firewall::update_rule)),
    delete("/nodes/{node}/qemu|lxc/{vmid}/firewall/rules/{pos}", VM_NETWORK, &[
        GUEST_PARAMS,
        POSITION_PARAM,
        &[optional("digest", MaxText(64))],
    ], Handler(firewall::delete_rule)),
    // guest agent
    get("/nodes/{node}/qemu/{vmid}/agent", ANYONE, &[GUEST_PARAMS], Handler(agent::list_directory)),
    post("/nodes/{node}/qemu/{vmid}/agent/exec", VM_EXEC, &[
        GUEST_PARAMS,
        &[required("command", List), optional("input-data", MaxText(65536))],
    ], Handler(agent::execute)),
    get_protected("/nodes/{node}/qemu/{vmid}/agent/exec-status", VM_EXEC, &[
        GUEST_PARAMS,
        &[required("pid", Integer(MIN, MAX))],
    ], Handler(agent::read_exec_status)),
    get_protected(
        "/nodes/{node}/qemu/{vmid}/agent/get-fsinfo", VM_AGENT, &[GUEST_PARAMS], Handler(agent::list_filesystems),
    ),
    get_protected(
        "/nodes/{node}/qemu/{vmid}/agent/get-host-name", VM_AGENT, &[GUEST_PARAMS], Handler(agent::read_host_name),
    ),
    get_protected(
        "/nodes/{node}/qemu/{vmid}/agent/get-osinfo", VM_AGENT, &[GUEST_PARAMS], Handler(agent::read_os_info),
    ),
    get_protected(
        "/nodes/{node}/qemu/{vmid}/agent/get-timezone", VM_AGENT, &[GUEST_PARAMS], Handler(agent::read_time_zone),
    ),
    get_protected("/nodes/{node}/qemu/{vmid}/agent/get-users", VM_AGENT, &[GUEST_PARAMS], Handler(agent::list_users)),
    get_protected("/nodes/{node}/qemu/{vmid}/agent/info", VM_AGENT, &[GUEST_PARAMS], Handler(agent::read_info)),
    get_protected("/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces", VM_AGENT, &[
        GUEST_PARAMS,
    ], Handler(agent::list_interfaces)),
    post("/nodes/{node}/qemu/{vmid}/agent/ping", VM_AGENT, &[GUEST_PARAMS], Handler(agent::ping)),
];
