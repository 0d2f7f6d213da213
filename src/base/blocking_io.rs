//! Blocking reads and writes on a descriptor that another program may have set to nonblocking mode. The mode belongs to
//! the pipe or terminal that several processes share, not to one of them.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

/// A descriptor whose reads and writes wait in either mode. They use no buffer of the standard library, which would lose
/// bytes in nonblocking mode.
pub struct BlockingIo<F>(pub F);

impl<F: AsFd> BlockingIo<F> {
    fn repeat(&self, events: PollFlags, operation: &mut dyn FnMut(&F) -> Result<usize, Errno>) -> io::Result<usize> {
        loop {
            match operation(&self.0) {
                Err(Errno::AGAIN) => {}
                result => return Ok(result?),
            }
            // Errors and the end of the stream are reported by the next read or write.
            match poll(&mut [PollFd::new(&self.0, events)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<F: AsFd> Read for BlockingIo<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.repeat(PollFlags::IN, &mut |descriptor| rustix::io::read(descriptor, &mut *bytes))
    }
}

impl<F: AsFd> Write for BlockingIo<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.repeat(PollFlags::OUT, &mut |descriptor| rustix::io::write(descriptor, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
