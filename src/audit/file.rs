//! The audit file, to which one server appends whole lines in one chain.

use super::chain::{HashChain, MAX_LINE_BYTES};
use super::error::{AuditFileError, AuditOpenError, AuditWriteError};
use super::queue::{AuditSink, QueuedLine};
use crate::base::hint::render_error;
use crate::sanitize::printable_path;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a file's end that are read to continue its chain, which are several lines of any length.
const TAIL_BYTES: u64 = 4 * MAX_LINE_BYTES as u64;
/// The time after which a moved file is noticed.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two warnings in the log. Each caller gets the error.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// The file at a path. It is opened again after a rotation.
pub(super) struct AuditFile {
    path: PathBuf,
    current: LockedFile,
    /// The time at which the path last led to the current file.
    checked_at: Instant,
    warned_at: Option<Instant>,
}

struct LockedFile {
    /// For reading and appending, with the lock.
    file: File,
    /// `None` after a write failed and part of a line may be in the file. The chain is then read from the file's end.
    chain: Option<HashChain>,
}

impl AuditFile {
    /// Opens or creates the file.
    pub(super) fn open(path: &Path) -> Result<Self, AuditOpenError> {
        let current = open_locked(path).map_err(|cause| AuditOpenError { path: path.to_owned(), cause })?;
        if current.file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0) {
            log::warn!("other users can read or write the audit log {0}. hint: chmod 600 {0}", printable_path(path));
        }
        Ok(Self { path: path.to_owned(), current, checked_at: Instant::now(), warned_at: None })
    }

    fn warn(&mut self, error: &AuditWriteError) {
        let now = Instant::now();
        if self.warned_at.is_none_or(|last| now.duration_since(last) >= WARN_INTERVAL) {
            self.warned_at = Some(now);
            log::warn!("{}", render_error(error));
        }
    }

    /// Opens the path again if the file was rotated or removed, and begins a new chain if it was emptied. Returns the
    /// metadata of the current file.
    fn reopen_if_moved(&mut self) -> Result<Metadata, AuditFileError> {
        let metadata = self.current.file.metadata()?;
        let now = Instant::now();
        let removed = metadata.nlink() == 0;
        if removed || now.duration_since(self.checked_at) >= CHECK_INTERVAL {
            let is_current = |found: Metadata| (found.dev(), found.ino()) == (metadata.dev(), metadata.ino());
            let moved = removed || !std::fs::metadata(&self.path).is_ok_and(is_current);
            if moved {
                self.current = open_locked(&self.path)?;
                log::warn!("the audit log was moved or removed: it continues in the file that is now at its path");
            }
            self.checked_at = now;
            if moved {
                return Ok(self.current.file.metadata()?);
            }
        }
        if metadata.len() == 0 && self.current.chain.as_ref().is_some_and(|chain| chain.seq > 0) {
            log::warn!("the audit log was emptied by another program: its lines are numbered from 1 again");
            self.current.chain = Some(HashChain::new());
        }
        Ok(metadata)
    }
}

impl AuditSink for AuditFile {
    fn append(&mut self, lines: &[QueuedLine]) -> Vec<Result<(), AuditWriteError>> {
        let results = match self.reopen_if_moved() {
            Ok(metadata) => self.current.append(lines, metadata.len()),
            Err(cause) => vec![Err(cause.into()); lines.len()],
        };
        if let Some(error) = results.iter().find_map(|result| result.as_ref().err()) {
            self.warn(error);
        }
        results
    }
}

impl LockedFile {
    /// Appends records to a file of `start` bytes. After an error the file has no part of the record, if possible.
    fn append(&mut self, lines: &[QueuedLine], start: u64) -> Vec<Result<(), AuditWriteError>> {
        let chain_before = self.chain.clone();
        let mut length = start;
        let results: Vec<_> =
            lines.iter().map(|line| self.append_line(line, &mut length).map_err(AuditWriteError::from)).collect();
        let needs_sync = lines.iter().zip(&results).any(|(line, result)| line.needs_disk() && result.is_ok());
        if needs_sync && let Err(error) = self.file.sync_data() {
            self.chain = self.file.set_len(start).ok().and(chain_before);
            let error = AuditWriteError::from(AuditFileError::from_write(error));
            return vec![Err(error); lines.len()];
        }
        results
    }

