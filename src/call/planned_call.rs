//! The plan of one API call.

use super::affected::AffectedGuests;
use super::audit::AuditedCall;
use super::handle::{ClusterHandle, ListedNode, PlannedGuest};
use super::lookup_error::LookupError;
use super::operation::find_embedded_operation;
use super::spec::CallSpec;
use crate::audit::AuditEvent;
use crate::base::list_text::list_items;
use crate::policy::{Risk, RiskKind, RiskReason};
use crate::pve::Method;
use crate::pve::guests::{Guest, GuestKind};
use crate::pve::knowledge::passwords::SecretPart;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::token_privileges::TokenPrivileges;
use std::sync::Arc;

/// An API call that is complete and checked: the path is resolved, the parameters are encoded and the risk is known.
///
/// The call can't be sent before [`PlannedCall::authorize`] and [`Authorized::confirm`](super::Authorized::confirm).
pub struct PlannedCall<'a> {
    pub(super) cluster: &'a ClusterHandle<'a>,
    pub(super) purpose: CallPurpose<'a>,
    pub(super) method: Method,
    pub(super) path: ApiPath,
    pub(super) params: ApiParams,
    /// The options of which the caller gave the change of the present value.
    pub(super) relative_options: Vec<String>,
    pub(super) operation: PlannedOperation,
    pub(super) risk: Risk,
    /// What the parameters add to the risk of the operation.
    pub(super) risk_reasons: Vec<RiskReason>,
    /// Parameters that the state of the object adds: the HA manager does its guest's shutdown as with `forceStop`.
    pub(super) as_if_given: Vec<&'static str>,
    pub(super) affected: AffectedGuests,
    /// The cluster's guests, where the policy depends on them.
    pub(super) guests: Option<GuestView<'a>>,
    /// Corrections of the path and the parameters, as the caller may read them.
    pub(super) notes: Vec<String>,
    /// Notes on the space that storages may lack for the call.
    pub(super) space_notes: Vec<String>,
    /// The guest that the path of a change means, where the caller left its node or its number out. An answer that
    /// names the guest does not need it.
    pub(super) location: Option<String>,
    /// Only the rows of software-defined networks are wanted of the list of all resources.
    pub(super) is_sdn_list: bool,
}

/// The reason for an API call.
#[derive(Clone, Copy)]
pub(super) enum CallPurpose<'a> {
    /// The caller asked for it.
    Requested(CallSpec<'a>),
    /// A tool reads a fixed path.
    ToolRead,
    /// The server looks something up for another call.
    Lookup,
}

/// Facts about the operation of a call.
pub(super) struct PlannedOperation {
    /// The path with placeholders. `None` if neither the embedded facts nor the cluster know the operation.
    pub(super) template: Option<String>,
    /// The embedded facts describe the same operation as the cluster.
    pub(super) is_known: bool,
    /// Empty if the operation is unknown.
    pub(super) summary: String,
    /// The risk of the operation without its parameters.
    pub(super) risk: Risk,
    /// The reason for the risk of the operation. Empty for a plain read, or if the operation is unknown.
    pub(super) risk_reason: &'static str,
    pub(super) privileges: String,
    /// Names and values of the parameters of the path.
    pub(super) path_values: Vec<(String, String)>,
    /// The sent parameters that the operation calls secrets.
    pub(super) secrets: Vec<(String, SecretPart)>,
    /// The operation needs no privilege, so Proxmox omits what the token may not see.
    pub(super) may_be_filtered: bool,
    /// The operation sets and unsets settings of an object. Others act without any parameter.
    pub(super) changes_settings: bool,
}

/// The guests and nodes of a cluster at the time of the plan.
#[derive(Clone)]
pub(super) struct GuestView<'a> {
    pub(super) guests: Result<&'a [Guest], Arc<LookupError>>,
    /// `None` where the call does not affect a whole node.
    pub(super) nodes: Option<Result<&'a [ListedNode], Arc<LookupError>>>,
    /// The part of the cluster that the token sees. `None` where no rule depends on it.
    pub(super) token: Option<Result<&'a TokenPrivileges, Arc<LookupError>>>,
}

impl PlannedOperation {
    /// Returns the value of a placeholder of the path.
    pub(super) fn path_value(&self, name: &str) -> Option<&str> {
        self.path_values.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn unknown() -> Self {
        Self {
            template: None,
            is_known: false,
            summary: String::new(),
            risk: Risk::UNKNOWN,
            risk_reason: "",
            privileges: String::new(),
            path_values: Vec::new(),
            secrets: Vec::new(),
            may_be_filtered: false,
            changes_settings: false,
        }
    }
}

impl<'a> PlannedCall<'a> {
    pub fn path(&self) -> &ApiPath {
        &self.path
    }

