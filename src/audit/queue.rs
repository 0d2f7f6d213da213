//! The queue between the calls and the audit file.
//!
//! One thread writes the lines in the order in which they came. A change waits until its line is on the disk, and all
//! changes that wait share one flush of the disk. A read waits for nothing, so a disk that hangs stops no read. Its lines
//! are lost and counted once the queue is full.

use super::error::{AuditFileError, AuditWriteError};
use crate::base::timestamp::timestamp;
use crate::metrics::count_lost_audit_lines;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

/// Bytes of lines that wait at most. Lines of changes wait beyond it: each belongs to a call in flight.
const MAX_BYTES: usize = 4 << 20;

/// Time that a change waits for its line.
pub(super) const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Time that the end of the program waits for the lines of reads.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// The target of the lines.
pub(super) trait AuditSink: Send + 'static {
    /// Appends lines, and flushes the disk if one of them needs it. Returns a result for each line. After an error no part
    /// of the line is in the file.
    fn append(&mut self, lines: &[QueuedLine]) -> Vec<Result<(), AuditWriteError>>;
}

/// A line without the parts that depend on its place in the file.
pub(super) struct QueuedLine {
    pub(super) time: String,
    pub(super) body: String,
    /// The change that waits for the line. The line must reach the disk.
    ticket: Option<Arc<Ticket>>,
}

impl QueuedLine {
    pub(super) fn needs_disk(&self) -> bool {
        self.ticket.is_some()
    }

    #[cfg(test)]
    pub(super) fn for_test(body: &str, needs_disk: bool) -> Self {
        let time = timestamp(SystemTime::now()).to_string();
        Self { time, body: body.into(), ticket: needs_disk.then(Arc::default) }
    }
}

/// The place of a change in the queue.
#[derive(Default)]
struct Ticket {
    state: Mutex<TicketState>,
    changed: Condvar,
}

#[derive(Default)]
enum TicketState {
    #[default]
    Queued,
    /// The line is being written.
    Taken,
    Done(Result<(), AuditWriteError>),
    /// The change did not wait any longer, so the line must not be written.
    Abandoned,
}

impl Ticket {
    fn lock(&self) -> MutexGuard<'_, TicketState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns false if the change did not wait any longer.
    fn take(&self) -> bool {
        let mut state = self.lock();
        let is_wanted = matches!(*state, TicketState::Queued);
        if is_wanted {
            *state = TicketState::Taken;
        }
        is_wanted
    }

    fn finish(&self, result: Result<(), AuditWriteError>) {
        *self.lock() = TicketState::Done(result);
        self.changed.notify_all();
    }

    fn wait(&self, limit: Duration) -> Result<(), AuditWriteError> {
        let is_open = |state: &mut TicketState| matches!(state, TicketState::Queued | TicketState::Taken);
        let waited = self.changed.wait_timeout_while(self.lock(), limit, is_open);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        match std::mem::replace(&mut *state, TicketState::Abandoned) {
            TicketState::Done(result) => result,
            TicketState::Taken => Err(AuditFileError::Stalled { may_be_written: true, limit }.into()),
            TicketState::Queued | TicketState::Abandoned => {
                Err(AuditFileError::Stalled { may_be_written: false, limit }.into())
            }
        }
    }
}

/// The queue. Dropping it writes the lines that wait, for at most [`CLOSE_LIMIT`].
pub(super) struct AuditQueue {
    shared: Arc<SharedQueue>,
    write_limit: Duration,
}

#[derive(Default)]
struct SharedQueue {
    state: Mutex<AuditQueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct AuditQueueState {
    lines: Vec<QueuedLine>,
    bytes: usize,
    /// Lines of reads lost since the last report.
    lost: u64,
    is_writing: bool,
    is_closed: bool,
    has_ended: bool,
}

impl AuditQueue {
    /// Starts the thread that writes to `sink`. A change waits at most for `write_limit`.
    pub(super) fn start(sink: impl AuditSink, write_limit: Duration) -> io::Result<Self> {
        let shared = Arc::new(SharedQueue::default());
        let thread_shared = shared.clone();
        thread::Builder::new().name("audit".into()).spawn(move || thread_shared.write_until_closed(sink))?;
        Ok(Self { shared, write_limit })
    }

