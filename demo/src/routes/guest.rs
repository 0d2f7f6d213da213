//! Routes of VMs and containers: their options and their lifecycle.

use super::route::Access::{AnyPrivilege, Privilege};
use super::route::Action::{Directory, Handler};
use super::route::{
    ANYONE, Access, GUEST_PARAMS, NODE_PARAM, Route, TIMEFRAME_PARAMS, VM_AUDIT, delete, get, get_protected, post, put,
};
use crate::guest_options::{LXC, QEMU};
use crate::handlers::{guest_config, guests, lifecycle};
use crate::parameters::ParameterType::{Boolean, Integer, MaxText, Number, OneOf, Text, Vmid};
use crate::parameters::{
    CONFIG_ID, DNS_NAME, MAX, MIN, NODE_NAME, POOL_ID, Parameter, ParameterType, STORAGE_ID, optional, required,
};

/// The disk options of a VM.
#[rustfmt::skip]
const DISK: ParameterType = OneOf(&[
    "ide0", "ide1", "ide2", "ide3", "scsi0", "scsi1", "scsi2", "scsi3", "scsi4", "scsi5", "scsi6", "scsi7", "scsi8",
    "scsi9", "scsi10", "scsi11", "scsi12", "scsi13", "scsi14", "scsi15", "scsi16", "scsi17", "scsi18", "scsi19",
    "scsi20", "scsi21", "scsi22", "scsi23", "scsi24", "scsi25", "scsi26", "scsi27", "scsi28", "scsi29", "scsi30",
    "virtio0", "virtio1", "virtio2", "virtio3", "virtio4", "virtio5", "virtio6", "virtio7", "virtio8", "virtio9",
    "virtio10", "virtio11", "virtio12", "virtio13", "virtio14", "virtio15", "sata0", "sata1", "sata2", "sata3", "sata4",
    "sata5", "efidisk0", "tpmstate0",
]);
#[rustfmt::skip]
const UPDATE_PARAMS: &[Parameter] = &[
    optional("delete", Text), optional("digest", MaxText(40)), optional("revert", Text), optional("force", Boolean),
    optional("skiplock", Boolean),
];
#[rustfmt::skip]
const CREATE_PARAMS: &[Parameter] = &[
    optional("force", Boolean), optional("ha-managed", Boolean), optional("pool", POOL_ID), optional("start", Boolean),
    optional("storage", STORAGE_ID), optional("unique", Boolean),
];
const VM_ALLOCATE: Access = Privilege("/vms/{vmid}", "VM.Allocate");
#[rustfmt::skip]
const VM_CONFIG: Access = AnyPrivilege("/vms/{vmid}", &[
    "VM.Config.Disk", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.HWType",
    "VM.Config.Options", "VM.Config.Cloudinit",
]);

