//! The flags of limits at both ends of their ranges.

use crate::support::process::{ServerProcess, program, run};
use crate::support::program::HttpEndpoint;
use crate::support::raw::eventually;
use crate::support::rpc::{ACCEPT, call};
use serde_json::json;

/// Returns the flags that take a number, from the help.
fn numeric_flags() -> Vec<String> {
    let help = String::from_utf8(run(&["--help"]).stdout).expect("UTF-8");
    let flags = help.lines().filter_map(|line| {
        let (flag, kind) = line.trim().strip_prefix("--")?.split_once(' ')?;
        matches!(kind, "<N>" | "<SECONDS>").then(|| format!("--{flag}"))
    });
    flags.collect()
}

/// Returns the range of a flag as its error names it.
fn range_of(flag: &str) -> [String; 2] {
    let output = program(&[flag, "nonsense"]).output().expect("run");
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    let (_, range) = error.split_once(" from ").unwrap_or_else(|| panic!("{flag}: {error}"));
    let words: Vec<&str> = range.split([' ', ',', '\n']).collect();
    let [min, "to", max, ..] = words.as_slice() else { panic!("{flag}: {error}") };
    [(*min).to_owned(), (*max).to_owned()]
}

#[test]
fn every_numeric_flag_works_at_both_ends_of_its_range() {
    let flags = numeric_flags();
    assert!(flags.len() >= 20, "{flags:?}");
    for flag in &flags {
        for value in range_of(flag) {
            let process = ServerProcess::start(&["--demo", "--listen", "127.0.0.1:0", flag, &value]);
            let server = HttpEndpoint { address: process.address() };
            // The shortest times may end a request on a busy machine, so another one may follow.
            eventually(&format!("an answer with {flag} {value}"), || {
                let message = call(1, "proxmox_api_get", json!({"path": "/version"}));
                let mut client = server.connect();
                client.send_post_with("/mcp", ACCEPT, &message);
                client.reply().is_some_and(|reply| reply.status == 200 && reply.body.contains("version: "))
            });
        }
    }
}
