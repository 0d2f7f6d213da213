//! The queue between the program and its log. A thread that logs never waits for the reader of stderr: a full pipe or a
//! disk that hangs would otherwise stop every call, and with it the handling of signals.

use proxmox_mcp::metrics::count_lost_log_lines;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that wait at most. While they are written, as many more may wait.
const MAX_BYTES: usize = 1 << 20;

/// Lines that wait for the thread that writes them.
pub struct LogQueue {
    state: Mutex<LogQueueState>,
    changed: Condvar,
    /// Formats the line that reports how many lines were lost.
    format_loss: fn(u64) -> String,
}

#[derive(Default)]
struct LogQueueState {
    pending: Vec<u8>,
    /// Lines lost since the last report.
    lost: u64,
    is_writing: bool,
}

impl LogQueue {
    /// Starts the thread that writes to `writer`.
    pub fn start(writer: impl Write + Send + 'static, format_loss: fn(u64) -> String) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), format_loss });
        let shared = queue.clone();
        thread::Builder::new().name("log".into()).spawn(move || shared.write_pending(writer))?;
        Ok(queue)
    }

    /// Adds a line with its line end, or counts it as lost if the queue is full.
    pub fn push(&self, line: &str) {
        let mut state = self.lock();
        if state.pending.len() + line.len() > MAX_BYTES {
            state.lost += 1;
            count_lost_log_lines(1);
            return;
        }
        self.append(state, line);
    }

    /// Adds the last words of the program, also to a full queue.
    pub fn push_last(&self, text: &str) {
        self.append(self.lock(), text);
    }

    fn append(&self, mut state: MutexGuard<'_, LogQueueState>, text: &str) {
        let was_empty = state.pending.is_empty();
        state.pending.extend_from_slice(text.as_bytes());
        drop(state);
        if was_empty {
            self.changed.notify_all();
        }
    }

    /// Waits until every line is written, at most for `limit`.
    pub fn flush(&self, limit: Duration) {
        let is_busy = |state: &mut LogQueueState| state.is_writing || !state.pending.is_empty();
        drop(self.changed.wait_timeout_while(self.lock(), limit, is_busy));
    }

    fn write_pending(&self, mut writer: impl Write) {
        let mut batch = Vec::new();
        loop {
            let reported = self.take_pending(&mut batch);
            let result = writer.write_all(&batch).and_then(|()| writer.flush());
            let mut state = self.lock();
            state.is_writing = false;
            if result.is_err() {
                let lines = batch.iter().filter(|byte| **byte == b'\n').count() as u64 - u64::from(reported > 0);
                count_lost_log_lines(lines);
                // Reported with the next line. An earlier report would fail as well.
                state.lost += lines + reported;
            }
            drop(state);
            self.changed.notify_all();
            batch.clear();
        }
    }

    /// Waits for lines and moves them to `batch`, with a report of those that were lost. Returns the number in that
    /// report.
    fn take_pending(&self, batch: &mut Vec<u8>) -> u64 {
        let idle = self.changed.wait_while(self.lock(), |state| state.pending.is_empty());
        let mut state = idle.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        std::mem::swap(&mut state.pending, batch);
        let lost = std::mem::take(&mut state.lost);
        drop(state);
        if lost > 0 {
            batch.extend_from_slice((self.format_loss)(lost).as_bytes());
        }
        lost
    }

    fn lock(&self) -> MutexGuard<'_, LogQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    const LONG: Duration = Duration::from_secs(20);

    /// A writer that passes each write on, and waits until it is received.
    struct StallingWriter(SyncSender<Vec<u8>>);

    impl Write for StallingWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start_queue() -> (Arc<LogQueue>, Receiver<Vec<u8>>) {
        let (sender, receiver) = sync_channel(0);
        (LogQueue::start(StallingWriter(sender), |lost| format!("{lost} lost\n")).unwrap(), receiver)
    }

    fn receive(receiver: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(receiver.recv_timeout(LONG).unwrap()).unwrap()
    }

    #[test]
    fn a_stalled_writer_delays_no_caller_and_the_loss_is_reported() {
        let (queue, receiver) = start_queue();
        let line = format!("{}\n", "x".repeat(999));
        // Far more than the queue holds, and not one write is received meanwhile.
        (0..10_000).for_each(|_| queue.push(&line));
        let mut text = String::new();
        let lost = loop {
            text.push_str(&receive(&receiver));
            if let Some(report) = text.lines().find(|line| line.ends_with(" lost")) {
                break report.trim_end_matches(" lost").parse::<usize>().unwrap();
            }
        };
        assert_eq!(text.matches(&line).count() + lost, 10_000);
        assert!(lost > 7_000 && text.len() <= 2 * MAX_BYTES + 100, "{lost} {}", text.len());
        queue.push("next\n");
        assert_eq!(receive(&receiver), "next\n");
    }

    #[test]
    fn a_flush_waits_for_the_last_line_but_not_for_ever() {
        let (queue, receiver) = start_queue();
        queue.push("a\n");
        queue.flush(Duration::from_millis(1));
        let reader = thread::spawn(move || receive(&receiver));
        queue.flush(LONG);
        assert!(reader.join().unwrap() == "a\n" && !queue.lock().is_writing);
    }

    #[test]
    fn lines_that_cannot_be_written_are_reported_once_they_can() {
        struct FailingWriter(u32, SyncSender<Vec<u8>>);
        impl Write for FailingWriter {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.0 > 0 {
                    self.0 -= 1;
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.1.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (sender, receiver) = sync_channel(0);
        let queue = LogQueue::start(FailingWriter(2, sender), |lost| format!("{lost} lost\n")).unwrap();
        for line in ["a\n", "b\n"] {
            queue.push(line);
            queue.flush(LONG);
        }
        queue.push("c\n");
        assert_eq!(receive(&receiver), "c\n2 lost\n");
    }
}