    /// Plans a read that the server makes by itself. The embedded facts determine its risk.
    pub(super) fn own_read(
        cluster: &'a ClusterHandle<'a>,
        purpose: CallPurpose<'a>,
        path: ApiPath,
        params: ApiParams,
    ) -> Self {
        let known = find_embedded_operation(Method::Get, &path);
        let template = known.map(|known| known.template());
        let risk = known.map_or(Risk::UNKNOWN, |known| known.risk());
        Self {
            cluster,
            purpose,
            method: Method::Get,
            operation: PlannedOperation {
                template: template.map(str::to_owned),
                is_known: known.is_some(),
                ..PlannedOperation::unknown()
            },
            affected: AffectedGuests::from_operation(&path, template, &params, risk),
            path,
            params,
            relative_options: Vec::new(),
            risk,
            risk_reasons: Vec::new(),
            as_if_given: Vec::new(),
            guests: None,
            notes: Vec::new(),
            space_notes: Vec::new(),
            location: None,
            is_sdn_list: false,
        }
    }

    /// Returns the corrections of the path and the parameters.
    pub fn into_notes(self) -> Vec<String> {
        self.notes
    }

    /// Returns whether a newer plan is of the same call, for which a confirmation holds. Its guest may have moved to
    /// another node, and its risk may be smaller.
    pub(super) fn is_same_call(&self, other: &Self) -> bool {
        let is_same_path = || {
            let (own, others): (Vec<_>, Vec<_>) = (self.path.segments().collect(), other.path.segments().collect());
            let is_guest = |path: &[_]| matches!(path, [top, _, kind, _, ..] if top == "nodes" && (kind == "qemu" || kind == "lxc"));
            own == others || (is_guest(&own) && is_guest(&others) && own[2..] == others[2..])
        };
        self.method == other.method
            && self.risk.max(other.risk) == self.risk
            && self.operation.template == other.operation.template
            && self.fixed_params() == other.fixed_params()
            && is_same_path()
    }

    /// Returns the parameters that do not depend on the state of the object.
    fn fixed_params(&self) -> Vec<(&str, String)> {
        let is_fixed = |name: &str| !self.relative_options.iter().any(|list| list == name);
        let fixed = self
            .params
            .iter()
            .filter(|(name, _)| self.relative_options.is_empty() || (is_fixed(name) && !matches!(*name, "digest")));
        let fixed = fixed.map(|(name, value)| match name {
            "delete" => (name, list_items(value).filter(|option| is_fixed(option)).collect::<Vec<_>>().join(",")),
            _ => (name, value.to_owned()),
        });
        fixed.filter(|(name, value)| *name != "delete" || !value.is_empty()).collect()
    }

    pub(super) fn audited(&self) -> AuditedCall<'_> {
        AuditedCall {
            cluster: self.cluster,
            method: self.method,
            path: &self.path,
            params: &self.params,
            template: self.operation.template.as_deref(),
            runs_commands: self.risk.kind == RiskKind::Execute,
        }
    }

    /// Returns the event under which the end of the call is recorded.
    pub(super) fn end_event(&self) -> AuditEvent {
        match self.purpose {
            CallPurpose::Lookup => AuditEvent::Lookup,
            _ if self.risk.is_read_only() => AuditEvent::Read,
            _ => AuditEvent::ChangeFinished,
        }
    }

    /// Returns whether the path names its object by its place in a list.
    pub(super) fn is_positional(&self) -> bool {
        self.operation.template.as_deref().is_some_and(|template| template.ends_with("/{pos}"))
    }

    /// Returns the parameters that are no secrets.
    pub(super) fn open_params(&self) -> ApiParams {
        let is_secret = |name: &str| self.operation.secrets.iter().any(|(secret, _)| secret == name);
        let mut params = ApiParams::new();
        self.params.iter().filter(|(name, _)| !is_secret(name)).for_each(|(name, value)| params.push(name, value));
        params
    }

    /// Returns the guest that the call makes.
    pub(super) fn created_guest(&self) -> Option<PlannedGuest> {
        let vmid = self.affected.named_vmids().iter().copied().find(|vmid| self.affected.creates(*vmid))?;
        let template = self.operation.template.as_deref()?;
        Some(PlannedGuest {
            kind: if template.starts_with("/nodes/{node}/qemu") { GuestKind::Qemu } else { GuestKind::Lxc },
            node: self.param("target").or(self.operation.path_value("node"))?.to_owned(),
            vmid,
            name: self.param("name").or(self.param("hostname")).unwrap_or_default().to_owned(),
        })
    }

    /// Returns whether the method may change something.
    pub(super) fn is_change(&self) -> bool {
        self.method != Method::Get
    }

    /// Returns method and path as they are sent.
    pub(super) fn operation_line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}
