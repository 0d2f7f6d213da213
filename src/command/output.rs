//! Text for a terminal.

use proxmox_mcp::base::blocking_io::BlockingIo;
use proxmox_mcp::sanitize;
use proxmox_mcp::sanitize::escape_invisible;
use std::io::{self, IsTerminal, Write};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::{env, fmt, thread};

/// Prints to stdout. A closed pipe does not end the program.
pub fn print_stdout(text: &str) {
    let _ = BlockingIo(io::stdout()).write_all(text.as_bytes());
}

/// Prints to stdout from a thread of its own. A full pipe that is not read does not delay the program.
pub fn print_stdout_later(text: String) {
    // Without a thread the program has other problems than the missing text.
    let _ = thread::Builder::new().name("banner".into()).spawn(move || print_stdout(&text));
}

/// Mark of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Fine,
    /// Something that the operator should look at.
    Warning,
    Failed,
}

impl fmt::Display for Mark {
    /// Writes the sign, in colour at a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, colour) = match self {
            Self::Fine => ("✓", 32),
            Self::Warning => ("!", 33),
            Self::Failed => ("✗", 31),
        };
        match has_colours() {
            true => write!(f, "\x1b[{colour}m{sign}\x1b[0m"),
            false => f.write_str(sign),
        }
    }
}

/// Returns whether stdout shows colours: it is a terminal that can, and NO_COLOR (https://no-color.org) is not set.
fn has_colours() -> bool {
    static HAS_COLOURS: LazyLock<bool> = LazyLock::new(|| {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        io::stdout().is_terminal() && !is_set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
    });
    *HAS_COLOURS
}

/// Returns whether lines can be replaced: stdout and stderr are terminals that can.
fn can_replace_lines() -> bool {
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && io::stderr().is_terminal() && !is_dumb
}

/// The last line of a terminal, which says what is under way. Elsewhere nothing is shown.
pub struct Progress {
    is_shown: bool,
    /// The text of the line; empty if there is none.
    line: Mutex<String>,
}

impl Progress {
    pub fn start() -> Self {
        Self { is_shown: can_replace_lines(), line: Mutex::default() }
    }

    /// Replaces the line.
    pub fn show(&self, text: &str) {
        let mut line = self.lock();
        *line = text.to_owned();
        self.draw(&line);
    }

    /// Prints text to stdout above the line.
    pub fn print(&self, text: &str) {
        let line = self.lock();
        self.draw("");
        print_stdout(text);
        self.draw(&line);
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, text: &str) {
        // A longer line would wrap, and only its end could be cleared.
        const WIDTH: usize = 72;
        if self.is_shown {
            print_stderr(&format!("\r\x1b[2K{}", text.chars().take(WIDTH).collect::<String>()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.show("");
    }
}

/// Prints a line with its mark to stdout.
pub fn print_marked(mark: Mark, text: &str) {
    print_stdout(&format!("{mark} {text}\n"));
}

/// Prints to stderr. A closed pipe does not end the program.
pub fn print_stderr(text: &str) {
    let _ = BlockingIo(io::stderr()).write_all(text.as_bytes());
}

/// Returns `text` on one line: invisible characters are escaped and secrets hidden.
pub fn printable(text: &str) -> String {
    escape_invisible::escape_text(&sanitize::redact_text(text)).replace('\n', "\\n").replace('\t', "\\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_stays_on_one_line() {
        assert_eq!(
            printable("a\r\nb\tc\u{1b}[31m\u{202e}d\u{200b}\u{85}é"),
            "a\\r\\nb\\tc\\u001b[31m\\u202ed\\u200b\\u0085é"
        );
    }

    #[test]
    fn secrets_are_hidden() {
        assert_eq!(printable("it answered \"password=hunter2\""), "it answered \"password=(hidden)\"");
    }
}
