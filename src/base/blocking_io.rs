//! Blocking reads and writes on a descriptor that another program may have set to nonblocking mode. The mode belongs to
//! the pipe or terminal that several processes share, not to one of them.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;

/// A stream whose reads and writes wait in either mode.
pub struct BlockingIo<F>(pub F);

impl<F: AsFd> BlockingIo<F> {
    fn wait(&self, events: PollFlags) -> io::Result<()> {
        // Errors and the end of the stream are reported by the next read or write.
        match poll(&mut [PollFd::new(&self.0, events)], None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl<F: AsFd + Read> Read for BlockingIo<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::IN)?,
                result => return result,
            }
        }
    }
}

impl<F: AsFd + Write> Write for BlockingIo<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::OUT)?,
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::thread;

    #[test]
    fn a_nonblocking_stream_loses_no_byte() {
        let (mut writer, mut reader) = UnixStream::pair().map(|(a, b)| (BlockingIo(a), BlockingIo(b))).unwrap();
        writer.0.set_nonblocking(true).unwrap();
        reader.0.set_nonblocking(true).unwrap();
        let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
        let received = thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let mut received = Vec::new();
                reader.read_to_end(&mut received).map(|_| received)
            });
            writer.write_all(&sent).unwrap();
            drop(writer);
            receiver.join().unwrap().unwrap()
        });
        assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    }
}
