//! The log of a cluster in short: a task that ended has one row, with its duration.

use crate::base::json_scan::find_member;
use crate::pve::task::Upid;
use crate::render::cell::{decode_line, strip_quotes};
use crate::render::labels::count;
use crate::render::output::events::{Event, EventKind, render_events};
use crate::render::output::json_path::parse_number;
use crate::render::output::options::OutputOptions;
use crate::render::output::page_writer::RenderedResult;
use crate::render::output::rows::describe_left_out;
use crate::render::task::shorten_task_message;
use std::borrow::Cow;
use std::collections::HashSet;

/// The members of a line that the short form leaves out.
const LEFT_OUT: [&str; 4] = ["id", "pid", "pri", "uid"];

impl OutputOptions {
    /// Renders the log of a cluster without the starts of tasks whose end it has. Returns `None` if the list is not one.
    pub(super) fn summarize_log(&self, list: &str) -> Option<RenderedResult> {
        let page = self.select_rows(list)?;
        let ended: HashSet<&str> = page.rows.iter().filter_map(|row| find_task(row, "end task ")).collect();
        let is_start = |row: &&&str| find_task(row, "starting task ").is_some_and(|task| ended.contains(task));
        let (starts, rows): (Vec<&str>, Vec<&str>) = page.rows.iter().partition(|row| is_start(row));
        let events = rows.iter().map(|row| read_line(row)).collect::<Option<Vec<_>>>()?;
        if events.is_empty() {
            return None;
        }
        let table = render_events(&["time", "tag", "user", "msg"], events, self.utc_offset);
        let is_joined = table.rows < page.rows.len();
        let mut parts = Vec::new();
        if !starts.is_empty() {
            parts.push(format!("{} of ended tasks left out", count(starts.len(), "start")));
        }
        if table.rows < rows.len() {
            parts.push("equal lines are one".to_owned());
        }
        if table.has_short_rows {
            parts.push("UPIDs of status OK left out".to_owned());
        }
        let note = match is_joined {
            true => format!("{} in {}: ", count(page.rows.len(), "line"), count(table.rows, "row")),
            false => String::new(),
        };
        let note = (!parts.is_empty()).then(|| format!("{note}{}: format=table has each", parts.join(", ")));
        let notes = note.into_iter().chain(describe_left_out(&page.rows, &LEFT_OUT)).collect();
        Some(page.finish(table.text, notes, is_joined))
    }
}

/// Returns the UPID of a message with this beginning. (PVE: `starting task UPID:…:` and `end task UPID:…: OK`.)
fn find_task<'a>(row: &'a str, beginning: &str) -> Option<&'a str> {
    let message = strip_quotes(find_member(row, "msg")?).strip_prefix(beginning)?;
    message.split(' ').next().filter(|task| task.starts_with("UPID:"))
}

/// Returns the duration of a task whose end the line reports.
pub(super) fn find_line_duration(row: &str) -> Option<u64> {
    let time = find_member(row, "time").and_then(parse_number)? as u64;
    let upid = Upid::parse(find_task(row, "end task ")?).ok()?;
    Some(time.saturating_sub(upid.started_at))
}

/// Reads a line. A task has its type and its object instead of its UPID, which has a cell of its own.
fn read_line(row: &str) -> Option<Event<'_>> {
    let text = |name: &str| find_member(row, name).map_or("", strip_quotes);
    let time = find_member(row, "time").and_then(parse_number)? as u64;
    let message = find_member(row, "msg").map(decode_line)?;
    let line = |kind, duration, message: Cow<'_, str>, upid| {
        let cells = vec![text("tag").into(), text("user").into(), message.into_owned().into()];
        Event { kind, time, duration, node: text("node"), cells, upid }
    };
    let task = find_task(row, "end task ").or_else(|| find_task(row, "starting task "));
    let (Some(task), Some((upid, short))) = (task, shorten_task_message(&message)) else {
        return Some(line(EventKind::Message, None, message, ""));
    };
    let kind = match message.split_once(": ") {
        Some((_, "OK")) if upid.id.is_empty() => EventKind::Daily,
        Some((_, "OK")) => EventKind::Timed,
        _ => EventKind::Alone,
    };
    Some(line(kind, find_line_duration(row), short.into(), task))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::output::options::AnswerTopic;

    #[test]
    fn a_task_that_ended_has_one_line() {
        let options = OutputOptions {
            table: true,
            has_default_form: true,
            topic: AnswerTopic::ClusterLog,
            ..OutputOptions::default()
        };
        let task = |number: u32| format!("UPID:pve1:{number:08X}:00022AEA:6B0293BE:qmstart:{number}:root@pam:");
        let rows = (1..=12).flat_map(|number| {
            let end = if number == 1 { "got timeout" } else { "OK" };
            [("starting", "".to_owned()), ("end", format!(" {end}"))].map(|(word, end)| {
                format!(r#"{{"time":{},"msg":"{word} task {}{end}"}}"#, 0x6B02_93BE + 61, task(number))
            })
        });
        let running = format!(r#"{{"time":{},"msg":"starting task {}"}}"#, 0x6B02_93BE, task(99));
        let list = format!("[{},{running}]", rows.collect::<Vec<_>>().join(","));
        let rendered = options.summarize_topic(&list).expect("a summary");
        let lines = [
            "\t1m1s\tend task qmstart 1: got timeout\tUPID:pve1:00000001:00022AEA:6B0293BE:qmstart:1:root@pam:\n",
            "\t1m1s\tend task qmstart 2: OK\n",
            "\t-\tstarting task qmstart 99\tUPID:pve1:00000063:",
        ];
        for line in lines {
            assert!(rendered.text.contains(line), "{line}\n{}", rendered.text);
        }
        assert_eq!(rendered.text.matches("qmstart ").count(), 13, "{}", rendered.text);
        let note = rendered.note.expect("a note");
        assert!(
            note.starts_with("25 lines in 13 rows: 12 starts of ended tasks left out, UPIDs of status OK left out"),
            "{note}"
        );
        let chosen = OutputOptions { fields: Some(vec!["msg".into()]), ..options };
        assert!(chosen.summarize_topic(&list).is_none());
    }
}
