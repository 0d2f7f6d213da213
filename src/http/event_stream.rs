//! An event stream to a client. Any thread may send an event: one write under the stream's lock, with a deadline.
//! Regular comments keep proxies from ending a quiet stream.

use super::client_stream::ClientStream;
use super::response::{HeaderField, event_stream_head};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// First lines of a stream that is the response to a call. Some proxies hold back the head until the first byte of the
/// body.
pub const ANSWER_FOLLOWS: &str = ": answer follows\n\n";

const COMMENT: &[u8] = b": keep-alive\n\n";

/// Event stream on a connection, without length and chunks (see [`event_stream_head`]).
pub struct EventStream {
    stream: Arc<ClientStream>,
    writer: Mutex<WriterState>,
    write_timeout: Duration,
    ended: AtomicBool,
}

#[derive(Default)]
struct WriterState {
    /// Rest of a head or a comment that was sent in part. It must be sent before anything else.
    unsent: Vec<u8>,
    /// Start of the time in which the socket accepted nothing.
    blocked_since: Option<Instant>,
}

impl EventStream {
    /// Creates a stream on a connection whose write timeout is `write_timeout`. Nothing is sent yet.
    pub fn new(stream: Arc<ClientStream>, write_timeout: Duration) -> Self {
        Self { stream, writer: Mutex::default(), write_timeout, ended: AtomicBool::new(false) }
    }

    /// Sends the head, with more `headers`, and the first lines. `before` runs under the stream's lock, so no comment can precede them. If it
    /// returns false, nothing is sent and this returns false too.
    pub fn start(
        &self,
        headers: impl IntoIterator<Item = HeaderField>,
        first: &str,
        before: impl FnOnce() -> bool,
    ) -> io::Result<bool> {
        let mut bytes = event_stream_head(headers)?;
        bytes.extend_from_slice(first.as_bytes());
        let mut writer = self.writer();
        let starts = before();
        if starts {
            self.write(&mut writer, &mut [IoSlice::new(&bytes)]);
        }
        Ok(starts)
    }

    /// Does the same without a wait. Bytes that the socket does not accept are sent before the first event.
    pub fn start_now(&self, headers: impl IntoIterator<Item = HeaderField>, first: &str) -> io::Result<()> {
        let mut bytes = event_stream_head(headers)?;
        bytes.extend_from_slice(first.as_bytes());
        self.send_now(&mut self.writer(), bytes);
        Ok(())
    }

    /// Sends a message, which is a single line, as an event. `before` runs just before the client can receive it.
    /// Returns false if the stream has ended, or ends now because the client did not receive the event in time.
    pub fn send(&self, message: &[u8], before: impl FnOnce()) -> bool {
        let mut writer = self.writer();
        before();
        let mut event = [IoSlice::new(b"event: message\ndata: "), IoSlice::new(message), IoSlice::new(b"\n\n")];
        self.write(&mut writer, &mut event)
    }

    fn write(&self, writer: &mut WriterState, parts: &mut [IoSlice<'_>]) -> bool {
        if self.has_ended() {
            return false;
        }
        let unsent = std::mem::take(&mut writer.unsent);
        let unsent_result = match unsent.is_empty() {
            true => Ok(()),
            false => self.stream.write_all(&mut [IoSlice::new(&unsent)], self.write_timeout),
        };
        match unsent_result.and_then(|()| self.stream.write_all(parts, self.write_timeout)) {
            Ok(()) => {
                writer.blocked_since = None;
                true
            }
            Err(error) => {
                log::debug!("cannot send an event: {error}");
                self.end();
                false
            }
        }
    }

    /// Sends a comment, or the rest of the previous one, if the socket accepts it without a wait.
    pub fn keep_alive(&self) {
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // A thread is sending an event: the stream is not quiet, and that write has its own deadline.
            Err(TryLockError::WouldBlock) => return,
        };
        let unsent = std::mem::take(&mut writer.unsent);
        self.send_now(&mut writer, if unsent.is_empty() { COMMENT.to_vec() } else { unsent });
    }

