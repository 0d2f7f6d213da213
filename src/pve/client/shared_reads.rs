//! Reads that several callers share. An identical read that arrives while one is on its way waits for the next one, which
//! begins after it arrived. So a caller never gets an answer that is older than its own call, and many callers cost a node
//! few requests.

use crate::base::cancel::{CancelReason, CancelToken};
use crate::base::memory::CallMemory;
use crate::base::trace::TraceParent;
use crate::pve::client::call_semaphore::ClientSet;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The maximum time for which a shared read waits for the end of an earlier one, which may hang.
const MAX_TURN_WAIT: Duration = Duration::from_secs(1);

/// The limits of the time for which a read waits for the callers that shared the last one, and probably return. The least
/// is what many callers need for their way back, and no user notices it.
const MIN_GATHERING: Duration = Duration::from_micros(250);
const MAX_GATHERING: Duration = Duration::from_millis(10);

/// Identical reads on their way at once, unless they hang. A second one begins after half of the time of the last.
const MAX_RUNNING: usize = 2;

/// Entries without a read that are kept until they are removed all at once.
const MAX_IDLE_ENTRIES: usize = 64;

/// Equal for reads that get the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::pve) struct ReadKey {
    /// Path and query.
    pub(in crate::pve) target: String,
    /// The addresses of the functions that read the answer.
    pub(in crate::pve) readers: [usize; 2],
}

/// Caller of a read.
pub(in crate::pve) struct ReadCaller {
    pub(in crate::pve) cancel: CancelToken,
    pub(in crate::pve) deadline: Instant,
    /// The whole time of the call, as its error shows it.
    pub(in crate::pve) total: Duration,
}

/// Reads of one cluster with their results.
pub(in crate::pve) struct SharedReads<T> {
    table: Arc<ReadTable<T>>,
}

struct ReadTable<T> {
    entries: Mutex<HashMap<ReadKey, ReadEntry<T>>>,
    /// Signalled when a read ends or is given up.
    changed: Condvar,
}

/// State of identical reads.
struct ReadEntry<T> {
    /// Reads that have begun and not ended.
    running: usize,
    last_begin: Option<Instant>,
    /// The duration of the last read that ended.
    last_duration: Option<Duration>,
    /// The read that callers join until it begins.
    next: Option<Arc<PendingRead<T>>>,
    returning: Option<ReturningCallers>,
}

/// Callers that shared a read which has ended, and that probably read again at once.
struct ReturningCallers {
    /// The number of those that have not returned.
    missing: usize,
    /// The end of the wait for them.
    until: Instant,
}

/// A read for which callers wait.
struct PendingRead<T> {
    created: Instant,
    state: Mutex<PendingState<T>>,
    /// Signalled when the read ends, and when the call of a caller is cancelled.
    changed: Condvar,
    /// Cancelled when the last caller leaves.
    cancel: CancelToken,
    /// The clients of the callers.
    clients: ClientSet,
}

struct PendingState<T> {
    callers: Vec<(u64, ReadCaller)>,
    last_number: u64,
    phase: ReadPhase<T>,
}

enum ReadPhase<T> {
    /// More callers may join.
    Open,
    Begun,
    /// The result, or `None` after a panic.
    Ended(Option<Arc<T>>),
    /// All callers have left.
    Abandoned,
}

/// The way in which a caller gets its answer.
pub(in crate::pve) enum JoinedRead<T, P> {
    /// By a request of its own, with this permit.
    Alone(AloneRead<T>, P),
    /// By a request for several callers.
    Shared {
        ticket: ReadTicket<T>,
        /// The request, for the first caller, which has it sent by another thread.
        sender: Option<ReadSender<T>>,
    },
}

/// A read by its only caller, until it is dropped.
pub(in crate::pve) struct AloneRead<T> {
    table: Arc<ReadTable<T>>,
    key: ReadKey,
    begin: Instant,
}

/// The place of a caller in a shared read.
pub(in crate::pve) struct ReadTicket<T> {
    read: Arc<PendingRead<T>>,
    number: u64,
    cancel: CancelToken,
    deadline: Instant,
}

/// The sender of a shared read. Dropping it ends the read without a result.
pub(in crate::pve) struct ReadSender<T> {
    table: Arc<ReadTable<T>>,
    key: ReadKey,
    read: Arc<PendingRead<T>>,
    begun: Option<Instant>,
}

