//! Routes of the cluster and its pools.

use super::route::Access::{AlternativePrivileges, Privilege, RootOnly};
use super::route::Action::{Directory, Fixed, Handler, Refusal};
use super::route::{
    ANYONE, AUDIT, Access, BACKUP_PARAMS, CEPH_AUDIT, MODIFY, Route, delete, get, get_protected, post, put,
};
use crate::handlers::{backup, cluster, firewall, ha, misc, pools, replication, tasks};
use crate::parameters::ParameterType::{Boolean, Integer, MaxText, OneOf, Text, Vmid};
use crate::parameters::{CALENDAR_EVENT, CONFIG_ID, MAX, NODE_NAME, POOL_ID, Parameter, optional, required};
use serde_json::json;

#[rustfmt::skip]
const HA_PARAMS: &[Parameter] = &[
    optional("comment", MaxText(4096)), optional("failback", Boolean), optional("group", CONFIG_ID),
    optional("max_relocate", Integer(0, MAX)), optional("max_restart", Integer(0, MAX)),
    optional("state", OneOf(&["started", "stopped", "enabled", "disabled", "ignored"])),
];
#[rustfmt::skip]
const JOB_PARAMS: &[Parameter] = &[
    optional("comment", MaxText(512)), optional("dow", Text), optional("enabled", Boolean), optional("node", NODE_NAME),
    optional("repeat-missed", Boolean), optional("schedule", CALENDAR_EVENT), optional("starttime", Text),
];
const SDN_PARAMS: &[Parameter] = &[optional("pending", Boolean), optional("running", Boolean)];
const JOB_ID_PARAM: &[Parameter] = &[required("id", MaxText(50))];
const POOL_ALLOCATE: Access = Privilege("/pool/{poolid}", "Pool.Allocate");
const NOTIFICATION_AUDIT: Access =
    AlternativePrivileges("/mapping/notifications", &["Mapping.Modify", "Mapping.Audit", "Mapping.Use"]);

