//! The log of a cluster in short: a task that ended has one line.

use crate::base::json_scan::find_member;
use crate::render::cell::strip_quotes;
use crate::render::labels::count;
use crate::render::output::json_path::walk;
use crate::render::output::options::{AnswerTopic, OutputOptions};
use crate::render::output::page_writer::RenderedResult;
use std::collections::HashSet;

impl OutputOptions {
    /// Renders the log of a cluster without the starts of tasks whose end it has. Returns `None` if it has none of these.
    pub(super) fn summarize_log(&self, list: &str) -> Option<RenderedResult> {
        let mut rows = Vec::new();
        walk(list, &mut |_, row| {
            rows.push(row);
            true
        });
        let ended: HashSet<&str> = rows.iter().filter_map(|row| find_task(row, "end task ")).collect();
        let total = rows.len();
        rows.retain(|row| find_task(row, "starting task ").is_none_or(|task| !ended.contains(task)));
        let starts = total - rows.len();
        if starts == 0 {
            return None;
        }
        let whole = Self { topic: AnswerTopic::Other, ..self.clone() };
        let rendered = whole.render_data(&format!("[{}]", rows.join(",")), None, 0).ok()?;
        let left_out = format!("{} of ended tasks left out: fields=time,msg has them", count(starts, "start"));
        let notes: Vec<String> = std::iter::once(left_out).chain(rendered.note).collect();
        Some(RenderedResult { text: rendered.text, note: Some(notes.join("; ")) })
    }
}

/// Returns the UPID of a message with this beginning. (PVE: `starting task UPID:…:` and `end task UPID:…: OK`.)
fn find_task<'a>(row: &'a str, beginning: &str) -> Option<&'a str> {
    let message = strip_quotes(find_member(row, "msg")?).strip_prefix(beginning)?;
    message.split(' ').next().filter(|task| task.starts_with("UPID:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_ended_has_one_line() {
        let options = OutputOptions {
            table: true,
            has_default_form: true,
            topic: AnswerTopic::ClusterLog,
            ..OutputOptions::default()
        };
        let list = r#"[{"msg":"end task UPID:a:1:root@pam: OK"},{"msg":"starting task UPID:a:2:root@pam:"},
            {"msg":"starting task UPID:a:1:root@pam:"},{"msg":"successful auth for user 'root@pam'"},7]"#;
        let rendered = options.summarize_topic(list).expect("a summary");
        assert!(!rendered.text.contains("starting task UPID:a:1:"), "{}", rendered.text);
        for part in ["end task UPID:a:1:", "starting task UPID:a:2:", "successful auth", "7"] {
            assert!(rendered.text.contains(part), "{}", rendered.text);
        }
        assert!(rendered.note.expect("a note").starts_with("1 start of ended tasks left out"));
        assert!(options.summarize_topic(r#"[{"msg":"starting task UPID:a:2:root@pam:"}]"#).is_none());
        let chosen = OutputOptions { limit: 3, ..options };
        assert!(chosen.summarize_topic(list).is_none());
    }
}
