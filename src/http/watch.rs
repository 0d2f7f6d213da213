//! The one thread that looks after connections whose own threads are busy: it writes the keep-alive comments of all
//! event streams, and notices when the client of a running call is gone (in 2026-07-28 that cancels the call).
//!
//! A client that closes only its sending side counts as gone as well: no MCP client does that, and a close looks the
//! same until something is written.
//!
//! It sleeps once a while has passed in which nothing ran, and looks five times a second while something does.

use super::channel::Channel;
use super::events::EventStream;
use crate::cancel::Cancel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(200);

/// The client has closed its side, or the connection is broken.
#[cfg(any(target_os = "linux", target_os = "android"))]
const GONE: PollFlags = PollFlags::RDHUP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const GONE: PollFlags = PollFlags::HUP;

/// The calls that are looked after.
#[derive(Default)]
pub struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    calls: Vec<Arc<Call>>,
    /// Whether a call has begun since the thread last looked.
    begun: bool,
    /// The thread sleeps until it is told of a call.
    asleep: bool,
    /// Clients that go are no reason to cancel any more.
    draining: bool,
    closed: bool,
}

/// A call that runs on its connection's own thread.
pub struct Call {
    stream: Arc<Channel>,
    cancel: Cancel,
    /// Whether it is cancelled when the client is gone.
    ends_with_client: bool,
    /// The stream its reply has become.
    events: OnceLock<EventStream>,
}

/// A call under watch until this is dropped.
pub struct Watched<'a> {
    watch: &'a Watch,
    call: Arc<Call>,
}

impl Watch {
    /// Looks after a call from here on; `ends_with_client` says whether it is cancelled when the client is gone.
    pub fn begin(&self, stream: &Arc<Channel>, cancel: &Cancel, ends_with_client: bool) -> Watched<'_> {
        let (stream, cancel) = (stream.clone(), cancel.clone());
        let call = Arc::new(Call { stream, cancel, ends_with_client, events: OnceLock::new() });
        let mut state = self.lock();
        state.calls.push(call.clone());
        state.begun = true;
        // A thread that sleeps is woken at most once a tick, however many calls come and go.
        if std::mem::take(&mut state.asleep) {
            self.changed.notify_one();
        }
        Watched { watch: self, call }
    }

    /// The life of the thread: `comments` is run every `keepalive` for streams that are none of a call's.
    pub fn run(&self, keepalive: Duration, comments: impl Fn()) {
        let mut due = Instant::now() + keepalive;
        let mut state = self.lock();
        while !state.closed {
            // After a tick without any it sleeps: calls that come one after the other wake it once.
            let idle = !std::mem::take(&mut state.begun) && state.calls.is_empty();
            let wait = due.saturating_duration_since(Instant::now());
            state.asleep = idle;
            state = self.wait(state, if idle { wait } else { wait.min(TICK) });
            state.asleep = false;
            // Whatever woke it, a call that has just begun is not looked at before a tick is over.
            let calls = if idle { Vec::new() } else { state.calls.clone() };
            drop(state);
            self.cancel_lost(&calls);
            if Instant::now() >= due {
                comments();
                calls.iter().filter_map(|call| call.events.get()).for_each(EventStream::keep_alive);
                due = Instant::now() + keepalive;
            }
            state = self.lock();
        }
    }

    /// From here on no call is cancelled: the server is stopping, and calls in flight have their own time for that.
    pub fn cancel_no_more(&self) {
        self.lock().draining = true;
    }

    /// Gives every call up that is still at work: there is no more time for them.
    pub fn give_up_all(&self) {
        let calls = self.lock().calls.clone();
        calls.iter().for_each(|call| call.cancel.give_up());
    }

    /// Ends [`Watch::run`].
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Cancels the calls whose clients are gone. None of this waits.
    fn cancel_lost(&self, calls: &[Arc<Call>]) {
        let watched: Vec<_> = calls.iter().filter(|call| call.ends_with_client).collect();
        if watched.is_empty() {
            return;
        }
        let mut fds: Vec<_> = watched.iter().map(|call| PollFd::new(call.stream.socket(), GONE)).collect();
        if poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_err() {
            return;
        }
        let lost: Vec<bool> =
            fds.iter().map(|fd| fd.revents().intersects(GONE | PollFlags::HUP | PollFlags::ERR)).collect();
        // Looked at after the poll, since what it saw may be the end of the reads.
        if self.lock().draining {
            return;
        }
        for (call, lost) in watched.iter().zip(lost) {
            if lost && !call.cancel.is_cancelled() {
                log::debug!("the client of a call is gone: the call is cancelled");
                call.cancel.cancel();
            }
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched<'_> {
    /// Where the call's event stream is kept, once there is one.
    pub fn events(&self) -> &OnceLock<EventStream> {
        &self.call.events
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.watch.lock().calls.retain(|call| !Arc::ptr_eq(call, &self.call));
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::tests::pair;
    use super::super::events::tests::read_until;
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_call_whose_client_goes_is_cancelled_and_others_are_not() {
        let watch = Watch::default();
        thread::scope(|scope| {
            scope.spawn(|| watch.run(LONG, || ()));
            let ((far, near), (other_far, _other_near)) = (pair(LONG), pair(LONG));
            let (lost, other, legacy) = (Cancel::new(), Cancel::new(), Cancel::new());
            let (say, heard) = channel();
            lost.on_cancel(Some(Box::new(move || say.send(()).unwrap())));
            let _calls = [
                watch.begin(&far, &lost, true),
                watch.begin(&other_far, &other, true),
                watch.begin(&far, &legacy, false),
            ];
            drop(near);
            heard.recv_timeout(LONG).unwrap();
            assert!(!other.is_cancelled() && !legacy.is_cancelled());
            watch.close();
        });
    }

    #[test]
    fn streams_of_calls_get_comments_as_sessions_do() {
        let watch = Watch::default();
        let (say, heard) = channel();
        thread::scope(|scope| {
            let (far, mut near) = pair(LONG);
            let call = watch.begin(&far, &Cancel::new(), false);
            assert!(call.events().set(EventStream::new(far, LONG)).is_ok());
            scope.spawn(|| {
                watch.run(Duration::from_millis(5), move || {
                    let _ = say.send(());
                })
            });
            heard.recv_timeout(LONG).unwrap();
            assert_eq!(read_until(&mut near, "\n\n"), ": keep-alive\n\n");
            drop(call);
            assert!(watch.lock().calls.is_empty());
            watch.close();
        });
    }
}
