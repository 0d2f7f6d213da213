//! The command `proxmox-mcp`: parse, log, run, and an exit code for each kind of failure.
#![forbid(unsafe_code)]

mod check;
mod cli;
mod clients;
mod health;
mod logging;
mod notify;
mod ports;
mod probes;
mod reload;
mod serve;
mod verify;

use cli::{Cli, Task, Typed};
use logging::printable;
use std::io::Write;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: proxmox_mcp_allocator::Allocator = proxmox_mcp_allocator::Allocator;

/// Why the program ends without success; the text is for the person who started it.
pub enum Failure {
    /// Exit code 1: something outside is not as it must be.
    Runtime(String),
    /// Exit code 2: what was typed or configured is wrong.
    Usage(String),
}

fn main() -> ExitCode {
    let cli = match Cli::from_command_line() {
        Ok(Typed::Run(cli)) => cli,
        Ok(Typed::Print(text)) => {
            say(&text);
            return ExitCode::SUCCESS;
        }
        // What was typed may hold anything.
        Err(problem) => return fail(2, &format!("{}\n\nFor more information, try '--help'.", printable(&problem))),
    };
    logging::start(cli.log(), cli.log_is_json());
    let done = match &cli.task {
        None => serve::run(&cli),
        Some(Task::Stdio) => serve::stdio(&cli),
        Some(Task::Token { name }) => clients::token(&cli, name.as_deref()),
        Some(Task::Check) => check::clusters(&cli),
        Some(Task::Audit { file, expect }) => verify::audit(file, expect.as_deref()),
        Some(Task::Health) => health::ask_server(cli.listen),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Runtime(text)) => fail(1, &text),
        Err(Failure::Usage(text)) => fail(2, &text),
    }
}

fn fail(code: u8, text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {text}");
    ExitCode::from(code)
}

/// Prints to stdout. Nobody need be there to read it: a closed pipe is no reason to end a server.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
