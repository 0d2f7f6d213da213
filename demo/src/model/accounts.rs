//! Users, groups, roles, API tokens and access lists.

use crate::options::Release;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// The owner of both tokens.
pub const USER: &str = "demo@pve";
/// The token with every privilege.
pub const FULL: &str = "full";
/// The token that can only read (role PVEAuditor on /).
pub const AUDIT: &str = "audit";

/// A role: a set of privileges with a name.
pub(crate) struct Role {
    /// True for a predefined role of Proxmox.
    pub(crate) special: bool,
    pub(crate) privileges: BTreeSet<&'static str>,
}

/// A group of users.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) comment: Option<String>,
    pub(crate) members: BTreeSet<String>,
}

/// A user.
#[derive(Default)]
pub(crate) struct User {
    /// Properties as in user.cfg: `enable`, `expire`, `email` and so on.
    pub(crate) properties: Map<String, Value>,
    pub(crate) password: Option<String>,
    /// Second factors, oldest first.
    pub(crate) factors: Vec<SecondFactor>,
}

/// A second factor of a user: one-time passwords by time (RFC 6238).
pub(crate) struct SecondFactor {
    pub(crate) id: String,
    pub(crate) description: String,
    /// Time of creation, in seconds since 1970.
    pub(crate) created: i64,
    pub(crate) secret: Vec<u8>,
}

/// Users, groups, roles, tokens and access lists of the cluster.
#[derive(Default)]
pub(crate) struct Accounts {
    /// Users by their id, `user@realm`.
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) roles: BTreeMap<String, Role>,
    /// API tokens by full id, `user@realm!token`.
    pub(crate) tokens: BTreeMap<String, Token>,
    pub(crate) acl: Vec<AclEntry>,
    /// The key that signs tickets.
    pub(crate) ticket_key: [u8; 32],
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

/// Every privilege of both releases, in the order of a node.
#[rustfmt::skip]
const PRIVILEGES: &[&str] = &[
    "Datastore.Allocate", "Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit", "Group.Allocate",
    "Mapping.Audit", "Mapping.Modify", "Mapping.Use", "Permissions.Modify", "Pool.Allocate", "Pool.Audit",
    "Realm.Allocate", "Realm.AllocateUser", "SDN.Allocate", "SDN.Audit", "SDN.Use", "Sys.AccessNetwork", "Sys.Audit",
    "Sys.Console", "Sys.Incoming", "Sys.Modify", "Sys.PowerMgmt", "Sys.Syslog", "User.Modify", "VM.Allocate",
    "VM.Audit", "VM.Backup", "VM.Clone", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Cloudinit", "VM.Config.Disk",
    "VM.Config.HWType", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options", "VM.Console",
    "VM.GuestAgent.Audit", "VM.GuestAgent.FileRead", "VM.GuestAgent.FileSystemMgmt", "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted", "VM.Migrate", "VM.Monitor", "VM.PowerMgmt", "VM.Replicate", "VM.Snapshot",
    "VM.Snapshot.Rollback",
];

