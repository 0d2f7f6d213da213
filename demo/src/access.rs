//! Who may do what: users, tokens, roles, access lists, and the operations of /access.

use super::api::{Answer, Call, failed};
use super::tokens::{Token, token_rows};
use super::value::{extend, json, put, set};
use super::world::World;
use super::{AUDIT, FULL, USER};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// The roles a node brings along, and one of this cluster's own (the last).
const ROLES: &[(&str, &str)] = &[
    ("Administrator", ALL),
    ("NoAccess", ""),
    (
        "PVEAdmin",
        "Datastore.Allocate,Datastore.AllocateSpace,Datastore.AllocateTemplate,Datastore.Audit,Group.Allocate,Mapping.Audit,Mapping.Use,Pool.Allocate,Pool.Audit,Realm.AllocateUser,SDN.Allocate,SDN.Audit,SDN.Use,Sys.Audit,Sys.Console,Sys.Syslog,User.Modify,VM.Allocate,VM.Audit,VM.Backup,VM.Clone,VM.Config.CDROM,VM.Config.CPU,VM.Config.Cloudinit,VM.Config.Disk,VM.Config.HWType,VM.Config.Memory,VM.Config.Network,VM.Config.Options,VM.Console,VM.GuestAgent.Audit,VM.GuestAgent.FileRead,VM.GuestAgent.FileSystemMgmt,VM.GuestAgent.FileWrite,VM.GuestAgent.Unrestricted,VM.Migrate,VM.PowerMgmt,VM.Replicate,VM.Snapshot,VM.Snapshot.Rollback",
    ),
    ("PVEAuditor", "Datastore.Audit,Mapping.Audit,Pool.Audit,SDN.Audit,Sys.Audit,VM.Audit,VM.GuestAgent.Audit"),
    ("PVEDatastoreAdmin", "Datastore.Allocate,Datastore.AllocateSpace,Datastore.AllocateTemplate,Datastore.Audit"),
    ("PVEDatastoreUser", "Datastore.AllocateSpace,Datastore.Audit"),
    ("PVEMappingAdmin", "Mapping.Audit,Mapping.Modify,Mapping.Use"),
    ("PVEMappingUser", "Mapping.Audit,Mapping.Use"),
    ("PVEPoolAdmin", "Pool.Allocate,Pool.Audit"),
    ("PVEPoolUser", "Pool.Audit"),
    ("PVESDNAdmin", "SDN.Allocate,SDN.Audit,SDN.Use"),
    ("PVESDNUser", "SDN.Audit,SDN.Use"),
    ("PVESysAdmin", "Sys.Audit,Sys.Console,Sys.Syslog"),
    ("PVETemplateUser", "VM.Audit,VM.Clone"),
    ("PVEUserAdmin", "Group.Allocate,Realm.AllocateUser,User.Modify"),
    (
        "PVEVMAdmin",
        "VM.Allocate,VM.Audit,VM.Backup,VM.Clone,VM.Config.CDROM,VM.Config.CPU,VM.Config.Cloudinit,VM.Config.Disk,VM.Config.HWType,VM.Config.Memory,VM.Config.Network,VM.Config.Options,VM.Console,VM.GuestAgent.Audit,VM.GuestAgent.FileRead,VM.GuestAgent.FileSystemMgmt,VM.GuestAgent.FileWrite,VM.GuestAgent.Unrestricted,VM.Migrate,VM.PowerMgmt,VM.Replicate,VM.Snapshot,VM.Snapshot.Rollback",
    ),
    (
        "PVEVMUser",
        "VM.Audit,VM.Backup,VM.Config.CDROM,VM.Config.Cloudinit,VM.Console,VM.GuestAgent.Audit,VM.GuestAgent.FileRead,VM.GuestAgent.FileSystemMgmt,VM.GuestAgent.FileWrite,VM.PowerMgmt",
    ),
    (OWN_ROLE, "VM.Audit,VM.Console,VM.PowerMgmt"),
];
const OWN_ROLE: &str = "VMOperator";
const ALL: &str = "Datastore.Allocate,Datastore.AllocateSpace,Datastore.AllocateTemplate,Datastore.Audit,Group.Allocate,Mapping.Audit,Mapping.Modify,Mapping.Use,Permissions.Modify,Pool.Allocate,Pool.Audit,Realm.Allocate,Realm.AllocateUser,SDN.Allocate,SDN.Audit,SDN.Use,Sys.AccessNetwork,Sys.Audit,Sys.Console,Sys.Incoming,Sys.Modify,Sys.PowerMgmt,Sys.Syslog,User.Modify,VM.Allocate,VM.Audit,VM.Backup,VM.Clone,VM.Config.CDROM,VM.Config.CPU,VM.Config.Cloudinit,VM.Config.Disk,VM.Config.HWType,VM.Config.Memory,VM.Config.Network,VM.Config.Options,VM.Console,VM.GuestAgent.Audit,VM.GuestAgent.FileRead,VM.GuestAgent.FileSystemMgmt,VM.GuestAgent.FileWrite,VM.GuestAgent.Unrestricted,VM.Migrate,VM.PowerMgmt,VM.Replicate,VM.Snapshot,VM.Snapshot.Rollback";

