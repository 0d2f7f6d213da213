//! The file that the lines are added to: whole lines or nothing, in one chain, by one server.

use super::chain::{HashChain, MAX_LINE_BYTES};
use crate::base::timestamp::timestamp;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How much of a file's end is read to go on from it: a few lines of any length.
const TAIL_BYTES: u64 = 4 * MAX_LINE_BYTES as u64;
/// How long a file may have been moved away until that is noticed.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Between two warnings that it can't be written; each call is told.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// The file at a path, whichever that is at the time.
pub(super) struct AuditFile {
    path: PathBuf,
    current: LockedFile,
    /// When the path was last found to lead to that file.
    checked_at: Instant,
    warned_at: Option<Instant>,
}

struct LockedFile {
    /// For reading and appending, with the lock.
    file: File,
    /// `None`: to be read from its end anew, since half a line may be there.
    chain: Option<HashChain>,
}

impl AuditFile {
    /// Opens it, or makes it. Errors: a sentence that names the path, for who starts the server.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let opened = open_locked(path).map_err(|why| format!("the audit log {} {why}", path.display()))?;
        if opened.file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0) {
            log::warn!("others can read or write the audit log {0}: chmod 600 {0}", path.display());
        }
        Ok(Self { path: path.to_owned(), current: opened, checked_at: Instant::now(), warned_at: None })
    }

    /// Adds a record; `sync`: and waits until the disk has it. Errors: nothing of it was added. The text is for the
    /// caller and names no path.
    pub(super) fn append(&mut self, body: &str, sync: bool) -> Result<(), String> {
        let done = self
            .reopen_if_moved()
            .and_then(|metadata| self.current.append(body, sync, metadata.len()).map_err(describe_write_error));
        let Err(why) = done else { return Ok(()) };
        let why = format!("the audit log {why}, then call again");
        let now = Instant::now();
        if self.warned_at.is_none_or(|last| now.duration_since(last) >= WARN_INTERVAL) {
            self.warned_at = Some(now);
            log::warn!("{why}");
        }
        Err(why)
    }

    /// Opens the path anew where the file is there no more: rotated, removed, or emptied.
    fn reopen_if_moved(&mut self) -> Result<Metadata, String> {
        let metadata = self.current.file.metadata().map_err(describe_write_error)?;
        let now = Instant::now();
        let removed = metadata.nlink() == 0;
        if removed || now.duration_since(self.checked_at) >= CHECK_INTERVAL {
            let there = std::fs::metadata(&self.path).ok();
            let same = |there: &Metadata| (there.dev(), there.ino()) == (metadata.dev(), metadata.ino());
            if removed || !there.is_some_and(|there| same(&there)) {
                self.current = open_locked(&self.path)?;
                log::warn!("the audit log was moved or removed: it goes on in the file that is now at its path");
                self.checked_at = now;
                return self.current.file.metadata().map_err(describe_write_error);
            }
            self.checked_at = now;
        }
        if metadata.len() == 0 && self.current.chain.as_ref().is_some_and(|chain| chain.seq > 0) {
            log::warn!("the audit log was emptied by another program: its lines are counted from 1 again");
            self.current.chain = Some(HashChain::new());
        }
        Ok(metadata)
    }
}

impl LockedFile {
    /// Adds a record to a file of `length` bytes. After an error the file has that length again, if that is possible.
    fn append(&mut self, body: &str, sync: bool, length: u64) -> io::Result<()> {
        let chain = match self.chain.take() {
            Some(chain) => chain,
            None => read_chain(&self.file, length)?.ok_or(ErrorKind::InvalidData)?,
        };
        let line = chain.format_line(&timestamp(SystemTime::now()), body);
        // One write(2), unless the disk has room for a part alone: then the second says what is wrong.
        let written = self.file.write_all(line.as_bytes());
        match written.and_then(|()| if sync { self.file.sync_data() } else { Ok(()) }) {
            Ok(()) => self.chain = Some(chain.advance(&line)),
            Err(error) => {
                self.chain = self.file.set_len(length).is_ok().then_some(chain);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Takes the lock; waits a moment for a server that is just ending, or for a child of this process that still has the
/// descriptor between its fork and its exec.
fn lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..20 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(50)),
            taken => return taken,
        }
    }
    file.try_lock()
}

