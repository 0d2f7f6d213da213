//! The log: one line an event to stderr, `2026-08-01T12:00:00.123Z WARN proxmox_mcp::http text`. Whatever a stranger
//! can bring into a message, it stays on its line.

use log::{Level, LevelFilter, Log, Metadata, Record};
use proxmox_mcp::timestamp::timestamp;
use proxmox_mcp::{redact, visible};
use std::io::Write;
use std::time::SystemTime;

/// Crates that see the requests to a cluster whole. At `trace` they may show headers, the token among them, so that
/// they are never heard below `info`, whatever the filter says.
const CAPPED: [&str; 3] = ["ureq", "ureq_proto", "rustls"];

struct Capped(env_logger::Logger);

impl Log for Capped {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        let krate = about.target().split("::").next().unwrap_or_default();
        (about.level() <= Level::Info || !CAPPED.contains(&krate)) && self.0.enabled(about)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Starts logging with the filter typed, else RUST_LOG where it is a level or names this program, else `info`; with
/// `json` each line is an object.
pub fn start(typed: Option<&str>, json: bool) {
    // RUST_LOG is often set for other programs: one that does not speak of this one must not silence it.
    let for_us = |filter: &String| filter.parse::<LevelFilter>().is_ok() || filter.contains("proxmox_mcp");
    let ambient = std::env::var("RUST_LOG").ok().filter(for_us);
    let filter = typed.or(ambient.as_deref()).unwrap_or("info");
    let logger = env_logger::Builder::new()
        .parse_filters(filter)
        .format(move |out, record| {
            let (time, level) = (timestamp(SystemTime::now()), record.level());
            if json {
                let (target, message) =
                    (quoted(record.target()), quoted(&visible::text(&redact::text(&record.args().to_string()))));
                let line = format_args!("\"target\":{target},\"message\":{message}");
                return writeln!(out, "{{\"time\":\"{time}\",\"level\":\"{level}\",{line}}}");
            }
            writeln!(out, "{time} {level:<5} {} {}", record.target(), printable(&record.args().to_string()))
        })
        .build();
    let most = logger.filter();
    if log::set_boxed_logger(Box::new(Capped(logger))).is_ok() {
        log::set_max_level(most);
    }
}

/// `text` as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `text` on one line, for a terminal: what isn't seen is escaped, and what looks like a secret is hidden.
pub fn printable(text: &str) -> String {
    visible::text(&redact::text(text)).replace('\n', "\\n").replace('\t', "\\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_message_makes_a_second_line() {
        assert_eq!(
            printable("a\r\nb\tc\u{1b}[31m\u{202e}d\u{200b}\u{85}é"),
            "a\\r\\nb\\tc\\u001b[31m\\u202ed\\u200b\\u0085é"
        );
    }

    #[test]
    fn what_looks_like_a_secret_is_not_logged() {
        assert_eq!(printable("it answered \"password=hunter2\""), "it answered \"password=(hidden)\"");
    }

    #[test]
    fn a_line_of_json_says_what_was_said_and_shows_nothing_else() {
        let said = "a\r\n\"b\\c\u{85}é😀";
        let line = quoted(said);
        assert!(!line.contains(['\r', '\n']));
        assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), said);
    }

    #[test]
    fn crates_that_see_tokens_are_capped() {
        let logger = Capped(env_logger::Builder::new().parse_filters("trace,ureq::run=trace").build());
        let enabled = |target, level| logger.enabled(&Metadata::builder().target(target).level(level).build());
        assert!(enabled("proxmox_mcp::pve", Level::Trace));
        for target in ["ureq::run", "ureq_proto", "rustls::client"] {
            assert!(enabled(target, Level::Info));
            assert!(!enabled(target, Level::Debug));
        }
    }
}