/// Groups: name, comment, members.
const GROUPS: &[(&str, &str, &str)] = &[
    ("admins", "cluster administrators", "root@pam"),
    ("auditors", "may look at everything", "carol@pve"),
    ("operators", "on call", "alice@pve,bob@pve"),
];

/// Users, tokens and access lists.
#[derive(Default)]
pub(super) struct Accounts {
    /// By their id, without the id.
    pub(super) users: BTreeMap<&'static str, Value>,
    /// By their full name, `user@realm!token`.
    pub(super) tokens: BTreeMap<String, Token>,
    pub(super) acl: Vec<Entry>,
}

/// One line of an access list.
#[derive(PartialEq, Eq)]
pub(super) struct Entry {
    path: String,
    /// `user@realm`, `user@realm!token`, or `@group`.
    pub(super) who: String,
    role: String,
    propagate: bool,
}

/// Whose token a request carries.
pub(super) struct Caller {
    /// `user@realm!token`; empty for a caller without one.
    pub(super) id: String,
}

impl Caller {
    /// One who carries no token and asks for what anyone may see.
    pub(super) fn nobody() -> Self {
        Self { id: String::new() }
    }
}

/// A token secret as a node makes them: 122 random bits, written as a UUID.
pub(super) fn new_secret() -> io::Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system has no randomness to give"))?;
    let n = u128::from_be_bytes(bytes) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let (a, b, c, d, e) = (n >> 96, n >> 80 & 0xffff, n >> 64 & 0xffff, n >> 48 & 0xffff, n & 0xffff_ffff_ffff);
    Ok(format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}"))
}

