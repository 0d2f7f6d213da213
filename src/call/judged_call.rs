//! The judgement of a call by rights that are newer than those by which it was authorized.

use super::affected::AffectedGuests;
use super::authorize::{check_protection, find_implied_calls};
use super::planned_call::{GuestView, PlannedCall};
use super::rights::{RightsSnapshot, RightsStore};
use crate::config::Client;
use crate::policy::{Action, Confirmer, Denial, Risk};
use crate::pve::Method;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The facts about a planned call on which its rights depend.
pub(super) struct JudgedCall {
    client: Arc<Client>,
    cluster: String,
    method: Method,
    path: ApiPath,
    template: Option<String>,
    /// With those that the state of the object adds.
    params: ApiParams,
    risk: Risk,
    affected: AffectedGuests,
    /// The side that has confirmed the call.
    confirmed_by: Option<Confirmer>,
}

impl JudgedCall {
    pub(super) fn new(planned: &PlannedCall<'_>, confirmed_by: Option<Confirmer>) -> Self {
        let mut params = planned.params.clone();
        planned.as_if_given.iter().for_each(|name| params.push(name, "1"));
        Self {
            client: planned.cluster.scope.origin.client.clone(),
            cluster: planned.cluster.name().to_owned(),
            method: planned.method,
            path: planned.path.clone(),
            template: planned.operation.template.clone(),
            params,
            risk: planned.risk,
            affected: planned.affected.clone(),
            confirmed_by,
        }
    }

    /// Judges the call by a snapshot. `affected` and `view` are what is known of the guests that the call affects.
    pub(super) fn judge(
        &self,
        rights: &RightsSnapshot,
        affected: &AffectedGuests,
        view: Option<&GuestView<'_>>,
    ) -> Result<(), Denial> {
        let policy = rights.find_policy(&self.client, &self.cluster)?;
        let decoded: Vec<_> = self.path.segments().collect();
        let segments: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
        let template = self.template.as_deref();
        let action = Action {
            method: self.method.as_str(),
            segments: &segments,
            template,
            risk: self.risk,
            implied: &find_implied_calls(policy, self.method, &self.path, &self.params, template),
        };
        policy.authorize(&action)?;
        check_protection(policy, self.risk, affected, view)?;
        match policy.needs_confirmation(self.risk) && self.confirmed_by < Some(policy.confirmer()) {
            true => Err(Denial::Unconfirmed),
            false => Ok(()),
        }
    }

    /// Returns a check that the present rights allow the call. `judged` is the generation of the snapshot that allowed it
    /// last. The check looks nothing up, so it refuses a call whose guests a later snapshot protects.
    pub(super) fn into_send_check(self, rights: Arc<RightsStore>, judged: u64) -> impl Fn() -> bool + Send + Sync {
        let judged = AtomicU64::new(judged);
        move || {
            if rights.generation() == judged.load(Ordering::SeqCst) {
                return true;
            }
            let snapshot = rights.current();
            let is_allowed = self.judge(&snapshot, &self.affected, None).is_ok();
            if is_allowed {
                judged.store(snapshot.generation, Ordering::SeqCst);
            }
            is_allowed
        }
    }
}
