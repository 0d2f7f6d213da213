//! The output of a tool, with notes.

use crate::mcp::catalog::ToolOutput;
use crate::mcp::content::Content;
use crate::render::list::RenderedList;

impl From<RenderedList> for ToolOutput {
    fn from(list: RenderedList) -> Self {
        Self::with_structured(list.text, list.structured)
    }
}

/// Appends notes as a content of their own.
pub(super) fn with_notes(mut output: ToolOutput, notes: &[String]) -> ToolOutput {
    if !notes.is_empty() {
        output.content.push(Content::Text(notes.join("\n")));
    }
    output
}

/// Returns notes in parentheses, to follow `separator` at the end of a text.
pub(super) fn format_notes(separator: char, notes: &[String]) -> String {
    if notes.is_empty() { String::new() } else { format!("{separator}({})", notes.join("; ")) }
}