/// The users of the cluster, and their tokens: the two of the demo, and some whose secret no one knows.
pub(super) fn seed(world: &mut World, full: String, audit: String) -> io::Result<()> {
    let now = world.seconds();
    let user = |enable: u8, more: Value| {
        let mut user = json!({"enable": enable, "expire": 0});
        extend(&mut user, more);
        user
    };
    let accounts = &mut world.accounts;
    accounts.users.extend([
        ("root@pam", user(1, json!({"email": "ops@example.test"}))),
        (USER, user(1, json!({"comment": "owner of the API tokens"}))),
        ("alice@pve", user(1, json!({"firstname": "Alice", "lastname": "Ames", "email": "alice@example.test"}))),
        ("bob@pve", user(1, json!({"firstname": "Bob", "comment": "on call"}))),
        ("carol@pve", user(0, json!({"firstname": "Carol", "comment": "left in spring"}))),
    ]);
    for (name, secret, comment) in [(FULL, full, "may do everything"), (AUDIT, audit, "may only look")] {
        let comment = comment.into();
        accounts.tokens.insert(format!("{USER}!{name}"), Token { secret, separate: true, comment, expire: 0 });
    }
    for (id, separate, comment, expire) in [
        ("root@pam!backup", true, "backup host", 0),
        ("root@pam!terraform", false, "no privilege separation: may do all that root may", 0),
        ("alice@pve!laptop", true, "", now - 30 * 86_400),
    ] {
        let token = Token { secret: new_secret()?, separate, comment: comment.into(), expire };
        accounts.tokens.insert(id.into(), token);
    }
    let list = [
        ("/", "@admins", "Administrator"),
        ("/", "@auditors", "PVEAuditor"),
        ("/nodes", "@operators", "PVEAuditor"),
        ("/storage/nas", "root@pam!backup", "PVEDatastoreUser"),
        ("/vms/100", "@operators", "PVEVMUser"),
        ("/", USER, "Administrator"),
        ("/", "demo@pve!full", "Administrator"),
        ("/", "demo@pve!audit", "PVEAuditor"),
        ("/pool/prod", "alice@pve", "PVEVMAdmin"),
        ("/vms", "bob@pve", OWN_ROLE),
    ];
    accounts.acl.extend(list.map(|(path, who, role)| Entry {
        path: path.into(),
        who: who.into(),
        role: role.into(),
        propagate: true,
    }));
    Ok(())
}

fn members(group: &str) -> impl Iterator<Item = &'static str> {
    GROUPS.iter().filter(move |(name, ..)| *name == group).flat_map(|(_, _, members)| members.split(','))
}

fn groups_of(user: &str) -> Vec<&'static str> {
    GROUPS.iter().map(|(name, ..)| *name).filter(|group| members(group).any(|m| m == user)).collect()
}

/// Who calls, or the reason of the 401.
pub(super) fn authenticate(world: &World, header: Option<&str>) -> Result<Caller, &'static str> {
    let Some(given) = header.and_then(|h| h.strip_prefix("PVEAPIToken=")) else { return Err("No ticket") };
    let failed = Err("Authentication failed!");
    let Some((id, secret)) = given.split_once('=') else { return failed };
    let Some(token) = world.accounts.tokens.get(id) else { return failed };
    let expired = token.expire != 0 && token.expire <= world.seconds();
    // Compared by their digests, whose difference says nothing about the secrets'.
    let same = digest(&SHA256, secret.as_bytes()).as_ref() == digest(&SHA256, token.secret.as_bytes()).as_ref();
    if same && !expired { Ok(Caller { id: id.into() }) } else { failed }
}

/// Whether the caller has the privilege on the path.
pub(super) fn may(world: &World, caller: &Caller, path: &str, privilege: &str) -> bool {
    path.starts_with('/') && rights(world, &caller.id, path).contains(privilege)
}

/// The privileges of a user or a token on a path. A token's are never more than its user's.
fn rights(world: &World, who: &str, path: &str) -> BTreeSet<&'static str> {
    if who == "root@pam" {
        let mut all = BTreeSet::new();
        all.extend(ALL.split(','));
        return all;
    }
    let Some((user, _)) = who.split_once('!') else { return own_rights(world, who, path) };
    let users = rights(world, user, path);
    match world.accounts.tokens.get(who) {
        Some(token) if token.separate => {
            let mut own = own_rights(world, who, path);
            own.retain(|privilege| users.contains(privilege));
            own
        }
        Some(_) => users,
        None => BTreeSet::new(),
    }
}

