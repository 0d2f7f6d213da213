//! `cargo run --release --example soak`: the released program under load and faults, for minutes. See `USAGE`.

mod abuse;
mod resource_usage;
mod run;
mod session;
mod simulated_cluster;
mod statistics;
mod supervisor;
#[path = "../support/mod.rs"]
mod support;
mod transport;
mod writes;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
Runs proxmox-mcp against two simulated clusters, with many sessions over POST /mcp, GET /sse and stdio that check every
answer, while the nodes of one cluster die, hang and lose answers every minute and clusters.json changes under way. One
client that may only read sends the worst requests, holds silent connections and leaves its calls. For a part of each
minute the log is not read, and for another part clusters.json changes 50 times per second.

  cargo build --release
  cargo run --release --example soak -- [--minutes N] [--sessions N] [--server PATH]

  --minutes N     the duration, fractions allowed (10)
  --sessions N    parallel sessions with five calls per second each, one in twenty a stdio process (200)
  --server PATH   the program to test (target/release/proxmox-mcp)

Progress goes to stderr every 30 s. The exit code is 0 if no answer was wrong, no change was forwarded twice, none that no
configuration allows was forwarded, the server's memory stayed below MemoryMax of the systemd unit, its watchdog was
notified in time, and it exited with success. With all sessions closed, it must have no more threads and descriptors than after the first
minute. Its memory must be at most 1.5 times that of the first two minutes, and at most 1.1 times that of the middle,
plus 4 MiB each. Otherwise the exit code is 1 and the problems are listed. An idle machine with two cores is enough.";

fn main() -> ExitCode {
    let plan = match parse_arguments(std::env::args().skip(1)) {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("error: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run::run(&plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Parses the arguments. Returns `None` if help is requested.
fn parse_arguments(mut typed: impl Iterator<Item = String>) -> Result<Option<run::SoakPlan>, String> {
    let (mut minutes, mut sessions, mut program) = (10.0, 200, None);
    while let Some(flag) = typed.next() {
        if flag == "--help" || flag == "-h" {
            return Ok(None);
        }
        let value = typed.next().ok_or(format!("{flag} needs a value"))?;
        let number =
            || value.parse::<f64>().ok().filter(|n| *n > 0.0).ok_or(format!("{flag} {value}: no number above 0"));
        match flag.as_str() {
            "--minutes" => minutes = number()?.min(24.0 * 60.0),
            "--sessions" => sessions = number()?.clamp(4.0, 400.0) as u32,
            "--server" => program = Some(PathBuf::from(&value)),
            _ => return Err(format!("{flag} is no flag")),
        }
    }
    // This program is target/release/examples/soak. Cargo puts the server two folders above it.
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.with_file_name("release/proxmox-mcp"));
    let program = program.or_else(beside).unwrap_or_default();
    if !program.is_file() {
        return Err(format!("there is no {}: run `cargo build --release` first", program.display()));
    }
    Ok(Some(run::SoakPlan { program, time: Duration::from_secs_f64(minutes * 60.0), sessions }))
}
