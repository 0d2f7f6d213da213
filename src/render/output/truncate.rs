//! Partial output of a value that is larger than the cap. Shown are the rows and members that fit. If none fits, a part
//! of the first one is shown, down to the lines or characters of one text. A note has the arguments that show the rest.

use crate::render::output::error::OutputError;
use crate::render::output::json_path::{MAX_DEPTH, describe_kind, pick, unquote, walk};
use crate::render::output::names::{push_name, quote_short};
use crate::render::output::options::OutputOptions;
use crate::render::output::page_writer::{AnswerPath, PageWriter, ResultPart};
use crate::render::output::rows;
use std::borrow::Cow;
use std::fmt::Write;

/// The maximum bytes of the key of a member that is shown in part. Each level on the way to a part costs its key.
const MAX_KEY_BYTES: usize = 256;
/// The number of members that a note names.
const MAX_NAMED_MEMBERS: usize = 20;

/// Writes as much of a value as fits, and notes the row or member that is shown in part.
pub fn write_value(
    options: &OutputOptions,
    page: &mut PageWriter,
    raw: &str,
    answer_path: &mut AnswerPath,
) -> Result<(), OutputError> {
    let start = answer_path.depth;
    let innermost = write_innermost(options, page, raw, answer_path)?;
    if answer_path.depth > start {
        let filtered = !options.filter.is_empty() || !options.sort.is_empty();
        let unfiltered = if filtered { " (its rest without filter and sort)" } else { "" };
        let (path, size) = (quote_short(&answer_path.path), innermost.len());
        page.add_note(&format!("{path} has {size} bytes and is shown in part{unfiltered}"));
    }
    Ok(())
}

/// Writes as much of a value as fits. If none of its rows or members fits, writes a part of the first one. Returns the
/// value that was written last, to which `answer_path` then leads.
fn write_innermost<'a>(
    options: &OutputOptions,
    page: &mut PageWriter,
    raw: &'a str,
    answer_path: &mut AnswerPath,
) -> Result<&'a str, OutputError> {
    let row_options = OutputOptions { fields: options.fields.clone(), ..OutputOptions::default() };
    let member_options = OutputOptions::default();
    let (mut raw, mut options) = (raw, options);
    loop {
        let next = match raw.bytes().next() {
            // No path leads deeper, so the JSON is shown as a text.
            Some(b'[' | b'{') if answer_path.depth >= MAX_DEPTH => None,
            Some(b'[') => match rows::write_list(options, page, raw, answer_path)? {
                None => return Ok(raw),
                Some((place, row)) => Some((place.to_string(), row, &row_options)),
            },
            Some(b'{') => match write_object(options, page, raw, answer_path) {
                None => return Ok(raw),
                Some((name, value)) => Some((name.into_owned(), value, &member_options)),
            },
            Some(first) if first != b'"' && raw.len() <= page.remaining() => {
                page.text.push_str(raw);
                return Ok(raw);
            }
            _ => None,
        };
        let Some((step, value, value_options)) = next else {
            let part = select_text(options, page, raw, answer_path);
            page.text.push_str(&serde_json::Value::from(part).to_string());
            return Ok(raw);
        };
        answer_path.descend(&step);
        (raw, options) = (value, value_options);
    }
}

/// A member of an object.
struct Member<'a> {
    /// The key as JSON text.
    key: Cow<'a, str>,
    name: Cow<'a, str>,
    value: &'a str,
}

/// The members of a page that did not fit.
#[derive(Default)]
struct LeftOut<'a> {
    /// The name and the size of each.
    named: Vec<(Cow<'a, str>, usize)>,
    /// The number of all others.
    unnamed: usize,
    /// The place of the first of them.
    first_unnamed: usize,
}

