//! The monitor thread of connections whose own threads are busy. It sends the keep-alive comments of all event streams.
//! It also detects when the client of a running call is gone. That cancels the call in 2026-07-28. In older versions it
//! ends what only reads.
//!
//! A client that closes only its sending side also counts as gone. No MCP client does so, and until something is
//! written a full close looks the same.
//!
//! The thread checks five times per second while calls run, and sleeps after a tick without calls.

use super::client_stream::ClientStream;
use super::event_stream::EventStream;
use crate::base::cancel::{CancelReason, CancelToken};
use crate::base::heartbeat::{HEARTBEAT_INTERVAL, Heartbeat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(200);

/// Poll event of a closed or broken connection.
#[cfg(any(target_os = "linux", target_os = "android"))]
const GONE: PollFlags = PollFlags::RDHUP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const GONE: PollFlags = PollFlags::HUP;

#[derive(Default)]
pub struct ConnectionMonitor {
    state: Mutex<MonitorState>,
    changed: Condvar,
    pub heartbeat: Heartbeat,
}

#[derive(Default)]
struct MonitorState {
    calls: Vec<Arc<MonitoredCall>>,
    /// True if a call started since the last check.
    has_new_call: bool,
    /// True while the thread sleeps until the next call.
    asleep: bool,
    /// True during a shutdown: a client that disconnects no longer cancels its call.
    draining: bool,
    closed: bool,
}

/// Call that runs on its connection's thread.
pub struct MonitoredCall {
    stream: Arc<ClientStream>,
    cancel: CancelToken,
    /// Reason of the cancellation when the client is gone.
    on_disconnect: CancelReason,
    /// Set once the response has become an event stream.
    events: OnceLock<EventStream>,
}

/// Registration of a call, removed on drop.
pub struct MonitorGuard<'a> {
    monitor: &'a ConnectionMonitor,
    call: Arc<MonitoredCall>,
}

