//! The services of a node in short: the names of those in each state.

use crate::base::json_scan::find_member;
use crate::render::cell::strip_quotes;
use crate::render::output::options::OutputOptions;
use crate::render::output::page_writer::RenderedResult;
use crate::render::output::rows::describe_left_out;
use std::fmt::Write;

/// The members that services in one state have in common. The node is that of several lists in one.
const STATE: [&str; 4] = ["node", "state", "active-state", "unit-state"];

/// The members that the short form leaves out.
const LEFT_OUT: [&str; 2] = ["desc", "name"];

/// The most different states. A node has a few.
const MAX_STATES: usize = 64;

/// Services in one state.
struct StateGroup<'a> {
    state: Vec<&'a str>,
    names: Vec<&'a str>,
}

impl OutputOptions {
    /// Renders a list of services. Returns `None` for any other list.
    pub(super) fn summarize_services(&self, list: &str) -> Option<RenderedResult> {
        let page = self.select_rows(list)?;
        let mut groups: Vec<StateGroup<'_>> = Vec::new();
        for row in &page.rows {
            if groups.len() > MAX_STATES {
                return None;
            }
            let text = |name: &str| find_member(row, name).map(strip_quotes);
            let (name, _) = (text("service")?, text("state")?);
            let state: Vec<&str> = STATE.iter().filter_map(|key| text(key)).collect();
            match groups.iter_mut().find(|group| group.state == state) {
                Some(group) => group.names.push(name),
                None => groups.push(StateGroup { state, names: vec![name] }),
            }
        }
        // Few services in each state are read best as a table.
        if page.rows.len() < 2 * groups.len() || groups.is_empty() {
            return None;
        }
        let mut text = String::new();
        for StateGroup { state, names } in &groups {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{} ({}): {}", state.join(" "), names.len(), names.join(", "));
        }
        let note = format!("{} services by {}: format=table has each", page.rows.len(), STATE[1..].join(", "));
        let notes = std::iter::once(note).chain(describe_left_out(&page.rows, &LEFT_OUT)).collect();
        Some(page.finish(text, notes, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::output::options::AnswerTopic;

    #[test]
    fn services_in_one_state_are_one_line() {
        let options = OutputOptions {
            table: true,
            has_default_form: true,
            topic: AnswerTopic::Services,
            ..OutputOptions::default()
        };
        let service = |name: &str, state: &str| {
            format!(r#"{{"service":"{name}","name":"{name}","state":"{state}","active-state":"active"}}"#)
        };
        let rows = [("a", "running"), ("b", "dead"), ("c", "running"), ("d", "running")];
        let list = format!("[{}]", rows.map(|(name, state)| service(name, state)).join(","));
        let rendered = options.summarize_topic(&list).expect("a summary");
        assert_eq!(rendered.text, "running active (3): a, c, d\ndead active (1): b\n");
        assert!(
            rendered.note.expect("a note").starts_with("4 services by state, active-state, unit-state: format=table")
        );
        assert!(options.summarize_topic(&format!("[{}]", service("a", "running"))).is_none());
    }
}
