//! Many idle SSE sessions.

use crate::Outcome;
use crate::http::Connection;
use crate::session::Stream;
use std::io::{self, Read};

/// Opens the sessions, prints their number, and keeps them open until stdin ends.
pub fn run(server: &str, sessions: usize) -> Outcome {
    let mut poster = Connection::open(server)?;
    let open = (0..sessions).map(|_| Stream::open(server, &mut poster)).collect::<io::Result<Vec<_>>>()?;
    println!(r#"{{"open":{}}}"#, open.len());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
