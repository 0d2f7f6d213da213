//! What `--help` and `--version` print.

use super::TASKS;
use super::flags::{AUDIT, COMMON, Flag, HTTP, LIMITS};
use std::fmt::Write;

/// The program's name and version.
pub fn version() -> String {
    concat!("proxmox-mcp ", env!("CARGO_PKG_VERSION"), "\n").into()
}

/// The help of the program, or of the subcommand at this place of [`TASKS`]. `long` names variables, defaults and
/// limits too.
pub fn of(task: Option<usize>, long: bool) -> String {
    let task = task.and_then(|at| TASKS.get(at));
    let mut text = String::new();
    match task {
        Some(task) => {
            let _ = writeln!(text, "{}\n\nUsage: proxmox-mcp {} [OPTIONS]{}", task.help, task.name, task.words);
        }
        None => {
            text.push_str("Lets language models see and run Proxmox VE clusters over the Model Context Protocol\n\n");
            text.push_str("Usage: proxmox-mcp [OPTIONS] [COMMAND]\n\nCommands:\n");
            for task in &TASKS {
                let _ = writeln!(text, "  {:<7} {}", task.name, task.help);
            }
            text.push_str("  help    Print this message or the help of a command: help check\n");
        }
    }
    let of_task: &[Flag] = if task.is_some_and(|task| task.name == "audit") { &AUDIT } else { &[] };
    text.push_str("\nOptions:\n");
    let shown = |flag: &&Flag| task.is_none() || flag.after_task;
    for flag in of_task.iter().chain(&COMMON) {
        describe(&mut text, flag, long);
    }
    let help = if long { "Print help (a summary with -h)" } else { "Print help (more with --help)" };
    plain(&mut text, "-h, --help", help, long);
    if task.is_none() {
        plain(&mut text, "-V, --version", "Print version", long);
    }
    // In the long form a blank line is there already.
    text.push_str(if long { "HTTP:\n" } else { "\nHTTP:\n" });
    for flag in HTTP.iter().filter(shown) {
        describe(&mut text, flag, long);
    }
    if !long {
        text.push_str("\nWithout a command it serves. The limits are flags too: see --help\n");
        return text;
    }
    text.push_str("Limits, each also as a variable: --max-calls is PROXMOX_MCP_MAX_CALLS\n");
    for flag in &LIMITS {
        let (typed, default) = (flag.usage(), flag.default().unwrap_or_default());
        let _ = writeln!(text, "      {typed:<33}  {} [default: {default}]", flag.help);
    }
    text.push_str("\nWithout a command it serves. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.\n");
    text
}

/// A flag: on one line, or with its variable and default below.
fn describe(text: &mut String, flag: &Flag, long: bool) {
    plain(text, &format!("    {}", flag.usage()), flag.help, long);
    if !long {
        return;
    }
    // The blank line of before ends the entry.
    text.pop();
    for (what, value) in [("env", flag.variable().map(Into::into)), ("default", flag.default())] {
        if let Some(value) = value {
            let _ = writeln!(text, "          [{what}: {value}]");
        }
    }
    text.push('\n');
}

fn plain(text: &mut String, typed: &str, help: &str, long: bool) {
    let _ = match long {
        true => writeln!(text, "  {typed}\n          {help}\n"),
        false => writeln!(text, "  {typed:<29}  {help}"),
    };
}
