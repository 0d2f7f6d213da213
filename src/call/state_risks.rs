//! The risk that a change has by the present state of the cluster: it takes away what it does not name, or gives rights
//! to the API token of this server. What can't be read counts as the worst.

use super::handle::ClusterHandle;
use super::planned_call::PlannedCall;
use super::present_state::ObjectReader;
use crate::base::list_text::list_items;
use crate::pve::Method;
use crate::pve::knowledge::effects::Fact;
use crate::pve::knowledge::interfaces::find_family_changes;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::property_string::{find_part, find_volume, parse_new_volume};
use crate::pve::rows::is_true;
use crate::render::object_state::{NotKnown, ObjectState, text_of, to_text};
use serde_json::{Map, Value};

const TOKEN_GAINS: &str = "the API token of this server gains rights, which its operator has bounded";
const SECOND_TOKEN: &str = "a second token of this server's user, to which the rules of this server do not apply";
const INHERITED_IS_LOST: &str =
    "a permission replaces those that are inherited from the paths above, and this one takes away some of them";
const INHERITED_IS_HIDDEN: &str = "a permission replaces those that are inherited from the paths above, and this \
    server's API token does not see which";
const FIREWALL_ENDS: &str = "the firewall no longer protects: it is off without firewall=1";
const FIREWALL_BEGINS: &str = "the firewall of the guest acts on the card then, and drops what no rule allows, perhaps all that reaches the guest";
const NOMATCH_ENDS: &str = "an address that is taken out of the set is in it again: that ends without nomatch=1";
/// The parts of a network that decide which others the guest reaches. (PVE: a container has its addresses here.)
const NETWORK_KEYS: [&str; 7] = ["bridge", "tag", "trunks", "ip", "ip6", "gw", "gw6"];
/// The words that Proxmox reads as true.
const ON: [&str; 4] = ["1", "on", "yes", "true"];
const HA_KILLS: &str =
    "the HA manager stops a guest by force that does not shut down in time, and unsaved data is lost";
const HA_RESTARTS: &str = "the HA manager moves a container by a stop and a start";
const BACKUP_ENDS: &str = "backups leave the volume out: it is left out without backup=1";
const NETWORK_ENDS: &str = "the guest is cut off from the network that it has now, at once if it runs";
const ADDRESS_ENDS: &str = "the interface may lose the address that it has now when the network is applied";
const DISK_ENDS: &str = "the disk that the guest has now is taken away from it, at once if it runs";

