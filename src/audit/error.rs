//! The errors of an audit file.

use crate::base::hint::Hint;
use crate::sanitize::printable_path;
use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// A cause for which an audit file cannot be opened or written.
#[derive(Debug, Error)]
pub enum AuditFileError {
    #[error("its folder does not exist")]
    MissingFolder,
    #[error("permission denied")]
    PermissionDenied,
    #[error("its file system is mounted read-only")]
    ReadOnly,
    /// The path leads to a directory, a pipe, a socket or a device.
    #[error("it is {0}")]
    NotAFile(&'static str),
    #[error("it is written by another proxmox-mcp")]
    Locked,
    #[error("locking failed: {0}")]
    Lock(io::Error),
    #[error("it does not end like an audit log")]
    NotAnAuditLog,
    /// The disk may still write the line.
    #[error("its disk did not accept the line within {} s", limit.as_secs())]
    Stalled { may_be_written: bool, limit: Duration },
    #[error("{0}")]
    NoSpace(io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl AuditFileError {
    pub(super) fn from_open(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::MissingFolder,
            ErrorKind::PermissionDenied => Self::PermissionDenied,
            ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Io(error),
        }
    }

    pub(super) fn from_write(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Self::NoSpace(error),
            _ => Self::Io(error),
        }
    }

    fn next_step(&self) -> &'static str {
        match self {
            Self::MissingFolder => "create the folder",
            Self::PermissionDenied => "make the user of this server the owner of the file or of its folder",
            Self::ReadOnly => "choose a path on another file system",
            Self::NotAFile(_) => "choose the path of a file",
            Self::Locked => "give each server a file of its own",
            Self::Lock(_) => "choose a path on a local disk",
            Self::NotAnAuditLog => "move the file away or choose another path",
            Self::Stalled { .. } => "check its disk",
            Self::NoSpace(_) => "free some space on its disk",
            Self::Io(_) => "check its disk or choose another path",
        }
    }
}

/// The audit file cannot be opened when the server starts.
#[derive(Debug, Error)]
#[error("cannot open the audit log {}: {cause}", printable_path(path))]
pub struct AuditOpenError {
    pub path: PathBuf,
    pub cause: AuditFileError,
}

impl Hint for AuditOpenError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(self.cause.next_step().into())
    }
}

/// A record cannot be written. The text goes to clients and names no path. Records that are written together share it.
#[derive(Clone, Debug, Error)]
#[error("cannot write the audit log: {0}")]
pub struct AuditWriteError(Arc<AuditFileError>);

impl AuditWriteError {
    /// Returns true if the record may be in the file all the same.
    pub fn may_be_written(&self) -> bool {
        matches!(*self.0, AuditFileError::Stalled { may_be_written: true, .. })
    }
}

impl From<AuditFileError> for AuditWriteError {
    fn from(cause: AuditFileError) -> Self {
        Self(Arc::new(cause))
    }
}

impl Hint for AuditWriteError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(format!("{}, then call again", self.0.next_step()).into())
    }
}
