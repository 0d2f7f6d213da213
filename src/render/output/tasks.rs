//! Lists of tasks in short: a line for each day, and one row for equal tasks that went well.

use crate::base::json_edit::set_member;
use crate::base::json_scan::find_member;
use crate::render::cell::{decode_line, strip_quotes};
use crate::render::labels::count;
use crate::render::output::events::{Event, EventKind, render_events};
use crate::render::output::json_path::parse_number;
use crate::render::output::options::OutputOptions;
use crate::render::output::page_writer::RenderedResult;
use crate::render::output::rows::describe_left_out;
use std::borrow::Cow;

/// The members of a task that the short form leaves out.
const LEFT_OUT: [&str; 3] = ["pid", "pstart", "saved"];

impl OutputOptions {
    /// Renders a list of tasks. Returns `None` for any other list.
    pub(super) fn summarize_tasks(&self, list: &str) -> Option<RenderedResult> {
        let page = self.select_rows(list)?;
        let events = page.rows.iter().map(|row| read_task(row)).collect::<Option<Vec<_>>>()?;
        if events.is_empty() {
            return None;
        }
        let table = render_events(&["starttime", "type", "id", "user", "status"], events, self.utc_offset);
        let (total, is_joined) = (page.rows.len(), table.rows < page.rows.len());
        let note = match (is_joined, table.has_short_rows) {
            (true, _) => Some(format!(
                "{total} tasks in {}: equal ones of status OK are one, some upids left out: format=table has each",
                count(table.rows, "row")
            )),
            (false, true) => Some("upid of status OK left out: format=table has each".to_owned()),
            (false, false) => None,
        };
        let notes = note.into_iter().chain(describe_left_out(&page.rows, &LEFT_OUT)).collect();
        Some(page.finish(table.text, notes, is_joined))
    }
}

/// Returns the duration of a task that ended.
pub(super) fn find_task_duration(row: &str) -> Option<u64> {
    let seconds = |name: &str| find_member(row, name).and_then(parse_number).map(|seconds| seconds as u64);
    let ended = seconds("endtime").filter(|end| *end > 0)?;
    Some(ended.saturating_sub(seconds("starttime")?))
}

/// Returns the user of a task, with the token that started it.
fn find_acting_user(row: &str) -> Cow<'_, str> {
    let text = |name: &str| find_member(row, name).map_or("", strip_quotes);
    match text("tokenid") {
        "" => Cow::Borrowed(text("user")),
        token => Cow::Owned(format!("{}!{token}", text("user"))),
    }
}

/// Returns a row of a list of tasks with the token in its user.
pub(super) fn join_user_and_token(row: &str) -> Cow<'_, str> {
    match find_acting_user(row) {
        Cow::Owned(joined) => set_member(row, &["user"], &joined.into()).map_or(Cow::Borrowed(row), Cow::Owned),
        Cow::Borrowed(_) => Cow::Borrowed(row),
    }
}

/// Reads a row of a list of tasks.
fn read_task(row: &str) -> Option<Event<'_>> {
    let text = |name: &str| find_member(row, name).map_or("", strip_quotes);
    let started = find_member(row, "starttime").and_then(parse_number)? as u64;
    let duration = find_task_duration(row);
    let (id, upid) = (text("id"), text("upid"));
    if upid.is_empty() || text("type").is_empty() {
        return None;
    }
    let user = find_acting_user(row);
    let status = match find_member(row, "status").map_or(Cow::Borrowed(""), decode_line) {
        status if status.is_empty() && duration.is_none() => Cow::Borrowed("running"),
        status => status,
    };
    let kind = match (&*status, id) {
        ("OK", "") => EventKind::Daily,
        ("OK", _) => EventKind::Timed,
        _ => EventKind::Alone,
    };
    Some(Event {
        kind,
        time: started,
        duration,
        node: text("node"),
        cells: vec![text("type").into(), id.into(), user, status],
        upid,
    })
}
