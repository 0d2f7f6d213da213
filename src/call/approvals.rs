//! The calls that wait for the approval of a person outside of the chat.
//!
//! A call waits under an id, bound to its client and to the same facts as a confirmation code. A person sees the text
//! that a user would be asked, and approves or denies it with the token of another client. An approval is used once, by
//! the same call of the same client, as long as the text about it is still the same.

use super::rights::{RightsSnapshot, RightsStore};
use crate::audit::{AuditDecision, AuditEvent, AuditLog, AuditRecord, AuditWriteError};
use crate::base::hint::Hint;
use crate::base::trace::CallId;
use crate::config::Client;
use crate::metrics;
use ring::rand::{SecureRandom, SystemRandom};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// The time in which a person decides on a call.
pub const DECISION_TIME: Duration = Duration::from_secs(900);
/// The time in which an approved call is made.
pub const APPROVAL_LIFETIME: Duration = Duration::from_secs(300);
/// The most calls of one client in the list. No person reads more within minutes. A denied one makes room.
const MAX_CALLS_PER_CLIENT: usize = 16;
/// The most calls in the list. Each has a text of some KiB.
const MAX_CALLS: usize = 256;
/// The most notices about the calls of one client in [`NOTICE_TIME`]. A client that asks again and again must not make a
/// person tired of reading.
const MAX_NOTICES: usize = 16;
const NOTICE_TIME: Duration = Duration::from_secs(600);
/// The tool of a decision in the audit log.
const AUDIT_TOOL: &str = "approvals";

/// A call that is to be approved.
pub(super) struct ApprovalRequest<'a> {
    pub(super) client: &'a Arc<Client>,
    pub(super) cluster: &'a str,
    /// Binds the approval to client, cluster, methods, paths and parameters.
    pub(super) fingerprint: String,
    pub(super) operations: Vec<WaitingOperation>,
    /// The text that the person reads, without secrets.
    pub(super) plan: String,
    pub(super) transport: &'static str,
    pub(super) call_id: CallId,
}

/// One API call of a call that waits, without parameters.
#[derive(Clone, Debug)]
pub(super) struct WaitingOperation {
    /// Method and path, redacted.
    pub(super) text: String,
    pub(super) guest: String,
}

/// The step that a call has reached.
pub(super) enum ApprovalStep {
    Approved { by: String, id: String, after: Duration },
    Denied,
    Pending(PendingApproval),
}

/// A call that waits for a person, as its caller sees it.
#[derive(Clone, Debug)]
pub struct PendingApproval {
    pub id: String,
    /// The description of the call.
    pub plan: String,
    /// The address of the page where a person approves it, if the server knows one.
    pub page: Option<String>,
    /// The call was not in the list before.
    pub is_new: bool,
}

/// A call that waits for a person, as the person sees it.
#[derive(Debug)]
pub struct ApprovalView {
    pub id: String,
    pub client: String,
    pub transport: &'static str,
    pub cluster: String,
    /// Method and path of each API call.
    pub operations: Vec<String>,
    pub plan: String,
    /// The decision, if there is one: the call was not made since.
    pub approved_by: Option<String>,
    pub age: Duration,
    pub expires_in: Duration,
    /// The viewer asked for it, so another client has to decide.
    pub is_own: bool,
}

/// The text of a notification. It has no value of a parameter.
#[derive(Clone, Debug)]
pub struct ApprovalNotice {
    pub id: String,
    pub client: String,
    pub cluster: String,
    pub operations: Vec<String>,
    pub page: Option<String>,
}

/// The person who decides.
pub struct Approver<'a> {
    pub client: &'a Arc<Client>,
    pub address: Option<IpAddr>,
    pub transport: &'static str,
}

/// The decision of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalDecision {
    Approve,
    Deny,
}

