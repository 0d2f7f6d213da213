//! Users, groups, roles, API tokens and access lists.

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;

/// The owner of both tokens.
pub const USER: &str = "demo@pve";
/// The token with every privilege.
pub const FULL: &str = "full";
/// The token that can only read (role PVEAuditor on /).
pub const AUDIT: &str = "audit";

/// A role: a set of privileges with a name.
pub(crate) struct Role {
    pub(crate) id: &'static str,
    /// True for a predefined role of Proxmox.
    pub(crate) special: bool,
    pub(crate) privileges: &'static [&'static str],
}

/// A group of users.
pub(crate) struct Group {
    pub(crate) id: &'static str,
    pub(crate) comment: &'static str,
    pub(crate) members: &'static [&'static str],
}

/// Users, tokens and access lists of the cluster.
#[derive(Default)]
pub(crate) struct Accounts {
    /// Properties of the users, by user id.
    pub(crate) users: BTreeMap<&'static str, Value>,
    /// API tokens by full id, `user@realm!token`.
    pub(crate) tokens: BTreeMap<String, Token>,
    pub(crate) acl: Vec<AclEntry>,
}

/// An API token.
pub(crate) struct Token {
    pub(crate) secret: String,
    /// True if the token needs access entries of its own within its user's privileges.
    pub(crate) privilege_separation: bool,
    pub(crate) comment: String,
    /// Time of expiry, in seconds since 1970; 0 for never.
    pub(crate) expire: i64,
}

/// One line of the access lists.
#[derive(PartialEq, Eq)]
pub(crate) struct AclEntry {
    pub(crate) path: String,
    /// `user@realm`, `user@realm!token` or `@group`.
    pub(crate) subject: String,
    pub(crate) role: String,
    pub(crate) propagate: bool,
}

/// Every privilege, in the order of a node.
#[rustfmt::skip]
pub(crate) const ALL_PRIVILEGES: &[&str] = &[
    "Datastore.Allocate", "Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit", "Group.Allocate",
    "Mapping.Audit", "Mapping.Modify", "Mapping.Use", "Permissions.Modify", "Pool.Allocate", "Pool.Audit",
    "Realm.Allocate", "Realm.AllocateUser", "SDN.Allocate", "SDN.Audit", "SDN.Use", "Sys.AccessNetwork", "Sys.Audit",
    "Sys.Console", "Sys.Incoming", "Sys.Modify", "Sys.PowerMgmt", "Sys.Syslog", "User.Modify", "VM.Allocate",
    "VM.Audit", "VM.Backup", "VM.Clone", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Cloudinit", "VM.Config.Disk",
    "VM.Config.HWType", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options", "VM.Console",
    "VM.GuestAgent.Audit", "VM.GuestAgent.FileRead", "VM.GuestAgent.FileSystemMgmt", "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted", "VM.Migrate", "VM.PowerMgmt", "VM.Replicate", "VM.Snapshot", "VM.Snapshot.Rollback",
];