impl ConnectionMonitor {
    /// Registers a call, which is cancelled as `on_disconnect` when its client is gone.
    pub fn register(
        &self,
        stream: &Arc<ClientStream>,
        cancel: &CancelToken,
        on_disconnect: CancelReason,
    ) -> MonitorGuard<'_> {
        let (stream, cancel) = (stream.clone(), cancel.clone());
        let call = Arc::new(MonitoredCall { stream, cancel, on_disconnect, events: OnceLock::new() });
        let mut state = self.lock();
        state.calls.push(call.clone());
        state.has_new_call = true;
        // The thread is woken at most once per tick, however many calls start and end.
        if std::mem::take(&mut state.asleep) {
            self.changed.notify_one();
        }
        MonitorGuard { monitor: self, call }
    }

    /// Runs the thread. `keep_sessions_alive` is called every `keepalive`, for the streams of SSE sessions.
    pub fn run(&self, keepalive: Duration, keep_sessions_alive: impl Fn()) {
        let mut due = Instant::now() + keepalive;
        let mut state = self.lock();
        while !state.closed {
            // It sleeps only after a tick without calls, so that consecutive calls wake it once.
            let idle = !std::mem::take(&mut state.has_new_call) && state.calls.is_empty();
            self.heartbeat.beat();
            let wait = due.saturating_duration_since(Instant::now()).min(HEARTBEAT_INTERVAL);
            state.asleep = idle;
            state = self.wait(state, if idle { wait } else { wait.min(TICK) });
            state.asleep = false;
            // After a sleep no call is checked: one that has just started is checked after a tick.
            let calls = if idle { Vec::new() } else { state.calls.clone() };
            drop(state);
            self.cancel_disconnected(&calls);
            if Instant::now() >= due {
                keep_sessions_alive();
                calls.iter().filter_map(|call| call.events.get()).for_each(EventStream::keep_alive);
                due = Instant::now() + keepalive;
            }
            state = self.lock();
        }
    }

    /// Stops cancelling calls of disconnected clients. At a shutdown, calls in flight have their own time limit.
    pub fn stop_cancelling(&self) {
        self.lock().draining = true;
    }

    /// Cancels all running calls at the end of the shutdown's time limit.
    pub fn cancel_all_for_shutdown(&self) {
        let calls = self.lock().calls.clone();
        calls.iter().for_each(|call| call.cancel.cancel(CancelReason::Shutdown));
    }

    /// Ends [`ConnectionMonitor::run`].
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Returns true if the client of this connection is gone, without a wait. At a shutdown no client counts as gone.
    pub fn is_disconnected(&self, stream: &ClientStream) -> bool {
        self.find_disconnected(&[stream]) == [true]
    }

    /// Cancels the calls whose clients are gone, without a wait.
    fn cancel_disconnected(&self, calls: &[Arc<MonitoredCall>]) {
        let streams: Vec<_> = calls.iter().map(|call| &*call.stream).collect();
        for (call, is_gone) in calls.iter().zip(self.find_disconnected(&streams)) {
            if is_gone && !call.cancel.is_cancelled() {
                log::debug!("cancelling a call: its client disconnected");
                call.cancel.cancel(call.on_disconnect);
            }
        }
    }

    /// Tells for each connection whether its client is gone. Returns nothing if that cannot be told.
    fn find_disconnected(&self, streams: &[&ClientStream]) -> Vec<bool> {
        let mut fds: Vec<_> = streams.iter().map(|stream| PollFd::new(stream.socket(), GONE)).collect();
        if fds.is_empty() || poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_err() {
            return Vec::new();
        }
        let disconnected =
            fds.iter().map(|fd| fd.revents().intersects(GONE | PollFlags::HUP | PollFlags::ERR)).collect();
        // Checked after the poll, which may have seen the shutdown's own end of the reads.
        if self.lock().draining { Vec::new() } else { disconnected }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, MonitorState>, time: Duration) -> MutexGuard<'a, MonitorState> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, MonitorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MonitorGuard<'_> {
    /// Returns the call's event stream, once there is one.
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
    fn a_call_whose_client_goes_is_cancelled_by_its_version_and_others_are_not() {
        let monitor = ConnectionMonitor::default();
        thread::scope(|scope| {
            scope.spawn(|| monitor.run(LONG, || ()));
            let ((stream, client), (other_stream, _other_client)) = (connection_pair(LONG), connection_pair(LONG));
            let (modern, other, legacy) = (CancelToken::new(), CancelToken::new(), CancelToken::new());
            let (sender, receiver) = channel();
            let hook = |token: &CancelToken| {
                let sender = sender.clone();
                token.on_cancel(Box::new(move || sender.send(()).unwrap()))
            };
            let _hooks = [hook(&modern), hook(&legacy)];
            let _calls = [
                monitor.register(&stream, &modern, CancelReason::ClientGone),
                monitor.register(&other_stream, &other, CancelReason::ClientGone),
                monitor.register(&stream, &legacy, CancelReason::Disconnected),
            ];
            drop(client);
            (0..2).for_each(|_| receiver.recv_timeout(LONG).unwrap());
            assert!(!other.is_cancelled() && modern.is_client_gone());
            assert!(legacy.is_abandoned() && !legacy.is_client_gone());
            assert!(monitor.is_disconnected(&stream) && !monitor.is_disconnected(&other_stream));
            monitor.stop_cancelling();
            assert!(!monitor.is_disconnected(&stream));
            monitor.close();
        });
    }

    #[test]
    fn streams_of_calls_get_comments_as_sessions_do() {
        let monitor = ConnectionMonitor::default();
        let (sender, receiver) = channel();
        thread::scope(|scope| {
            let (stream, mut client) = connection_pair(LONG);
            let call = monitor.register(&stream, &CancelToken::new(), CancelReason::ClientGone);
            assert!(call.events().set(EventStream::new(stream, LONG)).is_ok());
            scope.spawn(|| {
                monitor.run(Duration::from_millis(5), move || {
                    let _ = sender.send(());
                })
            });
            receiver.recv_timeout(LONG).unwrap();
            assert_eq!(read_until(&mut client, "\n\n"), ": keep-alive\n\n");
            drop(call);
            assert!(monitor.lock().calls.is_empty());
            monitor.close();
        });
    }
}
