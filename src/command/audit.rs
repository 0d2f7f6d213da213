//! `audit verify`: finds changed, removed, inserted and reordered lines of an audit log.

use super::failure::Failure;
use super::output::print_stdout;
use proxmox_mcp::audit::{self, Findings, VerificationReport};
use proxmox_mcp::sanitize::printable_path;
use std::fmt::Write;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Checks every line of a file, and prints the hash of the last one if all are intact.
pub fn verify(path: &Path, expect: Option<&str>) -> Result<(), Failure> {
    let expect = expect.map(str::to_ascii_lowercase);
    if expect.as_ref().is_some_and(|hash| hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(Failure::Usage(
            "invalid --expect: expected the 64 hex digits that an earlier `audit verify` printed".into(),
        ));
    }
    let name = printable_path(path);
    let read_failure = |error| Failure::Usage(format!("cannot read {name}: {error}"));
    let file = File::open(path).map_err(read_failure)?;
    let report = audit::verify(&mut BufReader::new(file), expect.as_deref()).map_err(read_failure)?;
    let text = format!("{name}: {}", summary(&report));
    if report.problems.count == 0 {
        print_stdout(&text);
        return Ok(());
    }
    Err(Failure::Runtime(text.trim_end().to_owned()))
}

fn summary(report: &VerificationReport) -> String {
    let mut text = String::new();
    match (&report.time_range, report.record_count) {
        (Some((first, last)), count) => {
            let s = if count == 1 { "" } else { "s" };
            let _ = write!(text, "{count} record{s}, {first} to {last}");
        }
        (None, _) => text.push_str("no records"),
    }
    match report.problems.count {
        0 => text.push_str(", all unchanged\n"),
        1 => text.push_str(", 1 problem\n"),
        count => {
            let _ = writeln!(text, ", {count} problems");
        }
    }
    append_findings(&mut text, "", &report.problems);
    append_findings(&mut text, "warning: ", &report.warnings);
    if let (Some(hash), 0) = (&report.last_hash, report.problems.count) {
        let _ = writeln!(text, "last line: {hash}\n(keep it elsewhere for --expect, which alone finds a cut-off end)");
    }
    text
}

fn append_findings(text: &mut String, kind: &str, findings: &Findings) {
    for finding in &findings.messages {
        let _ = writeln!(text, "  {kind}{finding}");
    }
    let more = findings.count - findings.messages.len() as u64;
    if more > 0 {
        let _ = writeln!(text, "  {kind}and {more} more");
    }
}
