//! The audit log: one JSON object per line for each call, with caller, operation, decision and outcome.
//!
//! Each line holds the hash of the line before, so that [`verify()`] detects changed, removed, inserted and reordered
//! lines. It detects a cut-off end only with the hash of a line that is kept elsewhere. It cannot detect tampering by
//! an attacker who can write the file and recompute all hashes.

mod audit_log;
mod chain;
mod error;
mod file;
mod line;
mod queue;
mod record;
mod verify;

pub use audit_log::AuditLog;
pub use error::{AuditFileError, AuditOpenError, AuditWriteError};
pub use line::quoted_len;
pub use record::{AuditDecision, AuditEvent, AuditOutcome, AuditRecord};
pub use verify::{Findings, VerificationReport, verify};