/// Errors go on after the name of the file.
fn open_locked(path: &Path) -> Result<LockedFile, String> {
    // Asked before it is opened, as that has an effect on a device or a pipe.
    if let Ok(metadata) = std::fs::metadata(path) {
        require_regular_file(&metadata)?;
    }
    let file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(|error| match error
            .kind()
        {
            ErrorKind::NotFound => "is in a folder that does not exist: make it first".to_owned(),
            ErrorKind::PermissionDenied => {
                "can't be written by the user this runs as: change the owner of the file, or of its folder".into()
            }
            ErrorKind::ReadOnlyFilesystem => "is on a disk that is mounted read-only: name another place".into(),
            _ => format!("can't be opened ({error}): name another place"),
        })?;
    lock(&file).map_err(|error| match error {
        TryLockError::WouldBlock => "is written by another proxmox-mcp: give each server a file of its own".to_owned(),
        TryLockError::Error(error) => format!("can't be locked ({error}): name a file on a local disk"),
    })?;
    let metadata = file.metadata().map_err(|error| format!("can't be looked at ({error}): name another place"))?;
    require_regular_file(&metadata)?;
    let chain =
        read_chain(&file, metadata.len()).map_err(|error| format!("can't be read ({error}): name another file"))?;
    let chain = chain.ok_or("does not end as an audit log: is it another file? Move it away, or name another place")?;
    if metadata.len() == 0
        && let Some(folder) = path.parent()
    {
        // A new file outlives a crash only once its folder is on the disk; not every file system does that.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(LockedFile { file, chain: Some(chain) })
}

fn require_regular_file(metadata: &Metadata) -> Result<(), String> {
    let kind = metadata.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(format!("is {what}: name a file"))
}

/// What a file of `length` bytes goes on from. `None`: it is no audit log.
fn read_chain(file: &File, length: u64) -> io::Result<Option<HashChain>> {
    let start = length.saturating_sub(TAIL_BYTES);
    let mut tail = vec![0; usize::try_from(length - start).unwrap_or_default()];
    file.read_exact_at(&mut tail, start)?;
    // The first line is known to be whole only where the file begins with it.
    let skip = if start == 0 { 0 } else { tail.iter().position(|b| *b == b'\n').map_or(tail.len(), |end| end + 1) };
    Ok(HashChain::from_tail(tail.get(skip..).unwrap_or_default(), start == 0))
}

/// Goes on after "the audit log", and before what to do next.
fn describe_write_error(error: io::Error) -> String {
    match error.kind() {
        ErrorKind::InvalidData => "can't be gone on from: move the file away".into(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            format!("can't be written ({error}): make room for it")
        }
        _ => format!("can't be written ({error}): let the server's operator look at its disk"),
    }
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

    fn open_error(path: &Path) -> String {
        AuditFile::open(path).err().unwrap()
    }

    /// The number of records; no problem was found, and as many warnings as given.
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
            file.append(",\"id\":\"a\"", count > 1).unwrap();
            assert_eq!(count_records(&path, 0), count);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_long_file_is_continued_from_its_tail() {
        let (_folder, path) = folder();
        let body = format!(",\"id\":\"{}\"", "x".repeat(50_000));
        let mut file = AuditFile::open(&path).unwrap();
        (0..12).for_each(|_| file.append(&body, false).unwrap());
        drop(file);
        assert!(fs::metadata(&path).unwrap().len() > TAIL_BYTES);
        AuditFile::open(&path).unwrap().append(&body, false).unwrap();
        assert_eq!(count_records(&path, 0), 13);
    }

    #[test]
    fn a_torn_line_is_ended_and_continued_from() {
        let (_folder, path) = folder();
        let mut whole = AuditFile::open(&path).unwrap();
        (0..2).for_each(|_| whole.append(",\"id\":\"a\"", false).unwrap());
        drop(whole);
        let two = fs::read(&path).unwrap();
        let first = two.iter().position(|b| *b == b'\n').unwrap() + 1;
        for cut in first + 1..two.len() {
            fs::write(&path, &two[..cut]).unwrap();
            let mut file = AuditFile::open(&path).unwrap();
            // Nothing is added before there is something to say.
            assert_eq!(fs::read(&path).unwrap(), &two[..cut]);
            (0..2).for_each(|_| file.append(",\"id\":\"b\"", false).unwrap());
            drop(file);
            // All of the second line but its newline is a record.
            let torn = u64::from(cut + 1 < two.len());
            assert_eq!(count_records(&path, torn), 4 - torn, "{cut}");
        }
    }

    #[test]
    fn what_is_no_file_of_ours_is_refused_and_left_alone() {
        let (folder, path) = folder();
        assert!(open_error(folder.path()).ends_with("is a directory: name a file"));
        std::os::unix::fs::symlink(folder.path(), &path).unwrap();
        assert!(open_error(&path).ends_with("audit.log is a directory: name a file"));
        assert!(open_error(Path::new("/dev/full")).ends_with("is a device: name a file"));
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(open_error(&pipe).ends_with("is a pipe: name a file"));
        assert!(open_error(&folder.path().join("none/audit.log")).ends_with("does not exist: make it first"));
        let other = folder.path().join("passwd");
        fs::write(&other, "root:x:0:0\n").unwrap();
        assert!(open_error(&other).contains("does not end as an audit log"));
        assert_eq!(fs::read(&other).unwrap(), b"root:x:0:0\n");
    }

    #[test]
    fn two_servers_never_write_one_file() {
        let (_folder, path) = folder();
        let first = AuditFile::open(&path).unwrap();
        assert!(open_error(&path).contains("written by another proxmox-mcp: give each"));
        drop(first);
        AuditFile::open(&path).unwrap();
    }

    #[test]
    fn a_file_that_was_moved_or_removed_is_followed_by_a_new_one() {
        let (folder, path) = folder();
        let mut file = AuditFile::open(&path).unwrap();
        file.append("", true).unwrap();
        let moved = folder.path().join("audit.log.1");
        fs::rename(&path, &moved).unwrap();
        // As if a second had passed.
        file.checked_at = file.checked_at.checked_sub(CHECK_INTERVAL).unwrap();
        file.append("", true).unwrap();
        file.append("", true).unwrap();
        assert_eq!((count_records(&moved, 0), count_records(&path, 0)), (1, 2));
        fs::remove_file(&path).unwrap();
        file.append("", true).unwrap();
        assert_eq!(count_records(&path, 0), 1);
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        file.append("", true).unwrap();
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
            let told = file.append("", true).unwrap_err();
            assert_eq!(told, "the audit log is in a folder that does not exist: make it first, then call again");
        }
        fs::rename(&away, folder.path()).unwrap();
        file.append("", true).unwrap();
        assert_eq!(count_records(&path, 0), 1);
    }

    #[test]
    fn half_a_line_that_could_not_be_removed_is_continued_from() {
        let (_folder, path) = folder();
        let mut file = AuditFile::open(&path).unwrap();
        file.append("", true).unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"{\"seq\":2,\"ti").unwrap();
        file.current.chain = None;
        file.append("", true).unwrap();
        assert_eq!(count_records(&path, 1), 2);
    }
}
