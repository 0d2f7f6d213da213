//! The log on stderr, one line per event: `2026-08-01T12:00:00.123Z WARN proxmox_mcp::http text`. Untrusted input in a
//! message cannot start a second line.

use super::cli::LogFormat;
use super::output::printable;
use log::{Level, LevelFilter, Log, Metadata, Record};
use proxmox_mcp::base::timestamp::timestamp;
use proxmox_mcp::sanitize;
use proxmox_mcp::sanitize::escape_invisible;
use std::io::Write;
use std::time::SystemTime;

/// Crates that handle whole requests to a cluster. Below `info` they may log headers with the API token, so their records
/// below it are dropped whatever the filter says.
const CAPPED: [&str; 3] = ["ureq", "ureq_proto", "rustls"];

/// A logger that drops the records of [`CAPPED`] crates below `info`.
struct CappedLogger(env_logger::Logger);

impl Log for CappedLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_capped = metadata.target().split("::").next().is_some_and(|name| CAPPED.contains(&name));
        (metadata.level() <= Level::Info || !is_capped) && self.0.enabled(metadata)
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

/// Starts the log with `filter`, else with RUST_LOG if that is a level or names this program, else at `info`.
pub fn start(filter: Option<&str>, format: LogFormat) {
    // RUST_LOG is often set for other programs, whose filter would silence this one.
    let is_for_us = |filter: &String| filter.parse::<LevelFilter>().is_ok() || filter.contains("proxmox_mcp");
    let ambient = std::env::var("RUST_LOG").ok().filter(is_for_us);
    let filter = filter.or(ambient.as_deref()).unwrap_or("info");
    let logger = env_logger::Builder::new()
        .parse_filters(filter)
        .format(move |out, record| {
            let (time, level) = (timestamp(SystemTime::now()), record.level());
            if format == LogFormat::Json {
                let (target, message) = (
                    quoted(record.target()),
                    quoted(&escape_invisible::escape_text(&sanitize::redact_text(&record.args().to_string()))),
                );
                let line = format_args!("\"target\":{target},\"message\":{message}");
                return writeln!(out, "{{\"time\":\"{time}\",\"level\":\"{level}\",{line}}}");
            }
            writeln!(out, "{time} {level:<5} {} {}", record.target(), printable(&record.args().to_string()))
        })
        .build();
    let max_level = logger.filter();
    if log::set_boxed_logger(Box::new(CappedLogger(logger))).is_ok() {
        log::set_max_level(max_level);
    }
}

/// Returns `text` as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_string_holds_the_message_on_one_line() {
        let message = "a\r\n\"b\\c\u{85}é😀";
        let line = quoted(message);
        assert!(!line.contains(['\r', '\n']));
        assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), message);
    }

    #[test]
    fn crates_that_see_tokens_are_capped() {
        let logger = CappedLogger(env_logger::Builder::new().parse_filters("trace,ureq::run=trace").build());
        let enabled = |target, level| logger.enabled(&Metadata::builder().target(target).level(level).build());
        assert!(enabled("proxmox_mcp::pve", Level::Trace));
        for target in ["ureq::run", "ureq_proto", "rustls::client"] {
            assert!(enabled(target, Level::Info));
            assert!(!enabled(target, Level::Debug));
        }
    }
}
