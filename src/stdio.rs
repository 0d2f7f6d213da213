//! MCP on stdin and stdout: one message per line, and stdout has nothing but messages.
//!
//! One thread reads. Calls run on worker threads, several in parallel, so that a slow call delays neither the next call
//! nor its own cancellation. Answers are written one at a time, a line and a write each. The thread that waits for the
//! end is not the reader, which may block in a read or in a write to a full pipe.

use crate::base::blocking_io::BlockingIo;
use crate::base::cancel::CancelToken;
use crate::base::deadline::Deadline;
use crate::base::memory::{CallMemory, MemoryBudget, MemoryReservation};
use crate::base::workers::{CALL_STACK_BYTES, WorkerPool};
use crate::config::Limits;
use crate::mcp::context::Caller;
use crate::mcp::in_flight::{CallGuard, InFlightCalls};
use crate::mcp::message::{
    BUSY, InvalidMessage, MAX_BATCH, Message, QUEUE_TIMEOUT_MESSAGE, RpcRequest, SERVER_BUSY_MESSAGE,
    SERVER_STOPPING_MESSAGE, encode_too_long, parse_message, skip_byte_order_mark, split_batch,
};
use crate::mcp::{McpServer, TransportContext};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Time for cancelled calls to report what is known of their outcome.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// A call for a worker thread.
struct StdioCall {
    line: Vec<u8>,
    guard: CallGuard,
    /// For the call to begin.
    begin_by: Deadline,
    memory: CallMemory,
    /// The memory of the line.
    _reservation: MemoryReservation,
}

/// A server on the process's own stdin and stdout, before it runs.
pub struct StdioServer {
    server: Arc<McpServer>,
    limits: Limits,
    handle: StdioHandle,
}

/// Stops a running [`StdioServer`]. Clones belong to the same session.
#[derive(Clone, Default)]
pub struct StdioHandle(Arc<StopFlag>);

#[derive(Default)]
struct StopFlag {
    phase: Mutex<SessionPhase>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum SessionPhase {
    #[default]
    Running,
    /// Stdin has ended. The calls that were read still run.
    InputEnded,
    /// A signal arrived. Only the calls that have begun still run.
    Stopped,
}

impl StdioHandle {
    /// Rejects new calls and those that have not begun. Returns at once. [`StdioServer::run`] returns after the last call.
    pub fn stop(&self) {
        self.end(SessionPhase::Stopped);
    }

    fn end(&self, phase: SessionPhase) {
        *self.lock() = phase;
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, SessionPhase> {
        self.0.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end and returns its kind.
    fn wait(&self) -> SessionPhase {
        let ended = self.0.changed.wait_while(self.lock(), |phase| *phase == SessionPhase::Running);
        *ended.unwrap_or_else(PoisonError::into_inner)
    }
}

impl StdioServer {
    pub fn new(server: Arc<McpServer>, limits: Limits) -> Self {
        Self { server, limits, handle: StdioHandle::default() }
    }

    pub fn handle(&self) -> StdioHandle {
        self.handle.clone()
    }

    /// Serves until stdin ends or the handle stops it. Calls in flight then have `stop_timeout` to end. Calls that have not
    /// begun by then, or at a stop, are answered with an error. The reader thread may stay blocked in a read until the
    /// process ends.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn run(self) -> io::Result<()> {
        self.serve(BufReader::new(BlockingIo(io::stdin())), BlockingIo(io::stdout()))
    }

    /// Serves any two streams.
    fn serve(self, input: impl BufRead + Send + 'static, output: impl Write + Send + 'static) -> io::Result<()> {
        let Self { server, limits, handle } = self;
        let session = Arc::new(StdioSession {
            server,
            calls: Arc::new(InFlightCalls::new()),
            output: LineWriter { writer: Mutex::new(output), closed: AtomicBool::new(false) },
            caller: Caller::new_stdio(),
        });
        let workers = {
            let session = session.clone();
            WorkerPool::new(limits.max_calls, move |call: StdioCall| {
                if call.begin_by.remaining().is_zero() {
                    session.reject(&call, QUEUE_TIMEOUT_MESSAGE);
                } else if let Ok(Message::Request(request)) = parse_message(&call.line) {
                    session.handle_request(&request, call.guard.cancel.clone().with_memory(call.memory));
                }
            })
        };
        let reader = StdinReader {
            session: session.clone(),
            workers: workers.clone(),
            handle: handle.clone(),
            max_bytes: limits.max_body_bytes,
            memory: MemoryBudget::new(limits.max_buffered_bytes),
            queue_timeout: limits.queue_timeout,
        };
        thread::Builder::new().name("stdin".into()).stack_size(CALL_STACK_BYTES).spawn(move || {
            let _ = catch_unwind(AssertUnwindSafe(|| reader.read_messages(input)));
            if *reader.handle.lock() == SessionPhase::Running {
                reader.handle.end(SessionPhase::InputEnded);
            }
        })?;
        let reject_queued = || {
            let session = session.clone();
            workers.reject_queued(move |call| session.reject(&call, SERVER_STOPPING_MESSAGE));
        };
        if handle.wait() == SessionPhase::Stopped {
            reject_queued();
        }
        if workers.stop(&Deadline::from_now(limits.stop_timeout)) > 0 {
            log::warn!("stopping: the calls in flight took too long and are cancelled");
            reject_queued();
            session.calls.cancel_all_for_shutdown();
            workers.stop(&Deadline::from_now(SHUTDOWN_GRACE));
        }
        Ok(())
    }
}

/// The one session of the process, shared by the reader and the worker threads.
struct StdioSession<W> {
    server: Arc<McpServer>,
    calls: Arc<InFlightCalls>,
    output: LineWriter<W>,
    caller: Caller,
}

impl<W: Write> StdioSession<W> {
    fn handle_request(&self, request: &RpcRequest<'_>, cancel: CancelToken) {
        let notify = |message: &[u8]| self.output.write_line(message);
        let transport = TransportContext { caller: &self.caller, calls: Some(&self.calls), cancel, notify: &notify };
        if let Some(answer) = self.server.handle_request(request, request.parse_params(), &transport) {
            self.output.write_line(&answer.bytes);
        }
    }