#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = &[
    get_protected("/nodes/{node}/lxc", ANYONE, &[NODE_PARAM], Handler(guests::list_guests)),
    post("/nodes/{node}/lxc", ANYONE, &[
        GUEST_PARAMS,
        LXC,
        CREATE_PARAMS,
        &[
            required("ostemplate", MaxText(255)), optional("bwlimit", Number(0, MAX)),
            optional("ignore-unpack-errors", Boolean), optional("password", Text), optional("restore", Boolean),
            optional("ssh-public-keys", Text),
        ],
    ], Handler(lifecycle::create_guest)),
    get("/nodes/{node}/lxc/{vmid}", ANYONE, &[GUEST_PARAMS], Directory("subdir", &[
        "config", "pending", "status", "vncproxy", "termproxy", "vncwebsocket", "spiceproxy", "migrate", "clone", "rrd",
        "rrddata", "snapshot", "resize", "interfaces", "firewall",
    ])),
    delete("/nodes/{node}/lxc/{vmid}", VM_ALLOCATE, &[
        GUEST_PARAMS,
        &[optional("destroy-unreferenced-disks", Boolean), optional("purge", Boolean), optional("force", Boolean)],
    ], Handler(lifecycle::destroy_guest)),
    post("/nodes/{node}/lxc/{vmid}/clone", Privilege("/vms/{vmid}", "VM.Clone"), &[
        GUEST_PARAMS,
        &[
            required("newid", Vmid), optional("bwlimit", Number(0, MAX)), optional("description", Text),
            optional("full", Boolean), optional("hostname", DNS_NAME), optional("pool", POOL_ID),
            optional("snapname", CONFIG_ID), optional("storage", STORAGE_ID), optional("target", NODE_NAME),
        ],
    ], Handler(lifecycle::clone_guest)),
    put(
        "/nodes/{node}/lxc/{vmid}/config",
        AnyPrivilege("/vms/{vmid}", &[
            "VM.Config.Disk", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options",
        ]),
        &[GUEST_PARAMS, LXC, &[optional("delete", Text), optional("digest", MaxText(40)), optional("revert", Text)]],
        Handler(guest_config::update_config),
    ),
    get_protected("/nodes/{node}/lxc/{vmid}/interfaces", VM_AUDIT, &[GUEST_PARAMS], Handler(guests::list_interfaces)),
    post("/nodes/{node}/lxc/{vmid}/migrate", Privilege("/vms/{vmid}", "VM.Migrate"), &[
        GUEST_PARAMS,
        &[
            required("target", NODE_NAME), optional("bwlimit", Number(0, MAX)), optional("online", Boolean),
            optional("restart", Boolean), optional("target-storage", Text), optional("timeout", Integer(MIN, MAX)),
        ],
    ], Handler(lifecycle::migrate_guest)),
    put("/nodes/{node}/lxc/{vmid}/resize", Privilege("/vms/{vmid}", "VM.Config.Disk"), &[
        GUEST_PARAMS,
        &[required("disk", Text), required("size", Text), optional("digest", MaxText(40))],
    ], Handler(lifecycle::resize_disk)),
    post("/nodes/{node}/lxc/{vmid}/template", VM_ALLOCATE, &[GUEST_PARAMS], Handler(lifecycle::convert_to_template)),
    get_protected("/nodes/{node}/qemu", ANYONE, &[
        NODE_PARAM,
        &[optional("full", Boolean)],
    ], Handler(guests::list_guests)),
    post("/nodes/{node}/qemu", ANYONE, &[
        GUEST_PARAMS,
        QEMU,
        CREATE_PARAMS,
        &[
            optional("archive", MaxText(255)), optional("bwlimit", Integer(0, MAX)),
            optional("import-working-storage", STORAGE_ID), optional("live-restore", Boolean),
        ],
    ], Handler(lifecycle::create_guest)),
    get("/nodes/{node}/qemu/{vmid}", ANYONE, &[GUEST_PARAMS], Directory("subdir", &[
        "config", "cloudinit", "pending", "status", "unlink", "vncproxy", "termproxy", "migrate", "resize", "move",
        "rrd", "rrddata", "monitor", "agent", "snapshot", "spiceproxy", "sendkey", "firewall", "mtunnel",
        "remote_migrate",
    ])),
    delete("/nodes/{node}/qemu/{vmid}", VM_ALLOCATE, &[
        GUEST_PARAMS,
        &[optional("destroy-unreferenced-disks", Boolean), optional("purge", Boolean), optional("skiplock", Boolean)],
    ], Handler(lifecycle::destroy_guest)),
    post("/nodes/{node}/qemu/{vmid}/clone", Privilege("/vms/{vmid}", "VM.Clone"), &[
        GUEST_PARAMS,
        &[
            required("newid", Vmid), optional("bwlimit", Integer(0, MAX)), optional("description", Text),
            optional("format", OneOf(&["raw", "qcow2", "vmdk"])), optional("full", Boolean), optional("name", DNS_NAME),
            optional("pool", POOL_ID), optional("snapname", CONFIG_ID), optional("storage", STORAGE_ID),
            optional("target", NODE_NAME),
        ],
    ], Handler(lifecycle::clone_guest)),
    get("/nodes/{node}/qemu/{vmid}/cloudinit", VM_AUDIT, &[GUEST_PARAMS], Handler(guest_config::list_cloudinit)),
    post("/nodes/{node}/qemu/{vmid}/config", VM_CONFIG, &[
        GUEST_PARAMS,
        QEMU,
        UPDATE_PARAMS,
        &[optional("background_delay", Integer(1, 30)), optional("import-working-storage", STORAGE_ID)],
    ], Handler(guest_config::update_config_in_task)),
    put("/nodes/{node}/qemu/{vmid}/config", VM_CONFIG, &[
        GUEST_PARAMS, QEMU, UPDATE_PARAMS,
    ], Handler(guest_config::update_config)),
    get_protected("/nodes/{node}/qemu/{vmid}/migrate", Privilege("/vms/{vmid}", "VM.Migrate"), &[
        GUEST_PARAMS,
        &[optional("target", NODE_NAME)],
    ], Handler(guests::check_migration)),
    post("/nodes/{node}/qemu/{vmid}/migrate", Privilege("/vms/{vmid}", "VM.Migrate"), &[
        GUEST_PARAMS,
        &[
            required("target", NODE_NAME), optional("bwlimit", Integer(0, MAX)), optional("force", Boolean),
            optional("migration_network", Text), optional("migration_type", OneOf(&["secure", "insecure"])),
            optional("online", Boolean), optional("targetstorage", Text), optional("with-conntrack-state", Boolean),
            optional("with-local-disks", Boolean),
        ],
    ], Handler(lifecycle::migrate_guest)),
    put("/nodes/{node}/qemu/{vmid}/resize", Privilege("/vms/{vmid}", "VM.Config.Disk"), &[
        GUEST_PARAMS,
        &[
            required("disk", DISK), required("size", Text), optional("digest", MaxText(40)),
            optional("skiplock", Boolean),
        ],
    ], Handler(lifecycle::resize_disk)),
    post("/nodes/{node}/qemu/{vmid}/template", VM_ALLOCATE, &[
        GUEST_PARAMS,
        &[optional("disk", DISK)],
    ], Handler(lifecycle::convert_to_template)),
    get("/nodes/{node}/qemu|lxc/{vmid}/config", VM_AUDIT, &[
        GUEST_PARAMS,
        &[optional("current", Boolean), optional("snapshot", CONFIG_ID)],
    ], Handler(guest_config::read_config)),
    get_protected("/nodes/{node}/qemu|lxc/{vmid}/feature", VM_AUDIT, &[
        GUEST_PARAMS,
        &[required("feature", OneOf(&["snapshot", "clone", "copy"])), optional("snapname", CONFIG_ID)],
    ], Handler(guests::check_feature)),
    get("/nodes/{node}/qemu|lxc/{vmid}/pending", VM_AUDIT, &[GUEST_PARAMS], Handler(guest_config::list_pending)),
    get_protected("/nodes/{node}/qemu|lxc/{vmid}/rrddata", VM_AUDIT, &[
        GUEST_PARAMS, TIMEFRAME_PARAMS,
    ], Handler(guests::read_time_series)),
];
