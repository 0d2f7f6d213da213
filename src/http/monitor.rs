//! The monitor thread of connections whose own threads are busy. It sends the keep-alive comments of all event streams.
//! It starts the response of a call that takes long as an event stream: proxies end a connection that is silent for a
//! minute or less. It also detects when the client of a running call is gone. That cancels the call in 2026-07-28. In
//! older versions it ends what only reads.
//!
//! A client that closes only its sending side also counts as gone. No MCP client does so, and until something is
//! written a full close looks the same.
//!
//! The thread checks five times per second while calls run, and sleeps after a tick without calls.

use super::client_stream::ClientStream;
use super::event_stream::{ANSWER_FOLLOWS, EventStream};
use super::response::HeaderField;
use crate::base::cancel::{CancelReason, CancelToken};
use crate::base::heartbeat::{HEARTBEAT_INTERVAL, Heartbeat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    events: EventStream,
    /// Headers of the stream besides the usual ones.
    stream_headers: Vec<HeaderField>,
    /// Time from which the response is a stream. `None` if the client accepts no events.
    stream_at: Option<Instant>,
    form: Mutex<ResponseForm>,
}

/// Form of a call's response. It changes once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseForm {
    Undecided,
    /// One JSON document, which the connection's thread writes.
    Document,
    /// An event stream, whose head and first comment are sent.
    Stream,
}

/// Options of a monitored call.
pub struct MonitorOptions {
    /// Reason of the cancellation when the client is gone.
    pub on_disconnect: CancelReason,
    pub write_timeout: Duration,
    pub stream_headers: Vec<HeaderField>,
    /// Time after which the response becomes an event stream. `None` if the client accepts no events.
    pub stream_delay: Option<Duration>,
}

/// Registration of a call, removed on drop.
pub struct MonitorGuard<'a> {
    monitor: &'a ConnectionMonitor,
    call: Arc<MonitoredCall>,
}

impl ConnectionMonitor {
    /// Registers a call.
    pub fn register(
        &self,
        stream: &Arc<ClientStream>,
        cancel: &CancelToken,
        options: MonitorOptions,
    ) -> MonitorGuard<'_> {
        let MonitorOptions { on_disconnect, write_timeout, stream_headers, stream_delay } = options;
        let call = Arc::new(MonitoredCall {
            stream: stream.clone(),
            cancel: cancel.clone(),
            on_disconnect,
            events: EventStream::new(stream.clone(), write_timeout),
            stream_headers,
            stream_at: stream_delay.map(|delay| Instant::now() + delay),
            form: Mutex::new(ResponseForm::Undecided),
        });
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
            calls.iter().for_each(|call| call.start_due_stream());
            if Instant::now() >= due {
                keep_sessions_alive();
                calls.iter().filter(|call| call.is_stream()).for_each(|call| call.events.keep_alive());
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

impl MonitoredCall {
    /// Starts the stream if the response is undecided for too long. Never waits.
    fn start_due_stream(&self) {
        if self.stream_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        // The call's own thread decides at this moment.
        let Ok(mut form) = self.form.try_lock() else { return };
        if *form == ResponseForm::Undecided {
            *form = ResponseForm::Stream;
            if self.events.start_now(self.stream_headers.clone(), ANSWER_FOLLOWS).is_err() {
                self.events.end();
            }
        }
    }

    fn is_stream(&self) -> bool {
        // The call's own thread may be writing the start of the stream, which is then not quiet.
        self.form.try_lock().is_ok_and(|form| *form == ResponseForm::Stream)
    }

    fn form(&self) -> MutexGuard<'_, ResponseForm> {
        self.form.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MonitorGuard<'_> {
    /// Returns the call's event stream and starts it if it has not started. A stream that cannot start has ended and
    /// sends no event.
    pub fn stream(&self) -> &EventStream {
        let (call, mut form) = (&self.call, self.call.form());
        if *form == ResponseForm::Undecided {
            *form = ResponseForm::Stream;
            if call.events.start(call.stream_headers.clone(), ANSWER_FOLLOWS, || true).is_err() {
                call.events.end();
            }
        }
        &call.events
    }

    /// Decides that the response is one document, unless the call's event stream has started, which this returns.
    pub fn started_stream(&self) -> Option<&EventStream> {
        let mut form = self.call.form();
        if *form == ResponseForm::Undecided {
            *form = ResponseForm::Document;
        }
        (*form == ResponseForm::Stream).then_some(&self.call.events)
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

    fn options(on_disconnect: CancelReason, stream_delay: Option<Duration>) -> MonitorOptions {
        MonitorOptions { on_disconnect, write_timeout: LONG, stream_headers: Vec::new(), stream_delay }
    }

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
                monitor.register(&stream, &modern, options(CancelReason::ClientGone, None)),
                monitor.register(&other_stream, &other, options(CancelReason::ClientGone, None)),
                monitor.register(&stream, &legacy, options(CancelReason::Disconnected, None)),
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
            let call = monitor.register(&stream, &CancelToken::new(), options(CancelReason::Disconnected, None));
            call.stream();
            assert!(read_until(&mut client, "\r\n\r\n").contains("text/event-stream"));
            assert_eq!(read_until(&mut client, "\n\n"), ANSWER_FOLLOWS);
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

    #[test]
    fn the_response_is_a_stream_after_the_delay_and_a_document_before() {
        let monitor = ConnectionMonitor::default();
        thread::scope(|scope| {
            scope.spawn(|| monitor.run(LONG, || ()));
            let ((stream, mut client), (other_stream, mut other_client)) =
                (connection_pair(LONG), connection_pair(LONG));
            let early = monitor.register(
                &other_stream,
                &CancelToken::new(),
                options(CancelReason::Disconnected, Some(Duration::ZERO)),
            );
            assert!(early.started_stream().is_none(), "decided before the first tick");
            let late = monitor.register(
                &stream,
                &CancelToken::new(),
                options(CancelReason::Disconnected, Some(Duration::ZERO)),
            );
            assert!(read_until(&mut client, "\r\n\r\n").contains("text/event-stream"));
            assert_eq!(read_until(&mut client, "\n\n"), ANSWER_FOLLOWS);
            assert!(late.started_stream().is_some_and(|events| events.send(b"{}", || ())));
            assert_eq!(read_until(&mut client, "\n\n"), "event: message\ndata: {}\n\n");
            assert!(early.started_stream().is_none());
            other_client.set_nonblocking(true).unwrap();
            let nothing = std::io::Read::read(&mut other_client, &mut [0]);
            assert_eq!(nothing.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nothing is sent for a document");
            drop((early, late));
            monitor.close();
        });
    }
}
