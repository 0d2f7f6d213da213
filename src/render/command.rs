//! The end of a command that ran inside a guest.

use crate::pve::knowledge::messages::find_next_step;
use crate::pve::rows::{is_true, read_number};
use serde_json::Value;
use std::fmt::Write;

/// The most characters of each output that are shown. The agent itself sends up to 16 MiB.
const MAX_OUTPUT_CHARS: usize = 20_000;

/// Renders the answer of exec-status for a command that has ended.
pub fn render_command(status: &Value) -> String {
    let number = |key: &str| status.get(key).and_then(read_number);
    let mut text = match (number("exitcode"), number("signal")) {
        (Some(0.0), _) => "OK: the command ended with exit code 0".to_owned(),
        (Some(code), _) => format!("the command ended with exit code {code}"),
        (None, Some(signal)) => format!("the command was ended by signal {signal}"),
        (None, None) => "the command ended, without an exit code".to_owned(),
    };
    for (label, output, truncated) in [("stdout", "out-data", "out-truncated"), ("stderr", "err-data", "err-truncated")]
    {
        let output = status.get(output).and_then(Value::as_str).unwrap_or_default();
        if output.is_empty() {
            continue;
        }
        let shown: String = output.chars().take(MAX_OUTPUT_CHARS).collect();
        let is_cut = shown.len() < output.len() || status.get(truncated).is_some_and(is_true);
        let _ = write!(text, "\n\n{label}{}\n{}", if is_cut { " (cut off)" } else { "" }, shown.trim_end());
        if label == "stderr"
            && let Some(step) = find_next_step(&shown)
        {
            let _ = write!(text, "\nhint: {step}");
        }
    }
    text
}

/// Renders a command that still runs at the end of the wait.
pub fn render_running_command(status_path: &str, pid: &str) -> String {
    format!(
        "RUNNING: the command still runs in the guest (pid {pid}). GET {status_path}?pid={pid} has its output, once"
    )
}

/// Renders the unknown end of a command that was started. `cause` has its next step.
pub fn render_unknown_command(pid: &str, cause: &str) -> String {
    format!(
        "END UNKNOWN: the command was started (pid {pid}) and may have done its work, so look at what it did before \
         you repeat it. Its end can't be read: {cause}"
    )
}

/// Returns whether a command that has ended reports success.
pub fn has_succeeded(status: &Value) -> bool {
    status.get("exitcode").and_then(Value::as_i64) == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_end_of_a_command_has_its_code_and_both_outputs() {
        for (status, text) in [
            (
                json!({"exited": 1, "exitcode": 0, "out-data": "a\n"}),
                "OK: the command ended with exit code 0\n\nstdout\na",
            ),
            (
                json!({"exited": 1, "exitcode": 2, "err-data": "bad", "err-truncated": 1}),
                "the command ended with exit code 2\n\nstderr (cut off)\nbad",
            ),
            (json!({"exited": true, "exitcode": "0"}), "OK: the command ended with exit code 0"),
            (json!({"exited": 1, "signal": 9}), "the command was ended by signal 9"),
        ] {
            assert_eq!(render_command(&status), text);
        }
    }
}
