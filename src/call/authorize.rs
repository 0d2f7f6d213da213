//! The only place that asks the policy.

use super::affected::{AffectedGuests, AffectedScope};
use super::audit::AuditedCall;
use super::denied_call::{DenialCauses, DeniedCall, DeniedOperation};
use super::handle::ClusterHandle;
use super::lookup_error::LookupError;
use super::plan_error::PlanError;
use super::planned_call::{GuestView, PlannedCall};
use super::shared_object::SharedObject;
use crate::base::hint::Hint;
use crate::policy::{Action, Confirmer, Denial, EffectivePolicy, GuestSelector, ImpliedCall, ImplyingCall, Risk};
use crate::pve::Method;
use crate::pve::guests::Guest;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::schema::Operation;
use crate::pve::token_privileges::TokenPrivileges;
use crate::render::question::names_an_option;
use std::collections::HashSet;
use std::fmt::Write;

/// The most guests that a denial names.
const MAX_NAMED_GUESTS: usize = 5;

/// A planned call that the policy allows.
///
/// Only [`PlannedCall::authorize`] creates it.
pub struct Authorized<'a> {
    planned: PlannedCall<'a>,
}

impl<'a> PlannedCall<'a> {
    /// Asks the policy for the call. A denial is recorded in the audit log.
    pub fn authorize(self) -> Result<Authorized<'a>, DeniedCall> {
        let checked = check_operation(self.audited(), self.operation.template.as_deref(), self.risk);
        checked.map_err(|denied| match denied.reason {
            Denial::Exec { .. } | Denial::AccessLevel { .. } => {
                DeniedCall { causes: Some(Box::new(DenialCauses(self.risk_reasons.clone()))), ..denied }
            }
            _ => denied,
        })?;
        let check = check_protection(self.cluster.policy(), self.risk, &self.affected, self.guests.as_ref());
        check.map_err(|reason| deny(self.audited(), reason))?;
        Ok(Authorized { planned: self })
    }
}

impl<'a> Authorized<'a> {
    /// Rejects a change of settings that sets and unsets none. (PVE: no options specified, or nothing happens.)
    pub fn require_options(self) -> Result<Self, PlanError> {
        let planned = self.planned();
        // The pool of `PUT /pools` is named by a parameter.
        let is_option = |name: &str| (names_an_option(name) && name != "poolid") || matches!(name, "delete" | "revert");
        if planned.operation.changes_settings && !planned.params.names().any(is_option) {
            return Err(PlanError::NothingToChange);
        }
        Ok(self)
    }
}

impl ClusterHandle<'_> {
    /// Returns the reason why the caller may not use an operation on a path, if there is one. Nothing is recorded,
    /// because nothing is asked for. The guests that a call affects are not considered.
    pub fn find_denial(&self, operation: &Operation<'_>, path: &[&str]) -> Option<Denial> {
        let (method, template) = (operation.method().as_str(), operation.template());
        let implied = ImplyingCall { method, template, segments: path }.find_certain();
        let action =
            Action { method, segments: path, template: Some(template), risk: operation.risk(), implied: &implied };
        self.policy().authorize(&action).err()
    }

    /// Returns whether a call with this risk needs a confirmation before it is sent.
    pub fn needs_confirmation(&self, risk: Risk) -> bool {
        self.policy().needs_confirmation(risk)
    }

    /// Returns whether the operator protects the guest from changes.
    pub fn is_protected(&self, guest: &Guest) -> bool {
        self.policy().protects(guest.vmid, &guest.pool, &guest.iter_tags().collect::<Vec<_>>())
    }
}

impl<'a> Authorized<'a> {
    /// Returns whether the call needs a confirmation before it is sent.
    pub fn needs_confirmation(&self) -> bool {
        self.planned.cluster.policy().needs_confirmation(self.planned.risk)
    }

    /// Returns the side that confirms the call.
    pub fn confirmer(&self) -> Confirmer {
        self.planned.cluster.policy().confirmer()
    }

    /// Returns the risk of the call with its parameters.
    pub fn risk(&self) -> Risk {
        self.planned.risk
    }

    /// Returns the corrections of the path.
    pub fn into_notes(self) -> Vec<String> {
        self.planned.into_notes()
    }

    pub(super) fn planned(&self) -> &PlannedCall<'a> {
        &self.planned
    }

    pub(super) fn planned_mut(&mut self) -> &mut PlannedCall<'a> {
        &mut self.planned
    }

    pub(super) fn into_planned(self) -> PlannedCall<'a> {
        self.planned
    }
}

