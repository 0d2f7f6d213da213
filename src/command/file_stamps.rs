//! Detection of changed configuration files.

use super::cli::Cli;
use proxmox_mcp::base::file_stamp::FileStamp;
use std::path::Path;

/// State of the configuration's files, to be taken before they are read.
#[derive(PartialEq, Eq)]
pub struct FileStamps(Vec<Option<FileStamp>>);

impl FileStamps {
    /// Takes the stamps of `config_file` and the file of the client token.
    pub fn take(cli: &Cli, config_file: Option<&Path>) -> Self {
        Self(config_file.into_iter().chain(cli.http.auth_token_file.as_deref()).map(FileStamp::take).collect())
    }
}
