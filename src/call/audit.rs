//! The audit records of API calls.

use super::approvals::WaitingOperation;
use super::handle::ClusterHandle;
use super::scope::{ConfirmationStep, OperationDescription};
use crate::audit::{AuditDecision, AuditEvent, AuditLog, AuditOutcome, AuditRecord, AuditWriteError, quoted_len};
use crate::base::trace::TraceParent;
use crate::pve::Method;
use crate::pve::error::PveError;
use crate::pve::knowledge::passwords::{SecretPart, secret_part};
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::render::question::hide_secret;
use crate::sanitize;
use ring::{digest, hmac};
use std::fmt::{Display, Write};
use std::time::{Duration, Instant};

/// The most bytes of an argument's value. A longer value is recorded as its start, length and hash.
const MAX_VALUE_BYTES: usize = 1024;
/// The most bytes of a value of a call that runs commands. A longer command is refused. (Linux: an argument of a program
/// has at most as many.)
pub(super) const MAX_COMMAND_BYTES: usize = 128 << 10;
/// The parameters that are commands, or that say what a command does.
const COMMAND_PARAMETERS: [&str; 8] =
    ["command", "commands", "input-data", "args", "entrypoint", "cmd", "cmd-opts", "script"];
/// The most bytes of all arguments. Further ones are recorded as their number, length and hash.
const MAX_ARGUMENTS_BYTES: usize = 24 << 10;
/// The most bytes of all arguments of a call that runs commands.
const MAX_COMMAND_ARGUMENTS_BYTES: usize = 144 << 10;
/// The characters that are recorded of a text that is too long.
const CUT_CHARS: usize = 120;
/// The most bytes of the operation.
const MAX_OPERATION_BYTES: usize = 400;

/// An API call as the audit log sees it.
#[derive(Clone, Copy)]
pub(super) struct AuditedCall<'a> {
    pub(super) cluster: &'a ClusterHandle<'a>,
    pub(super) method: Method,
    pub(super) path: &'a ApiPath,
    pub(super) params: &'a ApiParams,
    /// The path of the operation with placeholders, if the operation is known.
    pub(super) template: Option<&'a str>,
    /// The call runs commands, which are recorded whole.
    pub(super) runs_commands: bool,
}

/// The variable part of an audit record.
struct AuditEntry<'a> {
    event: AuditEvent,
    decision: AuditDecision,
    reason: Option<&'a str>,
    upid: Option<&'a str>,
    outcome: Option<AuditOutcome<'a>>,
    duration: Option<Duration>,
}

impl<'a> AuditEntry<'a> {
    fn new(event: AuditEvent, decision: AuditDecision) -> Self {
        Self { event, decision, reason: None, upid: None, outcome: None, duration: None }
    }
}

