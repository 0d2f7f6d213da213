//! MCP on stdin and stdout: one message a line, nothing but messages on stdout, the end of stdin is the end.
//!
//! One thread reads. What may take long runs on workers, several at once, so that a call that hangs holds up neither
//! the next one nor its own cancellation; answers are written one at a time, a line and a write each. The end is waited
//! for by another thread than the reader, which may hang in a read, or in an answer that nobody takes.

use crate::base::cancel::CancelToken;
use crate::base::deadline::Deadline;
use crate::base::workers::{CALL_STACK_BYTES, WorkerPool};
use crate::config::Limits;
use crate::mcp::context::Caller;
use crate::mcp::in_flight::{CallGuard, InFlightCalls};
use crate::mcp::message::{
    BUSY, InvalidMessage, MAX_BATCH, Message, RpcRequest, SERVER_BUSY_MESSAGE, encode_too_long, parse_message,
    split_batch,
};
use crate::mcp::{McpServer, TransportContext};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What is given up gets this long to say what is known of its outcome.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// A call on its way to a worker.
struct StdioCall {
    line: Vec<u8>,
    call: CallGuard,
}

/// The process's own stdin and stdout, not yet served.
pub struct StdioServer {
    server: Arc<McpServer>,
    limits: Limits,
    handle: StdioHandle,
}

/// Tells a running [`StdioServer`] to stop; clones are the same session.
#[derive(Clone, Default)]
pub struct StdioHandle(Arc<StopFlag>);

/// Whether there was enough, and who waits for that.
#[derive(Default)]
struct StopFlag(Mutex<bool>, Condvar);

impl StdioHandle {
    /// No new calls, as at the end of stdin. Returns at once; [`StdioServer::run`] returns when it is done.
    pub fn stop(&self) {
        *self.lock() = true;
        self.0.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        drop(self.0.1.wait_while(self.lock(), |stop| !*stop));
    }
}

impl StdioServer {
    /// Reads nothing yet.
    pub fn new(server: Arc<McpServer>, limits: Limits) -> Self {
        Self { server, limits, handle: StdioHandle::default() }
    }

    /// The handle on it while it runs.
    pub fn handle(&self) -> StdioHandle {
        self.handle.clone()
    }

    /// Serves until stdin ends or it is told to stop; calls in flight then get `stop_timeout`. What is left of the
    /// input is the reader's, which ends with the process.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn run(self) -> io::Result<()> {
        self.serve(BufReader::new(io::stdin()), io::stdout())
    }

    /// Serves any two streams.
    fn serve(self, input: impl BufRead + Send + 'static, output: impl Write + Send + 'static) -> io::Result<()> {
        let Self { server, limits, handle } = self;
        let output = Arc::new(LineWriter {
            writer: Mutex::new(output),
            closed: AtomicBool::new(false),
            caller: Caller::new_stdio(),
        });
        let calls = Arc::new(InFlightCalls::new());
        let workers = {
            let (server, calls, output) = (server.clone(), calls.clone(), output.clone());
            WorkerPool::new(limits.max_calls, move |job: StdioCall| {
                if let Ok(Message::Request(request)) = parse_message(&job.line) {
                    handle_request(&server, &calls, &output, &request, job.call.cancel.clone());
                }
            })
        };
        let reader = StdinReader {
            server,
            calls: calls.clone(),
            workers: workers.clone(),
            output,
            handle: handle.clone(),
            max_bytes: limits.max_body_bytes,
        };
        thread::Builder::new().name("stdin".into()).stack_size(CALL_STACK_BYTES).spawn(move || {
            let _ = catch_unwind(AssertUnwindSafe(|| reader.read_messages(input)));
            reader.handle.stop();
        })?;
        handle.wait();
        if workers.stop(&Deadline::from_now(limits.stop_timeout)) > 0 {
            log::warn!("stopping with calls at work; they are given up");
            calls.cancel_all_for_shutdown();
            workers.stop(&Deadline::from_now(SHUTDOWN_GRACE));
        }
        Ok(())
    }
}

/// The thread that reads.
struct StdinReader<W> {
    server: Arc<McpServer>,
    calls: Arc<InFlightCalls>,
    workers: WorkerPool<StdioCall>,
    output: Arc<LineWriter<W>>,
    /// Once it is told to stop, what is read is nobody's affair.
    handle: StdioHandle,
    max_bytes: usize,
}

