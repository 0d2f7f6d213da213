//! The start of a connection to a TLS port: a handshake, or a readable response to a client that speaks plain HTTP.

use super::certificate::ServerCertificate;
use super::client_stream::ClientStream;
use super::receive::linger;
use super::response::HttpResponse;
use super::state::HttpState;
use super::tls;
use crate::base::deadline::Deadline;
use crate::config::Limits;
use rustix::event::PollFlags;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;

/// Response in clear text to a client that uses the wrong scheme.
const PLAIN_HTTP_TEXT: &str = "plain HTTP on a TLS port. hint: use https:// instead of http://";

/// Switches a connection to TLS, within the time limit of a head. Returns false if the connection is over.
pub fn accept_tls(state: &HttpState, certificate: &ServerCertificate, stream: &ClientStream, peer: SocketAddr) -> bool {
    let limits = &state.limits;
    let deadline = Deadline::from_now(limits.head_timeout);
    let error = match peek_first_byte(stream, &deadline) {
        Err(error) => error,
        // A handshake starts with the byte 22, an HTTP method with a letter.
        Ok(byte) if byte.is_ascii_alphabetic() => {
            state.scheme_warnings.warn(format_args!("{peer} sent {PLAIN_HTTP_TEXT}"));
            if reject_plain_http(stream, limits).is_ok() {
                linger(stream);
            }
            return false;
        }
        Ok(_) => match tls::accept_handshake(stream.socket(), certificate.config(), &deadline) {
            Ok(session) => return stream.upgrade_to_tls(session),
            Err(error) => error,
        },
    };
    log::debug!("{peer} TLS handshake failed: {error}");
    // The client must get time to read the alert.
    if error.kind() == ErrorKind::InvalidData && stream.socket().set_nonblocking(false).is_ok() {
        linger(stream);
    }
    false
}

fn reject_plain_http(stream: &ClientStream, limits: &Limits) -> io::Result<()> {
    let (response, mut head) = (HttpResponse::text(400, PLAIN_HTTP_TEXT).with_close(), Vec::new());
    response.write_head(&mut head)?;
    stream.write_all(&mut [IoSlice::new(&head), IoSlice::new(response.body())], limits.write_timeout)
}

/// Waits for the first byte and returns it without consuming it.
fn peek_first_byte(stream: &ClientStream, deadline: &Deadline) -> io::Result<u8> {
    let (socket, mut byte) = (stream.socket(), [0]);
    tls::wait_until_ready(socket, PollFlags::IN, Some(deadline))?;
    match socket.peek(&mut byte)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(byte[0]),
    }
}