/// A change whose risk depends on the state of the cluster.
pub(super) enum StateChange<'c> {
    /// A role is granted.
    Grant(&'c ApiParams),
    /// Privileges are added to a role.
    Role { name: String },
    /// A user is put into groups.
    Groups { user: String },
    /// A token is created for a user.
    NewToken { user: String },
    /// A token loses a bound.
    Token { id: String, parameter: &'static str },
    /// These networks and disks of a guest are replaced or removed.
    GuestOptions { config: ApiPath, options: Vec<GuestOption<'c>> },
    /// A list is replaced by these items.
    List { path: &'c ApiPath, list: &'static ReplacedList, items: Vec<String> },
    /// A guest is shut down or moved, which the HA manager does in its own way: as if this parameter was given.
    HaGuest { status: ApiPath, reason: &'static str, as_if_given: &'static str },
    /// A network interface is written again, with the addresses that the call names.
    Interface { path: &'c ApiPath, params: &'c ApiParams },
    /// A member of an IP set is written without `nomatch`, which is off then.
    IpSetMember(&'c ApiPath),
}

/// A list that a change replaces as a whole.
pub(super) struct ReplacedList {
    template: &'static str,
    parameter: &'static str,
    /// The items are the members of the object, with the value true.
    is_object: bool,
    reason: &'static str,
}

const REPLACED_LISTS: [ReplacedList; 5] = [
    ReplacedList {
        template: "/access/roles/{roleid}",
        parameter: "privs",
        is_object: true,
        reason: "takes away the privileges that the new list leaves out",
    },
    ReplacedList {
        template: "/access/users/{userid}",
        parameter: "groups",
        is_object: false,
        reason: "takes away the permissions of the groups that the new list leaves out",
    },
    ReplacedList {
        template: "/cluster/backup/{id}",
        parameter: "vmid",
        is_object: false,
        reason: "guests that the new selection leaves out are no longer backed up",
    },
    ReplacedList {
        template: "/storage/{storage}",
        parameter: "content",
        is_object: false,
        reason: "guests may lose their disks of the kinds that the new list leaves out",
    },
    ReplacedList {
        template: "/storage/{storage}",
        parameter: "nodes",
        is_object: false,
        reason: "guests lose their disks on the nodes that the new list leaves out",
    },
];

/// A network or a disk of a guest that a call changes.
pub(super) struct GuestOption<'c> {
    name: &'c str,
    /// The parameter that changes it.
    parameter: &'c str,
    /// `None` if it is removed.
    new: Option<&'c str>,
    kind: GuestOptionKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum GuestOptionKind {
    Network,
    Disk,
    MountPoint,
}

impl<'c> StateChange<'c> {
    /// Returns the changes of an operation whose risk depends on the state.
    pub(super) fn from_operation(
        method: Method,
        template: &str,
        path: &'c ApiPath,
        params: &'c ApiParams,
    ) -> Vec<Self> {
        let is_given = |wanted: &str| params.names().any(|name| name == wanted);
        let segments: Vec<_> = path.segments().map(|segment| segment.into_owned()).collect();
        let segment = |at: usize| segments.get(at).cloned().unwrap_or_default();
        let mut changes = Vec::new();
        match (method, template) {
            (Method::Put, "/access/acl") => changes.push(Self::Grant(params)),
            (Method::Put, "/access/roles/{roleid}") if is_given("privs") => {
                changes.push(Self::Role { name: segment(2) });
            }
            (Method::Put, "/access/users/{userid}") if is_given("groups") => {
                changes.push(Self::Groups { user: segment(2) });
            }
            (Method::Post, "/access/users/{userid}/token/{tokenid}") => {
                changes.push(Self::NewToken { user: segment(2) });
            }
            (Method::Put, "/access/users/{userid}/token/{tokenid}") if is_given("privsep") || is_given("expire") => {
                let parameter = if is_given("privsep") { "privsep" } else { "expire" };
                changes.push(Self::Token { id: format!("{}!{}", segment(2), segment(4)), parameter });
            }
            (
                Method::Put | Method::Post,
                "/nodes/{node}/qemu/{vmid}/config"
                | "/nodes/{node}/lxc/{vmid}/config"
                | "/nodes/{node}/qemu/{vmid}/unlink",
            ) => {
                let options: Vec<_> = params.iter().flat_map(|(name, value)| GuestOption::find(name, value)).collect();
                if let Some(config) = path_below_guest(&segments, &["config"]).filter(|_| !options.is_empty()) {
                    changes.push(Self::GuestOptions { config, options });
                }
            }
            (
                Method::Post,
                "/nodes/{node}/qemu/{vmid}/status/shutdown" | "/nodes/{node}/lxc/{vmid}/status/shutdown",
            ) => {
                changes.extend(Self::of_ha_guest(&segments, HA_KILLS, "forceStop"));
            }
            (Method::Post, "/nodes/{node}/lxc/{vmid}/migrate") => {
                changes.extend(Self::of_ha_guest(&segments, HA_RESTARTS, "restart"));
            }
            (Method::Put, "/nodes/{node}/network/{iface}") => changes.push(Self::Interface { path, params }),
            (Method::Put, _) if template.ends_with("/ipset/{name}/{cidr}") && !is_given("nomatch") => {
                changes.push(Self::IpSetMember(path));
            }
            _ => {}
        }
        let is_added = params.iter().any(|(name, value)| name == "append" && ON.contains(&value));
        let is_replaced = |list: &&ReplacedList| list.template == template && is_given(list.parameter) && !is_added;
        for list in REPLACED_LISTS.iter().filter(|_| method == Method::Put).filter(is_replaced) {
            let values = params.iter().filter(|(name, _)| *name == list.parameter);
            let items = values.flat_map(|(_, value)| list_items(value)).map(str::to_owned).collect();
            changes.push(Self::List { path, list, items });
        }
        changes
    }

    fn of_ha_guest(segments: &[String], reason: &'static str, as_if_given: &'static str) -> Option<Self> {
        Some(Self::HaGuest { status: path_below_guest(segments, &["status", "current"])?, reason, as_if_given })
    }
}

/// Returns a path below the guest of another path.
fn path_below_guest(segments: &[String], below: &[&str]) -> Option<ApiPath> {
    let parts: Vec<&str> = segments.iter().take(4).map(String::as_str).chain(below.iter().copied()).collect();
    ApiPath::from_segments(&parts).ok()
}

impl StateChange<'_> {
    /// Returns the parameter that the present state adds to the call.
    pub(super) fn as_if_given(&self) -> Option<&'static str> {
        match self {
            Self::HaGuest { as_if_given, .. } => Some(as_if_given),
            _ => None,
        }
    }
}

impl ReplacedList {
    /// Returns the present items of the list, if the object has it.
    fn read(&self, now: &Map<String, Value>) -> Option<Vec<String>> {
        // A new object has the list as the call that makes it gives it.
        if self.is_object && !now.contains_key(self.parameter) {
            let is_on = |value: &Value| ON.contains(&to_text(value).as_str());
            return Some(now.iter().filter(|(_, value)| is_on(value)).map(|(name, _)| name.clone()).collect());
        }
        match now.get(self.parameter)? {
            Value::Array(items) => Some(items.iter().map(to_text).collect()),
            text => Some(list_items(&to_text(text)).map(str::to_owned).collect()),
        }
    }
}

impl<'c> GuestOption<'c> {
    /// Returns the networks and disks that a parameter changes.
    fn find(parameter: &'c str, value: &'c str) -> Vec<Self> {
        let option = |name: &'c str, new| {
            let kind = match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
                "net" => GuestOptionKind::Network,
                "mp" => GuestOptionKind::MountPoint,
                "rootfs" | "scsi" | "virtio" | "sata" | "ide" | "efidisk" | "tpmstate" => GuestOptionKind::Disk,
                _ => return None,
            };
            Some(Self { name, parameter, new, kind })
        };
        match parameter {
            "delete" | "idlist" => list_items(value).filter_map(|name| option(name, None)).collect(),
            _ => option(parameter, Some(value)).into_iter().collect(),
        }
    }

    /// Returns whether the call brings a card of the guest under its firewall.
    fn begins_firewall(&self, old: &str) -> bool {
        let begins = self.new.is_some_and(|new| is_on(new, "firewall")) && !is_on(old, "firewall");
        self.kind == GuestOptionKind::Network && begins
    }

    /// Returns the reason if the guest loses something that it has now.
    fn find_loss(&self, old: &str) -> Option<&'static str> {
        let Some(new) = self.new else {
            return match self.kind {
                GuestOptionKind::Network => Some(NETWORK_ENDS),
                _ => (!is_optical(old)).then_some(DISK_ENDS),
            };
        };
        let differs = |key: &str| find_part(old, key) != find_part(new, key);
        match self.kind {
            GuestOptionKind::Network if is_on(old, "firewall") && !is_on(new, "firewall") => Some(FIREWALL_ENDS),
            GuestOptionKind::Network => {
                let is_cut = is_on(new, "link_down") && !is_on(old, "link_down");
                (is_cut || NETWORK_KEYS.into_iter().any(differs)).then_some(NETWORK_ENDS)
            }
            GuestOptionKind::MountPoint if is_on(old, "backup") && !is_on(new, "backup") => Some(BACKUP_ENDS),
            _ => {
                let (now, then) = (find_volume(old), find_volume(new));
                ((now != then || then.and_then(parse_new_volume).is_some()) && !is_optical(old)).then_some(DISK_ENDS)
            }
        }
    }
}

