//! How a connection to a port with TLS begins: with a handshake, or, of a client that speaks plain HTTP, with an answer
//! it understands.

use super::Front;
use super::certificate::Identity;
use super::channel::Channel;
use super::reply::Reply;
use super::tls;
use super::wire::linger;
use crate::deadline::Deadline;
use rustix::event::PollFlags;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;

/// Goes out in clear text to a client that was told the wrong scheme.
const SPEAKS_TLS: &str = "this port speaks TLS: use https:// instead of http://";

/// Makes a connection one that speaks TLS, within the time that a head has. False: it is over, and the client was told
/// if it could be.
pub fn secure(front: &Front, identity: &Identity, stream: &Channel, peer: SocketAddr) -> bool {
    let deadline = Deadline::after(front.limits.head_timeout);
    let failed = match first_byte(stream, &deadline) {
        Err(error) => error,
        // A handshake begins with 22, a method with a letter.
        Ok(byte) if byte.is_ascii_alphabetic() => {
            log::debug!("{peer} plain HTTP on a port that speaks TLS");
            let (reply, mut head) = (Reply::text(400, SPEAKS_TLS).closing(), Vec::new());
            let mut write = || {
                reply.write_head(&mut head)?;
                stream.write_all(&mut [IoSlice::new(&head), IoSlice::new(reply.body())], front.limits.write_timeout)
            };
            if write().is_ok() {
                linger(stream);
            }
            return false;
        }
        Ok(_) => match tls::handshake(stream.socket(), identity.config(), &deadline) {
            Ok(tls) => return stream.secure(tls),
            Err(error) => error,
        },
    };
    log::debug!("{peer} no TLS: {failed}");
    // It may have been told why, and must get to read that.
    if failed.kind() == ErrorKind::InvalidData && stream.socket().set_nonblocking(false).is_ok() {
        linger(stream);
    }
    false
}

/// Waits for the first byte, and leaves it where it is.
fn first_byte(stream: &Channel, deadline: &Deadline) -> io::Result<u8> {
    let (socket, mut byte) = (stream.socket(), [0]);
    tls::wait(socket, PollFlags::IN, Some(deadline))?;
    // There is something, or the end: this does not wait.
    match socket.peek(&mut byte)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(byte[0]),
    }
}