/// The reason why a client can't list or decide.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    #[error("this client may not approve calls")]
    NotApprover,
    #[error("a client can't decide on its own call")]
    OwnCall,
    #[error("no call waits under this id: it was decided, made, withdrawn or has expired")]
    Unknown,
    #[error("the call is decided already")]
    Decided,
    #[error("the approval does not count, since it can't be recorded: {0}")]
    NotRecorded(AuditWriteError),
}

impl Hint for ApprovalError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(match self {
            Self::NotApprover => "the operator gives a client \"approve\": true in clusters.json",
            Self::OwnCall => "use the token of another client with \"approve\": true",
            Self::Unknown | Self::Decided => "list the calls again",
            Self::NotRecorded(_) => "decide again once the operator has mended the audit log",
        }))
    }
}

/// The reason why a call can't wait for approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CannotWait {
    NoApprover,
    TooMany,
    NoRandomBytes,
}

/// Receives the notices of calls that begin to wait. It must not block.
pub type NoticeSink = Box<dyn Fn(ApprovalNotice) + Send + Sync>;

/// The list of calls that wait.
pub struct Approvals {
    rights: Arc<RightsStore>,
    audit: Arc<AuditLog>,
    random: SystemRandom,
    calls: Mutex<Vec<WaitingCall>>,
    page: OnceLock<String>,
    notice_sink: OnceLock<NoticeSink>,
    /// Client and time of the last notices, in milliseconds.
    notices: Mutex<VecDeque<(String, u64)>>,
    counts: [AtomicU64; ApprovalEvent::ALL.len()],
}

#[derive(Clone)]
struct WaitingCall {
    id: String,
    client: Arc<Client>,
    cluster: String,
    fingerprint: String,
    operations: Vec<WaitingOperation>,
    plan: String,
    transport: &'static str,
    /// Id of the call in the audit log.
    call_id: String,
    /// In milliseconds of the clock of confirmation codes.
    requested: u64,
    decision: Option<Decided>,
}

#[derive(Clone)]
enum Decided {
    /// The decision counts once its line is in the audit log.
    Recording,
    Approved {
        by: Arc<Client>,
        at: u64,
    },
    Denied,
}

/// A step of a call that is counted and logged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ApprovalEvent {
    Requested,
    Approved,
    Denied,
    Expired,
    Withdrawn,
}

impl ApprovalEvent {
    const ALL: [Self; 5] = [Self::Requested, Self::Approved, Self::Denied, Self::Expired, Self::Withdrawn];

    fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl WaitingCall {
    fn is_of(&self, client: &Client) -> bool {
        is_same_person(&self.client, client)
    }

    /// Returns the time until which the call or its approval is kept.
    fn expires(&self) -> u64 {
        match self.decision {
            Some(Decided::Approved { at, .. }) => at + millis(APPROVAL_LIFETIME),
            // The write of the line has a limit.
            Some(Decided::Recording) => u64::MAX,
            None | Some(Decided::Denied) => self.requested + millis(DECISION_TIME),
        }
    }

    /// Returns whether the present rights still have the client that asked, its cluster, and the client that approved or
    /// can approve.
    fn has_rights(&self, rights: &RightsSnapshot) -> bool {
        let is_present = |client: &Arc<Client>| {
            let present = rights.find_client(client).filter(|present| present.is_same_client(client));
            present.is_some_and(|present| rights.clusters_of(present).manager.find(&self.cluster).is_some())
        };
        let has_approver = match &self.decision {
            Some(Decided::Approved { by, .. }) => is_present(by) && may_approve(rights, by, &self.cluster),
            Some(Decided::Denied) => true,
            None | Some(Decided::Recording) => has_approver(rights, &self.client, &self.cluster),
        };
        is_present(&self.client) && has_approver
    }

    fn operations(&self) -> Vec<String> {
        self.operations.iter().map(|operation| operation.text.clone()).collect()
    }

    fn pending(&self, page: Option<&String>, is_new: bool) -> PendingApproval {
        let page = page.map(|page| format!("{page}#approvals"));
        PendingApproval { id: self.id.clone(), plan: self.plan.clone(), page, is_new }
    }

    /// Returns the audit record of one of its operations.
    fn audit_record<'a>(
        &'a self,
        operation: &'a WaitingOperation,
        client: &'a str,
        decision: AuditDecision,
        reason: &'a str,
    ) -> AuditRecord<'a> {
        AuditRecord {
            event: AuditEvent::Approval,
            id: &self.call_id,
            trace: None,
            client,
            address: None,
            transport: self.transport,
            tool: AUDIT_TOOL,
            cluster: &self.cluster,
            operation: &operation.text,
            guest: Some(operation.guest.as_str()).filter(|guest| !guest.is_empty()),
            arguments: &[],
            decision,
            reason: Some(reason),
            upid: None,
            outcome: None,
            duration: None,
        }
    }

    /// Returns whether no decision on it counts yet.
    fn is_waiting(&self) -> bool {
        matches!(self.decision, None | Some(Decided::Recording))
    }

    fn is_denied(&self) -> bool {
        matches!(self.decision, Some(Decided::Denied))
    }
}

