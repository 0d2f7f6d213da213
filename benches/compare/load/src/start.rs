//! The time from a program's start to its first answer.

use crate::Outcome;
use crate::session::{Mode, Request, Session};
use std::io;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the program, requests its tools as soon as it listens, and ends it.
pub fn run(mode: Mode, server: &str, command: &[String]) -> Outcome {
    let (program, arguments) = command.split_first().ok_or("COMMAND is missing")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn()?;
    let answered = first_answer(mode, server, &mut child, begun);
    let elapsed = begun.elapsed();
    child.kill()?;
    child.wait()?;
    answered?;
    println!(r#"{{"start_ms":{:.3}}}"#, elapsed.as_secs_f64() * 1e3);
    Ok(())
}

fn first_answer(mode: Mode, server: &str, child: &mut Child, begun: Instant) -> io::Result<()> {
    while TcpStream::connect(server).is_err() {
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("the server ended: {status}")));
        }
        if begun.elapsed() > PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_micros(50));
    }
    Session::open(mode, server, Request::list(mode))?.ask().map(drop)
}