/// The facts about a shared read that has begun.
pub(in crate::pve) struct BegunRead {
    /// The longest deadline of a caller.
    pub(in crate::pve) deadline: Instant,
    pub(in crate::pve) total: Duration,
    /// An account of the client whose place the read has.
    pub(in crate::pve) memory: CallMemory,
    pub(in crate::pve) trace: Option<TraceParent>,
}

/// The reason why a caller has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pve) enum ReadWaitError {
    Cancelled,
    /// The deadline passed before the request was sent.
    NotBegun,
    /// The deadline passed before the answer came.
    NotAnswered,
    /// The sender panicked.
    Failed,
}

impl<T> ReadEntry<T> {
    fn is_idle(&self, now: Instant) -> bool {
        self.running == 0 && self.next.is_none() && self.returning.as_ref().is_none_or(|callers| callers.until <= now)
    }

    fn begin(&mut self) {
        self.running += 1;
        self.last_begin = Some(Instant::now());
    }

    /// Returns the time at which the next read, of this age, may begin.
    fn next_begin(&self, created: Instant, now: Instant) -> Instant {
        let latest = created + MAX_TURN_WAIT;
        let turn = match (self.running, self.last_begin, self.last_duration) {
            (0, ..) => now,
            (1..MAX_RUNNING, Some(begin), Some(duration)) => begin + duration / 2,
            _ => latest,
        };
        turn.max(self.returning.as_ref().map_or(now, |callers| callers.until)).min(latest)
    }

    /// Records that a caller arrived. Returns whether it is the last one of those that were expected.
    fn record_arrival(&mut self) -> bool {
        if let Some(callers) = &mut self.returning {
            callers.missing -= 1;
            if callers.missing == 0 {
                self.returning = None;
                return true;
            }
        }
        false
    }
}

impl<T> Default for ReadEntry<T> {
    fn default() -> Self {
        Self { running: 0, last_begin: None, last_duration: None, next: None, returning: None }
    }
}

impl<T> Default for SharedReads<T> {
    fn default() -> Self {
        Self { table: Arc::new(ReadTable { entries: Mutex::default(), changed: Condvar::new() }) }
    }
}

impl<T> SharedReads<T> {
    /// Adds a caller. It reads alone if no identical read is on its way, and `try_permit` returns a permit at once.
    pub(in crate::pve) fn join<P>(
        &self,
        key: ReadKey,
        caller: ReadCaller,
        try_permit: impl FnOnce() -> Option<P>,
    ) -> JoinedRead<T, P> {
        let mut entries = self.table.lock();
        let entry = entries.entry(key.clone()).or_default();
        // A caller that returns makes the read a crowded one, and is no longer waited for.
        let is_idle = entry.is_idle(Instant::now());
        let are_all_back = entry.record_arrival();
        let joined = self.join_entry(entry, key, caller, is_idle, try_permit);
        drop(entries);
        // Without the lock, for which a woken thread would wait at once.
        if are_all_back {
            self.table.changed.notify_all();
        }
        joined
    }

    fn join_entry<P>(
        &self,
        entry: &mut ReadEntry<T>,
        key: ReadKey,
        caller: ReadCaller,
        is_idle: bool,
        try_permit: impl FnOnce() -> Option<P>,
    ) -> JoinedRead<T, P> {
        let table = &self.table;
        let (cancel, deadline) = (caller.cancel.clone(), caller.deadline);
        let place = |read: &Arc<PendingRead<T>>, number| ReadTicket { read: read.clone(), number, cancel, deadline };
        let caller = match &entry.next {
            Some(next) => match next.add(caller) {
                Ok(number) => return JoinedRead::Shared { ticket: place(next, number), sender: None },
                // All of its callers have left.
                Err(caller) => caller,
            },
            None => caller,
        };
        entry.next = None;
        if is_idle && let Some(permit) = try_permit() {
            entry.begin();
            return JoinedRead::Alone(AloneRead { table: table.clone(), key, begin: Instant::now() }, permit);
        }
        let (read, number) = PendingRead::new(caller);
        let read = Arc::new(read);
        entry.next = Some(read.clone());
        let ticket = place(&read, number);
        JoinedRead::Shared { ticket, sender: Some(ReadSender { table: table.clone(), key, read, begun: None }) }
    }
}