/// Returns whether both are one client, by name or by token.
fn is_same_person(one: &Client, other: &Client) -> bool {
    one.name == other.name || one.token_sha256.ct_eq(&other.token_sha256)
}

/// Returns whether the present rights allow a client to decide on calls to a cluster.
fn may_approve(rights: &RightsSnapshot, client: &Arc<Client>, cluster: &str) -> bool {
    let present = rights.find_client(client).filter(|present| present.approve);
    present.is_some_and(|present| rights.clusters_of(present).manager.find(cluster).is_some())
}

/// Returns whether the present rights allow another client to decide on calls of this one to a cluster.
fn has_approver(rights: &RightsSnapshot, client: &Client, cluster: &str) -> bool {
    let mut others = rights.clients().iter().filter(|other| !is_same_person(other, client));
    others.any(|other| may_approve(rights, other, cluster))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Forgets the oldest denied call of those counted if there are `max` of them. Returns whether another one fits.
fn make_room(calls: &mut Vec<WaitingCall>, max: usize, is_counted: impl Fn(&WaitingCall) -> bool) -> bool {
    if calls.iter().filter(|call| is_counted(call)).count() < max {
        return true;
    }
    let denied = calls.iter().position(|call| call.is_denied() && is_counted(call));
    denied.inspect(|at| drop(calls.remove(*at))).is_some()
}

/// A call that left the list by itself, to be recorded once the list is unlocked.
struct Removed {
    call: WaitingCall,
    event: ApprovalEvent,
    reason: &'static str,
}

impl Approvals {
    pub(super) fn new(rights: Arc<RightsStore>, audit: Arc<AuditLog>) -> Self {
        Self {
            rights,
            audit,
            random: SystemRandom::new(),
            calls: Mutex::default(),
            page: OnceLock::new(),
            notice_sink: OnceLock::new(),
            notices: Mutex::default(),
            counts: Default::default(),
        }
    }

    /// Sets the address of the page where people approve, once.
    pub fn set_page(&self, page: String) {
        self.page.get_or_init(|| page);
    }

    /// Sets the receiver of notices, once.
    pub fn set_notice_sink(&self, sink: NoticeSink) {
        self.notice_sink.get_or_init(|| sink);
    }

    /// Uses the approval of a call, or adds the call to the list.
    pub(super) fn request(&self, request: ApprovalRequest<'_>, now: u64) -> Result<ApprovalStep, CannotWait> {
        let (mut calls, mut removed) = self.lock(now);
        let is_same = |call: &WaitingCall| call.is_of(request.client) && call.fingerprint == request.fingerprint;
        let found = calls.iter().position(is_same);
        let step = match found {
            Some(at) if calls[at].plan != request.plan => {
                let reason = "its object has changed";
                removed.push(Removed { call: calls.remove(at), event: ApprovalEvent::Withdrawn, reason });
                None
            }
            Some(at) => Some(match &calls[at].decision {
                None | Some(Decided::Recording) => ApprovalStep::Pending(calls[at].pending(self.page.get(), false)),
                Some(Decided::Denied) => {
                    calls.remove(at);
                    ApprovalStep::Denied
                }
                Some(Decided::Approved { by, at: approved }) => {
                    let (by, after) = (by.name.clone(), Duration::from_millis(now.saturating_sub(*approved)));
                    ApprovalStep::Approved { by, id: calls.remove(at).id, after }
                }
            }),
            None => None,
        };
        let step = step.map_or_else(|| self.add(&mut calls, request, now), Ok);
        drop(calls);
        self.record_removed(&removed);
        step
    }

    fn add(
        &self,
        calls: &mut Vec<WaitingCall>,
        request: ApprovalRequest<'_>,
        now: u64,
    ) -> Result<ApprovalStep, CannotWait> {
        let ApprovalRequest { client, cluster, fingerprint, operations, plan, transport, call_id } = request;
        if !has_approver(&self.rights.current(), client, cluster) {
            return Err(CannotWait::NoApprover);
        }
        let has_room = make_room(calls, MAX_CALLS_PER_CLIENT, |call| call.is_of(client));
        if !has_room || !make_room(calls, MAX_CALLS, |_| true) {
            return Err(CannotWait::TooMany);
        }
        let id = self.create_id(calls).ok_or(CannotWait::NoRandomBytes)?;
        let call = WaitingCall {
            id,
            client: client.clone(),
            cluster: cluster.to_owned(),
            fingerprint,
            operations,
            plan,
            transport,
            call_id: call_id.to_string(),
            requested: now,
            decision: None,
        };
        self.count(ApprovalEvent::Requested);
        log::info!(
            "approval {} requested by client {}: {} on {}",
            call.id,
            call.client.name,
            call.operations().join(", "),
            call.cluster
        );
        let pending = call.pending(self.page.get(), true);
        if let Some(notify) = self.notice_sink.get().filter(|_| self.may_notify(&call, now)) {
            notify(ApprovalNotice {
                id: call.id.clone(),
                client: call.client.name.clone(),
                cluster: call.cluster.clone(),
                operations: call.operations(),
                page: pending.page.clone(),
            });
        }
        calls.push(call);
        Ok(ApprovalStep::Pending(pending))
    }

    /// Counts a notice about a call, unless there were too many about calls of its client.
    fn may_notify(&self, call: &WaitingCall, now: u64) -> bool {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        notices.retain(|(_, at)| now.saturating_sub(*at) < millis(NOTICE_TIME));
        let is_allowed = notices.iter().filter(|(client, _)| *client == call.client.name).count() < MAX_NOTICES;
        if is_allowed {
            notices.push_back((call.client.name.clone(), now));
        } else {
            log::warn!("no notification about approval {}: client {} asks too often", call.id, call.client.name);
        }
        is_allowed
    }

    /// Returns an id that no call of the list has. It is no secret.
    fn create_id(&self, calls: &[WaitingCall]) -> Option<String> {
        loop {
            let mut bytes = [0; 4];
            self.random.fill(&mut bytes).ok()?;
            let id = format!("{:08x}", u32::from_be_bytes(bytes));
            if !calls.iter().any(|call| call.id == id) {
                return Some(id);
            }
        }
    }

    /// Takes a call off the list, because its user declined it.
    pub(super) fn withdraw(&self, client: &Client, fingerprint: &str, now: u64) {
        let (mut calls, mut removed) = self.lock(now);
        let is_same = |call: &WaitingCall| call.is_of(client) && call.fingerprint == fingerprint;
        if let Some(at) = calls.iter().position(is_same) {
            let reason = "the client's user declined it";
            removed.push(Removed { call: calls.remove(at), event: ApprovalEvent::Withdrawn, reason });
        }
        drop(calls);
        self.record_removed(&removed);
    }

    /// Returns whether a call still waits for a decision.
    pub(super) fn is_waiting(&self, id: &str, now: u64) -> bool {
        let (calls, removed) = self.lock(now);
        let is_waiting = calls.iter().any(|call| call.id == id && call.is_waiting());
        drop(calls);
        self.record_removed(&removed);
        is_waiting
    }

    /// Removes the calls that expired or lost their rights.
    pub(super) fn prune(&self, now: u64) {
        let (calls, removed) = self.lock(now);
        drop(calls);
        self.record_removed(&removed);
    }

    /// Removes every call, because the server stops.
    pub(super) fn withdraw_all(&self, now: u64) {
        let (mut calls, mut removed) = self.lock(now);
        let withdraw = |call| Removed { call, event: ApprovalEvent::Withdrawn, reason: "the server stops" };
        removed.extend(calls.drain(..).map(withdraw));
        drop(calls);
        self.record_removed(&removed);
    }

    /// Returns the calls that a client may decide on, the oldest first.
    pub(super) fn list(&self, client: &Arc<Client>, now: u64) -> Result<Vec<ApprovalView>, ApprovalError> {
        let (calls, removed) = self.lock(now);
        let rights = self.rights.current();
        let view = |call: &WaitingCall| ApprovalView {
            id: call.id.clone(),
            client: call.client.name.clone(),
            transport: call.transport,
            cluster: call.cluster.clone(),
            operations: call.operations(),
            plan: call.plan.clone(),
            approved_by: match &call.decision {
                Some(Decided::Approved { by, .. }) => Some(by.name.clone()),
                _ => None,
            },
            age: Duration::from_millis(now.saturating_sub(call.requested)),
            expires_in: Duration::from_millis(call.expires().saturating_sub(now)),
            is_own: call.is_of(client),
        };
        let visible = |call: &&WaitingCall| !call.is_denied() && may_approve(&rights, client, &call.cluster);
        let views = calls.iter().filter(visible).map(view).collect();
        drop(calls);
        self.record_removed(&removed);
        match rights.find_client(client).is_some_and(|present| present.approve) {
            true => Ok(views),
            false => Err(ApprovalError::NotApprover),
        }
    }

    /// Records the decision of a person on a call. The call goes through once the decision is in the audit log.
    pub(super) fn decide(
        &self,
        approver: &Approver<'_>,
        id: &str,
        decision: ApprovalDecision,
        now: u64,
    ) -> Result<(), ApprovalError> {
        let call = self.begin_decision(approver, id, now)?;
        let recorded = self.write_decision(&call, approver, decision);
        let (mut calls, removed) = self.lock(now);
        // A reload or the client may have withdrawn the call in the meantime.
        let decided = calls.iter_mut().find(|call| call.id == id).ok_or(ApprovalError::Unknown);
        let decided = decided.and_then(|call| match (decision, recorded) {
            (ApprovalDecision::Approve, Err(error)) => {
                call.decision = None;
                Err(ApprovalError::NotRecorded(error))
            }
            (ApprovalDecision::Approve, Ok(())) => {
                call.decision = Some(Decided::Approved { by: approver.client.clone(), at: now });
                Ok(ApprovalEvent::Approved)
            }
            // Nothing is sent, so a denial does not depend on the record. The audit log reports the failure.
            (ApprovalDecision::Deny, _) => {
                call.decision = Some(Decided::Denied);
                Ok(ApprovalEvent::Denied)
            }
        });
        drop(calls);
        self.record_removed(&removed);
        let event = decided?;
        self.count(event);
        let (by, asker) = (&approver.client.name, &call.client.name);
        log::info!("approval {id} of client {asker} {} by client {by}", event.name());
        Ok(())
    }

    /// Keeps other decisions off a call while this one is recorded. Returns the call.
    fn begin_decision(&self, approver: &Approver<'_>, id: &str, now: u64) -> Result<WaitingCall, ApprovalError> {
        let (mut calls, removed) = self.lock(now);
        let rights = self.rights.current();
        let begun = (|| {
            if !rights.find_client(approver.client).is_some_and(|present| present.approve) {
                return Err(ApprovalError::NotApprover);
            }
            // A call to a cluster that the approver may not use does not exist for it.
            let is_visible =
                |call: &&mut WaitingCall| call.id == id && may_approve(&rights, approver.client, &call.cluster);
            let call = calls.iter_mut().find(is_visible).ok_or(ApprovalError::Unknown)?;
            if call.is_of(approver.client) {
                return Err(ApprovalError::OwnCall);
            }
            if call.decision.is_some() {
                return Err(ApprovalError::Decided);
            }
            call.decision = Some(Decided::Recording);
            Ok(call.clone())
        })();
        drop(calls);
        self.record_removed(&removed);
        begun
    }

    /// Writes the metrics.
    pub fn write_metrics(&self, out: &mut String) {
        const NAME: &str = "proxmox_mcp_approvals_total";
        metrics::write_header(out, NAME, "counter", "Calls that need the approval of a person, by event.");
        for (event, count) in ApprovalEvent::ALL.iter().zip(&self.counts) {
            metrics::write_sample(out, NAME, &[("event", event.name())], count.load(Relaxed));
        }
        let waiting = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = waiting.iter().filter(|call| call.is_waiting()).count() as u64;
        let help = "Calls that wait for the approval of a person.";
        metrics::write_gauge(out, "proxmox_mcp_approvals_waiting", help, waiting);
    }

    /// Locks the list without the calls that expired or lost their rights. Those are to be recorded.
    fn lock(&self, now: u64) -> (MutexGuard<'_, Vec<WaitingCall>>, Vec<Removed>) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = Vec::new();
        if !calls.is_empty() {
            let rights = self.rights.current();
            for call in std::mem::take(&mut *calls) {
                if !call.has_rights(&rights) {
                    let reason = "a reload changed the rights";
                    removed.push(Removed { call, event: ApprovalEvent::Withdrawn, reason });
                } else if call.expires() < now {
                    removed.push(Removed { call, event: ApprovalEvent::Expired, reason: "its time is over" });
                } else {
                    calls.push(call);
                }
            }
        }
        (calls, removed)
    }

    fn record_removed(&self, removed: &[Removed]) {
        for Removed { call, event, reason } in removed {
            if call.is_denied() {
                continue;
            }
            self.count(*event);
            log::info!("approval {} of client {} {}: {reason}", call.id, call.client.name, event.name());
            let decision = match event {
                ApprovalEvent::Expired => AuditDecision::Expired,
                _ => AuditDecision::Withdrawn,
            };
            let reason = format!("approval {}: {reason}", call.id);
            for operation in &call.operations {
                let record = call.audit_record(operation, &call.client.name, decision, &reason);
                // Nothing is sent, so no caller has to wait for the record.
                self.audit.write_later(&record);
            }
        }
    }

    fn write_decision(
        &self,
        call: &WaitingCall,
        approver: &Approver<'_>,
        decision: ApprovalDecision,
    ) -> Result<(), AuditWriteError> {
        let audited = match decision {
            ApprovalDecision::Approve => AuditDecision::Approved,
            ApprovalDecision::Deny => AuditDecision::Declined,
        };
        let reason = format!("approval {}: asked by client {}", call.id, call.client.name);
        call.operations.iter().try_for_each(|operation| {
            let record = call.audit_record(operation, &approver.client.name, audited, &reason);
            self.audit.write(&AuditRecord { address: approver.address, transport: approver.transport, ..record })
        })
    }

    fn count(&self, event: ApprovalEvent) {
        self.counts[event as usize].fetch_add(1, Relaxed);
    }
}