/// Checks a risk on any path, before anything is looked up for the call.
pub(super) fn check_risk(call: AuditedCall<'_>, risk: Risk) -> Result<(), DeniedCall> {
    call.cluster.policy().authorize_risk(risk).map_err(|reason| deny(call, reason))
}

/// Checks a path against the permissions and lists of both sides, before the parameters are known.
pub(super) fn check_path(call: AuditedCall<'_>, template: Option<&str>, risk: Risk) -> Result<(), DeniedCall> {
    check_action(call, template, risk, &[])
}

/// Checks a call against the permissions and lists of both sides.
pub(super) fn check_operation(call: AuditedCall<'_>, template: Option<&str>, risk: Risk) -> Result<(), DeniedCall> {
    let implied = find_implied_calls(call.cluster.policy(), call.method, call.path, call.params, template);
    check_action(call, template, risk, &implied)
}

fn check_action(
    call: AuditedCall<'_>,
    template: Option<&str>,
    risk: Risk,
    implied: &[ImpliedCall],
) -> Result<(), DeniedCall> {
    call.cluster.scope.origin.observer.record_cluster(call.cluster.name());
    let decoded: Vec<_> = call.path.segments().collect();
    let segments: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
    let action = Action { method: call.method.as_str(), segments: &segments, template, risk, implied };
    call.cluster.policy().authorize(&action).map_err(|reason| deny(call, reason))
}

/// Returns the calls that a call stands for, if the policy has lists. An unknown operation has none, and needs every
/// permission.
pub(super) fn find_implied_calls(
    policy: EffectivePolicy<'_>,
    method: Method,
    path: &ApiPath,
    params: &ApiParams,
    template: Option<&str>,
) -> Vec<ImpliedCall> {
    let Some(template) = template.filter(|_| policy.has_lists()) else { return Vec::new() };
    let decoded: Vec<_> = path.segments().collect();
    let segments: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
    ImplyingCall { method: method.as_str(), template, segments: &segments }.find_implied(params.iter())
}

/// Checks what is known without the list of guests, before the list is looked up for the call.
pub(super) fn check_named_guests(call: AuditedCall<'_>, affected: &AffectedGuests) -> Result<(), DeniedCall> {
    check_named_protection(call.cluster.policy(), affected).map_err(|reason| deny(call, reason))
}

/// Returns whether the list of guests decides whether the call affects a protected one.
pub(super) fn protection_needs_guests(policy: EffectivePolicy<'_>, risk: Risk, affected: &AffectedGuests) -> bool {
    let is_decided =
        affected.is_empty() || (affected.scope() == &AffectedScope::NamedOnly && protects_only_numbers(policy));
    policy.protects_guests() && !risk.is_read_only() && !is_decided
}

/// Returns whether the protection depends on pools or on guests that the API token may not see.
pub(super) fn protection_needs_token(policy: EffectivePolicy<'_>, affected: &AffectedGuests) -> bool {
    match affected.scope() {
        AffectedScope::Pool(_) => true,
        // Each named guest is seen with its tags, or denied.
        AffectedScope::NamedOnly => policy.protects_pools(),
        AffectedScope::Node(_) | AffectedScope::Cluster => !protects_only_numbers(policy),
    }
}

fn protects_only_numbers(policy: EffectivePolicy<'_>) -> bool {
    policy.protect().all(|selector| matches!(selector, GuestSelector::Vmid(_)))
}

pub(super) fn deny(call: AuditedCall<'_>, reason: Denial) -> DeniedCall {
    call.record_denial(&reason);
    let runs_in_vm = call.template == Some("/nodes/{node}/qemu/{vmid}/agent/exec");
    let operation = Box::new(DeniedOperation { text: format!("{} {}", call.method, call.path), runs_in_vm });
    DeniedCall { operation, reason, causes: None }
}