    /// Appends a record to a file of `length` bytes. After an error the file is cut to that length again, if possible.
    fn append_line(&mut self, line: &QueuedLine, length: &mut u64) -> Result<(), AuditFileError> {
        let chain = match self.chain.take() {
            Some(chain) => chain,
            None => {
                // A part of a line may have remained.
                *length = self.file.metadata()?.len();
                read_chain(&self.file, *length)?
            }
        };
        let text = chain.format_line(&line.time, &line.body);
        // This is one write(2), unless the disk has room for a part only. The second write then returns the error.
        match self.file.write_all(text.as_bytes()) {
            Ok(()) => {
                *length += text.len() as u64;
                self.chain = Some(chain.advance(&text));
                Ok(())
            }
            Err(error) => {
                self.chain = self.file.set_len(*length).is_ok().then_some(chain);
                Err(AuditFileError::from_write(error))
            }
        }
    }
}

/// Takes the lock. Waits up to a second for a server that is about to end. A child of this process may also hold the
/// descriptor, between its fork and its exec.
fn lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..20 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(50)),
            result => return result,
        }
    }
    file.try_lock()
}

fn open_locked(path: &Path) -> Result<LockedFile, AuditFileError> {
    // Opening has an effect on a device or a pipe, so the kind is checked before it, and again after it.
    if let Ok(metadata) = std::fs::metadata(path) {
        require_regular_file(&metadata)?;
    }
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    let file = file.map_err(AuditFileError::from_open)?;
    lock(&file).map_err(|error| match error {
        TryLockError::WouldBlock => AuditFileError::Locked,
        TryLockError::Error(error) => AuditFileError::Lock(error),
    })?;
    let metadata = file.metadata()?;
    require_regular_file(&metadata)?;
    let chain = read_chain(&file, metadata.len())?;
    if metadata.len() == 0
        && let Some(folder) = path.parent()
    {
        // A new file survives a crash only once its folder is on the disk. Not every file system supports this.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(LockedFile { file, chain: Some(chain) })
}

fn require_regular_file(metadata: &Metadata) -> Result<(), AuditFileError> {
    let kind = metadata.file_type();
    Err(AuditFileError::NotAFile(match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }))
}

/// Reads the chain that a file of `length` bytes ends with.
fn read_chain(file: &File, length: u64) -> Result<HashChain, AuditFileError> {
    let start = length.saturating_sub(TAIL_BYTES);
    let mut tail = vec![0; (length - start) as usize];
    file.read_exact_at(&mut tail, start)?;
    // The first line in the tail is complete only if the file begins with it.
    let skip = if start == 0 { 0 } else { tail.iter().position(|b| *b == b'\n').map_or(tail.len(), |end| end + 1) };
    HashChain::from_tail(&tail[skip..], start == 0).ok_or(AuditFileError::NotAnAuditLog)
}

#[cfg(test)]
mod tests {
    use super::super::verify::verify;
    use super::*;
    use std::fs;
    use std::io::BufReader;
    use std::process::Command;
    use tempfile::TempDir;