impl AuditedCall<'_> {
    /// Records that a change is about to be sent. Without the record it must not be sent.
    pub(super) fn record_start(self, decision: AuditDecision, reason: Option<&str>) -> Result<(), AuditWriteError> {
        self.write(AuditEntry { reason, ..AuditEntry::new(AuditEvent::ChangeStarted, decision) })
    }

    /// Records that a change was not sent although its start may be recorded.
    pub(super) fn record_unsent(self, decision: AuditDecision) {
        let outcome = Some(AuditOutcome::Failed("not sent: the audit log did not accept its start in time"));
        let entry = AuditEntry { outcome, ..AuditEntry::new(AuditEvent::ChangeFinished, decision) };
        self.with_record(&entry, |audit, record| audit.write_later(record));
    }

    /// Records that a confirmation is requested.
    pub(super) fn record_confirmation_request(self) {
        self.cluster.scope.origin.observer.record_confirmation(ConfirmationStep::Requested);
        let entry = AuditEntry::new(AuditEvent::ConfirmationRequested, AuditDecision::ConfirmationRequested);
        // Nothing is sent, so the call does not depend on the record. The audit log reports the failure.
        let _ = self.write(entry);
    }

    /// Records that the call waits for the approval of a person under this id.
    pub(super) fn record_approval_request(self, id: &str) {
        let reason = format!("approval {id}");
        let entry = AuditEntry::new(AuditEvent::ConfirmationRequested, AuditDecision::ConfirmationRequested);
        // Nothing is sent, so the call does not depend on the record. The audit log reports the failure.
        let _ = self.write(AuditEntry { reason: Some(&reason), ..entry });
    }

    /// Adds a call that is requested again to the facts of its line in the log.
    pub(super) fn observe_request(self) {
        self.observe(AuditEvent::ConfirmationRequested);
    }

    /// Returns the call as the list of approvals shows and records it.
    pub(super) fn to_waiting_operation(self) -> WaitingOperation {
        let text = format!("{} {}", self.method, self.path);
        let redacted = sanitize::redact_text(&text).into_owned();
        WaitingOperation {
            text: self.format_provable(&text, redacted, MAX_OPERATION_BYTES),
            guest: describe_guests(self.path, self.params),
        }
    }

    /// Records that the policy denies the call.
    pub(super) fn record_denial(self, reason: &dyn Display) {
        self.record_rejection(AuditDecision::Denied, reason);
    }

    /// Records that the call is not made by this decision.
    pub(super) fn record_rejection(self, decision: AuditDecision, reason: &dyn Display) {
        let observer = self.cluster.scope.origin.observer;
        match decision {
            AuditDecision::Declined => observer.record_confirmation(ConfirmationStep::Declined),
            AuditDecision::Unattended => observer.record_confirmation(ConfirmationStep::Unattended),
            _ => observer.record_denial(),
        }
        let reason = reason.to_string();
        let entry = AuditEntry::new(AuditEvent::Denied, decision);
        // The call is denied with or without the record. The audit log reports the failure.
        let _ = self.write(AuditEntry { reason: Some(&reason), ..entry });
    }

    /// Records the end of a call that was sent.
    pub(super) fn record_end(
        self,
        event: AuditEvent,
        decision: AuditDecision,
        error: Option<&PveError>,
        upid: Option<&str>,
        start: Instant,
    ) {
        self.observe(event);
        if !self.cluster.scope.audit.is_enabled(event) {
            return;
        }
        let text = error.map(|error| sanitize::redact_text(&error.to_string()).into_owned());
        let outcome = match (error, text.as_deref()) {
            (Some(PveError::OutcomeUnknown { .. }), Some(text)) => AuditOutcome::Unknown(text),
            (Some(_), Some(text)) => AuditOutcome::Failed(text),
            _ => AuditOutcome::Ok,
        };
        let (outcome, duration) = (Some(outcome), Some(start.elapsed()));
        // The request was sent in any case. The audit log reports the failure.
        let entry = AuditEntry { upid, outcome, duration, ..AuditEntry::new(event, decision) };
        let _ = self.with_record(&entry, AuditLog::write);
    }

    /// Adds the call to the facts of its line in the log.
    fn observe(self, event: AuditEvent) {
        let observer = self.cluster.scope.origin.observer;
        observer.record_cluster(self.cluster.name());
        if event != AuditEvent::Lookup {
            observer.record_operation(self.method != Method::Get, &|| self.describe_operation());
        }
    }

    fn describe_operation(self) -> OperationDescription {
        let operation = format!("{} {}", self.method, self.path);
        let shown =
            self.format_provable(&operation, sanitize::redact_text(&operation).into_owned(), MAX_OPERATION_BYTES);
        let guests = describe_guests(self.path, self.params);
        let is_plain = |guests: &str| guests.bytes().all(|byte| byte.is_ascii_digit() || byte == b',');
        match guests.len() <= CUT_CHARS && is_plain(&guests) {
            true => OperationDescription { operation: shown, guests },
            false => OperationDescription {
                operation: shown,
                guests: format!("{:?}", sanitize::redact_text(&guests).chars().take(CUT_CHARS).collect::<String>()),
            },
        }
    }

    fn write(self, entry: AuditEntry<'_>) -> Result<(), AuditWriteError> {
        self.observe(entry.event);
        if !self.cluster.scope.audit.is_enabled(entry.event) {
            return Ok(());
        }
        self.with_record(&entry, AuditLog::write)
    }

    /// Passes the record of an entry to `write`.
    fn with_record<T>(self, entry: &AuditEntry<'_>, write: impl FnOnce(&AuditLog, &AuditRecord<'_>) -> T) -> T {
        let origin = self.cluster.scope.origin;
        // A client may have put a secret into a path or the name of a guest, a node into a UPID.
        let operation = format!("{} {}", self.method, self.path);
        let (reason, upid) = (entry.reason.map(sanitize::redact_text), entry.upid.map(sanitize::redact_text));
        let guest = describe_guests(self.path, self.params);
        let record = AuditRecord {
            event: entry.event,
            id: &origin.id.to_string(),
            trace: origin.trace.as_ref().map(TraceParent::as_str),
            client: &origin.client.name,
            address: origin.address,
            transport: origin.transport,
            tool: origin.tool,
            cluster: self.cluster.name(),
            operation: &self.format_provable(
                &operation,
                sanitize::redact_text(&operation).into_owned(),
                MAX_OPERATION_BYTES,
            ),
            guest: Some(guest.as_str()).filter(|guest| !guest.is_empty()),
            arguments: &self.format_arguments(),
            decision: entry.decision,
            reason: reason.as_deref(),
            upid: upid.as_deref(),
            outcome: entry.outcome,
            duration: entry.duration,
        };
        write(self.cluster.scope.audit, &record)
    }
}