impl<T> ReadTable<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<ReadKey, ReadEntry<T>>> {
        // The entries change in single steps, so they are consistent even after a panic.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the end of a read of some callers that had begun.
    fn end(&self, key: &ReadKey, begin: Instant, callers: usize) {
        let now = Instant::now();
        let duration = now.duration_since(begin);
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(key) {
            entry.running -= 1;
            entry.last_duration = Some(duration);
            if callers > 1 {
                let missing = callers + entry.returning.as_ref().map_or(0, |callers| callers.missing);
                let until = now + (duration / 4).clamp(MIN_GATHERING, MAX_GATHERING);
                entry.returning = Some(ReturningCallers { missing, until });
            }
            // A sender waits for its turn as the next read. A signal is a system call even if no thread waits.
            let has_next = entry.next.is_some();
            if entry.is_idle(now) {
                entries.remove(key);
            } else if entries.len() > MAX_IDLE_ENTRIES {
                entries.retain(|_, entry| !entry.is_idle(now));
            }
            drop(entries);
            if has_next {
                self.changed.notify_all();
            }
        }
    }
}

impl<T> Drop for AloneRead<T> {
    fn drop(&mut self) {
        self.table.end(&self.key, self.begin, 1);
    }
}

impl<T> PendingRead<T> {
    fn new(caller: ReadCaller) -> (Self, u64) {
        let clients = ClientSet::default();
        clients.add(caller.cancel.memory().client().unwrap_or_default());
        let state = PendingState { callers: vec![(1, caller)], last_number: 1, phase: ReadPhase::Open };
        let read = Self {
            created: Instant::now(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            cancel: CancelToken::new(),
            clients,
        };
        (read, 1)
    }

    fn lock(&self) -> MutexGuard<'_, PendingState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a caller to a read that has not begun, and returns its number.
    fn add(&self, caller: ReadCaller) -> Result<u64, ReadCaller> {
        let mut state = self.lock();
        if !matches!(state.phase, ReadPhase::Open) {
            return Err(caller);
        }
        self.clients.add(caller.cancel.memory().client().unwrap_or_default());
        state.last_number += 1;
        let number = state.last_number;
        state.callers.push((number, caller));
        Ok(number)
    }

    /// Removes a caller. The last one gives the read up.
    fn leave(&self, number: u64) {
        let mut state = self.lock();
        state.callers.retain(|(other, _)| *other != number);
        if state.callers.is_empty() && !matches!(state.phase, ReadPhase::Ended(_)) {
            state.phase = ReadPhase::Abandoned;
            // Without the lock, since the hooks of a cancellation take others.
            drop(state);
            self.cancel.cancel(CancelReason::ClientGone);
        }
    }
}

impl<T> ReadTicket<T>
where
    T: Send + Sync + 'static,
{
    /// Waits for the result, until the caller's own deadline or cancellation.
    pub(in crate::pve) fn wait(&self) -> Result<Arc<T>, ReadWaitError> {
        let read = self.read.clone();
        // Set without the lock held: a cancellation runs the hook with its own lock held, and the hook takes this one.
        let _hook = self.cancel.on_cancel(Box::new(move || {
            let _state = read.lock();
            read.changed.notify_all();
        }));
        self.cancel.record_progress();
        let mut state = self.read.lock();
        let result = loop {
            if let ReadPhase::Ended(result) = &state.phase {
                break result.clone().ok_or(ReadWaitError::Failed);
            }
            if self.cancel.is_cancelled() {
                break Err(ReadWaitError::Cancelled);
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(match state.phase {
                    ReadPhase::Open => ReadWaitError::NotBegun,
                    _ => ReadWaitError::NotAnswered,
                });
            }
            state = self.read.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(state);
        self.cancel.record_progress();
        result
    }
}

impl<T> Drop for ReadTicket<T> {
    fn drop(&mut self) {
        self.read.leave(self.number);
    }
}

impl<T> ReadSender<T>
where
    T: Send + Sync + 'static,
{
    /// Waits until the read may begin: an earlier one has ended, or hangs. Returns false if all callers left.
    pub(in crate::pve) fn wait_for_turn(&self) -> bool {
        let table = self.table.clone();
        let _hook = self.read.cancel.on_cancel(Box::new(move || {
            let _entries = table.lock();
            table.changed.notify_all();
        }));
        let mut entries = self.table.lock();
        while !self.read.cancel.is_cancelled() {
            let now = Instant::now();
            let begin = entries.get(&self.key).map_or(now, |entry| entry.next_begin(self.read.created, now));
            if begin <= now {
                return true;
            }
            let left = begin - now;
            entries = self.table.changed.wait_timeout(entries, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// Returns the clients of the callers, to which more may be added until the read begins.
    pub(in crate::pve) fn clients(&self) -> &ClientSet {
        &self.read.clients
    }

    /// Returns the token of the request. It is cancelled when the last caller leaves.
    pub(in crate::pve) fn cancel(&self) -> &CancelToken {
        &self.read.cancel
    }

    /// Begins the read in the place of a client. No caller can join it any more. Returns `None` if all callers left.
    pub(in crate::pve) fn begin(&mut self, client: &str) -> Option<BegunRead> {
        let mut entries = self.table.lock();
        let mut state = self.read.lock();
        if !matches!(state.phase, ReadPhase::Open) {
            return None;
        }
        state.phase = ReadPhase::Begun;
        let last = state.callers.iter().max_by_key(|(_, caller)| caller.deadline)?;
        let (deadline, total) = (last.1.deadline, last.1.total);
        let is_of_client =
            |(_, caller): &&(u64, ReadCaller)| caller.cancel.memory().client().as_deref().unwrap_or_default() == client;
        let payer = state.callers.iter().find(is_of_client).unwrap_or(state.callers.first()?);
        let begun = BegunRead {
            deadline,
            total,
            memory: payer.1.cancel.memory().open_sibling(),
            trace: payer.1.cancel.trace().copied(),
        };
        let entry = entries.entry(self.key.clone()).or_default();
        entry.begin();
        entry.next = None;
        // Those that are expected do not delay the next read once more.
        entry.returning = None;
        self.begun = Some(Instant::now());
        Some(begun)
    }

    /// Returns a check that the present rights of a caller allow the request.
    pub(in crate::pve) fn send_check(&self) -> impl Fn() -> bool + Send + Sync + use<T> {
        let read = self.read.clone();
        move || read.lock().callers.iter().any(|(_, caller)| caller.cancel.may_send())
    }

    /// Ends the read. Passes the number of callers that get the result to `record`, before they get it.
    pub(in crate::pve) fn end(mut self, result: T, record: impl FnOnce(usize)) {
        self.finish(Some(Arc::new(result)), record);
    }
}

impl<T> ReadSender<T> {
    fn finish(&mut self, result: Option<Arc<T>>, record: impl FnOnce(usize)) {
        let mut state = self.read.lock();
        let callers = state.callers.len();
        record(callers);
        if !matches!(state.phase, ReadPhase::Abandoned) {
            state.phase = ReadPhase::Ended(result);
        }
        drop(state);
        // The next read may begin before the callers wake.
        match self.begun.take() {
            Some(begun) => self.table.end(&self.key, begun, callers),
            None => self.withdraw(),
        }
        self.read.changed.notify_all();
    }

    /// Removes a read that did not begin.
    fn withdraw(&self) {
        let mut entries = self.table.lock();
        if let Some(entry) = entries.get_mut(&self.key)
            && entry.next.as_ref().is_some_and(|next| Arc::ptr_eq(next, &self.read))
        {
            entry.next = None;
            if entry.is_idle(Instant::now()) {
                entries.remove(&self.key);
            }
        }
    }
}

impl<T> Drop for ReadSender<T> {
    fn drop(&mut self) {
        if !matches!(self.read.lock().phase, ReadPhase::Ended(_)) {
            self.finish(None, |_| ());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    const FAR: Duration = Duration::from_secs(600);

    fn key() -> ReadKey {
        ReadKey { target: "/nodes".into(), readers: [1, 0] }
    }

    fn caller(cancel: &CancelToken, time: Duration) -> ReadCaller {
        ReadCaller { cancel: cancel.clone(), deadline: Instant::now() + time, total: time }
    }

    fn join(reads: &SharedReads<u32>, cancel: &CancelToken, time: Duration) -> JoinedRead<u32, ()> {
        reads.join(key(), caller(cancel, time), || Some(()))
    }

    #[track_caller]
    fn join_alone(reads: &SharedReads<u32>) -> AloneRead<u32> {
        match join(reads, &CancelToken::new(), FAR) {
            JoinedRead::Alone(alone, ()) => alone,
            JoinedRead::Shared { .. } => panic!("an identical read is on its way"),
        }
    }

    #[track_caller]
    fn join_first(reads: &SharedReads<u32>) -> (ReadTicket<u32>, ReadSender<u32>) {
        match join(reads, &CancelToken::new(), FAR) {
            JoinedRead::Shared { ticket, sender: Some(sender) } => (ticket, sender),
            _ => panic!("not the first caller of a shared read"),
        }
    }

    #[track_caller]
    fn join_more(reads: &SharedReads<u32>, cancel: &CancelToken, time: Duration) -> ReadTicket<u32> {
        match join(reads, cancel, time) {
            JoinedRead::Shared { ticket, sender: None } => ticket,
            _ => panic!("no shared read to join"),
        }
    }

    /// Ends a read and returns the number of its callers.
    fn end(sender: ReadSender<u32>, result: u32) -> usize {
        let mut count = 0;
        sender.end(result, |callers| count = callers);
        count
    }

    fn is_empty(reads: &SharedReads<u32>) -> bool {
        reads.table.lock().is_empty()
    }

    #[test]
    fn callers_share_the_read_that_begins_after_they_arrived() {
        let reads = SharedReads::default();
        let alone = join_alone(&reads);
        let (first, mut sender) = join_first(&reads);
        let second = join_more(&reads, &CancelToken::new(), FAR);
        drop(alone);
        assert!(sender.wait_for_turn());
        assert!(sender.begin("").is_some());
        // This one came too late for the read that has begun.
        let (late, late_sender) = join_first(&reads);
        assert_eq!(end(sender, 7), 2);
        assert_eq!((first.wait().as_deref(), second.wait().as_deref()), (Ok(&7), Ok(&7)));
        assert_eq!(end(late_sender, 8), 1);
        assert_eq!(late.wait().as_deref(), Ok(&8));
        // The table forgets the read once its callers are no longer expected.
        reads.table.lock().values_mut().for_each(|entry| entry.returning = None);
        drop(join_alone(&reads));
        assert!(is_empty(&reads));
    }

    #[test]
    fn read_without_a_free_place_waits_where_others_can_join_it() {
        let reads = SharedReads::<u32>::default();
        let joined = reads.join::<()>(key(), caller(&CancelToken::new(), FAR), || None);
        let JoinedRead::Shared { ticket, sender: Some(sender) } = joined else { panic!("no place is free") };
        let more = join_more(&reads, &CancelToken::new(), FAR);
        assert_eq!(end(sender, 1), 2);
        assert_eq!((ticket.wait().as_deref(), more.wait().as_deref()), (Ok(&1), Ok(&1)));
        assert!(is_empty(&reads));
    }

    #[test]
    fn cancelled_caller_leaves_at_once_and_the_others_get_the_result() {
        let reads = SharedReads::default();
        let alone = join_alone(&reads);
        let (first, mut sender) = join_first(&reads);
        let cancel = CancelToken::new();
        let second = join_more(&reads, &cancel, FAR);
        drop(alone);
        assert!(sender.begin("").is_some());
        cancel.cancel(CancelReason::ClientGone);
        assert_eq!(second.wait(), Err(ReadWaitError::Cancelled));
        drop(second);
        assert!(!sender.cancel().is_cancelled(), "a caller still waits");
        assert_eq!(end(sender, 1), 1);
        assert_eq!(first.wait().as_deref(), Ok(&1));
    }

    #[test]
    fn last_caller_to_leave_ends_the_read_before_and_after_its_begin() {
        let reads = SharedReads::default();
        let alone = join_alone(&reads);
        let (ticket, sender) = join_first(&reads);
        drop(ticket);
        assert!(sender.cancel().is_cancelled() && !sender.wait_for_turn());
        // The next caller starts a read of its own.
        let (ticket, mut next) = join_first(&reads);
        drop(sender);
        let more = join_more(&reads, &CancelToken::new(), FAR);
        drop(alone);
        assert!(next.begin("").is_some());
        drop((ticket, more));
        assert!(next.cancel().is_cancelled());
        drop(next);
        assert!(is_empty(&reads));
    }

    #[test]
    fn each_caller_has_its_own_deadline_and_the_request_the_longest() {
        let reads = SharedReads::default();
        let alone = join_alone(&reads);
        let (first, mut sender) = join_first(&reads);
        let hasty = join_more(&reads, &CancelToken::new(), Duration::ZERO);
        assert_eq!(hasty.wait(), Err(ReadWaitError::NotBegun));
        drop(alone);
        let begun = sender.begin("").expect("callers");
        assert_eq!((begun.deadline, begun.total), (first.deadline, FAR));
        assert_eq!(hasty.wait(), Err(ReadWaitError::NotAnswered));
        end(sender, 1);
        assert_eq!(first.wait().as_deref(), Ok(&1));
    }

    #[test]
    fn read_does_not_wait_for_one_that_hangs() {
        let reads = SharedReads::default();
        let _hangs = join_alone(&reads);
        let (_ticket, sender) = join_first(&reads);
        assert!(sender.wait_for_turn());
        assert!(sender.read.created.elapsed() >= MAX_TURN_WAIT);
    }

    #[test]
    fn read_begins_when_the_callers_of_the_last_one_are_back_or_late() {
        let reads = SharedReads::default();
        let alone = join_alone(&reads);
        let (_first, mut sender) = join_first(&reads);
        let _others = [0; 2].map(|_| join_more(&reads, &CancelToken::new(), FAR));
        drop(alone);
        assert!(sender.begin("").is_some());
        sender.begun = Instant::now().checked_sub(MAX_GATHERING * 8);
        assert_eq!(end(sender, 1), 3);
        let (_ticket, sender) = join_first(&reads);
        let _second = join_more(&reads, &CancelToken::new(), FAR);
        let begin_from = |now: Instant| reads.table.lock()[&key()].next_begin(sender.read.created, now);
        let now = Instant::now();
        let until = reads.table.lock()[&key()].returning.as_ref().map(|callers| callers.until);
        assert_eq!(Some(begin_from(now)), until.map(|until| until.max(now)), "one of three is missing");
        let _third = join_more(&reads, &CancelToken::new(), FAR);
        assert_eq!(begin_from(now), now, "all are back");
        assert!(sender.wait_for_turn());
    }

    #[test]
    fn second_read_begins_after_half_of_the_time_and_a_third_waits() {
        let mut entry = ReadEntry::<u32>::default();
        let now = Instant::now();
        let (second, ms) = (Duration::from_secs(1), Duration::from_millis(1));
        entry.last_duration = Some(40 * ms);
        entry.begin();
        let begin = entry.last_begin.expect("it has begun");
        assert_eq!(entry.next_begin(now, now), begin + 20 * ms);
        entry.begin();
        assert_eq!(entry.next_begin(now, now), now + second, "it waits for an end");
    }

    #[test]
    fn panic_of_the_sender_fails_the_wait() {
        let reads = SharedReads::<u32>::default();
        let alone = join_alone(&reads);
        let (ticket, mut sender) = join_first(&reads);
        drop(alone);
        let thread = thread::spawn(move || {
            sender.begin("");
            panic!("a test's panic");
        });
        assert!(thread.join().is_err());
        assert_eq!(ticket.wait(), Err(ReadWaitError::Failed));
        drop(ticket);
        assert!(is_empty(&reads));
    }

    #[test]
    fn waiting_callers_wake_for_the_result_and_for_their_cancellation() {
        let reads = SharedReads::default();
        let alone = join_alone(&reads);
        let (first, sender) = join_first(&reads);
        let cancel = CancelToken::new();
        let second = join_more(&reads, &cancel, FAR);
        let (ended, ends) = mpsc::channel();
        thread::scope(|scope| {
            let other = ended.clone();
            scope.spawn(move || ended.send(("first", first.wait().map(|value| *value))));
            scope.spawn(move || other.send(("second", second.wait().map(|value| *value))));
            cancel.cancel(CancelReason::Shutdown);
            assert_eq!(ends.recv().unwrap(), ("second", Err(ReadWaitError::Cancelled)));
            drop(alone);
            end(sender, 5);
            assert_eq!(ends.recv().unwrap(), ("first", Ok(5)));
        });
    }
}
