//! Files with secrets: written whole or not at all, for their owner alone.

use crate::command::failure::Failure;
use proxmox_mcp::sanitize::printable_path;
use rustix::process::geteuid;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process;

/// Replaces a file by one with these contents, once `check` accepts the new file at its temporary path.
///
/// A new file has mode 0600, and the owner of its folder if the caller is root: the folder of a service belongs to the
/// user of the service. An existing file keeps its owner, and its mode if that has no rights of other users.
pub fn replace(path: &Path, contents: &[u8], check: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    let failure = |error: io::Error| Failure::Runtime(format!("cannot write {}: {error}", printable_path(path)));
    // A link stays a link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&folder).map_err(failure)?;
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", process::id()));
    let temporary = folder.join(name);
    let result = write_new(&temporary, &path, &folder, contents)
        .map_err(failure)
        .and_then(|()| check(&temporary))
        .and_then(|()| fs::rename(&temporary, &path).map_err(failure))
        .and_then(|()| File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failure));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn write_new(temporary: &Path, path: &Path, folder: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(contents)?;
    let existing = fs::metadata(path).ok();
    if geteuid().is_root() {
        let owner = existing.as_ref().map_or_else(|| fs::metadata(folder), |existing| Ok(existing.clone()))?;
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    let mode = existing.map(|existing| existing.mode() & 0o777).filter(|mode| mode & 0o007 == 0);
    file.set_permissions(Permissions::from_mode(mode.unwrap_or(0o600)))?;
    file.sync_all()
}

/// Copies a file to `NAME.bak`, then `NAME.bak2` and so on. Returns the path of the copy.
pub fn back_up(path: &Path) -> Result<PathBuf, Failure> {
    let failure = |error: io::Error| Failure::Runtime(format!("cannot copy {}: {error}", printable_path(path)));
    let contents = fs::read(path).map_err(failure)?;
    for number in 1_u32.. {
        let mut copy = path.as_os_str().to_owned();
        copy.push(if number == 1 { ".bak".to_owned() } else { format!(".bak{number}") });
        let copy = PathBuf::from(copy);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy) {
            Ok(mut file) => {
                file.write_all(&contents).map_err(failure)?;
                return Ok(copy);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failure(error)),
        }
    }
    unreachable!("a folder has fewer files")
}
