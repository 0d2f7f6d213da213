//! What a caller wants to see of a raw answer, and no more of it at once than a model can take: fields, rows, their order,
//! pages, JSON or a table. Whatever is left out is named in a note, with the arguments that show it.
//!
//! Nothing is built of the answer but the text that is shown: rows go by as the JSON text they came in. Where a single
//! path is asked of an object (`fields=a.b`), or a path that starts with a number of a list (`fields=12.log`), what lies
//! there is shaped as if it were the answer, under that path as its key; so everything can be reached, page by page.

mod filter;
mod json_path;
mod keys;
mod page_writer;
mod rows;
mod table_writer;
#[cfg(test)]
mod tests;
mod truncate;

use crate::mcp::arguments::{ParameterKind, ToolArguments, ToolParameter};
use filter::FilterCondition;
use json_path::{describe_kind, find, parse_index, pick, unquote, walk};
use keys::{describe_unknown_key, push_name};
use page_writer::{AnswerPath, PageWriter};
use std::fmt::Write;

/// The parameters of a tool that shows an answer.
pub const PARAMS: [ToolParameter; 6] = [
    optional_param("fields", ParameterKind::Text, "keys: name,ha.state"),
    optional_param("filter", ParameterKind::Text, "status=running,mem>8G,name~web"),
    optional_param("sort", ParameterKind::Text, "-mem,name"),
    optional_param("limit", ParameterKind::Count, "rows"),
    optional_param("offset", ParameterKind::Count, "rows to skip"),
    optional_param("format", ParameterKind::Choice(&["json", "table"]), "default: json"),
];

const fn optional_param(name: &'static str, kind: ParameterKind, about: &'static str) -> ToolParameter {
    ToolParameter { name, kind, required: false, description: about }
}

/// What of an answer is to be seen.
#[derive(Clone, Debug)]
pub struct OutputOptions {
    /// Keys, in their order; `None` is all.
    fields: Option<Vec<String>>,
    /// All must hold.
    filter: Vec<FilterCondition>,
    /// Keys, and whether the largest comes first.
    sort: Vec<(String, bool)>,
    /// Rows at most; lines or characters of a text, members of an object.
    limit: usize,
    /// Of the same, those that are skipped.
    offset: usize,
    table: bool,
}

impl Default for OutputOptions {
    /// All of it.
    fn default() -> Self {
        Self { fields: None, filter: Vec::new(), sort: Vec::new(), limit: usize::MAX, offset: 0, table: false }
    }
}

/// What is shown of an answer.
#[derive(Debug)]
pub struct RenderedResult {
    /// JSON, or a table.
    pub text: String,
    /// What was left out, and how to get it. It is no part of the text, which stays JSON.
    pub note: Option<String>,
}

impl OutputOptions {
    /// What the arguments ask for; the error says which of them can't be read, and how to write it.
    pub fn from_args(args: &ToolArguments) -> Result<Self, String> {
        let count = |name| args.count(name).map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let keys = |name| args.text(name).map(|text| keys::parse_keys(name, text)).transpose();
        // `-mem`, or as SQL has it.
        let descending = |key: String| match (key.strip_prefix('-'), key.strip_suffix(" desc")) {
            (Some(key), _) | (_, Some(key)) => (key.trim().to_owned(), true),
            _ => (key.strip_suffix(" asc").unwrap_or(&key).trim().to_owned(), false),
        };
        Ok(Self {
            fields: keys("fields")?.flatten().filter(|fields| !fields.is_empty()),
            filter: filter::parse(args.text("filter").unwrap_or_default())?,
            sort: keys("sort")?.flatten().unwrap_or_default().into_iter().map(descending).collect(),
            // As Proxmox has it, 0 is no limit.
            limit: count("limit").filter(|limit| *limit > 0).unwrap_or(usize::MAX),
            offset: count("offset").unwrap_or(0),
            table: args.text("format") == Some("table"),
        })
    }

    /// Whether the whole answer is asked for, as it came.
    pub fn is_plain(&self) -> bool {
        self.fields.is_none()
            && self.filter.is_empty()
            && self.sort.is_empty()
            && self.limit == usize::MAX
            && self.offset == 0
            && !self.table
    }

    /// Makes the text of an answer, of at most `cap` bytes (0: any number). `verbatim` is the answer's JSON; `enveloped`
    /// where that is the whole envelope, as something stands beside `data`. What is plain and fits is handed on in its own
    /// memory. Errors: a key that is nowhere, an answer that has no rows to filter or sort.
    pub fn render(&self, verbatim: String, enveloped: bool, cap: usize) -> Result<RenderedResult, String> {
        if self.is_plain() && (cap == 0 || verbatim.len() <= cap) {
            return Ok(RenderedResult { text: verbatim, note: None });
        }
        match enveloped.then(|| find(&verbatim, "data", 1)).flatten() {
            Some((data, _)) => self.render_data(data, Some(&verbatim), cap),
            None => self.render_data(&verbatim, None, cap),
        }
    }

