//! The output of a tool, with notes.

use crate::call::{ApiResponse, ClusterHandle};
use crate::mcp::catalog::ToolOutput;
use crate::mcp::content::Content;
use crate::pve::path::ApiPath;
use crate::render::list::RenderedList;
use crate::render::output::{MergeablePart, OutputError, OutputOptions, RenderedResult, sort_keys};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The most bytes of an answer that is compared with others in any order of its keys.
const MAX_SORTED_BYTES: usize = 64 * 1024;

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

/// An API answer in a form for the model, and in one for programs.
pub(super) struct RenderedAnswer {
    pub(super) text: String,
    /// The JSON text of an object, if the client wants it.
    pub(super) structured: Option<String>,
    pub(super) notes: Vec<String>,
}

impl RenderedAnswer {
    pub(super) fn into_output(self) -> ToolOutput {
        ToolOutput::with_structured(self.text, self.structured)
    }
}

/// Renders the answer of a path.
pub(super) fn render_answer(
    cluster: &ClusterHandle<'_>,
    path: &ApiPath,
    options: &OutputOptions,
    response: ApiResponse,
    max_bytes: usize,
    wants_structured: bool,
) -> Result<RenderedAnswer, OutputError> {
    let is_envelope = response.has_extra_fields();
    let options = options.for_answer(cluster.find_answer_facts(path, options, response.data()));
    let mut notes = cluster.find_remarks(path, &options, response.data(), is_envelope);
    let payload = response.into_payload();
    let json = match wants_structured && options.is_readable() {
        true => Some(options.as_json().render(payload.clone(), is_envelope, max_bytes)?.text),
        false => None,
    };
    let RenderedResult { text, note } = options.render(payload, is_envelope, max_bytes)?;
    let json = json.as_deref().or((wants_structured && !options.is_readable()).then_some(text.as_str()));
    let structured = json.map(|json| format!("{{\"data\":{json}}}"));
    notes.extend(note);
    Ok(RenderedAnswer { text, structured, notes })
}

/// The answer to one of several paths.
pub(super) struct RenderedPart {
    pub(super) text: String,
    /// The notes about the facts of the answer.
    pub(super) remarks: Vec<String>,
    /// The note about the shown part.
    pub(super) note: Option<String>,
    /// The answer as a part of a table of several.
    pub(super) mergeable: Option<MergeablePart>,
    /// The hash of the whole answer.
    pub(super) hash: u64,
}

/// Renders the answer to one of several paths.
pub(super) fn render_part(
    cluster: &ClusterHandle<'_>,
    path: &ApiPath,
    options: &OutputOptions,
    response: ApiResponse,
    max_bytes: usize,
) -> Result<RenderedPart, OutputError> {
    let is_envelope = response.has_extra_fields();
    let options = options.for_answer(cluster.find_answer_facts(path, options, response.data()));
    let remarks = cluster.find_remarks(path, &options, response.data(), is_envelope);
    let hash = hash_json(response.data());
    let (RenderedResult { text, note }, mergeable) =
        options.render_part(response.into_payload(), is_envelope, max_bytes)?;
    Ok(RenderedPart { text, remarks, note, mergeable, hash })
}

/// Returns a hash of an answer. The order of the keys of a long one counts.
fn hash_json(json: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    if json.len() <= MAX_SORTED_BYTES {
        sort_keys(json).hash(&mut hasher)
    } else {
        json.hash(&mut hasher)
    }
    hasher.finish()
}

/// Returns the output of an answer that is JSON.
pub(super) fn json_output(text: String, wants_structured: bool) -> ToolOutput {
    let structured = wants_structured.then(|| format!("{{\"data\":{text}}}"));
    ToolOutput::with_structured(text, structured)
}

/// Returns the texts of an output, with its notes.
pub(super) fn join_output(output: ToolOutput) -> String {
    let texts = output.content.into_iter().filter_map(|content| match content {
        Content::Text(text) => Some(text),
        _ => None,
    });
    let text = texts.collect::<Vec<_>>().join("\n");
    let separator = if text.contains('\n') { '\n' } else { ' ' };
    text + &format_notes(separator, &output.notes)
}

/// Returns notes in parentheses, to follow `separator` at the end of a text.
pub(super) fn format_notes(separator: char, notes: &[String]) -> String {
    if notes.is_empty() { String::new() } else { format!("{separator}({})", notes.join("; ")) }
}