    /// Adds a line and does not wait for it. It is lost if the queue is full.
    pub(super) fn push(&self, body: String) {
        let mut state = self.shared.lock();
        if state.bytes + body.len() > MAX_BYTES {
            state.lost += 1;
            count_lost_audit_lines(1);
            return;
        }
        self.append(state, body, None);
    }

    /// Adds a line and waits until it is on the disk.
    pub(super) fn push_and_wait(&self, body: String) -> Result<(), AuditWriteError> {
        let ticket = Arc::new(Ticket::default());
        self.append(self.shared.lock(), body, Some(ticket.clone()));
        ticket.wait(self.write_limit)
    }

    fn append(&self, mut state: MutexGuard<'_, AuditQueueState>, body: String, ticket: Option<Arc<Ticket>>) {
        // Taken under the lock, so that the times are in the order of the lines.
        let time = timestamp(SystemTime::now()).to_string();
        let was_empty = state.lines.is_empty();
        state.bytes += body.len();
        state.lines.push(QueuedLine { time, body, ticket });
        drop(state);
        if was_empty {
            self.shared.changed.notify_all();
        }
    }

    /// Waits until every line is written, at most for `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let is_busy = |state: &mut AuditQueueState| state.is_writing || !state.lines.is_empty();
        drop(self.shared.changed.wait_timeout_while(self.shared.lock(), limit, is_busy));
    }
}

impl Drop for AuditQueue {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        self.shared.changed.notify_all();
        drop(self.shared.changed.wait_timeout_while(state, CLOSE_LIMIT, |state| !state.has_ended));
    }
}

impl SharedQueue {
    fn write_until_closed(&self, mut sink: impl AuditSink) {
        while let Some(lines) = self.take_lines() {
            let lines: Vec<_> =
                lines.into_iter().filter(|line| line.ticket.as_ref().is_none_or(|ticket| ticket.take())).collect();
            // After a panic the changes report that the disk does not answer.
            let results = catch_unwind(AssertUnwindSafe(|| sink.append(&lines))).unwrap_or_default();
            for (line, result) in lines.into_iter().zip(results) {
                match (line.ticket, result) {
                    (Some(ticket), result) => ticket.finish(result),
                    (None, Ok(())) => {}
                    (None, Err(_)) => count_lost_audit_lines(1),
                }
            }
            self.finish_batch();
        }
        // The file is closed, and its lock released, before the end is reported.
        drop(sink);
        self.lock().has_ended = true;
        self.changed.notify_all();
    }

    /// Waits for lines. Returns `None` once the queue is closed and empty.
    fn take_lines(&self) -> Option<Vec<QueuedLine>> {
        let idle = self.changed.wait_while(self.lock(), |state| state.lines.is_empty() && !state.is_closed);
        let mut state = idle.unwrap_or_else(PoisonError::into_inner);
        state.bytes = 0;
        state.is_writing = !state.lines.is_empty();
        Some(std::mem::take(&mut state.lines)).filter(|lines| !lines.is_empty())
    }