    /// Sends an error as the answer to a call that does not run, unless the client cancelled it.
    fn reject(&self, call: &StdioCall, message: &str) {
        if let Ok(Message::Request(request)) = parse_message(&call.line)
            && !call.guard.cancel.is_client_gone()
        {
            self.server.record_busy(&request, &self.caller);
            self.output.write_line(&request.encode_rejection(BUSY, message));
        }
    }
}

/// The state of the thread that reads stdin.
struct StdinReader<W> {
    session: Arc<StdioSession<W>>,
    workers: WorkerPool<StdioCall>,
    /// After a stop, lines that are still read are discarded.
    handle: StdioHandle,
    max_bytes: usize,
    /// The memory of messages and of the answers of nodes.
    memory: Arc<MemoryBudget>,
    queue_timeout: Duration,
}

impl<W: Write> StdinReader<W> {
    /// Reads messages until the end of the input.
    fn read_messages(&self, mut input: impl BufRead) {
        let StdioSession { calls, output, .. } = &*self.session;
        let mut line = Vec::new();
        while let Ok(true) = read_line(&mut input, &mut line, self.max_bytes) {
            if *self.handle.lock() == SessionPhase::Stopped {
                break;
            }
            if output.closed.load(Ordering::Relaxed) {
                calls.cancel_all();
                break;
            }
            if line.len() > self.max_bytes {
                output.write_line(&encode_too_long(self.max_bytes));
            } else if !skip_byte_order_mark(&line).trim_ascii().is_empty() {
                match split_batch(&line, MAX_BATCH) {
                    None => self.handle_message(std::mem::take(&mut line)),
                    Some(Err(InvalidMessage(answer))) => output.write_line(&answer),
                    // The answers to a batch are sent one by one, which clients expect on a pipe anyway.
                    Some(Ok(parts)) => {
                        for part in parts {
                            self.handle_message(part.as_bytes().to_vec());
                        }
                    }
                }
            }
        }
    }