/// The nearest entries up the path decide, a user's own before its groups'; a guest's pool counts beside its own path.
fn own_rights(world: &World, who: &str, path: &str) -> BTreeSet<&'static str> {
    let groups = groups_of(who);
    let mut at = path.trim_end_matches('/');
    let mut found = BTreeSet::new();
    loop {
        let here = if at.is_empty() { "/" } else { at };
        let exact = at == path.trim_end_matches('/');
        let entries = world.accounts.acl.iter().filter(|e| e.path == here && (exact || e.propagate));
        let mut roles: Vec<&str> = entries.clone().filter(|e| e.who == who).map(|e| e.role.as_str()).collect();
        if roles.is_empty() {
            let of_group = |e: &&Entry| e.who.strip_prefix('@').is_some_and(|g| groups.contains(&g));
            roles.extend(entries.filter(of_group).map(|e| e.role.as_str()));
        }
        if !roles.is_empty() {
            found.extend(roles.iter().flat_map(|role| privileges(role)));
            break;
        }
        match at.rsplit_once('/') {
            Some((parent, _)) => at = parent,
            None => break,
        }
    }
    let guest = path.strip_prefix("/vms/").and_then(|id| id.parse().ok()).and_then(|id: u32| world.guests.get(&id));
    if let Some(pool) = guest.and_then(|g| g.pool.as_ref()) {
        found.extend(own_rights(world, who, &format!("/pool/{pool}")));
    }
    found
}

fn privileges(role: &str) -> impl Iterator<Item = &'static str> + use<> {
    let privileges = ROLES.iter().find(|(name, _)| *name == role).map_or("", |(_, privileges)| privileges);
    privileges.split(',').filter(|p| !p.is_empty())
}

/// GET /access/permissions.
pub(super) fn permissions(world: &mut World, call: &Call<'_>) -> Answer {
    let who = call.given("userid").unwrap_or(&call.caller.id);
    if who != call.caller.id {
        call.need(world, "/access", "Sys.Audit")?;
    }
    let fixed = ["/", "/access", "/access/groups", "/mapping", "/nodes", "/pool", "/sdn", "/storage", "/vms"];
    let mut paths = BTreeSet::new();
    match call.given("path") {
        Some(path) => drop(paths.insert(path)),
        None => paths.extend(fixed.into_iter().chain(world.accounts.acl.iter().map(|e| e.path.as_str()))),
    }
    let mut all = Map::new();
    for path in paths {
        let mut here = Map::new();
        for privilege in rights(world, who, path) {
            put(&mut here, privilege, 1.into());
        }
        if !here.is_empty() {
            put(&mut all, path, here.into());
        }
    }
    Ok(all.into())
}

/// GET /access/roles.
pub(super) fn roles(_: &mut World, _: &Call<'_>) -> Answer {
    let row =
        |(name, privs): &(&str, &str)| json!({"roleid": name, "privs": privs, "special": u8::from(*name != OWN_ROLE)});
    Ok(ROLES.iter().map(row).collect())
}

/// GET /access/roles/{roleid}.
pub(super) fn role(_: &mut World, call: &Call<'_>) -> Answer {
    let id = call.text("roleid");
    if !ROLES.iter().any(|(name, _)| *name == id) {
        return failed(format!("role '{id}' does not exist"));
    }
    let mut all = Map::new();
    for privilege in privileges(id) {
        put(&mut all, privilege, 1.into());
    }
    Ok(all.into())
}

/// GET /access/groups.
pub(super) fn groups(world: &mut World, call: &Call<'_>) -> Answer {
    let sees = ["Sys.Audit", "Group.Allocate", "User.Modify"].iter().any(|p| call.may(world, "/access/groups", p));
    let seen = GROUPS.iter().filter(|_| sees);
    Ok(seen.map(|(id, comment, users)| json!({"groupid": id, "comment": comment, "users": users})).collect())
}

/// GET /access/groups/{groupid}.
pub(super) fn group(_: &mut World, call: &Call<'_>) -> Answer {
    let id = call.text("groupid");
    match GROUPS.iter().find(|(name, ..)| *name == id) {
        Some((_, comment, _)) => Ok(json!({"comment": comment, "members": members(id).collect::<Vec<_>>()})),
        None => failed(format!("group '{id}' does not exist")),
    }
}

