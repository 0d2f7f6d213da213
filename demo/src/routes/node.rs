//! Routes of the nodes and their tasks.

use super::route::Access::{AlternativePrivileges, AnyPrivilege, Privilege};
use super::route::Action::{Directory, Fixed, Handler, Refusal};
use super::route::{
    ANYONE, AUDIT, Access, BACKUP_PARAMS, CEPH_AUDIT, MODIFY, NODE_PARAM, Route, delete, get, get_protected, post,
};
use crate::handlers::{backup, cluster, disks, nodes, replication, tasks};
use crate::parameters::ParameterType::{Boolean, Integer, MaxText, OneOf, Pattern, Text, Vmid};
use crate::parameters::{MAX, MIN, NODE_NAME, Parameter, STORAGE_ID, TASK_STATUS_LIST, optional, required};
use serde_json::json;

#[rustfmt::skip]
const NODE_TIMEFRAME_PARAMS: &[Parameter] = &[
    required("timeframe", OneOf(&["hour", "day", "week", "month", "year", "decade"])),
    optional("cf", OneOf(&["AVERAGE", "MAX"])),
];
const TASK_PARAMS: &[Parameter] = &[required("node", NODE_NAME), required("upid", Text)];
const PAGE_PARAMS: &[Parameter] = &[optional("start", Integer(0, MAX)), optional("limit", Integer(0, MAX))];
#[rustfmt::skip]
const SERVICE_PARAMS: &[Parameter] = &[
    required("node", NODE_NAME),
    required("service", OneOf(&[
        "chrony", "corosync", "cron", "ksmtuned", "lxcfs", "postfix", "proxmox-firewall", "pve-cluster", "pve-firewall",
        "pve-ha-crm", "pve-ha-lrm", "pve-lxc-syscalld", "pvedaemon", "pvefw-logger", "pveproxy", "pvescheduler",
        "pvestatd", "qmeventd", "spiceproxy", "sshd", "syslog", "systemd-journald", "systemd-timesyncd",
    ])),
];
const NODE_AUDIT: Access = Privilege("/nodes/{node}", "Sys.Audit");
/// Privileges propagate downwards, so those on / need no rule of their own.
const DISK_LIST_AUDIT: Access = AlternativePrivileges("/nodes/{node}", &["Sys.Audit"]);
const NODE_MODIFY: Access = Privilege("/nodes/{node}", "Sys.Modify");
const NODE_LOG: Access = Privilege("/nodes/{node}", "Sys.Syslog");

