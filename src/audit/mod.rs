//! The audit log: who asked for what, what was decided and how it ended, one JSON object a line.
//!
//! Each line holds the hash of the one before, so that [`verify()`] finds what was changed, taken out, put in or reordered
//! since. What it can't show is a cut-off end, unless a hash of a line is kept elsewhere; nor what somebody wrote who may
//! write the file and computed all hashes after it anew.

mod chain;
mod file;
mod line;
mod verify;

pub use verify::{Findings, VerificationReport, verify};

use file::AuditFile;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The log's target of the lines where there is no file.
const TARGET: &str = "audit";

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEvent {
    /// A read that has ended.
    Read,
    /// A read of the server's own that has ended: where a guest is, which nodes there are.
    Lookup,
    /// A change is about to be sent.
    ChangeStarted,
    /// A change has been answered, or will never be.
    ChangeFinished,
    /// A call that was not let through.
    Denied,
    /// A person was asked to confirm a call.
    ConfirmationRequested,
}

/// What became of the wish to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditDecision {
    /// It may be called.
    Allowed,
    /// It may not.
    Denied,
    /// It may, as it was confirmed.
    Confirmed,
    /// It may once it is confirmed.
    ConfirmationRequested,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome<'a> {
    /// As it should.
    Ok,
    /// Not, and why.
    Failed(&'a str),
    /// A change may have happened or not, and why nobody knows.
    Unknown(&'a str),
}

/// What a line says, beside its number, its time and the hash of the line before. A text is cut at 512 characters, and
/// what does not show is escaped.
#[derive(Clone, Debug)]
pub struct AuditRecord<'a> {
    /// What the line is about.
    pub event: AuditEvent,
    /// The call's own, the same in each line about it.
    pub id: &'a str,
    /// The `traceparent` that its client sent with it (W3C Trace Context).
    pub trace: Option<&'a str>,
    /// Who called, by its name in the settings.
    pub client: &'a str,
    /// Where it called from; `None` on stdio.
    pub address: Option<IpAddr>,
    /// How it called: `http`, `sse`, `stdio`.
    pub transport: &'a str,
    /// The tool's name.
    pub tool: &'a str,
    /// The cluster's name in the settings.
    pub cluster: &'a str,
    /// Method and path: `POST /nodes/pve1/qemu/100/status/stop`.
    pub operation: &'a str,
    /// The guest it concerns, if it does one.
    pub guest: Option<&'a str>,
    /// Names and values, with no secret in them. A value is cut at 256 characters, and they all at 32 KiB.
    pub arguments: &'a [(&'a str, String)],
    /// What became of the wish to call.
    pub decision: AuditDecision,
    /// Why so, where there is something to say.
    pub reason: Option<&'a str>,
    /// The task that it started.
    pub upid: Option<&'a str>,
    /// How it ended, if it has.
    pub outcome: Option<AuditOutcome<'a>>,
    /// How long it took, if it has ended. Written as whole milliseconds.
    pub duration: Option<Duration>,
}

impl AuditEvent {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "call",
            Self::Lookup => "look",
            Self::ChangeStarted => "begin",
            Self::ChangeFinished => "end",
            Self::Denied => "refused",
            Self::ConfirmationRequested => "asked",
        }
    }

    fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::Lookup)
    }

    /// Reads are many: without a file they are heard at `debug` alone.
    fn level(self) -> log::Level {
        if self.is_read() { log::Level::Debug } else { log::Level::Info }
    }
}

impl AuditDecision {
    fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "refused",
            Self::Confirmed => "confirmed",
            Self::ConfirmationRequested => "asked",
        }
    }
}

/// Where the lines go: to a file of their own, or else into the log.
pub struct AuditLog(Option<Mutex<AuditFile>>);

impl AuditLog {
    /// Lines go to the log, target `audit`: reads at `debug`, the rest at `info`; without number and hash.
    pub fn without_file() -> Self {
        Self(None)
    }

    /// Lines go to the end of this file, which is made where it is missing (mode 0600) and belongs to this server alone
    /// for as long as it runs. Errors: it can't be written, is no audit log, or another server writes it.
    pub fn open(path: &Path) -> Result<Self, String> {
        AuditFile::open(path).map(|file| Self(Some(Mutex::new(file))))
    }

    /// Whether a record of such an event goes anywhere: if not, none need be made.
    pub fn is_enabled(&self, event: AuditEvent) -> bool {
        self.0.is_some() || log::log_enabled!(target: TARGET, event.level())
    }

    /// Writes a line. All but that of a read is on the disk when this returns. Errors: it can't be written, and no part
    /// of it is in the file; the text says what to do.
    pub fn write(&self, record: &AuditRecord<'_>) -> Result<(), String> {
        if !self.is_enabled(record.event) {
            return Ok(());
        }
        let body = line::format_body(record);
        match &self.0 {
            None => {
                let time = crate::base::timestamp::timestamp(std::time::SystemTime::now());
                log::log!(target: TARGET, record.event.level(), "{{\"time\":\"{time}\"{body}}}");
                Ok(())
            }
            Some(file) => file.lock().unwrap_or_else(PoisonError::into_inner).append(&body, !record.event.is_read()),
        }
    }
}
