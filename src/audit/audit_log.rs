//! The target of audit records: a file of their own, or the log.

use super::error::{AuditOpenError, AuditWriteError};
use super::file::AuditFile;
use super::line::format_body;
use super::queue::{AuditQueue, WRITE_LIMIT};
use super::record::{AuditEvent, AuditRecord};
use crate::base::timestamp::timestamp;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The target of the records in the log.
const TARGET: &str = "audit";

/// The audit log of a server.
pub struct AuditLog(Option<AuditQueue>);

impl AuditLog {
    /// Writes to the log with the target `audit`, reads at `debug` and the rest at `info`, without number and hash.
    pub fn without_file() -> Self {
        Self(None)
    }

    /// Appends to a file, which is created with mode 0600 if it is missing. The file is locked for this server as long
    /// as it runs.
    pub fn open(path: &Path) -> Result<Self, AuditOpenError> {
        let queue = AuditQueue::start(AuditFile::open(path)?, WRITE_LIMIT);
        let queue = queue.map_err(|error| AuditOpenError { path: path.to_owned(), cause: error.into() })?;
        Ok(Self(Some(queue)))
    }

    /// Returns true if a record of such an event is written at all.
    pub fn is_enabled(&self, event: AuditEvent) -> bool {
        self.0.is_some() || log::log_enabled!(target: TARGET, level(event))
    }

    /// Writes a record. Records other than those of reads are on the disk when this returns. After an error no part of
    /// the record is in the file, unless [`AuditWriteError::may_be_written`]. The record of a read is only queued.
    pub fn write(&self, record: &AuditRecord<'_>) -> Result<(), AuditWriteError> {
        match &self.0 {
            Some(queue) if !record.event.is_read() => queue.push_and_wait(format_body(record)),
            _ => {
                self.write_later(record);
                Ok(())
            }
        }
    }

    /// Writes a record without waiting for the disk.
    pub fn write_later(&self, record: &AuditRecord<'_>) {
        if !self.is_enabled(record.event) {
            return;
        }
        let body = format_body(record);
        match &self.0 {
            None => {
                let time = timestamp(SystemTime::now());
                log::log!(target: TARGET, level(record.event), "{{\"time\":\"{time}\"{body}}}");
            }
            Some(queue) => queue.push(body),
        }
    }

    /// Waits until every record is written, at most for `limit`.
    pub fn flush(&self, limit: Duration) {
        if let Some(queue) = &self.0 {
            queue.flush(limit);
        }
    }
}

/// Returns the level of an event in the log. Reads are many.
fn level(event: AuditEvent) -> log::Level {
    if event.is_read() { log::Level::Debug } else { log::Level::Info }
}
