//! Routes of the storages and the volumes on them.

use super::route::Access::{AnyPrivilege, Privilege};
use super::route::Action::{Directory, Handler};
use super::route::{ANYONE, Access, NODE_PARAM, Route, TIMEFRAME_PARAMS, delete, get, get_protected, post, put};
use crate::handlers::storage;
use crate::parameters::ParameterType::{Boolean, Integer, OneOf, Text, Vmid};
use crate::parameters::{NODE_NAME, Parameter, STORAGE_ID, optional, required};

const STORAGE_PARAMS: &[Parameter] = &[required("node", NODE_NAME), required("storage", STORAGE_ID)];
#[rustfmt::skip]
const VOLUME_PARAMS: &[Parameter] = &[
    required("node", NODE_NAME), optional("storage", STORAGE_ID), required("volume", Text),
];
const STORAGE_AUDIT: Access = AnyPrivilege("/storage/{storage}", &["Datastore.Audit", "Datastore.AllocateSpace"]);

#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = &[
    get_protected("/nodes/{node}/storage", ANYONE, &[
        NODE_PARAM,
        &[
            optional("content", Text), optional("enabled", Boolean), optional("format", Boolean),
            optional("storage", STORAGE_ID), optional("target", NODE_NAME),
        ],
    ], Handler(storage::list_node_storages)),
    get("/nodes/{node}/storage/{storage}", STORAGE_AUDIT, &[STORAGE_PARAMS], Directory("subdir", &[
        "content", "download-url", "file-restore", "prunebackups", "rrd", "rrddata", "status", "upload",
    ])),
    get_protected("/nodes/{node}/storage/{storage}/content", STORAGE_AUDIT, &[
        STORAGE_PARAMS,
        &[optional("content", Text), optional("vmid", Vmid)],
    ], Handler(storage::list_volumes)),
    post("/nodes/{node}/storage/{storage}/content", Privilege("/storage/{storage}", "Datastore.AllocateSpace"), &[
        STORAGE_PARAMS,
        &[
            required("filename", Text), required("size", Text), required("vmid", Vmid),
            optional("format", OneOf(&["raw", "qcow2", "subvol", "vmdk"])),
        ],
    ], Handler(storage::create_volume)),
    get_protected(
        "/nodes/{node}/storage/{storage}/content/{volume}", ANYONE, &[VOLUME_PARAMS], Handler(storage::read_volume),
    ),
    put("/nodes/{node}/storage/{storage}/content/{volume}", ANYONE, &[
        VOLUME_PARAMS,
        &[optional("notes", Text), optional("protected", Boolean)],
    ], Handler(storage::update_volume)),
    delete("/nodes/{node}/storage/{storage}/content/{volume}", ANYONE, &[
        VOLUME_PARAMS,
        &[optional("delay", Integer(1, 30))],
    ], Handler(storage::delete_volume)),
    get_protected("/nodes/{node}/storage/{storage}/rrddata", STORAGE_AUDIT, &[
        STORAGE_PARAMS, TIMEFRAME_PARAMS,
    ], Handler(storage::read_time_series)),
    get_protected(
        "/nodes/{node}/storage/{storage}/status", STORAGE_AUDIT, &[STORAGE_PARAMS], Handler(storage::read_status),
    ),
    get("/storage", ANYONE, &[&[
        optional("type", OneOf(&[
            "btrfs", "cephfs", "cifs", "dir", "esxi", "iscsi", "iscsidirect", "lvm", "lvmthin", "nfs", "pbs", "rbd",
            "zfs", "zfspool",
        ])),
    ]], Handler(storage::list_configs)),
    get("/storage/{storage}", Privilege("/storage/{storage}", "Datastore.Allocate"), &[&[
        required("storage", STORAGE_ID),
    ]], Handler(storage::read_config)),
];