/// GET /access/acl.
pub(super) fn acl(world: &mut World, call: &Call<'_>) -> Answer {
    let visible =
        |e: &&Entry| call.may(world, &e.path, "Permissions.Modify") || call.may(world, "/access", "Sys.Audit");
    let row = |e: &Entry| {
        let (kind, who) = match e.who.strip_prefix('@') {
            Some(group) => ("group", group),
            None => (if e.who.contains('!') { "token" } else { "user" }, e.who.as_str()),
        };
        json!({"path": e.path, "type": kind, "ugid": who, "roleid": e.role, "propagate": u8::from(e.propagate)})
    };
    Ok(world.accounts.acl.iter().filter(visible).map(row).collect())
}

/// PUT /access/acl.
pub(super) fn set_acl(world: &mut World, call: &Call<'_>) -> Answer {
    let path = call.text("path");
    call.need(world, path, "Permissions.Modify")?;
    let list = |name: &str| -> Vec<String> { call.list(name).map(String::from).collect() };
    let (mut who, roles) = (list("users"), list("roles"));
    who.extend(list("tokens"));
    for group in list("groups") {
        if members(&group).next().is_none() {
            return failed(format!("group '{group}' does not exist"));
        }
        who.push(format!("@{group}"));
    }
    for role in &roles {
        if !ROLES.iter().any(|(name, _)| name == role) {
            return failed(format!("role '{role}' does not exist"));
        }
    }
    for who in &who {
        let known = match who.split_once('!') {
            _ if who.starts_with('@') => true,
            Some(_) => world.accounts.tokens.contains_key(who),
            None => world.accounts.users.contains_key(who.as_str()),
        };
        if !known {
            return failed(format!("user '{who}' does not exist"));
        }
        for role in &roles {
            let propagate = call.int("propagate") != Some(0);
            let entry = Entry { path: path.into(), who: who.clone(), role: role.clone(), propagate };
            world.accounts.acl.retain(|e| (&e.path, &e.who, &e.role) != (&entry.path, &entry.who, &entry.role));
            if !call.flag("delete") {
                world.accounts.acl.push(entry);
            }
        }
    }
    Ok(Value::Null)
}

fn user_row(world: &World, id: &str, user: &Value, full: bool) -> Value {
    let mut row = user.clone();
    set(&mut row, "userid", id.into());
    set(&mut row, "realm-type", id.rsplit_once('@').map_or("", |(_, realm)| realm).into());
    if full {
        set(&mut row, "groups", groups_of(id).join(",").into());
        set(&mut row, "tokens", token_rows(world, id));
    }
    row
}

/// GET /access/users.
pub(super) fn users(world: &mut World, call: &Call<'_>) -> Answer {
    let me = call.caller.id.split('!').next().unwrap_or_default();
    let all = call.may(world, "/access/groups", "Sys.Audit") || call.may(world, "/access/groups", "User.Modify");
    let users = world.accounts.users.iter().filter(|(id, _)| all || **id == me);
    let enabled = call.int("enabled");
    let users = users.filter(|(_, user)| enabled.is_none() || user.get("enable").and_then(Value::as_i64) == enabled);
    Ok(users.map(|(id, user)| user_row(world, id, user, call.flag("full"))).collect())
}

/// GET /access/users/{userid}.
pub(super) fn user(world: &mut World, call: &Call<'_>) -> Answer {
    let id = call.text("userid");
    match world.accounts.users.get(id) {
        Some(user) => {
            let mut row = user.clone();
            if let Some(row) = row.as_object_mut() {
                put(row, "groups", json!(groups_of(id)));
                let tokens = token_rows(world, id);
                let mut named = Map::new();
                for token in tokens.as_array().into_iter().flatten() {
                    put(&mut named, token.get("tokenid").and_then(Value::as_str).unwrap_or_default(), token.clone());
                }
                put(row, "tokens", named.into());
            }
            Ok(row)
        }
        None => failed(format!("no such user ('{id}')")),
    }
}

/// GET /access/domains: anyone may see where one can log in.
pub(super) fn domains(_: &mut World, _: &Call<'_>) -> Answer {
    Ok(json!([
        {"realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication"},
        {"realm": "pve", "type": "pve", "comment": "Proxmox VE authentication server", "default": 1},
    ]))
}