fn is_optical(value: &str) -> bool {
    find_part(value, "media") == Some("cdrom")
}

/// Returns whether a part of a property string is on. (PVE: it is off by default.)
fn is_on(value: &str, key: &str) -> bool {
    let parts = value.split(',').filter_map(|part| part.trim().split_once('='));
    parts.filter(|(given, _)| *given == key).any(|(_, on)| ON.contains(&on))
}

impl PlannedCall<'_> {
    /// Returns whether the call deletes or limits the API token of this server, or its user.
    pub(super) fn limits_own_access(&self) -> bool {
        let settings = self.cluster.cluster.settings();
        let is_own = |user: &str, token: Option<&str>| {
            user == settings.user && token.is_none_or(|token| token == settings.token_id)
        };
        let segments: Vec<_> = self.path.segments().collect();
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let is_named = match segments.as_slice() {
            ["access", "users", user] => is_own(user, None),
            ["access", "users", user, "token", token] => is_own(user, Some(token)),
            _ => false,
        };
        // A new secret and an end of the token or its user end the access too.
        let limits = ["enable", "expire", "groups", "privsep", "regenerate", "delete"];
        match self.method {
            Method::Delete => is_named,
            Method::Put if self.path.as_str() == "/access/acl" => {
                let items = |name: &'static str| {
                    self.params.iter().filter(move |(given, _)| *given == name).flat_map(|(_, value)| list_items(value))
                };
                let is_removed = items("delete").any(|on| ON.contains(&on));
                is_removed
                    && (items("users").any(|user| is_own(user, None))
                        || items("tokens")
                            .any(|token| token.split_once('!').is_some_and(|(user, token)| is_own(user, Some(token)))))
            }
            Method::Put => is_named && self.params.names().any(|name| limits.contains(&name)),
            _ => false,
        }
    }

    /// Returns whether the call takes away an address by which this server reaches the cluster.
    pub(super) fn removes_own_address(&self, state: &ObjectState<'_>) -> bool {
        let Some(Ok(now)) = state.options.as_ref().filter(|_| self.facts().contains(&Fact::AddressFamilies)) else {
            return false;
        };
        let endpoints = &self.cluster.cluster.settings().endpoints;
        let is_own = |address: &str| endpoints.iter().any(|endpoint| endpoint.host.eq_ignore_ascii_case(address));
        let lost = find_family_changes(now, &self.params);
        lost.iter().any(|change| change.loses_address() && change.address_before().is_some_and(is_own))
    }
}

