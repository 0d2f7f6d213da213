//! The cluster, its users and its pools.

use super::super::check::Kind::{Bool, Int, OneOf, Text, Vmid};
use super::super::check::{CONFIGID, MAX, NODE, POOL, Param, TEXT, USERID, may, need};
use super::super::{access, backup, cluster, tasks, tokens};
use super::Access::{Any, Need, Ticket};
use super::Run::{Fn, Names};
use super::node::DUMP;
use super::{ANYONE, Access, Route, pvedaemon, pveproxy};

const TOKEN: &[Param] = &[need("userid", USERID), need("tokenid", TEXT)];
const HA: &[Param] = &[
    may("comment", Text(4096)),
    may("failback", Bool),
    may("group", CONFIGID),
    may("max_relocate", Int(0, MAX)),
    may("max_restart", Int(0, MAX)),
    may("state", OneOf(&["started", "stopped", "enabled", "disabled", "ignored"])),
];
const JOB: &[Param] = &[
    may("comment", Text(512)),
    may("dow", TEXT),
    may("enabled", Bool),
    may("node", NODE),
    may("repeat-missed", Bool),
    may("schedule", Text(128)),
    may("starttime", TEXT),
];
const PENDING: &[Param] = &[may("pending", Bool), may("running", Bool)];
const AUDIT: Access = Need("/", "Sys.Audit");
const MODIFY: Access = Need("/", "Sys.Modify");
const JOB_ID: &[Param] = &[need("id", Text(50))];
const POOL_ALLOCATE: Access = Need("/pool/{poolid}", "Pool.Allocate");

