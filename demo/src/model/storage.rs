//! Storages and the volumes on them.

use super::guest::GuestConfig;
use serde_json::{Map, Value};

/// A storage of the cluster.
pub(crate) struct Storage {
    pub(crate) name: String,
    /// Plugin type: dir, lvmthin or nfs.
    pub(crate) plugin: String,
    /// Content types that it accepts, comma-separated.
    pub(crate) content: String,
    /// True if all nodes see the same volumes.
    pub(crate) shared: bool,
    /// Size in bytes, per node if the storage is not shared.
    pub(crate) total: u64,
    /// Bytes used by files that are not listed as volumes.
    pub(crate) other: u64,
    /// Further properties of its entry in storage.cfg.
    pub(crate) properties: Value,
}

/// A disk image, an ISO image, a container template or a backup.
#[derive(Clone)]
pub(crate) struct Volume {
    /// Volume id, `storage:name`.
    pub(crate) volid: String,
    /// The node that has it; empty for a volume of a shared storage.
    pub(crate) node: Option<String>,
    /// Content type: images, rootdir, iso, vztmpl or backup.
    pub(crate) content: &'static str,
    /// Format: raw, qcow2, iso, tzst, vma.zst or tar.zst.
    pub(crate) format: &'static str,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Allocated bytes.
    pub(crate) used: u64,
    /// The guest that owns it.
    pub(crate) vmid: Option<u32>,
    /// Time of creation, in seconds since 1970.
    pub(crate) ctime: i64,
    /// Notes on a backup.
    pub(crate) notes: Option<String>,
    /// True for a backup that must not be removed.
    pub(crate) protected: bool,
    /// Configuration of the guest in a backup.
    pub(crate) config: Option<GuestConfig>,
    /// Firewall of the guest in a backup.
    pub(crate) firewall: FirewallConfig,
}

/// The firewall configuration of a guest.
#[derive(Clone, Default)]
pub(crate) struct FirewallConfig {
    pub(crate) rules: Option<Vec<Value>>,
    pub(crate) options: Option<Map<String, Value>>,
}

impl Storage {
    /// Returns true if it accepts this content type.
    pub(crate) fn accepts(&self, content: &str) -> bool {
        self.content.split(',').any(|c| c == content)
    }
}

impl Volume {
    /// Creates a fully allocated volume without an owner.
    pub(crate) fn new(
        volid: String,
        node: Option<String>,
        content: &'static str,
        format: &'static str,
        size: u64,
        ctime: i64,
    ) -> Self {
        Self {
            volid,
            node,
            content,
            format,
            size,
            used: size,
            vmid: None,
            ctime,
            notes: None,
            protected: false,
            config: None,
            firewall: FirewallConfig::default(),
        }
    }

    /// Splits its id into the storage and the name on it.
    pub(crate) fn id_parts(&self) -> (&str, &str) {
        self.volid.split_once(':').expect("a volume id is storage:name")
    }

    /// Returns true if that node can use the volume.
    pub(crate) fn is_on(&self, node: &str) -> bool {
        self.node.as_deref().is_none_or(|own| own == node)
    }
}