    /// Answers one message, or passes a call to a worker thread.
    fn handle_message(&self, line: Vec<u8>) {
        let StdioSession { server, caller, calls, output, .. } = &*self.session;
        match parse_message(&line) {
            Err(InvalidMessage(answer)) => output.write_line(&answer),
            Ok(Message::Response) => {}
            Ok(Message::Notification(notification)) => server.handle_notification(&notification, calls),
            Ok(Message::Request(request)) if request.may_take_long() => {
                // Registered before it runs, so that a cancellation on the next line finds it.
                let guard = calls.register(request.id().into());
                let memory = self.memory.open_whole(&caller.client.name);
                let Ok(_reservation) = memory.reserve(line.len()) else {
                    server.record_busy(&request, caller);
                    return output.write_line(&request.encode_rejection(BUSY, SERVER_BUSY_MESSAGE));
                };
                let begin_by = Deadline::from_now(self.queue_timeout);
                if let Err(call) = self.workers.submit(StdioCall { line, guard, begin_by, memory, _reservation }) {
                    let is_stopped = *self.handle.lock() == SessionPhase::Stopped;
                    let message = if is_stopped { SERVER_STOPPING_MESSAGE } else { SERVER_BUSY_MESSAGE };
                    self.session.reject(&call, message);
                }
            }
            Ok(Message::Request(request)) => self.session.handle_request(&request, CancelToken::new()),
        }
    }
}

/// Writes messages as lines, one at a time.
struct LineWriter<W> {
    writer: Mutex<W>,
    /// True if the client has closed stdout. Messages that it still sends are then ignored.
    closed: AtomicBool,
}

impl<W: Write> LineWriter<W> {
    fn write_line(&self, message: &[u8]) {
        let line = [message, b"\n"].concat();
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writer.write_all(&line).and_then(|()| writer.flush()) {
            log::debug!("cannot write to stdout: {error}");
            self.closed.store(true, Ordering::Relaxed);
        }
    }
}

/// Reads a line into `line`. Of a longer line it keeps `max + 1` bytes and skips the rest. Returns false at the end of
/// the input.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>, max: usize) -> io::Result<bool> {
    line.clear();
    input.by_ref().take(max as u64 + 1).read_until(b'\n', line)?;
    if line.len() > max && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    Ok(!line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::catalog::{Catalog, Tool, ToolEffect, ToolInput, ToolOutput};
    use serde_json::{Value, json};
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Written lines, as messages.
    struct MessageSink(Sender<Value>);

    impl Write for MessageSink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1, "one line per write");
            let _ = self.0.send(serde_json::from_slice(bytes)?);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Stdin with the texts of a channel. It ends when the sender is dropped.
    struct ScriptedStdin {
        texts: Receiver<String>,
        unread: Vec<u8>,
    }

    impl Read for ScriptedStdin {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.unread.is_empty() {
                self.unread = self.texts.recv().map(String::into_bytes).unwrap_or_default();
            }
            let n = self.unread.len().min(buffer.len());
            buffer[..n].copy_from_slice(&self.unread[..n]);
            self.unread.drain(..n);
            Ok(n)
        }
    }

    fn start_server(limits: Limits) -> (Sender<String>, Receiver<Value>, thread::JoinHandle<()>) {
        let (input, output, thread, _) = start_server_with_handle(limits);
        (input, output, thread)
    }

    fn start_server_with_handle(
        limits: Limits,
    ) -> (Sender<String>, Receiver<Value>, thread::JoinHandle<()>, StdioHandle) {
        let wait = Tool {
            name: "wait",
            title: "wait",
            description: "waits for its cancellation",
            input: ToolInput::Parameters(&[]),
            effect: ToolEffect::ReadOnly,
            meta: serde_json::Map::new(),
            handler: Box::new(|context, _| {
                context.send_progress(1.0, None, "started");
                let (sender, cancelled) = channel();
                let _hook = context.cancel.on_cancel(Box::new(move || {
                    let _ = sender.send(());
                }));
                let _ = cancelled.recv_timeout(Duration::from_secs(20));
                Ok(ToolOutput::text("cancelled".into()))
            }),
        };
        let server = Arc::new(McpServer::new(Catalog { tools: vec![wait], ..Catalog::default() }).unwrap());
        let ((input, texts), (lines, output)) = (channel(), channel());
        let stdio_server = StdioServer::new(server, limits);
        let handle = stdio_server.handle();
        let run = || {
            let stdin = ScriptedStdin { texts, unread: Vec::new() };
            stdio_server.serve(BufReader::new(stdin), MessageSink(lines)).unwrap();
        };
        (input, output, thread::spawn(run), handle)
    }

    const LONG: Duration = Duration::from_secs(20);

    fn wait_call(id: u32) -> String {
        let params = json!({"name": "wait", "_meta": {"progressToken": id}});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string() + "\n"
    }