impl<W: Write> StdinReader<W> {
    /// Reads until the end.
    fn read_messages(&self, mut input: impl BufRead) {
        let mut line = Vec::new();
        while let Ok(true) = read_line(&mut input, &mut line, self.max_bytes) {
            if *self.handle.lock() {
                break;
            }
            if self.output.closed.load(Ordering::Relaxed) {
                self.calls.cancel_all();
                break;
            }
            if line.len() > self.max_bytes {
                self.output.write_line(&encode_too_long(self.max_bytes));
            } else if !line.trim_ascii().is_empty() {
                match split_batch(&line, MAX_BATCH) {
                    None => self.handle_message(std::mem::take(&mut line)),
                    Some(Err(InvalidMessage(answer))) => self.output.write_line(&answer),
                    // Its answers may come one by one: on a pipe that is what the client has to expect anyway.
                    Some(Ok(parts)) => {
                        for part in parts {
                            self.handle_message(part.as_bytes().to_vec());
                        }
                    }
                }
            }
        }
    }

    /// Answers one message, or hands it on.
    fn handle_message(&self, line: Vec<u8>) {
        let Self { server, calls, workers, output, .. } = self;
        match parse_message(&line) {
            Err(InvalidMessage(answer)) => output.write_line(&answer),
            Ok(Message::Response) => {}
            Ok(Message::Notification(notification)) => server.handle_notification(&notification, calls),
            Ok(Message::Request(request)) if request.may_take_long() => {
                // On the list before it runs, so that a cancellation on the very next line finds it.
                let call = calls.register(request.id());
                if let Err(job) = workers.submit(StdioCall { line, call })
                    && let Ok(Message::Request(request)) = parse_message(&job.line)
                {
                    server.record_busy(&request, &output.caller);
                    output.write_line(&request.encode_rejection(BUSY, SERVER_BUSY_MESSAGE));
                }
            }
            Ok(Message::Request(request)) => handle_request(server, calls, output, &request, CancelToken::new()),
        }
    }
}

fn handle_request<W: Write>(
    server: &McpServer,
    calls: &InFlightCalls,
    output: &LineWriter<W>,
    request: &RpcRequest<'_>,
    cancel: CancelToken,
) {
    let caller = &output.caller;
    let transport = TransportContext { caller, calls: Some(calls), cancel, notify: &|note| output.write_line(note) };
    if let Some(answer) = server.handle_request(request, request.parse_params(), &transport) {
        output.write_line(&answer.bytes);
    }
}

/// Where answers go, one at a time.
struct LineWriter<W> {
    writer: Mutex<W>,
    /// The client does not read any more. What it still writes is nobody's wish.
    closed: AtomicBool,
    /// Who reads them, and asks.
    caller: Caller,
}

impl<W: Write> LineWriter<W> {
    fn write_line(&self, message: &[u8]) {
        let mut line = Vec::with_capacity(message.len() + 1);
        line.extend_from_slice(message);
        line.push(b'\n');
        let mut out = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = out.write_all(&line).and_then(|()| out.flush()) {
            log::debug!("an answer is not taken: {e}");
            self.closed.store(true, Ordering::Relaxed);
        }
    }
}