/// Denies a call that affects a protected guest, or that may affect one as far as the server can see.
pub(super) fn check_protection(
    policy: EffectivePolicy<'_>,
    risk: Risk,
    affected: &AffectedGuests,
    view: Option<&GuestView<'_>>,
) -> Result<(), Denial> {
    if !policy.protects_guests() || risk.is_read_only() {
        return Ok(());
    }
    let unknown = |cause: String| Denial::UnknownScope { cause, next_step: None };
    if *affected.shared() != SharedObject::None {
        return Err(unknown("the guests of the changed object were not looked up".into()));
    }
    check_named_protection(policy, affected)?;
    if !protection_needs_guests(policy, risk, affected) {
        return Ok(());
    }
    let failed = |error: &LookupError| Denial::UnknownScope {
        cause: error.to_string(),
        next_step: error.hint().map(|hint| hint.into_owned()),
    };
    let Some(view) = view else {
        return Err(unknown("the guests were not looked up".into()));
    };
    let guests = view.guests.as_ref().map_err(|error| failed(error))?;
    if let AffectedScope::Node(node) = affected.scope() {
        // (PVE: a node also answers to names that only its resolver knows.)
        let is_listed = match &view.nodes {
            Some(Ok(nodes)) => nodes.iter().any(|listed| listed.name == *node),
            Some(Err(error)) => return Err(failed(error)),
            None => false,
        };
        if !is_listed {
            return Err(unknown(format!("{node} is not in the cluster's list of nodes")));
        }
    }
    check_listed_guests(policy, affected, guests)?;
    match &view.token {
        Some(Ok(token)) => check_visibility(policy, affected, guests, token),
        Some(Err(error)) => Err(failed(error)),
        None if protection_needs_token(policy, affected) => Err(unknown("its privileges were not looked up".into())),
        None => Ok(()),
    }
}

/// Denies a call that may affect a guest that the token does not see, or whose pool it does not see.
fn check_visibility(
    policy: EffectivePolicy<'_>,
    affected: &AffectedGuests,
    guests: &[Guest],
    token: &TokenPrivileges,
) -> Result<(), Denial> {
    let hidden_pool = |pool: &str| Denial::HiddenPool(pool.to_owned());
    if let AffectedScope::Pool(pool) = affected.scope()
        && !token.shows_pool(pool)
    {
        return Err(hidden_pool(pool));
    }
    if *affected.scope() != AffectedScope::NamedOnly && !protects_only_numbers(policy) && !token.shows_all_guests() {
        return Err(Denial::HiddenGuests);
    }
    // Proxmox leaves the pool out of a guest's row if the token may not see the pool.
    let has_unknown_pool = affected.select_from(guests).any(|guest| guest.pool.is_empty());
    for selector in policy.protect() {
        if let GuestSelector::Pool(pool) = selector
            && has_unknown_pool
            && !token.shows_pool(pool)
        {
            return Err(hidden_pool(pool));
        }
    }
    Ok(())
}

fn check_named_protection(policy: EffectivePolicy<'_>, affected: &AffectedGuests) -> Result<(), Denial> {
    let protected = policy.protect().filter_map(|selector| match selector {
        GuestSelector::Vmid(vmid) => Some(*vmid),
        _ => None,
    });
    if let Some(vmid) = protected.filter(|vmid| affected.names(*vmid)).min() {
        return Err(Denial::ProtectedGuest(vmid));
    }
    match affected.scope() {
        AffectedScope::Pool(pool) if policy.protect().any(|selector| selector.covers_pool(pool)) => {
            Err(Denial::ProtectedPool(pool.clone()))
        }
        _ => Ok(()),
    }
}

/// Checks the affected guests of the cluster's list, then those that the list does not show.
fn check_listed_guests(policy: EffectivePolicy<'_>, affected: &AffectedGuests, guests: &[Guest]) -> Result<(), Denial> {
    let is_protected =
        |guest: &&Guest| policy.protects(guest.vmid, &guest.pool, &guest.iter_tags().collect::<Vec<_>>());
    let mut names = String::new();
    for guest in affected.select_from(guests).filter(is_protected).take(MAX_NAMED_GUESTS) {
        let separator = if names.is_empty() { "" } else { ", " };
        let _ = write!(names, "{separator}{} (`{}`)", guest.vmid, guest.name);
    }
    if !names.is_empty() {
        return Err(Denial::ProtectedGuests(names));
    }
    let listed: HashSet<u32> = guests.iter().map(|guest| guest.vmid).collect();
    let is_listed = |vmid: u32| listed.contains(&vmid);
    // The node of an unlisted guest is unknown.
    if matches!(affected.scope(), AffectedScope::Node(_) | AffectedScope::Cluster) {
        let unlisted = policy.protect().find_map(|selector| match selector {
            GuestSelector::Vmid(vmid) if !is_listed(*vmid) => Some(*vmid),
            _ => None,
        });
        if let Some(vmid) = unlisted {
            return Err(Denial::UnlistedProtectedGuest(vmid));
        }
    }
    // An unlisted guest may be in a protected pool. A guest that the call creates is in none.
    let mut unlisted = affected.named_vmids().iter().filter(|vmid| !affected.creates(**vmid) && !is_listed(**vmid));
    match unlisted.next() {
        Some(vmid) if !protects_only_numbers(policy) => Err(Denial::UnlistedGuest(*vmid)),
        _ => Ok(()),
    }
}
