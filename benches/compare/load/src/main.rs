//! Clients that call an MCP server as fast as it answers, and print their measurements as one line of JSON.
//!
//! ```text
//! load calls MODE SERVER SESSIONS SECONDS PID TOOL ARGUMENTS EXPECTED   calls of a tool, one at a time per session
//! load added SERVER NODE SECONDS                                        list_nodes, compared with asking the node directly
//! load hold SERVER SESSIONS                                             SSE sessions, open until stdin ends
//! load start MODE SERVER COMMAND…                                       from a program's start to its first answer
//! ```
//! MODE is `sse` (HTTP+SSE of 2024-11-05), `http` (POST /mcp of 2025-06-18) or `modern` (POST /mcp of 2026-07-28);
//! SERVER and NODE are HOST:PORT, PID is the server's process.
mod added;
mod calls;
mod hold;
mod http;
mod process;
mod session;
mod start;

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;
use std::str::FromStr;

type Outcome = Result<(), Box<dyn Error>>;

/// The command line arguments, consumed one after the other.
struct Arguments(std::vec::IntoIter<String>);

impl Arguments {
    fn text(&mut self, what: &str) -> Result<String, String> {
        self.0.next().ok_or_else(|| format!("{what} is missing"))
    }

    fn value<T: FromStr<Err: Display>>(&mut self, what: &str) -> Result<T, String> {
        self.text(what)?.parse().map_err(|why| format!("{what}: {why}"))
    }
}

fn run(mut arguments: Arguments) -> Outcome {
    match arguments.text("what to do")?.as_str() {
        "calls" => calls::run(calls::Plan {
            mode: arguments.value("MODE")?,
            server: arguments.text("SERVER")?,
            sessions: arguments.value("SESSIONS")?,
            seconds: arguments.value("SECONDS")?,
            pid: arguments.value("PID")?,
            tool: arguments.text("TOOL")?,
            arguments: arguments.text("ARGUMENTS")?,
            expected: arguments.text("EXPECTED")?,
        }),
        "added" => added::run(&arguments.text("SERVER")?, &arguments.text("NODE")?, arguments.value("SECONDS")?),
        "hold" => hold::run(&arguments.text("SERVER")?, arguments.value("SESSIONS")?),
        "start" => start::run(arguments.value("MODE")?, &arguments.text("SERVER")?, arguments.0.as_slice()),
        other => Err(format!("{other}: calls, added, hold or start").into()),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match run(Arguments(arguments.into_iter())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::FAILURE
        }
    }
}
