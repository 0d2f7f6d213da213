//! The signal that ends the accept loops.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::net::TcpListener;
use std::time::Duration;

/// Signal that wakes the threads of any number of listeners. The listeners stay open: systemd also holds a socket that
/// it activated, and the next server accepts the connections that wait in it.
pub struct StopSignal {
    receiver: PipeReader,
    sender: PipeWriter,
}

impl StopSignal {
    pub fn new() -> io::Result<Self> {
        let (receiver, sender) = io::pipe()?;
        Ok(Self { receiver, sender })
    }

    /// Ends all current and future waits. Call it once: the byte in the pipe is never read.
    pub fn send(&self) {
        let _ = (&self.sender).write(&[0]);
    }

    /// Waits for a connection or for the signal, at most for `limit`.
    pub fn wait_for_connection(&self, listener: &TcpListener, limit: Duration) -> io::Result<()> {
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        poll(&mut [PollFd::new(listener, PollFlags::IN), PollFd::new(&self.receiver, PollFlags::IN)], Some(&limit))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::accept::listen;
    use super::*;
    use std::net::TcpStream;
    use std::thread;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_stop_signal_ends_the_waiting_of_all_now_and_later() {
        let listeners = ["127.0.0.1:0", "0.0.0.0:0"].map(|address| listen(address.parse().unwrap()).unwrap());
        let stop_signal = StopSignal::new().unwrap();
        thread::scope(|scope| {
            let waiting: Vec<_> = listeners
                .iter()
                .map(|listener| scope.spawn(|| stop_signal.wait_for_connection(listener, LONG)))
                .collect();
            stop_signal.send();
            waiting.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        });
        stop_signal.wait_for_connection(&listeners[0], LONG).unwrap();
        assert!(TcpStream::connect(listeners[0].local_addr().unwrap()).is_ok(), "it still listens");
    }
}
