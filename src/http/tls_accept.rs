//! How a connection to a port with TLS begins: with a handshake, or, of a client that speaks plain HTTP, with an answer
//! it understands.

use super::HttpState;
use super::certificate::ServerCertificate;
use super::client_stream::ClientStream;
use super::receive::linger;
use super::response::HttpResponse;
use super::tls;
use crate::base::deadline::Deadline;
use rustix::event::PollFlags;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;

/// Goes out in clear text to a client that was told the wrong scheme.
const PLAIN_HTTP_TEXT: &str = "this port speaks TLS: use https:// instead of http://";

/// Makes a connection one that speaks TLS, within the time that a head has. False: it is over, and the client was told
/// if it could be.
pub fn accept_tls(state: &HttpState, certificate: &ServerCertificate, stream: &ClientStream, peer: SocketAddr) -> bool {
    let deadline = Deadline::from_now(state.limits.head_timeout);
    let failed = match peek_first_byte(stream, &deadline) {
        Err(error) => error,
        // A handshake begins with 22, a method with a letter.
        Ok(byte) if byte.is_ascii_alphabetic() => {
            log::debug!("{peer} plain HTTP on a port that speaks TLS");
            let (reply, mut head) = (HttpResponse::text(400, PLAIN_HTTP_TEXT).with_close(), Vec::new());
            let mut write = || {
                reply.write_head(&mut head)?;
                stream.write_all(&mut [IoSlice::new(&head), IoSlice::new(reply.body())], state.limits.write_timeout)
            };
            if write().is_ok() {
                linger(stream);
            }
            return false;
        }
        Ok(_) => match tls::accept_handshake(stream.socket(), certificate.config(), &deadline) {
            Ok(tls) => return stream.upgrade_to_tls(tls),
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
fn peek_first_byte(stream: &ClientStream, deadline: &Deadline) -> io::Result<u8> {
    let (socket, mut byte) = (stream.socket(), [0]);
    tls::wait_until_ready(socket, PollFlags::IN, Some(deadline))?;
    // There is something, or the end: this does not wait.
    match socket.peek(&mut byte)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(byte[0]),
    }
}
