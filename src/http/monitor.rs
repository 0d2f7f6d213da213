//! The one thread that looks after connections whose own threads are busy: it writes the keep-alive comments of all
//! event streams, and notices when the client of a running call is gone (in 2026-07-28 that cancels the call).
//!
//! A client that closes only its sending side counts as gone as well: no MCP client does that, and a close looks the
//! same until something is written.
//!
//! It sleeps once a while has passed in which nothing ran, and looks five times a second while something does.

use super::client_stream::ClientStream;
use super::event_stream::EventStream;
use crate::base::cancel::CancelToken;
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
pub struct ConnectionMonitor {
    state: Mutex<MonitorState>,
    changed: Condvar,
}

#[derive(Default)]
struct MonitorState {
    calls: Vec<Arc<MonitoredCall>>,
    /// Whether a call has begun since the thread last looked.
    has_new_call: bool,
    /// The thread sleeps until it is told of a call.
    asleep: bool,
    /// Clients that go are no reason to cancel any more.
    draining: bool,
    closed: bool,
}

/// A call that runs on its connection's own thread.
pub struct MonitoredCall {
    stream: Arc<ClientStream>,
    cancel: CancelToken,
    /// Whether it is cancelled when the client is gone.
    cancel_on_disconnect: bool,
    /// The stream its reply has become.
    events: OnceLock<EventStream>,
}

/// A call under watch until this is dropped.
pub struct MonitorGuard<'a> {
    monitor: &'a ConnectionMonitor,
    call: Arc<MonitoredCall>,
}

impl ConnectionMonitor {
    /// Looks after a call from here on; `ends_with_client` says whether it is cancelled when the client is gone.
    pub fn register(
        &self,
        stream: &Arc<ClientStream>,
        cancel: &CancelToken,
        ends_with_client: bool,
    ) -> MonitorGuard<'_> {
        let (stream, cancel) = (stream.clone(), cancel.clone());
        let call =
            Arc::new(MonitoredCall { stream, cancel, cancel_on_disconnect: ends_with_client, events: OnceLock::new() });
        let mut state = self.lock();
        state.calls.push(call.clone());
        state.has_new_call = true;
        // A thread that sleeps is woken at most once a tick, however many calls come and go.
        if std::mem::take(&mut state.asleep) {
            self.changed.notify_one();
        }
        MonitorGuard { monitor: self, call }
    }

    /// The life of the thread: `comments` is run every `keepalive` for streams that are none of a call's.
    pub fn run(&self, keepalive: Duration, comments: impl Fn()) {
        let mut due = Instant::now() + keepalive;
        let mut state = self.lock();
        while !state.closed {
            // After a tick without any it sleeps: calls that come one after the other wake it once.
            let idle = !std::mem::take(&mut state.has_new_call) && state.calls.is_empty();
            let wait = due.saturating_duration_since(Instant::now());
            state.asleep = idle;
            state = self.wait(state, if idle { wait } else { wait.min(TICK) });
            state.asleep = false;
            // Whatever woke it, a call that has just begun is not looked at before a tick is over.
            let calls = if idle { Vec::new() } else { state.calls.clone() };
            drop(state);
            self.cancel_disconnected(&calls);
            if Instant::now() >= due {
                comments();
                calls.iter().filter_map(|call| call.events.get()).for_each(EventStream::keep_alive);
                due = Instant::now() + keepalive;
            }
            state = self.lock();
        }
    }

    /// From here on no call is cancelled: the server is stopping, and calls in flight have their own time for that.
    pub fn stop_cancelling(&self) {
        self.lock().draining = true;
    }

    /// Gives every call up that is still at work: there is no more time for them.
    pub fn cancel_all_for_shutdown(&self) {
        let calls = self.lock().calls.clone();
        calls.iter().for_each(|call| call.cancel.cancel_for_shutdown());
    }

    /// Ends [`ConnectionMonitor::run`].
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Cancels the calls whose clients are gone. None of this waits.
    fn cancel_disconnected(&self, calls: &[Arc<MonitoredCall>]) {
        let watched: Vec<_> = calls.iter().filter(|call| call.cancel_on_disconnect).collect();
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

    fn wait<'a>(&self, state: MutexGuard<'a, MonitorState>, time: Duration) -> MutexGuard<'a, MonitorState> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, MonitorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MonitorGuard<'_> {
    /// Where the call's event stream is kept, once there is one.
    pub fn events(&self) -> &OnceLock<EventStream> {
        &self.call.events
    }
}

impl Drop for MonitorGuard<'_> {
    fn drop(&mut self) {
        self.monitor.lock().calls.retain(|call| !Arc::ptr_eq(call, &self.call));
    }
}

#[cfg(test)]
mod tests {
    use super::super::client_stream::tests::connection_pair;
    use super::super::event_stream::tests::read_until;
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_call_whose_client_goes_is_cancelled_and_others_are_not() {
        let monitor = ConnectionMonitor::default();
        thread::scope(|scope| {
            scope.spawn(|| monitor.run(LONG, || ()));
            let ((far, near), (other_far, _other_near)) = (connection_pair(LONG), connection_pair(LONG));
            let (lost, other, legacy) = (CancelToken::new(), CancelToken::new(), CancelToken::new());
            let (say, heard) = channel();
            lost.set_hook(Some(Box::new(move || say.send(()).unwrap())));
            let _calls = [
                monitor.register(&far, &lost, true),
                monitor.register(&other_far, &other, true),
                monitor.register(&far, &legacy, false),
            ];
            drop(near);
            heard.recv_timeout(LONG).unwrap();
            assert!(!other.is_cancelled() && !legacy.is_cancelled());
            monitor.close();
        });
    }

    #[test]
    fn streams_of_calls_get_comments_as_sessions_do() {
        let monitor = ConnectionMonitor::default();
        let (say, heard) = channel();
        thread::scope(|scope| {
            let (far, mut near) = connection_pair(LONG);
            let call = monitor.register(&far, &CancelToken::new(), false);
            assert!(call.events().set(EventStream::new(far, LONG)).is_ok());
            scope.spawn(|| {
                monitor.run(Duration::from_millis(5), move || {
                    let _ = say.send(());
                })
            });
            heard.recv_timeout(LONG).unwrap();
            assert_eq!(read_until(&mut near, "\n\n"), ": keep-alive\n\n");
            drop(call);
            assert!(monitor.lock().calls.is_empty());
            monitor.close();
        });
    }
}