#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = &[
    get("/", ANYONE, &[], Directory("subdir", &["version", "cluster", "nodes", "storage", "access", "pools"])),
    get("/cluster", ANYONE, &[], Directory("name", &[
        "acme", "backup", "backup-info", "bulk-action", "ceph", "config", "firewall", "ha", "jobs", "log", "mapping",
        "metrics", "notifications", "nextid", "options", "qemu", "replication", "resources", "status", "tasks", "sdn",
    ])),
    get_protected("/cluster/acme/account", ANYONE, &[], Fixed(|| json!([]))),
    get("/cluster/backup", AUDIT, &[], Handler(backup::list_jobs)),
    post("/cluster/backup", MODIFY, &[
        BACKUP_PARAMS,
        JOB_PARAMS,
        &[optional("id", CONFIG_ID)],
    ], Handler(backup::create_job)),
    get("/cluster/backup/{id}", AUDIT, &[JOB_ID_PARAM], Handler(backup::read_job)),
    put("/cluster/backup/{id}", MODIFY, &[
        BACKUP_PARAMS,
        JOB_PARAMS,
        JOB_ID_PARAM,
        &[optional("delete", Text)],
    ], Handler(backup::update_job)),
    delete("/cluster/backup/{id}", MODIFY, &[JOB_ID_PARAM], Handler(backup::delete_job)),
    get_protected(
        "/cluster/backup/{id}/included_volumes", AUDIT, &[JOB_ID_PARAM], Handler(backup::list_included_volumes),
    ),
    get("/cluster/backup-info", RootOnly, &[], Directory("subdir", &["not-backed-up"])),
    get_protected("/cluster/backup-info/not-backed-up", AUDIT, &[], Handler(backup::list_uncovered_guests)),
    get_protected("/cluster/ceph/status", CEPH_AUDIT, &[], Refusal("binary not installed: /usr/bin/ceph-mon")),
    get("/cluster/config", AUDIT, &[], Directory("name", &["apiversion", "join", "nodes", "qdevice", "totem"])),
    get("/cluster/config/apiversion", AUDIT, &[], Fixed(|| json!("1"))),
    get("/cluster/config/nodes", AUDIT, &[], Handler(cluster::list_config_nodes)),
    get_protected("/cluster/config/qdevice", AUDIT, &[], Fixed(|| json!({}))),
    get("/cluster/config/totem", AUDIT, &[], Fixed(|| json!({
        "cluster_name": "demo", "config_version": "3", "interface": {"0": {"linknumber": "0"}}, "ip_version": "ipv4-6",
        "link_mode": "passive", "secauth": "on", "version": "2",
    }))),
    get("/cluster/firewall", ANYONE, &[], Directory("name", &[
        "aliases", "groups", "ipset", "macros", "options", "refs", "rules",
    ])),
    get("/cluster/firewall/aliases", AUDIT, &[], Handler(firewall::list_aliases)),
    get("/cluster/firewall/groups", ANYONE, &[], Fixed(|| json!([
        {"group": "webserver", "comment": "HTTP and HTTPS from anywhere", "digest": firewall::CLUSTER_DIGEST},
    ]))),
    get("/cluster/firewall/ipset", AUDIT, &[], Fixed(|| json!([
        {"name": "management", "comment": "may reach the hosts", "digest": firewall::CLUSTER_DIGEST},
    ]))),
    get("/cluster/firewall/macros", ANYONE, &[], Fixed(|| json!([
        {"macro": "DNS", "descr": "Domain Name System traffic (upd and tcp)"},
        {"macro": "HTTP", "descr": "Hypertext Transfer Protocol (WWW)"},
        {"macro": "HTTPS", "descr": "Hypertext Transfer Protocol (WWW) over SSL"},
        {"macro": "Ping", "descr": "ICMP echo request"},
        {"macro": "PostgreSQL", "descr": "PostgreSQL server"},
        {"macro": "SSH", "descr": "Secure shell traffic"},
    ]))),
    get("/cluster/firewall/options", AUDIT, &[], Fixed(|| json!({
        "enable": 1, "policy_in": "DROP", "policy_out": "ACCEPT", "digest": firewall::CLUSTER_DIGEST,
    }))),
    get("/cluster/firewall/rules", AUDIT, &[], Handler(firewall::list_cluster_rules)),
    get("/cluster/ha", AUDIT, &[], Directory("id", &["status", "resources", "groups", "rules"])),
    get("/cluster/ha/groups", AUDIT, &[], Handler(ha::list_groups)),
    get("/cluster/ha/resources", AUDIT, &[&[optional("type", OneOf(&["ct", "vm"]))]], Handler(ha::list_resources)),
    post("/cluster/ha/resources", Privilege("/", "Sys.Console"), &[
        HA_PARAMS,
        &[required("sid", Text), optional("type", OneOf(&["ct", "vm"]))],
    ], Handler(ha::create_resource)),
    get("/cluster/ha/resources/{sid}", AUDIT, &[&[required("sid", Text)]], Handler(ha::read_resource)),
    put("/cluster/ha/resources/{sid}", Privilege("/", "Sys.Console"), &[
        HA_PARAMS,
        &[required("sid", Text), optional("delete", MaxText(4096)), optional("digest", MaxText(64))],
    ], Handler(ha::update_resource)),
    delete("/cluster/ha/resources/{sid}", Privilege("/", "Sys.Console"), &[&[
        required("sid", Text), optional("purge", Boolean),
    ]], Handler(ha::delete_resource)),
    get("/cluster/ha/rules", AUDIT, &[
        &[optional("resource", Text), optional("type", OneOf(&["node-affinity", "resource-affinity"]))],
    ], Handler(ha::list_rules)),
    get("/cluster/ha/status", ANYONE, &[], Directory("name", &["current", "manager_status"])),
    get("/cluster/ha/status/current", AUDIT, &[], Handler(ha::read_status)),
    get("/cluster/ha/status/manager_status", AUDIT, &[], Handler(ha::read_manager_status)),
    get("/cluster/jobs", ANYONE, &[], Directory("subdir", &["realm-sync", "schedule-analyze"])),
    get("/cluster/jobs/realm-sync", AUDIT, &[], Fixed(|| json!([]))),
    get("/cluster/log", ANYONE, &[&[optional("max", Integer(1, MAX))]], Handler(cluster::read_log)),
    get("/cluster/mapping", ANYONE, &[], Directory("name", &["cpu", "dir", "pci", "usb"])),
    get("/cluster/metrics", ANYONE, &[], Directory("name", &["export", "server"])),
    get("/cluster/metrics/server", AUDIT, &[], Fixed(|| json!([
        misc::metric_server(),
    ]))),
    get("/cluster/nextid", ANYONE, &[&[optional("vmid", Vmid)]], Handler(cluster::find_next_id)),
    get("/cluster/notifications", ANYONE, &[], Directory("name", &[
        "endpoints", "matcher-field-values", "matcher-fields", "matchers", "targets",
    ])),
    get("/cluster/notifications/endpoints", ANYONE, &[], Directory("name", &["gotify", "sendmail", "smtp", "webhook"])),
    get_protected("/cluster/notifications/matchers", NOTIFICATION_AUDIT, &[], Fixed(|| json!([
        {
            "name": "default-matcher", "mode": "all", "target": ["mail-to-root"],
            "comment": "Route all notifications to mail-to-root", "origin": "builtin",
        },
    ]))),
    get_protected("/cluster/notifications/targets", NOTIFICATION_AUDIT, &[], Fixed(|| json!([
        {
            "name": "mail-to-root", "type": "sendmail", "comment": "Send mails to root@pam's email address",
            "origin": "builtin", "disable": 0,
        },
    ]))),
    get("/cluster/options", ANYONE, &[], Handler(cluster::read_options)),
    get("/cluster/replication", ANYONE, &[], Handler(replication::list_jobs)),
    get("/cluster/resources", ANYONE, &[&[
        optional("type", OneOf(&["vm", "storage", "node", "sdn"])),
    ]], Handler(cluster::list_resources)),
    get("/cluster/sdn", Privilege("/sdn", "SDN.Audit"), &[], Directory("id", &[
        "controllers", "dns", "fabrics", "ipams", "vnets", "zones",
    ])),
    get("/cluster/sdn/vnets", ANYONE, &[SDN_PARAMS], Fixed(|| json!([]))),
    get("/cluster/sdn/zones", ANYONE, &[
        SDN_PARAMS,
        &[optional("type", OneOf(&["evpn", "faucet", "qinq", "simple", "vlan", "vxlan"]))],
    ], Fixed(|| json!([]))),
    get_protected("/cluster/status", AUDIT, &[], Handler(cluster::read_status)),
    get("/cluster/tasks", ANYONE, &[], Handler(tasks::list_cluster_tasks)),
    get("/pools", ANYONE, &[&[
        optional("poolid", POOL_ID), optional("type", OneOf(&["qemu", "lxc", "storage"])),
    ]], Handler(pools::list_pools)),
    post("/pools", POOL_ALLOCATE, &[&[
        required("poolid", POOL_ID), optional("comment", Text),
    ]], Handler(pools::create_pool)),
    get("/pools/{poolid}", Privilege("/pool/{poolid}", "Pool.Audit"), &[&[
        required("poolid", POOL_ID), optional("type", OneOf(&["qemu", "lxc", "storage"])),
    ]], Handler(pools::read_pool)),
    put("/pools/{poolid}", POOL_ALLOCATE, &[&[
        required("poolid", POOL_ID), optional("allow-move", Boolean), optional("comment", Text),
        optional("delete", Boolean), optional("storage", Text), optional("vms", Text),
    ]], Handler(pools::update_pool)),
    delete("/pools/{poolid}", POOL_ALLOCATE, &[&[required("poolid", POOL_ID)]], Handler(pools::delete_pool)),
    get("/version", ANYONE, &[], Handler(cluster::read_version)),
];
