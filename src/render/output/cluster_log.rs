//! The log of a cluster in short: a task that ended has one line.

use crate::base::json_scan::find_member;
use crate::pve::task::Upid;
use crate::render::cell::strip_quotes;
use crate::render::labels::{count, format_duration};
use crate::render::list::MAX_ROWS_WITH_UPIDS;
use crate::render::output::json_path::{list_rows, parse_number};
use crate::render::output::options::{AnswerTopic, OutputOptions};
use crate::render::output::page_writer::RenderedResult;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashSet;

impl OutputOptions {
    /// Renders the log of a cluster without the starts of tasks whose end it has. Returns `None` if it has none of these.
    pub(super) fn summarize_log(&self, list: &str) -> Option<RenderedResult> {
        let mut rows = list_rows(list);
        let ended: HashSet<&str> = rows.iter().filter_map(|row| find_task(row, "end task ")).collect();
        let total = rows.len();
        rows.retain(|row| find_task(row, "starting task ").is_none_or(|task| !ended.contains(task)));
        let starts = total - rows.len();
        if starts == 0 {
            return None;
        }
        let shortens = |row: &&str| if rows.len() > MAX_ROWS_WITH_UPIDS { shorten_end(row) } else { None };
        let short: Vec<Cow<'_, str>> =
            rows.iter().map(|row| shortens(row).map_or(Cow::Borrowed(*row), Cow::Owned)).collect();
        let has_short = short.iter().any(|row| matches!(row, Cow::Owned(_)));
        let whole = Self { topic: AnswerTopic::Other, ..self.clone() };
        let rendered = whole.render_data(&format!("[{}]", short.join(",")), None, 0).ok()?;
        let upids = if has_short { " and UPIDs of those that went well" } else { "" };
        let starts = count(starts, "start");
        let left_out = format!("{starts} of ended tasks{upids} left out: fields=time,msg has them");
        let notes: Vec<String> = std::iter::once(left_out).chain(rendered.note).collect();
        Some(RenderedResult { text: rendered.text, note: Some(notes.join("; ")) })
    }
}

/// Returns the UPID of a message with this beginning. (PVE: `starting task UPID:…:` and `end task UPID:…: OK`.)
fn find_task<'a>(row: &'a str, beginning: &str) -> Option<&'a str> {
    let message = strip_quotes(find_member(row, "msg")?).strip_prefix(beginning)?;
    message.split(' ').next().filter(|task| task.starts_with("UPID:"))
}

/// Returns the row of a task that went well with its type, its object and its duration instead of its UPID.
fn shorten_end(row: &str) -> Option<String> {
    let upid = Upid::parse(find_task(row, "end task ")?).ok()?;
    let Ok(Value::Object(mut members)) = serde_json::from_str(row) else { return None };
    members.get("msg").and_then(Value::as_str).filter(|message| message.ends_with(": OK"))?;
    let seconds = find_member(row, "time").and_then(parse_number)? as u64;
    let object = if upid.id.is_empty() { String::new() } else { format!(" {}", upid.id) };
    let duration = format_duration(seconds.saturating_sub(upid.started_at));
    members.insert("msg".into(), format!("end task {}{object}: OK after {duration}", upid.kind).into());
    Some(Value::Object(members).to_string())
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
        let task = |number: u32| format!("UPID:pve1:{number:08X}:00022AEA:6B0293BE:qmstart:100:root@pam:");
        let rows = (1..=12).flat_map(|number| {
            let end = if number == 1 { "got timeout" } else { "OK" };
            [("starting", "".to_owned()), ("end", format!(" {end}"))].map(|(word, end)| {
                format!(r#"{{"time":{},"msg":"{word} task {}{end}"}}"#, 0x6B02_93BE + 61, task(number))
            })
        });
        let list = format!("[{}]", rows.collect::<Vec<_>>().join(","));
        let rendered = options.summarize_topic(&list).expect("a summary");
        assert!(
            rendered.text.contains("end task UPID:pve1:00000001:00022AEA:6B0293BE:qmstart:100:root@pam: got timeout")
        );
        assert_eq!(rendered.text.matches("end task qmstart 100: OK after 1m").count(), 11, "{}", rendered.text);
        let chosen = OutputOptions { limit: 3, ..options };
        assert!(chosen.summarize_topic(&list).is_none());
    }
}
