//! The record of a call, as data.

use std::net::IpAddr;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEvent {
    /// A read of a caller has ended.
    Read,
    /// A read of the server for its own needs has ended, such as the node of a guest or the list of nodes.
    Lookup,
    /// A change is about to be sent.
    ChangeStarted,
    /// A change was answered, or can no longer be answered.
    ChangeFinished,
    /// A call was denied.
    Denied,
    /// A person was asked to confirm a call.
    ConfirmationRequested,
    /// A call that waited for the approval of a person was decided, or left the list by itself.
    Approval,
}

/// The authorization result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditDecision {
    Allowed,
    Denied,
    /// Allowed because it was confirmed.
    Confirmed,
    /// Allowed once it is confirmed.
    ConfirmationRequested,
    /// Not made, because the user did not agree.
    Declined,
    /// Not made, because the client did not agree before a person could read the question.
    Unattended,
    /// A person approved the call.
    Approved,
    /// Not made, because no person decided in time, or the approval was not used in time.
    Expired,
    /// Not made, because the call or the rights changed before a decision or its use.
    Withdrawn,
}

/// The end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome<'a> {
    Ok,
    /// The call failed for this cause.
    Failed(&'a str),
    /// A change may or may not have happened, for this cause.
    Unknown(&'a str),
}

/// The content of a line, apart from its number, its time and the hash of the line before. Texts are cut at 512
/// characters, and invisible characters are escaped.
#[derive(Clone, Debug)]
pub struct AuditRecord<'a> {
    pub event: AuditEvent,
    /// The id of the call, the same in each of its lines.
    pub id: &'a str,
    /// The `traceparent` that the client sent with the call (W3C Trace Context).
    pub trace: Option<&'a str>,
    /// The name of the client in the configuration.
    pub client: &'a str,
    /// The address of the client, `None` on stdio.
    pub address: Option<IpAddr>,
    /// `http`, `sse` or `stdio`.
    pub transport: &'a str,
    pub tool: &'a str,
    /// The name of the cluster in the configuration.
    pub cluster: &'a str,
    /// Method and path: `POST /nodes/pve1/qemu/100/status/stop`.
    pub operation: &'a str,
    pub guest: Option<&'a str>,
    /// Names and values without secrets. Each value is cut at 16 KiB, all together at 28 KiB.
    pub arguments: &'a [(&'a str, String)],
    pub decision: AuditDecision,
    /// The reason for the decision.
    pub reason: Option<&'a str>,
    /// The task that the call started.
    pub upid: Option<&'a str>,
    /// `None` while the call runs.
    pub outcome: Option<AuditOutcome<'a>>,
    /// The duration of a call that has ended, written in whole milliseconds.
    pub duration: Option<Duration>,
}

impl AuditEvent {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "call",
            Self::Lookup => "look",
            Self::ChangeStarted => "begin",
            Self::ChangeFinished => "end",
            Self::Denied => "refused",
            Self::ConfirmationRequested => "asked",
            Self::Approval => "approval",
        }
    }

    pub(super) fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::Lookup)
    }
}

impl AuditDecision {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "refused",
            Self::Confirmed => "confirmed",
            Self::ConfirmationRequested => "asked",
            Self::Declined => "declined",
            Self::Unattended => "unattended",
            Self::Approved => "approved",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}