    /// Sends as many of `bytes` as the socket accepts without a wait, and keeps the rest.
    fn send_now(&self, writer: &mut WriterState, mut bytes: Vec<u8>) {
        match self.stream.send_now(&bytes) {
            Ok(n) => {
                bytes.drain(..n);
                *writer = WriterState { unsent: bytes, blocked_since: None };
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                writer.unsent = bytes;
                if writer.blocked_since.get_or_insert_with(Instant::now).elapsed() >= self.write_timeout {
                    log::debug!("the client of an event stream has stopped reading");
                    self.end();
                }
            }
            Err(_) => self.end(),
        }
    }

    /// Ends the stream. Its connection's thread notices and cleans up.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.stream.end();
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    pub fn stream(&self) -> &Arc<ClientStream> {
        &self.stream
    }

    fn writer(&self) -> MutexGuard<'_, WriterState> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::client_stream::tests::connection_pair;
    use super::*;
    use std::io::Read;
    use std::net::TcpStream;

    /// Returns a stream that has started with `: hello`, and its client.
    fn stream(write_timeout: Duration) -> (EventStream, TcpStream) {
        let (stream, client) = connection_pair(write_timeout);
        let events = EventStream::new(stream, write_timeout);
        assert!(events.start([], ": hello\n\n", || true).unwrap());
        (events, client)
    }

    /// Reads the text up to and including `end`.
    pub fn read_until(client: &mut TcpStream, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            text.push(byte[0].into());
        }
        text
    }

    #[test]
    fn events_and_comments_follow_the_head() {
        let (events, mut client) = stream(Duration::from_secs(10));
        assert!(read_until(&mut client, "\r\n\r\n").contains("text/event-stream"));
        assert_eq!(read_until(&mut client, "\n\n"), ": hello\n\n");
        assert!(events.send(b"{}", || ()));
        assert_eq!(read_until(&mut client, "\n\n"), "event: message\ndata: {}\n\n");
        events.keep_alive();
        assert_eq!(read_until(&mut client, "\n\n"), ": keep-alive\n\n");
    }

    #[test]
    fn a_client_that_does_not_read_loses_its_stream_to_an_event() {
        let (events, _client) = stream(Duration::from_millis(50));
        assert!(!events.send(&vec![b' '; 64 << 20], || ()));
        assert!(events.has_ended());
        assert!(!events.send(b"{}", || ()));
    }

    #[test]
    fn a_start_without_a_wait_keeps_the_rest_for_the_first_event() {
        let (stream, mut client) = connection_pair(Duration::from_secs(10));
        let full = [b' '; 1 << 16];
        let mut filled = 0;
        while let Ok(n) = stream.send_now(&full) {
            filled += n;
        }
        let events = EventStream::new(stream, Duration::from_secs(10));
        events.start_now([], ": hello\n\n").unwrap();
        events.keep_alive();
        let sender = std::thread::spawn(move || events.send(b"{}", || ()));
        client.read_exact(&mut vec![0; filled]).unwrap();
        assert!(read_until(&mut client, "\r\n\r\n").starts_with("HTTP/1.1 200 "));
        assert_eq!(read_until(&mut client, "\n\n"), ": hello\n\n");
        assert_eq!(read_until(&mut client, "\n\n"), "event: message\ndata: {}\n\n");
        assert!(sender.join().unwrap());
    }

    #[test]
    fn keep_alive_comments_never_wait_and_end_a_stream_that_is_stuck() {
        let (events, _client) = stream(Duration::from_millis(50));
        let locked = events.writer();
        events.keep_alive();
        drop(locked);
        let full = [b' '; 1 << 16];
        while events.stream.send_now(&full).is_ok() {}
        let started = Instant::now();
        while !events.has_ended() {
            events.keep_alive();
            assert!(started.elapsed() < Duration::from_secs(20), "the stream never ended");
            std::thread::yield_now();
        }
    }
}
