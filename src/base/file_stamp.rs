//! Detection of changed files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Metadata that changes with a file. It uses ctime, not mtime: `cp -p` and `rsync` preserve mtime.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    ctime_seconds: i64,
    ctime_nanoseconds: i64,
    length: u64,
    inode: u64,
}

impl FileStamp {
    /// Takes the stamp of a file. Returns `None` if the file cannot be found.
    pub fn take(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            ctime_seconds: metadata.ctime(),
            ctime_nanoseconds: metadata.ctime_nsec(),
            length: metadata.len(),
            inode: metadata.ino(),
        })
    }
}