impl ClusterHandle<'_> {
    /// Returns the parameters of a change of options that the object has with the same values now. Returns nothing if the
    /// object can't be read.
    pub(super) fn find_kept_options(&self, path: &ApiPath, params: &ApiParams) -> Vec<String> {
        let now: Result<Map<String, Value>, NotKnown> = ObjectReader::new(self).read_value(path.clone());
        let Ok(now) = now else { return Vec::new() };
        let is_kept = |(name, value): &(&str, &str)| now.get(*name).is_some_and(|now| to_text(now) == *value);
        params.iter().filter(is_kept).map(|(name, _)| name.to_owned()).collect()
    }

    /// Returns whether the firewall of a guest may drop what reaches its cards under the firewall. What can't be read
    /// counts as yes.
    fn may_firewall_drop(&self, config: &ApiPath, reader: &ObjectReader<'_>) -> bool {
        let segments: Vec<_> = config.segments().map(|segment| segment.into_owned()).collect();
        let read = |path: Option<ApiPath>| -> Option<Map<String, Value>> {
            self.forecast_options(&path?, &|path| reader.read_value(path.clone())).ok()
        };
        let is_enabled = |options: &Map<String, Value>| options.get("enable").is_some_and(is_true);
        let of_cluster = read(Some(ApiPath::from_static("/cluster/firewall/options")));
        if of_cluster.is_some_and(|options| !is_enabled(&options)) {
            return false;
        }
        let Some(own) = read(path_below_guest(&segments, &["firewall", "options"])) else { return true };
        // (PVE: a guest drops incoming traffic by default, and accepts outgoing traffic.)
        let is_open = |name: &str, default: &'static str| {
            own.get(name).map_or(default.to_owned(), to_text).eq_ignore_ascii_case("ACCEPT")
        };
        is_enabled(&own) && !(is_open("policy_in", "DROP") && is_open("policy_out", "ACCEPT"))
    }

    /// Looks up the state on which a change depends. Returns the parameters that raise its risk, with the reasons.
    pub(super) fn find_state_risks(&self, change: &StateChange<'_>) -> Vec<(String, &'static str)> {
        let settings = self.cluster.settings();
        let own_token = format!("{}!{}", settings.user, settings.token_id);
        let raise = |parameter: &str, reason| vec![(parameter.to_owned(), reason)];
        let reader = ObjectReader::new(self);
        match change {
            StateChange::GuestOptions { config, options } => {
                let now: Result<Map<String, Value>, NotKnown> =
                    self.forecast_options(config, &|path| reader.read_before(path.clone()));
                let find_loss = |option: &GuestOption<'_>| match &now {
                    Ok(now) => now.get(option.name).and_then(|old| option.find_loss(&to_text(old))),
                    Err(_) if option.kind == GuestOptionKind::Network => Some(NETWORK_ENDS),
                    Err(_) => Some(DISK_ENDS),
                };
                let begins = |option: &GuestOption<'_>| {
                    let old = now.as_ref().ok().and_then(|now| now.get(option.name));
                    old.is_some_and(|old| option.begins_firewall(&to_text(old)))
                };
                let drops = options.iter().any(begins) && self.may_firewall_drop(config, &reader);
                let find = |option: &GuestOption<'_>| {
                    find_loss(option).or_else(|| (drops && begins(option)).then_some(FIREWALL_BEGINS))
                };
                options.iter().filter_map(|option| Some((option.parameter.to_owned(), find(option)?))).collect()
            }
            StateChange::List { path, list, items } => {
                let now: Result<Map<String, Value>, NotKnown> =
                    self.forecast_options(path, &|path| reader.read_value(path.clone()));
                // An object without the list has another selection, which the list replaces.
                let before = now.ok().and_then(|now| list.read(&now));
                let keeps_all = before.is_some_and(|before| before.iter().all(|item| items.contains(item)));
                if keeps_all { Vec::new() } else { raise(list.parameter, list.reason) }
            }
            StateChange::HaGuest { status, reason, .. } => {
                if let Some(is_managed) = self.forecast_ha(status) {
                    return if is_managed { raise("vmid", reason) } else { Vec::new() };
                }
                let now: Result<Map<String, Value>, NotKnown> = reader.read_value(status.clone());
                let is_managed = |now: Map<String, Value>| {
                    now.get("ha").and_then(|ha| ha.get("managed")).is_some_and(|on| ON.contains(&to_text(on).as_str()))
                };
                if now.map_or(true, is_managed) { raise("vmid", reason) } else { Vec::new() }
            }
            StateChange::Interface { path, params } => {
                let now: Result<Map<String, Value>, NotKnown> =
                    self.forecast_options(path, &|path| reader.read_value(path.clone()));
                match now {
                    Ok(now) => {
                        let changes = find_family_changes(&now, params);
                        let lost = changes.iter().find(|change| change.loses_address());
                        lost.map(|change| (change.family.cidr.to_owned(), ADDRESS_ENDS)).into_iter().collect()
                    }
                    Err(_) => raise("cidr", ADDRESS_ENDS),
                }
            }
            StateChange::IpSetMember(path) => {
                let now: Result<Map<String, Value>, NotKnown> =
                    self.forecast_options(path, &|path| reader.read_value(path.clone()));
                let is_out = |now: Map<String, Value>| {
                    now.get("nomatch").is_some_and(|nomatch| ON.contains(&to_text(nomatch).as_str()))
                };
                if now.map_or(true, is_out) { raise("nomatch", NOMATCH_ENDS) } else { Vec::new() }
            }
            StateChange::Token { id, parameter } if *id == own_token => raise(parameter, TOKEN_GAINS),
            StateChange::Groups { user } if *user == settings.user => raise("groups", TOKEN_GAINS),
            StateChange::NewToken { user } if *user == settings.user => raise("tokenid", SECOND_TOKEN),
            StateChange::Token { .. } | StateChange::Groups { .. } | StateChange::NewToken { .. } => Vec::new(),
            StateChange::Role { name } => {
                let access = AccessState::read(self, &reader);
                let has_role = access.is_none_or(|access| {
                    let is_own = |row: &Map<String, Value>| access.concerns(row, &settings.user, &own_token);
                    access.grants.iter().any(|row| text_of(row, "roleid") == name && is_own(row))
                });
                if has_role { raise("privs", TOKEN_GAINS) } else { Vec::new() }
            }
            StateChange::Grant(params) => {
                let value = |name: &str| {
                    let values = params.iter().filter(|(given, _)| *given == name);
                    values.map(|(_, value)| value).collect::<Vec<_>>().join(",")
                };
                let (users, groups, tokens) = (value("users"), value("groups"), value("tokens"));
                let access = AccessState::read(self, &reader);
                let may_be_member =
                    |group| access.as_ref().is_none_or(|access| access.is_member(&settings.user, group));
                let is_own = list_items(&tokens).any(|token| token == own_token)
                    || list_items(&users).any(|user| user == settings.user)
                    || list_items(&groups).any(may_be_member);
                if is_own {
                    return raise(if access.is_some() { "roles" } else { "path" }, TOKEN_GAINS);
                }
                let Some(access) = access else { return raise("path", INHERITED_IS_HIDDEN) };
                let grant = Grant { path: &value("path"), roles: &value("roles") };
                let loses = list_items(&users).any(|user| access.loses_inherited(&grant, Grantee::User(user)))
                    || list_items(&groups).any(|group| access.loses_inherited(&grant, Grantee::Group(group)))
                    || list_items(&tokens).any(|token| access.loses_inherited(&grant, Grantee::Token(token)));
                if loses { raise("path", INHERITED_IS_LOST) } else { Vec::new() }
            }
        }
    }
}

