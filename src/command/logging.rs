//! The log on stderr, one line per event: `2026-08-01T12:00:00.123Z WARN proxmox_mcp::http text`. Untrusted input in a
//! message cannot start a second line.

use super::cli::LogFormat;
use super::failure::Failure;
use super::log_queue::LogQueue;
use super::output::printable;
use env_filter::Filter;
use log::{Level, LevelFilter, Log, Metadata, Record};
use proxmox_mcp::base::blocking_io::BlockingIo;
use proxmox_mcp::base::timestamp::timestamp;
use proxmox_mcp::sanitize;
use proxmox_mcp::sanitize::escape_invisible;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

/// Crates that handle whole requests to a cluster. Below `info` they may log headers with the API token, so their records
/// below it are dropped whatever the filter says.
const CAPPED: [&str; 3] = ["ureq", "ureq_proto", "rustls"];

/// Time that the end of the program waits for a reader of stderr.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The queue of the log, once it has started.
static QUEUE: OnceLock<Arc<LogQueue>> = OnceLock::new();

/// A logger that drops the records of [`CAPPED`] crates below `info`.
struct QueuedLogger {
    filter: Filter,
    format: LogFormat,
    queue: Arc<LogQueue>,
}

impl Log for QueuedLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_capped = metadata.target().split("::").next().is_some_and(|name| CAPPED.contains(&name));
        (metadata.level() <= Level::Info || !is_capped) && self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let message = record.args().to_string();
            self.queue.push(&format_line(self.format, record.level(), record.target(), &message));
        }
    }

    fn flush(&self) {
        self.queue.flush(FLUSH_LIMIT);
    }
}

/// Starts the log with `filter`, else with RUST_LOG if that is a level or names this program, else at `info`. Panics are
/// logged as well.
pub fn start(filter: Option<&str>, default_level: &str, format: LogFormat) -> Result<(), Failure> {
    // RUST_LOG is often set for other programs, whose filter would silence this one.
    let is_for_us = |filter: &String| filter.parse::<LevelFilter>().is_ok() || filter.contains("proxmox_mcp");
    let ambient = std::env::var("RUST_LOG").ok().filter(is_for_us);
    let filter = filter.or(ambient.as_deref()).unwrap_or(default_level);
    let queue = LogQueue::start(
        BlockingIo(io::stderr()),
        match format {
            LogFormat::Text => |lost| format_loss(LogFormat::Text, lost),
            LogFormat::Json => |lost| format_loss(LogFormat::Json, lost),
        },
    );
    let queue = queue.map_err(|error| Failure::Runtime(format!("cannot start the log: {error}")))?;
    let filter = env_filter::Builder::new().parse(filter).build();
    let max_level = filter.filter();
    if log::set_boxed_logger(Box::new(QueuedLogger { filter, format, queue: queue.clone() })).is_ok() {
        log::set_max_level(max_level);
        std::panic::set_hook(Box::new(log_panic));
        let _ = QUEUE.set(queue);
    }
    Ok(())
}

/// Waits until the log is written, for at most a second.
pub fn flush() {
    log::logger().flush();
}

/// Writes the last words of the program after the log, and waits for at most a second until they are written.
pub fn write_last(text: &str) {
    match QUEUE.get() {
        Some(queue) => queue.push_last(text),
        None => super::output::print_stderr(text),
    }
    flush();
}

/// Logs a panic, and its backtrace if the environment asks for one.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    log::error!("a thread panicked: {message} (thread {}, {place})", thread.name().unwrap_or("without a name"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        backtrace.to_string().lines().for_each(|line| log::error!("{line}"));
    }
}

/// Formats one line of the log, which begins at the present time.
pub fn format_line(format: LogFormat, level: Level, target: &str, message: &str) -> String {
    let time = timestamp(SystemTime::now());
    match format {
        LogFormat::Json => {
            let message = quoted(&escape_invisible::escape_text(&sanitize::redact_text(message)));
            let target = quoted(target);
            format!("{{\"time\":\"{time}\",\"level\":\"{level}\",\"target\":{target},\"message\":{message}}}\n")
        }
        LogFormat::Text => format!("{time} {level:<5} {target} {}\n", printable(message)),
    }
}

/// Formats the line that reports lost lines.
fn format_loss(format: LogFormat, lost: u64) -> String {
    let lines = if lost == 1 { "line" } else { "lines" };
    let message = format!("{lost} {lines} of the log lost: stderr did not accept them in time. hint: read it faster");
    format_line(format, Level::Warn, module_path!(), &message)
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
        let logger = QueuedLogger {
            filter: env_filter::Builder::new().parse("trace,ureq::run=trace").build(),
            format: LogFormat::Text,
            queue: LogQueue::start(io::sink(), |_| String::new()).expect("a thread"),
        };
        let enabled = |target, level| logger.enabled(&Metadata::builder().target(target).level(level).build());
        assert!(enabled("proxmox_mcp::pve", Level::Trace));
        for target in ["ureq::run", "ureq_proto", "rustls::client"] {
            assert!(enabled(target, Level::Info));
            assert!(!enabled(target, Level::Debug));
        }
    }

    #[test]
    fn lost_lines_are_reported_in_the_form_of_the_log() {
        let text = format_loss(LogFormat::Text, 1);
        assert!(
            text.contains(" WARN  ") && text.contains(" 1 line of the log lost: ") && text.ends_with('\n'),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_str(&format_loss(LogFormat::Json, 2)).expect("JSON");
        assert_eq!(
            (json["level"].as_str(), json["target"].as_str()),
            (Some("WARN"), Some(module_path!().trim_end_matches("::tests")))
        );
    }
}
