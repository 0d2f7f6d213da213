//! The file that the lines are added to: whole lines or nothing, in one chain, by one server.

use super::chain::{Chain, LONGEST};
use crate::timestamp::timestamp;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How much of a file's end is read to go on from it: a few lines of any length.
const TAIL: u64 = 4 * LONGEST as u64;
/// How long a file may have been moved away until that is noticed.
const LOOK: Duration = Duration::from_secs(1);
/// Between two warnings that it can't be written; each call is told.
const WARN: Duration = Duration::from_secs(60);

/// The file at a path, whichever that is at the time.
pub(super) struct AuditFile {
    path: PathBuf,
    opened: Opened,
    /// When the path was last found to lead to that file.
    looked: Instant,
    warned: Option<Instant>,
}

struct Opened {
    /// For reading and appending, with the lock.
    file: File,
    /// `None`: to be read from its end anew, since half a line may be there.
    chain: Option<Chain>,
}

impl AuditFile {
    /// Opens it, or makes it. Errors: a sentence that names the path, for who starts the server.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let opened = open(path).map_err(|why| format!("the audit log {} {why}", path.display()))?;
        if opened.file.metadata().is_ok_and(|about| about.permissions().mode() & 0o007 != 0) {
            log::warn!("others can read or write the audit log {0}: chmod 600 {0}", path.display());
        }
        Ok(Self { path: path.to_owned(), opened, looked: Instant::now(), warned: None })
    }

    /// Adds a record; `sync`: and waits until the disk has it. Errors: nothing of it was added. The text is for the
    /// caller and names no path.
    pub(super) fn append(&mut self, body: &str, sync: bool) -> Result<(), String> {
        let done = self.follow().and_then(|about| self.opened.append(body, sync, about.len()).map_err(cannot_write));
        let Err(why) = done else { return Ok(()) };
        let why = format!("the audit log {why}, then call again");
        let now = Instant::now();
        if self.warned.is_none_or(|last| now.duration_since(last) >= WARN) {
            self.warned = Some(now);
            log::warn!("{why}");
        }
        Err(why)
    }

    /// Opens the path anew where the file is there no more: rotated, removed, or emptied.
    fn follow(&mut self) -> Result<Metadata, String> {
        let held = self.opened.file.metadata().map_err(cannot_write)?;
        let now = Instant::now();
        let removed = held.nlink() == 0;
        if removed || now.duration_since(self.looked) >= LOOK {
            let there = std::fs::metadata(&self.path).ok();
            let same = |there: &Metadata| (there.dev(), there.ino()) == (held.dev(), held.ino());
            if removed || !there.is_some_and(|there| same(&there)) {
                self.opened = open(&self.path)?;
                log::warn!("the audit log was moved or removed: it goes on in the file that is now at its path");
                self.looked = now;
                return self.opened.file.metadata().map_err(cannot_write);
            }
            self.looked = now;
        }
        if held.len() == 0 && self.opened.chain.as_ref().is_some_and(|chain| chain.seq > 0) {
            log::warn!("the audit log was emptied by another program: its lines are counted from 1 again");
            self.opened.chain = Some(Chain::new());
        }
        Ok(held)
    }
}

