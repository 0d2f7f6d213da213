//! `audit verify`: whether an audit log is as it was written.

use crate::{Failure, say};
use proxmox_mcp::audit::{self, Findings, Report};
use std::fmt::Write;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Looks at every line of a file. Where all are right, it says so and what the last one is known by.
pub fn audit(path: &Path, expect: Option<&str>) -> Result<(), Failure> {
    let expect = expect.map(str::to_ascii_lowercase);
    if expect.as_ref().is_some_and(|hash| hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(Failure::Usage("--expect: write the 64 hex digits that an earlier `audit verify` printed".into()));
    }
    let name = path.display();
    let unreadable = |error| Failure::Usage(format!("{name} can't be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    let report = audit::verify(&mut BufReader::new(file), expect.as_deref()).map_err(unreadable)?;
    let text = format!("{name}: {}", summary(&report));
    if report.problems.count == 0 {
        say(&text);
        return Ok(());
    }
    Err(Failure::Runtime(text.trim_end().to_owned()))
}

fn summary(report: &Report) -> String {
    let mut text = String::new();
    match (&report.times, report.records) {
        (Some((first, last)), many) => {
            let s = if many == 1 { "" } else { "s" };
            let _ = write!(text, "{many} record{s}, {first} to {last}");
        }
        (None, _) => text.push_str("no records"),
    }
    match report.problems.count {
        0 => text.push_str(", each as it was written\n"),
        1 => text.push_str(", 1 problem\n"),
        many => {
            let _ = writeln!(text, ", {many} problems");
        }
    }
    list(&mut text, "", &report.problems);
    list(&mut text, "warning: ", &report.warnings);
    if let (Some(hash), 0) = (&report.hash, report.problems.count) {
        let _ =
            writeln!(text, "last line: {hash}\n(keep it elsewhere, for --expect: only so can a cut-off end be found)");
    }
    text
}

fn list(text: &mut String, kind: &str, findings: &Findings) {
    for finding in &findings.shown {
        let _ = writeln!(text, "  {kind}{finding}");
    }
    let more = findings.count - findings.shown.len() as u64;
    if more > 0 {
        let _ = writeln!(text, "  {kind}and {more} more");
    }
}
