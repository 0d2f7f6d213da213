//! The output of a tool, with notes.

use crate::base::json_scan::walk;
use crate::mcp::catalog::ToolOutput;
use crate::mcp::content::Content;
use crate::render::list::RenderedList;

impl From<RenderedList> for ToolOutput {
    fn from(list: RenderedList) -> Self {
        Self { notes: list.notes, ..Self::with_structured(list.text, list.structured) }
    }
}

/// Adds notes to an output.
pub(super) fn with_notes(mut output: ToolOutput, notes: &[String]) -> ToolOutput {
    output.notes.extend_from_slice(notes);
    output
}

/// Returns the output of an API answer. Its text is JSON, unless the caller asked for a table.
pub(super) fn answer_output(text: String, wants_structured: bool) -> ToolOutput {
    let structured = wants_structured.then(|| format!("{{\"data\":{text}}}")).filter(|json| is_json(json));
    ToolOutput::with_structured(text, structured)
}

fn is_json(text: &str) -> bool {
    walk(text, &mut |_, _| true)
}

/// Returns the texts of an output, with its notes.
pub(super) fn join_output(output: ToolOutput) -> String {
    let texts = output.content.into_iter().filter_map(|content| match content {
        Content::Text(text) => Some(text),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n") + &format_notes('\n', &output.notes)
}

/// Returns notes in parentheses, to follow `separator` at the end of a text.
pub(super) fn format_notes(separator: char, notes: &[String]) -> String {
    if notes.is_empty() { String::new() } else { format!("{separator}({})", notes.join("; ")) }
}
