//! Detection of changed configuration files.

use super::cli::Cli;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// State of the configuration's files, to be taken before they are read.
#[derive(PartialEq, Eq)]
pub struct FileStamps(Vec<Option<FileStamp>>);

/// Metadata that changes with the file. It uses ctime, not mtime: `cp -p` and `rsync` preserve mtime.
#[derive(PartialEq, Eq)]
struct FileStamp {
    ctime_seconds: i64,
    ctime_nanoseconds: i64,
    length: u64,
    inode: u64,
}

impl FileStamps {
    /// Takes the stamps of `config_file` and the file of the client token.
    pub fn take(cli: &Cli, config_file: Option<&Path>) -> Self {
        Self(config_file.into_iter().chain(cli.http.auth_token_file.as_deref()).map(FileStamp::take).collect())
    }
}

impl FileStamp {
    /// Returns `None` for a file that cannot be found.
    fn take(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            ctime_seconds: metadata.ctime(),
            ctime_nanoseconds: metadata.ctime_nsec(),
            length: metadata.len(),
            inode: metadata.ino(),
        })
    }
}