impl<'a> AuditedCall<'a> {
    /// Returns names and values without secrets. A name that repeats has a list of its values.
    fn format_arguments(self) -> Vec<(&'a str, String)> {
        let mut given: Vec<(&str, Vec<&str>)> = Vec::new();
        for (name, value) in self.params.iter() {
            // The values of a list follow each other.
            match given.last_mut().filter(|(last, _)| *last == name) {
                Some((_, values)) => values.push(value),
                None => given.push((name, vec![value])),
            }
        }
        let mut arguments = Vec::with_capacity(given.len());
        let mut bytes = 0;
        let limit = if self.runs_commands { MAX_COMMAND_ARGUMENTS_BYTES } else { MAX_ARGUMENTS_BYTES };
        for (index, (name, values)) in given.iter().enumerate() {
            let text = self.format_argument(name, values);
            bytes += quoted_len(name) + quoted_len(&text);
            if bytes > limit {
                let rest = &given[index..];
                let lines: String = rest
                    .iter()
                    .map(|(name, values)| format!("{name}={}\n", self.provable_text(name, values)))
                    .collect();
                let hides =
                    rest.iter().any(|(name, values)| self.shown_text(name, values) != self.provable_text(name, values));
                arguments.push(("…", format!("{} more ({})", rest.len(), self.describe_hash(&lines, hides))));
                break;
            }
            arguments.push((*name, text));
        }
        arguments
    }

    /// Returns the first parameter with a command that the record would not have whole.
    pub(super) fn find_shortened_command(self) -> Option<&'a str> {
        if !self.runs_commands {
            return None;
        }
        let recorded = self.format_arguments();
        let is_whole = |name: &str| {
            let values: Vec<&str> =
                self.params.iter().filter(|(given, _)| *given == name).map(|(_, value)| value).collect();
            let whole = join_values(&values);
            let shown = sanitize::redact_plain_words(&whole);
            recorded.iter().any(|(given, text)| *given == name && text.starts_with(shown.as_ref()))
        };
        self.params.names().find(|name| COMMAND_PARAMETERS.contains(name) && !is_whole(name))
    }

    fn format_argument(self, name: &str, values: &[&str]) -> String {
        let limit = if self.runs_commands { MAX_COMMAND_BYTES } else { MAX_VALUE_BYTES };
        self.format_provable(&self.provable_text(name, values), self.shown_text(name, values), limit)
    }

    /// Returns the text of values without secrets.
    fn shown_text(self, name: &str, values: &[&str]) -> String {
        match self.secret_part(name) {
            SecretPart::None if self.runs_commands => sanitize::redact_plain_words(&join_values(values)).into_owned(),
            SecretPart::None => {
                let redacted: Vec<_> = values.iter().map(|value| sanitize::redact_parameter(name, value)).collect();
                join_values(&redacted)
            }
            _ => self.provable_text(name, values),
        }
    }

    /// Returns the text of values that a hash may prove. What Proxmox calls a password is replaced by its length first.
    fn provable_text(self, name: &str, values: &[&str]) -> String {
        let part = self.secret_part(name);
        join_values(&values.iter().map(|value| hide_secret(name, part, value)).collect::<Vec<_>>())
    }

    fn secret_part(self, name: &str) -> SecretPart {
        secret_part(self.template.unwrap_or_default(), name)
    }

    /// Returns `shown`, or its start if it is too long. Length and hash of `sent` follow if the result lacks a part of it.
    fn format_provable(self, sent: &str, shown: String, max_bytes: usize) -> String {
        let (is_cut, hides) = (quoted_len(&shown) > max_bytes, shown != sent);
        if !is_cut && !hides {
            return shown;
        }
        let mut text = if is_cut { shown.chars().take(CUT_CHARS).collect() } else { shown };
        let _ = write!(text, "{} ({})", if is_cut { "…" } else { "" }, self.describe_hash(sent, hides));
        text
    }

    /// Returns the length and the hash of a text. A plain hash of a short secret would tell the secret to a program that
    /// tries all of them, so a text with one gets an HMAC. Its key is the secret of the cluster's API token, which the
    /// operator has and no log shows.
    fn describe_hash(self, text: &str, has_secret: bool) -> String {
        let (kind, hash) = if has_secret {
            let secret = &self.cluster.cluster.settings().token_secret;
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
            ("HMAC-SHA-256", hmac::sign(&key, text.as_bytes()).as_ref().to_vec())
        } else {
            ("SHA-256", digest::digest(&digest::SHA256, text.as_bytes()).as_ref().to_vec())
        };
        let mut described = format!("{} bytes, {kind} ", text.len());
        for byte in hash {
            let _ = write!(described, "{byte:02x}");
        }
        described
    }
}

fn join_values(values: &[impl AsRef<str>]) -> String {
    match values {
        [value] => value.as_ref().to_owned(),
        values => serde_json::Value::from_iter(values.iter().map(AsRef::as_ref)).to_string(),
    }
}

/// Returns the guest of a path, or the guests that the parameters name.
fn describe_guests(path: &ApiPath, params: &ApiParams) -> String {
    let mut segments = path.segments();
    if let Some(guest) = segments.find(|segment| matches!(segment.as_ref(), "qemu" | "lxc")).and(segments.next()) {
        return guest.into_owned();
    }
    let named = params.iter().filter(|(name, _)| matches!(*name, "vmid" | "vms"));
    named.map(|(_, value)| value).collect::<Vec<_>>().join(",")
}