impl ClusterHandle<'_> {
    /// Returns whether the HA manager manages a guest after the earlier calls of the list, where they decide it.
    fn forecast_ha(&self, status: &ApiPath) -> Option<bool> {
        let vmid = status.segments().nth(3)?;
        let resource = ApiPath::from_segments(&["cluster", "ha", "resources", &vmid]).ok()?;
        match self.is_made_before(&resource) {
            true => Some(true),
            false => self.find_planned_guest(&vmid).map(|_| false),
        }
    }
}

/// The permissions of a cluster, as far as the API token sees all of them.
struct AccessState {
    grants: Vec<Map<String, Value>>,
    users: Option<Vec<Map<String, Value>>>,
    roles: Option<Vec<Map<String, Value>>>,
}

/// A role on a path.
struct Grant<'g> {
    path: &'g str,
    roles: &'g str,
}

/// The receiver of a permission.
#[derive(Clone, Copy)]
enum Grantee<'g> {
    User(&'g str),
    Group(&'g str),
    Token(&'g str),
}

impl AccessState {
    /// Reads the permissions. Returns `None` if they can't be read, or if the token may not see all of them.
    fn read(cluster: &ClusterHandle<'_>, reader: &ObjectReader<'_>) -> Option<Self> {
        let privileges = cluster.look_up_token_privileges().ok()?;
        // (PVE: others see only the paths whose permissions they may change.)
        if !privileges.holds("/access", "Sys.Audit") && !privileges.holds_everywhere_below("/", "Permissions.Modify") {
            return None;
        }
        let mut full = ApiParams::new();
        full.push("full", "1");
        Some(Self {
            grants: reader.read_value(ApiPath::from_static("/access/acl")).ok()?,
            users: reader.read(ApiPath::from_static("/access/users"), full).ok(),
            roles: reader.read_value(ApiPath::from_static("/access/roles")).ok(),
        })
    }

    /// Returns whether a user is in a group, or may be in it.
    fn is_member(&self, user: &str, group: &str) -> bool {
        let Some(users) = &self.users else { return true };
        let is_member = |row: &Map<String, Value>| list_items(text_of(row, "groups")).any(|one| one == group);
        users.iter().any(|row| text_of(row, "userid") == user && is_member(row))
    }

    /// Returns whether two groups share a user, or may share one.
    fn share_member(&self, one: &str, other: &str) -> bool {
        let Some(users) = &self.users else { return true };
        one == other
            || users.iter().any(|row| {
                let groups: Vec<&str> = list_items(text_of(row, "groups")).collect();
                groups.contains(&one) && groups.contains(&other)
            })
    }

    /// Returns whether a permission is one of this user or token.
    fn concerns(&self, row: &Map<String, Value>, user: &str, token: &str) -> bool {
        let id = text_of(row, "ugid");
        match text_of(row, "type") {
            "user" => id == user,
            "token" => id == token,
            _ => self.is_member(user, id),
        }
    }

    /// Returns whether a grant takes away a permission that its receiver inherits. (PVE: the nearest path with a
    /// permission counts alone, and on one path that of the user counts before those of the groups.)
    fn loses_inherited(&self, grant: &Grant<'_>, grantee: Grantee<'_>) -> bool {
        let path = canonical_acl_path(grant.path);
        let is_of_grantee = |row: &&Map<String, Value>| {
            let (id, is_here) = (text_of(row, "ugid"), canonical_acl_path(text_of(row, "path")) == path);
            match (grantee, text_of(row, "type")) {
                (Grantee::User(user), "user") => id == user && !is_here,
                (Grantee::User(user), "group") => self.is_member(user, id),
                (Grantee::Group(group), "group") => !is_here && self.share_member(group, id),
                (Grantee::Group(group), "user") => !is_here && self.is_member(id, group),
                (Grantee::Token(token), "token") => id == token && !is_here,
                _ => false,
            }
        };
        let is_inherited = |row: &&Map<String, Value>| {
            let above = canonical_acl_path(text_of(row, "path"));
            let prefix = if above == "/" { "/".to_owned() } else { format!("{above}/") };
            // (PVE: a permission without `propagate` holds on its own path alone.)
            above == path || (path.starts_with(&prefix) && row.get("propagate").is_none_or(|on| to_text(on) != "0"))
        };
        // A permission of the same kind on the same path has replaced the inherited ones before.
        let has_replaced = |row: &&Map<String, Value>| {
            let (kind, id) = match grantee {
                Grantee::User(user) => ("user", user),
                Grantee::Group(_) => return false,
                Grantee::Token(token) => ("token", token),
            };
            text_of(row, "type") == kind
                && text_of(row, "ugid") == id
                && canonical_acl_path(text_of(row, "path")) == path
        };
        let mut inherited = self.grants.iter().filter(is_of_grantee).filter(is_inherited);
        !self.grants.iter().any(|row| has_replaced(&row))
            && inherited.any(|row| !self.covers(grant.roles, text_of(row, "roleid")))
    }

    /// Returns whether roles have all privileges of another one.
    fn covers(&self, roles: &str, other: &str) -> bool {
        if list_items(roles).any(|role| role == other) || other == "NoAccess" {
            return true;
        }
        let Some(known) = &self.roles else { return false };
        let privileges = |name: &str| {
            let row = known.iter().find(|row| text_of(row, "roleid") == name);
            row.map(|row| list_items(text_of(row, "privs")).map(str::to_owned).collect::<Vec<_>>())
        };
        let granted: Vec<String> = list_items(roles).filter_map(privileges).flatten().collect();
        privileges(other).is_some_and(|lost| lost.iter().all(|privilege| granted.contains(privilege)))
    }
}

/// Returns an ACL path without a slash at its end or twice.
fn canonical_acl_path(path: &str) -> String {
    format!("/{}", path.split('/').filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join("/"))
}
