//! The storages and what lies on them.

use super::super::check::Kind::{Bool, Int, OneOf, Vmid};
use super::super::check::{NODE, Param, STORE, TEXT, may, need};
use super::super::storage;
use super::Access::{Any, Need};
use super::Run::{Fn, Names};
use super::{ANYONE, Access, HERE, Route, TIMEFRAME, pvedaemon, pveproxy};

const STORED: &[Param] = &[need("node", NODE), need("storage", STORE)];
const VOLUME: &[Param] = &[need("node", NODE), may("storage", STORE), need("volume", TEXT)];
const STORAGE_AUDIT: Access = Any("/storage/{storage}", &["Datastore.Audit", "Datastore.AllocateSpace"]);

/// Their operations.
pub(super) static ROUTES: &[Route] = &[
    pveproxy(
        "GET",
        "/storage",
        ANYONE,
        &[&[may(
            "type",
            OneOf(&[
                "btrfs",
                "cephfs",
                "cifs",
                "dir",
                "esxi",
                "iscsi",
                "iscsidirect",
                "lvm",
                "lvmthin",
                "nfs",
                "pbs",
                "rbd",
                "zfs",
                "zfspool",
            ]),
        )]],
        Fn(storage::index),
    ),
    pveproxy(
        "GET",
        "/storage/{storage}",
        Need("/storage/{storage}", "Datastore.Allocate"),
        &[&[need("storage", STORE)]],
        Fn(storage::read),
    ),
    pvedaemon(
        "GET",
        "/nodes/{node}/storage",
        ANYONE,
        &[
            HERE,
            &[
                may("content", TEXT),
                may("enabled", Bool),
                may("format", Bool),
                may("storage", STORE),
                may("target", NODE),
            ],
        ],
        Fn(storage::of_node),
    ),
    pveproxy(
        "GET",
        "/nodes/{node}/storage/{storage}",
        STORAGE_AUDIT,
        &[STORED],
        Names(
            "subdir",
            &["content", "download-url", "file-restore", "prunebackups", "rrd", "rrddata", "status", "upload"],
        ),
    ),
    pvedaemon(
        "GET",
        "/nodes/{node}/storage/{storage}/content",
        STORAGE_AUDIT,
        &[STORED, &[may("content", TEXT), may("vmid", Vmid)]],
        Fn(storage::content),
    ),
    pvedaemon(
        "POST",
        "/nodes/{node}/storage/{storage}/content",
        Need("/storage/{storage}", "Datastore.AllocateSpace"),
        &[
            STORED,
            &[
                need("filename", TEXT),
                need("size", TEXT),
                need("vmid", Vmid),
                may("format", OneOf(&["raw", "qcow2", "subvol", "vmdk"])),
            ],
        ],
        Fn(storage::allocate),
    ),
    pvedaemon("GET", "/nodes/{node}/storage/{storage}/content/{volume}", ANYONE, &[VOLUME], Fn(storage::info)),
    pvedaemon(
        "PUT",
        "/nodes/{node}/storage/{storage}/content/{volume}",
        ANYONE,
        &[VOLUME, &[may("notes", TEXT), may("protected", Bool)]],
        Fn(storage::update),
    ),
    pvedaemon(
        "DELETE",
        "/nodes/{node}/storage/{storage}/content/{volume}",
        ANYONE,
        &[VOLUME, &[may("delay", Int(1, 30))]],
        Fn(storage::delete),
    ),
    pvedaemon(
        "GET",
        "/nodes/{node}/storage/{storage}/rrddata",
        STORAGE_AUDIT,
        &[STORED, TIMEFRAME],
        Fn(storage::rrddata),
    ),
    pvedaemon("GET", "/nodes/{node}/storage/{storage}/status", STORAGE_AUDIT, &[STORED], Fn(storage::status)),
];