    fn finish_batch(&self) {
        let mut state = self.lock();
        state.is_writing = false;
        let lost = std::mem::take(&mut state.lost);
        drop(state);
        self.changed.notify_all();
        if lost > 0 {
            let lines = if lost == 1 { "line is" } else { "lines are" };
            log::warn!(
                "{lost} {lines} missing in the audit log, all of reads: its disk was too slow. hint: check its disk"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, AuditQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

    const LONG: Duration = Duration::from_secs(20);

    /// A disk that reports each batch, and writes it once the test allows it.
    struct SlowDisk {
        begun: Sender<Vec<(String, bool)>>,
        gate: Receiver<Result<(), &'static str>>,
    }

    impl AuditSink for SlowDisk {
        fn append(&mut self, lines: &[QueuedLine]) -> Vec<Result<(), AuditWriteError>> {
            let batch = lines.iter().map(|line| (line.body.clone(), line.needs_disk())).collect();
            let _ = self.begun.send(batch);
            let result = self.gate.recv().unwrap_or(Ok(()));
            let error = |text: &str| AuditFileError::Io(io::Error::other(text.to_owned())).into();
            lines.iter().map(|_| result.map_err(error)).collect()
        }
    }

    type Batches = Receiver<Vec<(String, bool)>>;

    fn start_queue(write_limit: Duration) -> (AuditQueue, Batches, SyncSender<Result<(), &'static str>>) {
        let ((begun, batches), (open, gate)) = (channel(), sync_channel(100));
        (AuditQueue::start(SlowDisk { begun, gate }, write_limit).unwrap(), batches, open)
    }

    fn next_bodies(batches: &Batches) -> Vec<String> {
        batches.recv_timeout(LONG).unwrap().into_iter().map(|(body, _)| body).collect()
    }

    fn wait_for_lines(queue: &AuditQueue, count: usize) {
        while queue.shared.lock().lines.len() < count {
            thread::yield_now();
        }
    }

    #[test]
    fn a_disk_that_hangs_delays_changes_and_no_reads() {
        let (queue, batches, open) = start_queue(LONG);
        queue.push("read 1".into());
        assert_eq!(next_bodies(&batches), ["read 1"]);
        thread::scope(|scope| {
            let changes: Vec<_> = (0..8)
                .map(|number| {
                    let queue = &queue;
                    let change = scope.spawn(move || queue.push_and_wait(format!("change {number}")));
                    wait_for_lines(queue, 2 * number + 1);
                    // Returns although the disk hangs.
                    queue.push(format!("read after {number}"));
                    change
                })
                .collect();
            open.send(Ok(())).unwrap();
            let expected: Vec<_> =
                (0..8).flat_map(|number| [format!("change {number}"), format!("read after {number}")]).collect();
            assert_eq!(next_bodies(&batches), expected, "one batch, in the order of the calls");
            assert!(changes.iter().all(|change| !change.is_finished()), "no change continues without its line");
            open.send(Ok(())).unwrap();
            for change in changes {
                change.join().unwrap().unwrap();
            }
        });
    }

    #[test]
    fn a_change_gives_up_and_its_line_is_written_only_if_it_was_begun() {
        let (queue, batches, open) = start_queue(Duration::from_millis(20));
        // On a busy machine some changes give up before the writer begins their line.
        while !queue.push_and_wait("begun".into()).unwrap_err().may_be_written() {}
        assert_eq!(next_bodies(&batches), ["begun"]);
        let error = queue.push_and_wait("waits".into()).unwrap_err();
        assert!(!error.may_be_written(), "{error}");
        queue.push("read".into());
        open.send(Ok(())).unwrap();
        assert_eq!(next_bodies(&batches), ["read"], "a change that is not made has no line");
    }

    #[test]
    fn reads_beyond_the_bound_are_lost_and_changes_are_not() {
        let (queue, batches, open) = start_queue(LONG);
        queue.push("first".into());
        assert_eq!(next_bodies(&batches), ["first"]);
        let body = "x".repeat(MAX_BYTES / 4);
        (0..10).for_each(|_| queue.push(body.clone()));
        let state = queue.shared.lock();
        assert_eq!((state.lines.len(), state.lost), (4, 6));
        drop(state);
        thread::scope(|scope| {
            let change = scope.spawn(|| queue.push_and_wait("change".into()));
            wait_for_lines(&queue, 5);
            open.send(Ok(())).unwrap();
            open.send(Ok(())).unwrap();
            change.join().unwrap().unwrap();
        });
        let batch = batches.recv_timeout(LONG).unwrap();
        assert_eq!(
            batch.iter().map(|(_, needs_disk)| *needs_disk).collect::<Vec<_>>(),
            [false, false, false, false, true]
        );
        queue.flush(LONG);
        assert_eq!(queue.shared.lock().lost, 0, "the loss was reported");
    }

    #[test]
    fn every_change_of_a_batch_learns_its_failure() {
        let (queue, batches, open) = start_queue(LONG);
        queue.push("read".into());
        next_bodies(&batches);
        thread::scope(|scope| {
            let changes = [(); 3].map(|()| scope.spawn(|| queue.push_and_wait("change".into())));
            wait_for_lines(&queue, 3);
            open.send(Ok(())).unwrap();
            open.send(Err("no space")).unwrap();
            for change in changes {
                assert_eq!(change.join().unwrap().unwrap_err().to_string(), "cannot write the audit log: no space");
            }
        });
    }

    #[test]
    fn the_lines_that_wait_at_the_end_are_written() {
        let (queue, batches, open) = start_queue(LONG);
        queue.push("first".into());
        next_bodies(&batches);
        queue.push("last".into());
        drop(open);
        drop(queue);
        assert_eq!(next_bodies(&batches), ["last"]);
    }
}
