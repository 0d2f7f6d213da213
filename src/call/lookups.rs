//! Reads that the server makes by itself. Each one is a planned call, authorized and recorded in the audit log.

use super::confirm::Confirmed;
use super::denied_call::DeniedCall;
use super::handle::{ClusterHandle, GuestConfig, ListedNode};
use super::lookup_error::LookupError;
use super::planned_call::{CallPurpose, PlannedCall};
use super::shared_object::{Members, SharedObject};
use crate::base::json_scan::{find_member, find_string, walk};
use crate::policy::GuestSelector;
use crate::pve::client::address_check::AddressCheck;
use crate::pve::client::cluster::ApiResponse;
use crate::pve::client::row_compactor::KeepMember;
use crate::pve::error::PveError;
use crate::pve::guests::{Guest, GuestKind, GuestList};
use crate::pve::knowledge::answers::KnownAnswer;
use crate::pve::knowledge::filtered_lists;
use crate::pve::params::ApiParams;
use crate::pve::path::{ApiPath, is_placeholder};
use crate::pve::token_privileges::TokenPrivileges;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// More than any cluster has. It bounds the memory of a hostile answer.
const MAX_NODES: usize = 1_000;

/// The most protected guests whose configs are read for one call.
const MAX_PROTECTED_READS: usize = 32;

/// The time for the name of a guest. (PVE: a node that is off is given up after three seconds.)
const NAME_TIME: Duration = Duration::from_secs(8);

/// The time for the check of all addresses of a cluster.
const ADDRESS_TIME: Duration = Duration::from_secs(10);

/// Name in the config of a guest.
pub(super) enum ConfiguredName {
    Name(String),
    Nameless,
    /// The answer is not a config.
    Unknown,
    /// No node can have the name that the list gives the guest's node.
    NoNode,
}

impl<'a> ClusterHandle<'a> {
    /// Reads a fixed path for a tool.
    pub fn read(&self, path: &'static str) -> Result<ApiResponse, LookupError> {
        let read = self.authorize_read(CallPurpose::ToolRead, ApiPath::from_static(path), ApiParams::new())?;
        let response = read.send_read()?;
        Ok(self.redact_response(response))
    }

    /// Reads a fixed path for a tool that checks the rows of the list by itself and needs their members of `keep`.
    pub fn read_list(
        &self,
        path: &'static str,
        params: &ApiParams,
        keep: KeepMember,
    ) -> Result<ApiResponse, LookupError> {
        let read = self.authorize_read(CallPurpose::ToolRead, ApiPath::from_static(path), params.clone())?;
        let response = read.send_list_read(keep)?;
        Ok(self.redact_response(response))
    }

    /// Reads the guests of the cluster for a tool. Their texts are not redacted.
    pub fn read_guests(&self) -> Result<GuestList, LookupError> {
        self.fetch_guests(CallPurpose::ToolRead)
    }

    /// Looks up a path of this program for a prompt, a resource or a completion. The look-up ends at `deadline`.
    pub fn look_up_until(
        &self,
        deadline: Instant,
        path: ApiPath,
        params: ApiParams,
    ) -> Result<ApiResponse, LookupError> {
        let kind = KnownAnswer::of_path(path.as_str(), false);
        let read = self.authorize_read(CallPurpose::Lookup, path, params)?;
        let response = kind.correct(read.send_read_until(deadline)?);
        Ok(self.redact_response(response))
    }

    /// Asks each address of the cluster by itself, if it has several.
    pub fn check_addresses(&self) -> Result<Vec<AddressCheck>, LookupError> {
        if self.cluster.settings().endpoints.len() < 2 {
            return Ok(Vec::new());
        }
        let path = ApiPath::from_static("/cluster/status");
        let read = self.authorize_read(CallPurpose::ToolRead, path, ApiParams::new())?;
        Ok(read.check_addresses(self.read_deadline()?.min(Instant::now() + ADDRESS_TIME))?)
    }

    /// Looks up every guest that the token sees, once.
    pub(super) fn look_up_guests(&self) -> Result<&[Guest], Arc<LookupError>> {
        let guests = self.guests.get_or_init(|| self.fetch_guests(CallPurpose::Lookup).map_err(Arc::new));
        guests.as_deref().map_err(Arc::clone)
    }

    /// Looks up the nodes, once.
    pub(super) fn look_up_nodes(&self) -> Result<&[ListedNode], Arc<LookupError>> {
        let nodes = self.nodes.get_or_init(|| self.fetch_nodes().map_err(Arc::new));
        nodes.as_deref().map_err(Arc::clone)
    }