    #[test]
    fn calls_run_in_parallel_and_a_cancelled_call_gets_no_answer() {
        let (input, output, thread) = start_server(Limits::default());
        input.send(wait_call(1) + &wait_call(2)).unwrap();
        for _ in 0..2 {
            assert_eq!(output.recv_timeout(LONG).unwrap()["method"], "notifications/progress");
        }
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
        input.send(format!("{cancel}\r\n\n{{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"ping\"}}\n")).unwrap();
        assert_eq!(output.recv_timeout(LONG).unwrap(), json!({"jsonrpc": "2.0", "id": "p", "result": {}}));
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}});
        input.send(format!("{cancel}\n")).unwrap();
        drop(input);
        thread.join().unwrap();
        assert_eq!(output.try_iter().count(), 0, "cancelled calls get no answer");
    }

    #[test]
    fn invalid_lines_get_an_error_and_the_session_continues() {
        let (input, output, thread) = start_server(Limits { max_body_bytes: 100, ..Limits::default() });
        input
            .send(format!("nope\n[]\n{}\n{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}}", "x".repeat(100_000)))
            .unwrap();
        drop(input);
        thread.join().unwrap();
        let codes: Vec<_> = output.try_iter().map(|m| m["error"]["code"].as_i64().unwrap_or(0)).collect();
        assert_eq!(codes, [-32700, -32600, -32600, 0], "the last line needs no line end");
    }

    #[test]
    fn a_byte_order_mark_before_a_line_is_skipped() {
        let (input, output, thread) = start_server(Limits::default());
        let ping = |id: u8| format!("\u{feff}{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}\n");
        for line in
            ["\u{feff}\n".to_owned(), ping(1), format!("\u{feff}[{}]\n", ping(2).trim().trim_start_matches('\u{feff}'))]
        {
            input.send(line).unwrap();
        }
        drop(input);
        thread.join().unwrap();
        let ids: Vec<_> = output.try_iter().map(|answer| answer["id"].clone()).collect();
        assert_eq!(ids, [json!(1), json!(2)]);
    }

    #[test]
    fn the_end_of_stdin_cancels_calls_after_the_stop_timeout() {
        let (input, output, thread) =
            start_server(Limits { stop_timeout: Duration::from_millis(50), ..Limits::default() });
        input.send(wait_call(1)).unwrap();
        output.recv_timeout(LONG).unwrap();
        drop(input);
        thread.join().unwrap();
        let answer = output.recv_timeout(LONG).unwrap();
        assert_eq!(answer["result"]["content"][0]["text"], "cancelled", "a cancelled call reports its outcome");
    }

    /// Starts a server of one worker with one call that runs and one that waits.
    fn start_full_server() -> (Sender<String>, Receiver<Value>, thread::JoinHandle<()>, StdioHandle) {
        let limits = Limits { max_calls: 1, stop_timeout: Duration::from_millis(50), ..Limits::default() };
        let (input, output, thread, handle) = start_server_with_handle(limits);
        // The answer to the ping shows that the calls before it are in the queue.
        input.send(wait_call(1) + &wait_call(2) + "{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"ping\"}\n").unwrap();
        let first_two: Vec<_> = (0..2).map(|_| output.recv_timeout(LONG).unwrap()).collect();
        assert!(first_two.iter().any(|message| message["id"] == "p"), "{first_two:?}");
        (input, output, thread, handle)
    }

    fn assert_last_answers(output: &Receiver<Value>) {
        let answers: Vec<_> = output.try_iter().collect();
        let of = |id: u32| answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("{answers:?}"));
        assert_eq!(of(1)["result"]["content"][0]["text"], "cancelled");
        assert_eq!((&of(2)["error"]["message"], answers.len()), (&json!(SERVER_STOPPING_MESSAGE), 2), "{answers:?}");
    }

    #[test]
    fn a_call_that_waits_at_the_end_of_stdin_is_told_that_it_did_not_begin() {
        let (input, output, thread, _) = start_full_server();
        drop(input);
        thread.join().unwrap();
        assert_last_answers(&output);
    }

    #[test]
    fn a_call_that_waits_at_a_stop_is_told_that_it_did_not_begin() {
        let (_input, output, thread, handle) = start_full_server();
        handle.stop();
        thread.join().unwrap();
        assert_last_answers(&output);
    }

    #[test]
    fn a_call_that_waited_too_long_is_told_that_it_did_not_begin() {
        let (input, output, thread) =
            start_server(Limits { queue_timeout: Duration::ZERO, stop_timeout: LONG, ..Limits::default() });
        input.send(wait_call(1)).unwrap();
        let answer = output.recv_timeout(LONG).unwrap();
        assert_eq!((&answer["id"], &answer["error"]["message"]), (&json!(1), &json!(QUEUE_TIMEOUT_MESSAGE)));
        drop(input);
        thread.join().unwrap();
    }

    #[test]
    fn a_stopped_server_ignores_later_messages() {
        let limits = Limits { stop_timeout: Duration::from_millis(50), ..Limits::default() };
        let (input, output, thread, handle) = start_server_with_handle(limits);
        input.send(wait_call(1)).unwrap();
        output.recv_timeout(LONG).unwrap();
        handle.stop();
        input.send(wait_call(2) + "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"ping\"}\n").unwrap();
        thread.join().unwrap();
        let answers: Vec<_> = output.try_iter().map(|message| message["id"].clone()).collect();
        assert_eq!(answers, [json!(1)], "the call in flight alone is answered");
    }
}