/// Reads a line into `line`; of one that is longer than `most`, `most + 1` bytes, and passes over the rest. False at
/// the end of the input.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>, most: usize) -> io::Result<bool> {
    line.clear();
    input.by_ref().take(most as u64 + 1).read_until(b'\n', line)?;
    if line.len() > most && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    Ok(!line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::catalog::{Catalog, Tool, ToolEffect, ToolInput, ToolOutput as Text};
    use serde_json::{Value, json};
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Written lines, as messages.
    struct MessageSink(Sender<Value>);

    impl Write for MessageSink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1, "one line a write");
            let _ = self.0.send(serde_json::from_slice(bytes)?);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Stdin that says what it is told to, and ends when its sender is dropped.
    struct ScriptedStdin(Receiver<String>, Vec<u8>);

    impl Read for ScriptedStdin {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.1.is_empty() {
                self.1 = self.0.recv().map(String::into_bytes).unwrap_or_default();
            }
            let n = self.1.len().min(into.len());
            into[..n].copy_from_slice(&self.1[..n]);
            self.1.drain(..n);
            Ok(n)
        }
    }

    fn start_server(limits: Limits) -> (Sender<String>, Receiver<Value>, thread::JoinHandle<()>) {
        let (say, heard, thread, _) = start_server_with_handle(limits);
        (say, heard, thread)
    }

    fn start_server_with_handle(
        limits: Limits,
    ) -> (Sender<String>, Receiver<Value>, thread::JoinHandle<()>, StdioHandle) {
        let wait = Tool {
            name: "wait",
            title: "wait",
            description: "waits until it is cancelled",
            input: ToolInput::Parameters(&[]),
            effect: ToolEffect::ReadOnly,
            handler: Box::new(|context, _| {
                context.send_progress(1.0, None, "begun");
                let (woken, wake) = channel();
                context.cancel.set_hook(Some(Box::new(move || {
                    let _ = woken.send(());
                })));
                let _ = wake.recv_timeout(Duration::from_secs(20));
                Ok(Text::text("woken".into()))
            }),
        };
        let server = Arc::new(McpServer::new(Catalog { tools: vec![wait], ..Catalog::default() }).unwrap());
        let ((say, typed), (lines, heard)) = (channel(), channel());
        let stdio_server = StdioServer::new(server, limits);
        let handle = stdio_server.handle();
        let run = || stdio_server.serve(BufReader::new(ScriptedStdin(typed, Vec::new())), MessageSink(lines)).unwrap();
        (say, heard, thread::spawn(run), handle)
    }

    const LONG: Duration = Duration::from_secs(20);

    fn wait_call(id: u32) -> String {
        let params = json!({"name": "wait", "_meta": {"progressToken": id}});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string() + "\n"
    }

    #[test]
    fn calls_run_in_parallel_and_a_cancelled_one_is_not_answered() {
        let (say, heard, thread) = start_server(Limits::default());
        say.send(wait_call(1) + &wait_call(2)).unwrap();
        for _ in 0..2 {
            assert_eq!(heard.recv_timeout(LONG).unwrap()["method"], "notifications/progress");
        }
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
        say.send(format!("{cancel}\r\n\n{{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"ping\"}}\n")).unwrap();
        assert_eq!(heard.recv_timeout(LONG).unwrap(), json!({"jsonrpc": "2.0", "id": "p", "result": {}}));
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}});
        say.send(format!("{cancel}\n")).unwrap();
        drop(say);
        thread.join().unwrap();
        assert_eq!(heard.try_iter().count(), 0, "neither call is answered");
    }

    #[test]
    fn lines_that_are_no_messages_are_answered_and_end_nothing() {
        let (say, heard, thread) = start_server(Limits { max_body_bytes: 100, ..Limits::default() });
        say.send(format!("nope\n[]\n{}\n{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}}", "x".repeat(100_000)))
            .unwrap();
        drop(say);
        thread.join().unwrap();
        let codes: Vec<_> = heard.try_iter().map(|m| m["error"]["code"].as_i64().unwrap_or(0)).collect();
        assert_eq!(codes, [-32700, -32600, -32600, 0], "and the last line needs no line end");
    }

    #[test]
    fn the_end_of_stdin_gives_calls_in_flight_a_moment_only() {
        let (say, heard, thread) =
            start_server(Limits { stop_timeout: Duration::from_millis(50), ..Limits::default() });
        say.send(wait_call(1)).unwrap();
        heard.recv_timeout(LONG).unwrap();
        drop(say);
        thread.join().unwrap();
        let answer = heard.recv_timeout(LONG).unwrap();
        assert_eq!(answer["result"]["content"][0]["text"], "woken", "it was given up, and says what it has");
    }

    #[test]
    fn once_it_is_told_to_stop_nothing_more_is_taken() {
        let limits = Limits { stop_timeout: Duration::from_millis(50), ..Limits::default() };
        let (say, heard, thread, handle) = start_server_with_handle(limits);
        say.send(wait_call(1)).unwrap();
        heard.recv_timeout(LONG).unwrap();
        handle.stop();
        say.send(wait_call(2) + "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"ping\"}\n").unwrap();
        thread.join().unwrap();
        let answers: Vec<_> = heard.try_iter().map(|message| message["id"].clone()).collect();
        assert_eq!(answers, [json!(1)], "the call in flight, and nothing that came later");
    }
}