    fn folder() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        (folder, path)
    }

    /// Appends a record. A `sync` record must reach the disk.
    fn append(file: &mut AuditFile, body: &str, sync: bool) -> Result<(), AuditWriteError> {
        file.append(&[QueuedLine::for_test(body, sync)]).pop().unwrap()
    }

    fn open_error(path: &Path) -> String {
        render_error(&AuditFile::open(path).err().unwrap())
    }

    /// Returns the number of records of a file with no problem and so many warnings.
    fn count_records(path: &Path, warnings: u64) -> u64 {
        let report = verify(&mut BufReader::new(File::open(path).unwrap()), None).unwrap();
        assert_eq!((report.problems.count, report.warnings.count), (0, warnings), "{report:?}");
        report.record_count
    }

    #[test]
    fn a_new_file_is_private_and_a_later_start_continues_it() {
        let (_folder, path) = folder();
        for count in 1..4 {
            let mut file = AuditFile::open(&path).unwrap();
            append(&mut file, ",\"id\":\"a\"", count > 1).unwrap();
            assert_eq!(count_records(&path, 0), count);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_long_file_is_continued_from_its_tail() {
        let (_folder, path) = folder();
        let body = format!(",\"id\":\"{}\"", "x".repeat(TAIL_BYTES as usize / 10));
        let mut file = AuditFile::open(&path).unwrap();
        (0..12).for_each(|_| append(&mut file, &body, false).unwrap());
        drop(file);
        assert!(fs::metadata(&path).unwrap().len() > TAIL_BYTES);
        append(&mut AuditFile::open(&path).unwrap(), &body, false).unwrap();
        assert_eq!(count_records(&path, 0), 13);
    }

    #[test]
    fn a_torn_line_is_ended_and_continued_from() {
        let (_folder, path) = folder();
        let mut whole = AuditFile::open(&path).unwrap();
        (0..2).for_each(|_| append(&mut whole, ",\"id\":\"a\"", false).unwrap());
        drop(whole);
        let two = fs::read(&path).unwrap();
        let first = two.iter().position(|b| *b == b'\n').unwrap() + 1;
        for cut in first + 1..two.len() {
            fs::write(&path, &two[..cut]).unwrap();
            let mut file = AuditFile::open(&path).unwrap();
            // Opening adds nothing.
            assert_eq!(fs::read(&path).unwrap(), &two[..cut]);
            (0..2).for_each(|_| append(&mut file, ",\"id\":\"b\"", false).unwrap());
            drop(file);
            // The second line without its newline is a record.
            let torn = u64::from(cut + 1 < two.len());
            assert_eq!(count_records(&path, torn), 4 - torn, "{cut}");
        }
    }

    #[test]
    fn a_file_that_is_not_an_audit_log_is_rejected_and_unchanged() {
        let (folder, path) = folder();
        assert!(open_error(folder.path()).ends_with("it is a directory. hint: choose the path of a file"));
        std::os::unix::fs::symlink(folder.path(), &path).unwrap();
        assert!(open_error(&path).ends_with("audit.log: it is a directory. hint: choose the path of a file"));
        assert!(open_error(Path::new("/dev/full")).ends_with("it is a device. hint: choose the path of a file"));
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(open_error(&pipe).ends_with("it is a pipe. hint: choose the path of a file"));
        assert!(open_error(&folder.path().join("none/audit.log")).ends_with("does not exist. hint: create the folder"));
        let other = folder.path().join("passwd");
        fs::write(&other, "root:x:0:0\n").unwrap();
        assert!(open_error(&other).contains("does not end like an audit log"));
        assert_eq!(fs::read(&other).unwrap(), b"root:x:0:0\n");
    }

    #[test]
    fn a_file_of_another_server_is_rejected() {
        let (_folder, path) = folder();
        let first = AuditFile::open(&path).unwrap();
        assert!(open_error(&path).contains("written by another proxmox-mcp. hint: give each"));
        drop(first);
        AuditFile::open(&path).unwrap();
    }

    #[test]
    fn a_file_that_was_moved_or_removed_is_followed_by_a_new_one() {
        let (folder, path) = folder();
        let mut file = AuditFile::open(&path).unwrap();
        append(&mut file, "", true).unwrap();
        let moved = folder.path().join("audit.log.1");
        fs::rename(&path, &moved).unwrap();
        // Simulates the passing of a second.
        file.checked_at = file.checked_at.checked_sub(CHECK_INTERVAL).unwrap();
        append(&mut file, "", true).unwrap();
        append(&mut file, "", true).unwrap();
        assert_eq!((count_records(&moved, 0), count_records(&path, 0)), (1, 2));
        fs::remove_file(&path).unwrap();
        append(&mut file, "", true).unwrap();
        assert_eq!(count_records(&path, 0), 1);
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        append(&mut file, "", true).unwrap();
        assert_eq!(count_records(&path, 0), 1);
    }

    #[test]
    fn a_missing_path_is_reported_on_every_write_until_it_is_back() {
        let (folder, path) = folder();
        let mut file = AuditFile::open(&path).unwrap();
        let away = folder.path().with_extension("away");
        fs::rename(folder.path(), &away).unwrap();
        file.checked_at = file.checked_at.checked_sub(CHECK_INTERVAL).unwrap();
        for _ in 0..2 {
            let error = render_error(&append(&mut file, "", true).unwrap_err());
            let expected =
                "cannot write the audit log: its folder does not exist. hint: create the folder, then call again";
            assert_eq!(error, expected);
        }
        fs::rename(&away, folder.path()).unwrap();
        append(&mut file, "", true).unwrap();
        assert_eq!(count_records(&path, 0), 1);
    }

    #[test]
    fn the_lines_of_a_batch_are_one_chain() {
        let (_folder, path) = folder();
        let mut file = AuditFile::open(&path).unwrap();
        let lines: Vec<_> = (0..50).map(|number| QueuedLine::for_test(",\"id\":\"a\"", number % 3 == 0)).collect();
        assert!(file.append(&lines).iter().all(Result::is_ok));
        assert_eq!(count_records(&path, 0), 50);
    }

    #[test]
    fn half_a_line_that_could_not_be_removed_is_continued_from() {
        let (_folder, path) = folder();
        let mut file = AuditFile::open(&path).unwrap();
        append(&mut file, "", true).unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"{\"seq\":2,\"ti").unwrap();
        file.current.chain = None;
        append(&mut file, "", true).unwrap();
        assert_eq!(count_records(&path, 1), 2);
    }
}
