//! The pending changes of a guest in short, without the options that stay as they are.

use crate::base::json_scan::find_member;
use crate::render::cell::push_single_line;
use crate::render::labels::count;
use crate::render::output::json_path::{holds_objects, list_rows, unquote};
use crate::render::output::key_format::KeyFormat;
use crate::render::output::key_order::compare_keys;
use crate::render::output::names::push_name;
use crate::render::output::options::OutputOptions;
use crate::render::output::page_writer::RenderedResult;
use crate::render::output::table_writer::format_cell;

impl OutputOptions {
    /// Renders the options of a guest that wait for a change. Returns `None` for any other list.
    pub(super) fn summarize_pending(&self, list: &str) -> Option<RenderedResult> {
        if !holds_objects(list) {
            return None;
        }
        let rows = list_rows(list);
        let mut waiting = Vec::new();
        for row in &rows {
            let name = unquote(find_member(row, "key")?);
            if find_member(row, "pending").is_some() || find_member(row, "delete").is_some() {
                waiting.push((name, *row));
            }
        }
        if waiting.is_empty() {
            let note = "the values: GET …/config, or format=table here".to_owned();
            return Some(RenderedResult { text: "no change is pending\n".to_owned(), note: Some(note) });
        }
        waiting.sort_by(|(a, _), (b, _)| compare_keys(a, b));
        let (mut text, mut is_whole) = (String::new(), true);
        for (name, row) in &waiting {
            let mut push = |text: &mut String, member| match find_member(row, member) {
                Some(raw) => {
                    let value = format_cell(KeyFormat::for_key(name), name, Some(raw), self.utc_offset);
                    is_whole &= push_single_line(text, if value.trim().is_empty() { "-" } else { &value });
                }
                None => text.push_str("not set"),
            };
            push_name(&mut text, name);
            text.push_str(": ");
            push(&mut text, "value");
            text.push_str(" → ");
            push(&mut text, "pending");
            text.push('\n');
        }
        let mut note = format!("{} pending", count(waiting.len(), "change"));
        match rows.len() - waiting.len() {
            0 => {}
            others => note.push_str(&format!("; {} without one: format=table has each", count(others, "option"))),
        }
        note.push_str(if is_whole { "" } else { "; long values are cut: format=json has all" });
        Some(RenderedResult { text, note: Some(note) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::output::options::AnswerTopic;

    fn options() -> OutputOptions {
        OutputOptions {
            table: true,
            has_default_form: true,
            is_option_list: true,
            topic: AnswerTopic::Pending,
            ..OutputOptions::default()
        }
    }

    #[test]
    fn options_that_wait_are_lines_and_others_are_counted() {
        let list = r#"[{"key":"tags","value":"a","delete":1},{"key":"onboot","value":0,"pending":1},{"key":"name","value":"x"},{"key":"memory","pending":"192"}]"#;
        let rendered = options().summarize_topic(list).expect("a summary");
        assert_eq!(rendered.text, "memory: not set → 192\ntags: a → not set\nonboot: no → yes\n");
        assert_eq!(rendered.note.as_deref(), Some("3 changes pending; 1 option without one: format=table has each"));
    }

    #[test]
    fn no_change_is_one_line_unless_rows_are_asked_for() {
        let list = r#"[{"key":"name","value":"x"},{"key":"cores","value":2}]"#;
        assert_eq!(options().summarize_topic(list).expect("a summary").text, "no change is pending\n");
        for other in [
            OutputOptions { has_default_form: false, ..options() },
            OutputOptions { fields: Some(vec!["key".into()]), ..options() },
            OutputOptions { limit: 1, ..options() },
        ] {
            assert!(other.summarize_topic(list).is_none(), "{other:?}");
        }
        assert!(options().summarize_topic(r#"[{"name":"x"}]"#).is_none());
    }
}
