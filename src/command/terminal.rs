//! Questions to the operator. Answers come from the terminal, or line by line from any other stdin.

use super::failure::Failure;
use super::output::print_stderr;
use proxmox_mcp::base::secret::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::io::{self, BufRead, Stdin};

/// Shows no input while it exists.
struct HiddenInput<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> HiddenInput<'a> {
    /// Returns `None` if stdin is not a terminal.
    fn start(stdin: &'a Stdin) -> Option<Self> {
        let before = tcgetattr(stdin).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // The line break still shows that Enter was pressed.
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(stdin, OptionalActions::Flush, &hidden).ok()?;
        Some(Self { stdin, before })
    }
}

impl Drop for HiddenInput<'_> {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing more.
        let _ = tcsetattr(self.stdin, OptionalActions::Now, &self.before);
    }
}

/// Asks for a line. An empty one is `default`.
pub fn ask(question: &str, default: &str) -> Result<String, Failure> {
    print_stderr(&format!("{question} [{default}]: "));
    let line = read_line(question)?;
    Ok(if line.is_empty() { default.to_owned() } else { line })
}

/// Asks for a secret, which the terminal does not show.
pub fn ask_secret(question: &str) -> Result<Secret, Failure> {
    let stdin = io::stdin();
    // Before the question, since its reader may type at once.
    let _hidden = HiddenInput::start(&stdin);
    print_stderr(&format!("{question}: "));
    read_line(question).map(Secret::new)
}

/// Asks for a yes. Anything else is a no.
pub fn confirm(question: &str) -> Result<bool, Failure> {
    print_stderr(&format!("{question} [y/N]: "));
    Ok(matches!(&*read_line(question)?.to_ascii_lowercase(), "y" | "yes"))
}

/// Reads a line without its end. Without one there is no answer.
fn read_line(question: &str) -> Result<String, Failure> {
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(0) => {
            let place = if isatty(io::stdin()) { "the terminal was closed" } else { "stdin has no further line" };
            Err(Failure::Usage(format!(
                "no answer to \"{question}\": {place}. hint: run it at a terminal, or write one answer per line to stdin"
            )))
        }
        Ok(_) => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => Err(Failure::Runtime(format!("cannot read the answer to \"{question}\": {error}"))),
    }
}
