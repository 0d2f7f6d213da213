//! The types of the route tables, and what several tables share.

use crate::error::ApiResult;
use crate::invocation::Invocation;
use crate::parameters::ParameterType::{Boolean, Integer, List, MaxText, OneOf, Text, Vmid};
use crate::parameters::{
    MAX, MIN, NODE_NAME, POOL_ID, PRUNE_BACKUPS, Parameter, RequestParams, STORAGE_ID, VMID_LIST, optional, required,
};
use crate::state::ClusterState;
use serde_json::Value;

/// An operation of the API.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// Path: `{name}` is a parameter, `a|b` one of two words. A last `{volume}` or `{cidr}` is the rest of the path.
    pub(crate) path: &'static str,
    /// True if the privileged daemon (pvedaemon) performs it, false if pveproxy does.
    pub(crate) protected: bool,
    pub(crate) access: Access,
    /// Parameters in groups, those of the path included.
    pub(crate) parameters: &'static [&'static [Parameter]],
    pub(crate) action: Action,
}

/// The privileges that an operation requires. Paths can have parameters.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// Any caller with a token. The handler decides what the caller can see or change.
    Anyone,
    /// `root@pam` with a ticket.
    RootOnly,
    /// Privileges and parameters as the API description tells them.
    Described,
    /// A login with a ticket; a token is not enough.
    TicketOnly,
    /// This privilege on this path.
    Privilege(&'static str, &'static str),
    /// One of these privileges on this path.
    AnyPrivilege(&'static str, &'static [&'static str]),
    /// As [`Access::AnyPrivilege`], but a refusal does not name them.
    AlternativePrivileges(&'static str, &'static [&'static str]),
}

/// The behaviour of an operation.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// Calls a function.
    Handler(fn(&mut ClusterState, &Invocation<'_>) -> ApiResult),
    /// Answers the names below the path, each in a row under this key.
    Directory(&'static str, &'static [&'static str]),
    /// Answers the same to every call.
    Fixed(fn() -> Value),
    /// Fails with this text.
    Refusal(&'static str),
}

use Access::{AnyPrivilege, Privilege};

impl Route {
    /// Returns the parameters in the path of a request if the path is the route's.
    pub(crate) fn match_path(&self, segments: &[String]) -> Option<RequestParams> {
        let mut params = RequestParams::new();
        let mut rest = segments.iter();
        for part in self.path.split('/').filter(|part| !part.is_empty()) {
            let segment = rest.next()?;
            match parameter_name(part) {
                Some(name @ ("volume" | "cidr")) => {
                    let value: Vec<&str> = [segment].into_iter().chain(rest.by_ref()).map(String::as_str).collect();
                    params.insert(name.into(), value.join("/").into());
                }
                Some(name) => drop(params.insert(name.into(), segment.as_str().into())),
                None if part.split('|').any(|word| word == segment) => {}
                None => return None,
            }
        }
        rest.next().is_none().then_some(params)
    }
}

/// Returns the name in `{name}`.
pub(crate) fn parameter_name(part: &str) -> Option<&str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

type ParameterGroups = &'static [&'static [Parameter]];

/// Creates the route of a GET that pveproxy performs.
pub(super) const fn get(path: &'static str, access: Access, parameters: ParameterGroups, action: Action) -> Route {
    Route { method: "GET", path, protected: false, access, parameters, action }
}

/// Creates the route of a GET that pvedaemon performs.
pub(super) const fn get_protected(
    path: &'static str,
    access: Access,
    parameters: ParameterGroups,
    action: Action,
) -> Route {
    Route { method: "GET", path, protected: true, access, parameters, action }
}

/// Creates the route of a POST, which pvedaemon performs.
pub(super) const fn post(path: &'static str, access: Access, parameters: ParameterGroups, action: Action) -> Route {
    Route { method: "POST", path, protected: true, access, parameters, action }
}

/// Creates the route of a PUT, which pvedaemon performs.
pub(super) const fn put(path: &'static str, access: Access, parameters: ParameterGroups, action: Action) -> Route {
    Route { method: "PUT", path, protected: true, access, parameters, action }
}

/// Creates the route of a DELETE, which pvedaemon performs.
pub(super) const fn delete(path: &'static str, access: Access, parameters: ParameterGroups, action: Action) -> Route {
    Route { method: "DELETE", path, protected: true, access, parameters, action }
}

/// Creates the route of an operation whose privileges and parameters the API description tells.
pub(super) const fn described(method: &'static str, path: &'static str, action: Action) -> Route {
    Route { method, path, protected: true, access: Access::Described, parameters: &[], action }
}

pub(super) const ANYONE: Access = Access::Anyone;
pub(super) const AUDIT: Access = Privilege("/", "Sys.Audit");
pub(super) const MODIFY: Access = Privilege("/", "Sys.Modify");
pub(super) const CEPH_AUDIT: Access = AnyPrivilege("/", &["Sys.Audit", "Datastore.Audit"]);
pub(super) const VM_AUDIT: Access = Privilege("/vms/{vmid}", "VM.Audit");

pub(super) const NODE_PARAM: &[Parameter] = &[required("node", NODE_NAME)];
pub(super) const GUEST_PARAMS: &[Parameter] = &[required("node", NODE_NAME), required("vmid", Vmid)];
/// Parameters of a time series.
#[rustfmt::skip]
pub(super) const TIMEFRAME_PARAMS: &[Parameter] = &[
    required("timeframe", OneOf(&["hour", "day", "week", "month", "year"])),
    optional("cf", OneOf(&["AVERAGE", "MAX"])),
];
/// Parameters of vzdump, also as a job.
#[rustfmt::skip]
pub(super) const BACKUP_PARAMS: &[Parameter] = &[
    optional("all", Boolean), optional("bwlimit", Integer(0, MAX)),
    optional("compress", OneOf(&["0", "1", "gzip", "lzo", "zstd"])), optional("dumpdir", Text),
    optional("exclude", Text), optional("exclude-path", List), optional("fleecing", Text),
    optional("ionice", Integer(0, 8)), optional("lockwait", Integer(0, MAX)),
    optional("mailnotification", OneOf(&["always", "failure"])), optional("mailto", Text),
    optional("mode", OneOf(&["snapshot", "suspend", "stop"])), optional("notes-template", MaxText(1024)),
    optional("notification-mode", OneOf(&["auto", "legacy-sendmail", "notification-system"])),
    optional("pbs-change-detection-mode", OneOf(&["legacy", "data", "metadata"])), optional("performance", Text),
    optional("pigz", Integer(MIN, MAX)), optional("pool", POOL_ID), optional("protected", Boolean),
    optional("prune-backups", PRUNE_BACKUPS), optional("quiet", Boolean), optional("remove", Boolean), optional("script", Text),
    optional("stdexcludes", Boolean), optional("stop", Boolean), optional("stopwait", Integer(0, MAX)),
    optional("storage", STORAGE_ID), optional("tmpdir", Text), optional("vmid", VMID_LIST),
    optional("zstd", Integer(MIN, MAX)),
];