    /// Looks up the config of the guest of a complete path, and keeps it. Returns whether it shows that the guest is
    /// there.
    pub(super) fn look_up_guest_config(&self, node: &str, kind: GuestKind, vmid: u32) -> Result<bool, LookupError> {
        let Some(path) = guest_config_path(node, kind, vmid) else { return Ok(false) };
        let Ok(read) = self.authorize_read(CallPurpose::Lookup, path.clone(), ApiParams::new()) else {
            return Ok(false);
        };
        let response = match read.send_read() {
            Ok(response) => response,
            Err(PveError::MalformedResponse { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let data = response.data();
        // (PVE: every config has a digest.)
        if find_string(data, "digest").is_none() {
            return Ok(false);
        }
        let guest = Guest::from_config(vmid, kind, node, data);
        self.guest_config.get_or_init(|| GuestConfig { path, data: data.to_owned(), guest });
        Ok(true)
    }

    /// Looks up the name of a guest in its config, within the time that a look-up beside others has.
    pub(super) fn look_up_guest_name(&self, guest: &Guest) -> Result<ConfiguredName, LookupError> {
        let Some(path) = guest_config_path(&guest.node, guest.kind, guest.vmid) else {
            return Ok(ConfiguredName::NoNode);
        };
        let read = self.authorize_read(CallPurpose::Lookup, path, ApiParams::new())?;
        let response = read.send_read_until(self.read_deadline()?.min(Instant::now() + NAME_TIME))?;
        Ok(match find_string(response.data(), guest.kind.name_option()).map(Cow::into_owned) {
            Some(name) if !name.is_empty() => ConfiguredName::Name(name),
            // (PVE: every config has a digest.)
            _ if find_string(response.data(), "digest").is_some() => ConfiguredName::Nameless,
            _ => ConfiguredName::Unknown,
        })
    }

    /// Looks up the version of a node, as far as it says.
    pub(super) fn look_up_version(&self, path: ApiPath) -> Result<Option<String>, LookupError> {
        let read = self.authorize_read(CallPurpose::Lookup, path, ApiParams::new())?;
        Ok(find_string(read.send_read()?.data(), "version").map(Cow::into_owned))
    }

    /// Looks up the privileges of the API token, once.
    pub(super) fn look_up_token_privileges(&self) -> Result<&TokenPrivileges, Arc<LookupError>> {
        let privileges = self.token_privileges.get_or_init(|| self.fetch_token_privileges().map_err(Arc::new));
        privileges.as_deref().map_err(Arc::clone)
    }

    /// Reads the privileges of the API token, and keeps them for the explanations of the next minute.
    fn fetch_token_privileges(&self) -> Result<Arc<TokenPrivileges>, LookupError> {
        let response = self.look_up("/access/permissions", &ApiParams::new())?;
        let privileges = Arc::new(TokenPrivileges::from_data(response.data()));
        self.cluster.keep_token_privileges(privileges.clone());
        Ok(privileges)
    }

    /// Returns the privileges that would show more rows of the list of this path, or `None` if the token's privileges are
    /// not known. `kind` is the value of the parameter `type` or `content`.
    pub fn find_missing_privileges(&self, template: &str, path: &ApiPath, kind: Option<&str>) -> Option<Vec<String>> {
        let privileges = match self.cluster.recent_token_privileges() {
            Some(privileges) => privileges,
            None => self.fetch_token_privileges().ok()?,
        };
        let segments: Vec<_> = path.segments().collect();
        let segment = |place: usize| segments.get(place).map_or("", |segment| segment.as_ref());
        Some(filtered_lists::find_missing(template, segment(1), segment(3), kind, &privileges))
    }

    /// Looks up the guests that a shared object has now. An object that can't be read may have any guest.
    pub(super) fn look_up_members(&self, object: &SharedObject) -> Members {
        if let SharedObject::Volumes(volumes) = object {
            return self.find_protected_users(volumes).map_or(Members::AnyGuest, Members::Listed);
        }
        let Some((segments, list)) = object.member_list() else {
            return if *object == SharedObject::None { Members::Listed(Vec::new()) } else { Members::AnyGuest };
        };
        let read = || {
            let path = ApiPath::from_segments(&segments).ok()?;
            let read = self.authorize_read(CallPurpose::Lookup, path, ApiParams::new()).ok()?;
            Some(Members::from_list(find_member(read.send_read().ok()?.data(), list)))
        };
        read().unwrap_or(Members::AnyGuest)
    }

    /// Looks up the protected guests whose configs name one of these volumes. Returns `None` if not all of them can be read.
    fn find_protected_users(&self, volumes: &[String]) -> Option<Vec<u32>> {
        let policy = self.policy();
        let guests = self.look_up_guests().ok()?;
        let shows = |pool: Option<&str>| {
            self.look_up_token_privileges()
                .is_ok_and(|token| token.shows_all_guests() && pool.is_none_or(|pool| token.shows_pool(pool)))
        };
        let sees_all = policy.protect().all(|selector| match selector {
            GuestSelector::Vmid(vmid) => guests.iter().any(|guest| guest.vmid == *vmid),
            GuestSelector::Pool(pool) => shows(Some(pool)),
            GuestSelector::Tag(_) => shows(None),
        });
        if !sees_all {
            return None;
        }
        let protected: Vec<&Guest> = guests.iter().filter(|guest| self.is_protected(guest)).collect();
        if protected.len() > MAX_PROTECTED_READS {
            return None;
        }
        let mut users = Vec::new();
        for guest in protected {
            let path = guest_config_path(&guest.node, guest.kind, guest.vmid)?;
            let read = self.authorize_read(CallPurpose::Lookup, path, ApiParams::new()).ok()?;
            let config: Map<String, Value> = serde_json::from_str(read.send_read().ok()?.data()).ok()?;
            let names_one = |text: &str| volumes.iter().any(|volume| text.contains(volume));
            if config.values().any(|value| value.as_str().is_some_and(names_one)) {
                users.push(guest.vmid);
            }
        }
        Some(users)
    }

    /// Looks up a path.
    pub(super) fn look_up(&self, path: &'static str, params: &ApiParams) -> Result<ApiResponse, LookupError> {
        let read = self.authorize_read(CallPurpose::Lookup, ApiPath::from_static(path), params.clone())?;
        Ok(read.send_read()?)
    }

    /// Plans and authorizes a read that the server makes by itself.
    pub(super) fn authorize_read(
        &self,
        purpose: CallPurpose<'static>,
        path: ApiPath,
        params: ApiParams,
    ) -> Result<Confirmed<'_>, DeniedCall> {
        let authorized = PlannedCall::own_read(self, purpose, path, params).authorize()?;
        Ok(authorized.without_confirmation().expect("no policy demands a confirmation for a plain read"))
    }

    pub(super) fn fetch_guests(&self, purpose: CallPurpose<'static>) -> Result<GuestList, LookupError> {
        let mut params = ApiParams::new();
        params.push("type", "vm");
        let read = self.authorize_read(purpose, ApiPath::from_static("/cluster/resources"), params)?;
        Ok(read.send_guests_read()?)
    }

    fn fetch_nodes(&self) -> Result<Vec<ListedNode>, LookupError> {
        let response = self.look_up("/nodes", &ApiParams::new())?;
        Ok(self.keep_nodes(&response))
    }

    /// Returns whether a list of the nodes, read until `deadline`, does not have a node.
    pub(super) fn lacks_node(&self, name: &str, deadline: Instant) -> bool {
        if self.cluster.has_recent_node(name) {
            return false;
        }
        let Ok(response) = self.look_up_until(deadline, ApiPath::from_static("/nodes"), ApiParams::new()) else {
            return false;
        };
        let nodes = self.keep_nodes(&response);
        !nodes.is_empty() && !nodes.iter().any(|node| node.name == name)
    }

    /// Parses a list of the nodes, and keeps their names for a minute.
    fn keep_nodes(&self, response: &ApiResponse) -> Vec<ListedNode> {
        let mut nodes = Vec::new();
        walk(response.data(), &mut |_, row| {
            if let Some(name) = find_string(row, "node").filter(|name| !name.is_empty()) {
                let status = find_string(row, "status").unwrap_or("unknown".into());
                nodes.push(ListedNode { name: name.into_owned(), status: status.into_owned() });
            }
            nodes.len() < MAX_NODES
        });
        self.cluster.keep_node_names(nodes.iter().map(|node| node.name.clone()).collect());
        nodes
    }
}

/// Returns the path of a guest's config, or `None` for a placeholder. The name of the node is untrusted, so each part is a
/// segment.
fn guest_config_path(node: &str, kind: GuestKind, vmid: u32) -> Option<ApiPath> {
    let path = ApiPath::from_segments(&["nodes", node, kind.as_str(), &vmid.to_string(), "config"]);
    path.ok().filter(|_| !is_placeholder(node))
}

#[cfg(test)]
mod tests {
    use crate::call::operation::find_embedded_operation;
    use crate::policy::{Risk, RiskKind};
    use crate::pve::Method;
    use crate::pve::path::ApiPath;
    use crate::pve::task::Upid;

    #[test]
    fn every_own_read_changes_nothing() {
        let upid = Upid::parse("UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:").expect("a UPID");
        let fixed = ["/version", "/nodes", "/cluster/resources", "/access/permissions"].map(ApiPath::from_static);
        let of_prompts = [
            "/cluster/status",
            "/cluster/ha/status/current",
            "/cluster/replication",
            "/cluster/backup",
            "/cluster/tasks",
            "/pools",
            "/nodes/pve1/tasks",
            "/nodes/pve1/certificates/info",
            "/nodes/pve1/replication",
            "/nodes/pve1/apt/update",
            "/nodes/pve1/storage/local/content",
            "/nodes/pve1/qemu/100/status/current",
            "/nodes/pve1/lxc/100/config",
            "/nodes/pve1/qemu/100/pending",
            "/nodes/pve1/lxc/100/snapshot",
            "/nodes/pve1/qemu/100/agent/info",
        ]
        .map(ApiPath::from_static);
        let of_task = ["status", "log"].map(|part| upid.path_to(part));
        for path in fixed.into_iter().chain(of_prompts).chain(of_task) {
            let operation = find_embedded_operation(Method::Get, &path).unwrap_or_else(|| panic!("{path} is unknown"));
            assert_eq!(operation.risk(), Risk::READ, "{path}");
        }
        // Its answer has a key, but only the state and the date are read.
        let subscription = ApiPath::from_static("/nodes/pve1/subscription");
        let operation = find_embedded_operation(Method::Get, &subscription).expect("a known path");
        assert_eq!(operation.risk(), Risk { kind: RiskKind::ReadSecret, ..Risk::READ });
    }
}