    /// The same of an answer's `data`, and of the envelope around it if there is anything else in there.
    fn render_data(&self, data: &str, envelope: Option<&str>, cap: usize) -> Result<RenderedResult, String> {
        // Without a cap too there is one: what is shown can be larger than the answer (a table of rows with one key of
        // their own each), and grows no faster than it.
        let cap = if cap == 0 { data.len().saturating_mul(2).saturating_add(1 << 20) } else { cap };
        let mut page = PageWriter::new(cap);
        if let Err(why) = self.write_answer(&mut page, data) {
            // What stands beside `data` can be asked for by name.
            let beside = envelope.filter(|envelope| {
                let mut found = Vec::new();
                self.fields.iter().for_each(|fields| pick(envelope, fields, &mut found));
                !found.is_empty() && found.iter().all(Option::is_some)
            });
            page = PageWriter::new(cap);
            self.write_answer(&mut page, beside.ok_or(why)?)?;
        } else if let Some(envelope) = envelope {
            page.add_note(&describe_envelope(envelope));
        }
        let (text, note) = page.finish();
        Ok(RenderedResult { text, note })
    }

    /// Shapes an answer, or what lies in it at the one path asked for.
    fn write_answer(&self, page: &mut PageWriter, raw: &str) -> Result<(), String> {
        let mut answer_path = AnswerPath::default();
        let leads_inside =
            |path: &String| raw.starts_with('{') || parse_index(path.split('.').next().unwrap_or_default()).is_some();
        match self.fields.as_deref() {
            Some([path]) if raw.starts_with(['{', '[']) && leads_inside(path) => {
                let Some((inner, depth)) = find(raw, path, 1) else {
                    return Err(match raw.starts_with('[') {
                        true => format!("nothing is at {path}: no row of that number, from 0, or no such key in it"),
                        false => describe_unknown_key(path, raw),
                    });
                };
                answer_path = AnswerPath { path: path.clone(), depth };
                if !self.table || !inner.starts_with(['{', '[']) {
                    page.open(&format!("{{{}:", serde_json::Value::from(path.as_str())), '}');
                }
                Self { fields: None, ..self.clone() }.write_value(page, inner, &mut answer_path)
            }
            Some(fields) if raw.starts_with('{') => {
                let mut found = Vec::new();
                pick(raw, fields, &mut found);
                let mut missing =
                    fields.iter().zip(&found).filter(|(_, value)| value.is_none()).map(|(field, _)| field);
                // An object leaves out what is not set: that some are missing is an answer, that all are is a mistake.
                if found.iter().all(Option::is_none) {
                    return Err(describe_unknown_key(missing.next().map_or("", |field| field), raw));
                }
                let mut note = String::new();
                for field in missing {
                    note.push_str(if note.is_empty() { "not there: " } else { ", " });
                    push_name(&mut note, field);
                }
                page.add_note(&note);
                self.write_value(page, raw, &mut answer_path)
            }
            Some(_) if !raw.starts_with('[') => {
                Err(format!("fields is for objects and lists of them, yet the answer is {}", describe_kind(raw)))
            }
            _ => self.write_value(page, raw, &mut answer_path),
        }
    }

    /// Shapes a value; fields, if any, are those of an object or of a list's rows.
    fn write_value(&self, page: &mut PageWriter, raw: &str, answer_path: &mut AnswerPath) -> Result<(), String> {
        match raw.bytes().next() {
            Some(b'[') if self.table => table_writer::write_list(self, page, raw, answer_path),
            Some(b'[') => truncate::write_value(self, page, raw, answer_path),
            _ if !self.filter.is_empty() || !self.sort.is_empty() => {
                Err(format!("filter and sort need a list of objects, yet this is {}", describe_kind(raw)))
            }
            Some(b'{') if self.table => {
                table_writer::write_object(self, page, raw, answer_path);
                Ok(())
            }
            _ => truncate::write_value(self, page, raw, answer_path),
        }
    }
}

/// What stands beside `data` in its envelope: short values as they are, others by size.
fn describe_envelope(envelope: &str) -> String {
    let (mut note, mut named) = (String::new(), 0);
    walk(envelope, &mut |key, value| {
        let name = unquote(key);
        if name != "data" && name.len() <= 64 {
            note.push_str(if named == 0 { "beside the data: " } else { ", " });
            push_name(&mut note, &name);
            // Writing into a String can't fail.
            let _ = match value.len() {
                0..=100 => write!(note, "={value}"),
                size => write!(note, " ({size} bytes, fields={name} shows it)"),
            };
            named += 1;
        }
        named < 8
    });
    note
}