#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = &[
    get("/nodes", ANYONE, &[], Handler(nodes::list_nodes)),
    get("/nodes/{node}", ANYONE, &[NODE_PARAM], Directory("name", &[
        "aplinfo", "apt", "capabilities", "ceph", "certificates", "config", "disks", "dns", "firewall", "hardware",
        "hosts", "journal", "lxc", "migrateall", "netstat", "network", "qemu", "query-oci-repo-tags",
        "query-url-metadata", "replication", "report", "rrd", "rrddata", "scan", "sdn", "services", "spiceshell",
        "startall", "status", "stopall", "storage", "subscription", "suspendall", "syslog", "tasks", "termproxy",
        "time", "version", "vncshell", "vzdump", "wakeonlan",
    ])),
    get("/nodes/{node}/aplinfo", ANYONE, &[NODE_PARAM], Fixed(nodes::templates)),
    get("/nodes/{node}/apt", ANYONE, &[NODE_PARAM], Directory("id", &[
        "changelog", "repositories", "update", "versions",
    ])),
    get("/nodes/{node}/apt/changelog", NODE_MODIFY, &[
        NODE_PARAM,
        &[required("name", Pattern(|t| t.len() > 1)), optional("version", Text)],
    ], Fixed(|| {
        json!("  * update to the latest upstream stable release\n\n  * fix a regression of the last one\n")
    })),
    get("/nodes/{node}/apt/repositories", NODE_AUDIT, &[NODE_PARAM], Fixed(|| json!({
        "digest": "6a1d1c4ab0b0f3ef7a52c43ae9ce8e5fd9e4c4b7", "errors": [], "infos": [],
        "files": [
            {
                "path": "/etc/apt/sources.list.d/proxmox.sources", "file-type": "sources",
                "repositories": [
                    {
                        "Types": ["deb"], "URIs": ["http://download.proxmox.com/debian/pve"], "Suites": ["trixie"],
                        "Components": ["pve-no-subscription"], "Enabled": 1, "FileType": "sources",
                    },
                ],
            },
        ],
        "standard-repos": [
            {"handle": "enterprise", "name": "Enterprise", "status": null},
            {"handle": "no-subscription", "name": "No-Subscription", "status": 1},
        ],
    }))),
    get_protected("/nodes/{node}/apt/update", NODE_MODIFY, &[NODE_PARAM], Handler(nodes::list_updates)),
    post("/nodes/{node}/apt/update", NODE_MODIFY, &[
        NODE_PARAM,
        &[optional("notify", Boolean), optional("quiet", Boolean)],
    ], Handler(nodes::refresh_updates)),
    get("/nodes/{node}/apt/versions", NODE_AUDIT, &[NODE_PARAM], Handler(nodes::list_versions)),
    get("/nodes/{node}/capabilities/qemu/migration", NODE_AUDIT, &[NODE_PARAM], Fixed(|| json!({
        "has-dbus-vmstate": true,
    }))),
    get_protected(
        "/nodes/{node}/ceph/status", CEPH_AUDIT, &[NODE_PARAM], Refusal("binary not installed: /usr/bin/ceph-mon"),
    ),
    get("/nodes/{node}/certificates", ANYONE, &[NODE_PARAM], Directory("name", &["acme", "custom", "info"])),
    get("/nodes/{node}/certificates/info", ANYONE, &[NODE_PARAM], Handler(nodes::list_certificates)),
    get("/nodes/{node}/config", AUDIT, &[
        NODE_PARAM,
        &[
            optional("property", OneOf(&[
                "acme", "acmedomain0", "acmedomain1", "acmedomain2", "acmedomain3", "acmedomain4", "acmedomain5",
                "ballooning-target", "description", "location", "startall-onboot-delay", "wakeonlan",
            ])),
        ],
    ], Handler(nodes::read_config)),
    get("/nodes/{node}/disks", ANYONE, &[NODE_PARAM], Directory("name", &[
        "directory", "initgpt", "list", "lvm", "lvmthin", "smart", "wipedisk", "zfs",
    ])),
    get_protected("/nodes/{node}/disks/directory", AUDIT, &[NODE_PARAM], Fixed(|| json!([]))),
    get_protected("/nodes/{node}/disks/list", DISK_LIST_AUDIT, &[
        NODE_PARAM,
        &[
            optional("include-partitions", Boolean), optional("skipsmart", Boolean),
            optional("type", OneOf(&["unused", "journal_disks"])),
        ],
    ], Handler(disks::list_disks)),
    get_protected("/nodes/{node}/disks/lvm", AUDIT, &[NODE_PARAM], Fixed(|| json!({
        "leaf": 0,
        "children": [
            {
                "leaf": 0, "name": "pve", "size": 3_840_760_487_936_u64, "free": 1_923_145_367_552_u64, "lvcount": 3,
                "children": [
                    {"leaf": 1, "name": "/dev/nvme0n1p3", "size": 1_919_308_193_792_u64, "free": 0},
                    {"leaf": 1, "name": "/dev/nvme1n1", "size": 1_920_378_863_616_u64, "free": 1_920_378_863_616_u64},
                ],
            },
        ],
    }))),
    get_protected("/nodes/{node}/disks/lvmthin", AUDIT, &[NODE_PARAM], Handler(disks::list_thin_pools)),
    get_protected("/nodes/{node}/disks/smart", AUDIT, &[
        NODE_PARAM,
        &[required("disk", Text), optional("healthonly", Boolean)],
    ], Handler(disks::read_smart)),
    get_protected("/nodes/{node}/disks/zfs", AUDIT, &[NODE_PARAM], Fixed(|| json!([]))),
    get("/nodes/{node}/dns", NODE_AUDIT, &[NODE_PARAM], Fixed(|| json!({
        "search": "demo.example.test", "dns1": "192.0.2.53", "dns2": "192.0.2.54",
    }))),
    get("/nodes/{node}/firewall", ANYONE, &[NODE_PARAM], Directory("name", &["log", "options", "rules"])),
    get("/nodes/{node}/firewall/options", NODE_AUDIT, &[NODE_PARAM], Fixed(|| json!({
        "enable": 1, "log_level_in": "nolog", "digest": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    }))),
    get("/nodes/{node}/firewall/rules", NODE_AUDIT, &[NODE_PARAM], Fixed(|| json!([]))),
    get("/nodes/{node}/hardware", ANYONE, &[NODE_PARAM], Directory("type", &["pci", "usb"])),
    get_protected("/nodes/{node}/hardware/pci", AnyPrivilege("/", &["Sys.Audit", "Sys.Modify"]), &[
        NODE_PARAM,
        &[optional("pci-class-blacklist", Text), optional("verbose", Boolean)],
    ], Fixed(|| json!([
        {
            "id": "0000:41:00.0", "class": "0x010802", "vendor": "0x144d", "vendor_name": "Samsung Electronics Co Ltd",
            "device": "0xa80a", "device_name": "NVMe SSD Controller PM9A1/PM9A3/980PRO", "iommugroup": 14,
            "subsystem_vendor": "0x144d", "subsystem_vendor_name": "Samsung Electronics Co Ltd",
            "subsystem_device": "0xa801",
        },
    ]))),
    get_protected("/nodes/{node}/hardware/usb", MODIFY, &[NODE_PARAM], Fixed(|| json!([
        {
            "busnum": 1, "class": 9, "devnum": 1, "level": 0, "port": 0, "prodid": "0002", "vendid": "1d6b",
            "speed": "480", "manufacturer": "Linux", "product": "xHCI Host Controller",
        },
    ]))),
    get_protected("/nodes/{node}/hosts", AUDIT, &[NODE_PARAM], Handler(nodes::read_hosts)),
    get_protected("/nodes/{node}/journal", NODE_LOG, &[
        NODE_PARAM,
        &[
            optional("endcursor", Text), optional("lastentries", Integer(0, MAX)), optional("since", Integer(0, MAX)),
            optional("startcursor", Text), optional("until", Integer(0, MAX)), optional("unit", MaxText(256)),
            optional("service", MaxText(128)), optional("priority", Text), optional("kernel", Boolean),
            optional("structured", Boolean), optional("units", Boolean), optional("identifiers", Boolean),
        ],
    ], Handler(nodes::read_journal)),
    get("/nodes/{node}/netstat", NODE_AUDIT, &[NODE_PARAM], Handler(nodes::list_traffic)),
    get("/nodes/{node}/network", ANYONE, &[
        NODE_PARAM,
        &[
            optional("type", OneOf(&[
                "bridge", "bond", "eth", "alias", "vlan", "fabric", "OVSBridge", "OVSBond", "OVSPort", "OVSIntPort",
                "vnet", "any_bridge", "any_local_bridge", "include_sdn",
            ])),
        ],
    ], Handler(nodes::list_interfaces)),
    get("/nodes/{node}/network/{iface}", NODE_AUDIT, &[
        NODE_PARAM,
        &[required("iface", MaxText(20))],
    ], Handler(nodes::read_interface)),
    get_protected("/nodes/{node}/replication", ANYONE, &[
        NODE_PARAM,
        &[optional("guest", Vmid)],
    ], Handler(replication::list_status)),
    get_protected("/nodes/{node}/report", NODE_AUDIT, &[NODE_PARAM], Handler(nodes::read_report)),
    get_protected(
        "/nodes/{node}/rrddata", NODE_AUDIT, &[NODE_PARAM, NODE_TIMEFRAME_PARAMS], Handler(nodes::read_time_series),
    ),
    get("/nodes/{node}/scan", ANYONE, &[NODE_PARAM], Directory("method", &[
        "cifs", "iscsi", "lvm", "lvmthin", "nfs", "pbs", "zfs",
    ])),
    get_protected("/nodes/{node}/scan/lvm", Privilege("/storage", "Datastore.Allocate"), &[NODE_PARAM], Fixed(|| json!([
        {"vg": "pve"},
    ]))),
    get_protected("/nodes/{node}/scan/zfs", Privilege("/storage", "Datastore.Allocate"), &[
        NODE_PARAM,
    ], Fixed(|| json!([]))),
    get_protected("/nodes/{node}/sdn/zones", ANYONE, &[NODE_PARAM], Fixed(|| json!([
        {"zone": "localnetwork", "status": "ok"},
    ]))),
    get_protected("/nodes/{node}/services", NODE_AUDIT, &[NODE_PARAM], Handler(nodes::list_services)),
    get("/nodes/{node}/services/{service}", NODE_AUDIT, &[SERVICE_PARAMS], Directory("subdir", &[
        "state", "start", "stop", "restart", "reload",
    ])),
    post("/nodes/{node}/services/{service}/start|stop|restart|reload", NODE_MODIFY, &[
        SERVICE_PARAMS,
    ], Handler(nodes::control_service)),
    get_protected(
        "/nodes/{node}/services/{service}/state", NODE_AUDIT, &[SERVICE_PARAMS], Handler(nodes::read_service),
    ),
    post("/nodes/{node}/startall", ANYONE, &[
        NODE_PARAM,
        &[optional("force", Boolean), optional("max-workers", Integer(1, 64)), optional("vms", Text)],
    ], Handler(nodes::start_all)),
    get("/nodes/{node}/status", NODE_AUDIT, &[NODE_PARAM], Handler(nodes::read_status)),
    post("/nodes/{node}/stopall", ANYONE, &[
        NODE_PARAM,
        &[
            optional("force-stop", Boolean), optional("max-workers", Integer(1, 64)),
            optional("timeout", Integer(0, 7200)), optional("vms", Text),
        ],
    ], Handler(nodes::stop_all)),
    get("/nodes/{node}/subscription", ANYONE, &[NODE_PARAM], Fixed(|| json!({
        "status": "notfound", "message": "There is no subscription key", "serverid": "00000000000000000000000000000000",
        "url": "https://www.proxmox.com/en/proxmox-virtual-environment/pricing",
    }))),
    get_protected("/nodes/{node}/syslog", NODE_LOG, &[
        NODE_PARAM,
        PAGE_PARAMS,
        &[optional("service", MaxText(128)), optional("since", Text), optional("until", Text)],
    ], Handler(nodes::read_syslog)),
    get("/nodes/{node}/tasks", ANYONE, &[
        NODE_PARAM,
        PAGE_PARAMS,
        &[
            optional("errors", Boolean), optional("since", Integer(MIN, MAX)),
            optional("source", OneOf(&["archive", "active", "all"])), optional("statusfilter", TASK_STATUS_LIST),
            optional("typefilter", Text), optional("until", Integer(MIN, MAX)), optional("userfilter", Text),
            optional("vmid", Vmid),
        ],
    ], Handler(tasks::list_node_tasks)),
    get("/nodes/{node}/tasks/{upid}", ANYONE, &[TASK_PARAMS], Directory("name", &["log", "status"])),
    delete("/nodes/{node}/tasks/{upid}", ANYONE, &[TASK_PARAMS], Handler(tasks::stop_task)),
    get_protected("/nodes/{node}/tasks/{upid}/log", ANYONE, &[
        TASK_PARAMS,
        PAGE_PARAMS,
        &[optional("download", Boolean)],
    ], Handler(tasks::read_log)),
    get_protected("/nodes/{node}/tasks/{upid}/status", ANYONE, &[TASK_PARAMS], Handler(tasks::read_status)),
    get("/nodes/{node}/time", NODE_AUDIT, &[NODE_PARAM], Handler(nodes::read_time)),
    get("/nodes/{node}/version", ANYONE, &[NODE_PARAM], Handler(cluster::read_version)),
    post("/nodes/{node}/vzdump", ANYONE, &[
        NODE_PARAM,
        BACKUP_PARAMS,
        &[optional("job-id", MaxText(50)), optional("stdout", Boolean)],
    ], Handler(backup::create_backups)),
    get("/nodes/{node}/vzdump/defaults", ANYONE, &[
        NODE_PARAM,
        &[optional("storage", STORAGE_ID)],
    ], Handler(backup::read_defaults)),
];
