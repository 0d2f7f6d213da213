//! The target of audit records: a file of their own, or the log.

use super::error::{AuditOpenError, AuditWriteError};
use super::file::AuditFile;
use super::line::format_body;
use super::record::{AuditEvent, AuditRecord};
use crate::base::timestamp::timestamp;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The target of the records in the log.
const TARGET: &str = "audit";

/// The audit log of a server.
pub struct AuditLog(Option<Mutex<AuditFile>>);

impl AuditLog {
    /// Writes to the log with the target `audit`, reads at `debug` and the rest at `info`, without number and hash.
    pub fn without_file() -> Self {
        Self(None)
    }

    /// Appends to a file, which is created with mode 0600 if it is missing. The file is locked for this server as long
    /// as it runs.
    pub fn open(path: &Path) -> Result<Self, AuditOpenError> {
        AuditFile::open(path).map(|file| Self(Some(Mutex::new(file))))
    }

    /// Returns true if a record of such an event is written at all.
    pub fn is_enabled(&self, event: AuditEvent) -> bool {
        self.0.is_some() || log::log_enabled!(target: TARGET, level(event))
    }

    /// Writes a record. Records other than those of reads are on the disk when this returns. After an error no part of
    /// the record is in the file.
    pub fn write(&self, record: &AuditRecord<'_>) -> Result<(), AuditWriteError> {
        if !self.is_enabled(record.event) {
            return Ok(());
        }
        let body = format_body(record);
        match &self.0 {
            None => {
                let time = timestamp(SystemTime::now());
                log::log!(target: TARGET, level(record.event), "{{\"time\":\"{time}\"{body}}}");
                Ok(())
            }
            Some(file) => file.lock().unwrap_or_else(PoisonError::into_inner).append(&body, !record.event.is_read()),
        }
    }
}

/// Returns the level of an event in the log. Reads are many.
fn level(event: AuditEvent) -> log::Level {
    if event.is_read() { log::Level::Debug } else { log::Level::Info }
}