/// Writes the members of the page that fit, in their order, and notes the others. If none fits, writes the key of the
/// first one and returns its name and value, of which a part is to be written.
fn write_object<'a>(
    options: &OutputOptions,
    page: &mut PageWriter,
    object: &'a str,
    answer_path: &AnswerPath,
) -> Option<(Cow<'a, str>, &'a str)> {
    page.open("{", '}');
    let (mut total, mut shown) = (0, 0);
    let mut left_out = LeftOut::default();
    let mut large: Option<Member<'a>> = None;
    let wanted = options.offset..options.offset.saturating_add(options.limit);
    let mut write_member = |member: Member<'a>| {
        let place = total;
        total += 1;
        if !wanted.contains(&place) {
            return;
        }
        let Member { key, name, value } = &member;
        if key.len() + 1 + value.len() + usize::from(shown > 0) <= page.remaining() {
            page.text.push_str(if shown == 0 { "" } else { "," });
            page.text.push_str(key);
            page.text.push(':');
            page.text.push_str(value);
            shown += 1;
        } else if large.is_none() && shown == 0 && key.len() <= MAX_KEY_BYTES {
            large = Some(member);
        } else if left_out.named.len() < MAX_NAMED_MEMBERS && key.len() <= MAX_KEY_BYTES {
            left_out.named.push((name.clone(), value.len()));
        } else {
            if left_out.unnamed == 0 {
                left_out.first_unnamed = place;
            }
            left_out.unnamed += 1;
        }
    };
    match &options.fields {
        None => {
            walk(object, &mut |key, value| {
                write_member(Member { key: Cow::Borrowed(key), name: unquote(key), value });
                true
            });
        }
        Some(fields) => {
            let mut found = Vec::new();
            pick(object, fields, &mut found);
            for (field, value) in fields.iter().zip(found).filter_map(|(field, value)| Some((field, value?))) {
                let key = serde_json::Value::from(field.as_str()).to_string();
                write_member(Member { key: Cow::Owned(key), name: Cow::Owned(field.clone()), value });
            }
        }
    }
    // A later member fitted.
    if let Some(Member { name, value, .. }) = large.take_if(|_| shown > 0) {
        left_out.named.insert(0, (name, value.len()));
    }
    let count = total.saturating_sub(wanted.start).min(wanted.len());
    if count < total {
        page.note_part(
            &ResultPart { unit: "members", offset: wanted.start, count, total, size: "", truncated: false },
            answer_path,
        );
    }
    note_left_out(page, answer_path, &left_out);
    let Some(Member { key, name, value }) = large else {
        page.close();
        return None;
    };
    page.text.push_str(&key);
    page.text.push(':');
    Some((name, value))
}

/// Notes the members that did not fit: name and size of each, and the number of all others.
fn note_left_out(page: &mut PageWriter, answer_path: &AnswerPath, left_out: &LeftOut<'_>) {
    let mut note = String::new();
    for (n, (name, size)) in left_out.named.iter().enumerate() {
        note.push_str(if n == 0 { "left out for want of room: " } else { ", " });
        push_name(&mut note, name);
        // Writing into a String cannot fail.
        let _ = write!(note, " ({size} bytes)");
    }
    if let Some((name, _)) = left_out.named.first() {
        let _ = write!(note, ": {} gives one", answer_path.fields_argument(name));
    }
    if left_out.unnamed > 0 {
        note.push_str(if note.is_empty() { "left out for want of room: " } else { ", and " });
        let next = answer_path.arguments_from(left_out.first_unnamed);
        let _ = write!(note, "{} more members: {next} shows what fits from there on", left_out.unnamed);
    }
    page.add_note(&note);
}

/// Returns the bytes of a character in a JSON string, as serde_json writes it.
fn escaped_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..'\u{20}' => 6,
        c => c.len_utf8(),
    }
}

/// Writes a part of a text as its lines.
pub fn write_lines(options: &OutputOptions, page: &mut PageWriter, raw: &str, answer_path: &AnswerPath) {
    let text = select_text(options, page, raw, answer_path);
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\n' | '\t' => page.text.push(c),
            '\r' => page.text.push('\n'),
            // A picture of the character, as in a message of Proxmox.
            '\0'..'\u{20}' => page.text.extend(char::from_u32(0x2400 + u32::from(c))),
            c => page.text.push(c),
        }
    }
}

/// Returns the part of a text that fits and is wanted, and notes the rest. The unit is lines, or characters if there are no line breaks or a very
/// long line. It depends on the text and the cap alone, so that parts add up.
fn select_text(options: &OutputOptions, page: &mut PageWriter, raw: &str, answer_path: &AnswerPath) -> String {
    let text = unquote(raw);
    let max_line = (page.cap() / 4).max(80);
    let escaped_line_len = |line: &str| line.chars().map(escaped_len).sum::<usize>();
    let by_line = text.contains('\n') && text.split_inclusive('\n').all(|line| escaped_line_len(line) <= max_line);
    let mut room = page.remaining().saturating_sub(2);
    let (mut total, mut count, mut truncated) = (0, 0, false);
    let (mut start, mut end) = (None, 0);
    let wanted = options.offset..options.offset.saturating_add(options.limit);
    let mut add_unit = |at: usize, len: usize, escaped_len: usize| {
        let place = total;
        total += 1;
        if !wanted.contains(&place) || truncated {
            return;
        }
        // At least one unit is shown, so that each part makes progress.
        if escaped_len > room && count > 0 {
            truncated = true;
            return;
        }
        room = room.saturating_sub(escaped_len);
        count += 1;
        start = start.or(Some(at));
        end = at + len;
    };
    if by_line {
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            add_unit(at, line.len(), escaped_line_len(line));
            at += line.len();
        }
    } else {
        text.char_indices().for_each(|(at, c)| add_unit(at, c.len_utf8(), escaped_len(c)));
    }
    let part = text[start.unwrap_or(end)..end].to_owned();
    if count < total {
        let unit = if by_line { "lines" } else { "characters" };
        let size = format!(", {} of {} bytes of {}", part.len(), text.len(), describe_kind(raw));
        page.note_part(&ResultPart { unit, offset: options.offset, count, total, size: &size, truncated }, answer_path);
    }
    part
}