impl Opened {
    /// Adds a record to a file of `length` bytes. After an error the file has that length again, if that is possible.
    fn append(&mut self, body: &str, sync: bool, length: u64) -> io::Result<()> {
        let chain = match self.chain.take() {
            Some(chain) => chain,
            None => chain_of(&self.file, length)?.ok_or(ErrorKind::InvalidData)?,
        };
        let line = chain.line(&timestamp(SystemTime::now()), body);
        // One write(2), unless the disk has room for a part alone: then the second says what is wrong.
        let written = self.file.write_all(line.as_bytes());
        match written.and_then(|()| if sync { self.file.sync_data() } else { Ok(()) }) {
            Ok(()) => self.chain = Some(chain.next(&line)),
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
fn open(path: &Path) -> Result<Opened, String> {
    // Asked before it is opened, as that has an effect on a device or a pipe.
    if let Ok(about) = std::fs::metadata(path) {
        is_file(&about)?;
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
    let about = file.metadata().map_err(|error| format!("can't be looked at ({error}): name another place"))?;
    is_file(&about)?;
    let chain = chain_of(&file, about.len()).map_err(|error| format!("can't be read ({error}): name another file"))?;
    let chain = chain.ok_or("does not end as an audit log: is it another file? Move it away, or name another place")?;
    if about.len() == 0
        && let Some(folder) = path.parent()
    {
        // A new file outlives a crash only once its folder is on the disk; not every file system does that.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(Opened { file, chain: Some(chain) })
}

fn is_file(about: &Metadata) -> Result<(), String> {
    let kind = about.file_type();
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
fn chain_of(file: &File, length: u64) -> io::Result<Option<Chain>> {
    let start = length.saturating_sub(TAIL);
    let mut tail = vec![0; usize::try_from(length - start).unwrap_or_default()];
    file.read_exact_at(&mut tail, start)?;
    // The first line is known to be whole only where the file begins with it.
    let skip = if start == 0 { 0 } else { tail.iter().position(|b| *b == b'\n').map_or(tail.len(), |end| end + 1) };
    Ok(Chain::after(tail.get(skip..).unwrap_or_default(), start == 0))
}

/// Goes on after "the audit log", and before what to do next.
fn cannot_write(error: io::Error) -> String {
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

    fn refusal(path: &Path) -> String {
        AuditFile::open(path).err().unwrap()
    }

    /// The number of records; no problem was found, and as many warnings as given.
    fn records(path: &Path, warnings: u64) -> u64 {
        let report = verify(&mut BufReader::new(File::open(path).unwrap()), None).unwrap();
        assert_eq!((report.problems.count, report.warnings.count), (0, warnings), "{report:?}");
        report.records
    }

    #[test]
    fn a_new_file_is_for_its_owner_alone_and_a_later_start_goes_on() {
        let (_folder, path) = folder();
        for count in 1..4 {
            let mut file = AuditFile::open(&path).unwrap();
            file.append(",\"id\":\"a\"", count > 1).unwrap();
            assert_eq!(records(&path, 0), count);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_long_file_is_gone_on_from_its_tail() {
        let (_folder, path) = folder();
        let body = format!(",\"id\":\"{}\"", "x".repeat(50_000));
        let mut file = AuditFile::open(&path).unwrap();
        (0..12).for_each(|_| file.append(&body, false).unwrap());
        drop(file);
        assert!(fs::metadata(&path).unwrap().len() > TAIL);
        AuditFile::open(&path).unwrap().append(&body, false).unwrap();
        assert_eq!(records(&path, 0), 13);
    }

    #[test]
    fn a_torn_line_is_ended_and_gone_on_from() {
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
            assert_eq!(records(&path, torn), 4 - torn, "{cut}");
        }
    }

    #[test]
    fn what_is_no_file_of_ours_is_refused_and_left_alone() {
        let (folder, path) = folder();
        assert!(refusal(folder.path()).ends_with("is a directory: name a file"));
        std::os::unix::fs::symlink(folder.path(), &path).unwrap();
        assert!(refusal(&path).ends_with("audit.log is a directory: name a file"));
        assert!(refusal(Path::new("/dev/full")).ends_with("is a device: name a file"));
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(refusal(&pipe).ends_with("is a pipe: name a file"));
        assert!(refusal(&folder.path().join("none/audit.log")).ends_with("does not exist: make it first"));
        let other = folder.path().join("passwd");
        fs::write(&other, "root:x:0:0\n").unwrap();
        assert!(refusal(&other).contains("does not end as an audit log"));
        assert_eq!(fs::read(&other).unwrap(), b"root:x:0:0\n");
    }

    #[test]
    fn two_servers_never_write_one_file() {
        let (_folder, path) = folder();
        let first = AuditFile::open(&path).unwrap();
        assert!(refusal(&path).contains("written by another proxmox-mcp: give each"));
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
        file.looked = file.looked.checked_sub(LOOK).unwrap();
        file.append("", true).unwrap();
        file.append("", true).unwrap();
        assert_eq!((records(&moved, 0), records(&path, 0)), (1, 2));
        fs::remove_file(&path).unwrap();
        file.append("", true).unwrap();
        assert_eq!(records(&path, 0), 1);
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        file.append("", true).unwrap();
        assert_eq!(records(&path, 0), 1);
    }

    #[test]
    fn a_path_that_leads_nowhere_any_more_is_told_each_time_until_it_does() {
        let (folder, path) = folder();
        let mut file = AuditFile::open(&path).unwrap();
        let away = folder.path().with_extension("away");
        fs::rename(folder.path(), &away).unwrap();
        file.looked = file.looked.checked_sub(LOOK).unwrap();
        for _ in 0..2 {
            let told = file.append("", true).unwrap_err();
            assert_eq!(told, "the audit log is in a folder that does not exist: make it first, then call again");
        }
        fs::rename(&away, folder.path()).unwrap();
        file.append("", true).unwrap();
        assert_eq!(records(&path, 0), 1);
    }

    #[test]
    fn half_a_line_that_could_not_be_taken_back_is_gone_on_from() {
        let (_folder, path) = folder();
        let mut file = AuditFile::open(&path).unwrap();
        file.append("", true).unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"{\"seq\":2,\"ti").unwrap();
        file.opened.chain = None;
        file.append("", true).unwrap();
        assert_eq!(records(&path, 1), 2);
    }
}