/// The predefined roles of a node, and one that the demo's administrators made.
#[rustfmt::skip]
pub(crate) const ROLES: &[Role] = &[
    Role { id: "Administrator", special: true, privileges: ALL_PRIVILEGES },
    Role { id: "NoAccess", special: true, privileges: &[] },
    Role { id: "PVEAdmin", special: true, privileges: &[
        "Datastore.Allocate", "Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit",
        "Group.Allocate", "Mapping.Audit", "Mapping.Use", "Pool.Allocate", "Pool.Audit", "Realm.AllocateUser",
        "SDN.Allocate", "SDN.Audit", "SDN.Use", "Sys.Audit", "Sys.Console", "Sys.Syslog", "User.Modify", "VM.Allocate",
        "VM.Audit", "VM.Backup", "VM.Clone", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Cloudinit",
        "VM.Config.Disk", "VM.Config.HWType", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options",
        "VM.Console", "VM.GuestAgent.Audit", "VM.GuestAgent.FileRead", "VM.GuestAgent.FileSystemMgmt",
        "VM.GuestAgent.FileWrite", "VM.GuestAgent.Unrestricted", "VM.Migrate", "VM.PowerMgmt", "VM.Replicate",
        "VM.Snapshot", "VM.Snapshot.Rollback",
    ] },
    Role { id: "PVEAuditor", special: true, privileges: &[
        "Datastore.Audit", "Mapping.Audit", "Pool.Audit", "SDN.Audit", "Sys.Audit", "VM.Audit", "VM.GuestAgent.Audit",
    ] },
    Role { id: "PVEDatastoreAdmin", special: true, privileges: &[
        "Datastore.Allocate", "Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit",
    ] },
    Role { id: "PVEDatastoreUser", special: true, privileges: &["Datastore.AllocateSpace", "Datastore.Audit"] },
    Role { id: "PVEMappingAdmin", special: true, privileges: &["Mapping.Audit", "Mapping.Modify", "Mapping.Use"] },
    Role { id: "PVEMappingUser", special: true, privileges: &["Mapping.Audit", "Mapping.Use"] },
    Role { id: "PVEPoolAdmin", special: true, privileges: &["Pool.Allocate", "Pool.Audit"] },
    Role { id: "PVEPoolUser", special: true, privileges: &["Pool.Audit"] },
    Role { id: "PVESDNAdmin", special: true, privileges: &["SDN.Allocate", "SDN.Audit", "SDN.Use"] },
    Role { id: "PVESDNUser", special: true, privileges: &["SDN.Audit", "SDN.Use"] },
    Role { id: "PVESysAdmin", special: true, privileges: &["Sys.Audit", "Sys.Console", "Sys.Syslog"] },
    Role { id: "PVETemplateUser", special: true, privileges: &["VM.Audit", "VM.Clone"] },
    Role { id: "PVEUserAdmin", special: true, privileges: &["Group.Allocate", "Realm.AllocateUser", "User.Modify"] },
    Role { id: "PVEVMAdmin", special: true, privileges: &[
        "VM.Allocate", "VM.Audit", "VM.Backup", "VM.Clone", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Cloudinit",
        "VM.Config.Disk", "VM.Config.HWType", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options",
        "VM.Console", "VM.GuestAgent.Audit", "VM.GuestAgent.FileRead", "VM.GuestAgent.FileSystemMgmt",
        "VM.GuestAgent.FileWrite", "VM.GuestAgent.Unrestricted", "VM.Migrate", "VM.PowerMgmt", "VM.Replicate",
        "VM.Snapshot", "VM.Snapshot.Rollback",
    ] },
    Role { id: "PVEVMUser", special: true, privileges: &[
        "VM.Audit", "VM.Backup", "VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console", "VM.GuestAgent.Audit",
        "VM.GuestAgent.FileRead", "VM.GuestAgent.FileSystemMgmt", "VM.GuestAgent.FileWrite", "VM.PowerMgmt",
    ] },
    Role { id: "VMOperator", special: false, privileges: &["VM.Audit", "VM.Console", "VM.PowerMgmt"] },
];

/// The groups of the cluster.
pub(crate) const GROUPS: &[Group] = &[
    Group { id: "admins", comment: "cluster administrators", members: &["root@pam"] },
    Group { id: "auditors", comment: "may look at everything", members: &["carol@pve"] },
    Group { id: "operators", comment: "on call", members: &["alice@pve", "bob@pve"] },
];

impl Role {
    /// Returns the role of that id.
    pub(crate) fn find(id: &str) -> Option<&'static Self> {
        ROLES.iter().find(|role| role.id == id)
    }
}

impl Group {
    /// Returns the group of that id.
    pub(crate) fn find(id: &str) -> Option<&'static Self> {
        GROUPS.iter().find(|group| group.id == id)
    }

    /// Returns the ids of the groups of a user.
    pub(crate) fn ids_of(user: &str) -> Vec<&'static str> {
        GROUPS.iter().filter(|group| group.members.contains(&user)).map(|group| group.id).collect()
    }
}

/// Makes the secret of a token: 122 random bits, written as a UUID (version 4) as on a node.
pub(crate) fn new_secret() -> io::Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("cannot read random bytes from the system"))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}