/// The predefined roles of a node, with the privileges of both releases.
#[rustfmt::skip]
const PREDEFINED_ROLES: &[(&str, &[&str])] = &[
    ("Administrator", PRIVILEGES),
    ("NoAccess", &[]),
    ("PVEAdmin", &[
        "Datastore.Allocate", "Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit",
        "Group.Allocate", "Mapping.Audit", "Mapping.Use", "Pool.Allocate", "Pool.Audit", "Realm.AllocateUser",
        "SDN.Allocate", "SDN.Audit", "SDN.Use", "Sys.Audit", "Sys.Console", "Sys.Syslog", "User.Modify", "VM.Allocate",
        "VM.Audit", "VM.Backup", "VM.Clone", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Cloudinit",
        "VM.Config.Disk", "VM.Config.HWType", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options",
        "VM.Console", "VM.GuestAgent.Audit", "VM.GuestAgent.FileRead", "VM.GuestAgent.FileSystemMgmt",
        "VM.GuestAgent.FileWrite", "VM.GuestAgent.Unrestricted", "VM.Migrate", "VM.Monitor", "VM.PowerMgmt",
        "VM.Replicate", "VM.Snapshot", "VM.Snapshot.Rollback",
    ]),
    ("PVEAuditor", &[
        "Datastore.Audit", "Mapping.Audit", "Pool.Audit", "SDN.Audit", "Sys.Audit", "VM.Audit", "VM.GuestAgent.Audit",
    ]),
    ("PVEDatastoreAdmin", &[
        "Datastore.Allocate", "Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit",
    ]),
    ("PVEDatastoreUser", &["Datastore.AllocateSpace", "Datastore.Audit"]),
    ("PVEMappingAdmin", &["Mapping.Audit", "Mapping.Modify", "Mapping.Use"]),
    ("PVEMappingUser", &["Mapping.Audit", "Mapping.Use"]),
    ("PVEPoolAdmin", &["Pool.Allocate", "Pool.Audit"]),
    ("PVEPoolUser", &["Pool.Audit"]),
    ("PVESDNAdmin", &["SDN.Allocate", "SDN.Audit", "SDN.Use"]),
    ("PVESDNUser", &["SDN.Audit", "SDN.Use"]),
    ("PVESysAdmin", &["Sys.Audit", "Sys.Console", "Sys.Syslog"]),
    ("PVETemplateUser", &["VM.Audit", "VM.Clone"]),
    ("PVEUserAdmin", &["Group.Allocate", "Realm.AllocateUser", "User.Modify"]),
    ("PVEVMAdmin", &[
        "VM.Allocate", "VM.Audit", "VM.Backup", "VM.Clone", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Cloudinit",
        "VM.Config.Disk", "VM.Config.HWType", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options",
        "VM.Console", "VM.GuestAgent.Audit", "VM.GuestAgent.FileRead", "VM.GuestAgent.FileSystemMgmt",
        "VM.GuestAgent.FileWrite", "VM.GuestAgent.Unrestricted", "VM.Migrate", "VM.Monitor", "VM.PowerMgmt",
        "VM.Replicate", "VM.Snapshot", "VM.Snapshot.Rollback",
    ]),
    ("PVEVMUser", &[
        "VM.Audit", "VM.Backup", "VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console", "VM.GuestAgent.Audit",
        "VM.GuestAgent.FileRead", "VM.GuestAgent.FileSystemMgmt", "VM.GuestAgent.FileWrite", "VM.PowerMgmt",
    ]),
];

/// Returns true if a node of the release has the privilege.
pub(crate) fn is_privilege_of(release: Release, privilege: &str) -> bool {
    match release {
        Release::Pve9 => privilege != "VM.Monitor",
        Release::Pve8 => !privilege.starts_with("VM.GuestAgent.") && privilege != "VM.Replicate",
    }
}

/// Returns every privilege of both releases, in the order of a node.
pub(crate) fn all_privileges() -> impl Iterator<Item = &'static str> {
    PRIVILEGES.iter().copied()
}

/// Returns the predefined roles, with the privileges of both releases.
pub(crate) fn predefined_roles() -> BTreeMap<String, Role> {
    let role = |privileges: &[&'static str]| Role { special: true, privileges: privileges.iter().copied().collect() };
    PREDEFINED_ROLES.iter().map(|(id, privileges)| ((*id).into(), role(privileges))).collect()
}

impl Accounts {
    /// Returns the ids of the groups of a user.
    pub(crate) fn groups_of(&self, user: &str) -> Vec<&str> {
        self.groups.iter().filter(|(_, group)| group.members.contains(user)).map(|(id, _)| id.as_str()).collect()
    }
}

/// Makes a random key. Fails if the system has no randomness.
pub(crate) fn random_key<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("cannot read random bytes from the system"))?;
    Ok(bytes)
}

/// Makes the secret of a token: 122 random bits, written as a UUID (version 4) as on a node.
pub(crate) fn new_secret() -> io::Result<String> {
    let mut bytes: [u8; 16] = random_key()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}