/// Their operations.
pub(super) static ROUTES: &[Route] = &[
    // version
    pveproxy("GET", "/", ANYONE, &[], Names("subdir", &["version", "cluster", "nodes", "storage", "access", "pools"])),
    pveproxy("GET", "/version", ANYONE, &[], Fn(cluster::version)),
    // access
    pveproxy(
        "GET",
        "/access",
        ANYONE,
        &[],
        Names(
            "subdir",
            &["users", "groups", "domains", "openid", "tfa", "roles", "acl", "permissions", "ticket", "password"],
        ),
    ),
    pveproxy("GET", "/access/acl", ANYONE, &[], Fn(access::acl)),
    pvedaemon(
        "PUT",
        "/access/acl",
        ANYONE,
        &[&[
            need("path", TEXT),
            need("roles", TEXT),
            may("users", TEXT),
            may("groups", TEXT),
            may("tokens", TEXT),
            may("propagate", Bool),
            may("delete", Bool),
        ]],
        Fn(access::set_acl),
    ),
    pveproxy("GET", "/access/domains", ANYONE, &[], Fn(access::domains)),
    pveproxy("GET", "/access/groups", ANYONE, &[], Fn(access::groups)),
    pveproxy(
        "GET",
        "/access/groups/{groupid}",
        Any("/access/groups", &["Sys.Audit", "Group.Allocate"]),
        &[&[need("groupid", TEXT)]],
        Fn(access::group),
    ),
    pvedaemon("PUT", "/access/password", Ticket, &[], Fn(cluster::nothing)),
    pveproxy(
        "GET",
        "/access/permissions",
        ANYONE,
        &[&[may("path", TEXT), may("userid", TEXT)]],
        Fn(access::permissions),
    ),
    pveproxy("GET", "/access/roles", ANYONE, &[], Fn(access::roles)),
    pveproxy("GET", "/access/roles/{roleid}", ANYONE, &[&[need("roleid", TEXT)]], Fn(access::role)),
    pvedaemon("POST", "/access/ticket", Ticket, &[], Fn(cluster::nothing)),
    pvedaemon("GET", "/access/users", ANYONE, &[&[may("enabled", Bool), may("full", Bool)]], Fn(access::users)),
    pveproxy(
        "GET",
        "/access/users/{userid}",
        Any("/access/groups", &["User.Modify", "Sys.Audit"]),
        &[&[need("userid", USERID)]],
        Fn(access::user),
    ),
    pveproxy("GET", "/access/users/{userid}/token", ANYONE, &[&[need("userid", USERID)]], Fn(tokens::tokens)),
    pveproxy("GET", "/access/users/{userid}/token/{tokenid}", ANYONE, &[TOKEN], Fn(tokens::token)),
    pvedaemon(
        "POST",
        "/access/users/{userid}/token/{tokenid}",
        ANYONE,
        &[TOKEN, &[may("comment", TEXT), may("expire", Int(0, MAX)), may("privsep", Bool)]],
        Fn(tokens::add_token),
    ),
    pvedaemon("DELETE", "/access/users/{userid}/token/{tokenid}", ANYONE, &[TOKEN], Fn(tokens::remove_token)),
    // cluster
    pveproxy(
        "GET",
        "/cluster",
        ANYONE,
        &[],
        Names(
            "name",
            &[
                "acme",
                "backup",
                "backup-info",
                "bulk-action",
                "ceph",
                "config",
                "firewall",
                "ha",
                "jobs",
                "log",
                "mapping",
                "metrics",
                "notifications",
                "nextid",
                "options",
                "qemu",
                "replication",
                "resources",
                "status",
                "tasks",
                "sdn",
            ],
        ),
    ),
    pveproxy("GET", "/cluster/backup", AUDIT, &[], Fn(backup::jobs)),
    pvedaemon("GET", "/cluster/backup-info/not-backed-up", AUDIT, &[], Fn(backup::uncovered)),
    pvedaemon("POST", "/cluster/backup", MODIFY, &[DUMP, JOB, &[may("id", CONFIGID)]], Fn(backup::add_job)),
    pveproxy("GET", "/cluster/backup/{id}", AUDIT, &[JOB_ID], Fn(backup::job)),
    pvedaemon(
        "PUT",
        "/cluster/backup/{id}",
        MODIFY,
        &[DUMP, JOB, JOB_ID, &[may("delete", TEXT)]],
        Fn(backup::update_job),
    ),
    pvedaemon("DELETE", "/cluster/backup/{id}", MODIFY, &[JOB_ID], Fn(backup::remove_job)),
    pvedaemon("GET", "/cluster/backup/{id}/included_volumes", AUDIT, &[JOB_ID], Fn(backup::included)),
    pveproxy(
        "GET",
        "/cluster/sdn/zones",
        ANYONE,
        &[PENDING, &[may("type", OneOf(&["evpn", "faucet", "qinq", "simple", "vlan", "vxlan"]))]],
        Fn(cluster::nothing),
    ),
    pveproxy("GET", "/cluster/sdn/vnets", ANYONE, &[PENDING], Fn(cluster::nothing)),
    pveproxy("GET", "/cluster/config/nodes", AUDIT, &[], Fn(cluster::config_nodes)),
    pveproxy("GET", "/cluster/ha", AUDIT, &[], Names("id", &["status", "resources", "groups", "rules"])),
    pveproxy("GET", "/cluster/ha/resources", AUDIT, &[&[may("type", OneOf(&["ct", "vm"]))]], Fn(cluster::ha_resources)),
    pvedaemon(
        "POST",
        "/cluster/ha/resources",
        Need("/", "Sys.Console"),
        &[HA, &[need("sid", TEXT), may("type", OneOf(&["ct", "vm"]))]],
        Fn(cluster::ha_add),
    ),
    pveproxy("GET", "/cluster/ha/resources/{sid}", AUDIT, &[&[need("sid", TEXT)]], Fn(cluster::ha_resource)),
    pvedaemon(
        "PUT",
        "/cluster/ha/resources/{sid}",
        Need("/", "Sys.Console"),
        &[HA, &[need("sid", TEXT), may("delete", Text(4096)), may("digest", Text(64))]],
        Fn(cluster::ha_update),
    ),
    pveproxy(
        "GET",
        "/cluster/ha/rules",
        AUDIT,
        &[&[may("resource", TEXT), may("type", OneOf(&["node-affinity", "resource-affinity"]))]],
        Fn(cluster::nothing),
    ),
    pveproxy("GET", "/cluster/ha/status/manager_status", AUDIT, &[], Fn(cluster::ha_manager)),
    pvedaemon(
        "DELETE",
        "/cluster/ha/resources/{sid}",
        Need("/", "Sys.Console"),
        &[&[need("sid", TEXT), may("purge", Bool)]],
        Fn(cluster::ha_remove),
    ),
    pveproxy("GET", "/cluster/ha/status", ANYONE, &[], Names("name", &["current", "manager_status"])),
    pveproxy("GET", "/cluster/ha/status/current", AUDIT, &[], Fn(cluster::ha_status)),
    pveproxy("GET", "/cluster/log", ANYONE, &[&[may("max", Int(1, MAX))]], Fn(cluster::log)),
    pveproxy("GET", "/cluster/nextid", ANYONE, &[&[may("vmid", Vmid)]], Fn(cluster::next_id)),
    pveproxy("GET", "/cluster/options", ANYONE, &[], Fn(cluster::options)),
    pveproxy("GET", "/cluster/replication", ANYONE, &[], Fn(cluster::nothing)),
    pveproxy(
        "GET",
        "/cluster/resources",
        ANYONE,
        &[&[may("type", OneOf(&["vm", "storage", "node", "sdn"]))]],
        Fn(cluster::resources),
    ),
    pvedaemon("GET", "/cluster/status", AUDIT, &[], Fn(cluster::status)),
    pveproxy("GET", "/cluster/tasks", ANYONE, &[], Fn(tasks::cluster)),
    // pools
    pveproxy(
        "GET",
        "/pools",
        ANYONE,
        &[&[may("poolid", POOL), may("type", OneOf(&["qemu", "lxc", "storage"]))]],
        Fn(cluster::pools),
    ),
    pvedaemon("POST", "/pools", POOL_ALLOCATE, &[&[need("poolid", POOL), may("comment", TEXT)]], Fn(cluster::pool_add)),
    pveproxy(
        "GET",
        "/pools/{poolid}",
        Need("/pool/{poolid}", "Pool.Audit"),
        &[&[need("poolid", POOL), may("type", OneOf(&["qemu", "lxc", "storage"]))]],
        Fn(cluster::pool),
    ),
    pvedaemon(
        "PUT",
        "/pools/{poolid}",
        POOL_ALLOCATE,
        &[&[
            need("poolid", POOL),
            may("allow-move", Bool),
            may("comment", TEXT),
            may("delete", Bool),
            may("storage", TEXT),
            may("vms", TEXT),
        ]],
        Fn(cluster::pool_update),
    ),
    pvedaemon("DELETE", "/pools/{poolid}", POOL_ALLOCATE, &[&[need("poolid", POOL)]], Fn(cluster::pool_remove)),
];
